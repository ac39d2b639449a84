"""Endpoints with habits of their own, on loopback: what they answer depends on what is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from glm_agent.replay import Server
from glm_agent.replay.script import EVENT_STREAM, Reply
from glm_agent.replay.server import Request
from glm_agent.types import Json


@dataclass(frozen=True)
class Habits:
    """`switch` is the field that it obeys, `strict` what it refuses, by the words of its error."""

    thinks: bool = True
    switch: str = "thinking"
    arrives: str = "reasoning_content"
    takes_back: str = "reasoning_content"
    fragments: str = "tool_stream"  # the field that asks for them; "always", "never"
    tools: str = "yes"  # "refused", "ignored"
    parallel: bool = True
    usage: str = "always"  # "asked", "never"
    caches: bool = True
    json: bool = True
    pieces: bool = True
    strict: dict[str, str] = field(default_factory=dict[str, str])
    status: int = 200
    error: Json = field(default_factory=dict[str, object])
    headers: dict[str, str] = field(default_factory=dict[str, str])


ZAI = Habits(headers={"x-ratelimit-remaining-requests": "41"})
VLLM = Habits(
    switch="chat_template_kwargs",
    arrives="reasoning",
    takes_back="reasoning",
    fragments="always",
    usage="asked",
)
NO_TOOLS = Habits(
    thinks=False,
    switch="",
    tools="refused",
    strict={
        "response_format": "response_format is not supported",
        "stream_options": "Unknown field: stream_options",
    },
    usage="never",
)
DEAF = Habits(
    thinks=False,
    switch="",
    tools="ignored",
    fragments="never",
    usage="never",
    caches=False,
    json=False,
    pieces=False,
)
STRICT = Habits(
    switch="reasoning_effort",
    arrives="reasoning",
    takes_back="",
    usage="asked",
    fragments="never",
    parallel=False,
    strict={
        "max_tokens": "Unsupported: max_tokens; use max_completion_tokens instead",
        "tool_stream": "Unrecognized request argument supplied: tool_stream",
        "reasoning_content": "messages[2]: unknown field reasoning_content",
        **{
            name: f"Unrecognized request argument supplied: {name}"
            for name in ("thinking", "enable_thinking")
        },
        **{name: f"Unrecognized request argument supplied: {name}" for name in ("chat_template_kwargs",)},
    },
)


class Host(Server):
    """Has `habits`; `changes` are to them."""

    def __init__(self, habits: Habits, **changes: object) -> None:
        super().__init__([])
        self.habits = replace(habits, **changes)  # pyright: ignore[reportArgumentType]

    def answer(self, request: Request) -> Reply:
        before = [old.body for old in self.requests]
        self.requests.append(request)
        return respond(self.habits, request.body, before)


def respond(habits: Habits, body: Json, before: list[Json]) -> Reply:
    """What a host with these habits answers to `body`, after all those `before`."""
    if habits.status != 200:
        return _json(habits.status, habits.error, habits.headers)
    for said in (*body, *(name for turn in body["messages"] for name in turn)):
        if said in habits.strict:
            return _json(400, {"error": {"message": habits.strict[said]}})
    if habits.tools == "refused" and "tools" in body:
        return _json(400, {"error": {"message": "this model does not support tools"}})
    again = body["messages"] in [old["messages"] for old in before]
    writes = [_frame(chunk) for chunk in _chunks(habits, body, again)]
    return Reply(200, EVENT_STREAM, [*writes, b"data: [DONE]\n\n"], dict(habits.headers))


def _chunks(habits: Habits, body: Json, again: bool) -> Iterator[Json]:
    if _thinks(habits, body):
        yield _chunk({habits.arrives: "Hm"})
    calls = list(_calls(habits, body))
    for call in calls:
        yield _chunk({"tool_calls": [call]})
    if not calls:
        text = '{"legs": 6}' if habits.json and "response_format" in body else "one two three"
        yield from (_chunk({"content": piece}) for piece in (text.split() if habits.pieces else [text]))
    yield _chunk({}, "tool_calls" if calls else "stop")
    asked = body.get("stream_options") == {"include_usage": True}
    if habits.usage == "always" or (habits.usage == "asked" and asked):
        details = {"cached_tokens": 1000 if habits.caches and again else 43}
        spent = {"prompt_tokens": 1100, "completion_tokens": 50, "prompt_tokens_details": details}
        yield {"id": "1", "choices": [], "usage": spent}


def _calls(habits: Habits, body: Json) -> Iterator[Json]:
    past = body["messages"]
    if habits.tools != "yes" or "note" not in str(body.get("tools")):
        return
    second = past[-1]["role"] == "tool"
    thought = str(next((turn.get(habits.takes_back) for turn in past if "tool_calls" in turn), ""))
    fruit = "quince" if "quince" in thought else "fruit"
    for number in range(3 if habits.parallel and not second else 1):
        text = json.dumps({"text": f"A {fruit} has colour number {number}."})
        function = {"name": "note", "arguments": text}
        call: Json = {"index": number, "id": f"c{number}", "type": "function", "function": function}
        if habits.fragments != "always" and habits.fragments not in body:
            yield call
            continue
        yield {**call, "function": {"name": "note", "arguments": text[:9]}}
        yield {"index": number, "function": {"arguments": text[9:]}}


def _thinks(habits: Habits, body: Json) -> bool:
    said = body.get(habits.switch)
    if said is None:
        return habits.thinks
    words = json.dumps(said)
    return not ("disabled" in words or "false" in words or "none" in words)


def _chunk(delta: Json, finish: str | None = None) -> Json:
    return {
        "id": "1",
        "choices": [{"index": 0, "delta": delta, **({"finish_reason": finish} if finish else {})}],
    }


def _frame(chunk: Json) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _json(status: int, body: Json, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, "application/json", [json.dumps(body).encode()], dict(headers or {}))
