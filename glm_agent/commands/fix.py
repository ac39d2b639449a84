"""`fix`: change the repository; with --verify, until the commands pass."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from .. import repository, verify
from ..errors import AuthError, UsageError
from ..keeping import Keeper
from ..snapshot import Snapshot
from ..types import Event, Notice, User, Verified
from ..verify import Unmet
from . import artefacts, evidence, judgement, reports, rescue, task
from .attempts import Attempts
from .conduct import Stage
from .confinement import choose
from .evidence import Checks
from .resuming import Again, Past, conduct_any
from .session import Session, open_session, work
from .tracking import Tracking
from .workplace import Workplace, deliver, open_workplace, print_dry_patch

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
    return conduct_any(
        again, flags, "fix", lambda stage, past: _events(stage, argument, past), start, print_dry_patch
    )


def _events(stage: Stage, argument: str | None, past: Past | None) -> Generator[Event]:
    settings = stage.settings
    given = reports.add(stage, task.read(argument, settings.prompt_file, settings.stdin))
    has_task = bool(given.text.strip())
    if past:
        past.require_work(has_task)
    elif not has_task and not settings.verify:
        _refuse(stage)
        return
    repository.require_repository(stage.top, allow_merge=settings.allow_merge)
    place = open_workplace(stage, past)
    confinement = choose(stage, "fix")
    checks, notices = evidence.choose(stage, confinement)
    if not (has_task or checks.checks or past):
        raise UsageError(*notices)
    try:
        session = open_session(stage, "fix", given, confinement, past)
    except AuthError:
        if has_task or past or not (yield from evidence.pass_already(checks)):
            raise
        _end_unasked(stage, evidence.nothing_to_do(stage.tally.before))
        return
    place.lock.name(session.folder.name)
    session.started.workdir = place.kind
    yield session.started
    yield session.memo
    place.settle(stage)
    told = past.notices if past else ()
    notices = [*place.notices, *told, *session.notices, *notices, *judgement.warnings(stage)]
    yield from map(Notice, notices)
    stage.tally.may_be_unchanged = settings.allow_empty
    work = _Fix(stage, session, checks, place)
    yield from work.go_on(past, given.text) if past else work.events(given.text)


def _refuse(stage: Stage) -> None:
    """Of a run with nothing to do, the reason: that it is done, or UsageError."""
    if not stage.settings.from_report:
        raise UsageError("nothing to do: give a task, or --verify CMD to make pass")
    _end_unasked(stage, reports.nothing(stage))


def _end_unasked(stage: Stage, answer: str) -> None:
    stage.tally.answer = answer
    stage.tally.may_be_unchanged = True


def _complete(baseline: Sequence[Verified]) -> str | None:
    """The task where none is given: that what fails passes; None if nothing does."""
    failing = [check for check in baseline if check.exit_code != 0]
    return f"Make this pass.\n\n{verify.report(failing)}" if failing else None


class _Fix:
    """One run: baseline, rounds of agent and checks, and at the end the diff, which comes from git."""

    def __init__(self, stage: Stage, session: Session, checks: Checks, place: Workplace) -> None:
        self._stage = stage
        self._session = session
        self._checks = checks
        self._reminders = 0
        self._place = place
        self._counts: Tracking | None = None
        self._attempts = Attempts(stage, session, self._track)
        stage.first.append(lambda event: self._tracking(event))
        # before any file that the user asked for is written
        stage.endings[:0] = [self._collect, lambda: self._tracking.settle()]
        stage.endings.append(lambda: deliver(stage, session, place, self._counts))

    @property
    def _tracking(self) -> Tracking:
        return self._attempts.tracking

    def _track(self, number: int) -> Tracking:
        stage, session = self._stage, self._session
        in_place = self._place.kind == "in-place"
        folder = session.folder if in_place else session.folder / "attempts" / str(number)
        snapshot = Snapshot(stage.tree, folder)
        keeper = Keeper(snapshot, folder, idle=not in_place)
        return Tracking(snapshot, keeper, session.workspace, session.agent.tools.get, stage.keep)

    def events(self, task_text: str) -> Generator[Event]:
        if self._checks.checks:
            self._tracking.keep()
        baseline = yield from self._checks.run("before")
        for check in baseline:
            verify.require_runnable(check)
        prompt = task_text if task_text.strip() else _complete(baseline)
        if prompt is None:
            _end_unasked(self._stage, evidence.nothing_to_do(baseline))
            return
        while True:
            yield from self._tracking.begin()
            yield from self._rounds(prompt, self._stage.settings.verify_rounds)
            self._attempts.end()
            if not self._attempts.begin_another():
                return
            self._reminders = 0

    def go_on(self, past: Past, task_text: str) -> Generator[Event]:
        """From where the session was interrupted, or with a new task from where it ended."""
        tally, rounds = self._stage.tally, self._stage.settings.verify_rounds
        if not self._tracking.go_on(past.session, self._place.rescued.base):
            tally.before.clear()
            yield from self.events(task_text or past.task)
            return
        left = self._tracking.left
        yield from map(Notice, left.notices(self._keep_patch() if left.undone else ""))
        prompt = task_text if task_text.strip() else None
        if prompt is None:
            rounds = max(1, rounds - len(tally.after) // max(1, len(self._checks.checks)))
            self._reminders = sum(message == User(_UNCHANGED) for message in self._session.history)
            if not self._session.history:
                prompt = past.task if past.task.strip() else _complete(tally.before)
        yield from self._rounds(prompt, rounds)

    def _keep_patch(self) -> str:
        """Where the patch of before stays, of work that is in the tree no longer; "" if there is none."""
        file = self._session.folder / "patch.diff"
        patch = file.read_bytes() if file.is_file() else b""
        return str(rescue.keep_aside(file.parent, patch)) if patch else ""

    def _rounds(self, prompt: str | None, rounds: int) -> Generator[Event]:
        """Agent, then checks, until they pass, the rounds are used up, or a cap stops the agent."""
        baseline, unmet = self._stage.tally.before, list[Unmet]()
        for left in range(rounds - 1, -1, -1):
            finished = yield from self._work(prompt)
            checks = yield from self._checks.run("after", baseline)
            unmet = self._checks.unmet(baseline, checks)
            if not (left and unmet and finished):
                break
            prompt = self._checks.report(unmet)
            self._tracking.disown()
        for one in unmet:
            self._stage.tally.note("error_verify", evidence.complaint(one))

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

    def _collect(self) -> None:
        """The run's changes, its patch and its evidence, however it ended."""
        tally, settings = self._stage.tally, self._stage.settings
        best = self._attempts.settle()
        tally.changes, patch, self._counts = best.changes, best.patch, best.tracking
        if not settings.ephemeral:
            kept = str(self._session.folder / "patch.diff")
            artefacts.write(kept, patch)
            tally.patch_file = kept
        if checks := self._checks.checks:
            after = tally.after[-len(checks) :]
            created = best.tracking.created()
            tally.verification = {**verify.compare(tally.before, after), "created": created}
        if settings.patch == "-":
            artefacts.print_patch(patch)
        elif settings.patch:
            artefacts.write(settings.patch, patch)
            tally.patch_file = settings.patch
        if self._place.kind == "in-place":
            judgement.put_back(self._stage, best.tracking)
        if best.tracking.has_changes() or tally.may_be_unchanged or tally.subtypes:
            return
        if denied := ", ".join(dict.fromkeys(str(denial["path"]) for denial in tally.denials)):
            tally.note("error_policy", f"nothing was changed, and what was tried is not allowed: {denied}")
        else:
            tally.note("error_no_changes", "nothing was changed; --allow-empty accepts that")
