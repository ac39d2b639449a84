"""Characters that people and models take for one another: the file's stay, these are only compared."""

from __future__ import annotations

_ALIKE = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u02bc",
    '"': "\u201c\u201d\u201e\u201f\u2033",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212",
    " ": "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "": "\u00ad\u200b\u2060\ufe0e\ufe0f\ufeff",
    "...": "…",
}
_WIDE = {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)}
_TABLE = str.maketrans({char: plain for plain, chars in _ALIKE.items() for char in chars} | _WIDE)


def plain(line: str) -> str:
    """`line` composed, with ASCII for typographic quotes, dashes, spaces and wide forms."""
    if line.isascii():
        return line
    from unicodedata import normalize

    return normalize("NFC", line).translate(_TABLE)
