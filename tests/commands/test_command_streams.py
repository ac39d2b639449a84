"""Every recorded stream, played to the program: it shows what the stream said, or that it was not whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Run, to

from glm_agent.replay import Server
from glm_agent.replay.script import Recording, read_recording
from glm_agent.types import Json

STREAMS = Path(__file__).parents[1] / "streams"
MENDED = ("81", "82", "93")  # markup that a host's parser let through
FINAL = {"96": 1, "97": 55}  # asking again cannot help
GOOD: Json = {"content": "All good."}
WRITTEN = "80-c-tool-xml-in-reasoning.sse"
ERRORS = {  # status, exit code, what is said; asked with so little time that no wait fits into it
    "12": (401, 41, "check the key"),
    "70": (429, 75, "try again after the reset at 2026-08-25 07:41:44 (its time zone is not given)"),
    "71": (429, 55, "High concurrency usage of this API"),
    "72": (429, 55, "The service may be temporarily overloaded"),
    "73": (400, 1, "The messages parameter is illegal"),
    "74": (400, 1, "messages 参数非法"),
    "75": (400, 1, "This model always engages in thinking"),
    "76": (400, 55, "split the task"),
    "77": (429, 41, "recharge the account"),
    "78": (404, 2, "check -m and --base-url"),
    "94": (200, 55, "The service may be temporarily overloaded"),
    "99": (200, 1, "messages 参数非法"),
}
PASSING = {"13": 502, "34": 500}  # status


def expected(name: str) -> Json:
    return json.loads((STREAMS / "expected" / f"{name}.json").read_text("utf-8"))


def is_whole(said: Json) -> bool:
    empty = not said["calls"] and not said["content"].strip()
    spliced = any("spliced" in note for note in said["notes"])
    return said["finish"] in ("stop", "tool_calls") and not said["errors"] and not spliced and not empty


FILES = [path.name for path in sorted(STREAMS.iterdir()) if path.suffix in (".sse", ".json", ".html")]
NAMES = [name for name in FILES if name[:2] not in (*MENDED, *ERRORS, *PASSING)]
WHOLE = [name for name in NAMES if is_whole(expected(name)) and name[:2] != "80"]


def played(number: str, status: int = 200) -> Recording:
    (path,) = (STREAMS / name for name in FILES if name.startswith(number))
    return read_recording(path, status)


def shown(event: Json) -> tuple[str, str, list[tuple[str, Json]]]:
    blocks: list[Json] = event["message"]["content"]
    thinking = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    return thinking, text, calls


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_stream_is_shown_as_it_was(name: str, glm: Run) -> None:
    said = expected(name)
    with Server([STREAMS / name, GOOD]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
    first = next(event for event in ran.events if event["type"] == "assistant")
    calls: list[tuple[str, Json]] = [(call["name"], call["args"] or {}) for call in said["calls"]]
    assert shown(first) == (said["reasoning"], said["content"], calls)
    assert ran.code == 0


@pytest.mark.slow  # each waits before it asks again
@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*WHOLE, WRITTEN)])
def test_a_stream_that_is_not_whole_is_asked_again_or_ends_the_run(name: str, glm: Run) -> None:
    with Server([STREAMS / name, GOOD]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
    code = FINAL.get(name[:2], 0)
    assert (ran.code, len(server.requests)) == (code, 1 if code else 2)
    assert [event["subtype"] for event in ran.events if event["type"] == "system"][1] == "discarded"
    assert [event["type"] for event in ran.events].count("assistant") == (0 if code else 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", PASSING)
def test_an_error_that_may_pass_is_asked_again(number: str, glm: Run) -> None:
    with Server([played(number, PASSING[number]), GOOD]) as server:
        assert glm("ask", "What?", *to(server.url)).out == "All good.\n"


@pytest.mark.parametrize("number", ERRORS)
def test_an_error_ends_the_run_with_what_it_said(number: str, glm: Run) -> None:
    status, code, says = ERRORS[number]
    with Server([played(number, status)]) as server:
        ran = glm("ask", "What?", *to(server.url), "--max-wall-time", "1", "--json")
    assert (ran.code, len(server.requests), ran.result["result"]) == (code, 1, "")
    assert says in ran.result["errors"][0]


@pytest.mark.parametrize(
    ("number", "arguments"),
    [("81", {"filePath": "/tmp/a.py", "limit": 20}), ("82", {"filePath": "/home/u/x"})],
)
def test_markup_in_the_text_or_the_name_becomes_what_was_meant(
    number: str, arguments: Json, glm: Run
) -> None:
    with Server([played(number), GOOD]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
    first = next(event for event in ran.events if event["type"] == "assistant")
    assert shown(first)[2] == [("read", arguments)]


def test_a_whole_call_in_the_reasoning_is_made_where_there_is_such_a_tool(glm: Run, repo: Path) -> None:
    with Server([played("80"), GOOD], strict=True) as server:
        assert glm("fix", "Plan.", "-y", *to(server.url)).code == 0
    assert (repo / "a.md").read_text() == "Plan\n"


def test_a_thought_that_leaked_is_no_part_of_the_answer(glm: Run) -> None:
    with Server([played("93")]) as server:
        assert glm("ask", "What?", *to(server.url)).out == "The answer is 4.\n"


def test_a_call_that_was_written_as_a_thought_is_made_if_it_is_whole_and_known(glm: Run) -> None:
    with Server([STREAMS / WRITTEN, GOOD]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
    blocks = next(event["message"]["content"] for event in ran.events if event["type"] == "assistant")
    command = "cat > a.md << 'EOF'\nPlan\nEOF"
    calls = [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    assert (ran.code, calls) == (0, [("bash", {"command": command})])


@pytest.mark.slow  # it waits before it asks again
def test_a_turn_that_breaks_in_the_middle_of_work_is_asked_again_and_nothing_runs_twice(
    repo: Path, glm: Run, home: Path
) -> None:
    """Its half calls are not run, its text is marked as discarded, and it is not in the history."""
    note: Json = {"name": "write", "arguments": {"path": "note.txt", "content": "once\n"}}
    other: Json = {"name": "write", "arguments": {"path": "other.txt", "content": "never\n"}}
    half: Json = {"content": "Half a thought", "tool_calls": [other], "fault": "cut"}
    with Server([{"tool_calls": [note]}, half, {"content": "Written."}], strict=True) as server:
        ran = glm("fix", "Note it.", *to(server.url), "--json", "--include-partial-messages")
    assert ran.code == 0, ran.err
    first, second, third = (request.body for request in server.requests)
    assert second == third
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert ((repo / "note.txt").read_text(), (repo / "other.txt").exists()) == ("once\n", False)
    results = [
        event for event in ran.events if event["type"] == "user" and "tool_result" in json.dumps(event)
    ]
    assert len(results) == 1
    marks = [_mark(event) for event in ran.events]
    place = marks.index("discarded")
    assert "Half" in "".join(marks[:place])
    assert "Half" not in "".join(marks[place:])
    assert marks[place + 1] == "retry"
    assert "Half" not in json.dumps([event for event in ran.events if event["type"] == "assistant"])
    (journal,) = home.glob(".local/state/glm-agent/sessions/*/journal.jsonl")
    kept = [json.loads(line) for line in journal.read_text("utf-8").split("\n")[:-1]]
    halves = [record.get("type") for record in kept if "Half a thought" in json.dumps(record)]
    assert halves == ["Discarded"]
    assert [record.get("type") for record in kept].count("ToolStarted") == 1


@pytest.mark.slow  # it waits before it asks again
def test_the_text_view_says_that_what_was_shown_does_not_count(glm: Run) -> None:
    half: Json = {"content": "Half a thought", "fault": "cut"}
    with Server([half, {"content": "Whole."}], strict=True) as server:
        ran = glm("ask", "What?", *to(server.url))
    assert ran.out == "Whole.\n"
    assert "answer discarded: the stream broke off" in ran.err


def _mark(event: Json) -> str:
    """What an event is to one who watches: text that comes in, or a kind of event."""
    if event["type"] == "stream_event":
        return str(event["event"].get("delta", {}).get("text", ""))
    return str(event.get("subtype", event["type"]))
