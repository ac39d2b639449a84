"""How many requests of one key may be in flight at one time, counted over all processes of this machine.

A slot is an flock on a file: it dies with its process, however that ends. Whoever wants one queues at the
gate, another lock, so that a run that asks again at once does not overtake one that has waited. Nothing in a
file is needed for this; what is written there says who holds it. The key itself is never written: a folder is
named by a hash with a salt that never leaves the machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .durable import make_folder
from .shape import mapping
from .types import Json

_SHORTEST, _LONGEST = 0.002, 0.05  # seconds between looks
_FIRST_WORD, _NEXT_WORD = 1.0, 5.0  # seconds of waiting before one says so, and says so again
_STOPPED = 2.0  # seconds in the queue after which one relies on the first no more: it may be suspended
_RECOVERY = 120.0  # seconds after which one of the slots that were taken away comes back
_BURST = 2.0  # seconds: refusals that close together have one cause
_RECORD = 128  # bytes of what is written into a file: always as many, so that no reader sees a part


class Holder(NamedTuple):
    """A process that holds a slot, as it says itself; `since` is time since the epoch."""

    pid: int
    since: float


class Waiting(NamedTuple):
    """No slot is free after `seconds`; there are `limit` of them now."""

    seconds: float
    limit: int
    holders: list[Holder]

    def __str__(self) -> str:
        held = ", ".join(f"process {pid} since {_clock_time(since)}" for pid, since in self.holders)
        slots = "the one slot" if self.limit == 1 else f"one of {self.limit} slots"
        return f"waiting for {slots} of this key for {self.seconds:.0f} s; held by {held or 'another run'}"


class Slot:
    """The right to one request; `release` gives it back, and may be called twice."""

    def __init__(self, fd: int = -1) -> None:
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


@dataclass(slots=True)
class Slots:
    """The slots of one key: `count` at most, 0 for any number. `trouble` says why they cannot be counted."""

    folder: Path | None
    count: int
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    trouble: str | None = None

    def acquire(self) -> Generator[Waiting, None, Slot]:
        """A slot, once there is one; meanwhile now and then who is in the way.

        Where locks cannot be had the slot is there at once, and `trouble` says so. Leaving the generator,
        also by an exception out of a signal handler, leaves the queue.
        """
        if self.folder is None or self.count <= 0:
            return Slot()
        try:
            return (yield from self._queue(self.folder))
        except OSError as error:
            self._give_up(self.folder, error)
            return Slot()

    def limit(self, now: float | None = None) -> int:
        """How many slots there are now; `now` is the time since the epoch."""
        left, stamp = self._shrunk()
        gone = (time.time() if now is None else now) - stamp
        if gone < 0:  # the clock was set back: nobody knows how long ago it was
            return self.count
        return max(1, min(self.count, left + int(gone // _RECOVERY)))

    def shrink(self, now: float | None = None) -> int:
        """One slot less for every process, never none; they come back one by one. How many are left."""
        now = time.time() if now is None else now
        if self.folder is None or self.count <= 0:
            return self.count
        try:
            make_folder(self.folder)
            with _opened(self.folder / "limit") as fd:
                fcntl.flock(fd, fcntl.LOCK_EX)
                limit = self.limit(now)
                if not 0 <= now - self._shrunk()[1] < _BURST:
                    limit = max(1, limit - 1)
                    _write(fd, {"left": limit, "at": now})
                return limit
        except OSError as error:
            self._give_up(self.folder, error)
            return self.count

    def holders(self) -> list[Holder]:
        """Who holds a slot at this moment, as far as can be told."""
        found: list[Holder] = []
        for number in range(self.count):
            with contextlib.suppress(OSError), _opened(self._lock(number)) as fd:
                if not _take(fd) and (holder := _holder(_read(fd))):
                    found.append(holder)
        return found

    def _queue(self, folder: Path) -> Generator[Waiting, None, Slot]:
        make_folder(folder)
        started, word, pause = self.clock(), _FIRST_WORD, _SHORTEST
        with _opened(folder / "gate.lock") as gate:
            first = False
            while True:
                waited = self.clock() - started
                first = first or _take(gate)
                if (first or waited > _STOPPED) and (slot := self._try_all()):
                    return slot
                if waited >= word:
                    word = waited + _NEXT_WORD
                    yield Waiting(waited, self.limit(), self.holders())
                self.sleep(pause)
                pause = min(2 * pause, _LONGEST)

    def _try_all(self) -> Slot | None:
        for number in range(self.limit()):
            fd = _open(self._lock(number))
            try:
                if _take(fd):
                    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
                        _write(fd, {"pid": os.getpid(), "since": round(time.time())})
                    slot, fd = Slot(fd), -1
                    return slot
            finally:
                if fd >= 0:
                    os.close(fd)
        return None

    def _lock(self, number: int) -> Path:
        return (self.folder or Path()) / f"{number}.lock"

    def _shrunk(self) -> tuple[int, float]:
        """How many slots the last refusal left, and when that was."""
        if self.folder is not None:
            with contextlib.suppress(OSError), _opened(self.folder / "limit", os.O_RDONLY) as fd:
                told = _read(fd)
                left, stamp = told.get("left"), _epoch(told.get("at"))
                if isinstance(left, int) and stamp is not None:
                    return left, stamp
        return self.count, 0.0

    def _give_up(self, folder: Path, error: OSError) -> None:
        self.trouble = _trouble(folder, error)
        self.folder = None


def open_slots(state: Path, host: str, key: str | None, count: int) -> Slots:
    """The slots of `key` at `host`, kept below the folder `state`; see `trouble` for where they cannot be."""
    if not key or count <= 0:
        return Slots(None, 0)
    home = state / "slots"
    try:
        make_folder(home)
        return Slots(home / _name(_salt(home / "salt"), host, key), count)
    except OSError as error:
        return Slots(None, count, trouble=_trouble(home, error))


def _trouble(folder: Path, error: OSError) -> str:
    return f"requests in flight are not limited: {folder}: {error.strerror or error}"


def _name(salt: bytes, host: str, key: str) -> str:
    import hashlib  # 2 ms

    text = f"{host}\0{key}".encode(errors="surrogateescape")
    return hashlib.blake2b(text, key=salt, digest_size=16).hexdigest()


def _salt(file: Path) -> bytes:
    """Made once: of two processes at the same time, the second one finds what the first one made."""
    with _opened(file) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        salt = os.pread(fd, 32, 0)
        if len(salt) < 32:
            salt = os.urandom(32)
            os.pwrite(fd, salt, 0)
        return salt


def _open(file: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    return os.open(file, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


@contextlib.contextmanager
def _opened(file: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Generator[int]:
    fd = _open(file, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def _take(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(fd: int, record: Json) -> None:
    os.pwrite(fd, json.dumps(record).ljust(_RECORD).encode(), 0)


def _read(fd: int) -> Json:
    """What `_write` wrote, or nothing: the file may be anybody's."""
    try:
        return mapping(json.loads(os.pread(fd, _RECORD, 0)))
    except (OSError, ValueError, RecursionError):
        return {}


def _holder(told: Json) -> Holder | None:
    pid, since = told.get("pid"), _epoch(told.get("since"))
    return Holder(pid, since) if isinstance(pid, int) and since is not None else None


def _epoch(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < 2**33 else None


def _clock_time(epoch: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(epoch))
