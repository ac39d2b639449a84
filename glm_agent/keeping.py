"""What a session keeps so that it can be undone: the state at its start and its end, and what tools wrote."""

from __future__ import annotations

import json
import shutil
import stat
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from . import durable, gitdir, state
from .errors import RepositoryError
from .shape import mapping, string, texts
from .snapshot import Snapshot
from .state import State
from .types import Json

_STATE, _WRITTEN = "state.json", "written.json"
_VERSION = 1


@dataclass(slots=True)
class Record:
    """`end` is None if the session was killed; then `wrote` says by blob, or None for a deletion, what its
    tools had written by then, `pending` what they were about to write, `commands` whether any ran.
    `mixed` are files of the session's that others had changed before it went on.

    `root` is the work tree by path, `place` by device and inode; `at` is when it began, in seconds since the
    epoch; `named` are ignored files that count.
    """

    root: str
    place: str
    at: float
    start: State
    end: State | None = None
    named: list[str] = field(default_factory=list[str])
    undoes: str | None = None
    wrote: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    pending: list[str] = field(default_factory=list[str])
    commands: bool = False
    mixed: list[str] = field(default_factory=list[str])

    @property
    def is_of_account(self) -> bool:
        """Whether there may be anything to undo."""
        if self.end is None:
            return bool(self.wrote or self.pending or self.commands)
        return self.start[1:] != self.end[1:]


class Keeper:
    """Keeps the record of the session in `folder` up to date: before a tool acts, and after it has.

    An idle one keeps none: of what is only a copy, there is nothing to undo.
    """

    def __init__(
        self, snapshot: Snapshot, folder: Path, undoes: str | None = None, *, idle: bool = False
    ) -> None:
        self._snapshot = snapshot
        self._folder = folder
        self._undoes = undoes
        self.is_idle = idle
        self.record: Record | None = None

    def begin(self, tree: str) -> None:
        """`tree` has just been taken, and nothing has been changed yet."""
        if self.is_idle:
            return
        root = self._snapshot.root
        index = gitdir.locate(root).folder / "index"
        if index.is_file():  # never put back, for it is the user's; but kept for who needs it
            shutil.copyfile(index, self._folder / "index")
            (self._folder / "index").chmod(0o600)
        self.record = Record(
            str(root),
            place(root),
            time.time(),
            state.take(self._snapshot, tree, keep=True),
            undoes=self._undoes,
        )
        self._save()

    def go_on(self) -> State | None:
        """What was kept of the session until now counts from its first start; how it ended, if it did."""
        self.record = None if self.is_idle else load(self._folder)
        if not self.record:
            return None
        ended, self.record.end = self.record.end, None
        return ended

    def adopt(self, ended: State, tree: str) -> None:
        """What others have changed since it `ended` was there at the start; `tree` has just been taken."""
        if not (record := self.record) or tree == ended.tree:
            return
        start, carry = record.start, self._snapshot.carry
        now = state.take(self._snapshot, tree, keep=True)
        differing = self._snapshot.differing
        ours, others = differing(start.files, ended.files), differing(ended.files, now.files)
        mixed = ours & others & differing(start.files, now.files)
        record.mixed += sorted(mixed - {*record.mixed})
        news = {path: bits for path, bits in now.bits.items() if ended.bits.get(path) != bits}
        record.start = start._replace(
            tree=carry(start.tree, ended.tree, tree),
            files=carry(start.files, ended.files, now.files),
            bits={**start.bits, **news},
        )
        self._save()

    def include(self, paths: Iterable[str]) -> None:
        """What git ignored at the start, and is still as it was then, is part of it too."""
        if not (record := self.record):
            return
        there = [path for path in paths if path not in record.named and _is_file(self._snapshot, path)]
        files = state.include(self._snapshot, record.start.files, there)
        bits = {path: stat.S_IMODE((self._snapshot.root / path).lstat().st_mode) for path in there}
        record.start = record.start._replace(files=files, bits={**record.start.bits, **bits})
        record.named += there
        self._save()

    def started(self, paths: Collection[str], *, is_command: bool = False) -> None:
        """A tool is about to write `paths`, or a command is about to do as it likes."""
        if record := self.record:
            record.pending += paths
            record.commands |= is_command
            self._note(record)

    def ended(self, paths: Iterable[str]) -> None:
        """A tool has written `paths`, or left them as they were."""
        if not (record := self.record):
            return
        for path in paths:
            record.wrote[path] = state.blob_of(str(self._snapshot.root / path), None, record.start.files)
        record.pending = []
        self._note(record)

    def end(self, tree: str, named: Iterable[str] = ()) -> None:
        """`tree` has just been taken, and the session writes no more."""
        if record := self.record:
            record.end = state.take(self._snapshot, tree)
            record.named = sorted({*record.named, *named})
            self._save()

    def _save(self) -> None:
        if record := self.record:
            start, end = record.start.record(), record.end and record.end.record()
            commits = [self._commit(record.start, [])]
            commits += [self._commit(record.end, commits)] if record.end else []
            known: Json = {"root": record.root, "place": record.place, "at": record.at, "commits": commits}
            known |= {"undoes": record.undoes, "named": record.named, "mixed": record.mixed}
            _write(self._folder / _STATE, {"version": _VERSION, **known, "start": start, "end": end})

    def _commit(self, state: State, parents: list[str]) -> str:
        """The state's files as a commit, for who looks at them with git."""
        who = ("-c", "user.name=glm-agent", "-c", "user.email=glm-agent@localhost")
        onto = [word for parent in parents for word in ("-p", parent)]
        form = ("commit-tree", *onto, "-m", "end" if parents else "start", state.files)
        return self._snapshot.ask(*who, *form).decode().strip()

    def _note(self, record: Record) -> None:
        known = {"wrote": record.wrote, "pending": record.pending, "commands": record.commands}
        _write(self._folder / _WRITTEN, known, lasting=False)


def load(folder: Path) -> Record | None:
    """The record of the session in `folder`; None if it changed no work tree, or what it kept is damaged."""
    found, written = _read(folder / _STATE), _read(folder / _WRITTEN)
    if found.get("version") != _VERSION or not mapping(found.get("start")):
        return None
    end, at = mapping(found.get("end")), found.get("at")
    wrote = mapping(written.get("wrote"))
    return Record(
        string(found.get("root")),
        string(found.get("place")),
        at if isinstance(at, float) else 0.0,
        State.of(mapping(found.get("start"))),
        State.of(end) if end else None,
        texts(found.get("named")),
        string(found.get("undoes")) or None,
        {path: string(blob) or None for path, blob in wrote.items()},
        texts(written.get("pending")),
        written.get("commands") is True,
        texts(found.get("mixed")),
    )


def place(root: Path) -> str:
    """What names a work tree wherever it is moved to on its file system."""
    status = root.stat()
    return f"{status.st_dev:x}-{status.st_ino:x}"


def _is_file(snapshot: Snapshot, path: str) -> bool:
    found = snapshot.root / path
    return found.is_file() and not found.is_symlink()


def _read(file: Path) -> Json:
    with suppress(OSError, ValueError, RecursionError):
        return mapping(json.loads(file.read_bytes()))
    return {}


def _write(file: Path, value: Json, *, lasting: bool = True) -> None:
    """Raises RepositoryError."""
    _replace(file, json.dumps(value).encode(), lasting=lasting)


def _replace(file: Path, data: bytes, *, lasting: bool = True) -> None:
    try:
        durable.replace(file, data, lasting=lasting)
    except OSError as error:
        raise RepositoryError(f"cannot write the session to {file.parent}: {error.strerror}") from error
