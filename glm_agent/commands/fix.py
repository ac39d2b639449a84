"""`fix`: change the repository; with --verify, until the commands pass."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from typing import Literal

from .. import config, repository, verify
from ..errors import UsageError
from ..snapshot import Snapshot
from ..types import Event, Notice, Stopped, Verified
from . import artefacts, task
from .conduct import Stage, conduct
from .session import Session, open_session

_REMINDERS = 2
_UNCHANGED = (
    "The working tree is unchanged. If the task needs a change, make it now with the tools. "
    "If no change is right, say so explicitly and why."
)


def run(argument: str | None, flags: Mapping[str, object], start: Mapping[str, str] | None = None) -> int:
    """The exit code of a whole run; `start` replaces the process's environment."""
    return conduct(flags, lambda stage: _events(stage, argument), start)


def _events(stage: Stage, argument: str | None) -> Generator[Event]:
    settings = stage.settings
    given = task.read(argument, settings.prompt_file, settings.stdin)
    commands, notices = _commands(stage)
    if not given.text.strip() and not commands:
        raise UsageError("nothing to do: give a task, or --verify CMD to make pass")
    repository.require_repository(stage.top)
    session = open_session(stage, "fix", given, repository.describe(stage.top))
    yield session.started
    yield from map(Notice, (*session.notices, *notices))
    stage.tally.may_be_unchanged = settings.allow_empty
    yield from _Fix(stage, session, commands).events(given.text)


def _commands(stage: Stage) -> tuple[list[str], list[str]]:
    """The checks to run, and a notice if the repository's own file asks for some that may not run."""
    if not config.from_repository(stage.settings, "verify"):
        return list(stage.settings.verify), []
    file = stage.settings.origins["verify"].rpartition("/")[2]
    named = " ".join(f"--verify {command!r}" for command in stage.settings.verify)
    return [], [f"{file} asks for checks, which run only in a sandbox; to run them: {named}"]


class _Fix:
    """One run: baseline, rounds of agent and checks, and at the end the diff, which comes from git."""

    def __init__(self, stage: Stage, session: Session, commands: list[str]) -> None:
        self._stage = stage
        self._session = session
        self._commands = commands
        self._reminders = 0
        self._snapshot = Snapshot(stage.top, session.folder)
        self._start = self._snapshot.take()
        stage.endings.append(self._collect)

    def events(self, task_text: str) -> Generator[Event]:
        yield from map(Notice, self._snapshot.problems)
        baseline = yield from self._verify("before")
        for check in baseline:
            verify.require_runnable(check)
        failing = [check for check in baseline if check.exit_code != 0]
        if not task_text.strip():
            if not failing:
                self._stage.tally.answer = "Nothing to fix: every --verify command passes already."
                self._stage.tally.may_be_unchanged = True
                return
            task_text = f"Make this pass.\n\n{verify.report(failing)}"
        yield from self._rounds(task_text)

    def _rounds(self, prompt: str) -> Generator[Event]:
        """Agent, then checks, until they pass, the rounds are used up, or a cap stops the agent."""
        failing: list[Verified] = []
        for left in range(self._stage.settings.verify_rounds - 1, -1, -1):
            finished = yield from self._work(prompt)
            checks = yield from self._verify("after")
            failing = [check for check in checks if check.exit_code != 0]
            if not (left and failing and finished):
                break
            prompt = verify.report(failing)
        for check in failing:
            named = f": {', '.join(check.failed[:10])}" if check.failed != [check.command] else ""
            self._stage.tally.note("error_verify", f"--verify {check.command!r} still fails{named}")

    def _work(self, prompt: str) -> Generator[Event, None, bool]:
        """The agent until it is done, reminded while it has changed nothing; False if a cap stopped it."""
        while True:
            done = False
            for event in self._session.agent.run(self._session.history, prompt):
                done = isinstance(event, Stopped) and event.reason == "done"
                yield event
            unchanged = not self._stage.tally.may_be_unchanged and self._snapshot.take() == self._start
            if not done or not unchanged or self._reminders == _REMINDERS:
                return done
            self._reminders += 1
            prompt = _UNCHANGED

    def _verify(self, phase: Literal["before", "after"]) -> Generator[Event, None, list[Verified]]:
        checks: list[Verified] = []
        for command in self._commands:
            check = verify.run(
                command,
                self._stage.top,
                phase,
                timeout=self._stage.settings.verify_timeout,
                cancel=self._session.agent.cancel,
            )
            checks.append(check)
            yield check
        return checks

    def _collect(self) -> None:
        """The run's changes, its patch and its evidence, however it ended."""
        tally, settings = self._stage.tally, self._stage.settings
        end = self._snapshot.take()
        tally.changes = self._snapshot.changes(self._start, end)
        patch = self._snapshot.diff(self._start, end)
        if not settings.ephemeral:
            kept = str(self._session.folder / "patch.diff")
            artefacts.write(kept, patch)
            tally.patch_file = kept
        if self._commands:
            after = tally.after[-len(self._commands) :]
            tally.verification = verify.compare(tally.before, after)
        if settings.patch == "-":
            sys.stdout.buffer.write(patch)
            sys.stdout.flush()
        elif settings.patch:
            artefacts.write(settings.patch, patch)
            tally.patch_file = settings.patch
        if not tally.changes and not tally.may_be_unchanged and not tally.subtypes:
            tally.note("error_no_changes", "nothing was changed; --allow-empty accepts that")
