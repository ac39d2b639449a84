"""Calls that came as calls, with markup in their names or more than one object in their arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

from ..types import ToolCall
from .markup import Tools, find_tool, read_arguments, skip_space
from .schema import decode

_CLOSERS = re.compile(r"(?:</(?:arg_key|arg_value|tool_call)>\s*+)*+")


class _TwoObjects(Exception):
    """Arguments that hold two different objects: there is no telling which is meant."""


def mend(calls: Sequence[ToolCall], tools: Tools) -> tuple[list[ToolCall], list[str], str | None]:
    """The calls as they were meant, what was mended, and what cannot be. Cut JSON stays as it is."""
    mended: list[ToolCall] = []
    notes: list[str] = []
    flaw: str | None = None
    for call in calls:
        try:
            arguments = _mend_arguments(call.arguments)
        except _TwoObjects:
            arguments, flaw = call.arguments, f"a call of {call.name[:64]!r} holds two sets of arguments"
        better = _mend_name(replace(call, arguments=arguments), tools)
        if arguments != call.arguments and call.arguments.strip():
            notes.append(f"the arguments of {better.name[:64]!r} were not one JSON object")
        if better.name != call.name:
            notes.append(f"the name of {better.name!r} was {call.name[:64]!r}")
        mended.append(better)
    return mended, notes, flaw


def _mend_name(call: ToolCall, tools: Tools) -> ToolCall:
    """The call with markup taken out of its name, if a known tool remains and no argument is lost."""
    if call.name in tools:
        return call
    head, mark, tail = call.name.removeprefix("<tool_call>").partition("<")
    name = find_tool(head, tools)
    found = None if name is None else read_arguments(mark + tail, 0, name, tools)
    if name is None or found is None or not _CLOSERS.fullmatch(mark + tail, found.end):
        return call
    if not found.arguments:
        return replace(call, name=name)
    if call.arguments != "{}":
        return call
    return ToolCall(call.id, name, json.dumps(found.arguments, ensure_ascii=False))


def _mend_arguments(raw: str) -> str:
    """`raw` as the one object it holds; as it is if that is uncertain. Raises _TwoObjects."""
    text = raw.strip()
    if text in ("", "null"):
        return "{}"
    return (_unwrap(text) if text.startswith('"') else _unglue(text)) or raw


def _unwrap(text: str) -> str | None:
    """The object inside a JSON string."""
    try:
        inner, end = decode(text, 0)
    except (ValueError, RecursionError):
        return None
    if end < len(text) or not isinstance(inner, str):
        return None
    mended = _mend_arguments(inner)
    return mended if _is_object(mended) else None


def _unglue(text: str) -> str | None:
    """The object that says something, where `{}` or a copy was glued to it; None if there is no glue."""
    telling: list[str] = []
    place = count = 0
    while place < len(text):
        try:
            value, end = decode(text, place)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        if value and text[place:end] not in telling[:1]:
            telling.append(text[place:end])
        place, count = skip_space(text, end), count + 1
    if len(telling) > 1:
        raise _TwoObjects
    return None if count < 2 else "".join(telling) or "{}"


def _is_object(text: str) -> bool:
    try:
        value, end = decode(text, 0)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and end == len(text)
