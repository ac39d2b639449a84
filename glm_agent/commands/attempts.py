"""One attempt after the other, each from the same start: the first that is all right counts, or the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import RepositoryError
from ..types import Json, Notice, Verified
from . import artefacts, judgement
from .conduct import Stage
from .judgement import Judgement
from .session import Session
from .tracking import Tracking

_ITS_OWN = {"error_verify", "error_policy"}  # what is said of an attempt rather than of the run


@dataclass(slots=True)
class Attempt:
    """`notes` are pairs of subtype and error; `failing` counts checks, None if none were run."""

    number: int
    tracking: Tracking
    is_green: bool
    changes: list[Json]
    patch: bytes
    judged: Judgement
    notes: list[tuple[str, str]]
    after: list[Verified]
    answer: str
    structured: tuple[bool, object, str]
    patch_file: str | None = None

    @property
    def failing(self) -> int | None:
        """How many checks failed when each command was last run."""
        last = {check.command: check for check in self.after}
        return sum(len(check.failed) for check in last.values()) if last else None

    def lines(self, which: str) -> int:
        return sum(row[which] or 0 for row in self.changes)

    def worth(self) -> tuple[bool, bool, int, int, bool, int]:
        """What is better sorts first: by checks, by policy, by the size of the diff."""
        failing = self.failing
        size = self.lines("added") + self.lines("removed")
        return (
            not self.is_green,
            failing is None,
            failing or 0,
            len(self.judged.breaches),
            not self.changes,
            size,
        )


class Attempts:
    """`track` makes what takes note of the attempt of a number."""

    def __init__(self, stage: Stage, session: Session, track: Callable[[int], Tracking]) -> None:
        self._stage = stage
        self._session = session
        self._track = track
        self._most = stage.settings.attempts or 1
        self._done: list[Attempt] = []
        self._begin()

    def end(self) -> None:
        """The one under way is over, by itself or because the run is."""
        if not self._is_under_way:
            return
        self._is_under_way = False
        stage, number = self._stage, len(self._done) + 1
        changes, patch, notices = self.tracking.collect()
        for notice in notices:
            stage.show(notice)
        judged = judgement.judge(stage, changes, patch)
        self._done.append(attempt := self._made(number, changes, patch, judged))
        if stage.settings.attempts and not stage.settings.ephemeral:
            folder = self._session.folder / "attempts"
            folder.mkdir(mode=0o700, exist_ok=True)
            attempt.patch_file = str(_unused(folder, number))
            artefacts.write(attempt.patch_file, patch)

    def begin_another(self) -> bool:
        """False if none is wanted or allowed; what the model knows and sees is as at first."""
        stage, session, number = self._stage, self._session, len(self._done)
        if number >= self._most or self._done[-1].is_green or not stage.tally.is_done or not stage.replica:
            return False
        stage.show(Notice(f"attempt {number} of {self._most} has failed; another begins"))
        try:
            self.tracking.tree = stage.replica.renew(f"attempt-{number}")
        except OSError as error:
            raise RepositoryError(f"no copy for another attempt: {error.strerror}") from error
        if stage.fence:
            stage.fence.close()  # it keeps to the tree that was, though the next has its name
        session.history.clear()
        session.restart()
        stage.budget.tell_anew()
        if session.answer:
            session.answer.withdraw()
            session.answer.refused = 0
        self._begin()
        return True

    def settle(self) -> Attempt:
        """The one that counts; the run's tally says of it what it said then."""
        self.end()
        tally, answer = self._stage.tally, self._session.answer
        best = min(self._done, key=Attempt.worth)
        for subtype, error in best.notes:
            tally.note(subtype, error)
        best.judged.tell(self._stage)
        tally.after, tally.answer = best.after, best.answer
        if answer:
            answer.found, answer.value, answer.complaint = best.structured
        if self._stage.settings.attempts:
            tally.attempts = [_row(attempt, attempt is best) for attempt in self._done]
        return best

    def _begin(self) -> None:
        self._is_under_way = True
        tally = self._stage.tally
        self._checks = len(tally.after)
        self.tracking = self._track(len(self._done) + 1)

    def _made(self, number: int, changes: list[Json], patch: bytes, judged: Judgement) -> Attempt:
        """Takes what is its own out of the tally."""
        tally, answer = self._stage.tally, self._session.answer
        pairs = list(zip(tally.subtypes, tally.errors, strict=True))
        own = [pair for pair in pairs if pair[0] in _ITS_OWN]
        others = [pair for pair in pairs if pair[0] not in _ITS_OWN]
        tally.subtypes[:] = [subtype for subtype, _ in others]
        tally.errors[:] = [error for _, error in others]
        is_whole = tally.is_done and tally.signum is None and (not answer or answer.found)
        has_result = self.tracking.has_changes() or tally.may_be_unchanged
        return Attempt(
            number,
            self.tracking,
            not pairs and is_whole and has_result,
            changes,
            patch,
            judged,
            own,
            tally.after[self._checks :],
            tally.answer,
            (answer.found, answer.value, answer.complaint) if answer else (False, None, ""),
        )


def _unused(folder: Path, number: int) -> Path:
    """A name for a patch; those from before an interruption are kept."""
    names = (f"{number}.diff", *(f"{number}-{again}.diff" for again in range(2, 1000)))
    return next(place for name in names if not (place := folder / name).exists())


def _row(attempt: Attempt, is_best: bool) -> Json:
    return {
        "number": attempt.number,
        "chosen": is_best,
        "green": attempt.is_green,
        "failing": attempt.failing,
        "added": attempt.lines("added"),
        "removed": attempt.lines("removed"),
        "patch_file": attempt.patch_file,
    }
