"""Where a run works, in place or in a private copy; where its result goes, onto the tree or into a commit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

from .. import __version__, config, delivery, outcome, repository
from ..delivery import Target
from ..errors import AgentError, RepositoryError, UsageError
from ..keeping import Keeper
from ..lock import Lock, hold
from ..paths import named
from ..replica import Replica, discard
from ..settings import Settings
from ..snapshot import Snapshot
from ..types import Notice
from . import mending, rescue, stores
from .conduct import Stage
from .confinement import temporary
from .rescue import Rescued
from .resuming import Past
from .session import Session
from .tracking import Tracking

Kind = Literal["in-place", "worktree", "dry-run"]


class Workplace(NamedTuple):
    """`target` is where a commit goes, if there is to be one; of a private copy `lock` is nothing yet."""

    kind: Kind
    target: Target | None
    lock: Lock
    notices: list[str]
    rescued: Rescued = Rescued()

    def settle(self, stage: Stage) -> None:
        """Once the session is open: it knows where its copy is, and the one before can go."""
        if stage.replica:
            stage.keep(rescue.memo(stage.replica))
        if self.rescued.old:
            stage.closers.append(partial(discard, self.rescued.old))


def print_dry_patch(settings: Settings) -> Settings:
    """A dry run as text: stdout gets its patch, unless there is a file for it."""
    if settings.dry_run and settings.patch is None and settings.output_format == "text":
        return replace(settings, patch="-")
    return settings


def open_workplace(stage: Stage, past: Past | None = None) -> Workplace:
    """Makes the private copy if one is wanted, with the work of `past`; from then on it is `stage.tree`.

    Raises UsageError for options that do not go together, RepositoryError if the result could not go there.
    """
    settings = stage.settings
    kind = _kind(settings)
    _check(settings)
    if kind != "dry-run":
        repository.require_writable(stage.top)
    target = None
    if settings.commit or settings.branch:
        target = delivery.aim(
            stage.top,
            settings.branch,
            run_hooks=settings.run_hooks,
            is_key=lambda value: stage.redact(value) != value,
        )
    if kind == "in-place":
        lock = _only_writer(stage)
        mended = mending.recover(stage.top, alone=True)
        return Workplace(kind, target, lock, [*mended, *([lock.problem] if lock.problem else [])])
    mended = mending.recover(stage.top)  # of which the copy is made
    home = temporary(stage)
    stage.closers.append(partial(discard, home))
    state = config.state_home().resolve()
    top = stage.top.resolve()
    ours = [state.relative_to(top)] if state.is_relative_to(top) else []
    try:
        again = (settings.attempts or 1) > 1
        stage.replica = Replica(stage.top, home, again=again, without=ours)
    except OSError as error:
        why = f"{error.strerror}; TMPDIR says where it is made"
        raise RepositoryError(f"a private copy of the work tree cannot be made: {why}") from error
    again = rescue.take_up(stage.replica, past) if past else Rescued()
    notices = [*mended, *stage.replica.notices, *_layered(stage.replica), *again.notices]
    return Workplace(kind, target, Lock(-1, None), notices, again)


def deliver(stage: Stage, session: Session, place: Workplace, tracking: Tracking | None) -> None:
    """Brings what `tracking` tracked to where it was wanted, if all else is well."""
    if tracking is None:  # not even that could be found out
        return
    tally = stage.tally
    rows = tracking.moved()
    is_success = outcome.decide(tally.subtypes, tally.signum).exit_code == 0
    if is_success and rows:
        stage.signals.close()  # nothing more may come in between
        try:
            if place.kind == "worktree" and stage.replica:
                _apply(stage, session, stage.replica, tracking)
            if place.target:
                _commit(stage, session, place.target, tracking)
        except AgentError as error:
            tally.note(error.subtype, f"{error}; {_patch(stage)}")
    elif rows and place.kind == "worktree":
        stage.show(Notice(f"the work tree stays as it was; {_patch(stage)}"))


def _only_writer(stage: Stage) -> Lock:
    """The lock on the work tree, until the run ends."""
    lock = hold(stage.top, None if stage.settings.ephemeral else config.state_home())
    stage.closers.append(lock.release)
    return lock


def _apply(stage: Stage, session: Session, replica: Replica, tracking: Tracking) -> None:
    """Onto the user's work tree, in a way that can be undone."""
    _only_writer(stage).name(session.folder.name)
    rows = tracking.moved()
    snapshot = Snapshot(stage.top, session.folder)
    keeper = Keeper(snapshot, session.folder)
    keeper.begin(snapshot.take())
    names = [row.name for row in rows]
    keeper.started(names)
    writes = stores.intents(stage.top, stores.last_change(session.folder))
    delivery.put(rows, tracking.tree, replica.start, stage.top, writes)
    keeper.end(snapshot.take(names), names)


def _layered(replica: Replica) -> list[str]:
    names = [layer.place for layer in replica.private().layers]
    return [f"{named(names)}: commands find them in the copy, file tools do not"] if names else []


def _kind(settings: Settings) -> Kind:
    if settings.dry_run:
        return "dry-run"
    return "worktree" if settings.worktree or settings.attempts else "in-place"


def _check(settings: Settings) -> None:
    """Raises UsageError for options of which one makes no sense beside the other."""
    if settings.dry_run and settings.worktree:
        raise UsageError("--dry-run leaves the work tree alone, --worktree changes it in the end; give one")
    if settings.dry_run and settings.commit:
        raise UsageError("--dry-run leaves HEAD and the work tree alone; to commit, give --branch NAME")
    if settings.record and (settings.attempts or 1) > 1:
        raise UsageError("--record keeps one conversation, --attempts begins anew with each; give one")
    if settings.commit and settings.branch:
        raise UsageError("--commit goes to the current branch, --branch to a new one; give one")
    kept = settings.patch or settings.branch or not settings.ephemeral
    if settings.dry_run and not kept:
        raise UsageError("--dry-run --ephemeral would keep nothing at all; say where: --patch FILE")
    if settings.run_hooks and (settings.dry_run or not (settings.commit or settings.branch)):
        raise UsageError("--run-hooks is for --commit or --branch, with the change in the work tree")


def _commit(stage: Stage, session: Session, target: Target, tracking: Tracking) -> None:
    tally, rows = stage.tally, tracking.to_commit()
    if not rows:
        return
    if unsure := [row.name for row in rows if row.name in tracking.left.doubtful]:
        why = "may hold changes of yours, so nothing was committed; look, and commit it yourself"
        raise RepositoryError(f"{named(unsure)} {why}")
    assistant = f"glm-agent {__version__} ({session.started.model})"
    text = delivery.message(stage.redact(tally.answer), rows, assistant)
    made = delivery.commit(target, rows, tracking.snapshot, session.folder, text)
    tally.commit = {"id": made, "branch": target.branch or (session.started.git or {}).get("branch", "")}
    if not (target.branch or stage.replica):
        tracking.committed(made)


def _patch(stage: Stage) -> str:
    if file := stage.tally.patch_file:
        return f"the patch is in {file}"
    return "the patch was not kept (--ephemeral): --patch FILE keeps it"
