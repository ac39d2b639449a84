"""`undo`: the work tree as it was before a session; a session of its own, which can be undone as well."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .. import __version__, config, journal, keeping, outcome, repository, restore, reversal, state
from ..errors import AgentError, Cancelled, RepositoryError, UsageError
from ..git import find_root
from ..gitdir import is_special
from ..keeping import Keeper, Record
from ..lock import hold
from ..outcome import Outcome
from ..paths import named, shown
from ..redact import Redactor
from ..render import expendable, writer
from ..render.sanitize import clean
from ..reversal import Reversal
from ..snapshot import Snapshot
from ..state import Entry, State
from ..swap import Step, said
from ..types import Finished, Json, Result, Said, Started, User
from . import mending, stores
from .plain import as_json, print_text
from .signals import Signals


class Asked(NamedTuple):
    """The command line; `session` None is the last one that changed anything here."""

    session: str | None
    cd: str | None = None
    force: bool = False
    check: bool = False
    as_data: bool = False


class Prepared(NamedTuple):
    """What undoing a session takes: `steps` from `now`; `changed` are the paths that others changed since."""

    folder: Path
    record: Record
    snapshot: Snapshot
    now: State
    steps: list[Step]
    changed: list[str]

    def rows(self) -> list[Json]:
        found = {step.path for step in self.steps}
        outer = {folder for path in found for folder in state.above(path)}
        return [row for step in self.steps if (row := _row(step, step.path in outer))]


class _Done(NamedTuple):
    undone: str
    rows: list[Json]
    session: str | None = None  # the record of the undo itself
    notes: tuple[str, ...] = ()


def run(asked: Asked) -> int:
    """The exit code; what was put back is told on stdout, why not on stderr."""
    signals = Signals()
    done = _Done("", [])
    problem, signum = None, None
    with signals.installed(None):
        try:
            done = _undo(asked, signals)
        except Cancelled as stop:
            problem, signum = AgentError("cancelled; nothing was changed"), stop.signum
        except AgentError as error:
            problem = error
        except OSError as error:  # of what is kept of sessions
            problem = RepositoryError(f"cannot undo: {said(error)}")
        subtypes = [] if problem is None else [problem.subtype if signum is None else "error_cancelled"]
        return _tell(asked, outcome.decide(subtypes, signum), done, problem)


def prepare(folder: Path, record: Record, root: Path) -> Prepared:
    """What it takes to undo that session in the work tree at `root`. Raises RepositoryError."""
    snapshot = Snapshot(root, folder)
    start, end = record.start, record.end
    if end is None:
        return _prepare_killed(folder, record, snapshot)
    ours = {step.path: step for step in restore.plan(snapshot, start, end)}
    now = _take(snapshot, {*record.named, *ours})
    steps = restore.plan(snapshot, now, start, ours)
    left = [ours.get(step.path, step) for step in steps]  # a folder that is none of ours was as it is to be
    changed = [
        step.path
        for step, was in zip(steps, left, strict=True)
        if not _is_folder(step)
        and (step.path in record.mixed or _seen(step.now, step.old_bits) != _seen(was.wanted, was.bits))
    ]
    return Prepared(folder, record, snapshot, now, steps, changed)


def _prepare_killed(folder: Path, record: Record, snapshot: Snapshot) -> Prepared:
    """What a session's tools had written by the time it was killed is known; what commands wrote is not."""
    start, known = record.start, {*record.wrote, *record.pending}
    now = _take(snapshot, {*record.named, *known})
    steps = restore.plan(snapshot, now, start)
    if not record.commands:
        inside = known | {outer for path in known for outer in state.above(path)}
        steps = [step for step in steps if step.path in inside]
    ours = mending.untouched(snapshot.root, folder) & {*record.pending}
    for step in steps:
        if step.path in record.wrote and record.wrote[step.path] == (step.now and step.now.blob):
            ours.add(step.path)
    ours -= {*record.mixed}
    changed = [step.path for step in steps if step.path not in ours and not _is_folder(step)]
    return Prepared(folder, record, snapshot, now, steps, changed)


def preview(folder: Path) -> Json | None:
    """What undoing that session would do now: `changes`, and the `problem` if it would not; None: nothing."""
    record = keeping.load(folder)
    if record is None or not record.is_of_account:
        return None
    root = Path(record.root)
    try:
        if not root.is_dir() or keeping.place(root) != record.place:
            raise RepositoryError(f"{root} is there no longer")
        lock = hold(root)  # what is kept of a session that runs is left to that
        try:
            prepared = prepare(folder, record, root)
        finally:
            lock.release()
    except (AgentError, OSError) as error:
        return {"changes": [], "problem": said(error) if isinstance(error, OSError) else str(error)}
    changed = f"changed since: {named(prepared.changed)}; --force" if prepared.changed else None
    return {"changes": prepared.rows(), "problem": changed}


def _undo(asked: Asked, signals: Signals) -> _Done:
    folder = config.working_folder(asked.cd)
    root = find_root(folder)
    if root is None:
        raise RepositoryError(f"{folder} is not in a git repository; run where the session ran")
    repository.places(root)
    stores.require_own(root)
    found, record = _choose(root, asked.session)
    lock = hold(root, None if asked.check else config.state_home())
    try:
        is_between = mending.is_between(root)
        mended = _mend(root, is_between, asked.check)
        if is_between and not asked.check and mending.is_between(root):
            raise RepositoryError("; ".join(mended))
        if is_between and (asked.check or asked.session is None):
            return _Done("", [], notes=tuple(mended))  # what is undone now is not done again
        prepared = prepare(found, record, root)
        if prepared.changed and not asked.force:
            raise RepositoryError(
                f"changed since session {found.name}, so nothing was undone: {named(prepared.changed)}; "
                "--force puts them back all the same, and `glm-agent undo` takes that back"
            )
        _require_replaceable(root, prepared.steps)
        if asked.check or not prepared.steps:
            return _Done(found.name, prepared.rows(), notes=tuple(mended))
        signals.close()  # it is short, and what was done is said
        done = _carry_out(prepared, root, lock.name)
        return done._replace(notes=(*mended, *done.notes))
    finally:
        lock.release()


def _mend(root: Path, is_between: bool, is_check: bool) -> list[str]:
    """What a kill cut short is finished first, else the next run would finish what is undone here."""
    if not is_check:
        return mending.recover(root, alone=True)
    return ["an undo was cut short here, and the next run that writes finishes it"] if is_between else []


def _require_replaceable(root: Path, steps: list[Step]) -> None:
    """Raises RepositoryError for what no undo could bring back, and so none takes away."""
    special = [step.path for step in steps if is_special(root / step.path)]
    if special:
        what = f"{named(special)} is a FIFO, socket or device now"
        raise RepositoryError(f"{what}, so nothing was undone; remove it, and undo again")


def _choose(root: Path, name: str | None) -> tuple[Path, Record]:
    """The session to undo: the one that is named, or the last one that changed anything in this tree."""
    home, here = config.state_home(), keeping.place(root)
    if name is None:
        for folder in journal.by_turn(home):
            record = keeping.load(folder)
            if record and record.is_of_account and record.place == here:
                return folder, record
        raise UsageError(f"no session has changed anything in {root}; `glm-agent sessions list` shows all")
    folder = journal.find(home, name)
    record = keeping.load(folder)
    if record is None or not record.is_of_account:
        raise UsageError(f"session {folder.name} changed nothing: there is nothing to undo")
    if record.place != here:
        raise UsageError(f"session {folder.name} ran in {record.root}, not in {root}; run undo there (-C)")
    return folder, record


def _carry_out(prepared: Prepared, root: Path, tell_name: Callable[[str], None]) -> _Done:
    kept = config.state_home() / "sessions"
    folder = kept / (session := journal.new_id(kept))
    book = journal.Journal(folder, Redactor([]))
    tell_name(session)
    undone = prepared.folder.name
    try:
        book(_started(session, root))
        book(Said(User(f"undo {undone}")))
        notes = _restore(prepared, root, folder)
        rows = prepared.rows()
        book(
            Finished(
                Result("success", is_error=False, exit_code=0, result="", session_id=session, changes=rows)
            )
        )
    finally:
        book.close()
    return _Done(undone, rows, session, tuple(notes))


def _restore(prepared: Prepared, root: Path, folder: Path) -> list[str]:
    """Puts the tree back, with a record of its own in `folder`."""
    paths = {step.path for step in prepared.steps}
    also = {*prepared.record.named, *paths}
    snapshot = Snapshot(root, folder)
    keeper = Keeper(snapshot, folder, prepared.folder.name)
    keeper.begin(snapshot.take(also))
    plan = Reversal(
        prepared.folder,
        prepared.now,
        prepared.record.start,
        sorted(paths),
        folder,
        snapshot.memory(),
        sorted(also),
    )
    return reversal.carry_out(
        plan, prepared.snapshot, stores.records(root), lambda: keeper.end(snapshot.take(also), also)
    )


def _take(snapshot: Snapshot, also: set[str]) -> State:
    return state.take(snapshot, snapshot.take(also))


def _seen(entry: Entry | None, bits: int | None) -> object:
    return entry and (entry.mode, entry.blob, bits)


def _is_folder(step: Step) -> bool:
    """Directories go with what is in them; the ones that hold other things stay."""
    return all(entry is None or entry.is_folder for entry in (step.now, step.wanted))


def _row(step: Step, inside: bool) -> Json | None:
    is_folder = (step.wanted or step.now or Entry(0, "")).is_folder
    if is_folder and inside:
        return None
    kind = "mode" if not step.is_content else "update" if step.now and step.wanted else None
    kind = kind or ("create" if step.wanted else "delete")
    return {"path": f"{step.path}/" if is_folder else step.path, "kind": kind}


def _started(session: str, root: Path) -> Started:
    return Started(
        session_id=session,
        cwd=str(root),
        command="undo",
        model="",
        provider="",
        base_url_host="",
        tools=[],
        sandbox={},
        git=None,
        caps={},
        stdin="none",
        instructions=[],
        version=__version__,
    )


_WORDS = {"create": "put back", "update": "restored", "delete": "removed", "mode": "restored the mode of"}
_WOULD = {"create": "would put back", "update": "would restore", "delete": "would remove"}


def lines(rows: list[Json], *, would: bool) -> list[str]:
    """What is said of each file."""
    words = {**_WORDS, "mode": "would restore the mode of", **_WOULD} if would else _WORDS
    return [f"{words[row['kind']]} {shown(row['path'])}" for row in rows]


def _tell(asked: Asked, end: Outcome, done: _Done, problem: AgentError | None) -> int:
    err = writer(expendable(sys.stderr))
    for line in (*done.notes, *([str(problem)] if problem else [])):
        err(clean(f"glm-agent: {line}") + "\n")
    told = lines(done.rows, would=asked.check) or [
        "nothing to undo: the tree is as it was before the session"
    ]
    if done.session:
        err(f"session {done.undone} is undone; `glm-agent undo` takes that back\n")
    text = "".join(f"{clean(line)}\n" for line in told) if problem is None else ""
    if asked.as_data:
        record: Json = {"subtype": end.subtype, "is_error": end.is_error, "exit_code": end.exit_code}
        record |= {
            "undone": done.undone or None,
            "session_id": done.session,
            "written": done.session is not None,
        }
        text = as_json(
            {
                **record,
                "changes": done.rows,
                "notes": list(done.notes),
                "errors": [str(problem)] if problem else [],
            }
        )
    return print_text(lambda: text) or end.exit_code
