"""Where a block of lines stands in a file: a ladder of rungs, each taken only if exactly one place fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .refusal import PatchRefused, missing, several

EXACT, LINE_ENDING, TRAILING_SPACE, INDENTATION = range(4)
TOLERANCES = ("", "line endings", "trailing space", "indentation")

_KEYS: tuple[Callable[[str], str], ...] = (
    lambda line: line,
    lambda line: line.removesuffix("\r"),
    lambda line: line.rstrip(" \t\r"),
    lambda line: line.strip(" \t\r"),
)
_NEAR = 5  # lines: how far a given line number may be off and still decide
_FAR = 40  # lines: how far away every rival must then be
_RARE = 200  # positions of one line that are worth checking one by one
_ENOUGH = 64  # places: more are not counted


class Spot(NamedTuple):
    """A place: the block's first line (from 0) and the rung on which it was found."""

    at: int
    rung: int


class Source:
    """A text as lines, split at "\\n" alone (a "\\r" stays with its line), indexed for each rung used."""

    def __init__(self, text: str) -> None:
        self.final = text.endswith("\n") or not text
        self.lines = text.split("\n")
        if self.final:
            self.lines.pop()
        self._keyed: dict[int, list[str]] = {}
        self._index: dict[int, dict[str, list[int]]] = {}

    def text(self, lines: Sequence[str], final: bool) -> str:
        return "\n".join(lines) + ("\n" if final and lines else "")

    def crlf(self, at: int) -> bool:
        """Whether line `at` ends with CRLF; a last line without an end is like the one above it."""
        if at == len(self.lines) - 1 and not self.final and at > 0:
            at -= 1
        return self.lines[at].endswith("\r") if self.lines else False

    def places(self, block: Sequence[str], rung: int) -> list[int]:
        """The first lines of all places where `block` stands, in order; at most 64 are looked for."""
        key = _KEYS[rung]
        wanted = [key(line) for line in block]
        lines, index = self._lines(rung)
        rarest = min(range(len(wanted)), key=lambda i: len(index.get(wanted[i], ())))
        seen = index.get(wanted[rarest], [])
        if len(seen) > _RARE:
            return _search(lines, wanted)
        starts = (at - rarest for at in seen)
        return [at for at in starts if at >= 0 and lines[at : at + len(wanted)] == wanted][:_ENOUGH]

    def fits(self, block: Sequence[str], at: int, rung: int = EXACT) -> bool:
        key = _KEYS[rung]
        there = self.lines[at : at + len(block)]
        return (
            at >= 0
            and len(there) == len(block)
            and all(key(a) == key(b) for a, b in zip(there, block, strict=True))
        )

    def _lines(self, rung: int) -> tuple[list[str], dict[str, list[int]]]:
        if rung not in self._keyed:
            lines = self._keyed[rung] = [_KEYS[rung](line) for line in self.lines]
            index = self._index[rung] = {}
            for at, line in enumerate(lines):
                index.setdefault(line, []).append(at)
        return self._keyed[rung], self._index[rung]


def find(source: Source, block: Sequence[str], at: int | None, path: str, hunk: int | None = None) -> Spot:
    """The one place of `block` (not empty); `at` is where it is said to be (from 0), None if nowhere.

    Raises PatchRefused if it is nowhere, or if several places fit and `at` does not decide between them.
    """
    for rung in range(len(_KEYS)):
        if at is not None and source.fits(block, at, rung):
            return Spot(at, rung)
        places = source.places(block, rung)
        if not places:
            continue
        chosen = _choose(places, at)
        if chosen is None:
            hint = several(places, source.lines) + "\nadd lines around it, or give the right line number"
            raise PatchRefused("it fits at more than one place", path, hunk, hint)
        if not any(line.strip() for line in block):
            raise PatchRefused("only blank lines say where it belongs", path, hunk, "add lines of context")
        return Spot(chosen, rung)
    raise PatchRefused("these lines are not in the file", path, hunk, missing(block, source.lines))


def _choose(places: Sequence[int], at: int | None) -> int | None:
    if len(places) == 1:
        return places[0]
    if at is None or len(places) >= _ENOUGH:
        return None
    near = [place for place in places if abs(place - at) <= _FAR]
    return near[0] if len(near) == 1 and abs(near[0] - at) <= _NEAR else None


def _search(lines: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Places of a block made of common lines alone: by text search, which stays linear for any input."""
    from bisect import bisect_left
    from itertools import accumulate

    text = "\n" + "\n".join(lines) + "\n"
    needle = "\n" + "\n".join(wanted) + "\n"
    offsets = list(accumulate((len(line) + 1 for line in lines), initial=0))
    places: list[int] = []
    found = text.find(needle)
    while found >= 0 and len(places) < _ENOUGH:
        places.append(bisect_left(offsets, found))
        found = text.find(needle, found + 1)
    return places
