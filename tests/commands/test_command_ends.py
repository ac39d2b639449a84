"""Every way in which a run ends, from a process of its own; and what it may be given to read and write."""

from __future__ import annotations

import json
import os
import pty
import random
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from running import CHECK, DONE, FIX, READ, STALL, finish, git, look, shell, start, to, wait_for

from glm_agent.replay import Server
from glm_agent.types import Json

HARMLESS = {"content": "Hm."}


class End(NamedTuple):
    """`first` is run in the repository before."""

    code: int
    subtype: str
    words: tuple[str, ...]
    turns: tuple[Json, ...] = (FIX, DONE)
    first: str = "true"
    signum: signal.Signals | None = None


def status(code: int) -> Json:
    return {"fault": "status", "status": code, "body": {"error": {"message": "no"}}}


FIXES = ("fix", "Add.")
BUSY = (status(429) | {"headers": {"Retry-After": "9999"}},)
STALLED = (FIX, STALL)
ENDS = [
    End(0, "success", (*FIXES, "--verify", CHECK)),
    End(0, "success", ("ask", "What?"), (DONE,)),
    End(1, "error_during_execution", FIXES, (status(418),)),
    End(2, "error_usage", ("fix",)),
    End(2, "error_usage", (*FIXES, "--verify", "no-such-command")),
    End(2, "error_usage", (*FIXES, "--max-budget-usd", "1")),
    End(10, "error_verify", (*FIXES, "--verify", "false", "--verify-rounds", "1")),
    End(11, "error_no_changes", FIXES, (HARMLESS,)),
    End(12, "error_policy", (*FIXES, "--protect", "calc.py")),
    End(13, "error_schema", ("ask", "What?", "--json-schema", '{"type": "object"}'), (HARMLESS,)),
    End(41, "error_auth", FIXES, (status(401),)),
    End(44, "error_sandbox", (*FIXES, "--sandbox-tier", "A")),
    End(45, "error_repository", FIXES, first="rm -rf .git"),
    End(52, "error_config", FIXES, first="echo 'max_turns = x' > .glm-agent.toml"),
    End(53, "error_max_turns", (*FIXES, "--max-turns", "1")),
    End(55, "error_max_budget", (*FIXES, "--max-tool-calls", "1"), (READ, DONE)),
    End(55, "error_max_budget", (*FIXES, "--max-total-tokens", "100")),
    End(55, "error_max_budget", (*FIXES, "--max-wall-time", "1s"), STALLED),
    End(75, "error_provider", FIXES, BUSY),
    End(129, "error_cancelled", FIXES, STALLED, signum=signal.SIGHUP),
    End(130, "error_cancelled", FIXES, STALLED, signum=signal.SIGINT),
    End(143, "error_cancelled", FIXES, STALLED, signum=signal.SIGTERM),
]


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"{end.code} {' '.join(end.words[:3])}")
def test_every_end_has_its_code_and_its_result(end: End, repo: Path, tmp_path: Path) -> None:
    before = without_namespaces() if end.code == 44 else ()
    subprocess.run(["sh", "-c", end.first], cwd=repo, check=True)
    with Server(end.turns) as server:
        patch = ("--patch", str(tmp_path / "p")) if end.words[0] == "fix" else ()
        words = [*end.words, "--json", *patch, *to(server.url)]
        process = start(repo, *words, before=before)
        if end.signum:
            wait_for(lambda: len(server.requests) == len(end.turns))
            process.send_signal(end.signum)
        ran = finish(process)
    assert (ran.code, ran.result["subtype"]) == (end.code, end.subtype)
    assert bool(ran.result["errors"]) is (end.code != 0)
    if end.code not in {2, 44, 45, 52}:  # else it may not have begun
        assert (tmp_path / "p").exists() is bool(patch)


def without_namespaces() -> tuple[str, ...]:
    """What makes a program run where nobody can have namespaces of their own."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    words = ("unshare", "-Ur", "sh", "-c", forbid, "sh")
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces cannot be forbidden here")
    return words


def test_every_code_of_the_table_is_among_them() -> None:
    source = (Path(__file__).parents[2] / "glm_agent/schemas/result.json").read_text("utf-8")
    known = set(json.loads(source)["properties"]["subtype"]["enum"])
    assert {end.subtype for end in ENDS} == known


# What stands on stdin


@contextmanager
def standing(kind: str, folder: Path) -> Generator[tuple[int | None, str]]:
    """A descriptor for stdin (None: closed), and what `init` says of it."""
    with ExitStack() as stack:
        if kind == "a pipe that stays open":
            reader, writer = os.pipe()
            stack.callback(os.close, writer)
            found = reader, "skipped"
        elif kind == "a terminal":
            ours, reader = pty.openpty()
            stack.callback(os.close, ours)
            found = reader, "none"
        elif kind == "a file":
            (folder / "more.txt").write_text("more\n")
            found = os.open(folder / "more.txt", os.O_RDONLY), "read"
        elif kind == "/dev/null":
            found = os.open(os.devnull, os.O_RDONLY), "none"
        else:
            found = None, "none"
        if found[0] is not None:
            stack.callback(os.close, found[0])
        yield found


KINDS = ("a pipe that stays open", "a terminal", "a file", "/dev/null", "closed")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_stands_on_stdin_a_run_ends(kind: str, repo: Path, tmp_path: Path) -> None:
    with Server([FIX, DONE]) as server, standing(kind, tmp_path) as (stdin, said):
        words = ["fix", "Add.", "--json", *to(server.url)]
        if stdin is None:
            ran = shell(repo, f"$GLM {shlex.join(words)} <&-")
        else:
            ran = finish(start(repo, *words, stdin=stdin))
    assert (ran.code, ran.events[0]["stdin"]) == (0, said)
    asked = server.requests[0].body["messages"][1]["content"]
    assert ("more" in asked) is (said == "read")


# Streams and disks that fail


@pytest.mark.slow
def test_a_reader_that_takes_one_line_and_goes_ends_the_run_with_141(repo: Path) -> None:
    with Server([FIX, READ, READ, DONE]) as server:
        words = shlex.join(["fix", "Add.", "--json", *to(server.url)])
        ran = shell(repo, f"$GLM {words} | head -1; echo ${{PIPESTATUS[0]}}")
    first, code = ran.out.split("\n")[:2]
    assert (json.loads(first)["subtype"], code) == ("init", "141")
    assert "Traceback" not in ran.err


@pytest.mark.slow
def test_without_stderr_a_run_is_the_same(repo: Path) -> None:
    with Server([FIX, DONE]) as server:
        ran = shell(repo, f"$GLM {shlex.join(['fix', 'Add.', '--json', *to(server.url)])} 2>&-")
    assert (ran.code, ran.result["subtype"]) == (0, "success")


@pytest.mark.slow
def test_a_disk_that_is_full_before_anything_is_asked_is_45(repo: Path) -> None:
    mount = 'mount -t tmpfs -o size=4k none "$XDG_STATE_HOME"'
    inside = f'{mount} && dd if=/dev/zero of="$XDG_STATE_HOME/x" 2>/dev/null; '
    with Server([FIX, DONE]) as server, tempfile.TemporaryDirectory() as state:
        words = shlex.join(["fix", "Add.", "--json", *to(server.url)])
        ran = shell(repo, f"unshare -Urm sh -c {shlex.quote(inside + f'$GLM {words}')}", XDG_STATE_HOME=state)
        if "unshare" in ran.err or "mount" in ran.err:
            pytest.skip("no file system of our own can be mounted here")
    assert (ran.code, ran.result["subtype"], server.requests) == (45, "error_repository", [])
    assert "No space left on device" in ran.result["errors"][0]


@pytest.mark.slow
def test_a_disk_that_is_full_when_the_tree_is_kept_is_45_and_nothing_is_done(repo: Path) -> None:
    (repo / "data").write_bytes(random.Random(1).randbytes(3 << 20))
    before = look(repo)
    with Server([FIX, DONE]) as server:
        words = shlex.join(["fix", "Add.", "--sandbox", "danger-full-access", "--json", *to(server.url)])
        ran = shell(repo, f"ulimit -f 2000; $GLM {words}")
    assert (ran.code, ran.result["subtype"], server.requests) == (45, "error_repository", []), ran
    assert look(repo) == before


@pytest.mark.slow
def test_a_disk_that_is_full_later_is_45_with_a_result(repo: Path) -> None:
    with Server([READ, READ, {"content": "x" * 9000}], strict=True) as server:
        ran = shell(repo, f"ulimit -f 8; $GLM {shlex.join(['ask', 'Why?', '--json', *to(server.url)])}")
    assert (ran.code, ran.result["subtype"]) == (45, "error_repository")
    assert "File too large" in ran.result["errors"][0]
    assert git(repo, "status", "--porcelain") == ""
