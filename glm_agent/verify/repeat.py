"""Several runs of one command on one tree: what fails each time, and what only at times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..reported.junit import bounded
from ..types import Verified
from .compare import is_complete, is_named
from .fresh import Seen
from .names import MAX_NAMES


class Attempt(NamedTuple):
    """One run. `seen` is what the report of that run says, if it wrote one."""

    verified: Verified
    seen: Seen | None


def merge(attempts: Sequence[Attempt], interest: Sequence[str] = ()) -> Verified:
    """All runs as one: it passed if one of them did; `passed` are the names of `interest` that always did.

    A check is flaky if it failed in one and passed in another, or if the runner itself says so.
    """
    first = attempts[0].verified
    runs = [attempt for attempt in attempts if attempt.verified.exit_code is not None] or attempts[:1]
    failing = _failing(runs)
    own = {name for _, seen in runs if seen for name in seen.flaky}
    flaky = [name for name in failing if any(_passes(name, run) for run in runs)]
    flaky += sorted(own.difference(failing))
    seen = [seen.passed for _, seen in runs if seen]
    return Verified(
        first.phase,
        first.command,
        _exit_code(runs),
        [name for name in failing if name not in flaky],
        sum(verified.duration_ms for verified, _ in attempts),
        first.output,
        flaky,
        [name for name in interest if name not in failing and seen and all(name in one for one in seen)],
        junit=all(verified.junit for verified, _ in runs),
        partial=any(verified.partial for verified, _ in runs),
    )


def _exit_code(runs: Sequence[Attempt]) -> int | None:
    codes = [verified.exit_code for verified, _ in runs]
    return 0 if 0 in codes else codes[0]


def _failing(runs: Sequence[Attempt]) -> list[str]:
    """What failed in any of them; of a command that once did not name its checks, the command alone."""
    failed = [verified for verified, _ in runs if verified.exit_code != 0]
    if not all(map(is_named, failed)):
        return [bounded(failed[0].command)]
    return list(dict.fromkeys(name for verified in failed for name in verified.failed))[:MAX_NAMES]


def _passes(name: str, run: Attempt) -> bool:
    verified, seen = run
    if verified.exit_code == 0:
        return True
    if seen is not None:
        return name in seen.passed
    is_command = name == bounded(verified.command)
    return not is_command and is_complete(verified) and name not in verified.failed
