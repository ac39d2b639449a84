from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import CHECK, FIX, Run, run, to

from glm_agent.replay import Server
from glm_agent.types import Json

SCHEMA: Json = {
    "type": "object",
    "properties": {"file": {"type": "string"}, "line": {"type": "integer", "minimum": 1}},
    "required": ["file", "line"],
}
WANTED = ("--json-schema", json.dumps(SCHEMA))
GOOD: Json = {"file": "calc.py", "line": 2}


def answer(**value: object) -> Json:
    return {"tool_calls": [{"name": "answer", "arguments": value}]}


def test_an_answer_by_the_tool_ends_the_run_and_is_the_result(glm: Run) -> None:
    with Server([answer(**GOOD)], strict=True) as server:
        ran = glm("ask", "Where does add subtract?", *to(server.url), *WANTED, "--json")
    assert (ran.code, ran.result["structured_output"], json.loads(ran.result["result"])) == (0, GOOD, GOOD)
    assert len(server.requests) == 1
    offered = [tool["function"]["name"] for tool in server.requests[0].body["tools"]]
    assert offered == ["read", "search", "bash", "answer"]


def test_as_text_stdout_is_one_line_of_json(glm: Run) -> None:
    with Server([answer(**GOOD)]) as server:
        ran = glm("ask", "Where?", *to(server.url), *WANTED)
    assert (ran.code, ran.out) == (0, json.dumps(GOOD) + "\n")


def test_an_answer_that_does_not_fit_is_sent_back_with_its_errors(glm: Run) -> None:
    with Server([answer(file="calc.py", line=0), {"content": "It is in calc.py."}, answer(**GOOD)]) as server:
        ran = glm("ask", "Where?", *to(server.url), *WANTED, "--json")
    assert (ran.code, ran.result["structured_output"]) == (0, GOOD)
    assert "line" in server.requests[1].body["messages"][-1]["content"]
    assert server.requests[2].body["messages"][-1]["role"] == "user"


def test_a_text_that_holds_the_answer_is_taken(glm: Run) -> None:
    with Server([{"content": f"Here it is:\n```json\n{json.dumps(GOOD)}\n```"}]) as server:
        ran = glm("ask", "Where?", *to(server.url), *WANTED, "--json")
    assert (ran.code, ran.result["structured_output"]) == (0, GOOD)


def test_a_model_that_never_fits_it_ends_with_13(glm: Run) -> None:
    with Server([{"content": "In calc.py."}]) as server:
        ran = glm("ask", "Where?", *to(server.url), *WANTED, "--json")
    assert (ran.code, ran.result["subtype"], ran.result["structured_output"]) == (13, "error_schema", None)
    assert len(server.requests) == 3


@pytest.mark.slow
def test_fix_checks_after_the_answer_and_takes_only_the_last_one(glm: Run) -> None:
    wrong = {**GOOD, "line": 9}
    with Server([answer(**wrong), FIX, answer(**GOOD)], strict=True) as server:
        ran = glm(
            "fix", "Make it add.", *to(server.url), *WANTED, "--verify", CHECK, "--json", "--allow-empty"
        )
    assert (ran.code, ran.result["structured_output"]) == (0, GOOD)
    assert [check["exit_code"] for check in ran.result["verification"]["after"]] == [0]


def test_a_schema_that_is_none_is_refused_before_anything_is_sent(glm: Run, tmp_path: Path) -> None:
    for given in ("{", "[1]", '{"type": "nothing"}', f"@{tmp_path / 'missing.json'}"):
        ran = glm("ask", "Where?", *to("http://127.0.0.1:9/v1"), "--json-schema", given, "--json")
        assert (ran.code, ran.result["subtype"]) == (2, "error_usage")
        assert ran.result["errors"][0].startswith("--json-schema")


@pytest.mark.slow
def test_a_regex_without_end_is_ended_by_the_clock(repo: Path) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
    words = ("--json-schema", json.dumps(schema), "--max-wall-time", "1", "--json")
    with Server([answer(x=f"{'a' * 60}!")]) as server:
        ran = run(repo, "ask", "Why?", *to(server.url), *words, env={"GLM_AGENT_API_KEY": "k"})
    assert (ran.code, ran.result["subtype"]) == (55, "error_max_budget")
    assert ran.result["duration_ms"] < 3000
