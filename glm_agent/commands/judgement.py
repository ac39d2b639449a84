"""The run's whole diff against what it may be: said to the model before, and judged when all is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .. import bounds, git, outcome, sections, weakening
from ..errors import RepositoryError
from ..globs import fits
from ..paths import shown
from ..types import Json, Notice
from . import stores
from .conduct import Stage
from .tracking import Tracking

_LARGEST = 16 << 20  # bytes of a diff whose lines are looked at


def warnings(stage: Stage) -> Iterator[str]:
    """A line for each glob that means no file which git knows: a slip of the pen protects nothing."""
    found = bounds.of(stage.settings)
    named = [("--protect", glob) for glob in found.protect]
    named += [("--only", glob) for globs in found.only for glob in globs]
    tracked = git.run(stage.top, "ls-files", "-z").split(b"\0")[:-1] if named else []
    paths = [path.decode("utf-8", "surrogateescape") for path in tracked]
    for option, glob in dict.fromkeys(named):
        if not any(fits(path, [glob]) for path in paths):
            yield f"{option} {shown(glob)}: no tracked file fits that"


class Judgement(NamedTuple):
    """Rows of what is out of bounds, and lines on tests that lost something."""

    breaches: list[Json]
    weaker: list[str]

    def tell(self, stage: Stage) -> None:
        """Of the diff that counts."""
        stage.tally.policy = self.breaches
        for line in self.weaker:
            _notice(stage, f"tests are weaker: {line}")


def judge(stage: Stage, changes: list[Json], patch: bytes) -> Judgement:
    """Notes what is out of bounds."""
    files = list(sections.read(patch)) if len(patch) <= _LARGEST else []
    marks = {file.path: file.marks for file in files}
    breaches = bounds.breaches(changes, bounds.of(stage.settings), marks)
    for line in bounds.said(breaches):
        stage.tally.note("error_policy", line)
    return Judgement(breaches, list(weakening.find(files)))


def put_back(stage: Stage, tracking: Tracking) -> None:
    """Makes the tree what it was if the diff is out of bounds, and nothing worse has happened."""
    end = outcome.decide(stage.tally.subtypes, stage.tally.signum)
    if not stage.tally.policy or end.subtype != "error_policy" or stage.settings.keep:
        return
    kept = f"; the diff is in {file}" if (file := stage.tally.patch_file) else ""
    try:
        problems = tracking.put_back(stores.records(stage.top))
    except RepositoryError as error:
        stage.tally.errors.append(f"the tree stays as it is: {error}{kept}")
        return
    _notice(stage, f"the tree was put back{kept}; --keep leaves it")
    for problem in problems:
        _notice(stage, problem)


def _notice(stage: Stage, line: str) -> None:
    stage.tally.notices.append(line)
    stage.show(Notice(line))
