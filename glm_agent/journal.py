"""A session on disk: one JSON record a line, on the disk before anything acts on it. Any prefix is valid."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import records
from .durable import make_folder, replace, sync_folder
from .errors import RepositoryError, UsageError
from .failpoints import failpoint
from .shape import mapping, sequence, string
from .types import (
    Assistant,
    CallDelta,
    Discarded,
    Event,
    Finished,
    Json,
    Memo,
    Message,
    Said,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolResult,
    ToolStarted,
    User,
    Verified,
)

FILE = "journal.jsonl"
TURN = "turn"
LOST = "error: this result was lost when the session's journal was damaged; call again if it is needed"

_ROLES: dict[type[Message], str] = {User: "user", Assistant: "assistant", ToolResult: "tool"}
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_NEW = os.O_CREAT | os.O_EXCL
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class Journal:
    """A sink for events: every one but the deltas becomes a record, whole or not at all.

    While it is open, the session is locked. Raises RepositoryError for what cannot be written.
    """

    def __init__(self, folder: Path, redact: Callable[[str], str], *, again: bool = False) -> None:
        """Creates `folder` and the two above (0700) with a journal (0600); `again`, goes on with one.

        Raises RepositoryError if it cannot, and for a session that is running.
        """
        self._redact = redact
        try:
            if not again:
                _make(folder)
            self._descriptor = _open(folder / FILE, 0 if again else _NEW)
        except OSError as error:
            why = f"{error.strerror}; --ephemeral keeps nothing, XDG_STATE_HOME says where else to keep it"
            raise RepositoryError(f"cannot write the session to {folder}: {why}") from error
        try:
            self._begin(folder)
            if again:
                _take_turn(folder)
        except BaseException:
            self.close()
            raise

    def __call__(self, event: Event) -> None:
        if not isinstance(event, TextDelta | ThoughtDelta | CallDelta):
            self._write({"at": round(time.time(), 3), **_record(event)})

    def close(self) -> None:
        os.close(self._descriptor)

    def _begin(self, folder: Path) -> None:
        """Lock it, cut off what a kill left of a record, and say who goes on from here."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RepositoryError(f"session {folder.name} is running{_by(folder)}; wait for it") from error
        found = records.read(_contents(self._descriptor))
        _require_known(folder, found.version)
        os.ftruncate(self._descriptor, found.end)
        self._write({"journal": records.VERSION, "at": round(time.time(), 3), "pid": os.getpid()})

    def _write(self, record: Json) -> None:
        line = records.seal(self._redact(json.dumps(record)).encode("ascii"))
        end = os.fstat(self._descriptor).st_size
        try:
            failpoint("journal")
            while line:
                line = line[os.write(self._descriptor, line) :]
            failpoint("journaled")
            _sync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, end)  # what is not on the disk was not said
            raise RepositoryError(f"cannot write the session's journal: {error.strerror}") from error


def new_id(folder: Path) -> str:
    """For a session that begins now, beside those in `folder`: ids sort by age, whatever the clock says."""
    stamp, last = _stamp(int(time.time() * 0x1000)), ""
    with suppress(FileNotFoundError):
        last = _last(folder)[:19]
    with suppress(ValueError):  # of a name that is no time
        stamp = stamp if stamp > last else _stamp(_part(last) + 1)
    return stamp + os.urandom(2).hex()[1:]


def _turn(folder: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return (folder / TURN).read_text("ascii")
    return folder.name


def _take_turn(folder: Path) -> None:
    """After all the sessions that there are now. Raises RepositoryError."""
    try:
        replace(folder / TURN, f"{_last(folder.parent)}+{time.time_ns():020}".encode())
    except OSError as error:
        raise RepositoryError(f"cannot write the session to {folder}: {error.strerror}") from error


def _last(folder: Path) -> str:
    """The greatest id among the sessions in `folder`; "" if there is none. Raises FileNotFoundError."""
    return max(filter(_ID.fullmatch, os.listdir(folder)), default="")  # noqa: PTH208 - names alone


def _stamp(part: int) -> str:
    """A moment, in 4096ths of a second."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(part >> 12))}-{part & 0xFFF:03x}"


def _part(stamp: str) -> int:
    import calendar  # 2 ms

    return calendar.timegm(time.strptime(stamp[:15], "%Y%m%d-%H%M%S")) << 12 | int(stamp[16:], 16)


def running(folder: Path) -> bool:
    """Whether a run holds the session's lock."""
    try:
        descriptor = _open(folder / FILE, 0)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@dataclass(slots=True)
class Session:
    """One session as read back; `result` is None while it runs, and if it was interrupted.

    `messages` are a valid history, which may end with calls that are not answered. `kept` is what Memos said
    last, `seconds` how long it ran, `ended` when it last did something, `damaged` how many lines are lost.
    """

    id: str
    folder: Path
    started: Json = field(default_factory=dict[str, object])
    messages: list[Message] = field(default_factory=list[Message])
    result: Json | None = None
    events: list[Event] = field(default_factory=list[Event])
    kept: Json = field(default_factory=dict[str, object])
    seconds: float = 0.0
    ended: float = 0.0
    damaged: int = 0


def sessions(home: Path) -> Iterator[Path]:
    """Folders of all sessions, newest first."""
    folder = home / "sessions"
    found = [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
    return iter(sorted(found, key=lambda entry: entry.name, reverse=True))


def by_turn(home: Path) -> list[Path]:
    """The same, the one first that began, or went on, last."""
    return sorted(sessions(home), key=_turn, reverse=True)


def find(home: Path, name: str) -> Path:
    """The folder of the session whose id begins with `name`. Raises UsageError unless there is one."""
    found = [folder for folder in sessions(home) if folder.name.startswith(name)] if name else []
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} sessions begin with {name!r}" if found else f"no session {name!r}"
    raise UsageError(f"{problem}; `glm-agent sessions list` shows them")


def load(folder: Path) -> Session:
    """The session in `folder`, whatever became of its journal. Raises RepositoryError for a newer one."""
    session = Session(folder.name, folder)
    try:
        found = records.read((folder / FILE).read_bytes())
    except OSError:
        return session
    _require_known(folder, found.version)
    session.damaged = found.damaged
    session.seconds = _seconds(found.records)
    for record in found.records:
        _take(session, record)
    session.messages = _valid(event.message for event in session.events if isinstance(event, Said))
    return session


def _require_known(folder: Path, version: int) -> None:
    """Raises RepositoryError for the journal of a later program, which may mean what this one cannot."""
    if version > records.VERSION:
        raise RepositoryError(
            f"session {folder.name} was written by a newer glm-agent (journal version {version}, this one "
            f"knows {records.VERSION}); update to use it"
        )


def _make(folder: Path) -> None:
    with suppress(FileExistsError):  # a file: the next line says it better
        make_folder(folder.parent)
    folder.mkdir(mode=0o700)


def _open(file: Path, flags: int) -> int:
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    if flags:
        for above in (file.parent, file.parent.parent):  # a record is nothing without its file
            sync_folder(above)
    return descriptor


def _contents(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()


def _by(folder: Path) -> str:
    found = records.read((folder / FILE).read_bytes()).records
    pids = [record["pid"] for record in found if "journal" in record and isinstance(record.get("pid"), int)]
    return f" (pid {pids[-1]})" if pids else ""


def _record(event: Event) -> Json:
    if isinstance(event, Said):
        return {"type": "Said", "message": {"role": _ROLES[type(event.message)], **asdict(event.message)}}
    if isinstance(event, Finished):
        return {"type": "Finished", "result": asdict(event.result)}
    return {"type": type(event).__name__, **asdict(event)}


def _take(session: Session, record: Json) -> None:
    if "journal" in record:
        session.result = None
        return
    match record.get("type"):
        case "Started":
            session.started = record
        case "Finished":
            session.result = mapping(record.get("result"))
        case "Said":
            session.ended = _at(record)
            session.events.append(Said(_message(mapping(record.get("message")))))
        case "ToolStarted":
            session.ended = _at(record)
            session.events.append(ToolStarted(_call(record.get("call"))))
        case "Discarded":
            turn = _assistant(mapping(record.get("turn")))
            session.events.append(Discarded(string(record.get("reason")), turn))
        case "Verified":
            session.events.append(_verified(record))
        case "Memo":
            values = mapping(record.get("values"))
            session.kept.update(values)
            session.events.append(Memo(values))
        case _:
            pass


def _at(record: Json) -> float:
    at = record.get("at")
    return float(at) if isinstance(at, int | float) else 0.0


def _seconds(found: list[Json]) -> float:
    """From the first record of each run to its last, all runs together."""
    total, first, last = 0.0, None, 0.0
    for record in found:
        at = record.get("at")
        if not isinstance(at, int | float):
            continue
        if first is None or "journal" in record:
            total += max(0.0, last - first) if first is not None else 0.0
            first = at
        last = at
    return total + (max(0.0, last - first) if first is not None else 0.0)


def _valid(messages: Iterable[Message]) -> list[Message]:
    """`messages` as providers take them: each call but the last turn's has its one answer, and no other."""
    found: list[Message] = []
    open_calls: dict[str, None] = {}
    for message in messages:
        if isinstance(message, ToolResult):
            if message.call_id in open_calls:
                del open_calls[message.call_id]
                found.append(message)
            continue
        found += [ToolResult(call_id, LOST, ok=False) for call_id in open_calls]
        found.append(message)
        open_calls = {call.id: None for call in message.calls} if isinstance(message, Assistant) else {}
    return found


def _message(record: Json) -> Message:
    match record.get("role"):
        case "user":
            return User(string(record.get("text")))
        case "tool":
            content, ok = string(record.get("content")), record.get("ok") is True
            details, note = mapping(record.get("details")), string(record.get("note"))
            return ToolResult(string(record.get("call_id")), content, ok, details, note)
        case _:
            return _assistant(record)


def _assistant(record: Json) -> Assistant:
    return Assistant(
        text=string(record.get("text")),
        thought=None if record.get("thought") is None else string(record["thought"]),
        calls=[_call(call) for call in sequence(record.get("calls"))],
        finish=string(record.get("finish")),
        usage=mapping(record.get("usage")),
    )


def _call(record: object) -> ToolCall:
    call = mapping(record)
    return ToolCall(string(call.get("id")), string(call.get("name")), string(call.get("arguments")))


def _verified(record: Json) -> Verified:
    code, phase = record.get("exit_code"), record.get("phase")
    return Verified(
        phase="after" if phase == "after" else "before",
        command=string(record.get("command")),
        exit_code=code if isinstance(code, int) else None,
        failed=[string(name) for name in sequence(record.get("failed"))],
        duration_ms=ms if isinstance(ms := record.get("duration_ms"), int) else 0,
        output=string(record.get("output")),
        flaky=[string(name) for name in sequence(record.get("flaky"))],
        passed=[string(name) for name in sequence(record.get("passed"))],
        junit=record.get("junit") is True,
        partial=record.get("partial") is True,
    )
