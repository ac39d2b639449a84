from __future__ import annotations

import threading
from pathlib import Path

import pytest
from running import git

from glm_agent import gitdir, tools
from glm_agent.errors import ToolError
from glm_agent.sandbox import unconfined
from glm_agent.types import Tool
from glm_agent.workspace import Workspace

NEVER = threading.Event()


@pytest.fixture
def kit(repo: Path, tmp_path: Path) -> dict[str, Tool]:
    built = tools.build("fix", Workspace(repo), tmp_path / "session", unconfined(repo))
    return {tool.name: tool for tool in built.tools}


def test_what_writes_next_says_once_that_head_has_moved(kit: dict[str, Tool], repo: Path) -> None:
    first = gitdir.head(repo)
    assert kit["write"].run({"path": "a", "content": "a\n"}, NEVER).content == "created a (1 lines, 2 bytes)"
    git(repo, "checkout", "--quiet", "-b", "other")
    assert "HEAD" not in kit["read"].run({"path": "a", "offset": 1, "limit": 9}, NEVER).content
    said = kit["write"].run({"path": "b", "content": "b\n"}, NEVER).content
    assert f"the user moved HEAD from {first} to {first.replace('main', 'other')}; files" in said
    assert kit["write"].run({"path": "c", "content": "c\n"}, NEVER).content == "created c (1 lines, 2 bytes)"


def test_an_error_says_it_as_well(kit: dict[str, Tool], repo: Path) -> None:
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "second")
    with pytest.raises(
        ToolError, match=r"no.thing.*\n\[while you worked, the user moved HEAD from main [0-9a-f]{12} to"
    ):
        kit["edit"].run({"path": "no.thing", "old": "a", "new": "b"}, NEVER)


def test_what_a_command_of_the_model_does_is_no_news(kit: dict[str, Tool], repo: Path) -> None:
    command = "git -c user.name=t -c user.email=t commit --quiet --allow-empty -m second"
    assert "HEAD" not in kit["bash"].run({"command": command}, NEVER).content
    assert "HEAD" not in kit["write"].run({"path": "a", "content": "a\n"}, NEVER).content


def test_head_is_told_whatever_the_state(repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD").strip()[:12]
    assert gitdir.head(repo) == f"main {commit}"
    git(repo, "pack-refs", "--all")
    assert gitdir.head(repo) == f"main {commit}"
    git(repo, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    assert gitdir.head(tmp_path / "linked") == commit
    git(repo, "checkout", "--quiet", "--orphan", "new")
    assert (gitdir.head(repo), gitdir.head(tmp_path)) == ("new", "")
