"""Ctrl-C in a real terminal: it asks, and does as it is told."""

from __future__ import annotations

import os
import pty
import re
import signal
import sys
import time
from pathlib import Path
from select import select

import pytest
from running import DONE, FIX, READ, RIGHT, environment, to, wait_for

from glm_agent.replay import Server
from glm_agent.types import Json

pytestmark = pytest.mark.slow


class Terminal:
    """The program in a terminal of its own."""

    def __init__(self, repo: Path, *words: str) -> None:
        self.shown = b""
        argv = [sys.executable, "-m", "glm_agent", *words]
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(repo)
            os.execve(sys.executable, argv, environment(TERM="xterm"))

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def kill(self, number: int) -> None:
        os.kill(self._pid, number)

    def see(self, text: bytes) -> None:
        wait_for(lambda: text in self._more())

    def end(self) -> int:
        """The exit code."""
        while self._read(5.0):
            pass
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _more(self) -> bytes:
        self._read(0.05)
        return self.shown

    def _read(self, seconds: float) -> bool:
        if not select([self._fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other end is closed
            return False
        self.shown += data
        return bool(data)


def last(server: Server) -> str:
    """What the model was told last."""
    message: Json = server.requests[-1].body["messages"][-1]
    return f"{message['role']}: {message['content']}"


SLOW_READ: Json = {**READ, "delay": 1.0}


def asked(repo: Path, server: Server, *words: str) -> Terminal:
    terminal = Terminal(repo, "fix", "Add.", *words, *to(server.url))
    wait_for(lambda: server.requests)
    time.sleep(0.1)
    terminal.type("\x03")
    terminal.see(b"Stop?")
    return terminal


def test_a_note_goes_to_the_model_with_the_next_result(repo: Path) -> None:
    with Server([SLOW_READ, FIX, DONE]) as server:
        terminal = asked(repo, server)
        terminal.type("use plus\n")
        assert terminal.end() == 0, terminal.shown
        said = [str(message["content"]) for message in server.requests[1].body["messages"]]
    assert re.search(r"\n\[end [0-9a-f]{8}\]\n\n\[note from the user: use plus\]$", said[-1])
    assert (repo / "calc.py").read_text().endswith(RIGHT)


def test_a_note_that_no_result_could_pass_on_is_a_message(repo: Path) -> None:
    with Server([FIX, {**DONE, "delay": 1.0}, DONE]) as server:
        terminal = Terminal(repo, "fix", "Add.", *to(server.url))
        wait_for(lambda: len(server.requests) == 2)
        terminal.type("\x03")
        terminal.see(b"Stop?")
        terminal.type("and more\n")
        assert terminal.end() == 0, terminal.shown
        assert (len(server.requests), last(server)) == (3, "user: and more")


def test_c_goes_on_as_if_nothing_had_been(repo: Path) -> None:
    with Server([SLOW_READ, FIX, DONE]) as server:
        terminal = asked(repo, server, "--json")
        terminal.type("c\n")
        assert terminal.end() == 0, terminal.shown
        assert "note" not in last(server)


@pytest.mark.parametrize(
    ("typed", "code"),
    [("\x03", 130), ("\n", 130), ("s\n", 130), ("\x04", 130), ("", 143)],
    ids=["Ctrl-C", "Enter", "s", "Ctrl-D", "SIGTERM"],
)
def test_it_stops_in_order(repo: Path, typed: str, code: int) -> None:
    with Server([SLOW_READ, FIX, DONE]) as server:
        terminal = asked(repo, server, "--json")
        if typed:
            terminal.type(typed)
        else:
            terminal.kill(signal.SIGTERM)
        assert terminal.end() == code, terminal.shown
    assert b'"subtype":"error_cancelled"' in terminal.shown.replace(b": ", b":")
