"""Indentation that differs between a request and the file, and what that means for the lines to add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import gcd
from typing import NamedTuple

_WIDTHS = (4, 2, 8, 3)  # of a tab
_MANY = 3  # lines that all moved alike: chance does not do that


class Shift(NamedTuple):
    """The file's indentation is `add` + the request's without its leading `cut`; one of the two is empty.

    With `width` it is the request's with tabs for every `width` spaces, below zero the other way round.
    """

    add: str = ""
    cut: str = ""
    width: int = 0

    def of(self, line: str) -> str | None:
        """`line` moved; blank lines stay; None if it has not got what is to be cut or exchanged."""
        if not line.strip():
            return line
        if self.width:
            indent = _exchanged(indent_of(line), self.width)
            return None if indent is None else indent + line.lstrip(" \t")
        return self.add + line.removeprefix(self.cut) if line.startswith(self.cut) else None

    def of_all(self, lines: Iterable[str]) -> list[str] | None:
        moved = [self.of(line) for line in lines]
        return None if None in moved else [line for line in moved if line is not None]


NONE = Shift()


class Change(NamedTuple):
    """Neighbouring changed lines: their first added line, the file's first removed line and those around."""

    added: str
    removed: str | None
    around: tuple[str, ...]


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def uniform(lines: Iterable[tuple[str, str]]) -> Shift | None:
    """The one shift that turns every line as sent into the indentation of the file's line paired with it."""
    pairs = [(indent_of(sent), indent_of(found)) for sent, found in lines if sent.strip()]
    if not pairs:
        return NONE
    ours, theirs = pairs[0]
    choices = [Shift(width=sign * width) for width in _WIDTHS for sign in (1, -1)]
    if theirs.endswith(ours):
        choices.insert(0, Shift(add=theirs[: len(theirs) - len(ours)]))
    elif ours.endswith(theirs):
        choices.insert(0, Shift(cut=ours[: len(ours) - len(theirs)]))
    return next((shift for shift in choices if all(shift.of(a + "x") == b + "x" for a, b in pairs)), None)


def meant(lines: Sequence[tuple[str, str]], there: Sequence[str]) -> Shift | None:
    """How the added of a hunk's `lines` (tag, text) move if its old lines are `there` in the file.

    Either the sender moved the whole hunk, or only miscopied old lines: what is added has to stand as the
    lines it replaces, or as its neighbours. None in doubt.
    """
    found = iter(there)
    pairs = [(tag, text, next(found)) for tag, text in lines if tag != "+"]
    pairs = [pair for pair in pairs if pair[1].strip()]
    removed = [(text, line) for tag, text, line in pairs if tag == "-"]
    if removed and uniform(removed) == NONE:
        return NONE
    whole = uniform((text, line) for _, text, line in pairs)
    added = [text for tag, text in lines if tag == "+" and text.strip()]
    choices = {shift: None for shift in (NONE, whole, uniform(removed)) if shift and shift.of_all(added)}
    changes = list(_changes(lines, there))
    if any(change.removed is not None for change in changes):
        fitting = [shift for shift in choices if all(_replaces(shift, change) for change in changes)]
    elif whole is None or not _certain(whole, len(pairs)) or whole not in choices:
        fitting = [shift for shift in choices if all(_joins(shift, change) for change in changes)]
    else:
        fitting = [whole]
    if not fitting:
        return _rest(whole, choices, added, [line for _, _, line in pairs])
    return fitting[0] if len(fitting) == 1 else None


def _certain(whole: Shift, count: int) -> bool:
    """Whether all of `count` lines moved alike by more than a column, which may be a marker's."""
    return count >= _MANY and " " not in (whole.add, whole.cut)


def _rest(whole: Shift | None, choices: Iterable[Shift], added: list[str], found: list[str]) -> Shift | None:
    """The answer where no added line stands as one of the file: a sure shift, else none if that looks right."""
    if whole and whole != NONE and whole in choices:
        return whole if _certain(whole, len(found)) else None
    indents = {indent_of(line) for line in found}
    styles = set("".join(indents))
    unit = gcd(*map(len, indents)) or 1
    own = [indent_of(line) for line in added]
    looks_right = all(set(indent) <= styles and len(indent) % unit == 0 for indent in own)
    return NONE if looks_right and own and own[0] in indents else None


def _changes(lines: Sequence[tuple[str, str]], there: Sequence[str]) -> Iterator[Change]:
    at, above = 0, ""
    rows = [*lines, (" ", "")]
    added: str | None = None
    removed: str | None = None
    for tag, text in rows:
        if tag == "+":
            added = text if added is None and text.strip() else added
            continue
        line = there[at] if at < len(there) else ""
        at += 1
        if tag == "-":
            removed = line if removed is None and line.strip() else removed
        elif line.strip() or at > len(there):
            if added is not None:
                below = (line,) if line.strip() else ()
                yield Change(added, removed, (above, *below) if above else below)
            added, removed, above = None, None, line
    return


def _replaces(shift: Shift, change: Change) -> bool:
    if change.removed is None:
        return _joins(shift, change)
    return indent_of(shift.of(change.added) or "") == indent_of(change.removed)


def _joins(shift: Shift, change: Change) -> bool:
    own = indent_of(shift.of(change.added) or "")
    return any(own == indent_of(line) for line in change.around)


def _exchanged(indent: str, width: int) -> str | None:
    if width < 0:
        return None if indent.startswith(" ") else indent.replace("\t", " " * -width)
    if "\t" in indent:
        return None
    tabs, spaces = divmod(len(indent), width)
    return "\t" * tabs + " " * spaces
