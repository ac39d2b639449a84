"""`ask`: answer a question about the code; nothing it offers the model can change anything."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from ..errors import UsageError
from ..types import Event, Notice
from . import task
from .conduct import Stage
from .confinement import choose
from .resuming import Again, Past, conduct_any
from .session import open_session, work


def run(
    argument: str | None,
    flags: Mapping[str, object],
    start: Mapping[str, str] | None = None,
    again: Again | None = None,
) -> int:
    """The exit code of a whole run; `start` replaces the process's environment."""
    return conduct_any(again, flags, "ask", lambda stage, past: _events(stage, argument, past), start)


def _events(stage: Stage, argument: str | None, past: Past | None) -> Generator[Event]:
    settings = stage.settings
    given = task.read(argument, settings.prompt_file, settings.stdin)
    has_question = bool(given.text.strip())
    if past:
        past.require_work(has_question)
    elif not has_question:
        raise UsageError("no question: give one as an argument, with --prompt-file, or on stdin")
    session = open_session(stage, "ask", given, choose(stage, "ask"), past)
    yield session.started
    yield session.memo
    yield from map(Notice, session.notices)
    prompt = given.text if has_question else None
    if past and not session.history:
        prompt = prompt or past.task
    yield from work(stage, session, prompt)
    from . import sources  # the answer is there: now there is time

    yield from sources.check(stage, session)
