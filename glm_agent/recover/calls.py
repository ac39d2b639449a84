"""Calls that were written as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from ..types import Json, ToolCall
from .markup import Tokens, Tools, find_tool, parse

TEXT_CALL = "a tool call was written as text"

Fits = Callable[[str, Json], bool]
"""Whether the tool of that name takes these arguments."""

_WRAPPER = re.compile(r"</?(?:\w+:)?function_calls>")
_ATTEMPT = re.compile(
    r"<tool_call>\s*+((?:[A-Za-z_][^\s<>{]*+)?)\s*+(</?(?:arg_|tool_call>|invoke)|\{|\Z)?"
)  # else a tag is only spoken of


class Found(NamedTuple):
    """The calls in a text, and what remains of it; or a flaw, and no calls."""

    calls: list[ToolCall]
    rest: str
    flaw: str | None = None


def extract(text: str, tools: Tools, accepts: Fits) -> Found:
    """All calls in `text`; where one of them is not to be executed, none is."""
    if "<tool_call>" not in text and "<invoke" not in text:
        return Found([], text)
    calls: list[ToolCall] = []
    kept: list[str] = []
    tokens, start, astray = Tokens(text), 0, False
    while token := tokens.next():
        astray = astray or token.lastgroup == "stray"
        if token.lastgroup != "call" or not _is_attempt(token, tools):
            continue
        call, end = _read(token, tools, accepts)
        if isinstance(call, str):
            return Found([], text, f"{TEXT_CALL}, {call}")
        calls.append(call)
        kept.append(text[start : token.start()])
        start = tokens.place = end
    if calls and astray:
        return Found([], text, f"{TEXT_CALL}, with markup astray")
    rest = "".join([*kept, text[start:]])
    return Found(calls, _WRAPPER.sub("", rest).strip() if calls else text)


def _is_attempt(token: re.Match[str], tools: Tools) -> bool:
    """Whether the tag starts a call, be it broken, and is not merely spoken of."""
    match = _ATTEMPT.match(token.string, token.start())
    return match is None or match[2] is not None or find_tool(match[1], tools) is not None


def _read(token: re.Match[str], tools: Tools, accepts: Fits) -> tuple[ToolCall | str, int]:
    """The call that starts with `token` and where it ends; or what is wrong with it."""
    written = parse(token.string, token.start(), tools)
    if written is None:
        return "and not whole", token.end()
    name = find_tool(written.name, tools)
    if name is None:
        return f"to a tool there is not: {written.name[:64]!r}", written.end
    if not accepts(name, written.arguments):
        return f"with arguments that do not fit {name}", written.end
    return ToolCall("", name, json.dumps(written.arguments, ensure_ascii=False)), written.end
