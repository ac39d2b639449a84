"""Characters that people and models take for one another: the file's stay, these are only compared."""

from __future__ import annotations

_ALIKE = {
    "'": "‘’‚‛′ʼ",
    '"': "“”„‟″",
    "-": "‐‑‒–—―−",
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
