"""A signal ends a run within a second, in order, with a result and without a process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import DONE, FIX, RIGHT, STALL, Ran, finish, first_fast, processes_with, run, start, to, wait_for

from glm_agent.replay import Server
from glm_agent.types import Json


def stop(process: subprocess.Popen[bytes], number: int) -> tuple[Ran, float]:
    """What came of it, and how many seconds after the signal."""
    sent = time.monotonic()
    process.send_signal(number)
    ran = finish(process)
    return ran, time.monotonic() - sent


def in_order(ran: Ran, seconds: float, number: int) -> None:
    assert (ran.code, ran.result["subtype"]) == (128 + number, "error_cancelled")
    name = signal.Signals(number).name
    assert ran.result["errors"][0] == f"cancelled by {name}"
    notices = ("commands are not confined", "glm-agent: commands are not confined")
    said = [line for line in ran.err.split("\n") if line and not line.startswith(notices)]
    assert said == [f"glm-agent: cancelled by {name}"]
    assert seconds < 1


@pytest.mark.parametrize("number", first_fast(signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
def test_a_stream_that_stalls(repo: Path, tmp_path: Path, number: int) -> None:
    with Server([FIX, STALL], strict=True) as server:
        process = start(repo, "fix", "Add.", "--json", "--patch", str(tmp_path / "p"), *to(server.url))
        wait_for(lambda: len(server.requests) == 2)
        time.sleep(0.1)  # for the first bytes
        in_order(*stop(process, number), number)
    assert RIGHT in (tmp_path / "p").read_text()


FREE = ("--sandbox", "danger-full-access")


@pytest.mark.parametrize(
    ("number", "sandbox"),
    first_fast(
        (signal.SIGTERM, ()),
        (signal.SIGINT, ()),
        (signal.SIGHUP, ()),
        (signal.SIGTERM, FREE),
        (signal.SIGINT, FREE),
        (signal.SIGHUP, FREE),
    ),
)
def test_a_command_of_the_model_with_children(repo: Path, number: int, sandbox: tuple[str, ...]) -> None:
    mark = f"mark-{os.urandom(6).hex()}"
    nap = f"{sys.executable} -c 'import time; time.sleep(30)' {mark}"
    command = f"({nap} &) ; setsid {nap} & {nap}"
    bash = {"tool_calls": [{"name": "bash", "arguments": {"command": command}}]}
    with Server([FIX, bash], strict=True) as server:
        process = start(repo, "fix", "Add.", "-y", "--json", *sandbox, *to(server.url))
        wait_for(lambda: len([pid for pid in processes_with(mark) if is_nap(pid)]) == 3)
        ran, seconds = stop(process, number)
    in_order(ran, seconds, number)
    assert processes_with(mark) == []
    assert RIGHT in Path(ran.result["patch_file"]).read_text()


def is_nap(pid: int) -> bool:
    """Whether it is one of the three, and not the shell around them."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name.startswith("python")
    except OSError:
        return False


def test_a_verify_command(repo: Path) -> None:
    mark = f"mark-{os.urandom(6).hex()}"
    check = f"{sys.executable} -c 'import time; time.sleep(30)' {mark}"
    with Server([FIX], strict=True) as server:
        process = start(repo, "fix", "Add.", "--json", "--verify", check, *to(server.url))
        wait_for(lambda: any(is_nap(pid) for pid in processes_with(mark) if pid != process.pid))
        ran, seconds = stop(process, signal.SIGINT)
    in_order(ran, seconds, signal.SIGINT)
    assert (processes_with(mark), server.requests) == ([], [])


def stubborn(process_mark: str) -> Json:
    """A call of a command that does not end on SIGTERM."""
    nap = "import signal,time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(30)"
    return {
        "tool_calls": [
            {"name": "bash", "arguments": {"command": f"{sys.executable} -c '{nap}' {process_mark}"}}
        ]
    }


@pytest.mark.parametrize("pause", first_fast(0.02, 0.0, 0.05, 0.15))
def test_a_second_signal_hurries_and_loses_nothing(repo: Path, pause: float) -> None:
    mark = f"mark-{os.urandom(6).hex()}"
    with Server([FIX, stubborn(mark)], strict=True) as server:
        process = start(repo, "fix", "Add.", "-y", "--json", *to(server.url))
        wait_for(lambda: any(map(is_nap, processes_with(mark))))
        time.sleep(0.1)  # until it ignores SIGTERM
        process.send_signal(signal.SIGTERM)
        time.sleep(pause)
        ran, seconds = stop(process, signal.SIGTERM)
    in_order(ran, seconds, signal.SIGTERM)
    assert processes_with(mark) == []
    assert RIGHT in Path(ran.result["patch_file"]).read_text()


@pytest.mark.slow
def test_a_third_signal_ends_it_at_once(repo: Path) -> None:
    mark = f"mark-{os.urandom(6).hex()}"
    with Server([stubborn(mark)], strict=True) as server:
        process = start(repo, "fix", "Add.", "-y", "--json", *to(server.url))
        wait_for(lambda: any(map(is_nap, processes_with(mark))))
        time.sleep(0.1)  # until it ignores SIGTERM
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
        process.send_signal(signal.SIGTERM)  # two of one kind could arrive as one
        time.sleep(0.01)
        ran, seconds = stop(process, signal.SIGINT)
    assert (ran.code, '"result"' in ran.out) == (130, False)
    assert seconds < 0.3
    wait_for(lambda: processes_with(mark) == [], 1)


@pytest.mark.slow
def test_a_signal_that_the_parent_ignores_stays_ignored(repo: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Server([{"content": "Ready.", "delay": 0.2}]) as server:
            process = start(repo, "ask", "What?", "--json", *to(server.url))
            wait_for(lambda: server.requests)
            ran, _ = stop(process, signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (ran.code, ran.result["result"]) == (0, "Ready.")


@pytest.mark.slow
def test_a_stalled_run_ends_when_its_time_is_up(repo: Path) -> None:
    with Server([STALL], strict=True) as server:
        ran = run(repo, "ask", "What?", "--max-wall-time", "1s", "--json", *to(server.url))
    assert (ran.code, ran.result["subtype"]) == (55, "error_max_budget")


@pytest.mark.slow
def test_a_machine_that_slept_asks_again(repo: Path) -> None:
    with Server([FIX, STALL, DONE]) as server:
        process = start(repo, "fix", "Do it.", *to(server.url), "--timeout-idle", "0.1s")
        wait_for(lambda: len(server.requests) == 2)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        process.send_signal(signal.SIGCONT)
        ran = finish(process)
    assert (ran.code, ran.out, len(server.requests)) == (0, "Done: it adds now.\n", 3)
    assert "answer discarded: the stream stalled" in ran.err
    assert (repo / "calc.py").read_text().endswith(RIGHT)
