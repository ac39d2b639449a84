"""The run's whole diff against what it may be: said to the model before, and judged when all is done."""

from __future__ import annotations

from collections.abc import Iterator

from .. import bounds, git, outcome, sections, weakening
from ..bounds import Bounds
from ..errors import RepositoryError
from ..globs import fits
from ..paths import shown
from ..settings import Settings
from ..types import Notice
from .conduct import Stage
from .tracking import Tracking

_LARGEST = 16 << 20  # bytes of a diff whose lines are looked at


def bounds_of(settings: Settings) -> Bounds:
    """What the user allows, and no more than the repository's own file allows."""
    demands = settings.demands
    return Bounds(
        only=tuple(globs for globs in (settings.only, demands.get("only")) if globs),
        protect=(*settings.protect, *demands.get("protect", ())),
        max_diff_lines=settings.max_diff_lines,
        allow_binary=settings.allow_binary,
    )


def warnings(stage: Stage) -> Iterator[str]:
    """A line for each glob that means no file which git knows: a slip of the pen protects nothing."""
    found = bounds_of(stage.settings)
    named = [("--protect", glob) for glob in found.protect]
    named += [("--only", glob) for globs in found.only for glob in globs]
    tracked = git.run(stage.top, "ls-files", "-z").split(b"\0")[:-1] if named else []
    paths = [path.decode("utf-8", "surrogateescape") for path in tracked]
    for option, glob in dict.fromkeys(named):
        if not any(fits(path, [glob]) for path in paths):
            yield f"{option} {shown(glob)}: no tracked file fits that"


def judge(stage: Stage, tracking: Tracking, patch: bytes) -> None:
    """Notes what is out of bounds, and puts the tree back if nothing worse has happened."""
    tally = stage.tally
    files = list(sections.read(patch)) if len(patch) <= _LARGEST else []
    for line in weakening.find(files):
        _notice(stage, f"tests are weaker: {line}")
    marks = {file.path: file.marks for file in files}
    tally.policy = bounds.breaches(tally.changes, bounds_of(stage.settings), marks)
    for line in bounds.said(tally.policy):
        tally.note("error_policy", line)
    end = outcome.decide(tally.subtypes, tally.signum)
    if tally.policy and end.subtype == "error_policy" and not stage.settings.keep:
        _put_back(stage, tracking)


def _put_back(stage: Stage, tracking: Tracking) -> None:
    kept = f"; the diff is in {file}" if (file := stage.tally.patch_file) else ""
    try:
        problems = tracking.put_back()
    except RepositoryError as error:
        stage.tally.errors.append(f"the tree stays as it is: {error}{kept}")
        return
    _notice(stage, f"the tree was put back{kept}; --keep leaves it")
    for problem in problems:
        _notice(stage, problem)


def _notice(stage: Stage, line: str) -> None:
    stage.tally.notices.append(line)
    stage.show(Notice(line))
