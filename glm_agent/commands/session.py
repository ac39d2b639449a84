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
from ..errors import RepositoryError
from ..journal import Journal
from ..settings import Settings
from ..structured import Answer
from ..transport import Transport
from ..types import Cap, Event, Json, Message, Started, Tool
from ..workspace import Workspace
from . import artefacts
from .conduct import Stage
from .confinement import Confinement, fence_files, open_workspace
from .connection import choose_model, connect, open_client, require_price
from .judgement import bounds_of
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
    require_price(settings, provider, model)
    stage.budget.caps = _caps(settings, command)
    transport = connect(settings, provider)
    folder = _open_journal(stage)
    workspace = open_workspace(stage)
    fence = fence_files(stage, folder, writes=command == "fix")
    built = tools.build(command, workspace, folder, confinement.run, fence)
    kit = [*built.tools, answer.tool()] if answer else built.tools
    told = _instructions(stage, workspace)
    end, framed = instructions.frame(folder.name)
    facts, rules = _facts(stage.top, git), _rules(settings, command, answer)
    system = instructions.system_prompt(command, kit, facts, told, [framed, *rules])
    wish = Wish(settings.thinking, settings.effort, settings.temperature, settings.max_tokens)
    dialect, notices = dialects.dialect(provider, model, system, kit, wish)
    client = open_client(stage, kit, dialect._replace(end=end), transport, built.forget)
    setup = {"session": folder.name, "facts": facts, "told": told, "rules": rules}
    _equip(stage, client, transport, {**setup, "command": command, "schema": answer and answer.schema})
    agent = _agent(stage, [stage.notes.pass_on(tool) for tool in kit], client)
    started = _started(stage, command, dialect, transport.host, agent)
    started.session_id, started.git, started.stdin = folder.name, git, task.stdin
    started.sandbox = confinement.record()
    started.instructions = [instruction.record() for instruction in told]
    notices += [*confinement.notices, *_warnings(stage, task, dialect)]
    return Session(folder, agent, [], started, notices, answer, workspace)


def _equip(stage: Stage, client: Client, transport: Transport, setup: Json) -> None:
    """What only some sessions have: a way on without tools, and a recording."""
    if setup["schema"] and setup["command"] == "ask":  # which may then answer from what it was told alone
        more = stage.settings.append_system_prompt
        client.without_tools = in_json(more, setup["schema"], setup["facts"], setup["told"])
    if stage.settings.record:
        from . import record  # which few runs need

        record.begin(stage, client, transport, {**setup, "told": [list(one) for one in setup["told"]]})


def work(stage: Stage, session: Session, prompt: str) -> Generator[Event, None, bool]:
    """The agent until it is done and its answer fits the schema, if any; False if a cap stopped it."""
    answer = session.answer
    if answer:
        answer.withdraw()
    yield from session.agent.run(session.history, prompt)
    while stage.tally.is_done and (note := stage.notes.take()):  # nothing was called that could pass it on
        yield from session.agent.run(session.history, note)
    while answer and stage.tally.is_done and (again := answer.demand(stage.tally.answer)) is not None:
        yield from session.agent.run(session.history, again)
    return stage.tally.is_done


def _rules(settings: Settings, command: str, answer: Answer | None) -> list[str]:
    limits = bounds_of(settings).told() if command == "fix" else None
    said = (limits, answer and structured.INSTRUCTION, settings.append_system_prompt)
    return [text for text in said if text]


def in_json(
    more: str | None, schema: Json, facts: list[str], told: list[instructions.Instruction]
) -> Callable[[Dialect], Dialect]:
    """Turns a dialect into one without tools, whose answers are JSON; `more` is the user's own text."""

    def change(dialect: Dialect) -> Dialect:
        options, words = structured.json_mode(dialect.options, schema)
        extra = [text for text in (words, more) if text]
        system = instructions.system_prompt("ask", [], facts, told, extra)
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


def _open_journal(stage: Stage) -> Path:
    """The session's folder, with a journal that takes every event before the views do."""
    home = config.state_home() / "sessions"
    _keep_out_of(stage.top, config.state_home())
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
    if stage.settings.ephemeral:
        import tempfile  # 14 ms

        home = Path(tempfile.mkdtemp(prefix="glm-agent-"))
        _keep_out_of(stage.top, home)
        stage.closers.append(lambda: shutil.rmtree(home, ignore_errors=True))
    journal = Journal(home / name, stage.redact)
    stage.first.append(journal)
    stage.closers.insert(0, journal.close)
    return home / name


def _keep_out_of(top: Path, folder: Path) -> None:
    """What we keep is no part of the repository: beneath `top`, `folder` is made to ignore itself."""
    if not folder.resolve().is_relative_to(top.resolve()):
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / ".gitignore").open("x") as file:
            file.write("*\n")
    except FileExistsError:
        return
    except OSError as error:
        raise RepositoryError(f"cannot write to {folder}: {error.strerror}") from error


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


def _agent(stage: Stage, kit: Sequence[Tool], client: Client) -> Agent:
    return Agent(
        complete=client.complete,
        tools={tool.name: tool for tool in kit},
        budget=stage.budget,
        cancel=stage.cancel,
    )


def _caps(settings: Settings, command: str) -> dict[Cap, float]:
    caps: dict[Cap, float | None] = {
        "max_turns": _cap(settings, "max_turns", _TURNS[command]),
        "max_tool_calls": _cap(settings, "max_tool_calls", _TOOL_CALLS),
        "max_wall_time": settings.max_wall_time,
        "max_total_tokens": settings.max_total_tokens,
        "max_budget_usd": settings.max_budget_usd,
    }
    return {cap: most for cap, most in caps.items() if most is not None}


def _cap(settings: Settings, name: str, usual: int) -> int:
    """A cap that was asked for, else the usual one; a repository can only lower it."""
    asked: int | None = getattr(settings, name)
    if asked is None:
        return usual
    return min(asked, usual) if config.from_repository(settings, name) else asked


def _started(stage: Stage, command: str, dialect: Dialect, host: str, agent: Agent) -> Started:
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
        caps={**stage.budget.caps},
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
