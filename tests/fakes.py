"""Small real things that stand in for large ones: scripted models, tools, and streams of bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from copy import deepcopy

from glm_agent.retry import Failure
from glm_agent.types import (
    Arguments,
    Assistant,
    Delta,
    Discarded,
    Json,
    Message,
    Retrying,
    Tool,
    ToolCall,
    ToolOutput,
)

Run = Callable[[Arguments, threading.Event], ToolOutput]


def says(text: str, thought: str | None = None) -> Assistant:
    return Assistant(text, thought, finish="stop")


def calls(*made: ToolCall, text: str = "") -> Assistant:
    return Assistant(text, calls=list(made), finish="tool_calls")


def call(number: int, name: str, **arguments: object) -> ToolCall:
    return ToolCall(f"call_{number}", name, json.dumps(arguments))


class Script:
    """A model that says its turns in order, and remembers the histories that it was asked with."""

    def __init__(self, *turns: Assistant, steps: Iterable[Delta | Retrying | Discarded] = ()) -> None:
        self.turns = list(turns)
        self.steps = list(steps)  # what comes before every turn
        self.asked: list[list[Message]] = []

    def __call__(self, history: list[Message]) -> Generator[Delta | Retrying | Discarded, None, Assistant]:
        self.asked.append(deepcopy(history))
        yield from self.steps
        return deepcopy(self.turns[len(self.asked) - 1])


def tool(name: str, run: Run, *, reads_only: bool = True) -> Tool:
    """A tool that takes one optional text."""
    parameters: Json = {"type": "object", "properties": {"text": {"type": "string"}}, "required": []}
    return Tool(name, f"does {name}", parameters, run, reads_only)


def echo(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
    return ToolOutput(f"echo {arguments.get('text', '')}")


Answer = bytes | Failure | tuple[bytes, Failure]


class Wire:
    """A host that gives its answers in order: bytes, a refusal, or bytes that break off."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.bodies: list[Json] = []
        self.open = 0  # answers that are still being read

    def __call__(self, body: Json) -> Iterator[bytes]:
        self.bodies.append(deepcopy(body))
        answer = self.answers[len(self.bodies) - 1]
        data, failure = answer if isinstance(answer, tuple) else (answer, None)
        self.open += 1
        try:
            if isinstance(data, Failure):
                raise data
            yield data
            if failure:
                raise failure
        finally:
            self.open -= 1


def chunk(delta: Json | None = None, finish: str | None = None, **fields: object) -> Json:
    """A chunk as hosts send it; `fields` go beside `choices`."""
    choice: Json = {"index": 0, "delta": delta or {}}
    if finish is not None:
        choice["finish_reason"] = finish
    return {"id": "2025", "object": "chat.completion.chunk", "choices": [choice], **fields}


def fragment(index: object = None, call_id: str | None = None, **function: object) -> Json:
    """A fragment of a tool call; None leaves the field out."""
    found: Json = {"type": "function", "function": function}
    if index is not None:
        found["index"] = index
    if call_id is not None:
        found["id"] = call_id
    return found


def stream(*frames: object, done: bool = True) -> bytes:
    """An event stream of `frames`: JSON values, or text that stands for itself."""
    texts = [frame if isinstance(frame, str) else json.dumps(frame) for frame in frames]
    return "".join(f"data: {text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


def answer(text: str, finish: str = "stop") -> bytes:
    return stream(chunk({"content": text}), chunk(finish=finish))
