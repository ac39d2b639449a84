"""The one door to commands: a process group with a deadline, a cancel, a cap on output, and no survivors.

What is reached when a command ends: its process group; its session; and, on Linux, whatever left both
(`setsid`, a double fork) and still carries the command's mark in its environment. For the last we adopt
orphans (PR_SET_CHILD_SUBREAPER), so a process is only ever killed while it is our own child or group: a
number that was used again for something else cannot be hit. Not reached without a sandbox: a daemon that
also emptied its environment and, elsewhere than on Linux, one that left its group.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

KEEP = 64 * 1024 * 1024 - 4096  # bytes of output kept in memory; with the line about the rest still < 64 MiB
_CHUNK = 64 * 1024  # the size of a pipe
_TICK = 0.05  # seconds between looks at the deadline and at cancel
_GRACE = 0.2  # seconds from SIGTERM to SIGKILL, and for output that is still in the pipe

_MARK = "GLM_AGENT_COMMAND_ID"

_INHERITED = (
    *("HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "CI"),
    *("LANG", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME"),
    *("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH", "PYENV_ROOT", "PYENV_VERSION"),
    *("JAVA_HOME", "GRADLE_USER_HOME", "ANDROID_HOME", "DOTNET_ROOT", "LD_LIBRARY_PATH", "PKG_CONFIG_PATH"),
    *(
        "GOPATH",
        "GOROOT",
        "GOMODCACHE",
        "GOCACHE",
        "GOFLAGS",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
    ),
    *(
        "NVM_DIR",
        "NODE_PATH",
        "GEM_HOME",
        "GEM_PATH",
        "BUNDLE_PATH",
        "CC",
        "CXX",
        "CFLAGS",
        "CXXFLAGS",
        "LDFLAGS",
    ),
    *(
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_RUNTIME_DIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ),
)

_OWN = {
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "GIT_TERMINAL_PROMPT": "0",
    "DEBIAN_FRONTEND": "noninteractive",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PYTHONDONTWRITEBYTECODE": "1",  # two edits within one second would else run the first one's bytecode
    "PYTHONUNBUFFERED": "1",  # keeps stdout and stderr in order, and what was printed before a kill
}

_live: set[int] = set()  # process groups started here and not yet reaped


class Completed(NamedTuple):
    """A command that ended. `exit_code` None: killed, at its deadline or because of cancel.

    `output` has at most `keep` bytes and a line that says where `omitted` bytes are missing from its middle.
    """

    exit_code: int | None
    output: bytes
    omitted: int
    seconds: float
    timed_out: bool
    cancelled: bool


class Start(NamedTuple):
    """How to start a command other than by a shell of our own; `stdin` is a descriptor."""

    argv: list[str]
    env: Mapping[str, str]
    stdin: int


def run(
    command: str | Start,
    cwd: Path,
    *,
    timeout: float,
    cancel: threading.Event,
    keep: int = KEEP,
    extra: Mapping[str, str] | None = None,
) -> Completed:
    """`/bin/sh -c command` in `cwd`, to its end or to `timeout` seconds; then nothing of it is left running.

    A `Start` is started as it says; `extra` is of no account then.

    Raises OSError or ValueError if it cannot be started. If a signal handler raises in the main thread
    meanwhile, the command is dead before that exception goes on.
    """
    stop = threading.Event()

    def supervise() -> Completed:
        token = os.urandom(8).hex()
        marks = f"{os.environ.get(_MARK, '')}:{token}"
        job = _Job(token.encode(), lambda: stop.is_set() or cancel.is_set(), _Output(keep))
        start = command
        if isinstance(start, str):
            env = environment({_MARK: marks, **(extra or {})})
            start = Start(["/bin/sh", "-c", start], env, subprocess.DEVNULL)
        return _supervise(job, start, cwd, timeout)

    if threading.current_thread() is threading.main_thread():
        return _aside(supervise, stop)
    return supervise()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a command gets: listed names, absolute PATH entries, our own settings, `extra`. Never a key."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(entry for entry in entries if os.path.isabs(entry))  # noqa: PTH117 - bytes may be odd
    return {**kept, "PATH": path or os.defpath, **_OWN, **(extra or {})}


def kill_all() -> None:
    """SIGKILL for every group that runs now. Takes no lock: fit for a signal handler in the main thread."""
    for group in tuple(_live):
        doomed = _descendants(group)
        _signal_group(group, signal.SIGKILL)
        for pid in doomed:
            _signal(pid, signal.SIGKILL)


@dataclass(slots=True)
class _Job:
    """One command while it runs; `doomed` are processes seen below it, wherever they move to."""

    token: bytes
    cancelled: Callable[[], bool]
    output: _Output
    doomed: set[int] = field(default_factory=set[int])


def _aside(work: Callable[[], Completed], stop: threading.Event) -> Completed:
    """`work` in a thread of its own. Signal handlers raise in the main thread only: the owner of the command
    is never interrupted, not even between its start and the moment when its number is known."""
    done: list[Completed] = []
    failed: list[Exception] = []
    # not join(): before Python 3.13, an interrupted join() takes a thread for ended
    finished = threading.Event()

    def body() -> None:
        try:
            done.append(work())
        except (OSError, ValueError) as error:
            failed.append(error)
        finally:
            finished.set()

    thread = threading.Thread(target=body, name="command")
    try:
        thread.start()
        while not finished.wait(_TICK):  # without end it could sleep through a signal just before it
            pass
    except BaseException:
        stop.set()
        if thread.ident is not None:  # else it has not begun, and will see `stop` when it does
            finished.wait()
        raise
    if failed:
        raise failed[0]
    return done[0]


def _supervise(job: _Job, start: Start, cwd: Path, timeout: float) -> Completed:
    started = time.monotonic()
    if job.cancelled():
        return Completed(None, b"", 0, 0.0, timed_out=False, cancelled=True)
    _adopt_orphans()
    shell = subprocess.Popen(
        start.argv,
        cwd=cwd,
        env=start.env,
        stdin=start.stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with shell:
        assert shell.stdout is not None  # PIPE
        _live.add(shell.pid)
        job.output.attach(shell.stdout.fileno())
        try:
            _watch(job, shell, started + timeout)
            cancelled = job.cancelled()
            ended = _ended(shell)
        finally:
            _end(job, shell)
    code = shell.returncode if shell.returncode >= 0 else 128 - shell.returncode
    output, omitted = job.output.value()
    seconds = time.monotonic() - started
    if ended:
        return Completed(code, output, omitted, seconds, timed_out=False, cancelled=False)
    return Completed(None, output, omitted, seconds, timed_out=not cancelled, cancelled=cancelled)


def _watch(job: _Job, shell: subprocess.Popen[bytes], deadline: float) -> None:
    """Return when the shell ended, or its time is over, or it is cancelled."""
    pause = 0.0005  # after the end of the output: short first, for the shell is about to end
    while not _ended(shell) and not job.cancelled():
        left = deadline - time.monotonic()
        if left <= 0:
            return
        if job.output.open:
            job.output.take(min(left, _TICK))
            continue
        time.sleep(min(left, pause))
        pause = min(pause * 2, _TICK)


def _end(job: _Job, shell: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind: SIGTERM first if the shell still runs, then SIGKILL, then what got away."""
    if not _ended(shell):
        job.doomed |= _descendants(shell.pid)
        _signal_group(shell.pid, signal.SIGTERM)
        _settle(job, shell)
        job.doomed |= _descendants(shell.pid)
    _signal_group(shell.pid, signal.SIGKILL)
    while not _ended(shell):
        job.output.take(0.001)
    _sweep(job, shell.pid)
    _settle(job, shell)
    _live.discard(shell.pid)  # before it is reaped: then its number may belong to somebody else
    shell.wait()


def _settle(job: _Job, shell: subprocess.Popen[bytes]) -> None:
    """Take what is still in the pipe until nobody holds it, for a moment at most."""
    until = time.monotonic() + _GRACE
    while (job.output.open or not _ended(shell)) and time.monotonic() < until:
        job.output.take(0.005)


def _ended(shell: subprocess.Popen[bytes]) -> bool:
    """Without reaping it, so that its number stays taken."""
    if shell.returncode is not None:
        return True
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return shell.poll() is not None
    return os.waitid(os.P_PID, shell.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Output:
    """The first and the last half of what comes out of a pipe."""

    def __init__(self, keep: int) -> None:
        self.open = False
        self._fd = -1
        self._poll = select.poll()
        self._half = keep // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._seen = 0

    def attach(self, fd: int) -> None:
        self._fd = fd
        self._poll.register(fd, select.POLLIN)
        self.open = True

    def take(self, wait: float) -> None:
        """Read once, after at most `wait` seconds."""
        if not self.open:
            time.sleep(wait)
        elif self._poll.poll(wait * 1000):
            data = os.read(self._fd, _CHUNK)
            self.open = bool(data)
            self._keep(data)

    def value(self) -> tuple[bytes, int]:
        """All that was kept, and how many bytes were not."""
        omitted = self._seen - len(self._head) - len(self._tail)
        gap = f"\n[... {omitted} bytes omitted ...]\n".encode() if omitted else b""
        return b"".join((self._head, gap, self._tail)), omitted

    def _keep(self, data: bytes) -> None:
        self._seen += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if (excess := len(self._tail) - self._half) > 0:
            del self._tail[:excess]


# Who belongs to a command. Every look at /proc may find that the process has just gone.


@cache
def _adopt_orphans() -> None:
    if sys.platform != "linux":
        return
    import ctypes  # ~6 ms: only for a run that starts a command

    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)  # refused (seccomp): the gap stays open


def _sweep(job: _Job, shell: int) -> None:
    """Kill and reap what was handed to us when its parents died, until none is found or it will not die."""
    until = time.monotonic() + _GRACE
    while time.monotonic() < until:
        found = [pid for pid in _children(os.getpid()) if pid != shell and _belongs(job, shell, pid)]
        if not found:
            return
        for pid in found:
            job.doomed |= {pid} | _descendants(pid)
            _signal(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.001)


def _belongs(job: _Job, shell: int, pid: int) -> bool:
    return pid in job.doomed or _session(pid) == shell or job.token in _environ(pid)


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        below = [child for child in _children(waiting.pop()) if child not in found]
        found.update(below)
        waiting += below
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_bytes().split())
    return found


def _session(pid: int) -> int:
    with contextlib.suppress(OSError):
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
        return int(after_name.split()[3])
    return -1


def _environ(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def _signal_group(group: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signum)


def _signal(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)
