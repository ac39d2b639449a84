"""Whatever happens inside a command, there is one result, last, and it agrees with the exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from running import Ran

from glm_agent import outcome
from glm_agent.commands.conduct import Stage, conduct
from glm_agent.commands.signals import TIME_IS_UP
from glm_agent.errors import AgentError, BudgetError, Cancelled, ProviderError, UsageError
from glm_agent.render import View
from glm_agent.types import Event, Finished, Notice

Capture = pytest.CaptureFixture[bytes]


def conducted(capture: Capture, work: Callable[[Stage], object], **flags: object) -> Ran:
    """A command that gives one notice and then does `work`."""

    def events(stage: Stage) -> Generator[Event]:
        yield Notice("begun")
        work(stage)
        yield Notice("done")

    code = conduct({"json": True, **flags}, events, {})
    out, err = capture.readouterr()
    return Ran(code, out.decode(), err.decode())


def throw(error: BaseException) -> Callable[[Stage], None]:
    def work(_: Stage) -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "subtype"),
    [
        (AgentError("a"), 1, "error_during_execution"),
        (UsageError("a"), 2, "error_usage"),
        (BudgetError("a"), 55, "error_max_budget"),
        (ProviderError("a"), 75, "error_provider"),
        (ValueError("a"), 1, "error_during_execution"),
        (RecursionError("a"), 1, "error_during_execution"),
        (KeyboardInterrupt(), 130, "error_cancelled"),
        (Cancelled(signal.SIGHUP), 129, "error_cancelled"),
        (Cancelled(TIME_IS_UP), 55, "error_max_budget"),
        (BrokenPipeError("a"), 141, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_an_error_becomes_the_result(
    error: BaseException, code: int, subtype: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def events(_: Stage) -> Generator[Event]:
        yield Notice("begun")
        raise error

    assert conduct({"json": True}, events, {}) == code
    if code == outcome.STDOUT_CLOSED:
        return
    lines = [json.loads(line) for line in capfd.readouterr().out.split("\n")[:-1]]
    assert [line["type"] for line in lines] == ["system", "result"]
    assert (lines[-1]["exit_code"], lines[-1]["subtype"], len(lines[-1]["errors"])) == (code, subtype, 1)


def test_a_bug_is_told_in_one_line_and_in_full_in_the_debug_file(
    capfdbinary: Capture, tmp_path: Path
) -> None:
    ran = conducted(capfdbinary, throw(ValueError("odd")))
    assert ran.result["errors"] == [
        "internal error: ValueError: odd; run again with --debug-file FILE for the details"
    ]
    file = tmp_path / "debug"
    ran = conducted(capfdbinary, throw(ValueError("odd")), debug_file=str(file))
    assert ran.result["errors"] == [f"internal error: ValueError: odd; details are in {file}"]
    assert file.read_text().startswith("Traceback") and file.read_text().endswith("ValueError: odd\n")
    ran = conducted(capfdbinary, throw(ValueError("odd")), debug_file=str(tmp_path / "no" / "debug"))
    assert (ran.code, len(ran.result["errors"])) == (1, 1)


def test_every_ending_and_closer_runs_once_even_if_one_fails(capfdbinary: Capture) -> None:
    seen: list[str] = []

    def work(stage: Stage) -> None:
        stage.endings += [lambda: seen.append("a"), lambda: throw(AgentError("bad end"))(stage)]
        stage.endings.append(lambda: seen.append("b"))
        stage.closers += [lambda: throw(OSError())(stage), lambda: seen.append("c")]

    ran = conducted(capfdbinary, work)
    assert (ran.code, ran.result["errors"], seen) == (1, ["bad end"], ["a", "b", "c"])


def test_a_failed_command_is_closed_before_its_endings_run(capfdbinary: Capture) -> None:
    seen: list[str] = []

    def events(stage: Stage) -> Generator[Event]:
        stage.endings.append(lambda: seen.append("ending"))
        stage.first.append(throw_at_notice)
        try:
            yield Notice("x")
        finally:
            seen.append("closed")

    def throw_at_notice(event: Event) -> None:
        if isinstance(event, Notice):
            raise AgentError("no journal")

    assert conduct({"json": True}, events, {}) == 1
    assert seen == ["closed", "ending"]


def test_a_signal_while_an_event_is_shown_waits_until_it_is(capfdbinary: Capture) -> None:
    seen: list[str] = []

    def events(stage: Stage) -> Generator[Event]:
        def sink(event: Event) -> None:
            if isinstance(event, Notice):
                signal.raise_signal(signal.SIGTERM)
                seen.append("shown")

        stage.first.append(sink)
        yield Notice("x")
        seen.append("never")

    assert conduct({"json": True}, events, {}) == 143
    assert seen == ["shown"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_time_is_up_and_then_one_signal_does_not_cut_the_endings_short(capfdbinary: Capture) -> None:
    seen: list[str] = []

    def work(stage: Stage) -> None:
        def ending() -> None:
            signal.raise_signal(signal.SIGINT)
            seen.append("ended")

        stage.endings.append(ending)
        signal.raise_signal(TIME_IS_UP)

    ran = conducted(capfdbinary, work)
    assert (ran.code, ran.result["subtype"], seen) == (55, "error_max_budget", ["ended"])


def test_a_signal_a_second_after_the_first_ends_the_program(capfdbinary: Capture, tmp_path: Path) -> None:
    script = """
import signal, sys, time
from glm_agent.commands.signals import Signals
from glm_agent.errors import Cancelled
signals = Signals()
with signals.installed(None):
    try:
        signal.raise_signal(signal.SIGTERM)
    except Cancelled:
        signals._came[0] -= 1
        signal.raise_signal(signal.SIGHUP)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 128 + signal.SIGHUP


@pytest.mark.parametrize("step", range(12))
def test_a_second_signal_in_the_middle_of_the_first_ones_handling_hides_neither(step: int) -> None:
    script = f"""
import signal, sys
from glm_agent.commands.signals import Signals
from glm_agent.errors import Cancelled
steps = 0
def trace(frame, kind, argument):
    global steps
    if frame.f_code.co_filename.endswith("commands/signals.py"):
        if kind == "line":
            steps += 1
            if steps == {step} + 1:
                sys.settrace(None)
                signal.raise_signal(signal.SIGTERM)
    return trace
with Signals().installed(None):
    sys.settrace(trace)
    try:
        signal.raise_signal(signal.SIGTERM)
    except Cancelled:
        sys.exit("cancelled")
"""
    ran = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (1, "cancelled\n")


def test_the_alarm_after_a_signal_changes_nothing(capfdbinary: Capture) -> None:
    def sink(event: Event) -> None:
        if isinstance(event, Notice):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(TIME_IS_UP)

    def events(stage: Stage) -> Generator[Event]:
        stage.first.append(sink)
        yield Notice("x")

    assert conduct({"json": True}, events, {}) == 143


class Broken:
    """A view with a bug that shows at the end."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            raise OverflowError("too much")

    def close(self) -> None: ...


def test_a_view_that_fails_changes_nothing_of_what_the_machine_is_told(capfdbinary: Capture) -> None:
    ran = conducted(capfdbinary, lambda stage: stage.views.append(Broken()))
    assert (ran.code, ran.result["errors"]) == (0, [])
    assert ran.err == "glm-agent: internal error: OverflowError: too much\n"


def test_a_result_that_cannot_be_made_is_no_success(capfdbinary: Capture) -> None:
    def work(stage: Stage) -> None:
        stage.views[0] = Broken()

    ran = conducted(capfdbinary, work)
    assert (ran.code, ran.err) == (1, "glm-agent: internal error: OverflowError: too much\n")


def test_the_machine_s_line_is_the_last_thing_that_is_said(capfdbinary: Capture) -> None:
    seen: list[str] = []

    def view(name: str) -> View:
        class Noting(Broken):
            def __call__(self, event: Event) -> None:
                seen.append(name)

        return Noting()

    def work(stage: Stage) -> None:
        stage.views[:] = [view("machine"), view("person")]

    conducted(capfdbinary, work)
    assert seen[-2:] == ["person", "machine"]


@pytest.mark.parametrize("key", ["glm-agent", "assistant", "cache_read_input_tokens"])
def test_a_word_of_the_format_is_no_key(capfdbinary: Capture, key: str) -> None:
    def events(_: Stage) -> Generator[Event]:
        yield Notice("sk-0123456789 x")

    start = {"GLM_AGENT_API_KEY": key, "ZAI_API_KEY": "sk-0123456789"}
    assert conduct({"json": True}, events, start) == 0
    ran = Ran(0, capfdbinary.readouterr().out.decode(), "")
    assert ran.result["usage"]["cache_read_input_tokens"] == 0
    assert ran.events[0]["text"] == "[key] x"


def test_a_bug_while_the_settings_are_read_is_a_result(capfdbinary: Capture) -> None:
    def events(_: Stage) -> Generator[Event]:
        yield Notice("never")

    code = conduct({"json": True, "no_such_option": 1}, events, {})
    ran = Ran(code, capfdbinary.readouterr().out.decode(), "")
    assert (ran.code, len(ran.events)) == (1, 1)
    assert ran.result["errors"][0].startswith("internal error: KeyError: 'no_such_option'")


def test_text_tells_an_error_on_stderr_and_nothing_on_stdout(capfdbinary: Capture) -> None:
    ran = conducted(capfdbinary, throw(ProviderError("busy")), json=False, quiet=True)
    assert (ran.code, ran.out, ran.err) == (75, "", "glm-agent: busy\n")


def test_a_signal_that_broke_a_lock_is_still_a_signal(capfdbinary: Capture) -> None:
    def work(_: Stage) -> None:
        try:
            raise Cancelled(signal.SIGTERM)
        finally:
            raise RuntimeError("release unlocked lock")

    ran = conducted(capfdbinary, work)
    assert (ran.code, ran.result["errors"]) == (143, ["cancelled by SIGTERM"])
