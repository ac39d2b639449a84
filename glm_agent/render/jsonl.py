"""Events as one JSON object per line, for programs: the envelope of `glm-agent schema events`.

Lines are ASCII (everything else is escaped), so no encoding, control character or half surrogate breaks one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from math import isfinite
from typing import cast

from .. import usage
from ..types import (
    Assistant,
    CallDelta,
    Delta,
    Discarded,
    Event,
    Finished,
    Json,
    Message,
    Notice,
    Result,
    Retrying,
    Said,
    Started,
    TextDelta,
    ThoughtDelta,
    ToolResult,
    User,
    Verified,
)
from .words import arguments

SCHEMA = "glm-agent/1"

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "": None}
_DEPTH = 64  # levels of an object that are shown; parsers give up at 128 or even 100

# An escaped backslash or a whole surrogate pair (both stay), or a half of a pair.
_SURROGATES = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2})")


def _same(line: str) -> str:
    return line


class JsonLines:
    """Writes each event as a line as soon as it happens; nothing after the `result`, which is always last.

    `partial` adds the streamed fragments; `only_result` leaves out everything but the result (format `json`).
    """

    def __init__(
        self,
        write: Callable[[str], None],
        partial: bool = False,
        *,
        only_result: bool = False,
        redact: Callable[[str], str] = _same,
    ) -> None:
        self._write = write
        self._partial = partial
        self._only_result = only_result
        self._redact = redact
        self._session_id: str | None = None
        self._blocks: list[str] = []  # the content blocks of the turn being streamed, in order of appearance
        self._ended = False

    def __call__(self, event: Event) -> None:
        if self._ended:
            return
        for record in self._records(event):
            self._write(self._redact(encode(record)) + "\n")

    def close(self) -> None:
        """Nothing to release: a line is out as soon as it is written."""

    def _records(self, event: Event) -> Iterator[Json]:
        if isinstance(event, Finished):
            self._ended = True
            yield result(event.result)
        elif self._only_result:
            return
        elif isinstance(event, TextDelta | ThoughtDelta | CallDelta):
            if self._partial:
                yield from self._delta(event)
        else:
            yield from self._whole(event)

    def _whole(self, event: Event) -> Iterator[Json]:
        match event:
            case Started():
                self._session_id = event.session_id
                yield _system("init", schema=SCHEMA, **_fields(event))
            case Said(Assistant() as message):
                self._blocks.clear()
                yield {"type": "assistant", "session_id": self._session_id, "message": shape(message)}
            case Said(ToolResult() as message):
                yield {"type": "user", "session_id": self._session_id, "message": shape(message)}
            case Retrying():
                self._blocks.clear()
                yield _retry(event)
            case Discarded():
                self._blocks.clear()
                yield _system("discarded", reason=event.reason, usage=usage.normalise(event.turn.usage))
            case Verified():
                yield _verify(event)
            case Notice():
                yield _system("notice", text=event.text)
            case _:
                return

    def _delta(self, event: Delta) -> Iterator[Json]:
        match event:
            case TextDelta():
                block, fragment = "text", event.text
                delta = {"type": "text_delta", "text": fragment}
            case ThoughtDelta():
                block, fragment = "thinking", event.text
                delta = {"type": "thinking_delta", "thinking": fragment}
            case CallDelta():
                block, fragment = f"call {event.slot}", event.arguments
                delta = {"type": "input_json_delta", "partial_json": fragment}
        if not fragment:
            return
        if block not in self._blocks:
            self._blocks.append(block)
        index = self._blocks.index(block)
        yield {
            "type": "stream_event",
            "event": {"type": "content_block_delta", "index": index, "delta": delta},
        }


def encode(record: Json, indent: int | None = None) -> str:
    """Valid JSON in ASCII without control characters; one line if there is no `indent`.

    A number that JSON has not (NaN, infinity) is null; half a surrogate pair, such as a byte of a file name
    that is no UTF-8, is its escape as text: `\\udcff`.
    """
    try:
        line = json.dumps(record, ensure_ascii=True, allow_nan=False, indent=indent)
    except (ValueError, RecursionError):
        line = json.dumps(_sound(record), ensure_ascii=True, allow_nan=False, indent=indent)
    line = line.replace("##[", "#\\u0023[")  # in a log, GitHub's runner would obey what follows
    return _SURROGATES.sub(_show_half, line) if "\\ud" in line else line


def result(result: Result) -> Json:
    """The `result` object: the last line of a stream, and all of the format `json`."""
    record = {"type": "result", **_fields(result)}
    record["usage"] = {**usage.normalise({}), "cache_hit_share": None, **result.usage}
    return record


def shape(message: Message) -> Json:
    """A message as the stream has it."""
    match message:
        case User():
            return {"role": "user", "content": [{"type": "text", "text": message.text}]}
        case Assistant():
            return _assistant(message)
        case ToolResult():
            return _answer(message)


def _assistant(message: Assistant) -> Json:
    content: list[Json] = []
    if message.thought:
        content.append({"type": "thinking", "thinking": message.thought})
    if message.text:
        content.append({"type": "text", "text": message.text})
    content += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _sound(arguments(call))}
        for call in message.calls
    ]
    stop_reason = "tool_use" if message.calls else _STOP_REASONS.get(message.finish, message.finish)
    counts = usage.normalise(message.usage)
    return {"role": "assistant", "content": content, "stop_reason": stop_reason, "usage": counts}


def _answer(message: ToolResult) -> Json:
    answer = {
        "type": "tool_result",
        "tool_use_id": message.call_id,
        "is_error": not message.ok,
        "content": message.content + message.note,
    }
    return {"role": "user", "content": [answer]}


def _retry(event: Retrying) -> Json:
    return _system(
        "retry",
        attempt=event.attempt,
        delay_s=round(event.delay, 3),
        http_status=event.status,
        provider_code=event.code,
        reason=event.reason,
    )


def _verify(event: Verified) -> Json:
    return _system(
        "verify",
        phase=event.phase,
        command=event.command,
        exit_code=event.exit_code,
        failed=event.failed,
        flaky=event.flaky,
        duration_ms=event.duration_ms,
    )


def _system(subtype: str, **fields: object) -> Json:
    return {"type": "system", "subtype": subtype, **fields}


def _fields(item: Started | Result) -> Json:
    """The fields of a slotted record by name, without the deep copy of `dataclasses.asdict`."""
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


def _sound(value: object, depth: int = 0) -> object:
    """A copy that every JSON parser takes: no number that JSON has not, no more than `_DEPTH` levels."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if not isinstance(value, dict | list):
        return value
    if depth == _DEPTH:
        return "…"
    if isinstance(value, dict):
        return {key: _sound(item, depth + 1) for key, item in cast("dict[str, object]", value).items()}
    return [_sound(item, depth + 1) for item in cast("list[object]", value)]


def _show_half(match: re.Match[str]) -> str:
    return "\\" + match[1] if match[1] else match[0]
