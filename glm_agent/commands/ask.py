"""`ask`: answer a question about the code; nothing it offers the model can change anything."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from .. import repository
from ..errors import UsageError
from ..types import Event, Notice
from . import sources, task
from .conduct import Stage, conduct
from .confinement import choose
from .session import open_session, work


def run(argument: str | None, flags: Mapping[str, object], start: Mapping[str, str] | None = None) -> int:
    """The exit code of a whole run; `start` replaces the process's environment."""
    return conduct(flags, lambda stage: _events(stage, argument), start)


def _events(stage: Stage, argument: str | None) -> Generator[Event]:
    settings = stage.settings
    given = task.read(argument, settings.prompt_file, settings.stdin)
    if not given.text.strip():
        raise UsageError("no question: give one as an argument, with --prompt-file, or on stdin")
    git = repository.describe(stage.top)
    session = open_session(stage, "ask", given, git, choose(stage, "ask"))
    yield session.started
    yield from map(Notice, session.notices)
    yield from work(stage, session, given.text)
    yield from sources.check(stage, session)
