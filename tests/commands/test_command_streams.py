"""Every recorded stream, played to the program: it shows what the stream said, or that it was not whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Run, to

from glm_agent.replay import Server
from glm_agent.types import Json

STREAMS = Path(__file__).parents[1] / "streams"
MENDED = ("80", "81", "82", "83", "93")  # markup that a host's parser let through
FINAL = {"96": 1, "97": 55}  # asking again cannot help
LATER = ("94",)  # a wait of its own length, which the client's tests know
GOOD: Json = {"content": "All good."}


def expected(name: str) -> Json:
    return json.loads((STREAMS / "expected" / f"{name}.json").read_text("utf-8"))


def is_whole(said: Json) -> bool:
    empty = not said["calls"] and not said["content"].strip()
    spliced = any("spliced" in note for note in said["notes"])
    return said["finish"] in ("stop", "tool_calls") and not said["errors"] and not spliced and not empty


NAMES = [path.name for path in sorted(STREAMS.glob("*.sse")) if path.name[:2] not in (*MENDED, *LATER)]
WHOLE = [name for name in NAMES if is_whole(expected(name))]


def shown(event: Json) -> tuple[str, str, list[tuple[str, Json]]]:
    blocks: list[Json] = event["message"]["content"]
    thinking = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    return thinking, text, calls


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_stream_is_shown_as_it_was(name: str, glm: Run) -> None:
    said = expected(name)
    with Server([(STREAMS / name).read_bytes(), GOOD]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
    first = next(event for event in ran.events if event["type"] == "assistant")
    calls: list[tuple[str, Json]] = [(call["name"], call["args"] or {}) for call in said["calls"]]
    assert shown(first) == (said["reasoning"], said["content"], calls)
    assert ran.code == 0


@pytest.mark.slow  # each waits before it asks again
@pytest.mark.parametrize("name", [name for name in NAMES if name not in WHOLE])
def test_a_stream_that_is_not_whole_is_asked_again_or_ends_the_run(name: str, glm: Run) -> None:
    with Server([(STREAMS / name).read_bytes(), GOOD]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
    code = FINAL.get(name[:2], 0)
    assert (ran.code, len(server.requests)) == (code, 1 if code else 2)
    assert [event["subtype"] for event in ran.events if event["type"] == "system"][1] == "discarded"
    assert [event["type"] for event in ran.events].count("assistant") == (0 if code else 1)


def test_markup_in_the_text_becomes_what_was_meant(glm: Run) -> None:
    file = STREAMS / "81-c-tool-xml-in-content.sse"
    with Server([file.read_bytes(), GOOD]) as server:
        ran = glm("ask", "What?", *to(server.url), "--json")
    first = next(event for event in ran.events if event["type"] == "assistant")
    assert shown(first)[2] == [("read", {"filePath": "/tmp/a.py", "limit": 20})]


def test_a_thought_that_leaked_is_no_part_of_the_answer(glm: Run) -> None:
    with Server([(STREAMS / "93-c-think-close-leak.sse").read_bytes()]) as server:
        assert glm("ask", "What?", *to(server.url)).out == "The answer is 4.\n"
