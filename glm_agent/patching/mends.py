"""Other ways to read the hunks of a patch that does not fit as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .body import Body
from .clean import unescape
from .parse import Mend

_NUMBERED = re.compile(r" *([0-9]{1,7})((?:[\t:|│→ ].*)?)", re.DOTALL)
_MARKS = ("\t", " | ", "| ", "|", " │ ", "│", "→", ": ", ":", " ")
_MANY = 20_000  # lines: to read more in every way takes long
_FIRST = 50  # lines: no numbers here, none at all


class _Unnumbered(NamedTuple):
    """A hunk's first line number, its lines without theirs, and if added ones had some (None: no such)."""

    first: int
    rows: list[tuple[str, str]]
    added: bool | None


def unescaped(bodies: Sequence[Body]) -> bool:
    """Written with HTML entities throughout."""
    texts = unescape([text for body in bodies for _, text in body.lines])
    rest = iter(texts or [])
    for body in bodies:
        body.lines = [(tag, next(rest, text)) for tag, text in body.lines]
    return texts is not None


def bared(bodies: Sequence[Body]) -> bool:
    """Without the space before any line of context, where some line shows that it has none."""
    found = False
    for body in bodies:
        spaced = {
            at for at, (tag, text) in enumerate(body.lines) if tag == " " and text and at not in body.bare
        }
        if body.bare and spaced:
            found = True
            body.lines = [(tag, " " * (at in spaced) + text) for at, (tag, text) in enumerate(body.lines)]
            body.bare |= spaced
            body.header.start = body.header.new_start = None
    return found


def unnumbered(mark: str) -> Mend:
    """With a line number and `mark` before every old line, as other tools show a file."""

    def mend(bodies: Sequence[Body]) -> bool:
        read = [found for body in bodies if (found := _without_numbers(body, mark))]
        if not read or len(read) < len(bodies) or len({found.added for found in read} - {None}) > 1:
            return False
        for body, found in zip(bodies, read, strict=True):
            same = body.header.start in (None, found.first)  # else that it fits but once has to do
            body.header.start = found.first if same else None
            body.header.new_start = body.header.new_start if same else None
            if body.anchors:  # which may say otherwise
                body.header.start, body.anchors = None, ()
            body.lines = found.rows
        return True

    return mend


def _without_numbers(body: Body, mark: str) -> _Unnumbered | None:
    """The hunk without the numbers; None unless they count, before all old lines and all or no added ones."""
    old = [_number(text, mark) for tag, text in body.lines if tag != "+"]
    numbered = [found for found in old if found]
    if not old or len(numbered) < len(old):
        return None
    first, rests = numbered[0][0], [rest for _, rest in numbered]
    if [number for number, _ in numbered] != list(range(first, first + len(old))):
        return None
    added = [text for tag, text in body.lines if tag == "+"]
    new = [_number(text, mark) for text in added]
    if not any(new) and any(_looks_numbered(text, mark) for text in added):
        return None
    if any(new) and (not _follows(body, mark, first) or all(_number(rest, mark) for rest in rests)):
        return None
    left = iter(rests)
    rows = [
        (tag, next(left) if tag != "+" else found[1] if (found := _number(text, mark)) else text)
        for tag, text in body.lines
    ]
    return _Unnumbered(first, rows, any(new) if new else None)


def _looks_numbered(text: str, mark: str) -> bool:
    """Whether an added line may have a number with another mark, or the mark alone."""
    match, sign = _NUMBERED.fullmatch(text), mark.strip()
    return bool(match and match[2].strip()) or bool(sign and text.lstrip().startswith(sign))


def _follows(body: Body, mark: str, first: int) -> bool:
    """Whether added lines are numbered as they will stand."""
    added = [
        (at, text)
        for at, (tag, text) in enumerate(line for line in body.lines if line[0] != "-")
        if tag == "+"
    ]
    starts = {first, body.header.new_start}
    return any(
        all((found := _number(text, mark)) is not None and found[0] == start + at for at, text in added)
        for start in starts
        if start is not None
    )


def _number(text: str, mark: str) -> tuple[int, str] | None:
    match = _NUMBERED.fullmatch(text)
    if not match or not (match[2].startswith(mark) or match[2] == mark.rstrip()):
        return None
    return int(match[1]), match[2][len(mark) :]


def mends(bodies: Sequence[Body]) -> Iterator[tuple[str, Mend]]:
    """Those that may have something to do, and what is then overlooked."""
    if sum(len(body.lines) for body in bodies) > _MANY:
        return
    if any(body.bare for body in bodies):
        yield "context without a space before it", bared
    first = bodies[0].lines if bodies else []
    for mark in _MARKS:
        if any(_number(text, mark) for _, text in first[:_FIRST]):
            yield "line numbers", unnumbered(mark)
