"""What is wrong with a result, one by one and each with its place: for the programs that show such lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, cast

from ..types import Json, Result
from .words import became, clip

Level = Literal["error", "warning", "notice"]

CHECKS: dict[str, Level] = {
    "newly_broken": "error",
    "still_failing": "error",
    "timed_out": "error",
    "flaky": "warning",
    "not_run": "warning",
}
KINDS = {
    "newly_broken": "A check that passed before the run fails now",
    "still_failing": "A check that failed before the run still fails",
    "timed_out": "A command did not end in the time that it has",
    "flaky": "A check fails in one run and passes in another",
    "not_run": "A check that failed before was not run again",
    "policy": "A change is out of the bounds that were given",
    "run": "The run did not end as it should",
    "denied": "An action that the model tried is not allowed",
    "runs_later": "A changed file is run or obeyed by other programs later: read it first",
    "notice": "A remark on the run",
}

# `tests/test_a.py::test_b`, `src/a.ts:12 adds`, `a.py`: names of checks that begin with a file
_SOURCES = "py|[cm]?[jt]sx?|vue|go|rs|rb|php|java|kts?|scala|swift|cc|cpp|cs|exs?|lua|pl|sh|bats"
_PLACE = re.compile(
    rf"(?P<path>[\w.@+-]+(?:/[\w.@+-]+)*\.(?:{_SOURCES}))(?=$|[:\s])(?::(?P<line>[1-9][0-9]{{0,6}})(?=$|[:\s]))?"
)


class Fault(NamedTuple):
    """`kind` is one of KINDS; `path` is relative to the root, "" if there is none, and 0 is no line."""

    level: Level
    kind: str
    text: str
    path: str = ""
    line: int = 0


def faults(result: Result) -> Iterator[Fault]:
    """The gravest first; each text is one line."""
    for kind, level in CHECKS.items():
        for name in names(result, kind):
            yield Fault(level, kind, _line(f"{became(result, kind, name)}: {name}"), *place(name))
    for breach in result.policy:
        yield Fault("error", "policy", _line(_breach(breach)), _text(breach, "path"))
    said = [_text(breach, "detail") for breach in result.policy]
    for error in result.errors:
        if not any(detail and detail in error for detail in said):
            yield Fault("error", "run", _line(error))
    for denial in result.permission_denials:
        yield Fault("warning", "denied", _line(denied(denial)))
    for path in result.runs_later:
        yield Fault("notice", "runs_later", _line(f"runs later: {path}"), path)
    for notice in result.notices:
        yield Fault("notice", "notice", _line(notice))


def names(result: Result, kind: str) -> list[str]:
    """The checks of one kind (`fixed`, `still_failing` …); none if the result says nothing of them."""
    found = (result.verification or {}).get(kind)
    return [str(name) for name in cast("list[object]", found)] if isinstance(found, list) else []


def place(name: str) -> tuple[str, int]:
    """The file, and the line if it says one, that a check's name begins with; else "" and 0."""
    found = _PLACE.match(name)
    if found is None or ".." in found["path"].split("/"):
        return "", 0
    return found["path"], int(found["line"] or 0)


def denied(denial: Json) -> str:
    """`.github/workflows/a.yml: why`, as far as it is said."""
    return ": ".join(filter(None, (_text(denial, "path"), _text(denial, "reason"))))


def _line(text: str) -> str:
    return clip(text, 500) or "-"


def _breach(breach: Json) -> str:
    parts = (_text(breach, "rule"), _text(breach, "path"), _text(breach, "detail"))
    return "out of bounds: " + ", ".join(filter(None, parts))


def _text(record: Json, name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""
