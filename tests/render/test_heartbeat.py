"""A log in which nothing is written says what the run is doing."""

from __future__ import annotations

import re
import threading

from glm_agent.render.heartbeat import Heartbeat
from glm_agent.types import (
    Assistant,
    Checking,
    Event,
    Finished,
    Result,
    Said,
    Started,
    ToolCall,
    ToolResult,
    ToolStarted,
    User,
    Verified,
)

STARTED = Started("s", "/", "fix", "m", "p", "h", [], {}, None, {}, "none", [], "1")
CALLS = [ToolCall("1", "bash", '{"command": "sleep sk-1"}'), ToolCall("2", "read", '{"path": "a.py"}')]


class Log:
    """Takes lines; `next` waits for one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._came = threading.Semaphore(0)

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._came.release()

    def next(self) -> str:
        assert self._came.acquire(timeout=10)
        return re.sub(r" for [0-9.]+s$", " for …", self.lines[-1])


def said_after(*events: Event) -> str:
    log = Log()
    heart = Heartbeat(log, lambda text: text.replace("sk-1", "[key]"), 0.01)
    for event in events:
        heart(event)
    heart(STARTED)
    for event in events:
        heart(event)
    try:
        log.next()  # it may have begun before the last event
        return log.next()
    finally:
        heart.close()


def test_it_says_what_runs() -> None:
    verified = Verified("before", "pytest", 1, [], 5)
    assert said_after() == "still preparing for …"
    assert said_after(Checking("pytest sk-1")) == "still checking pytest [key] for …"
    assert said_after(verified, Said(User("Add."))) == "still turn 1, waiting for the model for …"
    turn = [Said(Assistant(calls=CALLS)), ToolStarted(CALLS[0])]
    assert said_after(*turn) == "still running bash sleep [key] for …"
    both = [*turn, ToolStarted(CALLS[1])]
    assert said_after(*both) == "still running bash sleep [key] and 1 more for …"
    answered = [*turn, Said(ToolResult("1", "done"))]
    assert said_after(Said(User("Add.")), *answered) == "still turn 3, waiting for the model for …"


def test_it_is_silent_before_the_start_after_the_end_and_while_something_is_written() -> None:
    log, written = Log(), list[str]()
    heart = Heartbeat(log, str, 0.05)
    write = heart.heard(written.append)
    heart(Said(User("Add.")))
    heart(STARTED)
    for _ in range(20):
        write("x")
        threading.Event().wait(0.005)
    assert (log.lines, len(written)) == ([], 20)
    assert log.next() == "still preparing for …"
    heart(Finished(Result("success", False, 0, "")))
    count = len(log.lines)
    threading.Event().wait(0.12)
    assert len(log.lines) == count
