"""Little of what a process needs, and a repository of a kind that is not known here."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import DONE, FIX, HERE, READ, RIGHT, Run, finish, git, refused, start, to

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
