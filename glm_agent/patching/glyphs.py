"""Characters that models write for one another: quotes, dashes, spaces, full-width forms; one for one."""

from __future__ import annotations

_GROUPS = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4",
    '"': "\u201c\u201d\u201e\u201f\u2033",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63",
    " ": "\u00a0\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))),
}
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PLAIN = str.maketrans({like: plain for plain, group in _GROUPS.items() for like in group}) | _FULL_WIDTH


def plain(text: str) -> str:
    """`text` with every look-alike as its ASCII character; the length stays."""
    return text if text.isascii() else text.translate(_PLAIN)
