"""A stream that cannot be written: stderr changes nothing, stdout ends the run in one line and with 1."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import DONE, FILES, FIX, environment, first_fast, run, shell, to

from glm_agent import outcome
from glm_agent.replay import Server

FULL = "glm-agent: cannot write the output: No space left on device\n"
PRINTING = ["--version", "--help", "fix --help", "schema result", "models", "config", "sessions list"]


@pytest.fixture
def closed() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def code(folder: Path, *words: str, stdout: int = subprocess.DEVNULL, stderr: int = subprocess.PIPE) -> int:
    program = [sys.executable, "-m", "glm_agent", *words]
    done = subprocess.run(
        program,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        check=False,
    )
    assert not done.stderr
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize("form", first_fast("json", "text", "stream-json"))
def test_a_full_stderr_changes_neither_the_result_nor_the_exit_code(repo: Path, form: str) -> None:
    with Server([DONE], strict=True) as server:
        words = " ".join(to(server.url))
        ran = shell(repo, f"$GLM ask What? -v --output-format {form} {words} 2>/dev/full")
    assert (ran.code, DONE["content"] in ran.out) == (0, True)
    if form != "text":
        assert ran.result["result"] == DONE["content"]


@pytest.mark.slow
def test_a_full_stderr_changes_no_exit_code_where_nothing_is_asked(repo: Path) -> None:
    refused = shell(repo, "$GLM fix Add. --json 2>/dev/full")
    assert (refused.code, refused.result["subtype"]) == (41, "error_auth")
    assert shell(repo, "$GLM fix --nope 2>/dev/full").code == 2
    assert shell(repo, "$GLM sessions show nope 2>/dev/full").code == 2


@pytest.mark.slow
def test_a_stderr_that_nobody_reads_changes_no_exit_code(repo: Path, closed: int) -> None:
    with Server([DONE], strict=True) as server:
        assert code(repo, "ask", "What?", "-v", *to(server.url), stderr=closed) == 0
    assert code(repo, "fix", "Add.", stderr=closed) == 41
    assert code(repo, "fix", "--nope", stderr=closed) == 2


@pytest.mark.parametrize("form", first_fast("json", "text", "stream-json"))
def test_a_full_stdout_is_one_line_and_1(repo: Path, form: str, home: Path) -> None:
    with Server([DONE], strict=True) as server:
        words = f"What? -q --output-format {form} {' '.join(to(server.url))}"
        ran = shell(repo, f"$GLM ask {words} >/dev/full")
    assert (ran.code, ran.err) == (1, FULL)
    if form != "stream-json":
        (kept,) = (home / ".local/state/glm-agent/sessions").iterdir()
        assert '"exit_code": 1' in (kept / "journal.jsonl").read_text().split("\n")[-2]


@pytest.mark.slow
def test_a_full_stdout_for_the_patch_is_one_line_and_1(repo: Path) -> None:
    with Server([FIX, DONE], strict=True) as server:
        ran = shell(repo, f"$GLM fix Add. -q --patch - {' '.join(to(server.url))} >/dev/full")
    assert (ran.code, ran.err) == (1, f"{DONE['content']}\n{FULL}")


def test_full_streams_are_1(repo: Path) -> None:
    assert shell(repo, "$GLM --version >/dev/full 2>&1").code == 1
    assert shell(repo, "$GLM models >/dev/full 2>&1").code == 1
    assert shell(repo, "$GLM fix '' --json >/dev/full 2>&1").code == 1


@pytest.mark.parametrize("words", first_fast(*PRINTING, keep=2))
def test_a_print_to_a_full_stdout_is_one_line_and_1(tmp_path: Path, words: str) -> None:
    ran = shell(tmp_path, f"$GLM {words} >/dev/full")
    assert (ran.code, ran.err) == (1, FULL)


@pytest.mark.slow
def test_what_changes_the_tree_says_in_one_line_that_it_cannot_say_more(repo: Path) -> None:
    with Server([FIX, DONE], strict=True) as server:
        shell(repo, f"$GLM fix Add. {' '.join(to(server.url))}")
    before = (repo / "calc.py").read_text()
    ran = shell(repo, "git diff >p; $GLM undo >/dev/full")
    assert (ran.code, ran.err.split("\n")[-2] + "\n") == (1, FULL)
    ran = shell(repo, "$GLM apply p >/dev/full")
    assert (ran.code, ran.err, (repo / "calc.py").read_text()) == (1, FULL, before)


@pytest.mark.parametrize("words", first_fast(*reversed(PRINTING), keep=2))
def test_a_print_that_nobody_reads_is_141(tmp_path: Path, words: str, closed: int) -> None:
    assert code(tmp_path, *words.split(), stdout=closed) == outcome.STDOUT_CLOSED


@pytest.mark.slow
def test_a_count_that_is_none_does_not_end_a_run(repo: Path) -> None:
    odd = {**DONE, "usage": {"prompt_tokens": 9, "completion_tokens": 10**400, "cost": 10**400}}
    with Server([odd], strict=True) as server:
        ran = run(repo, "ask", "What?", *to(server.url))
    assert (ran.code, ran.out) == (0, f"{DONE['content']}\n")
    assert ran.err.startswith("done; 1 turn; ")


@pytest.mark.slow
def test_a_patch_for_a_terminal_is_only_to_be_read(repo: Path) -> None:
    line = "a\x1b]52;c;aGk=\x07b"
    (repo / "calc.py").write_text(FILES["calc.py"] + f"# {line}\n")
    with Server([FIX, DONE]) as server:
        terminal, end = os.openpty()
        words = [sys.executable, "-m", "glm_agent", "fix", "Add.", "--dry-run", *to(server.url)]
        with subprocess.Popen(
            words, cwd=repo, env=environment(), stdout=end, stderr=subprocess.DEVNULL
        ) as process:
            os.close(end)
            shown = b"".join(iter(lambda: _read(terminal), b""))
        os.close(terminal)
        assert process.returncode == 0
    assert b"+    return a + b" in shown and b"\x1b" not in shown and "␛]52".encode() in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # its other end is closed
        return b""
