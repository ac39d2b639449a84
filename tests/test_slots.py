"""Slots among real processes and real locks; clocks that run fast stand in for long waits."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import FrameType

import pytest
from running import environment

from glm_agent.errors import Cancelled
from glm_agent.replay import Server
from glm_agent.slots import Holder, Slot, Slots, Waiting, open_slots

KEY = "id-of-a-key.and-its-secret"
NOW = 1_790_000_000.0

ASK = """
import socket, sys
from pathlib import Path
from glm_agent.slots import open_slots
state, port, count, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
slots = open_slots(Path(state), "host", sys.stdin.readline(), count)
head = b"POST /v1/chat/completions HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n"
for _ in range(times):
    asked = slots.acquire()
    try:
        while True:
            next(asked)
    except StopIteration as stop:
        slot = stop.value
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head + b"Content-Length: 2\\r\\n\\r\\n{}")
        while connection.recv(65536):  # up to its end: then the server is through with it
            pass
    slot.release()
assert slots.trouble is None
"""
HOLD = """
import sys
from pathlib import Path
from glm_agent.slots import open_slots
try:
    next(open_slots(Path(sys.argv[1]), "host", sys.stdin.readline().strip(), 1).acquire())
except StopIteration as stop:
    slot = stop.value
    print("held", flush=True)
    sys.stdin.read()
"""


def process(code: str, *words: object) -> subprocess.Popen[str]:
    """A process of its own, which is told the key."""
    words_of = [sys.executable, "-c", code, *map(str, words)]
    pipe = subprocess.PIPE
    found = subprocess.Popen(words_of, env=environment(), stdin=pipe, stdout=pipe, text=True)
    assert found.stdin
    found.stdin.write(f"{KEY}\n")
    found.stdin.flush()
    return found


def take(slots: Slots) -> Slot:
    """A slot that must be there at once."""
    try:
        waiting = next(slots.acquire())
    except StopIteration as stop:
        assert isinstance(stop.value, Slot)
        return stop.value
    raise AssertionError(str(waiting))


def wait(asked: Generator[Waiting, None, Slot]) -> tuple[list[Waiting], Slot]:
    said: list[Waiting] = []
    try:
        while True:
            said.append(next(asked))
    except StopIteration as stop:
        return said, stop.value


def fast(slots: Slots) -> Slots:
    """With a clock that runs fifty times as fast, so that a wait is soon told."""
    slots.clock = lambda: time.monotonic() * 50
    return slots


def is_full(slots: Slots) -> bool:
    asked = fast(slots).acquire()
    try:
        next(asked)
    except StopIteration as stop:
        stop.value.release()
        return False
    asked.close()
    return True


@pytest.mark.parametrize("count", [1, 2])
def test_no_more_requests_are_in_flight_than_there_are_slots(tmp_path: Path, count: int) -> None:
    with Server([{"content": "Yes", "delay": 0.05}]) as server:
        port = server.url.rpartition(":")[2].removesuffix("/v1")
        started = [process(ASK, tmp_path, port, count, 4) for _ in range(3)]
        for found in started:
            with found:
                assert found.wait(20) == 0
    assert (len(server.requests), server.most_in_flight) == (12, count)


def test_a_killed_process_frees_its_slot_at_once(tmp_path: Path) -> None:
    with process(HOLD, tmp_path) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        before = time.time()
        slots = fast(open_slots(tmp_path, "host", KEY, 1))
        asked = slots.acquire()
        waiting = next(asked)
        assert [found.pid for found in waiting.holders] == [holder.pid]
        assert abs(waiting.holders[0].since - before) < 20
        holder.kill()
        killed = time.monotonic()
        _, slot = wait(asked)
        assert time.monotonic() - killed < 1
    assert [found.pid for found in slots.holders()] == [os.getpid()]
    slot.release()
    assert slots.holders() == []


def test_waiting_says_who_holds_the_slots_now_and_then(tmp_path: Path) -> None:
    slots = open_slots(tmp_path, "host", KEY, 2)
    held = [take(slots), take(slots)]
    times = [0.0]
    slots.clock = lambda: times[0]

    def sleep(seconds: float) -> None:
        times[0] += seconds
        if times[0] > 12:
            held[1].release()

    slots.sleep = sleep
    said, slot = wait(slots.acquire())
    assert [round(waiting.seconds) for waiting in said] == [1, 6, 11]
    assert all([found.pid for found in waiting.holders] == [os.getpid()] * 2 for waiting in said)
    assert {waiting.limit for waiting in said} == {2}
    for done in (*held, slot):
        done.release()


def test_what_is_said_of_a_wait_fits_a_line() -> None:
    hour = time.strftime("%H:%M:%S", time.localtime(NOW))
    two = [Holder(12, NOW), Holder(13, NOW)]
    assert str(Waiting(6.2, 2, two)) == (
        f"waiting for one of 2 slots of this key for 6 s; held by process 12 since {hour}, "
        f"process 13 since {hour}"
    )
    assert str(Waiting(1.0, 1, [])) == "waiting for the one slot of this key for 1 s; held by another run"


def test_a_slot_may_be_released_twice(tmp_path: Path) -> None:
    slots = open_slots(tmp_path, "host", KEY, 1)
    slot = take(slots)
    slot.release()
    other = take(slots)
    slot.release()  # and not somebody else's descriptor
    assert is_full(slots)
    other.release()


def test_one_who_waits_is_not_overtaken_by_one_who_asks_again_and_again(tmp_path: Path) -> None:
    slots, other = (open_slots(tmp_path, "host", KEY, 1) for _ in range(2))
    first = take(slots)
    enough = threading.Event()
    turns: list[int] = []

    def ask_on_and_on(slot: Slot) -> None:
        end = time.monotonic() + 3
        while not enough.is_set() and time.monotonic() < end:
            time.sleep(0.01)
            slot.release()
            _, slot = wait(slots.acquire())
            turns.append(1)
        slot.release()

    greedy = threading.Thread(target=ask_on_and_on, args=(first,))
    asked = other.acquire()
    greedy.start()
    started = time.monotonic()
    _, slot = wait(asked)
    assert time.monotonic() - started < 1.5
    enough.set()
    slot.release()
    greedy.join()


def test_a_suspended_waiter_does_not_block_the_others(tmp_path: Path) -> None:
    slots = fast(open_slots(tmp_path, "host", KEY, 1))
    slot = take(slots)
    suspended = slots.acquire()
    next(suspended)  # it is first in the queue, and is not resumed
    slot.release()
    _, slot = wait(slots.acquire())
    assert is_full(slots)
    slot.release()
    suspended.close()


def test_leaving_leaves_the_queue(tmp_path: Path) -> None:
    slots = fast(open_slots(tmp_path, "host", KEY, 1))
    slot = take(slots)
    asked = slots.acquire()
    next(asked)
    asked.close()
    slot.release()
    take(slots).release()


def test_a_signal_ends_a_wait_at_once(tmp_path: Path) -> None:
    slots = open_slots(tmp_path, "host", KEY, 1)
    slot = take(slots)

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Cancelled(signum)

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Cancelled):
            wait(slots.acquire())
    finally:
        signal.signal(signal.SIGALRM, before)
    slot.release()
    take(slots).release()


def test_each_key_and_each_host_has_slots_of_its_own(tmp_path: Path) -> None:
    held = take(open_slots(tmp_path, "host", KEY, 1))
    for host, key, full in (
        ("host", KEY, True),
        ("other", KEY, False),
        ("host", "k", False),
        ("host", None, False),
    ):
        assert is_full(open_slots(tmp_path, host, key, 1)) is full
    held.release()


def test_the_key_is_not_written_and_nobody_else_can_look(tmp_path: Path) -> None:
    slots = open_slots(tmp_path / "state", "host", KEY, 1)
    slots.shrink()
    take(slots).release()
    assert slots.folder
    elsewhere = open_slots(tmp_path / "other", "host", KEY, 1)  # another machine, another salt
    assert elsewhere.folder and elsewhere.folder.name != slots.folder.name
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"salt", "0.lock", "gate.lock", "limit"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert KEY.encode() not in path.read_bytes() + bytes(path)
    for folder in (slots.folder, *slots.folder.parents[:2]):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len((tmp_path / "state/slots/salt").read_bytes()) == 32


def test_slots_shrink_for_every_process_and_come_back_one_by_one(tmp_path: Path) -> None:
    slots, other = (open_slots(tmp_path, "host", KEY, 3) for _ in range(2))
    assert slots.limit(NOW) == 3
    assert slots.shrink(NOW) == 2
    assert [other.limit(NOW + wait) for wait in (0, 119, 120, 1000)] == [2, 2, 3, 3]
    assert other.shrink(NOW + 1) == 2, "the same burst"
    assert [other.shrink(NOW + 10), slots.shrink(NOW + 20)] == [1, 1], "one is left"
    assert [slots.limit(NOW + 20 + wait) for wait in (0, 120, 240, 9000)] == [1, 2, 3, 3]
    assert slots.shrink(NOW + 145) == 1, "one of the two that there are by now"
    assert slots.limit(NOW) == 3, "a clock that was set back"


def test_a_slot_that_was_taken_away_is_not_given(tmp_path: Path) -> None:
    slots = open_slots(tmp_path, "host", KEY, 2)
    slots.shrink()
    held = take(slots)
    assert is_full(slots)
    held.release()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"left": "x", "at": 1}', '{"left": -5, "at": 1e400}', "\0" * 9]
)
def test_what_stands_in_the_files_breaks_nothing(tmp_path: Path, text: str) -> None:
    slots = open_slots(tmp_path, "host", KEY, 2)
    take(slots).release()
    assert slots.folder
    (slots.folder / "limit").write_text(text)
    assert slots.limit() == 2
    held = take(slots)
    (slots.folder / "0.lock").write_text(text)
    assert slots.holders() == []
    (slots.folder / "limit").write_text(json.dumps({"left": -5, "at": time.time()}))
    assert slots.limit() == 1
    assert is_full(slots)
    held.release()


def test_no_count_is_no_limit(tmp_path: Path) -> None:
    slots = open_slots(tmp_path, "host", KEY, 0)
    for _ in range(5):
        take(slots)
    assert (slots.trouble, slots.shrink(), slots.holders()) == (None, 0, [])


def test_where_nothing_can_be_written_nothing_is_limited_and_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "slots").write_text("a file")
    for state, why in ((tmp_path, "File exists"), (Path("/proc"), "No such file or directory")):
        slots = open_slots(state, "host", KEY, 1)
        assert slots.trouble == f"requests in flight are not limited: {state}/slots: {why}"
        held = [take(slots), take(slots)]
        assert slots.shrink() == 1
        for slot in held:
            slot.release()


@pytest.mark.parametrize("name", ["0.lock", "gate.lock"])
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_lock_that_is_no_file_is_not_followed(tmp_path: Path, name: str, kind: str) -> None:
    slots = open_slots(tmp_path, "host", KEY, 1)
    assert slots.folder
    slots.folder.mkdir()
    if kind == "folder":
        (slots.folder / name).mkdir()
    else:
        (slots.folder / name).symlink_to(tmp_path / "elsewhere")
    take(slots).release()
    assert slots.trouble and slots.trouble.startswith(
        f"requests in flight are not limited: {tmp_path}/slots/"
    )
    assert not (tmp_path / "elsewhere").exists()
