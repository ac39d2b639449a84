"""The places that an answer of `ask` cites."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import DONE, READ, Run, first_fast, to

from glm_agent.replay import Server
from glm_agent.types import Json

GOOD: Json = {"content": "It subtracts (`calc.py:2`)."}
BAD: Json = {"content": "It subtracts (calc.py:2-3), see lib/calc.py#L7 and http://h.example/a.py:9."}
BAD_ONES = "lib/calc.py:7 (there is no such file)"
REFUSED: Json = {"fault": "status", "status": 400, "body": {"error": {"message": "no"}}}


def row(path: str, line: int, status: str, end: int | None = None) -> Json:
    return {"path": path, "line": line, "end_line": end or line, "status": status}


def test_what_holds_is_listed_and_nothing_is_asked_again(repo: Path, glm: Run) -> None:
    said = {"content": f"calc.py:1, ./calc.py:2, {repo}/check.py:1, calc.py#L2"}
    with Server([READ, said], strict=True) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
    assert (ran.code, ran.result["notices"]) == (0, [])
    assert ran.result["citations"] == [
        row("calc.py", 1, "verified"),
        row("calc.py", 2, "verified"),
        row("check.py", 1, "verified"),
    ]


def test_what_does_not_hold_is_sent_back_once(glm: Run) -> None:
    with Server([BAD, READ, GOOD], strict=True) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
        last = server.requests[1].body["messages"][-1]
    assert (ran.code, ran.result["result"], ran.result["notices"]) == (0, GOOD["content"], [])
    assert ran.result["citations"] == [row("calc.py", 2, "verified")]
    assert last["role"] == "user"
    assert (
        "- calc.py:2-3: the file has no such line\n- lib/calc.py:7: there is no such file" in last["content"]
    )


def test_what_still_does_not_hold_is_named_and_no_failure(glm: Run) -> None:
    with Server([BAD, BAD], strict=True) as server:
        ran = glm("ask", "What?", *to(server.url))
    assert (ran.code, ran.out) == (0, BAD["content"] + "\n")
    (line,) = [line for line in ran.err.split("\n") if "not verified" in line]
    assert line == f"not verified: calc.py:2-3 (the file has no such line), {BAD_ONES}"


@pytest.mark.parametrize(("turns", "says"), first_fast(("1", "a cap was reached"), ("2", "no")))
def test_the_answer_stands_if_the_model_cannot_give_another(glm: Run, turns: str, says: str) -> None:
    with Server([BAD, REFUSED]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json", "--max-turns", turns)
    assert (ran.code, ran.result["result"]) == (0, BAD["content"])
    assert [one["status"] for one in ran.result["citations"]] == ["no_such_line", "no_such_file"]
    texts = [event["text"] for event in ran.events if event.get("subtype") == "notice"]
    assert any("not looked at again" in text and says in text for text in texts)
    assert ran.result["notices"] == [texts[-1]]


def test_no_file_is_opened_that_the_model_may_not_read(repo: Path, glm: Run) -> None:
    (repo / ".env").write_text("API_KEY=sk-0123456789abcdefghij\n")
    (repo / "out.py").symlink_to("/etc/passwd")
    (repo / "image.png").write_bytes(b"\0" * 20)
    (repo / "empty.py").touch()
    outside = "../x.py:1 /etc/hosts.py:1 .git/config.py:1 out.py:1"
    said = {"content": f".env:1 {outside} image.png:1 empty.py:1 tests.d:1 Makefile:1"}
    with Server([said, said], strict=True) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
    assert ran.result["citations"] == [
        row(".env", 1, "unreadable"),
        row("../x.py", 1, "no_such_file"),
        row("/etc/hosts.py", 1, "no_such_file"),
        row(".git/config.py", 1, "no_such_file"),
        row("out.py", 1, "unreadable"),
        row("image.png", 1, "unreadable"),
        row("empty.py", 1, "no_such_line"),
        row("tests.d", 1, "no_such_file"),
    ]


VALUE = {"where": ["calc.py:2", {"and": "see\ncalc.py:9"}], "calc.py:1": 1}
BETTER = {"where": ["calc.py:2"]}
IN_SHAPE = ("--json-schema", json.dumps({"type": "object", "required": ["where"]}))


def answered(value: Json) -> Json:
    return {"tool_calls": [{"name": "answer", "arguments": value}]}


def test_an_answer_that_fits_a_schema_is_sent_back_too(glm: Run) -> None:
    with Server([answered(VALUE), READ, answered(BETTER)], strict=True) as server:
        ran = glm("ask", "What?", *to(server.url), "--json", *IN_SHAPE)
        last = server.requests[1].body["messages"][-1]
    assert (ran.code, ran.result["structured_output"], ran.result["notices"]) == (0, BETTER, [])
    assert ran.result["citations"] == [row("calc.py", 2, "verified")]
    assert (last["role"], "- calc.py:9: the file has no such line" in last["content"]) == ("user", True)


@pytest.mark.parametrize(
    ("more", "second", "says"),
    first_fast((1, REFUSED, "no"), (3, answered({}), "no answer fitted the schema"), (0, DONE, "a cap was")),
)
def test_one_that_fits_a_schema_stands_if_there_is_no_other(
    glm: Run, more: int, second: Json, says: str
) -> None:
    turns = str(1 + more)
    with Server([answered(VALUE), *[second] * more]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json", *IN_SHAPE, "--max-turns", turns)
    assert (ran.code, ran.result["structured_output"]) == (0, VALUE)
    assert ran.result["citations"] == [row("calc.py", 2, "verified"), row("calc.py", 9, "no_such_line")]
    texts = [event["text"] for event in ran.events if event.get("subtype") == "notice"]
    assert any("not looked at again" in text and says in text for text in texts)
    assert ran.result["notices"] == ["not verified: calc.py:9 (the file has no such line)"]
