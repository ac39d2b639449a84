"""Files the user asked for: what they may be, and that they never show what an earlier run wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import DONE, FIX, HERE, STALL, Run, finish, refused, start, to, wait_for

from glm_agent.replay import Server


@pytest.mark.parametrize("option", ["-o", "--patch", "--debug-file"])
def test_a_file_to_write_needs_a_directory_before_anything_is_asked(
    glm: Run, tmp_path: Path, option: str
) -> None:
    for file in (tmp_path / "missing" / "file", tmp_path):
        refused(
            glm, "fix", "Add.", option, str(file), *HERE, code=2, says="not a file in an existing directory"
        )
    assert not (tmp_path / "missing").exists()


def test_the_answer_and_the_patch_cannot_share_a_file_or_stdout_with_json(glm: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "f")
    refused(glm, "fix", "Add.", "-o", file, "--patch", file, *HERE, code=2, says="give two files")
    ran = glm("fix", "Add.", "--patch", "-", *HERE, "--json")
    assert (ran.code, "--output-format text" in ran.result["errors"][0]) == (2, True)


def test_a_file_that_was_there_stays_if_the_run_never_begins(glm: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine\n")
    assert glm("fix", "", "-o", str(tmp_path / "f"), *HERE).code == 2
    assert (tmp_path / "f").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("Add.", "--max-turns", "0"), 2),
        (("Add.", "-m", "glm-4.77", "--provider", "zai"), 2),
        (("Add.", "--provider", "custom"), 2),
        (("Add.", "--json-schema", "[1]"), 2),
        (("Add.", "--provider", "zai"), 41),
        (("Add.", "--env-file", "missing"), 52),
    ],
    ids=str,
)
def test_what_an_earlier_run_wrote_survives_only_a_command_line_that_makes_no_sense(
    glm: Run, tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    answer, patch = tmp_path / "answer", tmp_path / "patch"
    for file in (answer, patch):
        file.write_text("earlier\n")
    assert glm("fix", *words, "-o", str(answer), "--patch", str(patch)).code == code
    left = "earlier\n" if code == 2 else ""
    assert (answer.read_text(), patch.read_text()) == (left, left)


@pytest.mark.slow
def test_a_run_empties_what_an_earlier_one_wrote_before_it_asks(repo: Path, tmp_path: Path) -> None:
    answer, patch = tmp_path / "answer", tmp_path / "patch"
    for file in (answer, patch):
        file.write_text("earlier\n")
    with Server([STALL]) as server:
        process = start(repo, "fix", "Add.", "-o", str(answer), "--patch", str(patch), *to(server.url))
        wait_for(lambda: server.requests)
        process.kill()
        finish(process)
    assert (answer.read_text(), patch.read_text()) == ("", "")


def test_a_full_disk_for_the_answer_is_an_error(glm: Run) -> None:
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", "-o", "/dev/full", *to(server.url), "--json")
    assert (ran.code, ran.result["errors"]) == (1, ["cannot write /dev/full: No space left on device"])
    assert len(ran.result["changes"]) == 1
