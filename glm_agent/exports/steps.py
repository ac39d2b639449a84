"""A session's messages as steps: each turn of the model together with what its calls gave."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import NamedTuple

from ..journal import Session
from ..render.words import duration, money
from ..shape import mapping, sequence
from ..types import Assistant, Json, Message, ToolCall, ToolResult, User
from ..veil import uncover


class Done(NamedTuple):
    """A call and what it gave: None if the session ended before."""

    call: ToolCall
    result: ToolResult | None


class Step(NamedTuple):
    """What the user or the model said; `done` are the model's calls, in order."""

    said: User | Assistant
    done: list[Done]

    @property
    def text(self) -> str:
        """For people, as it is meant."""
        text = self.said.text if isinstance(self.said, User) else uncover(self.said.text)
        return text.strip()


def steps(messages: list[Message]) -> Iterator[Step]:
    """Every message once, in order; a result that no call of its turn asked for is left out."""
    said: User | Assistant | None = None
    results: list[ToolResult] = []
    for message in messages:
        if isinstance(message, ToolResult):
            results.append(message)
            continue
        if said is not None:
            yield _step(said, results)
        said, results = message, []
    if said is not None:
        yield _step(said, results)


def facts(session: Session) -> dict[str, str]:
    """What there is to say of the session as a whole, by name, in order."""
    started, result = session.started, mapping(session.result)
    seconds, cost = (_number(result.get(name)) for name in ("duration_ms", "total_cost_usd"))
    found: Json = {
        "session": session.id,
        "command": started.get("command"),
        "directory": started.get("cwd"),
        "model": started.get("model"),
        "provider": started.get("provider"),
        "outcome": outcome(session),
        "turns": turns(session),
        "files changed": len(sequence(result.get("changes"))),
        "time": duration(seconds / 1000) if seconds else None,
        "cost": money(cost) if cost else None,
    }
    return {name: str(value) for name, value in found.items() if value}


def outcome(session: Session) -> str:
    return str(session.result.get("subtype")) if session.result else "interrupted"


def turns(session: Session) -> int:
    return sum(isinstance(message, Assistant) for message in session.messages)


def _step(said: User | Assistant, results: list[ToolResult]) -> Step:
    """Paired by id, in order: models may give two calls the same one."""
    if isinstance(said, User):
        return Step(said, [])
    given: dict[str, list[ToolResult]] = {}
    for result in reversed(results):
        given.setdefault(result.call_id, []).append(result)
    done = [Done(call, given[call.id].pop() if given.get(call.id) else None) for call in said.calls]
    return Step(said, done)


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and isfinite(value) and value >= 0 else None
