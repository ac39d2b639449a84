"""A script, and what each of its entries is on the wire. Pure, but for reading recordings.

An entry is a `Recording` (bytes as some host once sent them) or a turn, one JSON object:

    {"reasoning": "…", "content": "…", "tool_calls": [{"name": "read", "arguments": {"path": "a.py"}}]}

All keys are optional. Arguments that are a string are sent as they are, so they may be broken JSON; a call
may have an `id`. Further keys: `finish`, `usage`; `expect` (text that the messages since the last turn must
contain, else the answer is status 400); `delay`, `gap`, `chunk`, `fragment` (see `Pace`); and `fault`:

    close    the body ends properly, but without a finish reason     cut      the connection is closed
    stall    nothing more comes, or not for `seconds`                reset    … with RST
    status   the answer is `status` (500) with `headers` and `body`, not a stream

A turn may also have `writes`, the texts of a body's pieces as some host once sent them, with their `status`
and `headers`: that is an answer of a recording (see `recording`), whose other lines are no entries.

All but `status` strike after `after` bytes of the body; if not given, just before the finishing chunk; -1
means before the status line.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from ..types import Json

EVENT_STREAM = "text/event-stream;charset=UTF-8"
JSON = "application/json; charset=UTF-8"
FAULTS = ("close", "cut", "reset", "stall", "status")

_TYPES = {".sse": EVENT_STREAM, ".json": JSON, ".html": "text/html"}
_CREATED = 1_763_700_000  # fixed, so that a script is always the same bytes


class Recording(NamedTuple):
    """A response body as it was recorded."""

    body: bytes
    status: int = 200
    content_type: str = EVENT_STREAM


Entry = Json | Recording | Path | bytes


class Pace(NamedTuple):
    """How answers are sent. Times in seconds, sizes in bytes or characters; 0 means: not at all.

    delay: before the first byte · gap: between writes · chunk: bytes in one write (0: one frame) ·
    fragment: characters of a tool call's arguments in one chunk (0: whole calls, as without `tool_stream`)
    """

    delay: float = 0.0
    gap: float = 0.0
    chunk: int = 0
    fragment: int = 0


class Fault(NamedTuple):
    kind: str
    after: int
    seconds: float | None = None


@dataclass(slots=True)
class Reply:
    """What goes out: `writes` one after the other, until `fault` strikes."""

    status: int
    content_type: str
    writes: list[bytes]
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pace: Pace = field(default_factory=Pace)
    fault: Fault | None = None


def read_turns(text: str) -> list[Json]:
    """The turns of a JSONL file. Raises ValueError, naming the line."""
    turns: list[Json] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            turn: object = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(turn, dict):
            raise ValueError(f"line {number}: a turn is a JSON object")
        if is_line_of_a_script(cast("Json", turn)):
            turns.append(check_turn(cast("Json", turn)))
    return turns


def is_line_of_a_script(record: Json) -> bool:
    """Whether it is an answer, and not what a recording holds besides."""
    return not any(name in record for name in ("recording", "request", "said", "end"))


def check_turn(turn: Json) -> Json:
    """The turn itself. Raises ValueError if it asks for a fault there is not."""
    if turn.get("fault") not in (None, *FAULTS):
        raise ValueError(f"no fault named {turn['fault']!r}; use one of {', '.join(FAULTS)}")
    return turn


def read_recording(path: Path, status: int = 200) -> Recording:
    """A recorded body; its suffix (.sse, .json, .html) gives the content type."""
    return Recording(path.read_bytes(), status, _TYPES.get(path.suffix, "text/plain"))


def load(entry: Entry) -> Json | Recording:
    if isinstance(entry, Path):
        return read_recording(entry)
    if isinstance(entry, bytes):
        return Recording(entry)
    return entry if isinstance(entry, Recording) else check_turn(entry)


def is_answer(entry: Json | Recording) -> bool:
    """Whether the entry is a turn that ends a run: no calls, no fault."""
    return isinstance(entry, dict) and not any(entry.get(key) for key in ("tool_calls", "fault", "writes"))


def reply(entry: Json | Recording, number: int, request: Json, pace: Pace) -> Reply:
    """The answer number `number` (from 1) of a script to `request`."""
    if isinstance(entry, Recording):
        frames = [frame for frame in re.split(rb"(?<=\n\n)", entry.body) if frame]
        return Reply(entry.status, entry.content_type, _cut(frames, pace.chunk), pace=pace)
    pace = Pace(*(entry.get(name, value) for name, value in pace._asdict().items()))
    if (expected := entry.get("expect")) is not None and expected not in _news(request):
        return refuse(400, f"turn {number} of the script expects {expected!r} in the request's last messages")
    if entry.get("fault") == "status":
        return _status(entry, pace)
    if "writes" in entry:
        return _recorded(entry, pace)
    if not request.get("stream"):
        body = _dump(_completion(entry, number, request))
        return Reply(200, JSON, _cut([body], pace.chunk), pace=pace, fault=_fault(entry, len(body) - 1))
    opening = [_frame(chunk) for chunk in _chunks(entry, number, request, pace.fragment)]
    fault = _fault(entry, sum(map(len, opening)))
    ending = [_frame(_last_chunk(entry, number, request)), b"data: [DONE]\n\n"]
    return Reply(200, EVENT_STREAM, _cut(opening + ending, pace.chunk), pace=pace, fault=fault)


def refuse(status: int, message: str, code: str = "1210") -> Reply:
    """An error in the provider's form."""
    return Reply(status, JSON, [_dump({"error": {"code": code, "message": message}})])


def models() -> Reply:
    return Reply(200, JSON, [_dump({"object": "list", "data": [{"id": "glm-4.7", "object": "model"}]})])


def _status(turn: Json, pace: Pace) -> Reply:
    body: object = turn.get("body", {"error": {"code": "500", "message": "a fault of the script"}})
    raw = body.encode() if isinstance(body, str) else _dump(body)
    headers = {str(name): str(value) for name, value in turn.get("headers", {}).items()}
    kind = next((headers.pop(name) for name in list(headers) if name.lower() == "content-type"), JSON)
    return Reply(turn.get("status", 500), kind, [raw], headers, pace)


def _recorded(entry: Json, pace: Pace) -> Reply:
    """Piece by piece, unless `pace` says otherwise."""
    writes = [str(text).encode("utf-8", "surrogateescape") for text in entry["writes"]]
    headers = {str(name): str(value) for name, value in entry.get("headers", {}).items()}
    kind = headers.pop("content-type", EVENT_STREAM)
    fault = _fault(entry, sum(map(len, writes)))
    return Reply(entry.get("status", 200), kind, _cut(writes, pace.chunk), headers, pace, fault)


def _fault(turn: Json, default: int) -> Fault | None:
    kind = turn.get("fault")
    return Fault(kind, turn.get("after", default), turn.get("seconds")) if kind else None


def _cut(frames: list[bytes], size: int) -> list[bytes]:
    if size < 1:
        return frames
    body = b"".join(frames)
    return [body[start : start + size] for start in range(0, len(body), size)]


def _chunks(turn: Json, number: int, request: Json, fragment: int) -> Iterator[Json]:
    """Everything before the finishing chunk."""
    for field_name, key in (("reasoning_content", "reasoning"), ("content", "content")):
        for piece in re.findall(r"\s*\S+|\s+\Z", turn.get(key) or ""):
            yield _chunk(number, request, {"role": "assistant", field_name: piece})
    for call in _calls(turn, number):
        function = call["function"]
        name, arguments = function["name"], function["arguments"]
        size = fragment if fragment > 0 else max(len(arguments), 1)
        pieces = [arguments[start : start + size] for start in range(0, len(arguments), size)] or [""]
        first = {**call, "function": {"name": name, "arguments": pieces[0]}}
        yield _chunk(number, request, {"tool_calls": [first]})
        for piece in pieces[1:]:
            rest = {"index": call["index"], "function": {"arguments": piece}}
            yield _chunk(number, request, {"tool_calls": [rest]})


def _last_chunk(turn: Json, number: int, request: Json) -> Json:
    chunk = _chunk(number, request, {"role": "assistant", "content": ""})
    chunk["choices"][0]["finish_reason"] = _finish(turn)
    return {**chunk, "usage": _usage(turn, request)}


def _chunk(number: int, request: Json, delta: Json) -> Json:
    choices = [{"index": 0, "delta": delta}]
    return {**_head(number, request), "object": "chat.completion.chunk", "choices": choices}


def _completion(turn: Json, number: int, request: Json) -> Json:
    message: Json = {"role": "assistant", "content": turn.get("content") or ""}
    if reasoning := turn.get("reasoning"):
        message["reasoning_content"] = reasoning
    if calls := _calls(turn, number):
        message["tool_calls"] = calls
    choices = [{"index": 0, "finish_reason": _finish(turn), "message": message}]
    return {**_head(number, request), "choices": choices, "usage": _usage(turn, request)}


def _head(number: int, request: Json) -> Json:
    return {"id": f"20251121{number:024x}", "created": _CREATED, "model": request.get("model", "glm-4.7")}


def _calls(turn: Json, number: int) -> list[Json]:
    calls: list[Json] = []
    for index, call in enumerate(turn.get("tool_calls") or []):
        arguments = call.get("arguments", {})
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        unique = hashlib.sha256(f"{number}/{index}".encode()).hexdigest()[:24]
        function = {"name": call.get("name", ""), "arguments": text}
        call_id = call.get("id", f"call_{unique}")
        calls.append({"id": call_id, "index": index, "type": "function", "function": function})
    return calls


def _finish(turn: Json) -> str:
    return turn.get("finish") or ("tool_calls" if turn.get("tool_calls") else "stop")


def _usage(turn: Json, request: Json) -> Json:
    """The turn's own, else an estimate of four bytes to a token."""
    if (given := turn.get("usage")) is not None:
        return given
    prompt = len(_dump(request)) // 4
    reasoning = len((turn.get("reasoning") or "").encode()) // 4
    said = len(_dump([turn.get("content"), turn.get("tool_calls")])) // 4
    return {
        "prompt_tokens": prompt,
        "completion_tokens": reasoning + said,
        "total_tokens": prompt + reasoning + said,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def _news(request: Json) -> str:
    """The contents of the messages after the last one of the assistant."""
    contents: list[str] = []
    for message in reversed(cast("list[dict[str, Any]]", request.get("messages") or [])):
        if message.get("role") == "assistant":
            break
        content = message.get("content")
        contents.insert(0, content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
    return "\n".join(contents)


def _frame(chunk: Json) -> bytes:
    return b"data: " + _dump(chunk) + b"\n\n"


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
