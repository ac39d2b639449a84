"""New lines laid over the file's, where what was sent differs from the file in space or look-alikes.

Two readings are possible: `new` is as the file should be (only `old` was copied badly), or it has the same
flaw as `old` and is to be mended alike. Lines that `old` and `new` share tell which; doubt is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from .glyphs import plain
from .indent import indent_of
from .rebase import Rebase, rebased, shifted
from .refusal import PatchRefused

Lines = Sequence[str]
Seen = dict[str, set[str]]  # a character as sent, and what the file has in its places
Laid = list[int | str]  # lines of the file that stay, by number, and new ones

_SPACE = " \t"
_KIN = 2500  # pairs of lines that are compared letter by letter
_HALF = 0.5
_COMPARED = 250_000  # pairs of lines: beyond it, all between the common ends counts as changed


class Sent(NamedTuple):
    """What stands in the file, and `old` and `new` as sent: lines without trailing space."""

    there: list[str]
    old: list[str]
    new: list[str]


def overlay(there: Lines, old: Lines, new: Lines) -> Laid:
    """What takes the place of `there`, which `old` means line by line. Raises PatchRefused."""
    sent = Sent(*([_trimmed(line) for line in lines] for lines in (there, old, new)))
    kept = [new_line + _tail(line) for new_line, line in zip(sent.new, new, strict=True)]
    if any(_tail(a) and not _tail(b) for a, b in zip(old, there, strict=True)):
        kept = sent.new
    as_sent = _merged(_matches(sent.there, sent.new), kept)
    seen = _seen(sent, old)
    mended = _mended(sent, kept, seen)
    if mended == as_sent:
        return as_sent
    flawed = _shares_the_flaw(sent, seen)
    chosen = {False: as_sent, True: mended, None: None}[flawed]
    if chosen is not None and not (_has_drifted(sent) and _leaves_the_block(sent, chosen)):
        return chosen
    shown = "\n".join(repr(line[:160]) for line in there[:6])
    hint = f"the file has:\n{shown}\ncopy it exactly, and send `new` in the same way"
    raise PatchRefused(f"`old` is in the file only with {_flaw(sent)}", hint=hint)


def _trimmed(line: str) -> str:
    """`line` without space after it, and with plain spaces before it."""
    bare = plain(line).rstrip(_SPACE)
    start = len(bare) - len(bare.lstrip(_SPACE))
    return bare[:start] + line[start : len(bare)]


def _tail(line: str) -> str:
    return line[len(plain(line).rstrip(_SPACE)) :]


def _merged(matches: Sequence[int | None], new: Lines) -> Laid:
    return [line if at is None else at for at, line in zip(matches, new, strict=True)]


def _matches(old: Lines, new: Lines) -> list[int | None]:
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


def _mended(sent: Sent, new: Lines, seen: Seen) -> Laid | None:
    """`new` without the flaw of `old`; None where it is not certain how."""
    matches = _matches(sent.old, sent.new)
    added = [at for at, match in enumerate(matches) if match is None]
    partners = _partners(sent, matches)
    place = _placing(sent, matches)
    if place is None:
        return None
    laid = _merged(matches, new)
    for at in added:
        body = _body(sent, at, partners.get(at), seen)
        indent = place(indent_of(new[at]))
        if body is None or indent is None:
            return None
        laid[at] = indent + body + _tail(new[at]) if body else new[at]
    return laid


def _placing(sent: Sent, matches: Sequence[int | None]) -> Rebase | None:
    """How to indent: as all lines show, or else the removed ones, or else those around what is added."""
    runs = [(new, old) for new, old in _runs(matches, len(sent.old)) if any(sent.new[at] for at in new)]
    if not runs:
        return rebased([])
    removed = {at for _, old in runs for at in old}
    around = {at for _, old in runs for at in (old.start - 1, old.stop) if 0 <= at < len(sent.old)}
    for lines in (range(len(sent.old)), removed, around):
        pairs = [(indent_of(sent.old[at]), indent_of(sent.there[at])) for at in lines if sent.old[at]]
        place = rebased(pairs) if pairs else None
        if place and (lines is not around or all(ours == theirs for ours, theirs in pairs)):
            return place
    return None


def _runs(matches: Sequence[int | None], size: int) -> Iterator[tuple[range, range]]:
    """New lines, and the old lines (of `size`) in whose place they are; either may be none."""
    stops = [(at, match) for at, match in enumerate(matches) if match is not None]
    new, old = 0, 0
    for at, match in (*stops, (len(matches), size)):
        yield range(new, at), range(old, match)
        new, old = at + 1, match + 1


def _partners(sent: Sent, matches: Sequence[int | None]) -> dict[int, int]:
    """Changed lines, new to old, that have at least half of their text in common."""
    partners: dict[int, int] = {}
    for ours, theirs in _runs(matches, len(sent.old)):
        if len(ours) * len(theirs) > _KIN:
            continue
        for new in ours:
            alike, old = max(((_alike(sent.new[new], sent.old[at]), at) for at in theirs), default=(0.0, 0))
            if alike >= _HALF:
                partners[new] = old
    return partners


def _alike(new: str, old: str) -> float:
    """The share of both lines' text that is the same at their ends."""
    new, old = new.lstrip(_SPACE), old.lstrip(_SPACE)
    head, tail = _ends(new, old)
    return (head + tail) / (max(len(new), len(old)) or 1)


def _ends(new: str, old: str) -> tuple[int, int]:
    """How many characters are the same at the beginning, and after that at the end."""
    room = min(len(old), len(new))
    head = next((at for at in range(room) if old[at] != new[at]), room)
    room -= head
    return head, next((at for at in range(room) if old[-1 - at] != new[-1 - at]), room)


def _seen(sent: Sent, raw: Lines) -> Seen:
    """What `old` has for other characters of the file."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for old, there, whole in zip(sent.old, sent.there, raw, strict=True):
        for ours, theirs in zip(old.lstrip(_SPACE), there.lstrip(_SPACE), strict=True):
            if ours != theirs or not ours.isascii():
                seen[ours].add(theirs)
        for char in whole[: len(indent_of(old))]:
            if char not in _SPACE:
                seen[char].add(plain(char))
    return {ours: theirs for ours, theirs in seen.items() if theirs != {ours}}


def _body(sent: Sent, at: int, partner: int | None, seen: Seen) -> str | None:
    """A new line without its indentation, in the file's characters; None where they are not certain."""
    new = sent.new[at].lstrip(_SPACE)
    if not seen or not any(char in seen or plain(char) != char for char in new):
        return new
    left, middle, right = "", new, ""
    if partner is not None:
        old, there = sent.old[partner].lstrip(_SPACE), sent.there[partner].lstrip(_SPACE)
        head, tail = _ends(new, old)
        left, middle, right = there[:head], new[head : len(new) - tail], there[len(there) - tail :]
    if any(_doubtful(char, seen) for char in middle):
        return None
    return left + "".join(next(iter(seen.get(char, char))) for char in middle) + right


def _doubtful(char: str, seen: Seen) -> bool:
    """Whether it cannot be told what `char` would be in the file."""
    if char in seen:
        return char.isascii() or len(seen[char]) > 1
    return plain(char) != char


def _shares_the_flaw(sent: Sent, seen: Seen) -> bool | None:
    """Whether `new` has the flaw of `old`, as lines show that both have; None where they do not."""
    keys = [[plain(line).lstrip(_SPACE) for line in lines] for lines in (sent.old, sent.new)]
    matches = _matches(*keys)
    shared = [(line, sent.old[at], sent.there[at]) for line, at in _pairs(sent.new, matches)]
    if not _has_drifted(sent):  # then it is no matter how `new` is indented
        shared = [
            (new.lstrip(_SPACE), old.lstrip(_SPACE), there.lstrip(_SPACE)) for new, old, there in shared
        ]
    flawed = [(new, old, there) for new, old, there in shared if old != there]
    uniform = _is_uniform(sent)
    votes: set[bool | None] = {
        new == old
        for new, old, there in flawed
        if new in (old, there) and not (uniform and new == there and _is_bare(new))
    }
    votes.update(_votes_of_changed(sent, matches, seen))
    moved = any(new not in (old, there) for new, old, there in flawed)
    moved |= len(flawed) < len(shared) and any(new != old for new, old, there in shared if old == there)
    steady = _is_steady(sent)
    if steady:  # what is moved beyond that was moved on purpose
        votes.discard(None)
        moved &= votes != {True}
    if len(votes) != 1 or moved:
        return None
    doubtful = uniform if votes == {False} else _has_drifted(sent) and not steady
    return None if doubtful and _changes_the_depth(sent, matches) else votes.pop()


def _changes_the_depth(sent: Sent, matches: Sequence[int | None]) -> bool:
    """Whether a line right above one that stays is new, or gone: the head of a block that moves the rest.

    Where `old` was sent too far left, lines moved right on purpose may look as they were, and vice versa.
    """
    origins = {at: match for at, match in enumerate(matches) if match is not None}
    origins |= {at: old for at, old in _partners(sent, matches).items() if at not in origins}
    drift = [
        len(indent_of(old)) - len(indent_of(there)) for old, there in zip(sent.old, sent.there, strict=True)
    ]
    ours = [origins.get(at) for at, line in enumerate(sent.new) if line]
    if min(drift) < 0 or not _is_uniform(sent):
        return any(above is None and below is not None and drift[below] for above, below in pairwise(ours))
    theirs = [at if at in ours else None for at, line in enumerate(sent.old) if line]
    return any(above is None and below is not None for above, below in pairwise(theirs))


def _pairs(lines: Lines, matches: Sequence[int | None]) -> list[tuple[str, int]]:
    return [(line, at) for line, at in zip(lines, matches, strict=True) if at is not None]


def _has_drifted(sent: Sent) -> bool:
    return any(indent_of(old) != indent_of(there) for old, there in zip(sent.old, sent.there, strict=True))


def _is_uniform(sent: Sent) -> bool:
    """Whether all of several lines were moved by the same space."""
    pairs = _indents(sent)
    return len(pairs) > 1 and shifted(pairs) is not None


def _is_steady(sent: Sent) -> bool:
    """Whether all of several lines were moved by one rule."""
    pairs = _indents(sent)
    return len(pairs) > 1 and _has_drifted(sent) and rebased(pairs) is not None


def _indents(sent: Sent) -> list[tuple[str, str]]:
    return [(indent_of(a), indent_of(b)) for a, b in zip(sent.old, sent.there, strict=True) if a]


def _votes_of_changed(sent: Sent, matches: Sequence[int | None], seen: Seen) -> Iterator[bool | None]:
    """Like `_shares_the_flaw`, by lines that were changed; None: such a line was moved on purpose."""
    if any(char not in theirs for char, theirs in seen.items() if _occurs(char, sent.new)):
        yield True
    if not _has_drifted(sent):
        return
    for at, partner in _partners(sent, matches).items():
        new, old, there = (indent_of(line) for line in (sent.new[at], sent.old[partner], sent.there[partner]))
        if old != there and new in (old, there):
            yield new == old
        elif new != old:
            yield None


def _is_bare(line: str) -> bool:
    return not any(char.isalnum() for char in line)


def _occurs(char: str, lines: Lines) -> bool:
    return any(char in line for line in lines)


def _leaves_the_block(sent: Sent, laid: Laid) -> bool:
    """Whether a new line is further left than all that stood there: the sign of an indentation misread."""
    least = min((len(indent_of(line)) for line in sent.there if line), default=0)
    return any(isinstance(line, str) and len(indent_of(line)) < least for line in laid if line)


def _flaw(sent: Sent) -> str:
    bodies = zip(sent.old, sent.there, strict=True)
    return (
        "another indentation"
        if all(a.lstrip(_SPACE) == b.lstrip(_SPACE) for a, b in bodies)
        else "other characters"
    )
