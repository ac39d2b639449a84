"""The parts of a run that talks to a model, built from its settings."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from .. import __version__, config, dialects, instructions, journal, repository, structured, tools
from ..agent import Agent
from ..client import Client
from ..dialects import Dialect, Wish
from ..errors import UsageError
from ..history import is_over, open_calls
from ..intents import Intents
from ..journal import Journal
from ..settings import Settings
from ..structured import Answer
from ..types import Event, Json, Memo, Message, Started, Stopped, Tool, ToolStarted
from ..workspace import Workspace
from . import artefacts, resuming, state
from .conduct import Stage
from .confinement import Confinement, open_workspace
from .connection import choose_model, connect, open_client
from .resuming import Past
from .task import Task

_TURNS = {"fix": 150, "ask": 40}
_TOOL_CALLS = 1000


class Brief(NamedTuple):
    """What the system prompt says of this place: the environment, and the project's own instructions."""

    facts: list[str]
    told: list[instructions.Instruction]


class Session(NamedTuple):
    """What a command needs to run the loop; `folder` is the session's own, `notices` are for the user."""

    folder: Path
    agent: Agent
    history: list[Message]
    started: Started
    notices: list[str]
    answer: Answer | None
    workspace: Workspace
    memo: Memo


def open_session(
    stage: Stage, command: str, task: Task, confinement: Confinement, past: Past | None = None
) -> Session:
    """Builds the parts; from here on events are journaled. Raises AgentError before anything is sent."""
    settings, git = stage.settings, repository.describe(stage.top)
    artefacts.check(settings)
    if past:
        resuming.spend(stage, past.session)
    answer = Answer(structured.load(settings.json_schema)) if settings.json_schema else None
    stage.endings += [lambda: _take_answer(stage, answer), lambda: _keep_answer(stage)]
    transport = connect(settings, choose_model(settings)[0])
    folder = _open_journal(stage, past)
    intents = _announced(stage, folder)
    workspace = open_workspace(stage, intents)
    built = tools.build(command, workspace, folder, confinement.run)
    kit = [*built.tools, answer.tool()] if answer else built.tools
    brief = Brief(_facts(stage.top, git), _instructions(stage, workspace))
    dialect, notices = _dialect(stage, command, kit, brief, past)
    client = open_client(stage, kit, dialect, transport, built.forget)
    if answer and command == "ask":  # which may then answer from what it was told alone
        client.without_tools = _in_json(stage, answer.schema, brief)
    if past:
        client.go_on(past.session.messages, resuming.steps(past.session))
        kit = [*resuming.recalling(past.session, built, workspace, intents), *kit[len(built.tools) :]]
    agent = _agent(stage, command, kit, client)
    started = replace(
        _started(stage, command, dialect, transport.host, agent),
        session_id=folder.name,
        git=git,
        stdin=task.stdin,
        sandbox=confinement.record(),
        instructions=[instruction.record() for instruction in brief.told],
    )
    notices += [*confinement.notices, *_warnings(stage, task, dialect)]
    memo = resuming.memo(stage, task.text or (past.task if past else ""), dialect)
    return Session(folder, agent, _history(agent, past), started, notices, answer, workspace, memo)


def _announced(stage: Stage, folder: Path) -> Intents:
    """Records of changes, each under the call that started last: calls that change files run alone."""
    intents = state.intents(stage.top, None if stage.settings.ephemeral else folder / "written.json")

    def announce(event: Event) -> None:
        if isinstance(event, ToolStarted):
            intents.call = event.call.id

    stage.first.append(announce)
    return intents


def _dialect(
    stage: Stage, command: str, kit: Sequence[Tool], brief: Brief, past: Past | None
) -> tuple[Dialect, list[str]]:
    settings = stage.settings
    extra = [structured.INSTRUCTION] if settings.json_schema else []
    extra += [settings.append_system_prompt] if settings.append_system_prompt else []
    system = instructions.system_prompt(command, kit, brief.facts, brief.told, extra)
    wish = Wish(settings.thinking, settings.effort, settings.temperature, settings.max_tokens)
    dialect, notices = dialects.dialect(*choose_model(settings), system, kit, wish)
    if past:
        dialect, said = resuming.told(past.session, dialect, stage)
        notices += said
    return dialect, notices


def _history(agent: Agent, past: Past | None) -> list[Message]:
    """What the session goes on from; what it took counts."""
    if past is None:
        return []
    agent.turns, agent.calls, agent.told_to_land = resuming.spent(past.session)
    return past.session.messages


def work(stage: Stage, session: Session, prompt: str | None) -> Generator[Event, None, bool]:
    """The agent until it is done and its answer fits the schema, if any; False if a cap stopped it.

    Without `prompt` it goes on from where the history ends.
    """
    answer = session.answer
    if answer:
        answer.withdraw()
    yield from _proceed(session.agent, session.history, prompt)
    while answer and stage.tally.is_done and (again := answer.demand(stage.tally.answer)) is not None:
        yield from session.agent.run(session.history, again)
    return stage.tally.is_done


def _proceed(agent: Agent, history: list[Message], prompt: str | None) -> Generator[Event]:
    """The agent, once the calls that an interrupted run left are answered."""
    final = False
    if calls := open_calls(history):
        final = yield from agent.answer(history, calls)
    if prompt is None and (final or is_over(history)):
        yield Stopped("done", agent.turns)
    elif prompt is None and history and agent.calls >= agent.max_tool_calls:
        yield Stopped("max_tool_calls", agent.turns)
    else:
        yield from agent.run(history, prompt)


def _in_json(stage: Stage, schema: Json, brief: Brief) -> Callable[[Dialect], Dialect]:
    def change(dialect: Dialect) -> Dialect:
        options, words = structured.json_mode(dialect.options, schema)
        extra = [text for text in (words, stage.settings.append_system_prompt) if text]
        system = instructions.system_prompt("ask", [], brief.facts, brief.told, extra)
        return dialect._replace(system=system, options=options)

    return change


def _take_answer(stage: Stage, answer: Answer | None) -> None:
    """What fits the schema is the result; a model that was done without it has failed."""
    tally = stage.tally
    if answer and answer.found:
        tally.structured_output = answer.value
        tally.answer = json.dumps(answer.value, ensure_ascii=False)
    elif answer and tally.is_done:
        tally.note("error_schema", answer.complaint)


def _keep_answer(stage: Stage) -> None:
    if file := stage.settings.output_last_message:
        answer = stage.redact(stage.tally.answer)
        artefacts.write(file, f"{answer}\n".encode(errors="backslashreplace") if answer else b"")


def _open_journal(stage: Stage, past: Past | None) -> Path:
    """The session's folder, with a journal that takes every event before the views do."""
    state.keep_out_of(stage.top, config.state_home())
    if stage.settings.ephemeral:
        return _open_ephemeral(stage, past)
    folder = past.open() if past else config.state_home() / "sessions" / journal.new_id()
    kept = Journal(folder, stage.redact, again=past is not None)
    stage.first.append(kept)
    stage.closers.insert(0, kept.close)
    return folder


def _open_ephemeral(stage: Stage, past: Past | None) -> Path:
    if past:
        raise UsageError("--ephemeral keeps nothing, so no session can go on with it; leave it out")
    import tempfile  # 14 ms

    home = Path(tempfile.mkdtemp(prefix="glm-agent-"))
    state.keep_out_of(stage.top, home)
    stage.closers.append(lambda: shutil.rmtree(home, ignore_errors=True))
    folder = home / journal.new_id()
    folder.mkdir(mode=0o700)
    return folder


def _instructions(stage: Stage, workspace: Workspace) -> list[instructions.Instruction]:
    if stage.settings.bare or not stage.settings.agents_md:
        return []
    return instructions.find(workspace, stage.folder.relative_to(stage.top).as_posix())


def _facts(root: Path, git: Json | None) -> list[str]:
    """The environment block of the system prompt: nothing in it changes within a session."""
    branch = (git or {}).get("branch")
    state = f"git branch {branch}" if branch else "a git repository" if git else "not a git repository"
    return [
        f"Root: {root} ({state})",
        f"System: {platform.system()} {platform.machine()}, /bin/sh",
        f"Date: {time.strftime('%Y-%m-%d')}",
    ]


def _agent(stage: Stage, command: str, kit: Sequence[Tool], client: Client) -> Agent:
    settings = stage.settings
    return Agent(
        complete=client.complete,
        tools={tool.name: tool for tool in kit},
        max_turns=_cap(settings, "max_turns", _TURNS[command]),
        max_tool_calls=_cap(settings, "max_tool_calls", _TOOL_CALLS),
        cancel=stage.cancel,
    )


def _cap(settings: Settings, name: str, usual: int) -> int:
    """A cap that was asked for, else the usual one; a repository can only lower it."""
    asked: int | None = getattr(settings, name)
    if asked is None:
        return usual
    return min(asked, usual) if config.from_repository(settings, name) else asked


def _started(stage: Stage, command: str, dialect: Dialect, host: str, agent: Agent) -> Started:
    caps: Json = {"max_turns": agent.max_turns, "max_tool_calls": agent.max_tool_calls}
    if stage.settings.max_wall_time is not None:
        caps["max_wall_time"] = stage.settings.max_wall_time
    return Started(
        session_id="",
        cwd=str(stage.folder),
        command=command,
        model=dialect.model.name,
        provider=dialect.provider.name,
        base_url_host=host,
        tools=list(agent.tools),
        sandbox={},
        git=None,
        caps=caps,
        stdin="none",
        instructions=[],
        version=__version__,
    )


def _warnings(stage: Stage, task: Task, dialect: Dialect) -> list[str]:
    found = repository.warnings(stage.top)
    if task.stdin == "skipped":
        found.append("stdin is an open pipe without data and was not read; --stdin waits for it")
    if dialect.provider.own_models and not dialect.model.known:
        name = dialect.model.name
        found.append(f"model {name} is not in our table: asked with cautious defaults, cost unknown")
    if ignored := ", ".join(stage.settings.ignored):
        found.append(f"{ignored} in an env file is ignored: it may hold keys only; export it, or use a flag")
    return found
