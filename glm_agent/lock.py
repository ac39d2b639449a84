"""One writer at a time in a work tree: a lock on the directory itself, that dies with its process."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path

from .errors import RepositoryError
from .keeping import place
from .shape import mapping


class Lock:
    """The right to write to a work tree. `problem` says why there is none to be had; one goes on without."""

    def __init__(self, fd: int, card: Path | None, problem: str | None = None) -> None:
        self._fd = fd
        self._card = card  # says who holds the lock, and is of no account itself
        self.problem = problem

    def name(self, session: str) -> None:
        """Says to others which session it is that writes."""
        if self._card is None or self._fd < 0:
            return
        with suppress(OSError):
            for folder in (self._card.parents[1], self._card.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(self._card, flags, 0o600), "w") as file:
                json.dump({"pid": os.getpid(), "session": session}, file)

    def release(self) -> None:
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        if self._card is not None:
            with suppress(OSError):
                self._card.unlink()
        os.close(fd)


def hold(root: Path, home: Path | None = None) -> Lock:
    """The lock on the work tree at `root`, whatever path leads to it; who has it is told in `home`/locks.

    Raises RepositoryError if another run has it.
    """
    card = home / "locks" / place(root) if home else None
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return Lock(-1, None, _unheld(root, error))
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise RepositoryError(f"{_holder(card)} is writing in {root}; wait for it, or end it") from None
    except OSError as error:  # of a file system that has no locks
        os.close(fd)
        return Lock(-1, None, _unheld(root, error))
    lock = Lock(fd, card)
    lock.name("")
    return lock


def _unheld(root: Path, error: OSError) -> str:
    return f"nobody else is kept from writing in {root}, which cannot be locked: {error.strerror}"


def _holder(card: Path | None) -> str:
    found: object = None
    with suppress(ValueError, OSError):
        found = json.loads(card.read_bytes()) if card else None
    pid, session = mapping(found).get("pid"), mapping(found).get("session")
    if not isinstance(pid, int) or not _lives(pid):  # of one that was killed, and another came
        return "another run"
    return f"process {pid} (session {session})" if session else f"process {pid}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
