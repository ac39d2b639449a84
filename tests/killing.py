"""The program, killed or made to fail at a chosen failpoint: each run is a fork of one process that has
everything imported, and runs the real command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from running import ROOT, environment

DRIVER = """
import errno, json, os, signal, sys, time
import openai, httpx2
from glm_agent import cli, transport, verify
from glm_agent.commands import ask, doctor, fix, resume, undo
from glm_agent.failpoints import install

def child(order):
    came = 0
    def hook(name):
        nonlocal came
        if order["only"] and name not in order["only"]:
            return
        came += 1
        if came == order["at"]:
            if order["how"] in ("kill", "term"):
                os.kill(os.getpid(), signal.SIGKILL if order["how"] == "kill" else signal.SIGTERM)
                return
            raise OSError(getattr(errno, order["how"]), os.strerror(getattr(errno, order["how"])))
    install(hook)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(order["cd"])
    code = 70
    try:
        code = cli.main(order["words"])
        sys.stdout.flush()
    finally:
        with open(order["out"] + ".came", "w") as file:
            file.write(str(came))
        os._exit(99 if 0 < came < order["at"] else code)

def wait(pid, seconds):
    end = time.monotonic() + seconds
    while seconds and time.monotonic() < end:
        if (found := os.wait4(pid, os.WNOHANG))[0]:
            return found
        time.sleep(0.0005)
    if seconds:
        os.kill(pid, signal.SIGKILL)
    return os.wait4(pid, 0)

for line in sys.stdin:
    if (pid := os.fork()) == 0:
        child(json.loads(line))
    _, status, usage = wait(pid, json.loads(line)["after"])
    print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, flush=True)
"""
KILLED = -9
NOT_REACHED = 99  # the run went through: it has fewer failpoints


class End(NamedTuple):
    """How a run ended; `seconds` are the processor's, `came` how many failpoints it came to if it lived."""

    code: int
    out: str
    err: str
    seconds: float
    came: int


class Killer:
    """Starts runs of the command line in `folder`; ends with its `with` block."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._folder = folder
        self._scratch = scratch
        self._process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            env=environment(),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Killer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdin, self._process.stdout:
            pass
        self._process.wait(10)

    def run(
        self, *words: str, at: int = 0, how: str = "kill", only: tuple[str, ...] = (), after: float = 0
    ) -> End:
        """One run, whose failpoint number `at` (of those named in `only`, if any) it does not survive, or
        at which it is asked to end ("term").

        With `after` it is killed when it has run for so many seconds.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out, err, came = (self._scratch / name for name in ("out", "err", "out.came"))
        came.unlink(missing_ok=True)
        order: dict[str, object] = {
            "words": words,
            "at": at,
            "how": how,
            "only": only,
            "cd": str(self._folder),
        }
        order["after"] = after
        self._process.stdin.write(json.dumps({**order, "out": str(out), "err": str(err)}) + "\n")
        self._process.stdin.flush()
        code, seconds = self._process.stdout.readline().split()
        texts = [file.read_text(errors="replace") for file in (out, err)]
        number = int(came.read_text()) if came.exists() else 0
        return End(int(code), texts[0], texts[1], float(seconds), number)
