"""What others wrote into the work tree while a session was interrupted: none of it is part of its run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .. import state
from ..journal import Session
from ..keeping import Record
from ..paths import shown
from ..snapshot import Snapshot
from ..state import State
from ..types import Event, Said, ToolResult, ToolStarted
from . import stores

_CLOCK = 0.002  # seconds by which the time of a file and that of a record may differ
_NAMED = 5


class Trees(NamedTuple):
    """Of the run's start, of the moment when its work paused (None: nobody knows), and of now."""

    start: str
    paused: str | None
    now: str


class Left(NamedTuple):
    """What the session left: `tree` is without what is `foreign`; `doubtful` is the session's and others'."""

    tree: str = ""
    foreign: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()

    def notices(self) -> list[str]:
        """A line for each kind of file that others have changed."""
        found: list[str] = []
        if self.foreign:
            found.append(f"{_names(self.foreign)} changed since the session's last work: not counted")
        if self.doubtful:
            why = "may be changed by others too since the session's last work: counted, never committed"
            found.append(f"{_names(self.doubtful)} {why}")
        return found


def find(snapshot: Snapshot, record: Record, session: Session, trees: Trees) -> Left:
    """By the tree of the pause if there is one; of a session that was killed, by blobs and times."""
    start, paused, now = trees
    changed = _differing(snapshot, start, now)
    if paused:
        others = _differing(snapshot, paused, now)
        ours = _differing(snapshot, start, paused)
        return Left(paused, tuple(sorted(others - ours)), tuple(sorted(others & ours)))
    known = {*record.wrote, *record.pending}
    late = {path for path in changed if _changed_at(snapshot.root, path) > session.ended + _CLOCK}
    late = {path for path in late if not _is_as_written(snapshot, record, path)}
    foreign = set[str]() if _is_command_open(session.events) else late - known
    pending = stores.untouched(snapshot.root, session.folder) & {*record.pending}
    doubtful = late - foreign - pending
    return Left(_with(snapshot, now, start, foreign), tuple(sorted(foreign)), tuple(sorted(doubtful)))


def state_left(snapshot: Snapshot, record: Record, left: Left, now: str) -> State:
    """The state that `left` is of, where others' files are as they were when the session began."""
    found = state.take(snapshot, now)
    foreign = {*left.foreign}
    files = _with(snapshot, found.files, record.start.files, foreign)
    bits = {path: mode for path, mode in found.bits.items() if path not in foreign}
    return found._replace(tree=left.tree, files=files, bits=bits)


def _with(snapshot: Snapshot, tree: str, other: str, paths: set[str]) -> str:
    """`tree` with what the other one has at `paths`."""
    found = snapshot.differences(tree, other) if paths else ()
    lines = [entry + b"\t" + path for path, entry in found if os.fsdecode(path) in paths]
    return snapshot.edited(tree, "--index-info", lines) if lines else tree


def _differing(snapshot: Snapshot, before: str, after: str) -> set[str]:
    return {os.fsdecode(path) for path, _ in snapshot.differences(before, after)}


def _changed_at(root: Path, path: str) -> float:
    """When the file was last changed; of one that is gone, when the folder was that it was in."""
    for place in (root / path, *(root / path).parents):
        try:
            return place.lstat().st_ctime
        except OSError:
            continue
    return 0.0


def _is_as_written(snapshot: Snapshot, record: Record, path: str) -> bool:
    if path not in record.wrote:
        return False
    blob = state.blob_of(str(snapshot.root / path), None, record.start.files)
    return record.wrote[path] == blob


def _is_command_open(events: Iterable[Event]) -> bool:
    """Whether a command was running when the session was killed: it may have written anything."""
    running: str | None = None
    for event in events:
        match event:
            case ToolStarted(call) if call.name == "bash":
                running = call.id
            case Said(ToolResult(call_id=call_id)) if call_id == running:
                running = None
            case _:
                pass
    return running is not None


def _names(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(map(shown, paths[:_NAMED])) + more
