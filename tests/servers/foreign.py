"""Servers that others wrote, as processes in environments of their own."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from running import ROOT, to, wait_for

from glm_agent.replay import Server
from glm_agent.replay.script import Entry, load
from glm_agent.types import Json


class Upstream(Server):
    """A scripted host that stays where it is, and begins anew with every script."""

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def play(self, *script: Entry) -> None:
        self._script = [load(entry) for entry in script]
        self.requests = []


class Proxy(NamedTuple):
    """A proxy at `url` that takes `key`, and the host that it forwards to."""

    url: str
    key: str
    upstream: Upstream

    def play(self, *script: Entry) -> tuple[str, ...]:
        """The flags that send requests to the proxy, with `script` behind it."""
        self.upstream.play(*script)
        return to(self.url)

    @property
    def asked(self) -> list[Json]:
        """The bodies that came through."""
        return [request.body for request in self.upstream.requests]


def install(lock: str) -> Path:
    """The Python of `.venv-lock`; skips the test if that cannot be made, but fails it in CI."""
    with (ROOT / "requirements" / f"{lock}.txt").open() as turnstile:
        fcntl.flock(turnstile, fcntl.LOCK_EX)  # of several test processes one installs, the others wait
        done = subprocess.run(
            [sys.executable, "tools/_setup.py", lock], cwd=ROOT, capture_output=True, text=True, check=False
        )
    if done.returncode:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"cannot install requirements/{lock}.txt: {done.stderr.strip()[-400:]}")
    return Path(done.stdout.strip())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def served(argv: list[str], folder: Path, health: str, **env: str) -> Generator[None]:
    """The server while the block runs, at home in `folder`, once it answers at `health`."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "NO_PROXY": "*", **env}
    log = folder / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    try:
        wait_for(lambda: process.poll() is not None or answers(health), 120)
        assert process.poll() is None, log.read_text("utf-8", "replace")[-2000:]
        yield
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
