"""Indentation that differs between a request and the file, and what that means for the lines to add."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Shift(NamedTuple):
    """The file's indentation is `add` + the request's without its leading `cut`; one of the two is empty."""

    add: str = ""
    cut: str = ""

    def of(self, line: str) -> str | None:
        """`line` moved; blank lines stay; None if it has not got what is to be cut."""
        if not line.strip():
            return line
        return self.add + line.removeprefix(self.cut) if line.startswith(self.cut) else None

    def of_all(self, lines: Iterable[str]) -> list[str] | None:
        moved = [self.of(line) for line in lines]
        return None if None in moved else [line for line in moved if line is not None]


NONE = Shift()


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def uniform(lines: Iterable[tuple[str, str]]) -> Shift | None:
    """The one shift that turns every line as sent into the indentation of the file's line paired with it."""
    pairs = [(indent_of(sent), indent_of(found)) for sent, found in lines if sent.strip()]
    if not pairs:
        return NONE
    ours, theirs = pairs[0]
    if theirs.endswith(ours):
        shift = Shift(add=theirs[: len(theirs) - len(ours)])
    elif ours.endswith(theirs):
        shift = Shift(cut=ours[: len(ours) - len(theirs)])
    else:
        return None
    return shift if all(shift.of(a + "x") == b + "x" for a, b in pairs) else None
