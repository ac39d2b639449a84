"""What a word that is unknown may have been meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_MOST = 3  # suggestions
_LEAST = 0.5  # how like two words must be, from 0 to 1
_LONGEST = 100  # characters that are compared
_SPREAD = 0.1  # by how much another suggestion may be worse than the best


def near(name: str, names: Iterable[str]) -> str:
    """`; did you mean a or b?`, best first, to follow an error's text; "" if nothing is near."""
    from difflib import SequenceMatcher, get_close_matches  # 8 ms: only for an error message

    name = name[:_LONGEST]
    found = get_close_matches(name, [other for other in names if other != name], _MOST, _LEAST)
    scores = [SequenceMatcher(None, other, name).ratio() for other in found]
    close = [other for other, score in zip(found, scores, strict=True) if score >= scores[0] - _SPREAD]
    return f"; did you mean {' or '.join(close)}?" if close else ""
