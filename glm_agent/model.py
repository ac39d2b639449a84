"""One turn of the model: chunk dicts in, deltas out as they come, one assembled message at the end.

This is the raw decode: what the stream said, nothing recovered and nothing judged. Whether the turn counts
is for the client to decide, from `Turn`.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

from .shape import mapping, sequence, string
from .sse import Fault, Item
from .types import Assistant, CallDelta, Delta, Json, TextDelta, ThoughtDelta, ToolCall


@dataclass(slots=True)
class Turn:
    """What one stream said. `message` holds calls in the order they began; ids and names may be empty."""

    message: Assistant
    faults: list[Fault]
    done: bool = False


@dataclass(slots=True, eq=False)
class _Slot:
    """A tool call while its fragments arrive."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Draft:
    text: list[str] = field(default_factory=list[str])
    thought: list[str] | None = None
    slots: list[_Slot] = field(default_factory=list[_Slot])
    by_index: dict[int, _Slot] = field(default_factory=dict[int, _Slot])
    finish: str = ""
    usage: Json = field(default_factory=dict[str, Any])


def read_turn(items: Iterable[Item]) -> Generator[Delta, None, Turn]:
    """Deltas as they come, then the whole turn. A splice starts the message over."""
    draft = _Draft()
    faults: list[Fault] = []
    done = False
    for item in items:
        if isinstance(item, dict):
            yield from _take(draft, item)
        elif isinstance(item, Fault):
            faults.append(item)
            draft = _Draft() if item.kind == "splice" else draft
        else:
            done = True
    return Turn(_message(draft), faults, done)


def _take(draft: _Draft, chunk: Json) -> Generator[Delta]:
    if usage := chunk.get("usage"):
        draft.usage = mapping(usage) or draft.usage
    choices = sequence(chunk.get("choices"))
    choice = mapping(choices[0]) if choices else {}
    if finish := string(choice.get("finish_reason")):
        draft.finish = finish
    delta = mapping(choice.get("delta"))
    if (thought := _thought(delta)) is not None:
        draft.thought = draft.thought or []
        if thought and (shown := _append(draft.thought, thought)):
            yield ThoughtDelta(shown)
    if (content := _text(delta.get("content"))) and (shown := _append(draft.text, content)):
        yield TextDelta(shown)
    if calls := sequence(delta.get("tool_calls")):
        draft.finish = finish  # some hosts finish each call: one that goes on after that is not whole yet
        for fragment in calls:
            yield _take_fragment(draft, mapping(fragment))


def _thought(delta: Json) -> str | None:
    """Reasoning under either of its names; a host that sends both says the same twice."""
    found = None
    for name in ("reasoning_content", "reasoning"):
        if isinstance(value := delta.get(name), str):
            found = found or value
    if found is None and (details := sequence(delta.get("reasoning_details"))):
        return "".join(string(mapping(detail).get("text")) for detail in details)
    return found


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "".join(string(mapping(part).get("text")) for part in sequence(content))


def _append(parts: list[str], text: str) -> str:
    """What there is to show of `text`: a surrogate half waits for its other half, in the next delta."""
    shown = parts[-1][-1] + text if parts and _is_half(parts[-1][-1]) else text
    parts.append(text)
    if _is_half(shown[-1]):
        shown = shown[:-1]
    return shown if shown.isascii() else _whole(shown)


def _is_half(character: str) -> bool:
    return "\ud800" <= character <= "\udbff"


def _take_fragment(draft: _Draft, fragment: Json) -> CallDelta:
    function = mapping(fragment.get("function"))
    call_id, name = string(fragment.get("id")), string(function.get("name"))
    arguments = _arguments(function.get("arguments"))
    slot = _slot(draft, fragment.get("index"), call_id, name, arguments)
    slot.id = slot.id or call_id
    slot.name = slot.name or name
    if arguments:
        slot.arguments.append(arguments)
    return CallDelta(draft.slots.index(slot), name, arguments)


def _arguments(value: object) -> str:
    """Arguments as text, also from a host that sends them as an object."""
    if isinstance(value, str) or value is None:
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""


def _slot(draft: _Draft, index: object, call_id: str, name: str, arguments: str) -> _Slot:
    """The call a fragment belongs to, a new one if need be."""
    slot = _find(draft, index, call_id, name)
    if slot and name and not call_id and _is_another(slot, name, arguments):
        slot = None
    if slot is None:
        slot = _Slot()
        draft.slots.append(slot)
    if isinstance(index, int):
        draft.by_index[index] = slot
    return slot


def _find(draft: _Draft, index: object, call_id: str, name: str) -> _Slot | None:
    """By index, else by id, else the last one; another id, or a name at a new index, is a new call."""
    here = draft.by_index.get(index) if isinstance(index, int) else None
    if here and (not call_id or not here.id or here.id == call_id):
        return here
    known = next((slot for slot in draft.slots if slot.id == call_id), None) if call_id else None
    if known and (here or not name or not isinstance(index, int)):
        return known
    if here or not draft.slots:
        return None
    last = draft.slots[-1]
    if isinstance(index, int):  # which the call's first fragment may have lacked
        return None if name or call_id or last in draft.by_index.values() else last
    return None if call_id and (last.id or name) else last  # else the id comes late, or not at all


def _is_another(slot: _Slot, name: str, arguments: str) -> bool:
    """Where a host gives no id and always the same index, a name after whole arguments is another call."""
    if not slot.arguments or not slot.arguments[-1].rstrip().endswith("}"):
        return False  # cheap, for hosts that repeat the name in every fragment
    if name == slot.name and not arguments:
        return False
    try:
        return isinstance(json.loads("".join(slot.arguments)), dict)
    except (ValueError, RecursionError):
        return False


def _message(draft: _Draft) -> Assistant:
    return Assistant(
        text=_whole("".join(draft.text)),
        thought=None if draft.thought is None else _whole("".join(draft.thought)),
        calls=[
            ToolCall(_whole(slot.id), _whole(slot.name), _whole("".join(slot.arguments)))
            for slot in draft.slots
            if slot.id or slot.name or slot.arguments  # else it was never more than a place
        ],
        finish=draft.finish,
        usage=draft.usage,
    )


def _whole(text: str) -> str:
    """`text` with surrogate halves that came apart joined, and lone ones as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
