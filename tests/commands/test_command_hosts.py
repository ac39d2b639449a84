"""Hosts that lack something, as a user meets them: through the command line, over HTTP."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from fakes import answer, chunk, fragment, stream
from running import READ, Run, to

from glm_agent.replay import Server
from glm_agent.replay.script import Entry
from glm_agent.transport import serialise
from glm_agent.types import Json

SCHEMA: Json = {"type": "object", "properties": {"line": {"type": "integer"}}, "required": ["line"]}
WANTED = ("--json-schema", json.dumps(SCHEMA))
WORDS = "There are no tools here. Reply with one JSON object and nothing else; it must fit:\n"


def refusal(message: str, status: int = 400, **error: object) -> Json:
    return {"fault": "status", "status": status, "body": {"error": {"message": message, **error}}}


CHECK = {"name": "read", "arguments": '{"path": "check.py"}'}
NO_TOOLS = refusal("this model does not support tools")
NO_JSON = refusal("response_format is not supported")


def notices(events: list[Json]) -> list[str]:
    return [event["text"] for event in events if event.get("subtype") == "notice"]


@pytest.mark.parametrize("refusals", [[NO_TOOLS], [NO_TOOLS, NO_JSON]], ids=["no tools", "no JSON either"])
def test_a_host_without_tools_gives_an_answer_that_fits_all_the_same(refusals: list[Entry], glm: Run) -> None:
    turns: list[Entry] = [{"content": '{"line": "two"}'}, {"content": '```json\n{"line": 2}\n```'}]
    with Server([*refusals, *turns], strict=True) as server:
        ran = glm("ask", "Where?", *to(server.url), *WANTED, "--json")
    assert (ran.code, ran.result["structured_output"]) == (0, {"line": 2})
    assert len([text for text in notices(ran.events) if "takes no tools" in text]) == 1
    first, *_, asked, again = [request.body for request in server.requests]
    assert [tool["function"]["name"] for tool in first["tools"]] == ["read", "search", "bash", "answer"]
    mode = {"type": "json_object"} if len(refusals) == 1 else None
    assert (asked.get("tools"), asked.get("tool_choice"), asked.get("response_format")) == (None, None, mode)
    system = asked["messages"][0]["content"]
    assert json.loads(system.partition(WORDS)[2]) == SCHEMA and "`answer`" not in system
    assert "$.line: 'two' is not of type 'integer'" in again["messages"][-1]["content"]
    assert again["messages"][: len(asked["messages"])] == asked["messages"]


def test_a_host_without_tools_that_never_fits_the_schema_ends_with_13(glm: Run) -> None:
    with Server([NO_TOOLS, {"content": "In line 2."}]) as server:
        ran = glm("ask", "Where?", *to(server.url), *WANTED, "--json")
    assert (ran.code, ran.result["structured_output"], len(server.requests)) == (13, None, 4)


@pytest.mark.parametrize("command", [("fix", "Mend it."), ("fix", "Mend it.", *WANTED), ("ask", "Where?")])
def test_work_that_needs_tools_is_not_tried_without_them(command: tuple[str, ...], glm: Run) -> None:
    with Server([NO_TOOLS], strict=True) as server:
        ran = glm(*command, *to(server.url), "--json")
    assert (ran.code, len(server.requests)) == (2, 1)
    assert ran.result["errors"][0].endswith(
        "this model does not support tools (HTTP 400); this work needs tools; "
        "choose another model with -m, or another --provider"
    )


@pytest.mark.parametrize(
    ("provider", "other"),
    [("zai", "if the key belongs to a Coding Plan, use --provider zai-coding"),
     ("bigmodel", "if the key belongs to a Coding Plan, use --provider bigmodel-coding")],
)  # fmt: skip
@pytest.mark.parametrize(
    "message", ["Insufficient balance or no resource package. Please recharge.", "余额不足"]
)
def test_a_plans_key_at_the_general_url_is_told_which_provider_to_use(
    provider: str, other: str, message: str, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "0123456789abcdef.plan")
    with Server([refusal(message, 429, code="1113")], strict=True) as server:
        ran = glm("ask", "What?", "--provider", provider, "--base-url", server.url, "--json")
    assert (ran.code, ran.result["subtype"], len(server.requests)) == (41, "error_auth", 1)
    assert ran.result["errors"][0].endswith(f"(HTTP 429, code 1113); recharge the account; {other}")


def test_usage_that_is_not_sent_is_estimated_and_marked_everywhere(glm: Run) -> None:
    with Server([answer("Because."), answer("Because.")]) as server:
        ran = glm("ask", "Why?", "--base-url", server.url, "--provider", "ollama", "-m", "glm-4.7", "--json")
        text = glm("ask", "Why?", "--base-url", server.url, "--provider", "ollama", "-m", "glm-4.7")
    (said,) = [event["message"]["usage"] for event in ran.events if event["type"] == "assistant"]
    usage = ran.result["usage"]
    assert usage == {**said, "cache_hit_share": 0.0}
    assert usage["estimated"] is True and usage["output_tokens"] == 2
    size = len(serialise(server.requests[0].body)) / 4
    assert size * 0.8 < usage["input_tokens"] < size * 1.2
    assert (ran.result["total_cost_usd"], ran.result["cost_source"]) == (None, "unknown")
    assert f"1 turn; about {usage['input_tokens']} tokens in, 2 out; cost unknown" in text.err


def test_a_wait_that_would_outlast_the_run_ends_it_as_its_cap_and_at_once(glm: Run) -> None:
    busy = {**refusal("busy", 503), "headers": {"Retry-After": "60"}}
    with Server([busy], strict=True) as server:
        started = time.monotonic()
        ran = glm("ask", "What?", *to(server.url), "--max-wall-time", "30s", "--json")
    assert time.monotonic() - started < 5
    assert (ran.code, ran.result["subtype"]) == (55, "error_max_budget")
    assert "busy; the next try, in 60 s, would come after the end of --max-wall-time" in str(
        ran.result["errors"]
    )


@pytest.mark.slow
def test_what_was_asked_when_a_run_was_ended_is_not_free(glm: Run) -> None:
    with Server([{"content": "So", "delay": 9}]) as server:
        ran = glm("ask", "What?", *to(server.url), "--max-wall-time", "1", "--json")
    assert (ran.code, ran.result["usage"]["estimated"]) == (55, True)
    assert ran.result["usage"]["input_tokens"] > 100
    assert (ran.result["total_cost_usd"], ran.result["cost_source"]) == (None, "unknown")


def test_each_request_begins_with_the_bytes_of_the_one_before(glm: Run, repo: Path) -> None:
    """Reasoning goes back as it came, an empty one too; nothing before the end of the messages changes."""
    thinks: list[Entry] = [
        {**READ, "reasoning": "First ü, \u2028 then…"},
        (
            stream(
                chunk({"reasoning_content": "", "tool_calls": [fragment(0, "c2", **CHECK)]}, "tool_calls"),
            )
        ),
        {**READ, "content": "Once more."},
        {"content": "Not JSON.", "reasoning": "Hm"},
        {"content": '{"line": 2}', "reasoning": "Ah"},
    ]
    with Server(thinks, strict=True) as server:
        ran = glm("ask", "Where?", *to(server.url), "--thinking", *WANTED, "--json")
    assert (ran.code, len(server.requests)) == (0, 5)
    bodies = [request.body for request in server.requests]
    sizes = [int(request.headers["content-length"]) for request in server.requests]
    assert sizes == [len(serialise(body)) for body in bodies]  # so these are the bytes that were sent
    for before, after in pairwise(bodies):
        rest = {name: value for name, value in before.items() if name not in ("model", "messages")}
        start = serialise(before)[
            : -len(serialise(rest)) - 1
        ]  # up to the end of the messages, without their ]
        assert start.endswith(b"}") and serialise(after).startswith(start)
        assert {name: after[name] for name in rest} == rest
        assert list(after) == list(before)
    assert bodies[0]["thinking"] == {"type": "enabled", "clear_thinking": False}
    sent = [message for message in bodies[-1]["messages"] if message["role"] == "assistant"]
    assert [message.get("reasoning_content") for message in sent] == ["First ü, \u2028 then…", "", None, "Hm"]
