"""What `--verify` asks for: the commands of a run, who runs them, and what is said of those that fail."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Literal, NamedTuple

from .. import config, sandbox, verify
from ..sandbox import Runner
from ..types import Event, Verified
from .conduct import Stage
from .confinement import Confinement


class Checks(NamedTuple):
    """The user's commands, and what runs them."""

    commands: Sequence[str]
    start: Runner
    timeout: float
    cancel: threading.Event

    def run(self, phase: Literal["before", "after"]) -> Iterator[Verified]:
        for command in self.commands:
            yield verify.run(command, self.start, phase, timeout=self.timeout, cancel=self.cancel)


def choose(stage: Stage, confinement: Confinement) -> tuple[Checks, list[str]]:
    """The checks to run, and a notice if the repository's own file asks for some that may not run."""
    settings, commands, notices = stage.settings, stage.settings.verify, list[str]()
    if config.from_repository(settings, "verify") and confinement.tier is None:
        file = settings.origins["verify"].rpartition("/")[2]
        named = " ".join(f"--verify {command!r}" for command in commands)
        commands, notices = (), [f"{file} asks for checks, which run only in a sandbox; to run them: {named}"]
    start = confinement.runner() if commands else sandbox.unconfined(stage.top)
    return Checks(commands, start, settings.verify_timeout, stage.cancel), notices


def pass_already(checks: Checks) -> Generator[Event, None, bool]:
    """Whether there is nothing to ask a model for, so that no key is missing."""
    for check in checks.run("before"):
        yield check
        if check.exit_code != 0:
            return False
    return True


def complaint(check: Verified, baseline: Sequence[Verified]) -> str:
    """What is wrong now, and whether it was before."""
    before = [first for first in baseline if first.command == check.command]
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
