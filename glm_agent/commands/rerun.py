"""A recorded session once more: our own loop with the recorded answers and tool results, and compared.

Nothing is asked, run or read: the provider is the recording, and so are the tools.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .. import dialects, instructions, structured, tools
from ..agent import Agent
from ..budget import Budget, Ledger
from ..client import Client, Step
from ..context import Fitter
from ..dialects import Wish
from ..errors import AgentError, UsageError
from ..instructions import Instruction
from ..replay.recording import Asked, Difference, Recorded, compare, difference
from ..replay.script import Pace, reply
from ..retry import Failure, refusal
from ..sandbox import Ran
from ..shape import mapping, sequence, string
from ..types import Arguments, Assistant, Cap, Discarded, Event, Json, Message, Said, Tool, ToolOutput
from ..workspace import Workspace
from .connection import fitting
from .session import in_json

# outcomes that come from outside of the loop: it would have gone on
_STOPPED = {
    *("error_cancelled", "error_max_turns", "error_max_budget", "error_provider"),
    *("error_during_execution", "error_repository", "error_sandbox"),
}


class Verdict(NamedTuple):
    """`request` is the number of the one that differs; `early` says why the recording ends before the run."""

    requests: int
    results: int
    request: int = 0
    difference: Difference | None = None
    early: str = ""


class _Differs(AgentError):
    def __init__(self, found: Difference) -> None:
        super().__init__(found.part)
        self.found = found


class _Over(AgentError):
    """There is no more of the recording, or not for this prompt."""


def rerun(recorded: Recorded, folder: Path) -> Verdict:
    """How far it goes the same way; `folder` is empty. Raises UsageError where it cannot be begun."""
    player = _Player(recorded)
    client, kit = _open(recorded.start, player, folder)
    agent = Agent(player.through(client), {tool.name: tool for tool in kit}, client.budget)
    history: list[Message] = []
    try:
        for number, prompt in enumerate(recorded.prompts, 1):
            player.prompt = number
            try:
                for event in agent.run(history, prompt):
                    player.note(event, client.budget.ledger)
            except _Over:
                continue
        early = player.end()
    except _Differs as differs:
        return Verdict(player.asked, player.given, max(1, player.asked), differs.found)
    except AgentError as error:
        if recorded.end in (None, error.subtype):
            return Verdict(player.asked, player.given)
        found = Difference("the outcome", [f"-{recorded.end}", f"+{error.subtype}: {error}"])
        return Verdict(player.asked, player.given, max(1, player.asked), found)
    return Verdict(player.asked, player.given, early=early)


@dataclass(slots=True)
class _Player:
    """Provider and tools in one; `prompt` is the number of the one being worked on."""

    recorded: Recorded
    prompt: int = 0
    asked: int = 0
    given: int = 0  # tool results
    turns: int = 0
    _sent: list[Json] = field(default_factory=list[Json])
    _waiting: list[tuple[str, str, Json]] = field(default_factory=list[tuple[str, str, Json]])

    def send(self, body: Json) -> Iterator[bytes]:
        """The recorded answer to a request that is the recorded one. Raises _Differs if it is not."""
        one = self._next()
        self._sent[one.request.same :] = one.request.messages
        self.asked += 1
        if found := difference({**one.request.head, "messages": self._sent}, body):
            raise _Differs(found)
        if one.answer is None:
            raise _Over
        return _answer(one.answer, self.asked, body)

    def through(self, client: Client) -> _Complete:
        return _Complete(self, client)

    def note(self, event: Event, ledger: Ledger) -> None:
        """Adds up what the run does, and looks at what the model has said as we understand it."""
        if isinstance(event, Discarded):
            ledger.charge(event.turn.usage)
        elif isinstance(event, Said) and isinstance(event.message, Assistant):
            ledger.charge(event.message.usage)

    def expect(self, turn: Assistant) -> None:
        """Compares a turn as it was understood, and lays out the results of its calls."""
        if self.turns >= len(self.recorded.turns):
            raise _Over
        said = self.recorded.turns[self.turns]
        calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in turn.calls]
        had = {"text": turn.text, "calls": calls}
        if (was := {"text": said.get("text"), "calls": said.get("calls")}) != had:
            raise _Differs(Difference("what was understood of the answer", compare(was, had)))
        self.turns += 1
        found = [(call.name, call.arguments, self.recorded.results.get(call.id)) for call in turn.calls]
        if any(result is None for _, _, result in found):
            raise _Over
        self._waiting = [(name, raw, result or {}) for name, raw, result in found]

    def tool(self, tool: Tool) -> Tool:
        """`tool`, which says what it said then; `takes_raw` has the calls come one by one."""

        def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
            wanted = tool.name, arguments["raw"]
            place = next(k for k, (name, raw, _) in enumerate(self._waiting) if (name, raw) == wanted)
            result = self._waiting.pop(place)[2]
            self.given += 1
            details: Json = {"final": True} if result.get("final") else {}
            content, note = string(result.get("content")), string(result.get("note"))
            return ToolOutput(content, result.get("ok") is True, details, note)

        return tool._replace(run=run, takes_raw=True)

    def end(self) -> str:
        """Why the recording ends before the run does, if so. Raises _Differs if there is more of it."""
        recorded, left = self.recorded, len(self.recorded.asked) - self.asked
        if left > 0:
            raise _Differs(Difference("the end", [f"-{left} more requests", "+no more requests"]))
        if recorded.end is None:
            return "the recorded run was cut short"
        return f"the recorded run ended with {recorded.end}" if recorded.end in _STOPPED else ""

    def _next(self) -> Asked:
        recorded = self.recorded
        if self.asked < len(recorded.asked):
            if (one := recorded.asked[self.asked]).request.prompt > self.prompt:
                raise _Over
            return one
        if recorded.end is None or recorded.end in _STOPPED:
            raise _Over
        self.asked += 1
        raise _Differs(Difference("the end", ["-no more requests", "+one more request"]))


class _Complete(NamedTuple):
    """What the loop asks: the client, with each turn compared before anything is made of it."""

    player: _Player
    client: Client

    def __call__(self, history: list[Message]) -> Generator[Step, None, Assistant]:
        turn = yield from self.client.complete(history)
        self.player.expect(turn)
        return turn


def _answer(entry: Json, number: int, body: Json) -> Iterator[bytes]:
    made = reply(entry, number, body, Pace())
    failed = mapping(entry.get("failed"))
    if made.status >= 400 and not failed:
        raise refusal(made.status, _decode(b"".join(made.writes)), made.headers)
    yield from made.writes
    if failed:
        status, wait, tries = (failed.get(name) for name in ("status", "retry_after", "tries"))
        raise Failure(
            string(failed.get("message")),
            status if isinstance(status, int) else None,
            string(failed.get("code")),
            wait if isinstance(wait, int | float) else None,
            tries=tries if isinstance(tries, int) else 8,
        )


def _decode(body: bytes) -> object:
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _open(start: Json, player: _Player, folder: Path) -> tuple[Client, list[Tool]]:
    """The client and the tools, made of this program's own prompts and schemas."""
    command, offered = string(start.get("command")), [string(name) for name in sequence(start.get("tools"))]
    if command not in ("fix", "ask"):
        raise UsageError("the recording is of no command that is known here")
    schema = mapping(start.get("schema"))
    built = tools.build(command, Workspace(folder), folder, _run_nothing if "bash" in offered else None)
    kit = [*built.tools, *([structured.Answer(schema).tool()] if schema else [])]
    facts, rules = ([string(one) for one in sequence(start.get(name))] for name in ("facts", "rules"))
    told = [Instruction(*map(string, sequence(one)[:2])) for one in sequence(start.get("told"))]
    end, framed = instructions.frame(string(start.get("session")))
    system = instructions.system_prompt(command, kit, facts, told, [framed, *rules], end)
    provider = dialects.find_provider(string(start.get("provider")))
    model = dialects.find_model(provider, string(start.get("model")))
    dialect, _ = dialects.dialect(provider, model, system, kit, Wish(**_wish(start)))
    fixed = len(system.encode()) + len(json.dumps(dialect.options.get("tools", [])))
    client = Client(
        dialect._replace(end=end),
        string(start.get("host")),
        player.send,
        Fitter(model.window, dialect.options["max_tokens"], fixed),
        fits=fitting(kit),
        may_raise_limit=_wish(start)["max_tokens"] is None,
        lean=start.get("lean_thinking") is True,
        budget=Budget(Ledger(dialects.price(provider, model)), caps=_caps(start), _told=True),
        sleep=lambda seconds: None,
    )
    if schema and command == "ask":
        more = string(start.get("more")) or None
        client.without_tools = in_json(more, schema, facts, told)
    return client, [player.tool(tool) for tool in kit]


def _run_nothing(command: str, timeout: float, cancel: threading.Event) -> Ran:
    raise AssertionError("a replay runs nothing")


def _wish(start: Json) -> Json:
    given = mapping(start.get("wish"))
    kinds = {"thinking": bool, "effort": str, "temperature": (int, float), "max_tokens": int}
    return {name: given[name] if isinstance(given.get(name), kind) else None for name, kind in kinds.items()}


def _caps(start: Json) -> dict[Cap, float]:
    """Those that decide how long a reply may be: a request says so."""
    given = mapping(start.get("caps"))
    names: tuple[Cap, ...] = ("max_total_tokens", "max_budget_usd")
    return {name: float(given[name]) for name in names if isinstance(given.get(name), int | float)}
