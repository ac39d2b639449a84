"""A FIFO where a file was: it is seen as a loss, and undone once it is out of the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from running import DONE, FIX, WRONG, Run, to

from glm_agent import sandbox
from glm_agent.replay import Server
from tests.commands.test_command_sandbox import bash

IN_THE_WAY = "calc.py is a FIFO, socket or device now, so nothing was undone; remove it, and undo again"


@pytest.mark.slow
@pytest.mark.skipif(sandbox.probe().tier is None, reason="no commands here")
def test_a_command_that_puts_a_fifo_in_a_files_place_has_deleted_the_file(repo: Path, glm: Run) -> None:
    with Server([bash("rm calc.py && mkfifo calc.py && echo new > new.txt"), DONE]) as server:
        ran = glm("fix", "Add.", *to(server.url), "--json")
    changes = [(row["path"], row["kind"]) for row in ran.result["changes"]]
    assert (ran.code, changes) == (0, [("calc.py", "delete"), ("new.txt", "create")])
    assert "calc.py is no regular file, and counts as gone" in ran.out
    for words in (("undo",), ("undo", "--force"), ("undo", "--check")):
        assert (glm(*words).code, IN_THE_WAY in glm(*words).err) == (45, True)
    (repo / "calc.py").unlink()
    assert glm("undo").out == "put back calc.py\nremoved new.txt\n"
    assert (repo / "calc.py").read_text().endswith(WRONG)


@pytest.mark.slow
def test_one_that_came_since_is_named_with_the_way_on(repo: Path, glm: Run) -> None:
    with Server([FIX, DONE]) as server:
        assert glm("fix", "Add.", *to(server.url)).code == 0
    (repo / "calc.py").unlink()
    os.mkfifo(repo / "calc.py")
    assert "changed since session" in glm("undo").err
    assert IN_THE_WAY in glm("undo", "--force").err
    (repo / "calc.py").unlink()
    assert (glm("undo", "--force").code, (repo / "calc.py").read_text().endswith(WRONG)) == (0, True)
