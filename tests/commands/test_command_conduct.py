"""Whatever happens inside a command, there is one result, last, and it agrees with the exit code."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from running import Ran

from glm_agent import outcome
from glm_agent.commands.conduct import Stage, conduct
from glm_agent.commands.signals import TIME_IS_UP
from glm_agent.errors import AgentError, BudgetError, Cancelled, ProviderError, UsageError
from glm_agent.types import Event, Notice

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


def test_text_tells_an_error_on_stderr_and_nothing_on_stdout(capfdbinary: Capture) -> None:
    ran = conducted(capfdbinary, throw(ProviderError("busy")), json=False, quiet=True)
    assert (ran.code, ran.out, ran.err) == (75, "", "glm-agent: busy\n")
