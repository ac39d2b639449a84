"""Reports, repeats and known failures: what commands that write, or fail by chance, may prove."""

from __future__ import annotations

import os
import re
import resource
import threading
from pathlib import Path
from typing import Literal

import pytest

from glm_agent import verify
from glm_agent.reported.junit import bounded
from glm_agent.sandbox import unconfined
from glm_agent.types import Json, Verified
from glm_agent.verify import Report
from glm_agent.workspace import Workspace

WRITE = "cat > r.xml <<'END'\n{}\nEND\n"


def report(**states: str) -> str:
    """JUnit XML in which each check ended as it says."""
    inner = {"failed": "<failure/>", "passed": "", "skipped": "<skipped/>", "flaky": "<flakyFailure/>"}
    cases = "".join(f'<testcase name="{name}">{inner[state]}</testcase>' for name, state in states.items())
    return f"<testsuite>{cases}</testsuite>"


def run(
    root: Path,
    command: str,
    phase: Literal["before", "after"] = "before",
    interest: tuple[str, ...] = (),
    *,
    path: str | None = "r.xml",
    repeats: int = 0,
) -> tuple[Verified, list[str]]:
    written = Report(Workspace(root), path) if path else None
    check = verify.Check(command, unconfined(root), 60, threading.Event(), written, repeats)
    found, notices = verify.run(check, phase, interest)
    found.command = "check"  # that runs may be compared whatever they do
    found.failed = ["check" if name == bounded(command) else name for name in found.failed]
    return found, notices


def claims(before: Verified, after: Verified) -> Json:
    found = verify.compare([before], [after])
    return {name: found[name] for name in found if name not in ("before", "after") and found[name]}


def pair(root: Path, before: str, after: str, *, repeats: int = 0, path: str | None = "r.xml") -> Json:
    first, _ = run(root, before, path=path, repeats=repeats)
    second, _ = run(root, after, "after", tuple(first.failed), path=path, repeats=repeats)
    return claims(first, second)


def writes(code: int, **states: str) -> str:
    return f"{WRITE.format(report(**states))}exit {code}"


# Reports


def test_a_report_names_the_checks_whatever_was_printed(tmp_path: Path) -> None:
    found, notices = run(tmp_path, "echo FAILED x.py::no; " + writes(1, a="failed", b="passed", c="skipped"))
    assert (found.failed, found.junit, notices) == (["a"], True, [])


@pytest.mark.parametrize(
    ("before", "after", "proven"),
    [
        (
            writes(1, a="failed", b="failed"),
            writes(1, a="passed", b="failed"),
            {"fixed": ["a"], "still_failing": ["b"]},
        ),
        (
            writes(1, a="failed", b="passed"),
            writes(1, a="passed", b="failed"),
            {"fixed": ["a"], "newly_broken": ["b"]},
        ),
        # Gone, skipped, or not written at all: nothing says that they pass.
        (writes(1, a="failed", b="failed"), writes(0, a="passed"), {"fixed": ["a"], "not_run": ["b"]}),
        (writes(1, a="failed"), writes(0, a="skipped"), {"not_run": ["a"]}),
        (writes(1, a="failed"), "exit 0", {}),
        (writes(1, a="failed"), "echo FAILED x.py::y; exit 1", {"still_failing": ["x.py::y"]}),
        ("echo FAILED x.py::y; exit 1", writes(1, a="failed"), {"still_failing": ["a"]}),
        ("echo FAILED x.py::y; exit 1", writes(0, a="passed"), {"fixed": ["x.py::y"]}),
        # The runner says itself that it passes at times only.
        (writes(1, a="failed"), writes(0, a="flaky"), {"still_failing": ["a"], "flaky": ["a"]}),
        (writes(0, a="flaky"), writes(0, a="passed"), {"flaky": ["a"]}),
        # The command fails, and no check does.
        (writes(0, a="passed"), writes(1, a="passed"), {"newly_broken": ["check"]}),
    ],
)  # fmt: skip
def test_fixed_means_seen_to_pass(before: str, after: str, proven: Json, tmp_path: Path) -> None:
    assert pair(tmp_path, before, after) == proven


def test_of_a_folder_the_files_that_the_run_wrote_are_one_report(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old.xml").write_text(report(old="failed"))
    (tmp_path / "out/notes.txt").write_text("no report")
    one, two = report(a="failed"), report(b="failed", c="passed")
    found, _ = run(tmp_path, f"echo '{one}' > out/1.xml; echo '{two}' > out/2.xml; exit 1", path="out")
    assert found.failed == ["a", "b"]


OLD = report(a="failed")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("exit 1", "was not written by the command in this run"),
        ("rm r.xml; exit 1", "was not written by the command;"),
        ("echo '<testsuite><testcase' > r.xml; exit 1", "is no well-formed XML"),
        ("truncate -s 70000000 r.xml; exit 1", "has more than 64 MiB"),
        ("rm r.xml; ln -s /etc/passwd r.xml; exit 1", "cannot be read: r.xml leads, by a symbolic link, to"),
        ("rm r.xml; mkfifo r.xml; exit 1", "cannot be read: r.xml is not a regular file"),
        ("rm r.xml; mkdir r.xml; exit 1", "was not written by the command;"),
        ("chmod 0 r.xml; echo > r.xml; exit 1", "is no well-formed XML|cannot be read"),
        ("printf '<!DOCTYPE t><testsuite/>' > r.xml; exit 1", "document type"),
    ],
)
def test_another_file_than_the_run_s_own_is_not_used_and_that_is_said(
    command: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "r.xml").write_text(OLD)
    found, (notice,) = run(tmp_path, f"echo FAILED t.py::x; {command}")
    assert (found.failed, found.junit) == (["t.py::x"], False)
    assert notice.startswith("--verify-junit r.xml ")
    assert re.search(said, notice) and notice.endswith("; checks are named by what was printed")


def test_a_report_that_was_only_looked_at_is_stale_even_with_a_new_time(tmp_path: Path) -> None:
    file = tmp_path / "r.xml"
    file.write_text(OLD)
    written = Report(Workspace(tmp_path), "r.xml")
    written.mark()
    file.read_text()
    with pytest.raises(verify.BadReport, match="in this run"):
        written.read()
    file.write_text(OLD)
    os.utime(file, (1, 1))
    assert list(written.read().failed) == ["a"]


# Repeats


COUNT = "n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n"


def counted(*codes: tuple[int, str]) -> str:
    """A command that prints and exits as the next of `codes` says, and as the last from then on."""
    arms = "".join(f"{n}) echo '{text}'; exit {code};; " for n, (code, text) in enumerate(codes[:-1]))
    code, text = codes[-1]
    return f"{COUNT}; case $n in {arms}*) echo '{text}'; exit {code};; esac"


A, B = (1, "FAILED t.py::a"), (1, "FAILED t.py::b")
FINE = (0, "ok")


Codes = tuple[tuple[int, str], ...]
CHANCES: list[tuple[Codes, int, tuple[int, list[str], list[str]]]] = [
    ((A, FINE), 0, (1, ["t.py::a"], [])),
    ((A, FINE), 2, (0, [], ["t.py::a"])),
    ((A, A, FINE), 1, (1, ["t.py::a"], [])),
    ((A, A, FINE), 2, (0, [], ["t.py::a"])),
    ((A, B), 1, (1, [], ["t.py::a", "t.py::b"])),  # no run passed whole
    (((1, "FAILED t.py::a\nFAILED t.py::b"), B), 2, (1, ["t.py::b"], ["t.py::a"])),
    ((FINE, A), 2, (0, [], [])),  # what passes is not repeated
    (((3, ""), FINE), 1, (0, [], ["check"])),
    (((3, ""), (3, "")), 1, (3, ["check"], [])),
    ((A, (3, "")), 1, (1, ["check"], [])),  # once it did not say what failed
    ((A, (2, "FAILED t.py")), 1, (1, ["t.py::a"], ["t.py"])),  # which hides the rest
    (((127, ""), FINE), 1, (127, ["check"], [])),
]


@pytest.mark.parametrize(("codes", "repeats", "found"), CHANCES)
def test_what_fails_at_times_only_is_flaky(
    codes: Codes, repeats: int, found: tuple[int, list[str], list[str]], tmp_path: Path
) -> None:
    done, _ = run(tmp_path, counted(*codes), path=None, repeats=repeats)
    flaky = [name if name.startswith("t.py") else "check" for name in done.flaky]
    assert (done.exit_code, done.failed, flaky) == found
    ran = 1 if codes[0][0] in (0, 127) else repeats + 1
    assert (tmp_path / "n").read_text() == f"{ran}\n"


def test_with_a_report_it_is_flaky_only_if_a_run_saw_it_pass(tmp_path: Path) -> None:
    one, two = report(a="failed", b="failed"), report(a="passed", b="skipped", c="failed")
    command = f"{COUNT}; if [ $n = 0 ]; then echo '{one}'; else echo '{two}'; fi > r.xml; exit 1"
    found, _ = run(tmp_path, command, repeats=2)
    assert (found.failed, found.flaky) == (["b", "c"], ["a"])


def test_of_two_checks_with_one_name_the_one_that_fails_counts(tmp_path: Path) -> None:
    both = '<testsuite><testcase name="a"/><testcase name="a"><failure/></testcase></testsuite>'
    found, _ = run(tmp_path, f"{WRITE.format(both)}exit 1", interest=("a",), repeats=1)
    assert (found.failed, found.flaky, found.passed) == (["a"], [], [])


# What is asked for


def ran(phase: Literal["before", "after"], code: int | None, *failed: str, **fields: object) -> Verified:
    command = str(fields.pop("command", "check"))
    return Verified(phase, command, code, list(failed), 5, **fields)  # pyright: ignore[reportArgumentType]


BEFORE = ran("before", 1, "a", "b")
ONE = ran("before", 1, "a", junit=True)
TWO = ran("before", 1, "a", "b", junit=True)
LATE = "timed out after 0 s; --verify-timeout sets how long it may take"
NAMELESS = "still fails, and what fails has no name; --verify-junit may give it one"
CUT = "still fails, and did not get to all of its checks"
STOPPED = "!!! stopping after 1 failures !!!"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (BEFORE, ran("after", 0), None),
        (BEFORE, ran("after", 1, "b"), None),
        (BEFORE, ran("after", 1, "a", "b"), "nothing is fixed; still fails: a, b"),
        (BEFORE, ran("after", 1, "c"), "is newly broken: c"),
        (BEFORE, ran("after", None, "check"), LATE),
        (ran("before", 0), ran("after", None, "check"), LATE),
        (BEFORE, ran("after", 2, "check"), NAMELESS),
        (ran("before", 1, "check"), ran("after", 1, "b"), NAMELESS),
        (BEFORE, ran("after", 1, "b", junit=True), "still fails, and only one of its runs wrote the report"),
        (BEFORE, ran("after", 1, "b", partial=True), CUT),
        (BEFORE, ran("after", 1, "b", output=STOPPED), CUT),
        (ran("before", 0), ran("after", 1, "a"), "is newly broken: a"),
        # Flaky ones.
        (BEFORE, ran("after", 0, flaky=["c"]), None),
        (BEFORE, ran("after", 1, "b", flaky=["c"]), None),
        (BEFORE, ran("after", 0, flaky=["a"]), "passes only sometimes: a"),
        (ran("before", 1, "a", flaky=["b"]), ran("after", 1, "b"), None),
        (ran("before", 0, flaky=["b"]), ran("after", 0, flaky=["b"]), None),
        (ONE, ran("after", 1, "a", junit=True, passed=[]), "nothing is fixed; still fails: a"),
        (TWO, ran("after", 1, "b", junit=True), "nothing is fixed; still fails: b"),
        (TWO, ran("after", 1, "b", junit=True, passed=["a"]), None),
    ],
)  # fmt: skip
def test_known_failures_may_go_on_if_something_is_fixed_and_all_is_known(
    before: Verified, after: Verified, why: str | None
) -> None:
    found = verify.unmet([before], [after], known_failures=True)
    assert [one.why for one in found] == ([why] if why else [])


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (ran("after", 0), None),
        (ran("after", 0, flaky=["c"]), None),
        (ran("after", 0, flaky=["a"]), "passes only sometimes: a"),
        (ran("after", 1, "b"), "still fails: b"),
        (ran("after", 1, "b", "c"), "still fails: b; is newly broken: c"),
        (ran("after", 1, flaky=["c", "d"]), "fails at times: c, d"),
        (ran("after", 1, "check"), "still fails"),
    ],
)
def test_else_every_command_must_have_passed_once(after: Verified, why: str | None) -> None:
    found = verify.unmet([BEFORE], [after], known_failures=False)
    assert [one.why for one in found] == ([why] if why else [])


def test_what_one_command_fixes_lets_another_s_known_failures_be(tmp_path: Path) -> None:
    before = [ran("before", 1, "a"), ran("before", 1, "x", command="other")]
    after = [ran("after", 0), ran("after", 1, "x", command="other")]
    assert verify.unmet(before, after, known_failures=True) == []
    assert len(verify.unmet(before, [before[0], after[1]], known_failures=True)) == 2


@pytest.mark.slow
def test_memory_and_time_stay_small_however_much_is_printed(tmp_path: Path) -> None:
    command = "echo FAILED t.py::first; yes | head -c 1G; echo FAILED t.py::last; exit 1"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, _ = run(tmp_path, command, path=None)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (found.failed, found.partial) == (["t.py::first", "t.py::last"], True)
    assert grown < 256 * 1024  # KiB: of the output, at most 64 MiB are kept
