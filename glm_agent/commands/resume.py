"""`resume`: what was interrupted goes on, in the same session."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import AgentError
from . import ask, fix, resuming
from .resuming import Again


def run(
    name: str | None, flags: Mapping[str, object], fork: bool, start: Mapping[str, str] | None = None
) -> int:
    """The exit code of the rest of the run; `start` replaces the process's environment."""
    try:
        session = resuming.find(Again(name), flags, None)
    except AgentError as error:
        return resuming.refuse(error, flags, start)
    command = ask if session.started.get("command") == "ask" else fix
    return command.run(None, {**flags, "stdin": False}, start, Again(session.id, fork, session))
