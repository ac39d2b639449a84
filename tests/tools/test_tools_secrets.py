"""Whatever a tool reads or runs: files that are secrets stay closed, and tokens do not reach the model."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from glm_agent import tools
from glm_agent.errors import DeniedError, ToolError
from glm_agent.sandbox import unconfined
from glm_agent.secrets import Secrets
from glm_agent.tools.arguments import decode
from glm_agent.types import Tool
from glm_agent.workspace import Workspace
from tests.running import make_repository

TOKEN = "ghp" + "_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = make_repository(
        tmp_path / "repo", {"app.py": f'TOKEN = "{TOKEN}"\nNAME = "app"\n', "b.py": "x = 1\n"}
    )
    (root / ".env").write_text("PASSWORD=hunter22\n")
    (root / "link.txt").symlink_to(".env")
    return root


def kit(root: Path, secrets: Secrets | None = None) -> dict[str, Tool]:
    built = tools.build("fix", Workspace(root, secrets), root.parent / "session", unconfined(root))
    return {tool.name: tool for tool in built.tools}


def say(tool: Tool, arguments: str) -> str:
    return tool.run(decode(tool, arguments), threading.Event()).content


@pytest.mark.parametrize("path", [".env", "./.env", "link.txt"])
def test_a_secret_is_not_read_by_any_of_its_names(repo: Path, path: str) -> None:
    with pytest.raises(ToolError) as caught:
        say(kit(repo)["read"], f'{{"path": "{path}"}}')
    expected = f"{path.removeprefix('./')} is withheld: it holds secrets."
    assert str(caught.value).startswith(expected)


def test_a_secret_is_neither_changed_nor_deleted(repo: Path) -> None:
    found = kit(repo)
    for name, arguments in (
        ("edit", '{"path": ".env", "old": "hunter22", "new": "x"}'),
        ("patch", '{"patch": "--- a/.env\\n+++ /dev/null\\n@@ -1 +0,0 @@\\n-PASSWORD=hunter22\\n"}'),
    ):
        with pytest.raises(ToolError, match="withheld"):
            say(found[name], arguments)
    assert (repo / ".env").read_text() == "PASSWORD=hunter22\n"


def test_a_token_is_masked_in_every_tool(repo: Path) -> None:
    found = kit(repo)
    mark = '"[secret: GitHub token withheld]"'
    assert (
        say(found["read"], '{"path": "app.py"}') == f'app.py (lines 1-2 of 2)\nTOKEN = {mark}\nNAME = "app"'
    )
    assert say(found["search"], '{"pattern": "TOKEN"}') == f"app.py:1: TOKEN = {mark}"
    assert say(found["bash"], '{"command": "cat app.py | head -1"}').startswith(f"TOKEN = {mark}\n[exit=0")


def test_search_says_how_many_files_it_left_out(repo: Path) -> None:
    search = kit(repo)["search"]
    lines = say(search, '{"pattern": "PASSWORD|x = 1"}').split("\n")
    assert lines == ["b.py:1: x = 1", "[1 files withheld: they hold secrets]"]


def test_a_mark_is_not_written_back(repo: Path) -> None:
    found = kit(repo)
    say(found["read"], '{"path": "app.py"}')
    new = 'TOKEN = \\"[secret: GitHub token withheld]\\"\\nNAME = \\"other\\"\\n'
    for arguments in (
        f'{{"path": "app.py", "content": "{new}"}}',
        f'{{"path": "new.py", "content": "{new}"}}',
    ):
        with pytest.raises(ToolError, match="stands for a value that you were not shown"):
            say(found["write"], arguments)
    assert TOKEN in (repo / "app.py").read_text()
    assert not (repo / "new.py").exists()


def test_a_mark_in_what_is_to_be_replaced_is_named_as_the_reason(repo: Path) -> None:
    old = 'TOKEN = \\"[secret: GitHub token withheld]\\"'
    with pytest.raises(ToolError, match="leave that line out of `old`"):
        say(kit(repo)["edit"], f'{{"path": "app.py", "old": "{old}", "new": "TOKEN = 1"}}')


def test_the_lines_around_a_token_can_be_changed(repo: Path) -> None:
    say(kit(repo)["edit"], '{"path": "app.py", "old": "NAME = \\"app\\"", "new": "NAME = \\"other\\""}')
    assert (repo / "app.py").read_text() == f'TOKEN = "{TOKEN}"\nNAME = "other"\n'


def test_what_the_user_allows_is_read(repo: Path) -> None:
    read = kit(repo, Secrets((".env",)))["read"]
    assert say(read, '{"path": ".env"}').endswith("PASSWORD=hunter22")


def test_a_fifo_with_the_name_of_a_secret_does_not_hang(repo: Path) -> None:
    os.mkfifo(repo / ".npmrc")
    with pytest.raises(ToolError, match="not a regular file"):
        say(kit(repo)["read"], '{"path": ".npmrc"}')


def test_what_runs_by_itself_is_not_written_and_the_denial_is_counted(repo: Path) -> None:
    found = kit(repo)
    with pytest.raises(DeniedError, match="run automatically") as caught:
        say(found["write"], '{"path": ".github/workflows/ci.yml", "content": "on: push"}')
    reason = "it is run automatically, by a server, a hook or an editor"
    assert caught.value.details == {"denied": [{"path": ".github/workflows/ci.yml", "reason": reason}]}
    assert not (repo / ".github").exists()
