"""`fix`: change the repository; with --verify, until the commands pass."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from .. import config, repository, sandbox, verify
from ..errors import AuthError, UsageError
from ..sandbox import Runner
from ..snapshot import Snapshot
from ..types import Event, Notice, User, Verified
from . import artefacts, state, task
from .conduct import Stage, conduct
from .confinement import Confinement, choose
from .resuming import Again, Past, conduct_again
from .session import Session, open_session, work
from .tracking import Tracking

_REMINDERS = 2
_UNCHANGED = (
    "The working tree is unchanged. If the task needs a change, make it now with the tools. "
    "If no change is right, say so explicitly and why."
)


def run(
    argument: str | None,
    flags: Mapping[str, object],
    start: Mapping[str, str] | None = None,
    again: Again | None = None,
) -> int:
    """The exit code of a whole run; `start` replaces the process's environment."""
    if again:
        return conduct_again(again, flags, "fix", lambda stage, past: _events(stage, argument, past), start)
    return conduct(flags, lambda stage: _events(stage, argument, None), start)


def _events(stage: Stage, argument: str | None, past: Past | None) -> Generator[Event]:
    settings = stage.settings
    given = task.read(argument, settings.prompt_file, settings.stdin)
    has_task = bool(given.text.strip())
    if past:
        past.require_work(has_task)
    elif not has_task and not settings.verify:
        raise UsageError("nothing to do: give a task, or --verify CMD to make pass")
    repository.require_repository(stage.top)
    mended = state.recover(stage.top)
    confinement = choose(stage, "fix")
    checks, notices = _checks(stage, confinement)
    if not (has_task or checks.commands or past):
        raise UsageError(*notices)
    try:
        session = open_session(stage, "fix", given, confinement, past)
    except AuthError:
        if has_task or past or not (yield from _pass_already(checks)):
            raise
        _end_unasked(stage)
        return
    yield session.started
    yield session.memo
    yield from map(Notice, (*mended, *session.notices, *notices))
    stage.tally.may_be_unchanged = settings.allow_empty
    work = _Fix(stage, session, checks)
    yield from work.go_on(past, given.text) if past else work.events(given.text)


class _Checks(NamedTuple):
    """The user's commands, and what runs them."""

    commands: Sequence[str]
    start: Runner
    timeout: float
    cancel: threading.Event

    def run(self, phase: Literal["before", "after"]) -> Iterator[Verified]:
        for command in self.commands:
            yield verify.run(command, self.start, phase, timeout=self.timeout, cancel=self.cancel)


def _checks(stage: Stage, confinement: Confinement) -> tuple[_Checks, list[str]]:
    """The checks to run, and a notice if the repository's own file asks for some that may not run."""
    settings, commands, notices = stage.settings, stage.settings.verify, list[str]()
    if config.from_repository(settings, "verify") and confinement.tier is None:
        file = settings.origins["verify"].rpartition("/")[2]
        named = " ".join(f"--verify {command!r}" for command in commands)
        commands, notices = (), [f"{file} asks for checks, which run only in a sandbox; to run them: {named}"]
    start = confinement.runner() if commands else sandbox.unconfined(stage.top)
    return _Checks(commands, start, settings.verify_timeout, stage.cancel), notices


def _pass_already(checks: _Checks) -> Generator[Event, None, bool]:
    """Whether there is nothing to ask a model for, so that no key is missing."""
    for check in checks.run("before"):
        yield check
        if check.exit_code != 0:
            return False
    return True


def _end_unasked(stage: Stage) -> None:
    stage.tally.answer = "Nothing to fix: every --verify command passes already."
    stage.tally.may_be_unchanged = True


def _complete(baseline: Sequence[Verified]) -> str | None:
    """The task where none is given: that what fails passes; None if nothing does."""
    failing = [check for check in baseline if check.exit_code != 0]
    return f"Make this pass.\n\n{verify.report(failing)}" if failing else None


class _Fix:
    """One run: baseline, rounds of agent and checks, and at the end the diff, which comes from git."""

    def __init__(self, stage: Stage, session: Session, checks: _Checks) -> None:
        self._stage = stage
        self._session = session
        self._checks = checks
        self._reminders = 0
        snapshot = Snapshot(stage.top, session.folder)
        self._tracking = Tracking(snapshot, session.workspace, session.agent.tools.get, stage.keep)
        stage.first.append(self._tracking)
        stage.endings.insert(0, self._collect)  # before any file that the user asked for is written

    def events(self, task_text: str) -> Generator[Event]:
        baseline = yield from self._verify("before")
        for check in baseline:
            verify.require_runnable(check)
        prompt = task_text if task_text.strip() else _complete(baseline)
        if prompt is None:
            _end_unasked(self._stage)
            return
        yield from self._tracking.begin()
        yield from self._rounds(prompt, self._stage.settings.verify_rounds)

    def go_on(self, past: Past, task_text: str) -> Generator[Event]:
        """From where the session was interrupted, or with a new task from where it ended."""
        tally, rounds = self._stage.tally, self._stage.settings.verify_rounds
        if not self._tracking.go_on(past.session.kept, past.session.events):
            tally.before.clear()
            yield from self.events(task_text or past.task)
            return
        prompt = task_text if task_text.strip() else None
        if prompt is None:
            rounds = max(1, rounds - len(tally.after) // max(1, len(self._checks.commands)))
            self._reminders = sum(message == User(_UNCHANGED) for message in self._session.history)
            if not self._session.history:
                prompt = past.task if past.task.strip() else _complete(tally.before)
        yield from self._rounds(prompt, rounds)

    def _rounds(self, prompt: str | None, rounds: int) -> Generator[Event]:
        """Agent, then checks, until they pass, the rounds are used up, or a cap stops the agent."""
        failing: list[Verified] = []
        for left in range(rounds - 1, -1, -1):
            finished = yield from self._work(prompt)
            checks = yield from self._verify("after")
            failing = [check for check in checks if check.exit_code != 0]
            if not (left and failing and finished):
                break
            prompt = verify.report(failing)
            self._tracking.disown()
        for check in failing:
            self._stage.tally.note("error_verify", self._complaint(check))

    def _complaint(self, check: Verified) -> str:
        """What is wrong now, and whether it was before."""
        before = [first for first in self._stage.tally.before if first.command == check.command]
        broken = verify.compare(before, [check])["newly_broken"]
        kinds = (
            ("still fails", [name for name in check.failed if name not in broken]),
            ("is newly broken", broken),
        )
        parts: list[str] = []
        for kind, names in kinds:
            named = f": {', '.join(names[:10])}" if names != [check.command] else ""
            parts += [kind + named] * bool(names)
        return f"--verify {check.command!r} {'; '.join(parts) or 'still fails'}"

    def _work(self, prompt: str | None) -> Generator[Event, None, bool]:
        """The agent until it is done, reminded while it has changed nothing; False if a cap stopped it."""
        while True:
            self._tracking.resume()
            done = yield from work(self._stage, self._session, prompt)
            yield from self._tracking.end()
            may_end = self._stage.tally.may_be_unchanged or self._tracking.has_changes()
            if not done or may_end or self._reminders == _REMINDERS:
                return done
            self._reminders += 1
            prompt = _UNCHANGED

    def _verify(self, phase: Literal["before", "after"]) -> Generator[Event, None, list[Verified]]:
        checks: list[Verified] = []
        for check in self._checks.run(phase):
            checks.append(check)
            yield check
        return checks

    def _collect(self) -> None:
        """The run's changes, its patch and its evidence, however it ended."""
        tally, settings = self._stage.tally, self._stage.settings
        tally.changes, patch, notices = self._tracking.collect()
        for notice in notices:
            self._stage.show(notice)
        if not settings.ephemeral:
            kept = str(self._session.folder / "patch.diff")
            artefacts.write(kept, patch)
            tally.patch_file = kept
        if commands := self._checks.commands:
            after = tally.after[-len(commands) :]
            tally.verification = verify.compare(tally.before, after)
        if settings.patch == "-":
            artefacts.print_patch(patch)
        elif settings.patch:
            artefacts.write(settings.patch, patch)
            tally.patch_file = settings.patch
        if self._tracking.has_changes() or tally.may_be_unchanged or tally.subtypes:
            return
        if denied := ", ".join(dict.fromkeys(str(denial["path"]) for denial in tally.denials)):
            tally.note("error_policy", f"nothing was changed, and what was tried is not allowed: {denied}")
        else:
            tally.note("error_no_changes", "nothing was changed; --allow-empty accepts that")
