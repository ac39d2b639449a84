"""Each deadline of a request, set by a flag, ends a run that would else wait for minutes."""

from __future__ import annotations

import socket

import pytest
from running import Run, to

from glm_agent.commands.connection import limits
from glm_agent.dialects import find_model, find_provider
from glm_agent.replay import Server
from glm_agent.settings import Settings
from glm_agent.types import Json
from glm_agent.watchdog import Limits

HALF: Json = {"content": "Let me think about this", "fault": "stall", "after": 300}
SLOW: Json = {"content": " ".join("abcdefghij" * 10), "gap": 0.05}


@pytest.mark.slow  # each waits before it asks again
@pytest.mark.parametrize(
    ("turn", "flag", "says"),
    [
        ({"content": "Late.", "delay": 9}, "--timeout-headers", "no answer came within 0.2 s"),
        ({"content": "Late.", "delay": 9}, "--timeout-first", "no event came within 0.2 s"),
        (HALF, "--timeout-idle", "the stream stalled: no event for 0.2 s"),
        (SLOW, "--timeout-turn", "the answer was not whole after 0.2 s in all"),
    ],
)
def test_a_deadline_that_was_set_holds(turn: Json, flag: str, says: str, glm: Run) -> None:
    with Server([turn, {"content": "Now."}]) as server:
        ran = glm("ask", "What?", *to(server.url), flag, "0.2", "--json")
    reasons = {event["reason"] for event in ran.events if event.get("subtype") == "retry"}
    assert (ran.code, reasons, ran.result["result"]) == (0, {says}, "Now.")


@pytest.mark.slow
def test_a_connection_that_nobody_takes_is_given_up(glm: Run) -> None:
    with socket.socket() as busy, socket.socket() as first:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)  # one may wait to be taken; whoever comes then hears nothing
        first.connect(busy.getsockname())
        url = f"http://127.0.0.1:{busy.getsockname()[1]}/v1"
        ran = glm("ask", "What?", *to(url), "--timeout-connect", "0.2", "--max-wall-time", "2", "--json")
    reasons = [event["reason"] for event in ran.events if event.get("subtype") == "retry"]
    assert "no connection within 0.2 s" in reasons[0]
    assert ran.code in (55, 75)  # the pauses are drawn: the time is up first, or the tries are


@pytest.mark.slow
def test_an_answer_that_takes_all_its_time_is_asked_for_once_more(glm: Run) -> None:
    with Server([SLOW] * 8) as server:
        ran = glm("ask", "What?", *to(server.url), "--timeout-turn", "0.2", "--json")
    assert (ran.code, len(server.requests)) == (75, 2)


def test_what_was_not_set_never_cuts_short_what_was() -> None:
    flash, effort = (find_model(find_provider("zai"), name) for name in ("glm-4.7", "glm-5.2"))
    assert limits(Settings(), flash) == Limits(60, 120, 300, 5, 1800)
    assert limits(Settings(), effort) == Limits(60, 600, 300, 5, 1800)
    assert limits(Settings(timeout_headers=200), flash) == Limits(200, 200, 300, 5, 1800)
    assert limits(Settings(timeout_headers=200, timeout_first=9), flash) == Limits(200, 9, 300, 5, 1800)
    assert limits(Settings(timeout_idle=4000), flash) == Limits(60, 120, 4000, 5, 4000)
    assert limits(Settings(timeout_idle=4000, timeout_turn=7), flash) == Limits(60, 120, 4000, 5, 7)
