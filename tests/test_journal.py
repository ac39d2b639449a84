from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import types
from glm_agent.errors import RepositoryError, UsageError
from glm_agent.journal import Journal, find, load, sessions
from glm_agent.redact import Redactor
from glm_agent.types import (
    Assistant,
    CallDelta,
    Checking,
    Discarded,
    Event,
    Finished,
    Json,
    Message,
    Notice,
    Result,
    Retrying,
    Said,
    Started,
    Stopped,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolResult,
    ToolStarted,
    User,
    Verified,
)

ROOT = Path(__file__).parents[1]
CALL = ToolCall("c1", "read", '{"path": "ü\u2028"}')
STARTED = Started(
    session_id="s1",
    cwd="/w",
    command="fix",
    model="glm-4.7",
    provider="zai",
    base_url_host="api.z.ai",
    tools=["read"],
    sandbox={"mode": "workspace-write"},
    git={"head": "abc", "dirty": False},
    caps={"max_turns": 3},
    stdin="none",
    instructions=[],
    version="0",
)
RESULT = Result("success", False, 0, "Done", usage={"input_tokens": 3})
MESSAGES: list[Message] = [
    User("Grüß\u2028\n\ud800"),
    Assistant("", "", [CALL], "tool_calls", {"prompt_tokens": 3}),
    ToolResult("c1", "one\r\ntwo", False, {"lines": 2}),
    Assistant("Done", None, [], "stop"),
]
EVENTS: list[Event] = [
    STARTED,
    Notice("look"),
    Verified("before", "make", None, ["a"], 5, "boom"),
    Checking("pytest"),
    Said(MESSAGES[0]),
    TextDelta("D"),
    ThoughtDelta("Hm"),
    CallDelta(0, "read", "{"),
    Retrying(1, 0.5, "busy", 429, "1305"),
    Discarded("empty", Assistant("x", calls=[CALL])),
    Said(MESSAGES[1]),
    ToolStarted(CALL),
    Said(MESSAGES[2]),
    Said(MESSAGES[3]),
    Stopped("done", 2),
    Finished(RESULT),
]


def same(text: str) -> str:
    return text


def write(folder: Path, *events: Event) -> bytes:
    """The bytes of a journal of `events`."""
    journal = Journal(folder, same)
    for event in events:
        journal(event)
    journal.close()
    return (folder / "journal.jsonl").read_bytes()


def records(data: bytes) -> list[Json]:
    found = [json.loads(line) for line in data.decode("ascii").split("\n")[:-1]]
    for record in found:
        assert record.pop("at") > 1_700_000_000
    return found


def test_every_kind_of_event_is_tried_here() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(types.Event))


def test_every_event_but_deltas_becomes_a_record(tmp_path: Path) -> None:
    found = records(write(tmp_path / "s", *EVENTS))
    roles = ["user", "assistant", "tool", "assistant"]
    said = [
        {"type": "Said", "message": {"role": role, **asdict(message)}}
        for role, message in zip(roles, MESSAGES, strict=True)
    ]
    assert found == [
        {"type": "Started", **asdict(STARTED)},
        {"type": "Notice", "text": "look"},
        {"type": "Verified", **asdict(EVENTS[2])},
        {"type": "Checking", "command": "pytest"},
        said[0],
        {"type": "Retrying", "attempt": 1, "delay": 0.5, "reason": "busy", "status": 429, "code": "1305"},
        {"type": "Discarded", "reason": "empty", "turn": asdict(Assistant("x", calls=[CALL]))},
        said[1],
        {"type": "ToolStarted", "call": asdict(CALL)},
        said[2],
        said[3],
        {"type": "Stopped", "reason": "done", "turns": 2},
        {"type": "Finished", "result": asdict(RESULT)},
    ]


def test_a_session_reads_back_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "s", *EVENTS)
    session = load(tmp_path / "s")
    started = dict(session.started)
    assert (started.pop("at") > 0, started) == (True, {"type": "Started", **asdict(STARTED)})
    assert session[:2] == ("s", tmp_path / "s")
    assert session.messages == MESSAGES
    assert session.result == asdict(RESULT)


def test_a_record_is_on_disk_before_the_next_event(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s", same)
    for number in range(1, 4):
        journal(Said(User("Go")))
        assert len(load(tmp_path / "s").messages) == number
    journal.close()


@given(data=st.data())
def test_any_prefix_of_a_journal_is_a_session(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("home") / "s"
    whole = write(folder, *EVENTS)
    cut = whole[: data.draw(st.integers(0, 9999)) % (len(whole) + 1)]
    (folder / "journal.jsonl").write_bytes(cut)
    session = load(folder)
    kinds = [record["type"] for record in records(cut[: cut.rfind(b"\n") + 1])]
    assert session.messages == MESSAGES[: kinds.count("Said")]
    assert bool(session.started) == ("Started" in kinds)
    assert session.result == (asdict(RESULT) if "Finished" in kinds else None)


@given(data=st.data())
def test_a_damaged_journal_never_raises(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("home") / "s"
    whole = write(folder, *EVENTS)
    place = data.draw(st.integers(0, 9999)) % (len(whole) + 1)
    damage = data.draw(
        st.binary(max_size=20) | st.sampled_from([b"\n[]\n", b'\n{"type":"Said"}\n', b"\x00" * 9])
    )
    (folder / "journal.jsonl").write_bytes(whole[:place] + damage + whole[place + len(damage) :])
    assert load(folder).id == "s"


@pytest.mark.parametrize(
    "message", [None, 3, {}, {"role": 7, "thought": 5, "calls": [None, {"id": 3}], "usage": []}]
)
def test_a_message_of_the_wrong_shape_is_read_as_an_empty_one(tmp_path: Path, message: object) -> None:
    write(tmp_path / "s")
    (tmp_path / "s" / "journal.jsonl").write_text(json.dumps({"type": "Said", "message": message}) + "\n")
    (found,) = load(tmp_path / "s").messages
    assert isinstance(found, Assistant)
    assert (found.text, found.thought, found.usage) == ("", "" if message and message != 3 else None, {})


def test_only_its_owner_can_read_a_session(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "state" / "s", *EVENTS)
    finally:
        os.umask(before)
    modes = [
        stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "state/s", tmp_path / "state/s/journal.jsonl")
    ]
    assert modes == [0o700, 0o600]


def test_keys_do_not_reach_the_disk(tmp_path: Path) -> None:
    key = "0123.very/secret+="
    journal = Journal(tmp_path / "s", Redactor([key]))
    journal(Said(User(f"my key is {key}")))
    journal(Said(ToolResult("c1", json.dumps({"key": key}), details={key: key})))
    journal.close()
    data = (tmp_path / "s" / "journal.jsonl").read_text()
    assert "very" not in data
    assert load(tmp_path / "s").messages[0] == User("my key is [key]")


def test_a_place_that_cannot_be_written_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryError, match=r"^cannot write the session to .*file/s: Not a directory$"):
        Journal(tmp_path / "file" / "s", same)


def test_a_session_is_never_written_over(tmp_path: Path) -> None:
    write(tmp_path / "s", *EVENTS)
    with pytest.raises(RepositoryError, match="File exists"):
        Journal(tmp_path / "s", same)
    assert load(tmp_path / "s").messages == MESSAGES


FULL = """
import resource, sys
from pathlib import Path
from glm_agent.errors import RepositoryError
from glm_agent.journal import Journal
from glm_agent.types import Said, User

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
journal = Journal(Path(sys.argv[1]), lambda text: text)
journal(Said(User("first")))
try:
    journal(Said(User("x" * 2000)))
except RepositoryError as error:
    print(error)
journal(Said(User("last")))
"""


def test_a_full_disk_is_reported_and_leaves_whole_records_only(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "s")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("cannot write the session's journal: File too large\n", "")
    assert load(tmp_path / "s").messages == [User("first"), User("last")]


def test_sessions_are_listed_newest_first_and_found_by_how_they_begin(tmp_path: Path) -> None:
    assert list(sessions(tmp_path)) == []
    home = tmp_path / "sessions"
    for name in ("20250101-1", "20250102-1", "20250102-2"):
        write(home / name)
    (home / "note.txt").write_text("")
    assert [folder.name for folder in sessions(tmp_path)] == ["20250102-2", "20250102-1", "20250101-1"]
    assert find(tmp_path, "20250101") == home / "20250101-1"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("20250102", "2 sessions begin with '20250102'"),
        ("2024", "no session '2024'"),
        ("", "no session ''"),
        ("../sessions/20250102-1", "no session '../sessions/20250102-1'"),
    ],
)
def test_a_name_that_is_not_one_sessions_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    for each in ("20250102-1", "20250102-2"):
        write(tmp_path / "sessions" / each)
    with pytest.raises(UsageError) as caught:
        find(tmp_path, name)
    assert str(caught.value) == f"{problem}; `glm-agent sessions list` shows them"


def test_without_a_journal_there_is_an_empty_session(tmp_path: Path) -> None:
    assert load(tmp_path) == (tmp_path.name, tmp_path, {}, [], None)
