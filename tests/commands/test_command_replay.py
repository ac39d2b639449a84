"""`--record` and `replay`: a run, and the same run again with nothing but its recording."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from running import DONE, FIX, HERE, READ, Run, contents, first_fast, refused, to

from glm_agent.replay import Server, read_turns
from glm_agent.replay.recording import Chain
from glm_agent.types import Json

BUSY: Json = {"fault": "status", "status": 429, "headers": {"retry-after-ms": "10"}}
CUT: Json = {"content": "I think that", "fault": "cut"}
SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
ANSWER: Json = {"tool_calls": [{"name": "answer", "arguments": {"n": 1}}]}
ENDED = "the recorded run ended with error_"
BASH: Json = {"tool_calls": [{"name": "bash", "arguments": {"command": "touch made"}}]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def lines(file: Path) -> list[Json]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]]


def rewrite(file: Path, change: Callable[[list[Json]], object]) -> None:
    """Changes a recording, and makes its hashes right again."""
    change(records := lines(file))
    chain = Chain()
    for record in records:
        if request := record.get("request"):
            record["hash"] = chain.add(request["same"], request["messages"], request.get("head"))
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")


def requests(records: list[Json]) -> list[Json]:
    return [record["request"] for record in records if "request" in record]


def test_a_run_goes_the_same_way_again_and_changes_nothing(repo: Path, glm: Run, file: Path) -> None:
    with Server([READ, BUSY, FIX, DONE], strict=True) as server:
        ran = glm("fix", "Repair add.", *to(server.url), "--record", str(file), "--json")
    assert ran.code == 0, ran.err
    assert file.stat().st_mode & 0o777 == 0o600
    before = contents(repo)
    again = glm("replay", str(file))
    assert (again.code, again.err) == (0, "")
    assert again.out == "no divergence: 4 requests and 2 tool results replayed\n"
    data = json.loads(glm("replay", str(file), "--json").out)
    assert data == {
        "diverged": False,
        "divergence": None,
        "requests": 4,
        "tool_results": 2,
        "recorded": {
            "version": data["recorded"]["version"],
            "session": ran.result["session_id"],
            "command": "fix",
            "outcome": "success",
            "requests": 4,
        },
        "note": None,
    }
    assert contents(repo) == before


@pytest.mark.slow
def test_the_scripted_server_plays_a_recording(repo: Path, glm: Run, file: Path) -> None:
    with Server([READ, BUSY, DONE]) as server:
        first = glm("ask", "What?", *to(server.url), "--record", str(file), "--json")
    with Server(read_turns(file.read_text("utf-8")), strict=True) as server:
        second = glm("ask", "What?", *to(server.url), "--json")
    assert [event["type"] for event in second.events] == [event["type"] for event in first.events]
    assert second.result["result"] == first.result["result"] == DONE["content"]
    assert len(server.requests) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "script", "code", "note"),
    [
        (("fix", "Do it.", "--max-turns", "1"), [FIX, DONE], 53, ENDED + "max_turns"),
        (("fix", "Do it.", "--max-tool-calls", "2"), [READ, FIX, DONE], 55, ENDED + "max_budget"),
        (("fix", "Do it.", "--max-total-tokens", "9000"), [FIX, DONE], 0, None),
        (("fix", "Do it.", "--verify", "false", "--verify-rounds", "2"), [FIX, DONE, DONE], 10, None),
        (("ask", "Which?", "--json-schema", SCHEMA), [{"content": "1"}, ANSWER], 0, None),
        (("ask", "Do it.", "--max-tokens", "99"), [BASH, {"tool_calls": [{"name": "none"}]}, DONE], 0, None),
    ],
    ids=["turns", "calls", "tokens", "rounds", "schema", "bash"],
)
def test_so_does_every_kind_of_run(
    words: tuple[str, ...], script: list[Json], code: int, note: str | None, glm: Run, file: Path
) -> None:
    with Server(script) as server:
        assert glm(*words, *to(server.url), "--record", str(file)).code == code
    again = json.loads(glm("replay", str(file), "--json").out)
    assert (again["divergence"], again["note"]) == (None, note)
    assert again["requests"] == again["recorded"]["requests"] == len(server.requests)


@pytest.mark.slow
def test_so_does_one_whose_stream_broke_off(glm: Run, file: Path) -> None:
    with Server([READ, CUT, FIX, DONE]) as server:
        assert glm("fix", "Do it.", *to(server.url), "--record", str(file)).code == 0
    assert glm("replay", str(file)).out == "no divergence: 4 requests and 2 tool results replayed\n"


def reword(records: list[Json]) -> None:
    system = requests(records)[0]["messages"][0]
    system["content"] = system["content"].replace("Solve the task", "\x1b[31mSolve it")


def drop_a_tool(records: list[Json]) -> None:
    requests(records)[0]["head"]["tools"].pop()


def misread(records: list[Json]) -> None:
    requests(records)[1]["messages"][1]["content"] += "!"


def misunderstand(records: list[Json]) -> None:
    next(record["said"] for record in records if record.get("said", {}).get("role") == "assistant")[
        "text"
    ] = "x"


def stop_early(records: list[Json]) -> None:
    place = max(k for k, record in enumerate(records) if "request" in record)
    del records[place : place + 3]


@pytest.mark.parametrize(
    ("change", "number", "part", "shown"),
    first_fast(
        (reword, 1, "the system prompt", "Solve it"),
        (drop_a_tool, 1, "the tools", "bash"),
        (misread, 2, "message 3 (tool)", "!"),
        (misunderstand, 1, "what was understood of the answer", "-text: x"),
        (stop_early, 2, "the end", "+one more request"),
    ),
)
def test_the_first_divergence_is_said(
    change: Callable[[list[Json]], object], number: int, part: str, shown: str, glm: Run, file: Path
) -> None:
    with Server([READ, DONE]) as server:
        glm("fix", "Do it.", *to(server.url), "--record", str(file), "--allow-empty")
    rewrite(file, change)
    text = glm("replay", str(file))
    assert (text.code, text.out.split("\n")[0]) == (1, f"request {number}: {part} is not as recorded")
    assert shown in text.out
    assert "\x1b" not in text.out
    data = glm("replay", str(file), "--json")
    found = json.loads(data.out)["divergence"]
    assert (data.code, found["request"], found["part"]) == (1, number, part)


def test_a_recording_among_the_files_of_the_run_is_refused(repo: Path, glm: Run) -> None:
    before = contents(repo)
    refused(glm, "ask", "Why?", *HERE, "--record", str(repo / "run.jsonl"), code=2, says="--record")
    assert contents(repo) == before


@pytest.mark.parametrize(
    "start",
    [
        {},
        {"command": "rm"},
        {"command": "fix", "provider": "\x1b]0;x\x07none"},
        {
            "command": "fix",
            "provider": "custom",
            "model": 3,
            "told": [[1]],
            "tools": {},
            "caps": 3,
            "wish": [1],
        },
        {
            "command": "ask",
            "provider": "zai",
            "model": "../../etc/passwd",
            "session": "../../x",
            "schema": {"$ref": 1},
        },
        {"command": "fix", "provider": "zai", "model": "glm-4.7", "facts": ["\ud800"]},
    ],
)
def test_a_hostile_file_is_a_line(start: Json, glm: Run, file: Path) -> None:
    request: Json = {"request": {"same": 0, "messages": [], "head": {}}}
    rewrite_from: list[Json] = [{"recording": 1, **start}, {"said": {"role": "user", "text": "hi"}}, request]
    file.write_text("".join(json.dumps(record) + "\n" for record in rewrite_from))
    rewrite(file, lambda records: records)
    ran = glm("replay", str(file))
    assert ran.code in (1, 2)
    assert "\x1b" not in ran.out + ran.err
    assert ran.err.count("\n") == (ran.code == 2)
    assert glm("replay", str(file.parent / "none")).err.endswith(
        "none: cannot be read: No such file or directory\n"
    )
