"""Bytes to text and back, without loss: UTF-8, UTF-16 and UTF-32 by their mark, else Latin-1."""

from __future__ import annotations

import codecs

# An encoding that starts with a byte order mark is named `...-bom`; the mark is no part of the text.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(data: bytes) -> tuple[str, str]:
    """The text and the name of its encoding, such that `encode` gives back exactly `data`; never fails."""
    for mark, codec in _MARKS:
        if data.startswith(mark) and (text := _strict(data[len(mark) :], codec)) is not None:
            return text, f"{codec}-bom"
    if (text := _strict(data, "utf-8")) is not None:
        return text, "utf-8"
    return data.decode("latin-1"), "latin-1"


def encode(text: str, encoding: str) -> bytes:
    """The bytes of `text` in an encoding named by `decode`. Raises UnicodeEncodeError."""
    codec = encoding.removesuffix("-bom")
    mark = next(mark for mark, name in _MARKS if name == codec) if codec != encoding else b""
    return mark + text.encode(codec)


def _strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None
