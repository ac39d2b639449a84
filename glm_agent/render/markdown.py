"""A result as GitHub's Markdown: a page that says how the run ended, and that nothing foreign can shape.

Foreign text stands in code spans and fenced blocks only, where neither HTML nor links nor mentions exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..types import Json, Result
from . import words
from .faults import CHECKS, denied, names
from .sanitize import clean, clean_line

_ROWS = 100  # of one list
_NAME = 300  # characters
_ANSWER = 20_000  # characters

_GOOD, _BAD = "✅", "❌"


def markdown(result: Result) -> str:
    """The whole page; at most some 300 KB, ends with a newline."""
    blocks = [_head(result), *_lists(result), *_answer(result), words.clip(words.summary(result), 2000)]
    blocks[-1] = code(blocks[-1], 2000)
    return "\n\n".join(blocks) + "\n"


def code(text: str, width: int = _NAME) -> str:
    """`text` as a code span: one line, cut to `width`; nothing in it ends the span."""
    shown = words.clip(text, width) or "-"
    fence = "`" * (_longest(shown) + 1)
    edge = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{edge}{shown}{edge}{fence}"


def _head(result: Result) -> str:
    outcome = _GOOD + " success" if not result.is_error else f"{_BAD} {code(result.subtype)}"
    return f"## {outcome} (glm-agent, exit {result.exit_code})"


def _lists(result: Result) -> Iterator[str]:
    yield from _list("What went wrong", result.errors)
    yield from _list(f"{_GOOD} Fixed", names(result, "fixed"))
    for kind in CHECKS:
        sign = _BAD + " " if CHECKS[kind] == "error" else ""
        yield from _list(sign + kind.replace("_", " ").capitalize(), names(result, kind))
    yield from _changes(result.changes)
    yield from _list("Run or obeyed by other programs later: read these first", result.runs_later)
    yield from _list("Tried, and not allowed", map(denied, result.permission_denials))
    yield from _list("Remarks", result.notices)


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    every = list(items)
    if not every:
        return
    rows = [f"- {code(item)}" for item in every[:_ROWS]]
    more = [f"- and {len(every) - _ROWS} more"] * (len(every) > _ROWS)
    yield f"### {title} ({len(every)})\n\n" + "\n".join([*rows, *more])


def _changes(changes: list[Json]) -> Iterator[str]:
    if not changes:
        return
    rows = [_row(change) for change in changes[:_ROWS]]
    more = [f"| and {len(changes) - _ROWS} more | | | |"] * (len(changes) > _ROWS)
    table = ["| file | change | added | removed |", "|---|---|---:|---:|", *rows, *more]
    yield f"### Changed files ({len(changes)})\n\n" + "\n".join(table)


def _row(change: Json) -> str:
    path = str(change.get("path", ""))
    moved = f"{change['from']} -> {path}" if change.get("from") else path
    counts = ("-" if change.get(name) is None else str(change[name]) for name in ("added", "removed"))
    # a bar ends a cell even in a code span, and what escapes it can be escaped itself
    cells = (code(clean_line(text).replace("|", "¦")) for text in (moved, str(change.get("kind", ""))))
    return f"| {' | '.join((*cells, *(words.clip(item, 20) for item in counts)))} |"


def _answer(result: Result) -> Iterator[str]:
    text = clean(result.result.replace("\r\n", "\n")).strip("\n")
    if not text:
        return
    if len(text) > _ANSWER:
        text = f"{text[:_ANSWER]}\n… {len(text) - _ANSWER} more characters"
    fence = "`" * max(3, _longest(text) + 1)
    yield f"### Answer\n\n{fence}text\n{text}\n{fence}"


def _longest(text: str) -> int:
    """Of the runs of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)
