"""Each deadline of a request, set by a flag, ends a run that would else wait for minutes."""

from __future__ import annotations

import time

import pytest
from running import Run, to

from glm_agent.replay import Server
from glm_agent.types import Json

HALF: Json = {"content": "Let me think about this", "fault": "stall", "after": 300}
SLOW: Json = {"content": " ".join("abcdefghij" * 10), "gap": 0.05}


@pytest.mark.parametrize(
    ("turn", "flag", "value", "says"),
    [
        ({"content": "Late.", "delay": 9}, "--timeout-headers", "0.2", "no answer came within 0.2 s"),
        ({"content": "Late.", "delay": 9}, "--timeout-first", "0.2", "no event came within 0.2 s"),
        (HALF, "--timeout-idle", "0.2", "the stream stalled: no event for 0.2 s"),
        (SLOW, "--timeout-turn", "0.5", "the answer was not whole after 0.5 s in all"),
    ],
)
def test_a_deadline_that_was_set_holds(turn: Json, flag: str, value: str, says: str, glm: Run) -> None:
    with Server([turn] * 9) as server:
        started = time.monotonic()
        ran = glm("ask", "What?", *to(server.url), flag, value, "--max-wall-time", "1", "--json")
        took = time.monotonic() - started
    reasons = [event["reason"] for event in ran.events if event.get("subtype") == "retry"]
    assert says in (reasons + ran.result["errors"])[0]
    assert took < 2
