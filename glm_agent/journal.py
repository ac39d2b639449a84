"""A session on disk: one JSON record a line, written before anything acts on it. Any prefix is valid."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from .errors import RepositoryError, UsageError
from .shape import mapping, sequence, string
from .types import (
    Assistant,
    CallDelta,
    Event,
    Finished,
    Json,
    Message,
    Said,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolResult,
    User,
)

_ROLES = {User: "user", Assistant: "assistant", ToolResult: "tool"}


class Journal:
    """A sink for events: every one but the deltas becomes a record, whole or not at all."""

    def __init__(self, folder: Path, redact: Callable[[str], str]) -> None:
        """Creates `folder` and the two above (0700) with an empty journal (0600).

        Raises RepositoryError if it cannot.
        """
        try:
            for above in (folder.parent.parent, folder.parent):  # parents that mkdir makes are open to all
                with suppress(FileExistsError):
                    above.mkdir(parents=True, mode=0o700)
            folder.mkdir(mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(folder / "journal.jsonl", flags, 0o600)
        except OSError as error:
            raise RepositoryError(f"cannot write the session to {folder}: {error.strerror}") from error
        self._redact = redact

    def __call__(self, event: Event) -> None:
        if isinstance(event, TextDelta | ThoughtDelta | CallDelta):
            return
        record = {"at": round(time.time(), 3), **_record(event)}
        line = (self._redact(json.dumps(record)) + "\n").encode()
        end = os.fstat(self._descriptor).st_size
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            os.ftruncate(self._descriptor, end)  # half a record would hide all that follow
            raise RepositoryError(f"cannot write the session's journal: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._descriptor)


class Session(NamedTuple):
    """One session as read back; `result` is None if it was interrupted."""

    id: str
    folder: Path
    started: Json
    messages: list[Message]
    result: Json | None


def sessions(home: Path) -> Iterator[Path]:
    """Folders of all sessions, newest first."""
    folder = home / "sessions"
    found = [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
    return iter(sorted(found, key=lambda entry: entry.name, reverse=True))


def find(home: Path, name: str) -> Path:
    """The folder of the session whose id begins with `name`. Raises UsageError unless there is one."""
    found = [folder for folder in sessions(home) if folder.name.startswith(name)] if name else []
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} sessions begin with {name!r}" if found else f"no session {name!r}"
    raise UsageError(f"{problem}; `glm-agent sessions list` shows them")


def load(folder: Path) -> Session:
    """The session in `folder`; a torn last line is left out."""
    started: Json = {}
    messages: list[Message] = []
    result: Json | None = None
    for record in _records(folder / "journal.jsonl"):
        match record.get("type"):
            case "Started":
                started = record
            case "Said":
                messages.append(_message(mapping(record.get("message"))))
            case "Finished":
                result = mapping(record.get("result"))
            case _:
                pass
    return Session(folder.name, folder, started, messages, result)


def _record(event: Event) -> Json:
    if isinstance(event, Said):
        return {"type": "Said", "message": {"role": _ROLES[type(event.message)], **asdict(event.message)}}
    if isinstance(event, Finished):
        return {"type": "Finished", "result": asdict(event.result)}
    return {"type": type(event).__name__, **asdict(event)}


def _records(file: Path) -> Iterator[Json]:
    try:
        data = file.read_bytes()
    except OSError:
        return
    for line in data.split(b"\n")[:-1]:
        try:
            yield mapping(json.loads(line))
        except (ValueError, RecursionError):
            return


def _message(record: Json) -> Message:
    match record.get("role"):
        case "user":
            return User(string(record.get("text")))
        case "tool":
            content, ok = string(record.get("content")), record.get("ok") is True
            return ToolResult(string(record.get("call_id")), content, ok, mapping(record.get("details")))
        case _:
            calls = [mapping(call) for call in sequence(record.get("calls"))]
            return Assistant(
                text=string(record.get("text")),
                thought=None if record.get("thought") is None else string(record["thought"]),
                calls=[
                    ToolCall(string(c.get("id")), string(c.get("name")), string(c.get("arguments")))
                    for c in calls
                ],
                finish=string(record.get("finish")),
                usage=mapping(record.get("usage")),
            )
