"""From the indentation that was sent to the file's: the one way that fits all lines, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Rebase = Callable[[str], str | None]
Pairs = Sequence[tuple[str, str]]

_WIDTHS = (4, 2, 8, 3)  # of a tab


def rebased(pairs: Iterable[tuple[str, str]]) -> Rebase | None:
    """What turns the first of each pair into the second, for other indentations too (None if it cannot)."""
    known = sorted(set(pairs))
    if all(ours == theirs for ours, theirs in known):
        return lambda indent: indent
    if shift := shifted(known):
        return shift
    ways = [way(width) for width in _WIDTHS for way in (_expanded, _compressed)]
    if len({ours for ours, _ in known} - {""}) > 1:  # one depth alone would be taken for a shift
        ways += [_scaled(2, 4), _scaled(4, 2), _scaled(4, 8), _scaled(8, 4)]
    return next((way for way in ways if all(way(ours) == theirs for ours, theirs in known)), None)


def shifted(pairs: Pairs) -> Rebase | None:
    """Like `rebased`, for lines that all moved right or left by the same space."""
    ours, theirs = pairs[0]
    add = theirs[: len(theirs) - len(ours)] if theirs.endswith(ours) else ""
    cut = ours[: len(ours) - len(theirs)] if ours.endswith(theirs) else ""
    if not add and not cut:
        return None

    def shift(indent: str) -> str | None:
        return add + indent.removeprefix(cut) if indent.startswith(cut) else None

    return shift if all(shift(ours) == theirs for ours, theirs in pairs) else None


def _expanded(width: int) -> Rebase:
    return lambda indent: indent.expandtabs(width)


def _compressed(width: int) -> Rebase:
    def compress(indent: str) -> str:
        depth, rest = divmod(len(indent.expandtabs(width)), width)
        return "\t" * depth + " " * rest

    return compress


def _scaled(ours: int, theirs: int) -> Rebase:
    def scale(indent: str) -> str | None:
        depth, rest = divmod(len(indent), ours)
        return None if rest or "\t" in indent else " " * theirs * depth

    return scale
