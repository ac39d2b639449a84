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
        """Says to others which session it is that writes; its folder is there already."""
        if self._card is None or self._fd < 0:
            return
        with suppress(OSError):
            self._card.parent.mkdir(mode=0o700, exist_ok=True)
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
        pid = _owner(fd)
        os.close(fd)
        raise RepositoryError(f"{_holder(card, pid)} is writing in {root}; wait for it, or end it") from None
    except OSError as error:  # of a file system that has no locks
        os.close(fd)
        return Lock(-1, None, _unheld(root, error))
    return Lock(fd, card)


def _unheld(root: Path, error: OSError) -> str:
    return f"nobody else is kept from writing in {root}, which cannot be locked: {error.strerror}"


def _holder(card: Path | None, owner: int | None) -> str:
    found: object = None
    with suppress(ValueError, OSError):
        found = json.loads(card.read_bytes()) if card else None
    pid, session = mapping(found).get("pid"), mapping(found).get("session")
    if not isinstance(pid, int) or not session or owner not in (pid, None):  # of one that was killed
        return f"process {owner}" if owner else "another run"
    return f"process {pid} (session {session})"


def _owner(fd: int) -> int | None:
    """Who has the lock on what is open at `fd`, where the kernel says so."""
    status = os.fstat(fd)
    with suppress(OSError):
        for line in Path("/proc/locks").read_text("ascii").split("\n"):
            words = line.split()
            if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(f":{status.st_ino}"):
                return int(words[4])
    return None
