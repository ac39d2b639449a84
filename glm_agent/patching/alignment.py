"""Which lines of `new` are which of `old`: the same ones, and those that were changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .glyphs import plain

Lines = Sequence[str]
Matches = Sequence[int | None]  # for each new line the old one that it is; None for one that is new

SPACE = " \t"
_COMPARED = 250_000  # pairs of lines: beyond it, all between the common ends counts as changed
_KIN = 2500  # pairs of lines that are compared letter by letter
_LONG = 2000  # characters
_HALF = 0.5


class Sent(NamedTuple):
    """What stands in the file, and `old` and `new` as sent: lines without trailing space."""

    there: list[str]
    old: list[str]
    new: list[str]


def matches_of(old: Lines, new: Lines) -> list[int | None]:
    """For each line of `new`, which line of `old` it is, in order; None for a new one."""
    room = min(len(old), len(new))
    head = next((at for at in range(room) if old[at] != new[at]), room)
    room -= head
    tail = next((at for at in range(room) if old[-1 - at] != new[-1 - at]), room)
    found: list[int | None] = [None] * len(new)
    found[:head] = range(head)
    if tail:
        found[-tail:] = range(len(old) - tail, len(old))
    rows, columns = len(old) - head - tail, len(new) - head - tail
    if 0 < rows * columns <= _COMPARED:
        from difflib import SequenceMatcher  # 9 ms, and only where something has to be overlooked

        middle = SequenceMatcher(None, old[head : head + rows], new[head : head + columns], autojunk=False)
        for a, b, size in middle.get_matching_blocks():
            found[head + b : head + b + size] = range(head + a, head + a + size)
    return found


def runs_of(matches: Matches, size: int) -> Iterator[tuple[range, range]]:
    """New lines, and the old lines (of `size`) in whose place they are; either may be none."""
    stops = [(at, match) for at, match in enumerate(matches) if match is not None]
    new, old = 0, 0
    for at, match in (*stops, (len(matches), size)):
        yield range(new, at), range(old, match)
        new, old = at + 1, match + 1


def partners_of(sent: Sent, matches: Matches) -> dict[int, int]:
    """Changed lines, new to old, that have at least half of their text in common."""
    partners: dict[int, int] = {}
    for ours, theirs in runs_of(matches, len(sent.old)):
        if len(ours) * len(theirs) > _KIN:
            continue
        for new in ours:
            alike, old = max(((_alike(sent.new[new], sent.old[at]), at) for at in theirs), default=(0.0, 0))
            if alike >= _HALF:
                partners[new] = old
    return partners


def _alike(new: str, old: str) -> float:
    """The share of both lines' text that is the same at their ends."""
    new, old = new.lstrip(SPACE), old.lstrip(SPACE)
    if len(new) + len(old) > _LONG:
        return float(new == old)
    head, tail = common_ends(new, old)
    return (head + tail) / (max(len(new), len(old)) or 1)


def common_ends(new: str, old: str) -> tuple[int, int]:
    """How many characters are the same at the beginning, and after that at the end."""
    room = min(len(old), len(new))
    head = next((at for at in range(room) if old[at] != new[at]), room)
    room -= head
    return head, next((at for at in range(room) if old[-1 - at] != new[-1 - at]), room)


def trimmed(line: str) -> str:
    """`line` without space after it, and with plain spaces before it."""
    bare = plain(line).rstrip(SPACE)
    start = len(bare) - len(bare.lstrip(SPACE))
    return bare[:start] + line[start : len(bare)]
