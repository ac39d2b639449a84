"""The parts of a run that talks to a model, built from its settings."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from .. import __version__, config, dialects, instructions, repository, structured, tools
from ..agent import Agent
from ..client import Client
from ..dialects import Dialect, Wish
from ..intents import Intents
from ..journal import Journal
from ..settings import Settings
from ..structured import Answer
from ..types import Event, Json, Message, Started, Tool, ToolStarted
from ..workspace import Workspace
from . import artefacts, state
from .conduct import Stage
from .confinement import Confinement, open_workspace
from .connection import choose_model, connect, open_client
from .task import Task

_TURNS = {"fix": 150, "ask": 40}
_TOOL_CALLS = 1000


class Session(NamedTuple):
    """What a command needs to run the loop; `folder` is the session's own, `notices` are for the user."""

    folder: Path
    agent: Agent
    history: list[Message]
    started: Started
    notices: list[str]
    answer: Answer | None
    workspace: Workspace


def open_session(
    stage: Stage, command: str, task: Task, git: Json | None, confinement: Confinement
) -> Session:
    """Builds the parts; from here on events are journaled. Raises AgentError before anything is sent."""
    settings = stage.settings
    artefacts.check(settings)
    answer = Answer(structured.load(settings.json_schema)) if settings.json_schema else None
    stage.endings += [lambda: _take_answer(stage, answer), lambda: _keep_answer(stage)]
    provider, model = choose_model(settings)
    transport = connect(settings, provider)
    folder = _open_journal(stage)
    intents = state.intents(stage.top, None if settings.ephemeral else folder / "written.json")
    stage.first.append(lambda event: _announce(intents, event))
    workspace = open_workspace(stage, intents)
    built = tools.build(command, workspace, folder, confinement.run)
    kit = [*built.tools, answer.tool()] if answer else built.tools
    told = _instructions(stage, workspace)
    extra = [text for text in (answer and structured.INSTRUCTION, settings.append_system_prompt) if text]
    system = instructions.system_prompt(command, kit, _facts(stage.top, git), told, extra)
    wish = Wish(settings.thinking, settings.effort, settings.temperature, settings.max_tokens)
    dialect, notices = dialects.dialect(provider, model, system, kit, wish)
    client = open_client(stage, kit, dialect, transport, built.forget)
    if answer and command == "ask":  # which may then answer from what it was told alone
        client.without_tools = _in_json(stage, answer.schema, _facts(stage.top, git), told)
    agent = _agent(stage, command, kit, client)
    started = _started(stage, command, dialect, transport.host, agent)
    started.session_id, started.git, started.stdin = folder.name, git, task.stdin
    started.sandbox = confinement.record()
    started.instructions = [instruction.record() for instruction in told]
    notices += [*confinement.notices, *_warnings(stage, task, dialect)]
    return Session(folder, agent, [], started, notices, answer, workspace)


def work(stage: Stage, session: Session, prompt: str) -> Generator[Event, None, bool]:
    """The agent until it is done and its answer fits the schema, if any; False if a cap stopped it."""
    answer = session.answer
    if answer:
        answer.withdraw()
    yield from session.agent.run(session.history, prompt)
    while answer and stage.tally.is_done and (again := answer.demand(stage.tally.answer)) is not None:
        yield from session.agent.run(session.history, again)
    return stage.tally.is_done


def _in_json(
    stage: Stage, schema: Json, facts: list[str], told: list[instructions.Instruction]
) -> Callable[[Dialect], Dialect]:
    def change(dialect: Dialect) -> Dialect:
        options, words = structured.json_mode(dialect.options, schema)
        extra = [text for text in (words, stage.settings.append_system_prompt) if text]
        system = instructions.system_prompt("ask", [], facts, told, extra)
        return dialect._replace(system=system, options=options)

    return change


def _announce(intents: Intents, event: Event) -> None:
    """The call that starts is what the next change is made for: calls that change files run alone."""
    if isinstance(event, ToolStarted):
        intents.call = event.call.id


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


def _open_journal(stage: Stage) -> Path:
    """The session's folder, with a journal that takes every event before the views do."""
    home = config.state_home() / "sessions"
    state.keep_out_of(stage.top, config.state_home())
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
    if stage.settings.ephemeral:
        import tempfile  # 14 ms

        home = Path(tempfile.mkdtemp(prefix="glm-agent-"))
        state.keep_out_of(stage.top, home)
        stage.closers.append(lambda: shutil.rmtree(home, ignore_errors=True))
        folder = home / name
        folder.mkdir(mode=0o700)
        return folder
    journal = Journal(home / name, stage.redact)
    stage.first.append(journal)
    stage.closers.insert(0, journal.close)
    return home / name


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
