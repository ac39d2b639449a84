"""`sessions`: what is kept of earlier runs."""

from __future__ import annotations

from pathlib import Path

from .. import config, journal
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


def _list(as_data: bool) -> str:
    rows = [_summary(journal.load(folder)) for folder in journal.sessions(config.state_home())]
    if as_data:
        return as_json(rows)
    if not rows:
        return "no sessions yet\n"
    head = ("SESSION", "COMMAND", "OUTCOME", "TURNS", "TASK")
    lines = [(row["id"], row["command"], row["outcome"], str(row["turns"]), row["task"][:60]) for row in rows]
    return table(head, lines)


def _summary(session: Session) -> Json:
    first = next((message.text for message in session.messages if isinstance(message, User)), "")
    return {
        "id": session.id,
        "command": str(session.started.get("command", "?")),
        "cwd": session.started.get("cwd"),
        "outcome": outcome(session),
        "turns": turns(session),
        "task": " ".join(first.split()),
    }


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
