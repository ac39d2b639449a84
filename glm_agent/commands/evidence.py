"""What `--verify` asks for: the commands of a run, who runs them, and what is said of those that fail."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Literal, NamedTuple

from .. import config, sandbox, verify
from ..errors import ToolError, UsageError
from ..types import Checking, Event, Notice, Verified
from ..verify import Check, Unmet
from ..workspace import Workspace
from .conduct import Stage
from .confinement import Confinement, open_workspace

_NOTHING = "Nothing to fix: every --verify command passes already."


class Checks(NamedTuple):
    """The user's commands, ready to run, and what is demanded of them."""

    checks: Sequence[Check]
    known_failures: bool

    def run(
        self, phase: Literal["before", "after"], baseline: Sequence[Verified] = ()
    ) -> Generator[Event, None, list[Verified]]:
        """Each command once, or as often as the user wants it repeated."""
        done: list[Verified] = []
        for check in self.checks:
            failed = [name for first in baseline if first.command == check.command for name in first.failed]
            yield Checking(check.command)
            verified, notices = verify.run(check, phase, failed)
            yield from map(Notice, notices)
            yield verified
            done.append(verified)
        return done

    def unmet(self, baseline: Sequence[Verified], now: Sequence[Verified]) -> list[Unmet]:
        return verify.unmet(baseline, now, known_failures=self.known_failures)

    def report(self, unmet: Sequence[Unmet]) -> str:
        """What the model reads about what is not yet as it must be."""
        failing = [check for check, _ in unmet]
        said = self.known_failures or any(check.exit_code == 0 for check in failing)
        return verify.report(failing, [complaint(one) for one in unmet] if said else ())


def choose(stage: Stage, confinement: Confinement) -> tuple[Checks, list[str]]:
    """The checks to run, and a notice if the repository's own file asks for some that may not run."""
    settings, commands, notices = stage.settings, stage.settings.verify, list[str]()
    if config.from_repository(settings, "verify") and confinement.tier is None:
        file = settings.origins["verify"].rpartition("/")[2]
        named = " ".join(f"--verify {command!r}" for command in commands)
        commands, notices = (), [f"{file} asks for checks, which run only in a sandbox; to run them: {named}"]
    start = confinement.runner() if commands else sandbox.unconfined(stage.top)
    reports = _reports(stage, len(commands))
    made = [
        Check(command, start, settings.verify_timeout, stage.cancel, report, settings.flaky_runs)
        for command, report in zip(commands, reports, strict=True)
    ]
    return Checks(made, settings.known_failures), notices


def _reports(stage: Stage, count: int) -> list[verify.Report | None]:
    """For each command where it writes its report; a repository's file says so of its own commands only."""
    settings = stage.settings
    paths = settings.verify_junit
    if config.from_repository(settings, "verify_junit") and not config.from_repository(settings, "verify"):
        paths = ()
    if len(paths) > len(settings.verify):
        raise UsageError("--verify-junit says where a --verify command writes its report; give one for each")
    workspace = open_workspace(stage)
    found = [verify.Report(workspace, _located(workspace, path)) for path in paths[:count]]
    return [*found, *[None] * (count - len(found))]


def _located(workspace: Workspace, path: str) -> str:
    try:
        return workspace.locate(path)
    except ToolError as error:
        raise UsageError(f"--verify-junit: {error}") from error


def pass_already(checks: Checks) -> Generator[Event, None, bool]:
    """Whether there is nothing to ask a model for, so that no key is missing."""
    for check in checks.checks:
        found = yield from checks._replace(checks=[check]).run("before")
        if found[0].exit_code != 0:
            return False
    return True


def nothing_to_do(baseline: Sequence[Verified]) -> str:
    """The answer where no command fails each time."""
    flaky = [name for check in baseline for name in check.flaky]
    if not flaky:
        return _NOTHING
    return f"Nothing to fix that fails each time. Failing at times: {', '.join(flaky)}"


def complaint(unmet: Unmet) -> str:
    return f"--verify {unmet.check.command!r} {unmet.why}"
