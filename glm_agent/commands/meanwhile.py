"""What others wrote into the work tree while a session was interrupted: none of it is part of its run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .. import state
from ..journal import Session
from ..keeping import Record
from ..paths import named
from ..snapshot import Snapshot
from ..state import State
from ..types import Event, Said, ToolResult, ToolStarted
from . import mending

_CLOCK = 0.002  # seconds by which the time of a file and that of a record may differ


class Trees(NamedTuple):
    """Of the run's start, of the moment when its work paused (None: nobody knows), and of now."""

    start: str
    paused: str | None
    now: str


class Left(NamedTuple):
    """What the session left: `tree` is without what is `foreign`; `doubtful` is the session's and others'.

    `undone` are as they were before its work: put back, be it by us.
    """

    tree: str = ""
    foreign: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()

    def notices(self, kept: str = "") -> list[str]:
        """A line for each kind of file that is not as the session left it; `kept` has what is undone."""
        found: list[str] = []
        if self.undone:
            where = f", which is kept in {kept}" if kept else ""
            found.append(f"no longer in the tree: the session's work on {named(self.undone)}{where}")
        if self.foreign:
            found.append(f"{named(self.foreign)} changed since the session's last work: not counted")
        if self.doubtful:
            why = "may be changed by others too since the session's last work: counted, never committed"
            found.append(f"{named(self.doubtful)} {why}")
        return found


def find(snapshot: Snapshot, record: Record, session: Session, trees: Trees) -> Left:
    """By the tree of the pause if there is one; of a session that was killed, by blobs and times."""
    start, paused, now = trees
    changed = snapshot.differing(start, now)
    if paused:
        others = snapshot.differing(paused, now)
        ours = snapshot.differing(start, paused)
        foreign, both = others - ours, others & ours
        return Left(paused, *(tuple(sorted(paths)) for paths in (foreign, both & changed, both - changed)))
    known = {*record.wrote, *record.pending}
    late = {path for path in changed if _changed_at(snapshot.root, path) > session.ended + _CLOCK}
    late = {path for path in late if not _is_as_written(snapshot, record, path)}
    foreign = set[str]() if _is_command_open(session.events) else late - known
    pending = mending.untouched(snapshot.root, session.folder) & {*record.pending}
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
    lines = [entry + b"\t" + path for path, _, entry in found if os.fsdecode(path) in paths]
    return snapshot.edited(tree, "--index-info", lines) if lines else tree


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
