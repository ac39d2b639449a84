"""The lines of a patch without what it travelled in: JSON, escapes, colours, CRLF, a byte order mark."""

from __future__ import annotations

import re

from .wrapping import unwrapped, without_shell

_HEADS = ("--- ", "+++ ", "@@", "diff --git ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")
_COLOURED_HEAD = re.compile(r"^(?:\x1b\[[0-9;]*[mK])+(?:@@|--- |\+\+\+ |diff --git )", re.MULTILINE)
_INDENTED_HEAD = re.compile(r"([ \t]+)(?:--- |\+\+\+ |diff --git )")
_END_OF_PATCH = re.compile(r"\n[ \t]+\*\*\* End Patch\s*$")
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#39|#x27|#34);")
_RAW = re.compile(r"[<>]|&(?!(?:lt|gt|amp|quot|apos|#39|#x27|#34);)")


def clean(text: str) -> list[str]:
    """The lines of the patch in `text`, split at "\\n" alone."""
    text = _END_OF_PATCH.sub("\n*** End Patch", unwrapped(text.removeprefix("\ufeff").strip("\n")))
    if _COLOURED_HEAD.search(text):
        text = _COLOUR.sub("", text)
    lines = without_shell(_dedented(text.split("\n")))
    heads = [line for line in lines if line.startswith(_HEADS)] or [
        line for line in lines if line[:4] == "*** "
    ]
    ended = [line.endswith("\r") for line in heads]
    if any(ended[:1]) and 2 * sum(ended) > len(ended):  # as CRLF; removed lines may look like heads
        return [line.removesuffix("\r") for line in lines]
    return lines


def has_entity(line: str) -> bool:
    return _ENTITY.search(line) is not None


def could_be_escaped(text: str) -> bool:
    """Whether nothing stands bare in `text` that becomes an entity where others of its kind did."""
    quotes = (("&quot;", "&#34;"), '"'), (("&apos;", "&#39;", "&#x27;"), "'")
    return not _RAW.search(text) and not any(
        quote in text and any(entity in text for entity in entities) for entities, quote in quotes
    )


def unescape(lines: list[str]) -> list[str] | None:
    """Lines that were written with HTML entities throughout, without them; None if they were not."""
    if not any(_ENTITY.search(line) for line in lines) or any(_RAW.search(line) for line in lines):
        return None
    from html import unescape

    return [_ENTITY.sub(lambda match: unescape(match[0]), line) for line in lines]


def _dedented(lines: list[str]) -> list[str]:
    """The lines of a patch that stands indented as a whole, as in a list."""
    if any(line.startswith(_HEADS) for line in lines):
        return lines
    first = next((match for line in lines if (match := _INDENTED_HEAD.match(line))), None)
    return [line.removeprefix(first[1]) for line in lines] if first else lines
