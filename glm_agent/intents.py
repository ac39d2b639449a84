"""What a change of files is about to do, on the disk before it does any of it: so that a kill leaves no half.

A record is open while its file is there and locked by whoever makes the change; one that nobody holds was
cut short, and is finished or taken back by the next run that writes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from .durable import make_folder, sync_folder
from .failpoints import failpoint
from .shape import mapping, sequence, string
from .types import Json

OPEN = "open-"
_NOT_OURS = (errno.EROFS, errno.EACCES, errno.EPERM)


class Planned(NamedTuple):
    """One file: what it held and will hold as `digest`s, None where there is none, and the names beside it.

    `fresh` is where the new content is staged, `kept` the old file's second name; "" for none.
    """

    path: str
    before: str | None
    after: str | None
    fresh: str
    kept: str


class Intent(NamedTuple):
    """`made` are the folders that come into being, parents first; `keep` is where a record stays if done."""

    call: str
    files: list[Planned]
    made: list[str]
    keep: str


class Intents:
    """The records of one work tree, in `folder`; those that are done stay as the file `keep`, if given.

    `call` is the id of the call that the next change is made for.
    """

    def __init__(self, folder: Path, keep: Path | None = None) -> None:
        self._folder = folder
        self._keep = str(keep or "")
        self.call = ""

    def open(self, files: list[Planned], made: list[str]) -> Record | None:
        """A new record, on the disk; None where nothing may be written there. Raises OSError."""
        data: Json = {"writing": 1, "call": self.call, "keep": self._keep, "made": made, "files": files}
        return put(self._folder, OPEN, data, self._keep)


class Record(NamedTuple):
    """An open record, locked as long as `descriptor` is open; `made` are folders that came with it."""

    file: Path
    descriptor: int
    keep: str
    made: list[Path]

    def close(self, *, done: bool) -> None:
        """Away with it: the change is whole (`done`), or taken back. Raises OSError."""
        try:
            if done and self.keep and Path(self.keep).parent.is_dir():
                os.replace(self.file, self.keep)  # noqa: PTH105 - a name that may be another's
            else:
                self.file.unlink(missing_ok=True)
        finally:
            self.leave()
            with suppress(OSError):  # which hold something else by now
                for folder in self.made:
                    folder.rmdir()

    def leave(self) -> None:
        """Let go of it as it is, for the next run to find."""
        os.close(self.descriptor)


def put(folder: Path, kind: str, data: Json, keep: str = "") -> Record | None:
    """A new record in `folder`, on the disk; None where nothing may be written there. Raises OSError."""
    file = folder / f"{kind}{os.urandom(8).hex()}.json"
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        make_folder(folder)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in _NOT_OURS:  # a home that is read-only has no sessions either
            return None
        raise
    record = Record(file, descriptor, keep, new)
    try:
        failpoint("intend")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with os.fdopen(os.dup(descriptor), "w") as out:
            json.dump(data, out)
            out.flush()
            os.fsync(descriptor)
        for one in (folder, *(one.parent for one in new)):
            sync_folder(one)
    except BaseException:
        record.close(done=False)
        raise
    return record


def cut_short(folder: Path) -> Iterator[tuple[Record, Intent | None]]:
    """The records of changes that nobody holds any more; None for one that was not whole yet."""
    for record in unheld(folder, OPEN):
        intent = read(record.file)
        yield record._replace(keep=intent.keep if intent else ""), intent


def unheld(folder: Path, kind: str) -> Iterator[Record]:
    """The records of one kind that nobody holds any more, each locked."""
    for file in sorted(folder.glob(f"{kind}*.json")):
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = os.fstat(descriptor).st_nlink > 0
        except OSError:
            is_there = False
        if not is_there:
            os.close(descriptor)
            continue
        yield Record(file, descriptor, "", [])


def read(file: Path) -> Intent | None:
    """The record in `file`; None if there is none, or it is not whole."""
    data = content(file)
    files = [_planned(item) for item in sequence(data.get("files"))]
    made = [string(path) for path in sequence(data.get("made"))]
    return Intent(string(data.get("call")), files, made, string(data.get("keep"))) if files else None


def content(file: Path) -> Json:
    """What a record holds; nothing if it is not whole."""
    with suppress(OSError, ValueError, RecursionError):
        return mapping(json.loads(file.read_bytes()))
    return {}


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def _planned(item: object) -> Planned:
    path, before, after, fresh, kept = (*sequence(item), *[None] * 5)[:5]
    return Planned(string(path), _maybe(before), _maybe(after), _plain(string(fresh)), _plain(string(kept)))


def _maybe(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _plain(name: str) -> str:
    """A name of ours, in the folder of its file and no other."""
    return name if name.startswith(".glm-agent-") and "/" not in name else ""
