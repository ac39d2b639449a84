"""The user's check: which checks fail before and after a run, and what the run may claim to have fixed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import cache
from typing import Literal

from .errors import UsageError
from .sandbox import Runner
from .secrets import mask
from .truncate import head_tail
from .types import Json, Verified

MAX_NAMES = 1000
_MAX_NAME = 300  # characters
_MAX_LINE = 2000  # characters of a line that are looked at
_SHOWN = 50  # names in the message to the model

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
_HINT = re.compile(
    r"FAIL|ERROR|not ok|Failed|Timeout|SEGFAULT|ILLEGAL|Not Run|borted|[●✕\xd7✗✖]|^\d+\) |^rspec "
)  # else no pattern below can fit

# A line that fits one of these names a failing check, whoever else wrote on that output.
_SURE = (
    r"(?:\[gw\d+\] .+?\] )?(?:FAILED|ERROR) ([^\s\[:][^\[:]*\.\w+::[^\[]+?(?:\[.*?\])?)(?: - .*)?$",
    r"(?:FAILED|ERROR) (\S+\.py)(?: - .*)?$",  # pytest, as above: a file that cannot be collected
    r"([^\s:]+\.py::.+?) (?:FAILED|ERROR)(?: +\[ *\d+%\])?$",  # pytest -v
    r"(?:FAIL|ERROR): (\S+ \(\S+\).*)$",  # unittest
    r" *--- FAIL: (\S+)",  # go
    r"FAIL\s+(\S+ \[(?:build|setup) failed\])$",  # go: a package that does not compile
    r"test (\S.*?) \.\.\. FAILED$",  # cargo
    r" *FAIL \[ *[\d.]+s\] (?:\([ \d/]+\) )?(\S.*)$",  # cargo nextest
    r" *● (\S.* \u203a .*)$",  # jest
    r" *FAIL +(\S+\.\w+ > .+)$",  # vitest
    r" *not ok \d+ (?:- )?(?!.*# (?:TODO|SKIP))(\S.*?)(?: +# .*)?$",  # TAP
    r"\s+\d+ - (\S.*?) \((?:Failed|Timeout|SEGFAULT|ILLEGAL|Not Run|\w+ [Aa]borted)\)",  # ctest
    r"\[  FAILED  \] ([^\s.,]+\.[^\s,]+)(?:, where .*)?(?: \(\d+ ms\))?$",  # googletest
    r"\d+\) ([\w\\]+::\w.*)$",  # PHPUnit
    r"rspec \S+ # (\S.*)$",  # RSpec
    r" +Failed (\S.*?) \[[<\d][^\]]*s\]$",  # dotnet
    r"\[ERROR\] +([\w.$]+\.\w+(?:\[.*?\])?):\d+",  # maven surefire
)
# Only where no line above was found: the same check may appear as both.
_MARK = re.compile(r" *[✕\xd7✗✖] (?!failing tests:)(\S.*?)(?: \(?[\d.]+ ?m?s\)?)?$")
_NUMBERED = re.compile(r"^ +\d+\) (\S.*?):?\r?$", re.MULTILINE)  # mocha, before the line that counts them
_FAILING = re.compile(r"^ +\d+ failing\r?$", re.MULTILINE)
_FILE = re.compile(r" *FAIL +(\S+\.[cm]?[jt]sx?)(?: \([\d.]+ m?s\))?$")
_SUITE_BROKEN = re.compile(r" *● Test suite failed to run$")

# A whole file or package that could not run: what is in it was not checked at all.
_UNRUN = re.compile(
    r".* \[(?:build|setup) failed\]$|[^:\s]+\.(?:py|[cm]?[jt]sx?)$"
    r"|.*unittest\.loader\._FailedTest|setUp(?:Class|Module) "
)
_CUT_SHORT = re.compile(r"^!+ (?:stopping after|Interrupted|xdist\.dsession\.Interrupted)", re.MULTILINE)


def run(
    command: str,
    start: Runner,
    phase: Literal["before", "after"],
    *,
    timeout: float,
    cancel: threading.Event,
) -> Verified:
    """One run of a verify command. Raises UsageError if no shell can be started for it, or SandboxError."""
    try:
        ran = start(command, timeout, cancel)
    except (OSError, ValueError) as error:
        raise UsageError(f"--verify {_quoted(command)} cannot run: {error}") from error
    done = ran.done
    output = done.output.decode("utf-8", "backslashreplace")
    failed: list[str] = []
    if done.exit_code is None:
        failed = [_bounded(command)]  # the names so far prove nothing
    elif done.exit_code != 0:
        failed = failures(output) or [_bounded(command)]
    shown = mask(head_tail(output)) + "".join(f"{note}\n" for note in ran.notes())
    return Verified(phase, command, done.exit_code, failed, round(done.seconds * 1000), shown)


def require_runnable(verified: Verified) -> None:
    """Raises UsageError if the shell did not find the command (127), or may not run it (126)."""
    if verified.exit_code in (126, 127):
        why = "not found" if verified.exit_code == 127 else "not executable"
        said = verified.output.rstrip().rpartition("\n")[2][:_MAX_NAME]
        raise UsageError(f"--verify {_quoted(verified.command)} cannot run: {why} ({said})")


def failures(output: str) -> list[str]:
    """Names of failing checks in the output of a test runner: in order, each once, at most MAX_NAMES."""
    sure: dict[str, None] = {}
    marked: list[str] = []
    files: list[str] = []
    for line in _candidates(output):
        if name := _first_match(line):
            sure[_bounded(name)] = None
        elif _SUITE_BROKEN.match(line) and files:
            sure[_bounded(files[-1])] = None
        elif match := _FILE.match(line):
            files.append(match[1])
        elif match := _MARK.match(line):
            marked.append(match[1])
        if len(sure) >= MAX_NAMES:
            break
    names = sure or dict.fromkeys(map(_bounded, marked or _numbered(output) or files))
    return list(names)[:MAX_NAMES]


def compare(before: list[Verified], after: list[Verified]) -> Json:
    """`{"before", "after", "fixed", "still_failing", "newly_broken"}`, by command; runs without their output.

    Nothing is claimed that was not seen: a check is fixed only if the later run could have named it, and
    newly broken only if the earlier run could.
    """
    earlier = {verified.command: verified for verified in before}
    fixed: dict[str, None] = {}
    still: dict[str, None] = {}
    broken: dict[str, None] = {}
    for verified in after:
        first = earlier.get(verified.command)
        old, new = first.failed if first else [], verified.failed
        if (
            first
            and first.exit_code != 0
            and _complete(verified)
            and (verified.exit_code == 0 or _named(first))
        ):
            fixed |= dict.fromkeys(name for name in old if name not in new)
        knows = first is not None and _complete(first) and (first.exit_code == 0 or _named(verified))
        for name in new:
            (broken if knows and name not in old else still)[name] = None
    return {
        "before": [_brief(verified) for verified in before],
        "after": [_brief(verified) for verified in after],
        "fixed": [name for name in fixed if name not in still and name not in broken],
        "still_failing": list(still),
        "newly_broken": [name for name in broken if name not in still],
    }


def report(failing: list[Verified]) -> str:
    """What the model reads about commands that still fail."""
    parts = ["The work is not done: verification fails. Find the cause and fix it; it will be run again."]
    return "\n\n".join(parts + [_section(verified) for verified in failing])


def _section(verified: Verified) -> str:
    code = verified.exit_code
    seconds = verified.duration_ms / 1000
    ended = f"was killed after {seconds:.0f} s" if code is None else f"ended with exit code {code}"
    lines = [f"`{verified.command}` {ended}."]
    if _named(verified):
        lines.append("Failing:")
        lines += [f"- {name}" for name in verified.failed[:_SHOWN]]
        if (more := len(verified.failed) - _SHOWN) > 0:
            lines.append(f"- and {more} more")
    output = head_tail(verified.output).rstrip("\n")
    return "\n".join([*lines, "Output:", output or "(none)"])


def _complete(verified: Verified) -> bool:
    """Whether a check that this run does not name did pass in it."""
    if verified.exit_code == 0:
        return True
    all_named = _named(verified) and len(verified.failed) < MAX_NAMES
    return (
        all_named and not _CUT_SHORT.search(verified.output) and not any(map(_UNRUN.match, verified.failed))
    )


def _named(verified: Verified) -> bool:
    return verified.exit_code is not None and verified.failed != [_bounded(verified.command)]


def _brief(verified: Verified) -> Json:
    return {
        "command": verified.command,
        "exit_code": verified.exit_code,
        "failed": verified.failed,
        "duration_ms": verified.duration_ms,
    }


def _candidates(output: str) -> Iterator[str]:
    """Lines that may name a check: without colours, cut to a length that is safe to match."""
    for raw in output.split("\n"):
        line = raw[:_MAX_LINE].rstrip("\r")
        if "\x1b" in line:
            line = _ANSI.sub("", line)
        if _HINT.search(line):
            yield line


def _first_match(line: str) -> str:
    return next((match[1] for pattern in _patterns() if (match := pattern.match(line))), "")


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, _SURE))  # ~3 ms: only for a check that fails


def _numbered(output: str) -> list[str]:
    """What mocha lists; after its count it repeats the same names in pieces."""
    end = _FAILING.search(output)
    return [match[1] for match in _NUMBERED.finditer(output, 0, end.start())] if end else []


def _bounded(name: str) -> str:
    name = name.strip()
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def _quoted(command: str) -> str:
    return repr(_bounded(command))
