"""Whether `new` was copied as badly as `old`, or is as the file should be: what the lines of both show."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from .alignment import SPACE, Lines, Matches, Sent, matches_of, partners_of
from .glyphs import plain
from .indent import indent_of
from .rebase import rebased, shifted

Seen = dict[str, set[str]]  # a character as sent, and what the file has in its places
Laid = list[int | str]  # lines of the file that stay, by number, and new ones


def is_in_new(sent: Sent, seen: Seen) -> bool | None:
    """Whether `new` has the flaw of `old`, as lines show that both have; None where they do not."""
    keys = [[plain(line).lstrip(SPACE) for line in lines] for lines in (sent.old, sent.new)]
    matches = matches_of(*keys)
    shared = [(line, sent.old[at], sent.there[at]) for line, at in _pairs(sent.new, matches)]
    if not has_drifted(sent):  # then it is no matter how `new` is indented
        shared = [(new.lstrip(SPACE), old.lstrip(SPACE), there.lstrip(SPACE)) for new, old, there in shared]
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
    doubtful = uniform if votes == {False} else has_drifted(sent) and not steady
    return None if doubtful and _changes_the_depth(sent, matches) else votes.pop()


def _changes_the_depth(sent: Sent, matches: Matches) -> bool:
    """Whether a line right above one that stays is new, or gone: the head of a block that moves the rest.

    Where `old` was sent too far left, lines moved right on purpose may look as they were, and vice versa.
    """
    origins = {at: match for at, match in enumerate(matches) if match is not None}
    origins |= {at: old for at, old in partners_of(sent, matches).items() if at not in origins}
    drift = [
        len(indent_of(old)) - len(indent_of(there)) for old, there in zip(sent.old, sent.there, strict=True)
    ]
    ours = [origins.get(at) for at, line in enumerate(sent.new) if line]
    if min(drift) < 0 or not _is_uniform(sent):
        return any(above is None and below is not None and drift[below] for above, below in pairwise(ours))
    theirs = [at if at in ours else None for at, line in enumerate(sent.old) if line]
    return any(above is None and below is not None for above, below in pairwise(theirs))


def _pairs(lines: Lines, matches: Matches) -> list[tuple[str, int]]:
    return [(line, at) for line, at in zip(lines, matches, strict=True) if at is not None]


def _votes_of_changed(sent: Sent, matches: Matches, seen: Seen) -> Iterator[bool | None]:
    """Like `_shares_the_flaw`, by lines that were changed; None: such a line was moved on purpose."""
    if any(char not in theirs for char, theirs in seen.items() if _occurs(char, sent.new)):
        yield True
    if not has_drifted(sent):
        return
    for at, partner in partners_of(sent, matches).items():
        new, old, there = (indent_of(line) for line in (sent.new[at], sent.old[partner], sent.there[partner]))
        if old != there and new in (old, there):
            yield new == old
        elif new != old:
            yield None


def _is_bare(line: str) -> bool:
    return not any(char.isalnum() for char in line)


def _occurs(char: str, lines: Lines) -> bool:
    return any(char in line for line in lines)


def has_drifted(sent: Sent) -> bool:
    return any(indent_of(old) != indent_of(there) for old, there in zip(sent.old, sent.there, strict=True))


def _is_uniform(sent: Sent) -> bool:
    """Whether all of several lines were moved by the same space."""
    pairs = _indents(sent)
    return len(pairs) > 1 and shifted(pairs) is not None


def _is_steady(sent: Sent) -> bool:
    """Whether all of several lines were moved by one rule."""
    pairs = _indents(sent)
    return len(pairs) > 1 and has_drifted(sent) and rebased(pairs) is not None


def _indents(sent: Sent) -> list[tuple[str, str]]:
    return [(indent_of(a), indent_of(b)) for a, b in zip(sent.old, sent.there, strict=True) if a]


def leaves_the_block(sent: Sent, laid: Laid) -> bool:
    """Whether a new line is further left than all that stood there: the sign of an indentation misread."""
    least = min((len(indent_of(line)) for line in sent.there if line), default=0)
    return any(isinstance(line, str) and len(indent_of(line)) < least for line in laid if line)


def name(sent: Sent) -> str:
    bodies = zip(sent.old, sent.there, strict=True)
    return (
        "another indentation"
        if all(a.lstrip(SPACE) == b.lstrip(SPACE) for a, b in bodies)
        else "other characters"
    )
