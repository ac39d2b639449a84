from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from glm_agent import process
from glm_agent.process import Completed

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def run(command: str, cwd: Path, timeout: float = 10, keep: int = process.KEEP) -> Completed:
    return process.run(command, cwd, timeout=timeout, cancel=threading.Event(), keep=keep)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return not state.stdout.startswith(b"Z")  # a zombie is dead: whoever adopted it has yet to notice


def gone(pid: int, within: float = 1.0) -> bool:
    until = time.monotonic() + within
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pid)


def pid_in(file: Path, within: float = 5.0) -> int:
    until = time.monotonic() + within
    while time.monotonic() < until:
        if file.exists() and (text := file.read_text()).endswith("\n"):
            return int(text)
        time.sleep(0.01)
    raise AssertionError(f"{file.name} was never written")


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        ("echo out; echo err >&2; exit 3", 3, b"out\nerr\n"),
        ("true", 0, b""),
        ("kill -SEGV $$", 139, b""),
        ("no-such-command-here 2>/dev/null", 127, b""),
        ("cat; echo end", 0, b"end\n"),
        (r"printf '\377\000x'", 0, b"\xff\x00x"),
        ("exec >&- 2>&-; sleep 0.05; exit 4", 4, b""),
    ],
)
def test_a_command_gives_its_exit_code_and_both_outputs_in_order(
    command: str, code: int, output: bytes, tmp_path: Path
) -> None:
    done = run(command, tmp_path)
    assert done._replace(seconds=0) == Completed(code, output, 0, 0, timed_out=False, cancelled=False)


def test_a_command_runs_where_it_was_told_to(tmp_path: Path) -> None:
    assert run("pwd -P", tmp_path).output.decode().strip() == str(tmp_path.resolve())


def test_what_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run("true", tmp_path / "missing")
    with pytest.raises(ValueError, match="null byte"):
        run("echo \0", tmp_path)


def test_at_the_deadline_output_so_far_is_kept_and_everything_dies(tmp_path: Path) -> None:
    done = run("sleep 60 & echo $! > pid; echo first; sleep 60", tmp_path, timeout=0.15)
    assert done._replace(seconds=0) == Completed(None, b"first\n", 0, 0, timed_out=True, cancelled=False)
    assert done.seconds < 0.6
    assert gone(pid_in(tmp_path / "pid"))


def test_a_command_may_clean_up_on_sigterm_but_not_for_long(tmp_path: Path) -> None:
    clean = run("trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done", tmp_path, timeout=0.1)
    assert (clean.exit_code, clean.output[-4:], clean.timed_out) == (None, b"bye\n", True)
    stubborn = run("trap '' TERM; while :; do sleep 0.01; done", tmp_path, timeout=0.1)
    assert (stubborn.exit_code, stubborn.timed_out) == (None, True)
    assert stubborn.seconds < 0.8


def test_cancel_ends_a_command_at_once(tmp_path: Path) -> None:
    cancel = threading.Event()
    threading.Timer(0.05, cancel.set).start()
    done = process.run("echo on; sleep 60", tmp_path, timeout=60, cancel=cancel)
    assert done._replace(seconds=0) == Completed(None, b"on\n", 0, 0, timed_out=False, cancelled=True)
    assert done.seconds < 0.5


def test_a_command_cancelled_before_its_start_does_not_start(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    done = process.run("touch started", tmp_path, timeout=60, cancel=cancel)
    assert done == Completed(None, b"", 0, 0.0, timed_out=False, cancelled=True)
    assert not (tmp_path / "started").exists()


def test_a_background_process_that_holds_the_pipe_neither_delays_nor_survives(tmp_path: Path) -> None:
    done = run("sleep 60 & echo $! > pid; echo done", tmp_path)
    assert (done.exit_code, done.output) == (0, b"done\n")
    assert done.seconds < 0.5
    assert gone(pid_in(tmp_path / "pid"))


DOUBLE_FORK = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("pid", "w").write(f"{os.getpid()}\\n")
        os.closerange(0, 3)
        time.sleep(60)
    os._exit(0)
os.wait()
while not os.path.exists("pid") or not os.path.getsize("pid"):
    time.sleep(0.005)
"""


@LINUX
def test_a_daemon_that_left_the_session_is_killed_and_reaped(tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(DOUBLE_FORK)
    done = run(f"{sys.executable} -S daemon.py; echo left", tmp_path)
    assert (done.exit_code, done.output) == (0, b"left\n")
    with pytest.raises(ProcessLookupError):  # not even a zombie
        os.kill(pid_in(tmp_path / "pid"), 0)


@LINUX
def test_below_a_killed_command_nothing_hides_in_another_session_or_behind_an_empty_environment(
    tmp_path: Path,
) -> None:
    script = "env -i setsid sh -c 'echo $$ > pid; exec sleep 60'"
    run(f"{script} & sleep 60", tmp_path, timeout=0.3)
    assert gone(pid_in(tmp_path / "pid"), within=0)


STRAY = """
import os
if os.fork() == 0:
    os.setpgid(0, 0)
    open("pid", "w").write(f"{os.getpid()}\\n")
    os.closerange(0, 3)
    os.execve("/bin/sh", ["sh", "-c", "sleep 60"], {})
while not os.path.exists("pid") or not os.path.getsize("pid"):
    pass
"""


@LINUX
def test_in_the_session_another_group_and_an_empty_environment_hide_nothing(tmp_path: Path) -> None:
    (tmp_path / "stray.py").write_text(STRAY)
    assert run(f"{sys.executable} -S stray.py; true", tmp_path).exit_code == 0
    assert gone(pid_in(tmp_path / "pid"), within=0)


def test_a_command_does_not_read_what_is_typed(tmp_path: Path) -> None:
    program = start("cat; echo over > ended", tmp_path)
    assert program.wait(timeout=5) == 0  # while our end of its standard input stays open
    output, _ = program.communicate()
    assert (output, (tmp_path / "ended").read_text()) == (b"", "over\n")


@LINUX
def test_processes_that_others_started_are_left_alone(tmp_path: Path) -> None:
    before = subprocess.Popen(["sleep", "60"], start_new_session=True)
    with_orphan = "(setsid sleep 60 >/dev/null 2>&1 & echo $! > orphan)"
    subprocess.run(["sh", "-c", with_orphan], cwd=tmp_path, check=True)
    meanwhile: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        meanwhile.append(subprocess.Popen(["sleep", "60"], start_new_session=True))

    threading.Timer(0.05, start).start()
    orphan = pid_in(tmp_path / "orphan")
    try:
        run("setsid sleep 60 & sleep 0.1", tmp_path)
        assert [child.poll() for child in (before, *meanwhile)] == [None, None]
        assert alive(orphan)
    finally:
        os.kill(orphan, signal.SIGKILL)
        for child in (before, *meanwhile):
            child.kill()
            child.wait()


def test_of_a_flood_both_ends_are_kept_and_the_rest_is_counted(tmp_path: Path) -> None:
    done = run("echo start; head -c 300000 /dev/zero | tr '\\0' x; echo end", tmp_path, keep=1000)
    size = 300_000 + len("start\nend\n")
    assert done.omitted == size - 1000
    expected = "start\n" + "x" * 494 + f"\n[... {size - 1000} bytes omitted ...]\n" + "x" * 496 + "end\n"
    assert done.output == expected.encode()


def test_an_endless_flood_ends_at_the_deadline(tmp_path: Path) -> None:
    done = run("yes", tmp_path, timeout=0.2, keep=10_000)
    assert (done.exit_code, done.timed_out) == (None, True)
    assert done.seconds < 0.8
    assert len(done.output) < 10_100


def test_commands_run_side_by_side_in_threads(tmp_path: Path) -> None:
    results: list[Completed] = []

    def work(number: int) -> None:
        results.append(run(f"sleep 0.1; echo {number}", tmp_path))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done.output for done in results) == [b"0\n", b"1\n", b"2\n", b"3\n"]
    assert [done.exit_code for done in results] == [0] * 4


# A person at the keyboard: real signals, sent to a real program.

MAIN = """
import os, signal, sys, threading
from pathlib import Path
from glm_agent import process
from glm_agent.errors import Cancelled

signals = []

def handler(signum, frame):
    signals.append(signum)
    if len(signals) > 1:
        process.kill_all()
        os._exit(99)
    raise Cancelled(signum)

for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, handler)
try:
    process.run(sys.argv[1], Path.cwd(), timeout=60, cancel=threading.Event())
except Cancelled as error:
    print("cancelled", error.signum)
"""


def start(command: str, cwd: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(Path(process.__file__).parent.parent)}
    argv = [sys.executable, "-c", MAIN, command]
    return subprocess.Popen(
        argv, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_kills_the_command_before_it_goes_on(signum: int, tmp_path: Path) -> None:
    program = start("sleep 60 & echo $! > other; echo $$ > pid; sleep 60", tmp_path)
    pids = [pid_in(tmp_path / "pid"), pid_in(tmp_path / "other")]
    started = time.monotonic()
    program.send_signal(signum)
    output, _ = program.communicate(timeout=5)
    assert time.monotonic() - started < 1
    assert output == f"cancelled {int(signum)}\n".encode()
    assert not any(map(alive, pids))


def test_a_second_signal_kills_what_resists_the_first(tmp_path: Path) -> None:
    program = start("trap '' TERM; echo $$ > pid; while :; do sleep 0.01; done", tmp_path)
    pid = pid_in(tmp_path / "pid")
    program.send_signal(signal.SIGINT)
    time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=5)
    assert program.returncode == 99
    assert gone(pid)


# The environment is the caller's own: it is read at the edge, so a program of its own tests it.


def seen_by_a_command(environment: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    script = (
        "import json, sys, threading\nfrom pathlib import Path\nfrom glm_agent import process\n"
        "dump = sys.executable + ' -c \"import json, os; print(json.dumps(dict(os.environ)))\"'\n"
        "print(process.run(dump, Path.cwd(), timeout=9, cancel=threading.Event()).output.decode())"
    )
    env = {**environment, "PYTHONPATH": str(Path(process.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    import json

    return json.loads(done.stdout)


def test_no_key_and_nothing_unknown_reaches_a_command(tmp_path: Path) -> None:
    planted = {
        "GLM_AGENT_API_KEY": "secret-1",
        "ZAI_API_KEY": "secret-2",
        "GITHUB_TOKEN": "secret-3",
        "AWS_SECRET_ACCESS_KEY": "secret-4",
        "LC_SECRET": "secret-5",
        "SSH_AUTH_SOCK": "secret-6",
        "GIT_DIR": "secret-7",
        "BASH_ENV": "secret-8",
        "LD_PRELOAD": "",
    }
    path = f"relative:{os.environ['PATH']}::./bin"
    seen = seen_by_a_command({"PATH": path, "HOME": "/h", "LANG": "C.UTF-8", **planted}, tmp_path)
    assert not set(planted) & set(seen)
    assert "secret-" not in str(seen)
    assert (seen["HOME"], seen["LANG"], seen["TERM"], seen["PAGER"]) == ("/h", "C.UTF-8", "dumb", "cat")
    assert [entry for entry in seen["PATH"].split(":") if not entry.startswith("/")] == []


def test_what_is_added_wins() -> None:
    extra = {"TERM": "xterm", "MORE": "1"}
    assert {name: process.environment(extra)[name] for name in extra} == extra
