"""`sessions`: what is kept of earlier runs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .. import config, journal, settings
from ..errors import AgentError, RepositoryError, UsageError
from ..exports.steps import Step, outcome, steps, turns
from ..journal import Session
from ..render.sanitize import clean
from ..types import Json, User
from . import undo
from .plain import as_json, print_text, table

_MOST_LINES = 5  # of what undo would do


def list_all(as_data: bool) -> int:
    return print_text(lambda: _list(as_data))


def show(name: str, as_data: bool) -> int:
    return print_text(lambda: _show(journal.find(config.state_home(), name), as_data))


def remove(names: Sequence[str], older_than: str | None) -> int:
    return print_text(lambda: _remove(names, older_than))


def _list(as_data: bool) -> str:
    rows = [_row(folder) for folder in journal.sessions(config.state_home())]
    if as_data:
        return as_json(rows)
    if not rows:
        return "no sessions yet\n"
    head = ("SESSION", "COMMAND", "OUTCOME", "TURNS", "SIZE", "TASK")
    lines = [
        (row["id"], row["command"], row["outcome"], str(row["turns"]), _megabytes(row), row["task"][:60])
        for row in rows
    ]
    return table(head, lines)


def _row(folder: Path) -> Json:
    try:
        return _summary(journal.load(folder))
    except AgentError:  # `show` says why
        return {**_summary(Session(folder.name, folder)), "outcome": "unreadable"}


def _summary(session: Session) -> Json:
    first = next((message.text for message in session.messages if isinstance(message, User)), "")
    return {
        "id": session.id,
        "command": str(session.started.get("command", "?")),
        "cwd": session.started.get("cwd"),
        "outcome": _outcome(session),
        "turns": turns(session),
        "bytes": _size(session.folder),
        "damaged_lines": session.damaged,
        "task": " ".join((first or str(session.kept.get("task") or "")).split()),
    }


def _outcome(session: Session) -> str:
    is_running = session.result is None and journal.running(session.folder)
    return "running" if is_running else outcome(session)


def _size(folder: Path) -> int:
    """Bytes of all files in `folder`."""
    size = 0
    for here, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # of a run that goes on
                size += Path(here, name).lstat().st_size
    return size


def _megabytes(row: Json) -> str:
    return f"{row['bytes'] / 1e6:.1f} MB"


def _remove(names: Sequence[str], older_than: str | None) -> str:
    if bool(names) == bool(older_than):
        raise UsageError("name the sessions to remove, or give --older-than, for example 30d")
    home = config.state_home()
    if older_than:
        chosen = [folder for folder in journal.sessions(home) if _age(folder) > _limit(older_than)]
        chosen = [folder for folder in chosen if not journal.running(folder)]
    else:
        chosen = list(dict.fromkeys(journal.find(home, name) for name in names))
        for folder in filter(journal.running, chosen):
            raise RepositoryError(f"session {folder.name} is running; nothing was removed")
    size = sum(map(_size, chosen))
    for folder in chosen:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise RepositoryError(f"cannot remove {folder}: {error.strerror}") from error
    return f"removed {len(chosen)} session{'s' * (len(chosen) != 1)}, {size / 1e6:.1f} MB\n"


def _limit(older_than: str) -> float:
    try:
        return settings.duration(older_than)
    except ValueError as error:
        raise UsageError(f"--older-than {older_than!r}: {error}") from error


def _age(folder: Path) -> float:
    """Seconds since the session was last written to."""
    file = folder / journal.FILE
    return time.time() - (file if file.exists() else folder).stat().st_mtime


def _show(folder: Path, as_data: bool) -> str:
    session = journal.load(folder)
    if as_data:
        known = {"started": session.started, "result": session.result, "undo": undo.preview(folder)}
        return as_json({**_summary(session), **known})
    heading = [clean(f"{name}: {value}") for name, value in _summary(session).items() if name != "task"]
    return (
        "\n".join(
            [
                *heading,
                clean(f"undo: {_undo(folder)}"),
                "",
                *(_shown(step) for step in steps(session.messages)),
            ]
        )
        + "\n"
    )


def _undo(folder: Path) -> str:
    found = undo.preview(folder)
    if found is None:
        return "nothing to put back"
    some = undo.lines(found["changes"], would=True)
    more = [f"and {len(some) - _MOST_LINES} more"] if len(some) > _MOST_LINES else []
    return "; ".join([*some[:_MOST_LINES], *more, *filter(None, [found["problem"]])]) or "done already"


def _shown(step: Step) -> str:
    from ..render.words import describe, effect

    if isinstance(step.said, User):
        return clean(f"> {step.text}\n")
    calls = (f"* {describe(call)}" + (f"  -> {effect(call, to)}" if to else "") for call, to in step.done)
    return clean("\n".join([*([step.text] if step.text else []), *calls]) + "\n")
