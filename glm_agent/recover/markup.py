"""The model's markup in a text: its tags from left to right, and a whole call where one starts."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

from ..shape import mapping, string
from ..types import Json
from .schema import decode, typed

Tools = Mapping[str, Json]
"""The tools on offer, by name: the JSON schema of their parameters."""

_TOKEN = re.compile(
    r"(?P<fence>^[ \t>]*(?:`{3,}[^`\n]*|~{3,}[^\n]*)$)|(?P<ticks>`+)"
    r"|(?P<box><\|(?:begin|end)_of_box\|>)|(?P<think></?think>)"
    r"|(?P<call><tool_call>|<invoke\s+name\s*=)|(?P<stray></(?:tool_call|arg_key|arg_value|invoke)>)",
    re.MULTILINE,
)
_MARKUP = re.compile(
    r"</?tool_call>|</?arg_(?:key|value)>|<invoke\s+name\s*=|</invoke>|<parameter\s+name\s*="
)
_SPACE = re.compile(r"\s*+")


class Tokens:
    """The tags of a text, but for those in code spans and fences: they are what an answer is about."""

    __slots__ = ("_paragraph_end", "_ticks", "place", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self._ticks: dict[int, list[int]] = {}  # runs of backticks: where those of a length start
        self._paragraph_end = -1

    def next(self) -> re.Match[str] | None:
        """The next tag from `place` on; its group is box, think, call or stray."""
        while token := _TOKEN.search(self.text, self.place):
            self.place = token.end()
            if token.lastgroup == "fence":
                self._skip_fence(token)
            elif token.lastgroup == "ticks":
                self._skip_span(token)
            else:
                return token
        return None

    def _skip_fence(self, opening: re.Match[str]) -> None:
        """To the fence's end; one that never closes goes on to the end of the text."""
        line = opening[0].lstrip(" \t>")
        length = len(line) - len(line.lstrip(line[0]))
        closing = re.compile(rf"^[ \t>]*{line[0]}{{{length},}}[ \t]*$", re.MULTILINE)
        end = closing.search(self.text, opening.end())
        self.place = end.end() if end else len(self.text)

    def _skip_span(self, opening: re.Match[str]) -> None:
        """To the next run of as many backticks in the same paragraph, if there is one."""
        if not self._ticks:
            for run in re.finditer("`+", self.text):
                self._ticks.setdefault(len(run[0]), []).append(run.start())
        if opening.end() > self._paragraph_end:
            end = self.text.find("\n\n", opening.end())
            self._paragraph_end = end if end >= 0 else len(self.text)
        starts = self._ticks.get(len(opening[0]), [])
        number = bisect_left(starts, opening.end())
        if number < len(starts) and starts[number] < self._paragraph_end:
            self.place = starts[number] + len(opening[0])


class Written(NamedTuple):
    """A call in a text that ends at `end`; its arguments have the types of the tool's schema."""

    name: str
    arguments: Json
    end: int


class _Style(NamedTuple):
    """One of the ways to write a call; group 1 is the name of the tool, or of an argument."""

    opening: re.Pattern[str]
    argument: re.Pattern[str]  # up to where the value begins
    value_end: str
    closing: re.Pattern[str]


_GLM = _Style(
    re.compile(r"<tool_call>\s*+([^\s<>{]*+)\s*+"),
    re.compile(r"<arg_key>\s*+([^\s<>]++)\s*+</arg_key>\s*+<arg_value>"),
    "</arg_value>",
    re.compile(r"</tool_call>"),
)
_INVOKE = _Style(
    re.compile(r"(?:<tool_call>\s*+)?<invoke\s++name\s*+=\s*+[\"']([^\"'<>]++)[\"']\s*+>\s*+"),
    re.compile(r"<parameter\s++name\s*+=\s*+[\"']([^\"'<>]++)[\"'][^<>]*+>"),
    "</parameter>",
    re.compile(r"</invoke>(?:\s*+</tool_call>)?"),
)


def parse(text: str, place: int, tools: Tools) -> Written | None:
    """The call that starts at `place`, if it is whole; its tool may be unknown."""
    for style in (_GLM, _INVOKE):
        opening = style.opening.match(text, place)
        if opening is None:
            continue
        if text.startswith("{", opening.end()):
            found = _read_json(text, opening.end(), opening[1])
        else:
            found = read_arguments(text, opening.end(), opening[1], tools, style)
        if found and found.name and (closing := style.closing.match(text, found.end)):
            return found._replace(end=closing.end())
    return None


def read_arguments(text: str, place: int, name: str, tools: Tools, style: _Style = _GLM) -> Written | None:
    """A call up to where no further argument is. None if one is cut, given twice or holds markup."""
    known = find_tool(name, tools)
    properties = mapping(tools[known].get("properties")) if known is not None else {}
    arguments: Json = {}
    while opening := style.argument.match(text, place):
        end = text.find(style.value_end, opening.end())
        value = text[opening.end() : end]
        if end < 0 or opening[1] in arguments or _MARKUP.search(value):
            return None
        arguments[opening[1]] = typed(value, properties.get(opening[1]))
        place = skip_space(text, end + len(style.value_end))
    return Written(name, arguments, place)


def _read_json(text: str, place: int, name: str) -> Written | None:
    """A call whose arguments, or all of it, are one JSON object."""
    try:
        value, end = decode(text, place)
    except (ValueError, RecursionError):
        return None
    body = mapping(value)
    if not name:
        name, body = string(body.get("name")), mapping(body.get("arguments", body.get("parameters")))
    return Written(name, body, skip_space(text, end))


def find_tool(name: str, tools: Tools) -> str | None:
    """The tool that is meant by `name`, which may have a prefix, or space around it."""
    bare = name.strip()
    return next((found for found in (name, bare, bare.removeprefix("functions.")) if found in tools), None)


def skip_space(text: str, place: int) -> int:
    space = _SPACE.match(text, place)
    return space.end() if space else place
