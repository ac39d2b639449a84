"""Deadlines of our own for one answer, whatever the connection does or fails to do.

An HTTP library's read timeout is per read: a byte now and then, or a comment, holds it open for ever. Here a
thread reads, and the caller waits no longer than it means to; what counts as life is a whole `data:` event
that says something of the answer.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple, cast

from .errors import Cancelled
from .retry import Failure

_ROOM = 1 << 20  # bytes that may wait to be taken
_TICK = 0.2  # seconds between looks at cancel
_LINGER = 0.1  # seconds for the end of an answer that has said `[DONE]`
_TOTALS = 2  # answers that were not whole in all their time: it is too long to be spent eight times
_OVERLAP = 64  # bytes before a piece that are looked at with it
_BEGINNING = 2048  # bytes of a line that decide what it is

_LIFE = rb'(?:delta|message|msg|finish_reason|usage|error|prompt_progress)"[ \t]*+:'
_EVENT = re.compile(  # a whole frame that says something, as a ping does not
    rb'(?:^(?:\xef\xbb\xbf)?|[\r\n])data:[^\r\n"]*+(?:"(?!' + _LIFE + rb')[^\r\n"]*+)*+"'
    rb"" + _LIFE + rb"[^\r\n]*+[\r\n]"
)
_FINISH = re.compile(
    rb'"finish_reason"\s*:\s*"(?!(?i:null|none)")(\w+)"'
)  # never inside a JSON string: its quotes have backslashes
_USAGE = re.compile(rb'"usage"\s*:\s*\{')


class Limits(NamedTuple):
    """All in seconds. The first two and the last count from the start of the request.

    headers      until the answer begins        event   until its first event
    idle         between events                 settle  of silence once everything that matters has come
    total        for all of it
    """

    headers: float = 60.0
    event: float = 120.0
    idle: float = 300.0
    settle: float = 5.0
    total: float = 1800.0


def watch(open: Callable[[], Iterable[bytes]], limits: Limits, cancel: threading.Event) -> Generator[bytes]:
    """The bytes of the answer, in larger pieces where they come fast. Raises Failure at a deadline.

    `open` returns when the answer begins; it and the iteration run in a thread of their own, and raise from
    here. A `close` of `open`, or of what it returns, is called from this thread, to wake a blocked read.
    A stream that falls silent after its finish_reason ends as if it were complete. Raises Cancelled soon
    after `cancel` is set; an exception from a signal handler comes through at once.
    """
    feed = _Feed(open)
    vigil = _Vigil(limits)
    threading.Thread(target=feed.run, name="answer", daemon=True).start()
    try:
        while (data := feed.take(vigil.left(feed.begun))) != b"":
            if cancel.is_set():
                raise Cancelled(signal.SIGINT)
            if data is not None:
                vigil.note(data)
            is_over = vigil.is_over(feed.begun)  # before the yield: the caller's own time is not the host's
            if data is not None:
                yield data
            if is_over:
                return
    except GeneratorExit:
        feed.drain()
        raise
    finally:
        feed.close()


class _Feed:
    """What a thread reads, for another one to take: at most `_ROOM` bytes wait in between."""

    def __init__(self, open: Callable[[], Iterable[bytes]]) -> None:
        self.begun = False  # whether the answer has
        self._open = open
        self._answer: Iterable[bytes] = ()
        self._closed = False
        self._queue: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
        self._room = threading.Event()
        self._room.set()
        self._read = 0  # bytes; written by the reader only
        self._taken = 0  # bytes; written by the taker only
        self._end: BaseException | None = None
        self._ended = False

    def run(self) -> None:
        """Reads until the end, or until nobody takes it any more."""
        try:
            self._answer = self._open()
            self.begun = True
            for data in self._answer if not self._closed else ():
                if data:
                    self._put(data)
                if self._closed:
                    break
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._queue.put(error)
        finally:
            if self._closed:
                _close(self._answer)

    def _put(self, data: bytes) -> None:
        self._read += len(data)
        self._queue.put(data)
        if self._read - self._taken > _ROOM:
            self._room.clear()
            if self._read - self._taken > _ROOM and not self._closed:  # else it was taken just now
                self._room.wait()

    def take(self, seconds: float) -> bytes | None:
        """All there is, after at most `seconds`; None if nothing came, b"" at the end. Raises what came."""
        if self._ended:
            return self._finish()
        try:
            item = self._queue.get(timeout=max(0.0, min(seconds, _TICK)))
        except Empty:
            return None
        data: list[bytes] = []
        for _ in range(self._queue.qsize()):
            if not isinstance(item, bytes):
                break
            data.append(item)
            item = self._queue.get_nowait()
        if isinstance(item, bytes):
            data.append(item)
        else:
            self._ended, self._end = True, item
        self._taken += sum(map(len, data))
        if not self._room.is_set():
            self._room.set()
        return b"".join(data) or self._finish()

    def drain(self) -> None:
        """Takes the little that may be left, so that the connection can serve the next request too."""
        end = time.monotonic() + _LINGER
        with suppress(Exception):
            while time.monotonic() < end and self.take(end - time.monotonic()) != b"":
                pass

    def _finish(self) -> bytes:
        if self._end is not None:
            raise self._end
        return b""

    def close(self) -> None:
        """Hangs up; the thread ends as soon as its read comes back, and nothing waits for it."""
        self._closed = True
        self._room.set()
        if not self._ended:
            _close(self._answer if self.begun else self._open)


def _close(source: object) -> None:
    """Closes what can be closed. A generator that is running cannot; its own thread does it then."""
    close = getattr(source, "close", None)
    if close is not None:
        with suppress(ValueError):
            cast("Callable[[], None]", close)()


class _Vigil:
    """How long there is left to wait, by what has come so far."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._started = self._event = time.monotonic()  # the last event, or the start
        self._has_event = False
        self._finish = b""
        self._has_usage = False
        self._line = b""  # how the unfinished line begins
        self._tail = b""  # how the last piece ended

    def left(self, begun: bool) -> float:
        """Seconds until the next deadline; not positive if it has passed."""
        return self._deadline(begun)[0] - time.monotonic()

    def is_over(self, begun: bool) -> bool:
        """Whether silence is the end of the stream. Raises Failure if a deadline has passed instead."""
        deadline, reason = self._deadline(begun)
        if time.monotonic() < deadline:
            return False
        if self._finish:
            return True
        is_total = deadline == self._started + self._limits.total
        raise Failure(reason, tries=_TOTALS if is_total else 8)

    def note(self, data: bytes) -> None:
        """Takes notice of what `data` says: an event that is whole, a finish_reason, usage."""
        text = self._line + data
        if _EVENT.search(text):
            self._event = time.monotonic()
            self._has_event = True
        start = max(text.rfind(b"\n"), text.rfind(b"\r"))
        self._line = text[max(start, 0) :][:_BEGINNING]
        text = self._tail + data
        if found := _FINISH.search(text):
            self._finish = found[1]
        self._has_usage = self._has_usage or (bool(self._finish) and _USAGE.search(text) is not None)
        self._tail = text[-_OVERLAP:]

    def _deadline(self, begun: bool) -> tuple[float, str]:
        """The nearest deadline, and what to say of it."""
        limits = self._limits
        total = self._started + limits.total, f"the answer was not whole after {limits.total:g} s in all"
        if not self._has_event:
            event = self._started + limits.event, f"no event came within {limits.event:g} s"
            headers = self._started + limits.headers, f"no answer came within {limits.headers:g} s"
            return min(total, event) if begun else min(total, event, headers)
        idle = limits.settle if self._is_settled() else limits.idle
        return min(total, (self._event + idle, f"the stream stalled: no event for {idle:g} s"))

    def _is_settled(self) -> bool:
        """Whether nothing more is to be expected; some hosts finish each call with a reason of its own."""
        return bool(self._finish) and (self._has_usage or self._finish != b"tool_calls")
