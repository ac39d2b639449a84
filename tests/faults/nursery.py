"""The program in processes of its own that start at once: forked from one that has imported everything.

Only deadlines and pauses are other than a user's: `_hurry` is the one place that says so.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, cast

from glm_agent.types import Json

_PACE = 0.002  # of every pause between two tries


Kill = tuple[int, Callable[[], None]]  # a signal, and what returns when it is time for it


class Child(NamedTuple):
    """How a process ended, `seconds` after its start or after the signal that it got.

    `rss` is the most memory it had, in bytes.
    """

    code: int
    out: str
    err: str
    seconds: float
    rss: int


class Nursery:
    """Starts the program, as often as one likes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._hear()  # it has imported everything

    def close(self) -> None:
        self._process.communicate()

    def run(
        self,
        words: list[str],
        folder: Path,
        env: dict[str, str],
        limits: Json,
        kill: Kill | None = None,
    ) -> Child:
        out, err = folder.parent / "stdout", folder.parent / "stderr"
        order = {"words": words, "folder": str(folder), "env": env, "limits": limits}
        started = time.monotonic()
        self._tell({**order, "out": str(out), "err": str(err)})
        pid = self._hear()["pid"]
        if kill:
            signum, wait = kill
            wait()
            started = time.monotonic()
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(pid, signum)
        found = self._hear()
        seconds = time.monotonic() - started
        return Child(found["code"], out.read_text("utf-8"), err.read_text("utf-8"), seconds, found["rss"])

    def _tell(self, order: Json) -> None:
        into = cast("IO[str]", self._process.stdin)
        into.write(json.dumps(order) + "\n")
        into.flush()

    def _hear(self) -> Json:
        return json.loads(cast("IO[str]", self._process.stdout).readline())


def _main() -> None:
    """Forks one process an order, and tells how it ended."""
    for name in ("openai", "openai.resources.chat", "glm_agent.cli", "glm_agent.commands.fix"):
        importlib.import_module(name)
    _say({})
    for line in sys.stdin:
        order: Json = json.loads(line)
        if (pid := os.fork()) == 0:
            _be(order)
        _say({"pid": pid})
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        _say({"code": code, "rss": usage.ru_maxrss << 10})


def _say(word: Json) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


def _be(order: Json) -> None:
    """The program itself, to its end."""
    code = 120
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["env"])
        for number, name in enumerate((os.devnull, order["out"], order["err"])):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY
            os.dup2(os.open(name, flags, 0o600), number)
        sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115
        sys.argv = ["glm-agent", *order["words"]]
        _hurry(order["limits"])
        from glm_agent.__main__ import main

        code = main()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _hurry(limits: Json) -> None:
    """Deadlines as `limits` say, and pauses that are short: they are asked for, shown and counted as ever."""
    from glm_agent import client, watchdog
    from glm_agent.commands import connection

    def doze(seconds: float) -> None:
        time.sleep(seconds * _PACE)

    def our_limits(**_: float) -> watchdog.Limits:
        return watchdog.Limits(**limits)

    setattr(connection, "Limits", our_limits)  # noqa: B010
    setattr(connection, "Client", partial(client.Client, sleep=doze))  # noqa: B010


if __name__ == "__main__":
    _main()
