"""The user's checks: which fail before and after a run, and what the run may claim to have fixed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..errors import UsageError
from ..reported.junit import BadReport, bounded
from ..sandbox import Ran, Runner
from ..secrets import mask
from ..truncate import head_tail
from ..types import Verified
from .compare import Unmet, compare, is_named, seconds, unmet
from .fresh import Report, Seen
from .names import MAX_NAMES, failures
from .repeat import Attempt, merge

__all__ = [
    "MAX_NAMES",
    "BadReport",
    "Check",
    "Report",
    "Unmet",
    "compare",
    "failures",
    "report",
    "require_runnable",
    "run",
    "unmet",
]

_SHOWN = 50  # names in the message to the model
_HEAD, _TAIL = 1024 * 1024, 7 * 1024 * 1024  # bytes of the output that are looked at


class Check(NamedTuple):
    """One `--verify` command, and how it runs: again up to `repeats` times if it fails."""

    command: str
    start: Runner
    timeout: float
    cancel: threading.Event
    report: Report | None = None
    repeats: int = 0


def run(
    check: Check, phase: Literal["before", "after"], interest: Sequence[str] = ()
) -> tuple[Verified, list[str]]:
    """What the command does, and notices. `interest` are names of checks that failed earlier.

    Raises UsageError if no shell can be started for it, or SandboxError.
    """
    notices: dict[str, None] = {}
    attempts = [_attempt(check, phase, notices)]
    if attempts[0].verified.exit_code not in (0, 126, 127, None):
        for _ in range(check.repeats):
            if check.cancel.is_set():
                break
            attempts.append(_attempt(check, phase, notices))
    return merge(attempts, interest), list(notices)


def _attempt(check: Check, phase: Literal["before", "after"], notices: dict[str, None]) -> Attempt:
    if check.report:
        check.report.mark()
    try:
        ran = check.start(check.command, check.timeout, check.cancel)
    except (OSError, ValueError) as error:
        raise UsageError(f"--verify {_quoted(check.command)} cannot run: {error}") from error
    seen = _seen(check, ran, notices)
    output, is_cut = _looked_at(ran.done.output)
    is_cut = is_cut or bool(ran.done.omitted)
    failed: list[str] = []
    if ran.done.exit_code is None:
        failed = [bounded(check.command)]  # the names so far prove nothing
    elif ran.done.exit_code != 0:
        failed = list(seen.failed)[:MAX_NAMES] if seen else failures(output)
        failed = failed or [bounded(check.command)]
    shown = mask(head_tail(output)) + "".join(f"{note}\n" for note in ran.notes())
    taken = round(ran.done.seconds * 1000)
    verified = Verified(phase, check.command, ran.done.exit_code, failed, taken, shown)
    verified.junit, verified.partial = seen is not None, is_cut and seen is None
    return Attempt(verified, seen)


def _seen(check: Check, ran: Ran, notices: dict[str, None]) -> Seen | None:
    """What the report says; a command that was killed, or cannot run, is not asked for one."""
    if not check.report or ran.done.exit_code in (None, 126, 127):
        return None
    try:
        return check.report.read()
    except BadReport as error:
        notices[f"--verify-junit {check.report.path} {error}; checks are named by what was printed"] = None
        return None


def _looked_at(output: bytes) -> tuple[str, bool]:
    """The output as text, without the middle if it is long; then the second is True."""
    is_cut = len(output) > _HEAD + _TAIL
    parts = (output[:_HEAD], output[-_TAIL:]) if is_cut else (output,)
    return "\n".join(part.decode("utf-8", "backslashreplace") for part in parts), is_cut


def require_runnable(verified: Verified) -> None:
    """Raises UsageError if the shell did not find the command (127), or may not run it (126)."""
    if verified.exit_code in (126, 127):
        why = "not found" if verified.exit_code == 127 else "not executable"
        said = verified.output.rstrip().rpartition("\n")[2][:300]
        raise UsageError(f"--verify {_quoted(verified.command)} cannot run: {why} ({said})")


def report(failing: Sequence[Verified], reasons: Sequence[str] = ()) -> str:
    """What the model reads about commands that still fail."""
    parts = ["The work is not done: verification fails. Find the cause and fix it; it will be run again."]
    return "\n\n".join([*parts, *reasons, *map(_section, failing)])


def _section(verified: Verified) -> str:
    code = verified.exit_code
    ended = f"timed out after {seconds(verified)}" if code is None else f"ended with exit code {code}"
    lines = [f"`{verified.command}` {ended}."]
    if is_named(verified):
        lines.append("Failing:")
        lines += [f"- {name}" for name in verified.failed[:_SHOWN]]
        if (more := len(verified.failed) - _SHOWN) > 0:
            lines.append(f"- and {more} more")
    if verified.flaky:
        lines.append(f"Failing at times only: {', '.join(verified.flaky[:_SHOWN])}")
    output = head_tail(verified.output).rstrip("\n")
    return "\n".join([*lines, "Output:", output or "(none)"])


def _quoted(command: str) -> str:
    return repr(bounded(command))
