"""Little of what a process needs, and a repository of a kind that is not known here."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from running import DONE, FIX, HERE, READ, RIGHT, STALL, Ran, Run, finish, git, refused, start, to, wait_for

from glm_agent.replay import Server

pytestmark = pytest.mark.slow


def test_sixty_four_open_files_are_enough(repo: Path) -> None:
    little = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    with Server([READ, FIX, DONE]) as server:
        ran = finish(start(repo, "fix", "Add.", *to(server.url), "--json", before=little))
    assert (ran.code, (repo / "calc.py").read_text().endswith(RIGHT)) == (0, True), ran.err


def test_an_extension_that_git_does_not_know_is_refused(repo: Path, glm: Run) -> None:
    git(repo, "config", "core.repositoryFormatVersion", "1")
    git(repo, "config", "extensions.unheardOf", "true")
    refused(glm, "fix", "Add.", *HERE, code=45, says="unknown repository extension found")


def fix(repo: Path, *before: str, env: dict[str, str] | None = None) -> Ran:
    with Server([READ, FIX, DONE]) as server:
        return finish(start(repo, "fix", "Add.", *to(server.url), "--json", before=before, env=env))


def test_half_a_gigabyte_is_enough(repo: Path) -> None:
    ran = fix(repo, "sh", "-c", 'ulimit -v 524288; exec "$@"', "sh")
    assert (ran.code, (repo / "calc.py").read_text().endswith(RIGHT)) == (0, True), ran.err


def test_an_index_that_git_left_locked_is_none_of_our_business(repo: Path) -> None:
    (repo / ".git/index.lock").touch()
    before = (repo / ".git/index").read_bytes()
    assert (fix(repo).code, (repo / ".git/index").read_bytes()) == (0, before)


def test_a_tree_that_nobody_can_write_to_is_said_before_anything_is_asked(repo: Path) -> None:
    shut = ("unshare", "--map-root-user", "--mount", "sh", "-c")
    shut = (*shut, 'mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" && exec "$@"', "sh")
    if subprocess.run([*shut, "true"], cwd=repo, capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    said = finish(start(repo, "fix", "Add.", *HERE, "--json", before=shut))
    assert (said.code, said.result["errors"]) == (
        45,
        [f"{repo} is read-only; --dry-run works without changing it"],
    )
    with Server([FIX, DONE]) as server:
        ran = finish(start(repo, "fix", "Add.", "--dry-run", *to(server.url), "--json", before=shut))
    assert (ran.code, [row["path"] for row in ran.result["changes"]]) == (0, ["calc.py"]), ran.err


def test_a_home_that_cannot_be_written_says_what_to_do(repo: Path) -> None:
    ran = fix(repo, env={"HOME": "/proc/1"})
    assert (ran.code, "; --ephemeral keeps nothing, XDG_STATE_HOME says" in ran.err) == (45, True), ran.err
    assert ran.err.count("\n") == 1


def test_a_folder_that_is_gone_is_said(repo: Path) -> None:
    (repo / "gone").mkdir()
    ran = finish(
        start(repo, "ask", "Why?", *HERE, before=("sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh"))
    )
    assert (ran.code, ran.err.count("\n")) == (45, 1), ran.err


def test_a_run_that_was_suspended_asks_again(repo: Path) -> None:
    with Server([STALL, FIX, DONE]) as server:
        process = start(repo, "fix", "Add.", *to(server.url), "--timeout-idle", "1s", "--json")
        wait_for(lambda: len(server.requests) == 1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        process.send_signal(signal.SIGCONT)
        ran = finish(process)
    assert (ran.code, (repo / "calc.py").read_text().endswith(RIGHT)) == (0, True), ran.err
