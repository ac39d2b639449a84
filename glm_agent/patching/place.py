"""All hunks of one file, each put where it belongs in the file as it is, or the reason why one cannot be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from . import locate
from .clean import has_entity, unescape
from .indent import NONE, Block, Shift, agreed, foreign, indent_of
from .locate import Source, Spot
from .parse import Hunk
from .refusal import NO_SINGLE_WAY, PatchRefused
from .splice import Placement

_ENOUGH = 2  # lines that are not blank: what is left of a hunk without a stale line has to have so many
_ESCAPED = (
    "if they are meant so, write them with the tool `edit`; else send the patch without &lt; and the like"
)
_APPLIED = "already applied"
_BARE = "its context has no space before it, and what it adds may be meant otherwise"
_NOWHERE = "nothing says where it belongs"
_SEVERAL = 3  # lines that stand in a file by no chance
_OUTER = 10  # lines of context that are looked at for a stale one
_NAMED = 20  # hunks that a refusal names


def place(source: Source, hunks: Sequence[Hunk], path: str) -> list[Placement]:
    """The hunks that change something, in the order of the file. Raises PatchRefused."""
    found: list[tuple[int, Placement]] = []
    refused: list[tuple[int, PatchRefused]] = []
    for number, hunk in enumerate(hunks, 1):
        if not hunk.count("+-"):
            continue
        try:
            found.append((number, _placement(source, hunk, path, number, bool(refused))))
        except PatchRefused as refusal:
            refused.append((number, refusal))
    if refused:
        raise _with_the_rest(refused[0][1], [number for number, _ in found], len(found) + len(refused))
    if _looks_escaped(source, hunks):
        raise PatchRefused("its added lines look like escaped HTML", path, None, _ESCAPED)
    _check_numbers(found, path)
    return _shifted(source, _in_order(found, path), path)


def _looks_escaped(source: Source, hunks: Sequence[Hunk]) -> bool:
    """Whether entities are added to a file that has none, by hunks that avoid what entities stand for."""
    added = [line.text for hunk in hunks for line in hunk.lines if line.tag == "+"]
    if unescape(added) is None or any(has_entity(line) for line in source.lines):
        return False
    return unescape([line.text for hunk in hunks for line in hunk.lines]) is not None


def stands(source: Source, hunk: Hunk) -> bool:
    """Whether what the hunk leads to is in the file, at its line or in many, and its start is not."""
    places = source.places(hunk.after, locate.LINE_ENDING) if hunk.after else []
    numbered = {start - 1 for start in (hunk.start, hunk.new_start) if start is not None}
    several = sum(bool(line.strip()) for line in hunk.after) >= _SEVERAL
    if not (numbered & set(places) or (several and len(places) == 1)):
        return False
    if not hunk.before:
        return True
    spot = locate.search(source, hunk.before, hunk.start - 1 if hunk.start is not None else None)
    return not spot or _doubled(source, hunk, spot)


def _placement(source: Source, hunk: Hunk, path: str, number: int, brief: bool) -> Placement:
    block = hunk.before
    at = hunk.start - 1 if hunk.start is not None else None
    if not block:
        return Placement(hunk, _insertion(source, hunk, path, number), NONE)
    spot = locate.search(source, block, at, hunk.anchors if at is None else ())
    if hunk.ends and spot and not isinstance(spot, Spot):
        spot = _at_the_end(source, block) or spot
    if not spot and (trimmed := _without_stale(source, hunk, at)):
        return trimmed
    if not isinstance(spot, Spot):
        if brief:  # only the first refusal of a file is shown
            raise PatchRefused("", path, number)
        if not spot and stands(source, hunk):
            raise PatchRefused(_APPLIED, path, number, "leave it out and send the rest, if there is any")
        spot = locate.refuse(source, block, spot, path, number)
    if _doubled(source, hunk, spot):
        raise PatchRefused(f"{_APPLIED}: the added lines stand there", path, number, "go on, or add context")
    if hunk.bare and _is_doubtful(source, hunk, spot):
        raise PatchRefused(_BARE, path, number, "write a space before every line of context")
    return Placement(hunk, spot, NONE)


def _insertion(source: Source, hunk: Hunk, path: str, number: int) -> Spot:
    """Where lines without context go: into an empty file, or below a line number that others vouch for."""
    if not source.lines:
        return Spot(0, locate.EXACT)
    if hunk.ends and hunk.start is None and source.final:
        return Spot(len(source.lines), locate.EXACT)
    if not hunk.inserts or hunk.start is None or hunk.start > len(source.lines):
        raise PatchRefused(_NOWHERE, path, number, "add lines of context")
    return Spot(hunk.start, locate.EXACT, by_number=True)


def _at_the_end(source: Source, block: Sequence[str]) -> Spot | None:
    """Where a block stands that is said to be the end of the file, if it says something."""
    at = len(source.lines) - len(block)
    rungs = range(locate.TRAILING_SPACE + 1) if any(line.strip() for line in block) else ()
    return next((Spot(at, rung) for rung in rungs if source.fits(block, at, rung)), None)


def _is_doubtful(source: Source, hunk: Hunk, spot: Spot) -> bool:
    """Whether a hunk with context that lost its prefixes may mean other lines, or belong elsewhere."""
    if set(source.places(hunk.bare, locate.TRAILING_SPACE)) - {spot.at}:
        return hunk.bare != hunk.before
    there = source.lines[max(0, spot.at - 1) : spot.at + len(hunk.before) + 1]
    added = [line.text for line in hunk.lines if line.tag == "+"]
    if any(line.startswith("+") or f"+{line}" in there for line in added):
        return True
    if hunk.count("-"):  # which show the column
        return False
    known = {indent_of(line) for line in there if line.strip()}
    return any(_is_beside(indent_of(line), known) for line in added if line.strip())


def _is_beside(indent: str, known: set[str]) -> bool:
    """Whether it is a column more or less than a `known` one, as if a prefix had been added or left out."""
    return indent not in known and "\t" not in indent and not known.isdisjoint((indent[1:], indent + " "))


def _check_numbers(found: Sequence[tuple[int, Placement]], path: str) -> None:
    """Believes a place that only its number chose if no number of the file's hunks speaks against it."""
    sure = [placement for _, placement in found if not placement.spot.by_number]
    offsets = {_offset(placement) for placement in sure} - {None}
    exact = offsets == {0} and all(placement.spot.rung <= locate.TRAILING_SPACE for placement in sure)
    growth = _Growth([placement.hunk for _, placement in found])
    for number, (hunk, spot, shift) in found:
        if not spot.by_number:
            continue
        moved = _moved(hunk, growth)
        meant = spot.rung == locate.EXACT and _offset(Placement(hunk, spot, shift)) == 0
        vouched = (exact or (meant and bool(hunk.before))) and moved == 0
        if not any(char.isalnum() for line in hunk.before for char in line) and not vouched:
            reason = "it fits at more than one place, and says little" if hunk.before else _NOWHERE
            raise PatchRefused(reason, path, number, "add lines of context")
        if (offsets and _offset(Placement(hunk, spot, shift)) not in offsets) or moved:
            reason = "it fits at more than one place, and the line numbers of the patch contradict each other"
            raise PatchRefused(reason, path, number, "add lines around it")


class _Growth:
    """By how many lines the hunks above a line of the old file make it longer."""

    def __init__(self, hunks: Sequence[Hunk]) -> None:
        steps = sorted(
            (hunk.start, hunk.count("+") - hunk.count("-")) for hunk in hunks if hunk.start is not None
        )
        self._starts = [start for start, _ in steps]
        self._sums = list(accumulate((grown for _, grown in steps), initial=0))

    def above(self, line: int) -> int:
        return self._sums[bisect_left(self._starts, line)]


def _moved(hunk: Hunk, growth: _Growth) -> int:
    """How far the new line number is from what the old one and the hunks above say; 0 if it tells nothing."""
    if hunk.start is None or hunk.new_start is None:
        return 0
    start = hunk.start + (not hunk.before)
    moved = hunk.new_start + (not hunk.after) - start
    return 0 if hunk.before and moved == 0 else moved - growth.above(hunk.start)


def _offset(placement: Placement) -> int | None:
    hunk, spot, _ = placement
    if hunk.start is None:
        return None
    return spot.at - (hunk.start - 1 if hunk.before else hunk.start)


def _in_order(found: list[tuple[int, Placement]], path: str) -> list[Placement]:
    found.sort(key=lambda item: item[1].spot.at)
    placements: list[Placement] = []
    done = 0
    for number, placement in found:
        if (
            placements
            and placement.spot.at == placements[-1].spot.at
            and placement.hunk == placements[-1].hunk
        ):
            continue  # sent twice
        if placement.spot.at < done:
            raise PatchRefused("it overlaps another hunk of this file", path, number, "send them as one hunk")
        done = placement.spot.at + len(placement.hunk.before)
        placements.append(placement)
    return placements


def _with_the_rest(refusal: PatchRefused, fitting: Sequence[int], count: int) -> PatchRefused:
    if count == 1:
        return refusal
    named = ", ".join(map(str, fitting[:_NAMED])) + ", …" * (len(fitting) > _NAMED)
    rest = f"of this file's {count} hunks {named or 'none'} would have applied"
    return PatchRefused(refusal.reason, refusal.path, refusal.hunk, f"{refusal.hint}\n{rest}")


def _without_stale(source: Source, hunk: Hunk, at: int | None) -> Placement | None:
    """The hunk without outer context that differs from the file in one line, if it stands where it says.

    All the rest has to fit one place in the file, the context next to a change to be there, and the line
    number to be exact: what is like another file's hunk, or another place's, is not enough.
    """
    if at is None:
        return None
    for cut, trimmed in _trimmed(hunk):
        block = trimmed.before
        if sum(bool(line.strip()) for line in block) < _ENOUGH:
            continue
        spot = locate.search(source, block, None, last=locate.LOOK_ALIKE)
        if isinstance(spot, Spot) and _one_edit(source, hunk, cut, spot.at, at):
            return (
                None
                if _doubled(source, trimmed, spot)
                else Placement(trimmed, spot._replace(stale=True), NONE)
            )
    return None


def _trimmed(hunk: Hunk) -> Iterator[tuple[int, Hunk]]:
    """The hunk with fewer outer lines: how many went from the top, below zero from the bottom."""
    tags = "".join(line.tag for line in hunk.lines)
    top, bottom = len(tags) - len(tags.lstrip(" ")), len(tags) - len(tags.rstrip(" "))
    for cut in range(1, min(max(top, bottom), _OUTER)):
        if cut < top:
            yield cut, replace(hunk, lines=hunk.lines[cut:])
        if cut < bottom:
            yield -cut, replace(hunk, lines=hunk.lines[:-cut])


def _one_edit(source: Source, hunk: Hunk, cut: int, inner: int, at: int) -> bool:
    """Whether the lines cut off stand beyond one line more than was sent, or are one that is stale.

    `inner` is where the rest stands, `at` where the whole hunk is said to.
    """
    if cut > 0:
        outer = hunk.before[:cut]
        missed, stale = inner - cut - 1, inner - cut
    else:
        outer = hunk.before[cut:]
        missed = inner + len(hunk.before) + cut + 1
        stale = at if inner == at else -1
    begins = missed if cut > 0 else inner
    if begins == at and source.fits(outer, missed, locate.TRAILING_SPACE):
        return True
    return stale == at and len(outer) == 1 and not source.places(outer, locate.SPACING)


def _doubled(source: Source, hunk: Hunk, spot: Spot | list[int]) -> bool:
    """Whether lines added at the edge of a hunk stand there already; a true diff has context behind them."""
    tags = "".join(line.tag for line in hunk.lines)
    if not isinstance(spot, Spot) or set(tags.strip("+")) != {" "}:
        return False
    above = len(tags) - len(tags.lstrip("+"))
    return tags.strip("+") != tags and source.fits(hunk.after, spot.at - above, locate.TRAILING_SPACE)


def _shifted(source: Source, placements: Sequence[Placement], path: str) -> list[Placement]:
    """The placements with the shift of their added lines; doubt is refused."""
    blocks = [
        Block(hunk.lines, source.lines[spot.at : spot.at + len(hunk.before)]) for hunk, spot, _ in placements
    ]
    shift: Shift | None = NONE
    if any(placement.spot.rung >= locate.INDENTATION for placement in placements):
        shift = agreed(blocks)
    if shift is None:
        hint = "copy the file's own indentation into every line of each hunk"
        raise PatchRefused(NO_SINGLE_WAY, path, None, hint)
    copied = [sent for block in blocks for sent, found in block.old if sent[0] == found[0]]
    if shift == NONE and foreign(source.lines, copied, [line for block in blocks for line in block.added]):
        hint = "indent the added lines as the file does"
        raise PatchRefused("no line of the file is indented as the added lines are", path, None, hint)
    return [placement._replace(shift=shift) for placement in placements]
