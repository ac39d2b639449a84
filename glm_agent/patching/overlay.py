"""New lines laid over the file's, where what was sent differs from the file in space or look-alikes.

Two readings are possible: `new` is as the file should be (only `old` was copied badly), or it has the same
flaw as `old` and is to be mended alike. Lines that `old` and `new` share tell which; doubt is refused.
"""

from __future__ import annotations

from collections import defaultdict

from . import flaw
from .alignment import SPACE, Lines, Matches, Sent, common_ends, matches_of, partners_of, runs_of, trimmed
from .flaw import Laid, Seen
from .glyphs import plain
from .indent import indent_of
from .rebase import Rebase, rebased
from .refusal import PatchRefused


def overlay(there: Lines, old: Lines, new: Lines) -> Laid:
    """What takes the place of `there`, which `old` means line by line. Raises PatchRefused."""
    sent = Sent(*([trimmed(line) for line in lines] for lines in (there, old, new)))
    kept = [new_line + _tail(line) for new_line, line in zip(sent.new, new, strict=True)]
    if any(_tail(a) and not _tail(b) for a, b in zip(old, there, strict=True)):
        kept = sent.new
    as_sent = _merged(matches_of(sent.there, sent.new), kept)
    seen = _seen(sent, old)
    mended = _mended(sent, kept, seen)
    if mended == as_sent:
        return as_sent
    flawed = flaw.is_in_new(sent, seen)
    chosen = {False: as_sent, True: mended, None: None}[flawed]
    if chosen is not None and not (flaw.has_drifted(sent) and flaw.leaves_the_block(sent, chosen)):
        return chosen
    shown = "\n".join(repr(line[:160]) for line in there[:6])
    hint = f"the file has:\n{shown}\ncopy it exactly, and send `new` in the same way"
    raise PatchRefused(f"`old` is in the file only with {flaw.name(sent)}", hint=hint)


def _tail(line: str) -> str:
    return line[len(plain(line).rstrip(SPACE)) :]


def _merged(matches: Matches, new: Lines) -> Laid:
    return [line if at is None else at for at, line in zip(matches, new, strict=True)]


def _mended(sent: Sent, new: Lines, seen: Seen) -> Laid | None:
    """`new` without the flaw of `old`; None where it is not certain how."""
    matches = matches_of(sent.old, sent.new)
    added = [at for at, match in enumerate(matches) if match is None]
    partners = partners_of(sent, matches)
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


def _placing(sent: Sent, matches: Matches) -> Rebase | None:
    """How to indent: as all lines show, or else the removed ones, or else those around what is added."""
    runs = [(new, old) for new, old in runs_of(matches, len(sent.old)) if any(sent.new[at] for at in new)]
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


def _seen(sent: Sent, raw: Lines) -> Seen:
    """What `old` has for other characters of the file."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for old, there, whole in zip(sent.old, sent.there, raw, strict=True):
        for ours, theirs in zip(old.lstrip(SPACE), there.lstrip(SPACE), strict=True):
            if ours != theirs or not ours.isascii():
                seen[ours].add(theirs)
        for char in whole[: len(indent_of(old))]:
            if char not in SPACE:
                seen[char].add(plain(char))
    return {ours: theirs for ours, theirs in seen.items() if theirs != {ours}}


def _body(sent: Sent, at: int, partner: int | None, seen: Seen) -> str | None:
    """A new line without its indentation, in the file's characters; None where they are not certain."""
    new = sent.new[at].lstrip(SPACE)
    if not seen or not any(char in seen or plain(char) != char for char in new):
        return new
    left, middle, right = "", new, ""
    if partner is not None:
        old, there = sent.old[partner].lstrip(SPACE), sent.there[partner].lstrip(SPACE)
        head, tail = common_ends(new, old)
        left, middle, right = there[:head], new[head : len(new) - tail], there[len(there) - tail :]
    if any(_doubtful(char, seen) for char in middle):
        return None
    return left + "".join(next(iter(seen.get(char, char))) for char in middle) + right


def _doubtful(char: str, seen: Seen) -> bool:
    """Whether it cannot be told what `char` would be in the file."""
    if char in seen:
        return char.isascii() or len(seen[char]) > 1
    return plain(char) != char
