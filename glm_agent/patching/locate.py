"""Where a block of lines stands in a file: a ladder of rungs, each taken only if exactly one place fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .alike import plain
from .indent import indent_of
from .refusal import MISSING_LINES, PatchRefused, missing, several

EXACT, LINE_ENDING, TRAILING_SPACE, LOOK_ALIKE, INDENTATION, SPACING = range(6)
TOLERANCES = (
    "",
    "line endings",
    "trailing space",
    "look-alike characters",
    "indentation",
    "spacing within lines",
)

_BLANKS = re.compile(r"[ \t\r]+")
_KEYS: tuple[Callable[[str], str], ...] = (
    lambda line: line,
    lambda line: line.removesuffix("\r"),
    lambda line: line.rstrip(" \t\r"),
    lambda line: plain(line).rstrip(" \t\r"),
    lambda line: plain(line).strip(" \t\r"),
    lambda line: _BLANKS.sub("", plain(line)),
)
_NO_END = (*"{}()[]#*;%", "//", "/*", "--", "<!--")  # of a block, however little the line is indented
_NEAR = 5  # lines: how far a given line number may be off and still decide
_FAR = 40  # lines: how far away every rival must then be
_FEW = 3  # lines of which one may differ from a place that nearly fits
_RARE = 200  # positions of one line that are worth checking one by one
_ENOUGH = 64  # places: more are not counted


class Spot(NamedTuple):
    """A place: the block's first line (from 0), and the rung on which it was found.

    `by_number`: only a line number chose it. `stale`: a line of outer context was overlooked.
    """

    at: int
    rung: int
    by_number: bool = False
    stale: bool = False

    @property
    def tolerance(self) -> str:
        return TOLERANCES[self.rung] or "a line of context" * self.stale


class Source:
    """A text as lines, split at "\\n" alone (a "\\r" stays with its line), indexed for each rung used."""

    def __init__(self, text: str) -> None:
        self.final = text.endswith("\n") or not text
        self.lines = text.split("\n")
        if self.final:
            self.lines.pop()
        self._alike_at = {
            LINE_ENDING: "\r" not in text,
            LOOK_ALIKE: text.isascii(),
        }  # same keys as a rung above
        self._keyed: dict[int, _Keyed] = {}

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
        keyed = self._at(rung)
        rarest = min(range(len(wanted)), key=lambda i: keyed.count(wanted[i]))
        if keyed.count(wanted[rarest]) > _RARE:
            return keyed.search(wanted)
        starts = (at - rarest for at in keyed.positions(wanted[rarest]))
        return [at for at in starts if at >= 0 and keyed.lines[at : at + len(wanted)] == wanted][:_ENOUGH]

    def fits(self, block: Sequence[str], at: int, rung: int = EXACT) -> bool:
        key = _KEYS[rung]
        there = self.lines[at : at + len(block)]
        return (
            at >= 0
            and len(there) == len(block)
            and all(key(a) == key(b) for a, b in zip(there, block, strict=True))
        )

    def nearly_fits(self, block: Sequence[str], at: int) -> bool:
        """Whether all lines of `block` that are not blank, or one third less, stand at `at`."""
        key = _KEYS[SPACING]
        there = self.lines[at : at + len(block)] if at >= 0 else []
        pairs = [(key(a), key(b)) for a, b in zip(block, there, strict=False) if a.strip()]
        return len(there) == len(block) and sum(a != b for a, b in pairs) <= len(pairs) // _FEW

    def rival(self, block: Sequence[str], place: int) -> int | None:
        """Where all lines but one that are not blank stand exactly, unless as many do at `place`."""
        exact, votes = self._at(EXACT), dict[int, int]()
        telling = [(at, line) for at, line in enumerate(block) if line.strip()]
        for offset, line in telling:
            for found in exact.positions(line) if exact.count(line) <= _ENOUGH else ():
                votes[found - offset] = votes.get(found - offset, 0) + 1
        most = max(votes, key=lambda at: votes[at], default=place)
        return most if votes.get(most, 0) >= max(len(telling) - 1, votes.get(place, 0) + 1) else None

    def _at(self, rung: int) -> _Keyed:
        if rung not in self._keyed:
            same = self._alike_at.get(rung, False)
            self._keyed[rung] = (
                self._at(rung - 1) if same else _Keyed([_KEYS[rung](line) for line in self.lines])
            )
        return self._keyed[rung]


class _Keyed:
    """The lines of a text as one rung compares them, and where each stands."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self._last = dict(zip(lines, range(len(lines)), strict=True))
        self._others: dict[str, list[int]] = {}  # a list for each line would cost more than all the rest
        if len(self._last) < len(lines):
            for at, line in enumerate(lines):
                if self._last[line] != at:
                    self._others.setdefault(line, []).append(at)
        self._text = ""
        self._offsets: list[int] = []

    def count(self, line: str) -> int:
        return len(self._others.get(line, ())) + (line in self._last)

    def positions(self, line: str) -> list[int]:
        last = self._last.get(line)
        return [] if last is None else [*self._others.get(line, ()), last]

    def search(self, wanted: Sequence[str]) -> list[int]:
        """Places of a block made of common lines alone: by text search, which stays linear for any input."""
        from bisect import bisect_left
        from itertools import accumulate

        if not self._text:
            self._text = "\n" + "\n".join(self.lines) + "\n"
            self._offsets = list(accumulate((len(line) + 1 for line in self.lines), initial=0))
        needle = "\n" + "\n".join(wanted) + "\n"
        places: list[int] = []
        found = self._text.find(needle)
        while found >= 0 and len(places) < _ENOUGH:
            places.append(bisect_left(self._offsets, found))
            found = self._text.find(needle, found + 1)
        return places


def find(source: Source, block: Sequence[str], at: int | None, path: str, hunk: int | None = None) -> Spot:
    """The one place of `block` (not empty); `at` is where it is said to be (from 0), None if nowhere.

    Raises PatchRefused if it is nowhere, or if several places fit and `at` does not decide between them.
    """
    found = search(source, block, at)
    return found if isinstance(found, Spot) else refuse(source, block, found, path, hunk)


def refuse(source: Source, block: Sequence[str], places: Sequence[int], path: str, hunk: int | None) -> Spot:
    """Raises PatchRefused for a block that `search` found at several `places`, or nowhere."""
    if len(places) == 1:
        raise PatchRefused("only blank lines say where it belongs", path, hunk, "add lines of context")
    if places:
        hint = several(places, source.lines) + "\nadd lines around it, or give the right line number"
        raise PatchRefused("it fits at more than one place", path, hunk, hint)
    raise PatchRefused(MISSING_LINES, path, hunk, missing(block, source.lines))


def search(
    source: Source, block: Sequence[str], at: int | None, anchors: Sequence[str] = (), last: int = SPACING
) -> Spot | list[int]:
    """Like `find`, up to the rung `last`; where nothing decides, all places instead of a refusal.

    `anchors` are lines said to stand above the block, the outermost first.
    """
    for rung in range(last + 1):
        places = source.places(block, rung)
        if at is not None and source.fits(block, at, rung):
            return Spot(at, rung, by_number=len(places) > 1)
        if not places:
            continue
        chosen = _choose(places, at)
        if chosen is None:
            chosen = _below(source, places, anchors)
        if chosen is None or not any(line.strip() for line in block):
            return places
        if at is not None and source.nearly_fits(block, at):  # the number may well mean that place
            return sorted((chosen.at, at))
        if rung >= INDENTATION and (rival := source.rival(block, chosen.at)) is not None:
            return sorted((chosen.at, rival))
        return Spot(chosen.at, rung, chosen.by_number)
    return []


def _choose(places: Sequence[int], at: int | None) -> Spot | None:
    if len(places) == 1:
        return Spot(places[0], EXACT)
    if at is None or len(places) >= _ENOUGH:
        return None
    near = [place for place in places if abs(place - at) <= _FAR]
    decides = len(near) == 1 and abs(near[0] - at) <= _NEAR
    return Spot(near[0], EXACT, by_number=True) if decides else None


def _below(source: Source, places: Sequence[int], anchors: Sequence[str]) -> Spot | None:
    """The only place below the anchors, or the only one in the block that the last of them opens."""
    start = -1
    for anchor in anchors:
        stand = [at for at in source.places([anchor], INDENTATION) if at > start]
        if len(stand) != 1:
            return None
        start = stand[0]
    if start < 0:
        return None
    below = [place for place in places if place >= start]
    if len(below) > 1:
        end = _end_of_block(source.lines, start)
        below = [place for place in below if place < end]
    return Spot(below[0], EXACT) if len(below) == 1 and len(places) < _ENOUGH else None


def _end_of_block(lines: Sequence[str], start: int) -> int:
    """The next line that is as deep at most, and no bracket or comment: those may stand within a block."""
    depth = len(indent_of(lines[start]))
    for at in range(start + 1, len(lines)):
        line = lines[at].strip()
        if line and len(indent_of(lines[at])) <= depth and not line.startswith(_NO_END):
            return at
    return len(lines)
