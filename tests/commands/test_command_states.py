"""Repositories, and files in them, that are not as one expects: refused in one line, or worked in."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import DONE, FIX, HERE, READ, RIGHT, WRONG, Run, git, look, refused, to
from test_command_undo import calls, conflict, litter

from glm_agent.replay import Server
from glm_agent.replay.script import Reply
from glm_agent.replay.server import Request
from glm_agent.types import Json


class Meddler(Server):
    """Puts a folder in the place of `calc.py` once the model has read it."""

    def __init__(self, script: list[Json], repo: Path) -> None:
        super().__init__(script)
        self._file = repo / "calc.py"

    def answer(self, request: Request) -> Reply:
        if self._file.is_file() and len(self.requests) == 1:  # before this one
            self._file.unlink()
            self._file.mkdir()
            (self._file / "mine.txt").write_text("mine\n")
        return super().answer(request)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ("merge", "rebase"))
def test_the_middle_of_a_merge_is_refused_in_one_line(glm: Run, repo: Path, verb: str) -> None:
    litter(repo)
    conflict(repo, verb)
    before = look(repo)
    refused(glm, "fix", "Add.", *HERE, code=45, says="--allow-merge")
    assert look(repo) == before


@pytest.mark.slow
@pytest.mark.parametrize("turn", [FIX, calls("write", path="calc.py", content="x\n")], ids=["edit", "write"])
def test_a_file_that_became_a_folder_since_it_was_read_stays_one(glm: Run, repo: Path, turn: Json) -> None:
    before = look(repo)
    with Meddler([READ, turn, DONE], repo) as server:
        ran = glm("fix", "Add.", "--allow-empty", *to(server.url), "--json")
    (said,) = [
        block["content"]
        for event in ran.events
        if event["type"] == "user"
        for block in event["message"]["content"]
        if block["is_error"]
    ]
    assert "calc.py is a directory" in said
    assert [path.name for path in repo.glob("calc.py/*")] == ["mine.txt"]
    assert glm("undo").code == 0
    assert look(repo) == before


@pytest.mark.slow
def test_what_a_file_is_like_stays_when_it_is_edited(glm: Run, repo: Path) -> None:
    (repo / "calc.py").chmod(0o444)
    (repo / "win.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    for name in ("Case.txt", "case.txt"):
        (repo / name).write_text(f"{name}\n")
    git(repo, "add", "--all")
    before = look(repo)
    turns = [
        FIX,
        calls("edit", path="win.txt", old="two", new="2"),
        calls("edit", path="case.txt", old="case", new="small"),
    ]
    with Server([*turns, DONE]) as server:
        ran = glm("fix", "Add.", *to(server.url), "--json")
    assert [row["path"] for row in ran.result["changes"]] == ["calc.py", "case.txt", "win.txt"]
    assert (repo / "calc.py").read_text().endswith(RIGHT)
    assert (repo / "calc.py").stat().st_mode & 0o777 == 0o444
    assert (repo / "win.txt").read_bytes() == b"\xef\xbb\xbfone\r\n2\r\n"
    assert [(repo / name).read_text() for name in ("Case.txt", "case.txt")] == ["Case.txt\n", "small.txt\n"]
    assert glm("undo").code == 0
    assert look(repo) == before
    assert WRONG in (repo / "calc.py").read_text()
