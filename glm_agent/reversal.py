"""A work tree on its way to an earlier state, on record until it is there: the next run finishes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from . import intents, keeping, restore
from .durable import sync_folder
from .errors import RepositoryError
from .intents import Record
from .keeping import Keeper
from .paths import named
from .restore import HalfwayError
from .shape import mapping, string, texts
from .snapshot import Snapshot
from .state import State
from .types import Json

_KIND = "back-"


class Reversal(NamedTuple):
    """From `now` to `wanted`, states that the session in `store` keeps the objects of, at `paths`.

    `session` is the folder of the session that does it, and writes nothing after it; its snapshot has this
    `memory`, and `named` are ignored files that count for it.
    """

    store: Path
    now: State
    wanted: State
    paths: list[str]
    session: Path
    memory: Json
    named: list[str]

    def record(self) -> Json:
        return {
            **self._asdict(),
            "store": str(self.store),
            "session": str(self.session),
            "now": self.now.record(),
            "wanted": self.wanted.record(),
        }


def carry_out(reversal: Reversal, snapshot: Snapshot, folder: Path, end: Callable[[], None]) -> list[str]:
    """Makes the tree what is wanted, with a record in `folder`; then `end` ends the session's own.

    Returns what could not be made as it was and does no harm. Raises RepositoryError, with the tree as it
    was, unless it says otherwise.
    """
    try:
        record = intents.put(folder, _KIND, reversal.record())
    except OSError as error:
        raise RepositoryError(f"nothing was restored: {folder}: {error.strerror}") from error
    try:
        problems = restore.restore(
            snapshot, snapshot.root, reversal.now, reversal.wanted, set(reversal.paths)
        )
    except HalfwayError:
        _leave(record)
        raise
    except BaseException:
        _close(record)
        raise
    try:
        end()
    except BaseException:  # what is left to do can be done later
        _leave(record)
        raise
    _close(record)
    return problems


def is_cut_short(folder: Path) -> bool:
    """Whether there is one to finish; only its one writer can tell, for one that runs is on record too."""
    return any(intents.content(file) for file in folder.glob(f"{_KIND}*"))


def finish(root: Path, folder: Path) -> list[str]:
    """Does what those that were killed in `root` have left undone, and says so; only for its one writer."""
    said = [line for record in intents.unheld(folder, _KIND) for line in _finish_one(root, record)]
    restore.tidy(root)
    return said


def _finish_one(root: Path, record: Record) -> Iterator[str]:
    reversal = _read(record.file)
    try:
        if reversal:  # else nothing was changed yet
            yield _finish(root, reversal)
    except (OSError, RepositoryError) as error:
        record.leave()
        why = error.strerror if isinstance(error, OSError) else error
        yield f"an undo that was cut short cannot be finished yet: {why}"
        return
    _close(record)


def _finish(root: Path, reversal: Reversal) -> str:
    names = named(reversal.paths)
    if not keeping.load(reversal.store):
        kept = restore.keep_aside(root)
        where = f"; what it had moved is in {', '.join(kept)}" if kept else ""
        return f"{names}: an undo was cut short, and session {reversal.store.name} is gone{where}"
    snapshot = Snapshot(root, reversal.store)
    others = restore.finish(snapshot, root, reversal.now, reversal.wanted, set(reversal.paths))
    _end(Snapshot(root, reversal.session), reversal)
    stays = f"; {named(others)} changed since and stays as it is" if others else ""
    return f"{names}: an undo that was cut short was finished{stays}"


def _end(snapshot: Snapshot, reversal: Reversal) -> None:
    """What the session left is what there is now."""
    snapshot.go_on(reversal.memory)
    keeper = Keeper(snapshot, reversal.session)
    keeper.go_on()
    keeper.end(snapshot.take(reversal.named), reversal.named)


def _read(file: Path) -> Reversal | None:
    data = intents.content(file)
    if not data:
        return None
    return Reversal(
        Path(string(data.get("store"))),
        State.of(mapping(data.get("now"))),
        State.of(mapping(data.get("wanted"))),
        texts(data.get("paths")),
        Path(string(data.get("session"))),
        mapping(data.get("memory")),
        texts(data.get("named")),
    )


def _close(record: Record | None) -> None:
    """For good: a record that came back with the power would undo what was done since."""
    if record:
        with suppress(OSError):
            record.close(done=True)
            sync_folder(record.file.parent)


def _leave(record: Record | None) -> None:
    if record:
        record.leave()
