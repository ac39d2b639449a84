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

from .. import __version__, bounds, config, dialects, instructions, journal, repository, structured, tools
from ..agent import Agent
from ..client import Client
from ..dialects import Dialect, Wish
from ..errors import UsageError
from ..history import is_over, open_calls
from ..intents import Intents
from ..journal import Journal
from ..settings import Settings
from ..structured import Answer
from ..transport import Transport
from ..types import Cap, Event, Json, Memo, Message, Started, Stopped, Tool, ToolStarted
from ..workspace import Workspace
from . import artefacts, resuming, stores, strangers
from .conduct import Stage
from .confinement import Confinement, fence_files, open_workspace
from .connection import choose_model, connect, open_client, require_price
from .resuming import Past
from .task import Task

_TURNS = {"fix": 150, "ask": 40}
_TOOL_CALLS = 1000


class Brief(NamedTuple):
    """What the system prompt is made of: the environment, the project's own instructions, the user's rules.

    `schema` is what the answer must fit, if anything.
    """

    session: str
    command: str
    facts: list[str]
    told: list[instructions.Instruction]
    rules: list[str]
    schema: Json | None


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
    restart: Callable[[], None]  # to be called when the history begins anew


def open_session(
    stage: Stage, command: str, task: Task, confinement: Confinement, past: Past | None = None
) -> Session:
    """Builds the parts; from here on events are journaled. Raises AgentError before anything is sent."""
    settings, git = stage.settings, repository.describe(stage.top)
    _check(settings, git)
    if past:
        resuming.spend(stage, past.session)
    answer = Answer(structured.load(settings.json_schema)) if settings.json_schema else None
    stage.endings += [lambda: _take_answer(stage, answer), lambda: _keep_answer(stage)]
    provider, model = choose_model(settings)
    require_price(settings, provider, model)
    stage.budget.caps = _caps(settings, command)
    transport = connect(settings, provider)
    folder = _open_journal(stage, past)
    intents = _announced(stage, folder)
    workspace = open_workspace(stage, None if stage.replica else intents)
    built = tools.build(command, workspace, folder, confinement.run, fence_files(stage, folder, command))
    kit = [*built.tools, answer.tool()] if answer else built.tools
    facts, told = _facts(stage.top, git), _instructions(stage, workspace)
    brief = Brief(folder.name, command, facts, told, _rules(settings, command), answer and answer.schema)
    dialect, notices = _dialect(stage, kit, brief, past)
    client = open_client(stage, kit, dialect, transport, built.forget)
    _equip(stage, client, transport, brief)
    if past:
        client.go_on(past.session.messages, resuming.steps(past.session))
        kit = [*resuming.recalling(past.session, built, workspace, intents), *kit[len(built.tools) :]]
    agent = _agent(stage, [stage.notes.pass_on(tool) for tool in kit], client)
    started = replace(
        _started(stage, command, dialect, transport.host, agent),
        session_id=folder.name,
        git=git,
        stdin=task.stdin,
        sandbox=confinement.record(),
        instructions=[instruction.record() for instruction in told],
    )
    notices += [*confinement.notices, *_warnings(stage, task, dialect)]
    memo = resuming.memo(stage, task.text or (past.task if past else ""), dialect)
    history, restart = _history(stage, past), client.fitter.restart
    return Session(folder, agent, history, started, notices, answer, workspace, memo, restart)


def _check(settings: Settings, git: Json | None) -> None:
    artefacts.check(settings)
    if not settings.allow_fork:
        strangers.require_none(config.environment(), (git or {}).get("head"))


def _equip(stage: Stage, client: Client, transport: Transport, brief: Brief) -> None:
    """What only some sessions have: a way on without tools, and a recording."""
    if brief.schema and brief.command == "ask":  # which may then answer from what it was told alone
        more = stage.settings.append_system_prompt
        client.without_tools = in_json(more, brief.schema, brief.facts, brief.told)
    if stage.settings.record:
        from . import record  # which few runs need

        record.begin(stage, client, transport, {**brief._asdict(), "told": [list(one) for one in brief.told]})


def _announced(stage: Stage, folder: Path) -> Intents:
    """Records of changes, each under the call that started last: calls that change files run alone."""
    intents = stores.intents(stage.top, None if stage.settings.ephemeral else stores.last_change(folder))

    def announce(event: Event) -> None:
        if isinstance(event, ToolStarted):
            intents.call = event.call.id

    stage.first.append(announce)
    return intents


def _dialect(stage: Stage, kit: Sequence[Tool], brief: Brief, past: Past | None) -> tuple[Dialect, list[str]]:
    settings = stage.settings
    end, framed = instructions.frame(brief.session)
    extra = [framed, *brief.rules]
    system = instructions.system_prompt(brief.command, kit, brief.facts, brief.told, extra, end)
    wish = Wish(settings.thinking, settings.effort, settings.temperature, settings.max_tokens)
    dialect, notices = dialects.dialect(*choose_model(settings), system, kit, wish)
    dialect = dialect._replace(end=end)
    if past:
        dialect, said = resuming.told(past.session, dialect, stage)
        notices += said
    return dialect, notices


def _history(stage: Stage, past: Past | None) -> list[Message]:
    """What the session goes on from; what it took counts."""
    if past is None:
        return []
    stage.budget.go_on(*resuming.spent(past.session), stage.tally.started)
    return past.session.messages


def work(stage: Stage, session: Session, prompt: str | None) -> Generator[Event, None, bool]:
    """The agent until it is done and its answer fits the schema, if any; False if a cap stopped it.

    Without `prompt` it goes on from where the history ends.
    """
    answer = session.answer
    if answer:
        answer.withdraw()
    yield from _proceed(session.agent, session.history, prompt)
    while stage.tally.is_done and (note := stage.notes.take()):  # nothing was called that could pass it on
        yield from session.agent.run(session.history, note)
    while answer and stage.tally.is_done and (again := answer.demand(stage.tally.answer)) is not None:
        yield from session.agent.run(session.history, again)
    return stage.tally.is_done


def _rules(settings: Settings, command: str) -> list[str]:
    limits = bounds.of(settings).told() if command == "fix" else None
    said = (limits, settings.json_schema and structured.INSTRUCTION, settings.append_system_prompt)
    return [text for text in said if text]


def _proceed(agent: Agent, history: list[Message], prompt: str | None) -> Generator[Event]:
    """The agent, once the calls that an interrupted run left are answered."""
    final = False
    if calls := open_calls(history):
        final = yield from agent.answer(history, calls)
    if prompt is None and (final or is_over(history)):
        yield Stopped("done", agent.budget.turns)
    else:
        yield from agent.run(history, prompt)


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


def _open_journal(stage: Stage, past: Past | None) -> Path:
    """The session's folder, with a journal that takes every event before the views do."""
    stores.keep_out_of(stage.top, config.state_home())
    if stage.settings.ephemeral:
        return _open_ephemeral(stage, past)
    beside = config.state_home() / "sessions"
    folder = past.open() if past else beside / journal.new_id(beside)
    kept = Journal(folder, stage.redact, again=past is not None)
    stage.first.append(kept)
    stage.closers.insert(0, kept.close)
    return folder


def _open_ephemeral(stage: Stage, past: Past | None) -> Path:
    if past:
        raise UsageError("--ephemeral keeps nothing, so no session can go on with it; leave it out")
    import tempfile  # 14 ms

    home = Path(tempfile.mkdtemp(prefix="glm-agent-"))
    stores.keep_out_of(stage.top, home)
    stage.closers.append(lambda: shutil.rmtree(home, ignore_errors=True))
    folder = home / journal.new_id(home)
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
