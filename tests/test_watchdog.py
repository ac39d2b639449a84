from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest
from fakes import answer, chunk, stream
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_agent.errors import Cancelled
from glm_agent.model import Turn, read_turn
from glm_agent.replay import Server
from glm_agent.retry import Failure
from glm_agent.sse import read
from glm_agent.transport import Transport
from glm_agent.types import Json
from glm_agent.watchdog import Limits, watch

pytestmark = pytest.mark.slow  # deadlines are waited for

ROOT = Path(__file__).parents[1]
LATE = 1.5  # seconds by which a deadline may be missed; the SDK may have to be imported first
LONG = Limits(*[9.0] * 5)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
EVENT = stream(chunk({"content": "x"}), done=False)
FINISH = stream(chunk(finish="stop"), done=False)

Serve = Callable[[socket.socket], None]


class Exchange:
    """A request over a bare socket; the call returns when the headers are here, and `close` wakes a read."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address)

    def __call__(self) -> Exchange:
        self._socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        head = b""
        while not head.endswith(HEAD[-4:]):
            head += self._recv(1)
        return self

    def __iter__(self) -> Iterator[bytes]:
        while data := self._recv(4096):
            yield data

    def close(self) -> None:
        with suppress(OSError):  # it may be closed already
            self._socket.shutdown(socket.SHUT_RDWR)

    def _recv(self, size: int) -> bytes:
        data = self._socket.recv(size)
        if not data:
            self._socket.close()
            if size == 1:
                raise Failure("hung up on")
        return data


@contextmanager
def host(serve: Serve) -> Generator[Exchange]:
    """How to ask a host that answers one request with what `serve` writes, until the client leaves."""

    def run() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(4096)
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield Exchange(("127.0.0.1", listener.getsockname()[1]))
        thread.join(2)
        assert not thread.is_alive(), "the client did not hang up"


def drip(data: bytes, gap: float = 0.02, *, first: bytes = HEAD, size: int = 1) -> Serve:
    """Writes `first`, and then `data` again and again, a little at a time."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            for start in range(0, len(data), size):
                time.sleep(gap)
                connection.sendall(data[start : start + size])

    return serve


def stall(data: bytes) -> Serve:
    """Writes `data`, and then waits for the client to leave."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.recv(1)

    return serve


def ended(open: Callable[[], Iterable[bytes]], limits: Limits, after: float) -> tuple[bytes, str | None]:
    """What came until the end, which must be `after` seconds from now; and the failure, if it was one."""
    came: list[bytes] = []
    failure = None
    started = time.monotonic()
    try:
        came.extend(watch(open, limits, threading.Event()))
    except Failure as error:
        failure = error.message
    took = time.monotonic() - started
    assert after <= took < after + LATE, f"took {took:.3f} s"
    return b"".join(came), failure


# Deadlines

NO_ANSWER = "no answer came within 0.2 s"
NO_EVENT = "no event came within 0.3 s"
STALLED = "the stream stalled: no event for 0.2 s"

DEADLINES: dict[str, tuple[Serve, Limits, float, str]] = {
    "nothing": (stall(b""), LONG._replace(headers=0.2), 0.2, NO_ANSWER),
    "slow headers": (drip(b"X-A: b\r\n", first=b"HTTP/1.1 200"), LONG._replace(headers=0.2), 0.2, NO_ANSWER),
    "headers only": (stall(HEAD), LONG._replace(headers=0.2, event=0.3), 0.3, NO_EVENT),
    "comments only": (drip(b": hold on\n\n", size=11), LONG._replace(event=0.3), 0.3, NO_EVENT),
    "empty lines only": (drip(b"\r\n"), LONG._replace(event=0.3), 0.3, NO_EVENT),
    "empty events only": (drip(b"data:\n\ndata: \n\n"), LONG._replace(event=0.3), 0.3, NO_EVENT),
    "pings only": (drip(b'data: {"type":"ping"}\n\n', size=24), LONG._replace(event=0.3), 0.3, NO_EVENT),
    "a slow drip": (drip(b"data: " + b"x" * 999), LONG._replace(event=0.3), 0.3, NO_EVENT),
    "a stall": (stall(HEAD + EVENT), LONG._replace(idle=0.2), 0.2, STALLED),
    "comments after an event": (
        drip(b": hold on\n", size=10, first=HEAD + EVENT),
        LONG._replace(idle=0.2),
        0.2,
        STALLED,
    ),
    "a slow drip after an event": (
        drip(b"data: " + b"x" * 999, first=HEAD + EVENT),
        LONG._replace(idle=0.2),
        0.2,
        STALLED,
    ),
    "events without end": (
        drip(EVENT, size=len(EVENT)),
        LONG._replace(total=0.3),
        0.3,
        "the answer was not whole after 0.3 s in all",
    ),
    "a total that is short": (
        stall(b""),
        LONG._replace(total=0.1),
        0.1,
        "the answer was not whole after 0.1 s in all",
    ),
}


@pytest.mark.parametrize("name", DEADLINES)
def test_a_deadline_ends_the_answer_in_time_and_hangs_up(name: str) -> None:
    serve, limits, after, message = DEADLINES[name]
    with host(serve) as ask:
        assert ended(ask, limits, after)[1] == message


def test_what_came_before_a_deadline_is_given_out() -> None:
    with host(stall(HEAD + EVENT + b": hold on")) as ask:
        assert ended(ask, LONG._replace(idle=0.1), 0.1) == (
            EVENT + b": hold on",
            "the stream stalled: no event for 0.1 s",
        )


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_events_that_come_in_time_keep_it_going_however_they_are_cut(start: str, end: str) -> None:
    event = f'data: {{"delta":0}}{end}{end}'.encode()

    def serve(connection: socket.socket) -> None:
        connection.sendall(HEAD + start.encode())
        for number in range(100):
            time.sleep(0.005)
            connection.sendall(event[number % len(event) :][:1])

    limits = LONG._replace(event=0.4, idle=0.4)  # an event comes every 0.1 s, the last one after 0.5
    with host(serve) as ask:
        came = b"".join(watch(ask, limits, threading.Event()))
    assert len(came) == 100 + len(start.encode())


def test_an_event_after_a_byte_order_mark_counts() -> None:
    with host(stall(HEAD + b"\xef\xbb\xbf" + EVENT)) as ask:
        assert ended(ask, LONG._replace(event=0.1, idle=0.2), 0.2)[1] == STALLED


def test_a_caller_that_takes_its_time_is_no_stall_of_the_host() -> None:
    def events() -> Iterator[bytes]:
        for _ in range(3):
            time.sleep(0.05)
            yield EVENT

    came: list[bytes] = []
    for data in watch(events, LONG._replace(idle=0.1), threading.Event()):
        came.append(data)
        time.sleep(0.15)
    assert b"".join(came) == EVENT * 3


# After the finish


def turn(pieces: Iterable[bytes]) -> Turn:
    steps = read_turn(read(pieces))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Turn", end.value)


CALL = chunk({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "ls", "arguments": "{}"}}]})
USED: Json = {"prompt_tokens": 1}
FINISHED: list[tuple[list[object], float]] = [
    ([chunk({"content": "x"}), chunk(finish="stop")], 0.1),
    ([chunk({"content": "x"}), chunk(finish="stop"), ": hold on"], 0.1),
    ([CALL, chunk(finish="tool_calls", usage=USED)], 0.1),
    ([CALL, chunk(finish="tool_calls"), {"choices": [], "usage": USED}], 0.1),
    ([CALL, chunk(finish="tool_calls")], 0.3),
    ([CALL, chunk(finish="tool_calls", usage=None)], 0.3),
]


@pytest.mark.parametrize(("said", "after"), FINISHED)
def test_silence_after_the_finish_is_the_end(said: list[object], after: float) -> None:
    with host(stall(HEAD + stream(*said, done=False))) as ask:
        body, failure = ended(ask, LONG._replace(idle=0.3, settle=0.1), after)
    assert (failure, turn([body])) == (None, turn([stream(*said, done=False)]))
    assert turn([body]).message.finish


def test_a_finish_whose_line_has_no_end_counts() -> None:
    with host(stall(HEAD + FINISH.rstrip())) as ask:
        assert ended(ask, LONG._replace(event=0.2, idle=0.3), 0.2) == (FINISH.rstrip(), None)


def test_a_finish_that_comes_in_two_pieces_counts() -> None:
    cut = FINISH.index(b"reason")

    def pieces() -> Iterator[bytes]:
        yield FINISH[:cut]
        time.sleep(0.05)
        yield FINISH[cut:]
        time.sleep(0.5)

    assert b"".join(watch(pieces, LONG._replace(idle=0.2), threading.Event())) == FINISH


def test_what_a_text_says_about_a_finish_is_none() -> None:
    said = stream(chunk({"content": '"finish_reason":"stop"'}, finish=None), done=False)
    with host(stall(HEAD + said)) as ask:
        assert ended(ask, LONG._replace(idle=0.2, settle=0.1), 0.2) == (said, STALLED)


def test_calls_that_follow_a_finish_still_come() -> None:
    again = stream(CALL, chunk(finish="tool_calls", usage=USED))

    def serve(connection: socket.socket) -> None:
        connection.sendall(HEAD + stream(CALL, chunk(finish="tool_calls"), done=False))
        time.sleep(0.15)
        connection.sendall(again)

    with host(serve) as ask:
        came = b"".join(watch(ask, LONG._replace(settle=0.05), threading.Event()))
    assert came.endswith(again)


# What passes through


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=20), st.none() | st.sampled_from(["Failure", "OSError"]))
def test_the_bytes_and_how_they_end_are_the_same(pieces: list[bytes], error: str | None) -> None:
    def open() -> Iterator[bytes]:
        yield from pieces
        if error:
            raise Failure("broke") if error == "Failure" else OSError("broke")

    came: list[bytes] = []
    met = None
    try:
        came.extend(watch(open, LONG, threading.Event()))
    except (Failure, OSError) as caught:
        met = type(caught).__name__
    assert (b"".join(came), met) == (b"".join(pieces), error)
    assert b"" not in came


def test_an_answer_that_does_not_begin_fails_here() -> None:
    def open() -> Iterable[bytes]:
        raise Failure("refused", 429, "1302")

    with pytest.raises(Failure, match="refused") as caught:
        list(watch(open, LONG, threading.Event()))
    assert caught.value.code == "1302"


def test_over_http_it_is_the_same_answer() -> None:
    body = answer("Hi " * 5000)
    with Server([body]) as server, closing(Transport(server.url, None, {})) as transport:
        assert b"".join(watch(transport.ask({"stream": True}), LONG, threading.Event())) == body


def test_over_http_a_stall_is_a_failure_in_time() -> None:
    entry = {"content": "one two", "fault": "stall", "after": 300}
    with Server([entry]) as server, closing(Transport(server.url, None, {})) as transport:
        body, failure = ended(transport.ask({"stream": True}), Limits(idle=0.5, event=0.7), 0.5)
    assert (len(body), failure) == (300, "the stream stalled: no event for 0.5 s")


# Leaving


def test_an_answer_that_nobody_takes_waits_and_is_let_go() -> None:
    read_so_far = 0
    closed = threading.Event()

    def open() -> Iterator[bytes]:
        nonlocal read_so_far
        try:
            while True:
                read_so_far += 1 << 16
                yield b"x" * (1 << 16)
        finally:
            closed.set()

    answer = watch(open, LONG, threading.Event())
    first = len(next(answer))
    time.sleep(0.1)
    assert read_so_far - first <= (1 << 20) + (2 << 16)
    taken = first + len(next(answer))
    while taken < 8 << 20:
        taken += len(next(answer))
    answer.close()
    assert closed.wait(1)


def test_leaving_a_stalled_answer_hangs_up_at_once() -> None:
    with host(stall(HEAD + EVENT)) as ask:  # which waits for the client to leave
        pieces = watch(ask, LONG, threading.Event())
        next(pieces)
        started = time.monotonic()
        pieces.close()
        assert time.monotonic() - started < LATE


def test_an_answer_that_begins_too_late_is_closed_unread() -> None:
    events: list[str] = []
    may_begin, was_closed = threading.Event(), threading.Event()

    class Late:
        def __iter__(self) -> Iterator[bytes]:
            events.append("read")
            yield b"x"

        def close(self) -> None:
            events.append("closed")
            was_closed.set()

    def open() -> Late:
        may_begin.wait()
        return Late()

    with pytest.raises(Failure, match=r"no answer came within 0\.05 s"):
        list(watch(open, LONG._replace(headers=0.05), threading.Event()))
    may_begin.set()
    assert was_closed.wait(1)
    assert events == ["closed"]


def test_cancel_ends_a_stall_soon() -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.1, cancel.set)
    timer.start()
    started = time.monotonic()
    with host(stall(HEAD + EVENT)) as ask, pytest.raises(Cancelled):
        list(watch(ask, LONG, cancel))
    assert time.monotonic() - started < 0.6
    timer.join()


STALLING = """
import sys, threading, time
from glm_agent.watchdog import Limits, watch

def open():
    yield b'data: {"delta":0}\\n'
    time.sleep(60)
    print("written after the end")

try:
    for data in watch(open, Limits(idle=float(sys.argv[1])), threading.Event()):
        print("came", flush=True)
except BaseException as error:
    print(type(error).__name__, flush=True)
"""


@pytest.mark.parametrize(
    ("idle", "signum", "last"), [("60", signal.SIGINT, "KeyboardInterrupt"), ("0.1", 0, "Failure")]
)
def test_a_thread_that_still_reads_holds_nothing_up(idle: str, signum: int, last: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    argv = [sys.executable, "-c", STALLING, idle]
    with subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe, text=True) as run:
        assert run.stdout and run.stdout.readline() == "came\n"
        time.sleep(0.1)  # it waits for more now
        started = time.monotonic()
        if signum:
            run.send_signal(signum)
        said = run.communicate(timeout=5)
        took = time.monotonic() - started
    assert (said, run.returncode) == ((f"{last}\n", ""), 0)
    assert took < 1


def test_it_costs_little() -> None:
    """CPU of both threads, at most 8 us a chunk here; it is 2 to 4 on a quiet machine."""
    pieces = [EVENT] * 20_000

    def once() -> float:
        started = time.process_time()
        total = sum(map(len, watch(lambda: pieces, LONG, threading.Event())))
        assert total == len(EVENT) * len(pieces)
        return (time.process_time() - started) / len(pieces) * 1e6

    assert min(once() for _ in range(3)) < 8
