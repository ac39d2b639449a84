"""The format of recordings: what is written is read back, damage is named, and what is secret is gone."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.errors import UsageError
from glm_agent.replay import Server, read_turns
from glm_agent.replay.recorder import Recorder, Seen
from glm_agent.replay.recording import Chain, Difference, compare, difference, parse, read
from glm_agent.replay.script import Pace, reply
from glm_agent.retry import Failure
from glm_agent.types import Assistant, Json, Said, ToolCall, ToolResult, User

KEY = "sk-live-0123456789abcdef"
OK = Seen(200, {"content-type": "text/event-stream", "set-cookie": "a=b", "date": "today"}, b"")


def hide(text: str) -> str:
    return text.replace(KEY, "[key]")


def body(*texts: str, model: str = "glm-4.7") -> Json:
    return {"model": model, "messages": [{"role": "user", "content": text} for text in texts]}


def ask(recorder: Recorder, request: Json, *pieces: bytes | Failure, seen: Seen = OK) -> list[bytes]:
    """What the one who asks gets, by way of the recorder."""

    def send(_: Json) -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Failure):
                raise piece
            yield piece

    got: list[bytes] = []
    try:
        for data in recorder.tap(send, lambda: seen)(request):
            got.append(data)
    except Failure:
        assert isinstance(pieces[-1], Failure)
    return got


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def said(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


def test_what_is_recorded_is_read_back_and_played_piece_by_piece(tmp_path: Path) -> None:
    recorder = Recorder(path := tmp_path / "run.jsonl", hide)
    recorder.start({"command": "ask"})
    recorder.take(Said(User("hi")))
    pieces = [b"data: {\xc3", b"\xa9\xff", b"\n\n"]  # cut within a character, and not UTF-8 at all
    assert ask(recorder, body("hi"), *pieces) == pieces
    recorder.take(Said(Assistant("é", calls=[ToolCall("c1", "read", "{}")])))
    recorder.take(Said(ToolResult("c1", "text", ok=False, details={"final": True, "more": 1})))
    assert ask(recorder, body("hi", "there"), b"x") == [b"x"]
    recorder.close()
    found = read(path)
    assert (found.start["command"], found.prompts, found.end, found.torn) == ("ask", ["hi"], None, False)
    calls = [{"id": "c1", "name": "read", "arguments": "{}"}]
    assert found.turns == [{"role": "assistant", "text": "é", "calls": calls}]
    assert found.results == {
        "c1": {"role": "tool", "call_id": "c1", "content": "text", "ok": False, "final": True}
    }
    first, second = found.asked
    assert (first.request.messages, first.request.head) == (body("hi")["messages"], {"model": "glm-4.7"})
    assert (second.request.same, second.request.messages) == (1, body("there")["messages"])
    assert first.answer and first.answer["headers"] == {"content-type": "text/event-stream", "date": "today"}
    assert reply(first.answer, 1, {}, Pace()).writes == pieces
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_recording_is_a_script(tmp_path: Path) -> None:
    recorder = Recorder(path := tmp_path / "run.jsonl", hide)
    recorder.start({})
    ask(recorder, body("a"), b"whole")
    ask(recorder, body("a"), Failure("slow down", 429), seen=Seen(429, {"retry-after": "1"}, b'{"error":{}}'))
    ask(recorder, body("a"), b"half", Failure("broke off"))
    ask(recorder, body("a"), Failure("no way there"), seen=Seen(None, {}, b""))
    recorder.close()
    made = [reply(entry, 1, {}, Pace()) for entry in read_turns(path.read_text())]
    assert [(one.status, one.writes, one.fault and one.fault[:2]) for one in made] == [
        (200, [b"whole"], None),
        (429, [b'{"error":{}}'], None),
        (200, [b"half"], ("cut", 4)),
        (200, [], ("cut", -1)),
    ]
    assert made[1].headers == {"retry-after": "1"}
    with Server(read_turns(path.read_text())) as server:
        assert server.url


@pytest.mark.parametrize("size", [1000, 40, 9])
def test_a_key_is_nowhere_in_it_however_it_was_cut(tmp_path: Path, size: int) -> None:
    """In a message, in the bytes, and in an answer whose every piece holds a part of it."""
    recorder = Recorder(path := tmp_path / "run.jsonl", hide)
    recorder.start({"more": f"use {KEY}"})
    stream = said(f"the key is {KEY}.") + b"data: [DONE]\n\n"
    ask(recorder, body(KEY), *(stream[k : k + size] for k in range(0, len(stream), size)))
    parts = [said(KEY[:11]), said(KEY[11:]), b"data: [DONE]\n\n"]
    ask(recorder, body(KEY), *parts)
    recorder.take(Said(ToolResult("c1", KEY)))
    recorder.close()
    text = path.read_text()
    assert KEY not in text
    assert KEY[11:] not in text
    assert [entry.get("content") for entry in read_turns(text)] == [None, "[key]"]


def test_what_is_killed_is_a_recording_up_to_there(tmp_path: Path) -> None:
    recorder = Recorder(path := tmp_path / "run.jsonl", hide)
    recorder.start({})
    ask(recorder, body("a"), b"x")
    ask(recorder, body("a", "b"), b"y")
    recorder.close()
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    counts = {
        (len(found.asked), found.torn) for end in range(first, len(data)) if (found := parse(data[:end]))
    }
    assert counts == {(0, False), (0, True), (1, False), (1, True), (2, False), (2, True)}


REQUEST: Json = {"same": 0, "messages": [], "head": {}}
HASH = Chain().add(0, [], {})
ASKED = json.dumps({"request": REQUEST, "hash": HASH})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a recording: it has no whole line"),
        ("\n", "not a recording; `fix --record FILE` makes one"),
        ('{"content": "a turn"}\n', "not a recording; `fix --record FILE` makes one"),
        ('{"recording": true}\n', "not a recording; `fix --record FILE` makes one"),
        ('{"recording": 2}\n', "its format is 2, 1 is known here; use the version that made it"),
        ('{"recording": 1}\n{\n', "line 2: not JSON; the file is damaged"),
        ('{"recording": 1}\n' + "[" * 100_000 + "\n", "line 2: not JSON; the file is damaged"),
        ('{"recording": 1}\n[]\n', "line 2: not a JSON object; the file is damaged"),
        ('{"recording": 1}\n{"writes": []}\n', "line 2: an answer to no request; the file is damaged"),
        ('{"recording": 1}\n{"said": 3}\n', "line 2: a message of nobody's; the file is damaged"),
        (
            '{"recording": 1}\n{"request": {"same": 1}}\n',
            "line 2: a request that continues none; the file is",
        ),
        ('{"recording": 1}\n{"request": {"same": 0}}\n', "line 2: a request without its own hash; the file"),
        *(
            (f'{{"recording": 1}}\n{ASKED}\n{answer}\n', "line 3: ")
            for answer in (
                '{"writes": 3}',
                '{"writes": ["\\ud800"]}',
                '{"writes": [1]}',
                '{"writes": [], "status": "x"}',
                '{"writes": [], "headers": {"a": 1}}',
                '{"writes": [], "fault": "stall"}',
                '{"fault": "none such"}',
                '{"content": 3}',
                '{"tool_calls": [3]}',
            )
        ),
        ("\n" * 100_001, "more than 100000 lines, which no recording has"),
    ],
)
def test_what_is_no_recording_is_said_in_a_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as caught:
        parse(text.encode())
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=80) | st.recursive(st.integers() | st.text(max_size=5), st.lists, max_leaves=4))
def test_anything_else_is_refused_too(value: object) -> None:
    line = value if isinstance(value, bytes) else json.dumps({"said": value, "request": value}).encode()
    for data in (line, b'{"recording": 1}\n' + line + b"\n"):
        try:
            parse(data)
        except ValueError as error:
            assert "\n" not in str(error)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    begun = time.monotonic()
    with pytest.raises(ValueError, match="not a regular file"):
        read(pipe)
    with (huge := tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="more than 256 MiB"):
        read(huge)
    assert time.monotonic() - begun < 1


def test_what_is_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (own := tmp_path / "own.py").write_text("print()\n")
    (link := tmp_path / "link").symlink_to(own)
    os.mkfifo(pipe := tmp_path / "pipe")
    for path in (own, link, pipe, tmp_path, tmp_path / "none" / "x"):
        with pytest.raises(UsageError, match=f"^--record {path}: "):
            Recorder(path, hide)
    assert own.read_text() == "print()\n"
    old = tmp_path / "old"
    old.write_text('{"recording": 1}\n')
    old.chmod(0o644)
    Recorder(old, hide).close()
    assert (old.read_text(), stat.S_IMODE(old.stat().st_mode)) == ("", 0o600)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (body("a"), body("a"), None),
        (body("a", "b"), body("A", "b"), ("the system prompt", ["-content: a", "+content: A"])),
        ({**body("a"), "tools": [1]}, {**body("a"), "tools": [2]}, ("the tools", ["-1", "+2"])),
        (body("a"), body("a", model="x"), ("the field model", ["-glm-4.7", "+x"])),
        (body("a", "b"), body("a", "c"), ("message 1 (user)", ["-content: b", "+content: c"])),
        (body("a", "b"), body("a"), ("message 1 (user)", ["-role: user", "-content: b"])),
    ],
)
def test_the_first_part_that_differs_is_said(
    old: Json, new: Json, found: tuple[str, list[str]] | None
) -> None:
    was = difference(old, new)
    shown = was and (was.part, [line for line in was.lines if not line.startswith(" ")])
    assert shown == found
    assert was is None or isinstance(was, Difference)


def test_a_long_difference_is_cut() -> None:
    many = compare("\n".join("x" * 900 for _ in range(500)), "\n".join("y" * 900 for _ in range(500)))
    assert (len(many), max(map(len, many))) == (13, 161)
    assert many[-1] == "… 388 more lines"
