"""Characters that are taken for one another, exchanged one for one."""

from __future__ import annotations

from .alike import plain as folded


def plain(text: str) -> str:
    """`text` with the plain character for every look-alike; the length stays."""
    if text.isascii():
        return text
    exchanged = ((char, folded(char)) for char in set(text))
    return text.translate(str.maketrans({char: like for char, like in exchanged if len(like) == 1}))
