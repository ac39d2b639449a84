"""Whether a changed file still parses, for the languages whose parser costs nothing."""

from __future__ import annotations

import re
import warnings
from typing import NamedTuple

from ..paths import shown

_LARGEST = 1024 * 1024  # characters


def check(path: str, before: str | None, after: str) -> str:
    """One line on a syntax error that `after` has and `before` had not (None: a new file), else "".

    Never raises: what a parser cannot cope with is not reported.
    """
    suffix = path.rpartition(".")[2].lower() if "." in path else ""
    parse = _PARSERS.get(suffix)
    if parse is None or max(len(before or ""), len(after)) > _LARGEST:
        return ""
    try:
        fault = parse(after)
        if fault is None or (before is not None and parse(before) is not None):
            return ""
    except (ValueError, RecursionError, MemoryError, OverflowError):
        return ""
    return f"note: {shown(path)} does not parse now: line {fault.line}: {' '.join(fault.message.split())}"


class _Fault(NamedTuple):
    line: int
    message: str


def _python(text: str) -> _Fault | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "file", "exec", dont_inherit=True, optimize=0)
        except SyntaxError as error:
            return _Fault(error.lineno or 1, error.msg)
    return None


def _json(text: str) -> _Fault | None:
    import json

    try:
        json.loads(text, parse_int=str)
    except json.JSONDecodeError as error:
        return _Fault(error.lineno, error.msg)
    return None


def _toml(text: str) -> _Fault | None:
    import tomllib  # 16 ms

    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
        last = text.count("\n") + 1
        return _Fault(int(place[2] or last), place[1]) if place else _Fault(last, str(error))
    return None


_PARSERS = {"py": _python, "pyi": _python, "json": _json, "toml": _toml}
