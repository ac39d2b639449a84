"""A session that goes on: which one, what it was asked with, what it has spent, and what was under way."""

from __future__ import annotations

import shlex
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .. import config, intents, journal
from ..dialects import Dialect
from ..errors import AgentError, RepositoryError, ToolError, UsageError
from ..git import find_root
from ..history import open_calls
from ..intents import Intents
from ..settings import OPTIONS, Settings
from ..shape import mapping, sequence, string
from ..tools import Kit
from ..types import (
    Arguments,
    Assistant,
    Discarded,
    Event,
    Json,
    Memo,
    Said,
    Tool,
    ToolCall,
    ToolOutput,
    ToolResult,
    ToolStarted,
    Verified,
)
from ..workspace import Workspace
from . import stores
from .conduct import Stage, conduct

# what says how a run is watched, or where its results go: of each run its own
_OF_ONE_RUN = {
    *("output_format", "include_partial_messages", "output_last_message", "patch", "quiet", "verbose"),
    *("debug_file", "color", "prompt_file", "stdin", "ephemeral"),
}
_WAYS = ("dry_run", "worktree", "attempts", "commit", "branch")  # where the result goes
_OVER = {"success", "error_verify", "error_no_changes", "error_policy", "error_schema"}
_TOLD = ("append_system_prompt", "agents_md", "bare", "json_schema")  # what the system prompt hangs on
# what the user allowed then, and may not have in mind now
_WIDER = (
    *("base_url", "insecure_http", "env_file", "sandbox", "sandbox_read", "network", "allow_secrets"),
    *("allow_path", "allow_fork", "run_hooks"),
)
_LANDING = ". Secure a working change now, check it, and report.]"
_UNKNOWN = (
    "outcome unknown: the run was interrupted while this command ran, and it was not run again; look at what "
    "it did before you go on"
)


class Again(NamedTuple):
    """Which session goes on: by how its id begins, or None for the last here; `fork` as one of its own.

    `session` is what `find` has found already.
    """

    name: str | None = None
    fork: bool = False
    session: journal.Session | None = None


class Past(NamedTuple):
    """What goes on, and whether under an id of its own; `ways` are options that it works by as before."""

    session: journal.Session
    fork: bool = False
    ways: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        return string(self.session.kept.get("task"))

    @property
    def notices(self) -> list[str]:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in self.ways)
        return [f"goes on with {named}, as the session began; a new one can do without"] * bool(named)

    def require_work(self, has_task: bool) -> None:
        """Raises UsageError if the session is finished and nothing new is asked for."""
        result = self.session.result
        if not has_task and result is not None and result.get("subtype") in _OVER:
            raise UsageError(
                f"session {self.session.id} is finished ({result.get('subtype')}); give a task to go on with"
            )

    def open(self) -> Path:
        """The folder that the session goes on in. Raises RepositoryError."""
        if not self.fork:
            return self.session.folder
        if journal.running(self.session.folder):
            raise RepositoryError(f"session {self.session.id} is running; wait for it, then fork it")
        folder = self.session.folder.with_name(journal.new_id(self.session.folder.parent))
        try:
            own = shutil.ignore_patterns("patch.diff", journal.TURN)
            shutil.copytree(self.session.folder, folder, ignore=own)
        except (OSError, shutil.Error) as error:
            raise RepositoryError(f"cannot copy the session to {folder}: {error}") from error
        return folder


def find(again: Again, flags: Mapping[str, object], command: str | None) -> journal.Session:
    """The session meant: by its name, else the last that worked in the repository of `flags`, for `command`.

    Raises UsageError if there is none.
    """
    if again.session:
        return again.session
    home = config.state_home()
    folder = config.working_folder(flags.get("cd"))
    root = find_root(folder)
    stores.require_own(root)
    if again.name is not None:
        session = journal.load(journal.find(home, again.name))
        if "task" not in session.kept or command not in (None, session.started.get("command")):
            raise UsageError(f"session {session.id} cannot go on as `{command or 'resume'}`")
        return session
    top = str(root or folder)
    for place in journal.by_turn(home):
        with suppress(RepositoryError):  # a newer program's
            session = journal.load(place)
            if session.kept.get("top") == top and command in (None, session.started.get("command")):
                return session
    raise UsageError(f"no session to go on with in {top}; `glm-agent sessions list` shows all")


def conduct_any(
    again: Again | None,
    flags: Mapping[str, object],
    command: str,
    events_of: Callable[[Stage, Past | None], Generator[Event]],
    start: Mapping[str, str] | None,
    implied: Callable[[Settings], Settings] = lambda settings: settings,
) -> int:
    """The exit code of a run; one that goes on with a session has its flags, but for those given now."""
    if again is None:
        return conduct(flags, lambda stage: events_of(stage, None), start, implied)
    try:
        session = find(again, flags, command)
    except AgentError as error:
        return refuse(error, flags, start)
    known = {name: value for name, value in mapping(session.kept.get("flags")).items() if name in OPTIONS}
    cwd = {"cd": str(session.started.get("cwd", ""))}
    ways = tuple(name for name in _WAYS if known.get(name) and name not in flags)
    past = Past(session, again.fork, ways)
    return conduct({**known, **cwd, **flags}, lambda stage: events_of(stage, past), start, implied)


def refuse(error: AgentError, flags: Mapping[str, object], start: Mapping[str, str] | None) -> int:
    """The exit code of a run that ends before it begins."""

    def events(stage: Stage) -> Generator[Event]:
        raise error
        yield

    return conduct(flags, events, start)


def memo(stage: Stage, task: str, dialect: Dialect) -> Memo:
    """What the session must know of this run to go on."""
    asked = {"system": dialect.system, "end": dialect.end, "tools": dialect.options.get("tools")}
    return Memo({"task": task, "top": str(stage.top), "flags": dict(_flags(stage.settings)), **asked})


def spend(stage: Stage, session: journal.Session) -> None:
    """What was spent before counts: turns, tokens, money, and time. Raises UsageError if that cannot be."""
    if stage.settings.record:
        raise UsageError("--record keeps a session from its beginning; it cannot begin in the middle of one")
    tally = stage.tally
    for event in session.events:
        if isinstance(event, Said | Discarded | Verified):
            tally(event)
    tally.base_commit = mapping(session.started.get("git")).get("head")
    tally.started = time.monotonic() - session.seconds
    if stage.settings.max_wall_time is not None:
        stage.signals.limit(stage.settings.max_wall_time - session.seconds)


def spent(session: journal.Session) -> tuple[int, int, bool]:
    """Turns and calls until now, and whether the model was told to come to an end."""
    results = [message for message in session.messages if isinstance(message, ToolResult)]
    turns = sum(isinstance(message, Assistant) for message in session.messages)
    return turns, len(results), any(_LANDING in result.note for result in results)


def steps(session: journal.Session) -> Iterator[Json]:
    """What was done to the conversation before it was sent, in order."""
    for event in session.events:
        if isinstance(event, Memo) and "fitted" in event.values:
            yield mapping(event.values["fitted"])


def told(session: journal.Session, dialect: Dialect, stage: Stage) -> tuple[Dialect, list[str]]:
    """The dialect with the system prompt of before, if it can be the same; what to say of what is not."""
    notices: list[str] = []
    if wider := " ".join(_wider(mapping(session.kept.get("flags")), stage.settings)):
        notices.append(f"the session goes on with what it was begun with: {wider}")
    if session.damaged:
        notices.append(f"the session's journal has {session.damaged} damaged lines, which are left out")
    model = string(session.started.get("model"))
    if dialect.model.name != model:
        notices.append(f"the session goes on with {dialect.model.name}; until now it was {model}")
    if session.kept.get("tools") != dialect.options.get("tools"):
        notices.append("the tools are not those that the session began with; it is told so")
        return dialect, notices
    flags, now = mapping(session.kept.get("flags")), dict(_flags(stage.settings))
    if any(flags.get(name) != now.get(name) for name in _TOLD):
        notices.append("the instructions are not those that the session began with; it is told the new ones")
        return dialect, notices
    kept = session.kept
    return dialect._replace(system=string(kept.get("system")), end=string(kept.get("end"))), notices


def _wider(flags: Json, settings: Settings) -> Iterator[str]:
    """What of the session's flags lets it do more than is usual, as it is typed, if it still holds."""
    now = dict(_flags(settings))
    for name in _WIDER:
        value = now.get(name)
        if not value or value != flags.get(name) or _is_usual(name, value):
            continue
        option = f"--{name.replace('_', '-')}"
        values = [""] if value is True else sequence(value) or [value]
        yield from (f"{option} {shlex.quote(str(one))}" if one else option for one in values)


def _is_usual(name: str, value: object) -> bool:
    if name == "sandbox":
        return value != "danger-full-access"
    return name == "base_url" and str(value).startswith("http:") and config.is_private(str(value))


def recalling(session: journal.Session, kit: Kit, workspace: Workspace, writes: Intents) -> list[Tool]:
    """The tools of `kit`, which remember what the interrupted run did, and tell what has changed since."""
    changed = set(_changed(session, kit, workspace))
    known = dict(_known(session, kit, workspace))
    for output in known.values():
        changed -= {change["path"] for change in output.details.get("changes", [])}
    names = ", ".join(sorted(changed))
    note = _Note(
        f"\n\n[note: the run was interrupted; meanwhile {names} changed on disk: read again what you need]"
        if changed
        else ""
    )
    return [_recalling(tool, known, writes, note) for tool in kit.tools]


class _Note:
    """A text that is said once, by whichever tool speaks first."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lock = threading.Lock()

    def take(self) -> str:
        with self._lock:
            text, self._text = self._text, ""
            return text


def _recalling(tool: Tool, known: dict[str, ToolOutput], writes: Intents, note: _Note) -> Tool:
    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        # calls that change something run alone, so that the one which started last is this
        output = None if tool.reads_only else known.pop(writes.call, None)
        if output is None:
            output = tool.run(arguments, cancel)
        return output._replace(content=output.content + note.take())

    return tool._replace(run=run)


def _known(session: journal.Session, kit: Kit, workspace: Workspace) -> Iterator[tuple[str, ToolOutput]]:
    """Outcomes of calls that had begun: a change that is on record was made; a command is never run twice."""
    begun = {event.call.id for event in session.events if isinstance(event, ToolStarted)}
    tools = {tool.name: tool for tool in kit.tools}
    record = intents.read(stores.last_change(session.folder))
    for call in open_calls(session.messages):
        tool = tools.get(call.name)
        if call.id not in begun or tool is None or tool.reads_only:
            continue
        if "command" in tool.parameters["properties"]:
            yield call.id, ToolOutput(_UNKNOWN, ok=False)
        elif record and record.call == call.id:
            yield call.id, _made(call, record, kit, workspace)


def _made(call: ToolCall, record: intents.Intent, kit: Kit, workspace: Workspace) -> ToolOutput:
    for file in record.files:
        with suppress(ToolError):
            if file.after is not None:
                kit.seen.note(file.path, workspace.read(file.path).text)
    kinds = [
        "create" if file.before is None else "delete" if file.after is None else "update"
        for file in record.files
    ]
    changes = [{"path": file.path, "kind": kind} for file, kind in zip(record.files, kinds, strict=True)]
    paths = ", ".join(file.path for file in record.files)
    said = f"{call.name} done: {paths} (the run was interrupted just after it, and went on from here)"
    return ToolOutput(said, details={"changes": changes})


def _changed(session: journal.Session, kit: Kit, workspace: Workspace) -> Iterator[str]:
    """The files that the model knew and that were changed since the run was interrupted."""
    for path, digest in _seen(session).items():
        kit.seen.restore(path, digest)
        try:
            changed = (workspace.root / path).lstat().st_ctime
            text = workspace.read(path).text
        except (OSError, ToolError):
            yield path
            continue
        if changed > session.ended and not kit.seen.unchanged(path, text):
            yield path


def _seen(session: journal.Session) -> dict[str, str]:
    found: dict[str, str] = {}
    for message in session.messages:
        if isinstance(message, ToolResult):
            found |= {
                path: digest
                for path, digest in mapping(message.details.get("seen")).items()
                if isinstance(digest, str)
            }
    return found


def _flags(settings: Settings) -> Iterator[tuple[str, object]]:
    """The flags of this run, as they can be given again."""
    for name, origin in settings.origins.items():
        value = getattr(settings, name)
        if origin != "flag" or name in _OF_ONE_RUN:
            continue
        if isinstance(value, tuple):
            value = sequence(list(value))  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(value, float):
            value = str(int(value) if value.is_integer() else value)
        yield name, value
