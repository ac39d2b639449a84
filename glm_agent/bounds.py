"""What a run's whole diff may be, whoever made the change. Pure: rows and bounds in, breaches out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .globs import fits
from .paths import shown
from .settings import Settings
from .types import Json

_MOST_SAID = 10  # breaches with a line of their own
_LONGEST = 300  # characters of what is said about one file


class Bounds(NamedTuple):
    """`only` holds lists of globs: a file must fit one of each. Lines count if added or removed."""

    only: tuple[tuple[str, ...], ...] = ()
    protect: tuple[str, ...] = ()
    max_diff_lines: int | None = None
    allow_binary: bool = False

    def told(self) -> str | None:
        """What the model is told before the task; None where nobody has asked for anything."""
        lines = [f"- only files that fit {_or(globs)} may change" for globs in self.only]
        if self.protect:
            lines.append(f"- no file that fits {_or(self.protect)} may change, appear, move or go")
        if self.max_diff_lines is not None:
            lines.append(f"- at most {self.max_diff_lines} lines may be added or removed in all")
        if not lines:
            return None
        lines += ["- no new binary file may appear"] * (not self.allow_binary)
        head = "Bounds of this task. At the end they are checked on the whole diff, whoever made the change; "
        return "\n".join([head + "breaking one takes everything back:", *lines])


def of(settings: Settings) -> Bounds:
    """What the user allows, and no more than the repository's own file allows."""
    demands = settings.demands
    return Bounds(
        only=tuple(globs for globs in (settings.only, demands.get("only")) if globs),
        protect=(*settings.protect, *demands.get("protect", ())),
        max_diff_lines=settings.max_diff_lines,
        allow_binary=settings.allow_binary,
    )


def breaches(changes: Sequence[Json], bounds: Bounds, marks: Mapping[str, Sequence[str]]) -> list[Json]:
    """Each as `{"rule", "path", "detail"}`; `marks` says by path where in a file it changed.

    `changes` are rows of `changes.read`. Both names of a file that moved count.
    """
    found: list[Json] = []
    for row in changes:
        for path in dict.fromkeys([row.get("from", row["path"]), row["path"]]):
            detail = _detail(row, path, marks.get(row["path"], ()))
            found += [
                {"rule": "only", "path": path, "detail": f"{detail}; fits none of {_or(globs)}"}
                for globs in bounds.only
                if not fits(path, globs)
            ]
            if globs := [glob for glob in bounds.protect if fits(path, [glob])]:
                found.append({"rule": "protect", "path": path, "detail": f"{detail}; fits {_or(globs)}"})
        if row["kind"] == "create" and row["added"] is None and not bounds.allow_binary:
            found.append({"rule": "binary", "path": row["path"], "detail": "a new binary file"})
    return [*found, *_size(changes, bounds.max_diff_lines)]


def said(found: Sequence[Json]) -> list[str]:
    """The breaches for people, one a line, and how many more there are."""
    lines = [f"{_WORDS[breach['rule']]}: {_named(breach)}" for breach in found[:_MOST_SAID]]
    more = len(found) - _MOST_SAID
    return [*lines, f"and {more} more breaches of the bounds"] if more > 0 else lines


_WORDS = {
    "only": "outside of --only",
    "protect": "against --protect",
    "binary": "without --allow-binary",
    "max_diff_lines": "beyond --max-diff-lines",
}


def _named(breach: Json) -> str:
    return f"{shown(breach['path'])}: {breach['detail']}" if breach["path"] else breach["detail"]


def _size(changes: Iterable[Json], most: int | None) -> list[Json]:
    lines = sum((row["added"] or 0) + (row["removed"] or 0) for row in changes)
    if most is None or lines <= most:
        return []
    detail = f"{lines} lines were added or removed, {most} are allowed"
    return [{"rule": "max_diff_lines", "path": None, "detail": detail}]


def _detail(row: Json, path: str, marks: Sequence[str]) -> str:
    kind = f"{row['kind']}d"
    if "from" in row:
        kind = f"moved from {shown(row['from'])}" if path == row["path"] else f"moved to {shown(row['path'])}"
    text = ", ".join([kind, *map(shown, marks)])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _or(globs: Sequence[str]) -> str:
    return " or ".join(map(shown, globs))
