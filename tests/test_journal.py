from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import types
from glm_agent.errors import RepositoryError, UsageError
from glm_agent.journal import LOST, Journal, Session, find, load, new_id, running, sessions
from glm_agent.records import seal
from glm_agent.redact import Redactor
from glm_agent.types import (
    Assistant,
    CallDelta,
    Checking,
    Discarded,
    Event,
    Finished,
    Json,
    Memo,
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
    Verified("before", "make", None, ["a"], 5, "boom", ["f"], ["p"], junit=True, partial=True),
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
    Memo({"task": "Go"}),
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
    """What the lines say, but for the first, which says who writes, and for time and checksum."""
    found = [json.loads(line) for line in data.decode("ascii").split("\n")[:-1]]
    for record in found:
        assert record.pop("at") > 1_700_000_000
        assert len(record.pop("crc")) == 8
    assert found[:1] in ([], [{"journal": 1, "pid": os.getpid()}])
    return found[1:]


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
        {"type": "Memo", "values": {"task": "Go"}},
        {"type": "Finished", "result": asdict(RESULT)},
    ]


def test_a_session_reads_back_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "s", *EVENTS)
    session = load(tmp_path / "s")
    started = dict(session.started)
    assert (started.pop("at") > 0, started) == (True, {"type": "Started", **asdict(STARTED)})
    assert (session.id, session.folder) == ("s", tmp_path / "s")
    assert session.messages == MESSAGES
    assert session.result == asdict(RESULT)
    kinds = (Said, Verified, Discarded, ToolStarted, Memo)
    assert session.events == [event for event in EVENTS if isinstance(event, kinds)]
    assert (session.kept, session.damaged, session.seconds < 5) == ({"task": "Go"}, 0, True)


def test_a_record_is_on_disk_before_the_next_event(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s", same)
    for number in range(1, 4):
        journal(Said(User("Go")))
        assert len(load(tmp_path / "s").messages) == number
    journal.close()


def test_any_prefix_of_a_journal_is_a_session(tmp_path: Path) -> None:
    short = [STARTED, Said(MESSAGES[0]), Said(MESSAGES[1]), Said(MESSAGES[2]), Finished(RESULT)]
    whole = write(tmp_path / "s", *short)
    for end in range(len(whole) + 1):
        (tmp_path / "s/journal.jsonl").write_bytes(whole[:end])
        session = load(tmp_path / "s")
        lines = whole[:end].count(b"\n")
        assert session.messages == MESSAGES[: max(0, min(lines - 2, 3))]
        assert bool(session.started) == (lines >= 2)
        assert session.result == (asdict(RESULT) if lines == 6 else None)
        assert session.damaged == 0


@given(data=st.data())
def test_what_is_left_of_a_journal_can_be_gone_on_with(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("home") / "s"
    whole = write(folder, *EVENTS)
    end = data.draw(st.integers(0, 9999)) % len(whole)
    lost = data.draw(st.sampled_from([b"", b"\0" * 5, b"{", b'\0\0{"at']))
    (folder / "journal.jsonl").write_bytes(whole[:end] + lost)
    before = load(folder).messages
    journal = Journal(folder, same, again=True)
    journal(Said(User("On")))
    journal.close()
    left = whole[: whole.rfind(b"\n", 0, end) + 1]
    assert (folder / "journal.jsonl").read_bytes().startswith(left + b'{"journal": 1, ')
    session = load(folder)
    answers = [ToolResult("c1", LOST, ok=False)] if before[-1:] == [MESSAGES[1]] else []
    assert (session.messages, session.damaged) == ([*before, *answers, User("On")], 0)


@given(data=st.data())
def test_damage_costs_only_the_lines_it_hits(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("home") / "s"
    whole = write(folder, *EVENTS)
    place = data.draw(st.integers(0, 9999)) % len(whole)
    damage = data.draw(st.binary(min_size=1, max_size=20) | st.sampled_from([b"\n[]\n", b"\x00" * 9]))
    damaged = whole[:place] + damage + whole[place + len(damage) :]
    (folder / "journal.jsonl").write_bytes(damaged)
    session = load(folder)
    hit = whole[place : place + len(damage)].count(b"\n") + 1
    if whole != damaged:
        assert session.damaged <= hit + damage.count(b"\n")
        assert len(session.events) >= len(load_of(whole, folder).events) - hit


def load_of(data: bytes, folder: Path) -> Session:
    (folder / "journal.jsonl").write_bytes(data)
    return load(folder)


def test_a_run_of_zeros_before_a_record_does_not_hide_it(tmp_path: Path) -> None:
    whole = write(tmp_path / "s", *EVENTS)
    lines = whole.split(b"\n")
    lines[5] = b"\0" * 700 + lines[5]
    lines[6] = b"\0" * len(lines[7])
    session = load_of(b"\n".join(lines), tmp_path / "s")
    assert session.damaged == 1
    assert session.messages == load_of(whole, tmp_path / "s").messages


def test_a_call_whose_answer_was_lost_is_told_so_and_an_answer_without_its_call_goes(tmp_path: Path) -> None:
    lines = write(tmp_path / "s", *map(Said, MESSAGES)).split(b"\n")
    assert load_of(b"\n".join([*lines[:3], b"lost", *lines[4:]]), tmp_path / "s").messages == [
        *MESSAGES[:2],
        ToolResult("c1", LOST, ok=False),
        MESSAGES[3],
    ]
    assert load_of(b"\n".join([*lines[:2], b"lost", *lines[3:]]), tmp_path / "s").messages == [
        MESSAGES[0],
        MESSAGES[3],
    ]


def test_a_journal_of_before_there_were_checksums_is_read_and_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    old = [{"at": 1, "type": "Said", "message": {"role": "user", "text": "Go"}}, {"type": "Stopped"}]
    file = tmp_path / "s/journal.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in old))
    journal = Journal(tmp_path / "s", same, again=True)
    journal(Said(User("On")))
    journal.close()
    assert (load(tmp_path / "s").messages, load(tmp_path / "s").damaged) == ([User("Go"), User("On")], 0)
    file.write_bytes(file.read_bytes().replace(b'"On"', b'"No"'))
    assert (load(tmp_path / "s").messages, load(tmp_path / "s").damaged) == ([User("Go")], 1)


def test_a_journal_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "s", *EVENTS)
    file = tmp_path / "s/journal.jsonl"
    file.write_bytes(seal(b'{"journal": 2, "pid": 1}') + file.read_bytes())
    says = r"^session s was written by a newer glm-agent \(journal version 2, this one knows 1\); update"
    with pytest.raises(RepositoryError, match=says):
        load(tmp_path / "s")
    with pytest.raises(RepositoryError, match=says):
        Journal(tmp_path / "s", same, again=True)


def test_a_session_is_locked_while_it_runs(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "s", same)
    assert running(tmp_path / "s")
    with pytest.raises(RepositoryError, match=rf"^session s is running \(pid {os.getpid()}\); wait for it$"):
        Journal(tmp_path / "s", same, again=True)
    journal.close()
    assert not running(tmp_path / "s")


def test_time_between_runs_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    told = [("journal", 100.0), ("type", 104.5), ("journal", 900.0), ("type", 901.0)]
    lines = [seal(json.dumps({name: 1, "at": at}).encode()) for name, at in told]
    assert load_of(b"".join(lines), tmp_path / "s").seconds == 5.5


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
        write(tmp_path / "local/state/sessions/s", *EVENTS)
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")
    }
    folders = ("local", "local/state", "local/state/sessions", "local/state/sessions/s")
    assert modes == {**dict.fromkeys(folders, 0o700), "local/state/sessions/s/journal.jsonl": 0o600}


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
    with pytest.raises(
        RepositoryError, match=r"^cannot write the session to .*file/s: Not a directory; --ephemeral"
    ):
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


def test_ids_sort_by_age_within_a_second_and_after_the_clock_was_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    for moment in (1e9, 1e9, 1e9 + 1e-5, 1e9 - 86400, 0.0, 1e9 + 0.999999, 1e9, 1e9 + 7):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        found.append(new_id(tmp_path))
        (tmp_path / found[-1]).mkdir()
        (tmp_path / "notes-of-mine").touch()
    assert found == sorted(found)
    assert all(re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", name) for name in found)


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
    assert load(tmp_path) == Session(tmp_path.name, tmp_path)
