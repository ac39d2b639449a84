from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import first_fast

from glm_agent import verify
from glm_agent.errors import UsageError
from glm_agent.sandbox import unconfined
from glm_agent.types import Verified

PYTEST = """
=================================== FAILURES ===================================
E       assert 1 == 2
ERROR    root:app.py:3 something::else - was logged
----------------------------- Captured stderr call -----------------------------
=========================== short test summary info ============================
FAILED tests/test_a.py::test_plain - AssertionError: assert [1] == [2]
FAILED tests/test_a.py::test_param[with - dash and [bracket]] - ValueError: x - y
FAILED tests/test_a.py::TestX::test_no_message
\x1b[31mFAILED\x1b[0m tests/test_b.py::\x1b[1mtest_colour\x1b[0m - no
ERROR tests/test_c.py::test_setup - fixture 'x' not found
ERROR tests/test_d.py - ImportError: no module
ERROR tests/test_e.py
[gw1] [ 50%] FAILED tests/test_f.py::test_worker
tests/test_g.py::test_verbose[a b] FAILED                                [ 33%]
FAILED tests/test_a.py::test_plain - said twice
5 failed, 3 passed in 0.12s
"""
UNITTEST = """
======================================================================
ERROR: test_crash (pkg.test_m.Case.test_crash)
What it does, in words
----------------------------------------------------------------------
FAIL: test_sub (pkg.test_m.Case.test_sub) (i=1)
FAIL: test_old (pkg.test_m.Case)
ERROR: setUpClass (pkg.test_n.Case)
ERROR: something else
FAILED (failures=2, errors=2)
"""
GO = """
=== RUN   TestSum
--- FAIL: TestSum (0.00s)
    --- FAIL: TestSum/negative (0.00s)
        sum_test.go:9: got 1
FAIL
FAIL\texample.com/m/sum\t0.003s
FAIL\texample.com/m/other [build failed]
ok  \texample.com/m/fine\t0.002s
"""
CARGO = """
test tests::works ... ok
test tests::breaks ... FAILED
test src/lib.rs - add (line 3) ... FAILED
test result: FAILED. 1 passed; 2 failed
        FAIL [   0.004s] (1/2) my-crate tests::next
"""
JEST = """
FAIL src/sum.test.js (5.2 s)
  sum
    ✕ adds (3 ms)
    ✓ subtracts
  ● sum \u203a adds

    expect(received).toBe(expected)
  ● Console
FAIL src/broken.test.ts
  ● Test suite failed to run
"""
JEST_MARKS = (
    "FAIL src/a.test.js\n  ✕ adds (3 ms)\n  \xd7 subtracts 5ms\n✖ divides (1.5ms)\n✖ failing tests:\n"
)
VITEST = " FAIL  src/a.test.ts > suite > adds\n \xd7 suite > adds 3ms\n"
TAP = """TAP version 14
ok 1 - fine
not ok 2 - adds two # time=3ms
not ok 3 later # TODO not written
    not ok 4 - nested
not ok 5 - elsewhere # SKIP not here
"""
CTEST = "The following tests FAILED:\n\t  3 - parser.adds (Failed)\n\t 12 - slow one (Timeout)   net\n"
MOCHA = """
  sum
    ✔ works
    1) adds
    2) subtracts

  1 passing (5ms)
  2 failing

  1) sum
       adds:

      AssertionError: no
      + expected - actual

  2) subtracts:
     Error: no
      at x.js:1:1
"""
OTHERS = """
[  FAILED  ] Sum.Adds (0 ms)
[  FAILED  ] 1 test, listed below:
[  FAILED  ] Sum.Adds
[  FAILED  ] Sum/Typed.Adds/3, where GetParam() = 4
1) App\\Tests\\SumTest::testAdds
rspec ./spec/sum_spec.rb:3 # Sum adds two numbers
  Failed Name.Space.SumTests.Adds(1, 2) [5 ms]
"""
OUTPUTS = Path(__file__).parent / "reported/outputs"
RECORDED = {
    "pytest-no-summary.txt": ["test_setup", "test_teardown", "test_bad", "TestX.test_p[2]"],
    "unittest.txt": [
        "test_zzz (unittest.loader._FailedTest.test_zzz)",
        "test_bad (test_u.Case.test_bad)",
        "test_sub (test_u.Case.test_sub) (i=1)",
        "test_odd (test_u.Case.test_odd)",
    ],
    "node-tap.txt": [
        *("/w/broken.test.js", "top adds", "sum > adds two", "sum > deep > adds two", "sum > deep", "sum"),
        "top adds (2)",
    ],
    "node-spec.txt": [
        *("/w/broken.test.js", "calc.test.js > top adds", "calc.test.js > adds two"),
        *("calc.test.js > adds two (2)", "other.test.js > top adds"),
    ],
    "jest.txt": [
        *("src/sum.test.js > sum \u203a adds", "src/sum.test.js > sum \u203a deep \u203a adds"),
        *("src/sum.test.js > top", "src/broken.test.js"),
    ],
    "vitest.txt": [
        *("v/b.test.ts", "v/a.test.ts > sum > adds", "v/a.test.ts > sum > deep > adds", "v/a.test.ts > top"),
    ],
    "mocha.txt": ["top", "sum > adds", "sum > deep > adds", 'hooked > "before all" hook for "never"'],
    "cargo.txt": [
        *("tests::panics_not - should panic", "tests::result", "tests::breaks", "works"),
        "src/lib.rs - add (line 1)",
    ],
    "cargo-quiet.txt": [
        *("tests::panics_not", "tests::result", "tests::breaks", "works", "src/lib.rs - add (line 1)"),
    ],
    "surefire.txt": [
        *("x.SetupTest", "x.SumTest.adds", "x.SumTest.flaky", "x.SumTest.crashes", "x.SumTest$Deep.adds"),
    ],
}
GO_JSON = """
{"Time":"2026-01-01T00:00:00Z","Action":"output","Package":"m/sum","Output":"--- FAIL: TestSum\\n"}
{"Time":"2026-01-01T00:00:00Z","Action":"fail","Package":"m/sum","Test":"TestSum/a","Elapsed":0}
{"Time":"2026-01-01T00:00:00Z","Action":"fail","Package":"m/sum","Test":"TestSum","Elapsed":0}
{"Time":"2026-01-01T00:00:00Z","Action":"fail","Package":"m/sum","Elapsed":0.003}
{"Time":"2026-01-01T00:00:00Z","Action":"fail","Package":"m/crash","Elapsed":0.003}
{"Time":"2026-01-01T00:00:00Z","Action":"fail","Package":"m/no","FailedBuild":"m/no"}
{"Action":"fail", but no JSON
"""
GRADLE = """
SumTest > adds() FAILED
    java.lang.AssertionError at SumTest.java:9

SumTest > fine() PASSED
> Task :test FAILED

FAILURE: Build failed with an exception.
3 tests completed, 1 failed
"""
MAVEN_SHORT = (
    "[ERROR]   SumTest.adds:12 expected: <1> but was: <2>\n[ERROR]   SumTest.up \xbb IllegalState up\n"
)
TWICE = "test works ... FAILED\ntest works ... FAILED\n"


@pytest.mark.parametrize(
    ("output", "names"),
    [
        (
            PYTEST,
            [
                "tests/test_a.py::test_plain",
                "tests/test_a.py::test_param[with - dash and [bracket]]",
                "tests/test_a.py::TestX::test_no_message",
                "tests/test_b.py::test_colour",
                "tests/test_c.py::test_setup",
                "tests/test_d.py",
                "tests/test_e.py",
                "tests/test_f.py::test_worker",
                "tests/test_g.py::test_verbose[a b]",
            ],
        ),
        (
            UNITTEST,
            [
                "test_crash (pkg.test_m.Case.test_crash)",
                "test_sub (pkg.test_m.Case.test_sub) (i=1)",
                "test_old (pkg.test_m.Case)",
                "setUpClass (pkg.test_n.Case)",
            ],
        ),
        (
            GO,
            [
                "example.com/m/sum.TestSum",
                "example.com/m/sum.TestSum/negative",
                "example.com/m/other [build failed]",
            ],
        ),
        (CARGO, ["tests::breaks", "src/lib.rs - add (line 3)", "my-crate tests::next"]),
        (JEST, ["src/sum.test.js > sum \u203a adds", "src/broken.test.ts"]),
        (JEST_MARKS, ["adds", "subtracts", "divides"]),
        ("FAIL src/a.test.js\n", ["src/a.test.js"]),
        (VITEST, ["src/a.test.ts > suite > adds"]),
        (TAP, ["adds two", "nested"]),
        (CTEST, ["parser.adds", "slow one"]),
        (MOCHA, ["sum > adds", "subtracts"]),
        (
            OTHERS,
            [
                "Sum.Adds",
                "Sum/Typed.Adds/3",
                "App\\Tests\\SumTest::testAdds",
                "Sum adds two numbers",
                "Name.Space.SumTests.Adds(1, 2)",
            ],
        ),
        (GO_JSON, ["m/sum.TestSum/a", "m/sum.TestSum", "m/crash", "m/no [build failed]"]),
        (GRADLE, ["SumTest > adds()"]),
        (MAVEN_SHORT, ["SumTest.adds", "SumTest.up"]),
        (TWICE, ["works", "works (2)"]),
        *(((OUTPUTS / name).read_text("utf-8"), names) for name, names in RECORDED.items()),
        ("  1) a list\n  2) of things\nERROR: make failed\nFAILED\nFAIL\n", []),
        ("", []),
    ],
)
def test_each_runner_s_failing_checks_are_named(output: str, names: list[str]) -> None:
    assert verify.failures(output) == names
    assert verify.failures(output.replace("\n", "\r\n")) == names


@given(st.text(alphabet=st.sampled_from("FAILEDROR:[]() -not ok1)●✕\x1b\n.py:\u203a"), max_size=300))
def test_any_output_gives_bounded_unique_names(output: str) -> None:
    names = verify.failures(output)
    assert len(names) == len(set(names)) <= verify.MAX_NAMES
    assert all(0 < len(name) <= 300 and "\n" not in name for name in names)


@pytest.mark.parametrize(
    "line",
    first_fast(
        "FAILED " + "a.py::" * 5000 + "[",
        "FAILED a.py::x" + "[x]" * 5000 + " -y",
        "a.py::" * 5000 + " FAILED x",
        "[  FAILED  ] " + "a." * 5000 + " ",
        "ERROR: " + "(" * 30000,
        "test " + " ... FAILED" * 5000 + "x",
        " " * 30000 + "FAIL",
        keep=2,
    ),
)
def test_hostile_lines_cost_no_more_than_long_ones_that_name_a_check(line: str) -> None:
    def cost(text: str) -> float:
        started = time.process_time()
        verify.failures(f"{text}\n" * 300)
        return time.process_time() - started

    assert cost(line) < 40 * cost("FAILED " + "a" * len(line))


def test_names_are_counted_and_cut() -> None:
    output = "".join(f"FAILED t.py::test_{number} - x\n" for number in range(1500))
    assert len(verify.failures(output)) == verify.MAX_NAMES
    (name,) = verify.failures(f"FAILED t.py::{'x' * 500} - x\n")
    assert (len(name), name[-2:]) == (300, "x…")


# Running.


def check(command: str, root: Path, timeout: float = 10) -> Verified:
    one = verify.Check(command, unconfined(root), timeout, threading.Event())
    verified, notices = verify.run(one, "before")
    assert notices == []
    return verified


@pytest.mark.parametrize(
    ("command", "code", "failed"),
    [
        ("echo FAILED a.py::t; exit 0", 0, []),
        ("echo FAILED a.py::t; exit 1", 1, ["a.py::t"]),
        ("exit 3", 3, ["exit 3"]),
    ],
)
def test_only_a_failing_command_has_failing_checks(
    command: str, code: int, failed: list[str], tmp_path: Path
) -> None:
    found = check(command, tmp_path)
    assert (found.phase, found.command, found.exit_code, found.failed) == ("before", command, code, failed)


def test_a_killed_command_has_no_names_to_trust(tmp_path: Path) -> None:
    command = "echo FAILED a.py::t; sleep 60"
    found = check(command, tmp_path, timeout=0.1)
    assert (found.exit_code, found.failed, found.output) == (None, [command], "FAILED a.py::t\n")


def test_it_runs_from_the_root_and_keeps_what_fits_of_the_output(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    found = check("ls; head -c 100000 /dev/zero | tr '\\0' x; echo; echo END; exit 1", tmp_path)
    assert found.output.startswith("here\n")
    assert found.output.endswith("\nEND\n")
    assert len(found.output) < 17_000


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-command-xyz --all", "not found"),
        ("./plain.txt", "not executable"),
        ("./missing", "not found"),
    ],
)
def test_a_command_that_cannot_run_is_a_usage_error(command: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("x")
    with pytest.raises(
        UsageError, match=rf"--verify '{command}' cannot run: {said} \(.*{command.split()[0]}"
    ):
        verify.require_runnable(check(command, tmp_path))


def test_a_command_that_no_shell_can_take_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot run: embedded null byte"):
        check("true \0", tmp_path)
    with pytest.raises(UsageError, match=r"cannot run:.*Argument list too long"):
        check("true " + "x" * 300_000, tmp_path)


def test_a_failing_command_is_runnable(tmp_path: Path) -> None:
    verify.require_runnable(check("exit 1", tmp_path))


# Comparing.


def ran(
    phase: Literal["before", "after"],
    code: int | None,
    *failed: str,
    command: str = "check",
    output: str = "",
) -> Verified:
    return Verified(phase, command, code, list(failed), 5, output)


def claims(before: Verified | None, after: Verified) -> tuple[list[str], list[str], list[str]]:
    found = verify.compare([before] if before else [], [after])
    return found["fixed"], found["still_failing"], found["newly_broken"]


STOPPED = "!!!!!!!!!!!!!! stopping after 1 failures !!!!!!!!!!!!!!\n"
FULL = [f"t::{number}" for number in range(verify.MAX_NAMES)]


@pytest.mark.parametrize(
    ("before", "after", "fixed", "still", "broken"),
    [
        (ran("before", 1, "a", "b"), ran("after", 0), ["a", "b"], [], []),
        (ran("before", 1, "a", "b"), ran("after", 1, "b", "c"), ["a"], ["b"], ["c"]),
        (ran("before", 0), ran("after", 1, "a"), [], [], ["a"]),
        (ran("before", 0), ran("after", 1, "check"), [], [], ["check"]),
        (ran("before", 0), ran("after", 0), [], [], []),
        (None, ran("after", 1, "a"), [], ["a"], []),
        (None, ran("after", 0), [], [], []),
        (ran("before", 1, "check"), ran("after", 0), ["check"], [], []),
        (ran("before", None, "check"), ran("after", 0), ["check"], [], []),
        # One side did not say which checks fail.
        (ran("before", 2, "check"), ran("after", 1, "a"), [], ["a"], []),
        (ran("before", 1, "a"), ran("after", 2, "check"), [], ["check"], []),
        (ran("before", 1, "a", "b"), ran("after", None, "check"), [], [], []),
        (ran("before", None, "check"), ran("after", 1, "a"), [], ["a"], []),
        (ran("before", 0), ran("after", None, "check"), [], [], []),
        # One side did not get to every check.
        (ran("before", 1, "t.py::a", "u.py::b"), ran("after", 2, "t.py"), [], [], ["t.py"]),
        (ran("before", 2, "t.py"), ran("after", 1, "t.py::a"), ["t.py"], ["t.py::a"], []),
        (ran("before", 1, "a"), ran("after", 1, "p [build failed]"), [], [], ["p [build failed]"]),
        (ran("before", 1, "a", output=STOPPED), ran("after", 1, "b"), ["a"], ["b"], []),
        (ran("before", 1, "a"), ran("after", 1, "b", output=STOPPED), [], [], ["b"]),
        (ran("before", 1, "x", *FULL[1:]), ran("after", 1, *FULL), [], FULL, []),
    ],
)
def test_no_more_is_claimed_than_was_seen(
    before: Verified | None, after: Verified, fixed: list[str], still: list[str], broken: list[str]
) -> None:
    assert claims(before, after) == (fixed, still, broken)


def test_commands_are_matched_by_their_text_and_one_failure_outweighs_one_success() -> None:
    before = [ran("before", 1, "a", command="x"), ran("before", 1, "a", "b", command="y")]
    after = [ran("after", 0, command="x"), ran("after", 1, "a", command="y")]
    after.append(ran("after", None, "z", command="z"))
    assert verify.compare(before, after) == {
        "before": [
            {"command": "x", "exit_code": 1, "failed": ["a"], "flaky": [], "duration_ms": 5},
            {"command": "y", "exit_code": 1, "failed": ["a", "b"], "flaky": [], "duration_ms": 5},
        ],
        "after": [
            {"command": "x", "exit_code": 0, "failed": [], "flaky": [], "duration_ms": 5},
            {"command": "y", "exit_code": 1, "failed": ["a"], "flaky": [], "duration_ms": 5},
            {"command": "z", "exit_code": None, "failed": ["z"], "flaky": [], "duration_ms": 5},
        ],
        "fixed": ["b"],
        "still_failing": ["a"],
        "newly_broken": [],
        "timed_out": ["z"],
        "flaky": [],
        "not_run": [],
    }


NAMES = st.lists(st.sampled_from(["a", "b", "t.py", "check"]), unique=True, min_size=1, max_size=4)
PASSED: tuple[int | None, list[str]] = (0, [])
RUNS = st.tuples(st.sampled_from([None, 1, 2]), NAMES) | st.just(PASSED)


@given(RUNS, RUNS)
def test_each_failing_check_is_told_once_and_a_fixed_one_did_fail(
    before: tuple[int | None, list[str]], after: tuple[int | None, list[str]]
) -> None:
    fixed, still, broken = claims(ran("before", before[0], *before[1]), ran("after", after[0], *after[1]))
    assert sorted(still + broken) == sorted(after[1] if after[0] is not None else [])
    assert set(fixed) <= set(before[1]) - set(after[1])
    assert not set(broken) & set(before[1])


# Telling the model.


def test_the_model_reads_which_checks_fail_and_what_was_said() -> None:
    failing = [
        ran("after", 1, "t::a", "t::b", command="pytest -q", output="assert 1 == 2\n"),
        ran("after", None, "make", command="make"),
    ]
    assert verify.report(failing) == (
        "The work is not done: verification fails. Find the cause and fix it; it will be run again.\n\n"
        "`pytest -q` ended with exit code 1.\nFailing:\n- t::a\n- t::b\nOutput:\nassert 1 == 2\n\n"
        "`make` timed out after 0 s.\nOutput:\n(none)"
    )


def test_a_long_report_is_cut() -> None:
    names = [f"t::{number}" for number in range(200)]
    text = verify.report([ran("after", 1, *names, output="x" * 100_000)])
    assert "- t::49\n- and 150 more\nOutput:\n" in text
    assert len(text) < 20_000


def test_a_token_in_the_output_goes_no_further(tmp_path: Path) -> None:
    token = "ghp" + "_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    (tmp_path / "token").write_text(f"token={token}\n")
    found = check("cat token; exit 1", tmp_path)
    assert found.output == "token=[secret: GitHub token withheld]\n"
    assert token not in verify.report([found])
