"""Indentation that differs between a request and the file, and what that means for the lines to add."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import gcd
from typing import NamedTuple

from .alike import plain

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


def foreign(lines: Iterable[str], copied: Iterable[str], added: Iterable[str]) -> bool:
    """Whether lines indented by tabs come into a file of spaces, or the reverse, and no `copied` one is."""
    if any(line[:1] in (" ", "\t") for line in copied):
        return False
    styles = {indent_of(line)[:2] for line in added if line.strip()} - {"", " "}
    if not styles:
        return False
    own = {line[0] for line in lines if line[:1] in ("\t", " ") and line[:2] != " *" and line.strip()}
    return bool(own) and not {style[0] for style in styles} & own


class Group(NamedTuple):
    """A run of changes that adds: its first added line; (sent, found) of what it replaces, or joins."""

    first: str
    beside: list[tuple[str, str]]


class Block:
    """A hunk's lines (tag, text) and those of the file where its old lines were found."""

    def __init__(self, lines: Sequence[tuple[str, str]], there: Sequence[str]) -> None:
        found = iter(there)
        pairs = [(tag, plain(text), plain(next(found))) for tag, text in lines if tag != "+"]
        self.context = [(text, line) for tag, text, line in pairs if tag == " " and text.strip()]
        self.removed = [(text, line) for tag, text, line in pairs if tag == "-" and text.strip()]
        self.added = [text for tag, text in lines if tag == "+" and text.strip()]
        self.groups = list(_groups(lines, there)) if self.added else []

    @property
    def old(self) -> list[tuple[str, str]]:
        return self.context + self.removed

    @property
    def exact(self) -> bool:
        """Whether no old line drifted, or none that is removed, and the rest in no single way."""
        if all(indent_of(sent) == indent_of(found) for sent, found in self.old):
            return True
        if not self.removed or uniform(self.removed) != NONE:
            return False
        return uniform(self.context) is None or self.firm or self.alike()

    def admits(self, shift: Shift) -> bool:
        """Whether all old lines, or at least those removed, moved by `shift`, and the added ones may have."""
        if self.added and shift.of_all(self.added) is None:
            return False
        return any(
            all(indent_of(shift.of(sent) or "") == indent_of(found) for sent, found in pairs)
            for pairs in (self.old, self.removed or self.old)
        )

    def anchored(self, shift: Shift) -> int:
        """In how many places the first added line then stands like one it replaces, or one beside it."""
        return sum(
            any(indent_of(shift.of(group.first) or "") == indent_of(found) for _, found in group.beside)
            for group in self.groups
        )

    @property
    def firm(self) -> bool:
        """Whether all places are so without a shift, and by a line that was copied exactly."""
        return all(
            any(indent_of(group.first) == indent_of(sent) == indent_of(found) for sent, found in group.beside)
            for group in self.groups
        )

    def alike(self) -> bool:
        """Whether added lines are indented in the way of the file, the first like one of those seen."""
        indents = {indent_of(found) for _, found in self.old}
        own = [indent_of(line) for line in self.added]
        unit = gcd(*map(len, indents)) or 1
        right = all(set(indent) <= set("".join(indents)) and len(indent) % unit == 0 for indent in own)
        return not own or (right and own[0] in indents)


def agreed(blocks: Sequence[Block]) -> Shift | None:
    """The one way in which all added lines of a file's hunks move; None in doubt.

    Either the sender moved whole hunks, which then shows in all of them, or only miscopied old lines. What is
    added then has to stand as the lines that it replaces, or as its neighbours.
    """
    adding = [block for block in blocks if block.added]
    moves = [move for block in adding for move in (uniform(block.old), _column(block.removed)) if move]
    known = dict.fromkeys(moves)  # as many as there are ways to move, not as there are hunks
    moves = [move for move in known if move != NONE and all(block.admits(move) for block in blocks)]
    outcomes = {_outcome(move, adding): move for move in reversed(moves)}
    still = _outcome(NONE, adding)
    outcomes.pop(still, None)
    if not outcomes:
        return NONE if _miscopied(blocks) else None
    if len(outcomes) > 1:
        return None
    (move,) = outcomes.values()
    gain = sum(block.anchored(move) - block.anchored(NONE) for block in adding)
    if _sure(move, blocks):
        return move if gain >= 0 else None
    if " " in (move.add, move.cut) and (odd := _odd(NONE, blocks)) != _odd(move, blocks):
        return move if odd else NONE if gain < 0 else None
    few = not any(block.removed for block in adding) and sum(len(block.old) for block in blocks) < _MANY
    if few or gain == 0 or _reindents(adding) or any(block.exact and block.removed for block in adding):
        return None
    return move if gain > 0 else NONE if _miscopied(blocks) else None


def _miscopied(blocks: Sequence[Block]) -> bool:
    """Whether only old lines drifted, most of them not at all, and what is added looks right as it is."""
    adding = [block for block in blocks if block.added]
    if all(block.exact for block in adding) or _context_alone(blocks):
        return True
    moved = Counter(uniform([pair]) for block in blocks for pair in block.old)
    still = moved.pop(NONE, 0) + (len(moved) > 1)  # what moved in several ways was not moved as a whole
    spelled = uniform(pair for block in blocks for pair in block.old)
    if still <= max(moved.values(), default=0) and not (spelled and spelled.width):
        return all(block.firm for block in adding)
    return all(block.exact or block.alike() or block.anchored(NONE) == len(block.groups) for block in adding)


def _context_alone(blocks: Sequence[Block]) -> bool:
    """Whether all context moved alike, but surely not what is added: it has the file's own indentation."""
    spelled = uniform(pair for block in blocks for pair in block.old)
    if spelled and spelled.width:
        style = {char for block in blocks for _, found in block.old for char in indent_of(found)}
        return all(style.issuperset(indent_of(line)) for block in blocks for line in block.added)
    context = uniform(pair for block in blocks for pair in block.context)
    removed = uniform(pair for block in blocks for pair in block.removed)
    return bool(context) and " " in (context.add, context.cut) and removed == NONE


def _odd(shift: Shift, blocks: Sequence[Block]) -> bool:
    """Whether an added line then stands in a column that the lines around it avoid."""
    there = [indent_of(found) for block in blocks for _, found in block.old]
    style = set("".join(there)) or {" "}
    unit = next((unit for unit in (4, 2) if sum(len(i) % unit == 0 for i in there) > 0.8 * len(there)), 1)
    moved = [indent_of(shift.of(line) or "") for block in blocks for line in block.added]
    foreign = [own for own in moved if own not in there]
    return any(not style.issuperset(own) or ("\t" not in own and len(own) % unit) for own in foreign)


def _column(removed: Sequence[tuple[str, str]]) -> Shift | None:
    """The shift of removed lines if it is a marker's column: context may have lost or gained its own."""
    shift = uniform(removed)
    return shift if shift and " " in (shift.add, shift.cut) else None


def _outcome(shift: Shift, blocks: Sequence[Block]) -> tuple[str | None, ...]:
    return tuple(shift.of(line) for block in blocks for line in block.added)


def _sure(move: Shift, blocks: Sequence[Block]) -> bool:
    """Whether all lines moved so, many of them, and by more than a column, which may be a marker's."""
    pairs = [pair for block in blocks for pair in block.old]
    if any(indent_of(move.of(sent) or "") != indent_of(found) for sent, found in pairs):
        return False
    return sum(move.of(sent) != sent for sent, _ in pairs) >= _MANY and " " not in (move.add, move.cut)


def _reindents(blocks: Sequence[Block]) -> bool:
    """Whether some line is removed and added with nothing but its indentation changed."""
    return any({sent.strip() for sent, _ in b.removed} & {text.strip() for text in b.added} for b in blocks)


def _groups(lines: Sequence[tuple[str, str]], there: Sequence[str]) -> Iterator[Group]:
    found = iter(there)
    above: tuple[str, str] | None = None
    added: list[str] = []
    removed: list[tuple[str, str]] = []
    for tag, text in [*lines, (" ", "")]:
        if tag == "+":
            added += [text] if text.strip() else []
            continue
        line = next(found, None)
        below = None if line is None else (text, line)
        if tag == "-":
            removed += [below] if below and text.strip() else []
        elif line is None or line.strip():
            if added:
                yield Group(added[0], removed[:1] or [near for near in (above, below) if near is not None])
            added, removed, above = [], [], below


def _exchanged(indent: str, width: int) -> str | None:
    if width < 0:
        return None if indent.startswith(" ") else indent.replace("\t", " " * -width)
    if "\t" in indent:
        return None
    tabs, spaces = divmod(len(indent), width)
    return "\t" * tabs + " " * spaces
