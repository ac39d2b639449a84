"""A line for logs in which nothing else is written: what the run is waiting for, and how long already."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from ..types import (
    Assistant,
    Checking,
    Event,
    Finished,
    Retrying,
    Said,
    Started,
    ToolCall,
    ToolResult,
    ToolStarted,
    Verified,
)
from . import words

INTERVAL = 30.0  # seconds


class _Doing(NamedTuple):
    what: str
    since: float


class Heartbeat:
    """From `Started` to `Finished`, says after `interval` s without a write through `heard` what runs."""

    def __init__(
        self, say: Callable[[str], None], redact: Callable[[str], str], interval: float = INTERVAL
    ) -> None:
        self._say = say
        self._redact = redact
        self._interval = interval
        self._written = self._now = time.monotonic()
        self._turn = 1
        self._calls: dict[str, _Doing] = {}
        self._waiting = _Doing("", self._now)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def heard(self, write: Callable[[str], None]) -> Callable[[str], None]:
        """`write`, and while it is used the heart is silent."""

        def written(text: str) -> None:
            self._written = time.monotonic()
            write(text)

        return written

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._wait("preparing")
                self._start()
            case ToolStarted(call):
                self._calls[call.id] = _Doing(f"running {self._described(call)}", time.monotonic())
            case Said(ToolResult(call_id=call_id)):
                self._calls.pop(call_id, None)
                self._wait(self._model())
            case Said(Assistant()):
                self._turn += 1
                self._wait("at work")
            case Said():
                self._wait(self._model())
            case Retrying():
                self._wait(f"turn {self._turn}, {words.retrying(event)}")
            case Checking():
                self._wait(f"checking {words.clip(self._redact(event.command))}")
            case Verified():
                self._wait("at work")
            case Finished():
                self.close()
            case _:
                return

    def close(self) -> None:
        self._ended.set()

    def _described(self, call: ToolCall) -> str:
        return words.describe(ToolCall(call.id, self._redact(call.name), self._redact(call.arguments)))

    def _model(self) -> str:
        return f"turn {self._turn}, waiting for the model"

    def _wait(self, what: str) -> None:
        self._waiting = _Doing(what, time.monotonic())

    def _start(self) -> None:
        if self._thread is None:
            self._written = time.monotonic()
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        while not self._ended.wait(max(0.0, self._written + self._interval - time.monotonic())):
            if time.monotonic() >= self._written + self._interval:
                self._written = time.monotonic()
                self._say(self._line())

    def _line(self) -> str:
        running = list(self._calls.values())
        doing = running[0] if running else self._waiting
        more = f" and {len(running) - 1} more" if len(running) > 1 else ""
        return f"still {doing.what}{more} for {words.duration(time.monotonic() - doing.since)}"
