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

_SPLICED_AFTER = 5  # seconds from one completion to the one that is spliced into it, at least


@dataclass(slots=True)
class Turn:
    """What one stream said. `message` holds calls in the order they began; ids and names may be empty."""

    message: Assistant
    faults: list[Fault]
    done: bool = False


@dataclass(slots=True, eq=False)
class _Slot:
    """A tool call while its fragments arrive; `has_index` is whether any of them had one."""

    number: int
    has_index: bool = False
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Draft:
    """`part` is where this host puts what it says, `has_details` whether its reasoning comes in details only.

    `id` and `created` are those of the chunk that brought the id, `held` says that another one had it too.
    """

    text: list[str] = field(default_factory=list[str])
    thought: list[str] | None = None
    part: str = ""
    has_details: bool = False
    id: object = None
    created: object = None
    held: bool = False
    slots: list[_Slot] = field(default_factory=list[_Slot])
    by_index: dict[int, _Slot] = field(default_factory=dict[int, _Slot])
    by_id: dict[str, _Slot] = field(default_factory=dict[str, _Slot])
    finish: str = ""
    usage: Json = field(default_factory=dict[str, Any])


def read_turn(items: Iterable[Item]) -> Generator[Delta, None, Turn]:
    """Deltas as they come, then the whole turn. A splice starts the message over."""
    draft = _Draft()
    faults: list[Fault] = []
    done = False
    for item in items:
        if isinstance(item, dict):
            if _begins_anew(draft, item):
                faults.append(Fault("splice", "another completion began before the end of this one"))
                draft = _Draft(id=draft.id, created=draft.created)
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
    choice = _choice(chunk)
    if finish := _finish(choice):
        draft.finish = finish
    delta = _delta(draft, choice)
    if (thought := _thought(draft, delta)) is not None:
        draft.thought = draft.thought or []
        if thought and (shown := _append(draft.thought, thought)):
            yield ThoughtDelta(shown)
    content, calls = _text(delta.get("content")), _calls(delta)
    if calls or content.strip():
        draft.finish = finish  # some hosts finish each call: what goes on after that is not whole yet
    if content and (shown := _append(draft.text, content)):
        yield TextDelta(shown)
    for fragment in calls:
        yield _take_fragment(draft, mapping(fragment))


def _choice(chunk: Json) -> Json:
    """The one answer that was asked for: a host that gives several says so by an index above 0."""
    for item in sequence(chunk.get("choices")):
        choice = mapping(item)
        if (_index(choice.get("index")) or 0) <= 0:
            return choice
    return {}


def _finish(choice: Json) -> str:
    """The finish_reason, "" for the words with which some hosts say that there is none yet."""
    finish = choice.get("finish_reason")
    if not isinstance(finish, str) or (word := finish.strip().lower()) in ("null", "none"):
        return ""
    return word


def _delta(draft: _Draft, choice: Json) -> Json:
    """What the chunk adds: some hosts call it a message. Where both come, one repeats the other."""
    if delta := mapping(choice.get(draft.part or "delta")):
        draft.part = draft.part or "delta"
        return delta
    if draft.part or not (message := mapping(choice.get("message"))):
        return {}
    draft.part = "message"
    return message


def _begins_anew(draft: _Draft, chunk: Json) -> bool:
    """Whether `chunk` is the first one of another completion, spliced in between two frames.

    Ids alone say little: hosts leave them out, change them once, or give each chunk its own. So the id must
    be another one where ids held until now, or be seconds younger; the chunk must have a role, as a first one
    has, unless both are so; it must say something or at least end nothing; and something must have been said
    before it. Of a chunk that says nothing, only the usage until then, it is the next one that shows this.
    """
    name = chunk.get("id")
    if not name or name == draft.id:
        draft.held = draft.held or bool(name)
        return False
    choice, created = _choice(chunk), chunk.get("created")
    delta = mapping(choice.get("delta"))
    says = any(delta.get(name) for name in ("content", "reasoning_content", "reasoning", "tool_calls"))
    if draft.id is not None and chunk.get("usage") and not (says or _finish(choice)):
        return False
    is_younger = _is_younger(created, draft.created)
    changed = draft.id is not None and (draft.held or is_younger)
    has_role = bool(delta.get("role")) or (draft.held and is_younger and says)
    draft.id, draft.created, draft.held = name, created, False
    starts = changed and has_role and (says or not (_finish(choice) or chunk.get("usage")))
    return starts and bool("".join(draft.text).strip() or draft.thought or draft.slots)


def _is_younger(created: object, before: object) -> bool:
    return isinstance(created, int) and isinstance(before, int) and created - before >= _SPLICED_AFTER


def _thought(draft: _Draft, delta: Json) -> str | None:
    """Reasoning under either of its names; what comes under several says the same several times."""
    found = None
    for name in ("reasoning_content", "reasoning"):
        if isinstance(value := delta.get(name), str):
            found = found or value
    details = sequence(delta.get("reasoning_details"))
    if not details or (not draft.has_details and (found or draft.thought)):
        return found
    draft.has_details = True
    return "".join(string(mapping(detail).get("text")) for detail in details)


def _calls(delta: Json) -> list[object]:
    """Fragments of calls; one call is no list with some hosts, and with old ones a function_call."""
    calls: object = delta.get("tool_calls")
    if isinstance(calls, dict):
        return [calls]
    if not calls and (function := mapping(delta.get("function_call"))):
        return [{"function": function}]
    return sequence(calls)


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
    function = mapping(fragment.get("function")) or fragment
    call_id, name = string(fragment.get("id")), string(function.get("name"))
    arguments = _arguments(function.get("arguments"))
    slot = _slot(draft, _index(fragment.get("index")), call_id, name, arguments)
    if call_id and not slot.id:
        slot.id = call_id
        draft.by_id.setdefault(call_id, slot)
    slot.name = slot.name or name
    if arguments:
        slot.arguments.append(arguments)
    return CallDelta(slot.number, name, arguments)


def _index(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def _arguments(value: object) -> str:
    """Arguments as text, also from a host that sends them as an object."""
    if isinstance(value, str) or value is None:
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""


def _slot(draft: _Draft, index: int | None, call_id: str, name: str, arguments: str) -> _Slot:
    """The call a fragment belongs to, a new one if need be."""
    slot = _find(draft, index, call_id, name)
    if slot and name and not call_id and _is_another(slot, name, arguments):
        slot = None
    if slot is None:
        slot = _Slot(len(draft.slots))
        draft.slots.append(slot)
    if index is not None:
        draft.by_index[index] = slot
        slot.has_index = True
    return slot


def _find(draft: _Draft, index: int | None, call_id: str, name: str) -> _Slot | None:
    """By index, else by id, else the last one; another id, or a name at a new index, is a new call."""
    here = None if index is None else draft.by_index.get(index)
    if here and (not call_id or not here.id or here.id == call_id):
        return here
    known = draft.by_id.get(call_id) if call_id else None
    if known and (here or not name or index is None):
        return known
    if here or not draft.slots:
        return None
    last = draft.slots[-1]
    if index is not None:  # which the call's first fragment may have lacked
        return None if name or call_id or last.has_index else last
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
