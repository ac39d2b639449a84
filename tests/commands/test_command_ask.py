from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from running import FILES, READ, RIGHT, WRONG, Run, contents, finish, first_fast, shell, start, to

from glm_agent.replay import Server
from glm_agent.types import Json

PATCH = f"--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-{WRONG}+{RIGHT}"
FORBIDDEN: list[Json] = [
    {"name": "edit", "arguments": {"path": "calc.py", "old": WRONG, "new": RIGHT}},
    {"name": "write", "arguments": {"path": "new.py", "content": "x\n"}},
    {"name": "patch", "arguments": {"patch": PATCH}},
    {"name": "bash", "arguments": {"command": "touch made"}},
]
FENCED = "What?\n\nStandard input:\n````\na\n```\nb\n````"
ANSWER: Json = {"content": "It subtracts (calc.py:2)."}


def questions(*bodies: Json) -> list[str]:
    return [message["content"] for message in bodies[-1]["messages"] if message["role"] == "user"]


def test_it_changes_nothing_whatever_the_model_tries(repo: Path, glm: Run) -> None:
    before = contents(repo)
    with Server([{"tool_calls": FORBIDDEN}, READ, ANSWER], strict=True) as server:
        ran = glm("ask", "What does add do?", *to(server.url), "--json")
    assert (ran.code, ran.result["result"], ran.result["changes"]) == (0, ANSWER["content"], [])
    assert contents(repo) == before
    offered = [tool["function"]["name"] for tool in server.requests[0].body["tools"]]
    assert offered == ran.events[0]["tools"] == ["read", "search", "bash"]
    answers = [
        block for event in ran.events if event["type"] == "user" for block in event["message"]["content"]
    ]
    assert [answer["is_error"] for answer in answers] == [True, True, True, False, False]
    assert [answer["content"] for answer in answers[:3]] == [
        f"error: there is no tool {call['name']!r} here; use one of read, search, bash"
        for call in FORBIDDEN[:3]
    ]
    assert "Read-only file system" in answers[3]["content"]


def test_it_works_where_there_is_no_repository(tmp_path: Path, glm: Run) -> None:
    (tmp_path / "calc.py").write_text(FILES["calc.py"])
    with Server([READ, ANSWER]) as server:
        ran = glm("ask", "What does add do?", *to(server.url), "--json", at=tmp_path)
    assert (ran.code, ran.events[0]["git"]) == (0, None)
    assert "return a - b" in server.requests[1].body["messages"][-1]["content"]


def test_it_works_in_the_middle_of_a_merge(repo: Path, glm: Run) -> None:
    (repo / ".git" / "MERGE_HEAD").write_text("0" * 40 + "\n")
    with Server([ANSWER]) as server:
        assert glm("ask", "What?", *to(server.url)).code == 0


def test_json_is_the_result_alone(glm: Run) -> None:
    with Server([READ, ANSWER]) as server:
        ran = glm("ask", "What?", *to(server.url), "--output-format", "json")
    assert ran.events == [ran.result]


def test_partial_messages_add_up_to_the_whole(glm: Run) -> None:
    with Server([ANSWER]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json", "--include-partial-messages")
    deltas = [event["event"]["delta"] for event in ran.events if event["type"] == "stream_event"]
    assert "".join(delta["text"] for delta in deltas) == ANSWER["content"]


# Standard input


@pytest.mark.slow
def test_an_open_silent_pipe_is_skipped_and_the_user_told(repo: Path) -> None:
    with Server([ANSWER]) as server:
        process = start(repo, "ask", "What?", *to(server.url), "--json", stdin=subprocess.PIPE)
        pipe, process.stdin = process.stdin, None  # stays open
        ran = finish(process)
        assert pipe is not None
        pipe.close()
    assert (ran.code, ran.events[0]["stdin"]) == (0, "skipped")
    assert (
        "stdin is an open pipe without data" in ran.events[1]["text"] and "--stdin" in ran.events[1]["text"]
    )
    assert questions(server.requests[0].body) == ["What?"]


@pytest.mark.parametrize(
    ("script", "asked", "use"),
    first_fast(
        (
            "printf 'a\\n```\\nb' | $GLM ask What? $TO",
            "What?\n\nStandard input:\n````\na\n```\nb\n````",
            "read",
        ),
        ('printf "no" | $GLM ask "What?" --no-stdin $TO', "What?", "none"),
        ('(sleep 0.3; printf "late") | $GLM ask --stdin $TO', "late", "read"),
        ("$GLM ask $TO < calc.py", FILES["calc.py"], "read"),
        ('printf "What?" | $GLM ask - $TO', "What?", "read"),
        ('$GLM ask "What?" $TO <&-', "What?", "none"),
        keep=2,
    ),
    ids=["pipe", "no-stdin", "waits", "file", "dash", "closed"],
)
def test_what_becomes_of_standard_input(repo: Path, script: str, asked: str, use: str) -> None:
    with Server([ANSWER]) as server:
        ran = shell(repo, script, TO=" ".join((*to(server.url), "--json")))
    assert ran.code == 0, ran.err
    assert (questions(server.requests[0].body), ran.events[0]["stdin"]) == ([asked], use)


def test_a_prompt_may_stand_in_a_file(glm: Run, tmp_path: Path) -> None:
    (tmp_path / "task").write_text("What is\nthis? ü\n", "utf-8")
    with Server([ANSWER]) as server:
        ran = glm("ask", "--prompt-file", str(tmp_path / "task"), *to(server.url))
    assert (ran.code, questions(server.requests[0].body)) == (0, ["What is\nthis? ü\n"])


# Standard output, and what must not be on it


def test_a_reader_that_leaves_ends_the_run_quietly_with_141(repo: Path, home: Path) -> None:
    with Server([READ, READ, ANSWER]) as server:
        ran = shell(
            repo,
            '$GLM ask "What?" $TO --json | head -1; exit "${PIPESTATUS[0]}"',
            TO=" ".join(to(server.url)),
        )
    assert (ran.code, ran.err) == (141, "")
    assert json.loads(ran.out)["subtype"] == "init"
    (journal,) = home.rglob("journal.jsonl")
    last = json.loads(journal.read_text().split("\n")[-2])
    assert (last["type"], last["result"]["exit_code"]) == ("Finished", 141)


@pytest.mark.slow
@pytest.mark.parametrize("closed", first_fast(">&- 2>&- <&-", ">&-", "2>&-"))
def test_streams_that_are_closed_from_the_start_are_no_trouble(repo: Path, closed: str) -> None:
    with Server([ANSWER]) as server:
        ran = shell(repo, f'$GLM ask "What?" $TO {closed}', TO=" ".join(to(server.url)))
    assert ran.code == 0
    assert ran.out == ("" if closed.startswith(">") else "It subtracts (calc.py:2).\n")


def test_a_key_is_nowhere_even_if_the_server_sends_it_back(repo: Path, home: Path, tmp_path: Path) -> None:
    key = "sk-0123456789.abcdefghij"
    error = {"error": {"code": "1210", "message": f"bad request for {key}"}}
    look: Json = {"tool_calls": [{"name": "bash", "arguments": {"command": "env; cat /proc/$PPID/cmdline"}}]}
    said: Json = {"reasoning": f"the key is {key}", "content": f"use {key}", "tool_calls": look["tool_calls"]}
    script = [said, {"fault": "status", "status": 400, "body": error}]
    with Server(script, strict=True) as server:
        process = start(
            repo,
            *("fix", "Add.", "-y", "-v", "--json", "--include-partial-messages", *to(server.url)),
            *("-o", str(tmp_path / "answer"), "--debug-file", str(tmp_path / "debug")),
            env={"GLM_AGENT_API_KEY": f" {key}\n"},
        )
        ran = finish(process)
    assert (ran.code, ran.result["subtype"]) == (1, "error_during_execution")
    assert "bad request for [key]" in ran.result["errors"][0]
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {key}"] * 2
    assert key not in str(server.requests[1].body["messages"][-1])  # what the command saw
    files = [path for folder in (home, tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "journal.jsonl" for path in files)
    assert [path for path in files if key.encode() in path.read_bytes()] == []
    assert key not in ran.out + ran.err
