"""Against a server that we did not write: LiteLLM's proxy, version 1.106.2 (requirements/litellm.txt).

The program speaks to the proxy, and the proxy, by an OpenAI client of its own, to the scripted host: so what
arrives here was read and written anew by another's code. What that code does to it, as seen:

- chunks keep ids and fragments; usage comes in a chunk of its own, whose choice has an empty delta
- the host's error code is lost (it becomes the status), its message stays, with words around it
- `Retry-After` becomes `llm_provider-retry-after`
- a stream that the host breaks off ends with an error frame, of status 500
- a stream that the host ends without a finish reason, or with one that OpenAI does not know, gets "stop"
- a parameter that it does not know (`thinking`) is refused with status 400, a key with "No connected db."
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from foreign import Proxy, Upstream, free_port, install, served
from running import CHECK, DONE, FIX, READ, STALL, Run, finish, run, start, wait_for

from glm_agent.types import Json

pytestmark = pytest.mark.slow

THOUGHT = "I read both  files,\n然后改。\n"
BOTH: Json = {
    "reasoning": THOUGHT,
    "tool_calls": [*READ["tool_calls"], {"name": "read", "arguments": {"path": "check.py"}}],
    "fragment": 4,
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 40,
        "total_tokens": 1040,
        "prompt_tokens_details": {"cached_tokens": 512},
        "completion_tokens_details": {"reasoning_tokens": 7},
    },
}
PLAIN = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
TURNS = [BOTH, {**FIX, "content": "I change it.", "fragment": 3, "usage": PLAIN}, {**DONE, "usage": PLAIN}]
DIFF = """\
--- a/calc.py
+++ b/calc.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""
SCHEMA: Json = {"type": "object", "properties": {"line": {"type": "integer"}}, "required": ["line"]}


# Who asks again is the client; and what is scripted to fail is not to be set aside.
CONFIG = """\
model_list:
  - model_name: glm-4.7
    litellm_params: {{model: openai/glm-4.7, api_base: "{url}", api_key: of-the-host}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: "{key}"}}
"""


@pytest.fixture(scope="module")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Generator[Proxy]:
    """LiteLLM's proxy, with a scripted host behind it."""
    program = install("litellm").with_name("litellm")
    folder, key, port = tmp_path_factory.mktemp("litellm"), f"sk-{os.urandom(32).hex()}", str(free_port())
    with Upstream([], strict=True) as upstream:
        (folder / "config.yaml").write_text(CONFIG.format(url=upstream.url, key=key), "utf-8")
        argv = [str(program), "--config", "config.yaml", "--host", "127.0.0.1", "--port", port]
        url = f"http://127.0.0.1:{port}"
        # its list of prices is the one that came with it: nothing is fetched
        with served(argv, folder, f"{url}/health/liveliness", LITELLM_LOCAL_MODEL_COST_MAP="True"):
            yield Proxy(f"{url}/v1", key, upstream)


@pytest.fixture(autouse=True)
def key(litellm: Proxy, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The key of the proxy, in the environment; and that environment for processes."""
    monkeypatch.setenv("GLM_AGENT_API_KEY", litellm.key)
    return {"GLM_AGENT_API_KEY": litellm.key}


def failing(status: int, code: str, message: str, **headers: str) -> Json:
    body = {"error": {"code": code, "message": message}}
    return {"fault": "status", "status": status, "headers": headers, "body": body}


def subtypes(events: list[Json]) -> list[str]:
    return [event["subtype"] for event in events if event["type"] == "system"][1:]


def test_a_bug_is_found_fixed_and_verified(
    litellm: Proxy, repo: Path, tmp_path: Path, key: dict[str, str]
) -> None:
    flags = litellm.play(*TURNS)
    patch = tmp_path / "patch"
    words = ["--verify", CHECK, "--json", "--patch", str(patch)]
    ran = run(repo, "fix", "Make it add.", *flags, *words, env=key)
    assert (ran.code, ran.result["subtype"], ran.result["result"]) == (0, "success", DONE["content"])
    assert patch.read_text().partition("--- ")[2] == DIFF.partition("--- ")[2]
    assert len(ran.result["verification"]["fixed"]) == 2
    assert ran.result["usage"] == {
        "input_tokens": 508,
        "cache_read_input_tokens": 512,
        "output_tokens": 44,
        "reasoning_tokens": 7,
        "estimated": False,
        "cache_hit_share": 0.502,
    }


def test_the_host_behind_it_gets_what_was_said(litellm: Proxy, repo: Path, key: dict[str, str]) -> None:
    run(repo, "fix", "Make it add.", *litellm.play(*TURNS), env=key)
    first, second, third = (body["messages"] for body in litellm.asked)
    assert (second[: len(first)], third[: len(second)]) == (first, second)
    said, *results = second[len(first) :]
    assert said["reasoning_content"] == THOUGHT
    assert [json.loads(call["function"]["arguments"]) for call in said["tool_calls"]] == [
        {"path": "calc.py"},
        {"path": "check.py"},
    ]
    assert [result["tool_call_id"] for result in results] == [call["id"] for call in said["tool_calls"]]
    assert {json.dumps(body["tools"]) for body in litellm.asked} == {json.dumps(litellm.asked[0]["tools"])}
    sent = [request.headers["authorization"] for request in litellm.upstream.requests]
    assert sent == ["Bearer of-the-host"] * 3


def test_fragments_are_shown_as_they_come(litellm: Proxy, glm: Run) -> None:
    ran = glm("fix", "Make it add.", *litellm.play(*TURNS), "--json", "--include-partial-messages")
    deltas = [event["event"]["delta"] for event in ran.events if event["type"] == "stream_event"]
    thought = [delta["thinking"] for delta in deltas if delta["type"] == "thinking_delta"]
    assert ("".join(thought), len(thought)) == (THOUGHT, 6)
    assert [delta["text"] for delta in deltas if delta["type"] == "text_delta"] == [
        *("I", " change", " it."),
        *("Done:", " it", " adds", " now."),
    ]


STOPS = {
    "a key that the host refuses": (failing(401, "1002", "Token invalid"), 41, "check the key"),
    "no money": (failing(429, "1113", "Insufficient balance or no resource package."), 41, "recharge"),
    "a quota": (
        failing(429, "1308", "Usage limit reached for 5 hour. Your limit will reset at 2026-11-22 03:00:00"),
        75,
        "after the reset at 2026-11-22 03:00:00 (its time zone is not given)",
    ),
    "an unknown model": (failing(404, "1211", "Unknown Model"), 2, "check -m"),
    "a prompt too long": (failing(400, "1261", "Prompt exceeds max length"), 55, "split the task"),
    "a bad request": (failing(400, "1214", "The messages are illegal"), 1, "refused the request"),
    "a content filter": ({"content": "No.", "finish": "sensitive"}, 1, "content filter"),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_refusal_ends_the_run(name: str, litellm: Proxy, glm: Run) -> None:
    turn, code, says = STOPS[name]
    ran = glm("ask", "What?", *litellm.play(turn), "--json")
    assert (ran.code, len(litellm.asked)) == (code, 1)
    assert says in ran.result["errors"][0]


TEXT: Json = {"content": "It subtracts where it should add"}
AGAIN = {
    "a server error": failing(500, "500", "Internal error"),
    "a page instead": {
        "fault": "status",
        "status": 502,
        "headers": {"Content-Type": "text/html"},
        "body": "<html><title>502</title></html>",
    },
    "no answer": {**TEXT, "fault": "reset", "after": -1},
    "a text that is cut": {**TEXT, "fault": "cut", "after": 400},
    "a text that is reset": {**TEXT, "fault": "reset", "after": 400},
    "a call that is cut": {**READ, "fragment": 3, "fault": "cut", "after": 900},
}


@pytest.mark.parametrize("name", AGAIN)
def test_what_breaks_is_asked_again_and_nothing_of_it_counts(name: str, litellm: Proxy, glm: Run) -> None:
    ran = glm("ask", "What?", *litellm.play(AGAIN[name], DONE), "--json")
    assert (ran.code, ran.result["result"], len(litellm.asked)) == (0, DONE["content"], 2)
    assert subtypes(ran.events)[-1] == "retry"
    assert litellm.asked[1] == litellm.asked[0]
    assert [event["type"] for event in ran.events].count("user") == 0  # nothing was run


def test_a_limit_is_waited_for_as_long_as_the_host_asked(litellm: Proxy, glm: Run) -> None:
    limit = failing(429, "1303", "Rate limit reached", **{"Retry-After": "0.3"})
    ran = glm("ask", "What?", *litellm.play(limit, DONE), "--json")
    (retry,) = [event for event in ran.events if event.get("subtype") == "retry"]
    assert (ran.code, retry["http_status"], retry["delay_s"]) == (0, 429, 0.3)


def test_half_a_call_is_not_run_although_the_proxy_ends_it_well(litellm: Proxy, glm: Run) -> None:
    half = {**FIX, "fragment": 3, "fault": "close", "after": 900}
    ran = glm("fix", "Make it add.", *litellm.play(half, FIX, DONE), "--json")
    results = [event for event in ran.events if event["type"] == "user"]
    assert [event["message"]["content"][0]["is_error"] for event in results] == [True, False]
    assert (ran.code, len(litellm.asked)) == (0, 3)


def test_an_end_that_the_proxy_makes_up_looks_like_any_other(litellm: Proxy, glm: Run) -> None:
    """What cannot be seen from here: without the proxy it is a failed turn, and asked again."""
    ran = glm("ask", "What?", *litellm.play({**TEXT, "fault": "close", "after": 400}), "--json")
    assert (ran.code, len(litellm.asked)) == (0, 1)
    assert TEXT["content"].startswith(ran.result["result"])


def test_a_field_that_it_refuses_is_left_out(litellm: Proxy, glm: Run) -> None:
    ran = glm("ask", "What?", *litellm.play(DONE), "--no-thinking", "--json")
    notices = [event["text"] for event in ran.events if event.get("subtype") == "notice"]
    assert (ran.code, len(litellm.asked)) == (0, 1)
    assert [notice.partition(" refuses ")[2] for notice in notices] == [
        "the field thinking, which is not sent any more"
    ]


def test_a_model_that_it_does_not_have(litellm: Proxy, glm: Run) -> None:
    ran = glm("ask", "What?", *litellm.play(DONE), "-m", "glm-9", "--json")
    assert (ran.code, ran.result["subtype"], litellm.asked) == (2, "error_usage", [])
    assert "Invalid model name" in ran.result["errors"][0]


def test_a_key_that_it_does_not_know(litellm: Proxy, glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "sk-of-someone-else")
    ran = glm("ask", "What?", *litellm.play(DONE), "--json")
    assert (ran.code, ran.result["subtype"], litellm.asked) == (41, "error_auth", [])


def test_an_answer_by_a_schema(litellm: Proxy, glm: Run) -> None:
    answer = {"tool_calls": [{"name": "answer", "arguments": {"line": 2}}], "fragment": 2}
    wrong = {"tool_calls": [{"name": "answer", "arguments": {"line": "two"}}]}
    flags = litellm.play({"content": "In line 2."}, wrong, answer)
    ran = glm("ask", "Where?", *flags, "--json-schema", json.dumps(SCHEMA), "--json")
    assert (ran.code, ran.result["structured_output"], len(litellm.asked)) == (0, {"line": 2}, 3)


def test_ctrl_c_while_it_streams(litellm: Proxy, repo: Path, key: dict[str, str]) -> None:
    process = start(repo, "fix", "Add.", "--json", *litellm.play(FIX, STALL), env=key)
    wait_for(lambda: len(litellm.asked) == 2)
    time.sleep(0.2)  # for the first bytes
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    ran = finish(process)
    assert time.monotonic() - sent < 1
    assert (ran.code, ran.result["subtype"]) == (130, "error_cancelled")
    assert DIFF.partition("--- ")[2] in Path(ran.result["patch_file"]).read_text()
