"""What two runs of the same commands prove, and whether that is what was asked for."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from ..reported.junit import NOT_RUN, bounded
from ..types import Json, Verified
from .names import MAX_NAMES

_SHOWN = 10  # names in a complaint

# A whole file or package that could not run: what is in it was not checked at all.
_UNRUN = re.compile(
    r".* \[(?:build failed|setup failed|not run)\]$|[^:\s]+\.(?:py|[cm]?[jt]sx?)$"
    r"|.*unittest\.loader\._FailedTest|setUp(?:Class|Module) |.*\"before (?:all|each)\" hook"
)
_CUT_SHORT = re.compile(r"^!+ (?:stopping after|Interrupted|xdist\.dsession\.Interrupted)", re.MULTILINE)


class Unmet(NamedTuple):
    """A command that is not as it must be, and why."""

    check: Verified
    why: str


def compare(before: Sequence[Verified], after: Sequence[Verified]) -> Json:
    """`before`, `after`, `fixed`, `still_failing`, `newly_broken`, `timed_out`, `flaky` and `not_run`.

    Nothing is claimed that was not seen: a check is fixed only if the later run could have named it (and,
    where a report names those that pass, does), and newly broken only if the earlier run could. `not_run`
    failed before, and the later report has nothing on them; `timed_out` are commands.
    """
    earlier = {verified.command: verified for verified in before}
    fixed: dict[str, None] = {}
    still: dict[str, None] = {}
    broken: dict[str, None] = {}
    missing: dict[str, None] = {}
    for verified in after:
        if verified.exit_code is None:
            continue
        new = dict.fromkeys(verified.failed)
        if first := earlier.get(verified.command):
            fixed |= dict.fromkeys(name for name in first.failed if _is_fixed(name, first, verified))
            missing |= dict.fromkeys(name for name in first.failed if _is_missing(name, first, verified))
            broken |= (worse := dict.fromkeys(_newly_broken(first, verified)))
            still |= dict.fromkeys(name for name in first.failed if name in verified.flaky)
            new = {name: None for name in new if name not in worse}
        still |= new
    flaky = dict.fromkeys(name for verified in (*before, *after) for name in verified.flaky)
    return {
        "before": [_brief(verified) for verified in before],
        "after": [_brief(verified) for verified in after],
        "fixed": _without(fixed, still, broken, flaky),
        "still_failing": list(still),
        "newly_broken": _without(broken, still),
        "timed_out": [verified.command for verified in after if verified.exit_code is None],
        "flaky": list(flaky),
        "not_run": _without(missing, still, broken, fixed),
    }


def unmet(before: Sequence[Verified], after: Sequence[Verified], *, known_failures: bool) -> list[Unmet]:
    """The commands of `after` that keep a run from success.

    Each must exit 0, and no check that always failed may now fail at times. With `known_failures`, checks
    of the baseline may go on failing if something is fixed, nothing else fails, and all are named.
    """
    earlier = {verified.command: verified for verified in before}
    found: list[Unmet] = []
    for verified in after:
        first = earlier.get(verified.command)
        unsteady = [name for name in verified.flaky if first and name in first.failed]
        if unsteady:
            found.append(Unmet(verified, f"passes only sometimes: {_list(unsteady)}"))
        elif verified.exit_code != 0:
            why = _unknown(first, verified) if known_failures else _complaint(first, verified)
            found += [Unmet(verified, why)] if why else []
    failing = [verified for verified in after if verified.exit_code != 0]
    if failing and not found and not compare(before, after)["fixed"]:
        return [Unmet(verified, f"nothing is fixed; {_complaint(None, verified)}") for verified in failing]
    return found


def is_named(verified: Verified) -> bool:
    """Whether its failing checks are known by name."""
    return verified.exit_code is not None and verified.failed != [bounded(verified.command)]


def _unknown(first: Verified | None, verified: Verified) -> str:
    """Why not all that fails is known to have failed before; empty if it is."""
    if verified.exit_code is None:
        return _complaint(first, verified)
    if first is None or first.exit_code == 0:
        return _complaint(first, verified)
    known = (*first.failed, *first.flaky)
    reasons = (
        (
            not is_named(verified) or not is_named(first),
            "still fails, and what fails has no name; --verify-junit may give it one",
        ),
        (first.junit != verified.junit, "still fails, and only one of its runs wrote the report"),
        (_is_cut(verified), "still fails, and did not get to all of its checks"),
    )
    if why := next((why for is_so, why in reasons if is_so), ""):
        return why
    new = [name for name in verified.failed if name not in known]
    return f"is newly broken: {_list(new)}" if new else ""


def _complaint(first: Verified | None, verified: Verified) -> str:
    """What is wrong now, and whether it was before."""
    if verified.exit_code is None:
        return f"timed out after {seconds(verified)}; --verify-timeout sets how long it may take"
    broken = _newly_broken(first, verified) if first else []
    kinds = (
        ("still fails", [name for name in verified.failed if name not in broken]),
        ("is newly broken", broken),
        ("fails at times", [] if verified.failed else verified.flaky),
    )
    parts: list[str] = []
    for kind, names in kinds:
        named = f": {_list(names)}" if names != [bounded(verified.command)] else ""
        parts += [kind + named] * bool(names)
    return "; ".join(parts) or "still fails"


def seconds(verified: Verified) -> str:
    return f"{verified.duration_ms / 1000:.0f} s"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN])


def _is_fixed(name: str, first: Verified, verified: Verified) -> bool:
    """Whether `name`, which failed in `first`, was seen to pass, as far as the runs can tell."""
    if first.exit_code == 0 or name in verified.failed:
        return False
    if first.junit and is_named(first) and not name.endswith(NOT_RUN):
        return verified.junit and name in verified.passed
    if verified.exit_code == 0:
        return True
    return first.junit == verified.junit and is_complete(verified) and is_named(first)


def _is_missing(name: str, first: Verified, verified: Verified) -> bool:
    seen = {*verified.failed, *verified.passed, *verified.flaky}
    both = first.junit and verified.junit and is_named(first)
    return both and name not in seen and not name.endswith(NOT_RUN)


def _newly_broken(first: Verified, verified: Verified) -> list[str]:
    """What fails in `verified` and would have been named by `first`, had it failed there."""
    comparable = is_named(verified) and first.junit == verified.junit
    if first.exit_code != 0 and not (comparable and is_complete(first)):
        return []
    return [name for name in verified.failed if name not in (*first.failed, *first.flaky)]


def _without(names: Iterable[str], *others: Container[str]) -> list[str]:
    return [name for name in names if not any(name in other for other in others)]


def is_complete(verified: Verified) -> bool:
    """Whether a check that this run does not name did pass in it."""
    if verified.exit_code == 0:
        return True
    return is_named(verified) and not _is_cut(verified) and not any(map(_UNRUN.match, verified.failed))


def _is_cut(verified: Verified) -> bool:
    return verified.partial or len(verified.failed) >= MAX_NAMES or bool(_CUT_SHORT.search(verified.output))


def _brief(verified: Verified) -> Json:
    return {
        "command": verified.command,
        "exit_code": verified.exit_code,
        "failed": verified.failed,
        "flaky": verified.flaky,
        "duration_ms": verified.duration_ms,
    }
