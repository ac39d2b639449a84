"""What closes a tool call or a fence, left right behind the last line of a patch, as if it belonged to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .refusal import PatchRefused

_OF_CALLS = (
    "arg_value|arg_key|tool_call|parameter|invoke|function_calls?|tool_use|antml:parameter|antml:invoke"
)
_OF_TEXT = "patch|diff|input|apply_patch|code|answer"
_CLOSER = rf"(?:</(?:{_OF_CALLS}|{_OF_TEXT})>|<\|\w+\|>|```)"
_ALONE = re.compile(rf"\s*{_CLOSER}(?:\s*{_CLOSER})*\s*")
_GLUED = re.compile(rf"(.*?[^\s`])\s*({_CLOSER}(?:\s*{_CLOSER})*)\s*", re.DOTALL)
_NAME = re.compile(r"</([\w:]+)>|<\|(\w+)\|>|(```)")
_SURE = re.compile(rf"{_OF_CALLS}")
_HEADER = re.compile(r"\*\*\* |\+\+\+ |(?:rename|copy) to |(?:new|deleted) (?:file )?mode |similarity ")
_HEADS = re.compile(r"^(?:--- ?\S|diff --git |\*\*\* )", re.MULTILINE)
_LAST = 8  # lines
_WIDTH = 300  # characters of the last line that are looked at
_FENCE = "```"


class Reading(NamedTuple):
    """The patch, and what it is without the end of its last line if the file is to decide."""

    text: str
    other: str | None = None


def read(text: str, files: Iterable[str | None]) -> Reading:
    """The patch without what is glued to its end; `files` are the texts it is for. Raises PatchRefused."""
    found = _split(text)
    if not found:
        return Reading(text)
    above, line, tail = found
    bare = f"{above}{line}\n"
    if _HEADER.match(line):
        return Reading(bare)
    if not line.startswith("+"):
        return Reading(text, bare)
    head = _HEADS.search(text)
    start = head.start() if head else 0
    around, body = text[:start], above[start:] + line
    verdicts = {_belongs(name, sure, around, body, list(filter(None, files))) for name, sure in _names(tail)}
    if verdicts == {True}:
        return Reading(text)
    if verdicts == {False}:
        return Reading(bare)
    hint = f"send it again without {tail} behind its last line, or with a line of context below"
    raise PatchRefused(f"its last line may end with {tail} or before it", hint=hint)


def _split(text: str) -> tuple[str, str, str] | None:
    """All above the last line, that line without what is glued to it, and that; None if nothing is."""
    end = len(text.rstrip())
    for _ in range(_LAST):
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end]
        if line.strip() and not _ALONE.fullmatch(line):
            match = _GLUED.fullmatch(line[-_WIDTH:]) if line[-1:] in (">", "`") else None
            return (
                (text[:start], line[:-_WIDTH] + match[1], match[2])
                if match and _says(line, match[1])
                else None
            )
        if start == 0:
            break
        end = start - 1
    return None


def _says(line: str, rest: str) -> bool:
    """Whether something is left of `line` that may be a patch's, and no fence that it opens itself."""
    return bool(rest[1:].strip()) and line[0] != "@" and rest.count(_FENCE) % 2 == 0


def _names(tail: str) -> Iterator[tuple[str, bool]]:
    """What is closed, and whether only tool calls have it."""
    for match in _NAME.finditer(tail):
        if match[3]:
            yield match[3], False
        elif match[2]:
            yield f"<|{match[2]}", True
        else:
            yield match[1], bool(_SURE.fullmatch(match[1]))


def _belongs(name: str, sure: bool, around: str, body: str, files: list[str]) -> bool | None:
    """Whether the last line of `body` has it for certain, or has it not; None in doubt."""
    opening = name if name == _FENCE else f"<{name}".replace("<<", "<")
    if opening in around:
        return None if opening in body else False
    if name == _FENCE:
        return None
    closing = opening.replace("<", "</", 1)
    if body.count(opening) > body.count(closing) and name[0] != "<":
        return True
    known = any(opening in text or closing in text for text in (body, *files))
    if sure:
        return None if known else False
    return True if any(opening in text for text in files) else None
