from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from glm_agent.errors import ToolError
from glm_agent.tools import read, search, write
from glm_agent.tools.arguments import decode
from glm_agent.tools.seen import Seen
from glm_agent.tools.spill import Spill
from glm_agent.types import Tool, ToolOutput
from glm_agent.workspace import Workspace


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def tool(workspace: Workspace, seen: Seen) -> Tool:
    return write.tool(workspace, seen)


def call(tool: Tool, **arguments: str) -> ToolOutput:
    return tool.run(decode(tool, json.dumps(arguments)), threading.Event())


def test_a_new_file_is_made_with_its_directories(tool: Tool, tmp_path: Path) -> None:
    assert call(tool, path="./a/b/c.txt", content="é\nx") == ToolOutput(
        "created a/b/c.txt (2 lines, 4 bytes)",
        details={"path": "a/b/c.txt", "kind": "create", "lines": 2, "bytes": 4},
    )
    assert (tmp_path / "a/b/c.txt").read_bytes() == "é\nx".encode()


def test_a_file_that_was_not_read_is_not_replaced(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("precious")
    with pytest.raises(ToolError, match=r"^a exists already; read it first"):
        call(tool, path="a", content="new")
    assert (tmp_path / "a").read_text() == "precious"


def test_a_file_that_was_read_is_replaced_in_its_encoding(
    tool: Tool, tmp_path: Path, workspace: Workspace, seen: Seen
) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfea\0")
    (tmp_path / "a").chmod(0o755)
    call(read.tool(workspace, seen, Spill(tmp_path / "outputs")), path="a")
    assert call(tool, path="a", content="b\n").content == "updated a (1 lines, 6 bytes)"
    assert (tmp_path / "a").read_bytes() == b"\xff\xfeb\0\n\0"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755


def test_what_was_written_may_be_written_again(tool: Tool, tmp_path: Path) -> None:
    call(tool, path="a", content="1")
    call(tool, path="a", content="2")
    assert (tmp_path / "a").read_text() == "2"


def test_a_file_that_changed_since_is_not_replaced(tool: Tool, tmp_path: Path) -> None:
    call(tool, path="a", content="1")
    (tmp_path / "a").write_text("the user's")
    with pytest.raises(ToolError, match=r"^a changed on disk since it was read; read it again$"):
        call(tool, path="a", content="2")
    assert (tmp_path / "a").read_text() == "the user's"


@pytest.mark.parametrize("path", ["folder", "link", "link/x", ".git/hooks/x", "../x", "/etc/x"])
def test_what_is_no_file_of_ours_is_not_written(tool: Tool, tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with pytest.raises(ToolError):
        call(tool, path=path, content="x")
    assert sorted(item.name for item in tmp_path.rglob("*")) == ["folder", "link"]


def test_a_dangling_link_is_not_written_through(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ToolError, match="goes through a symbolic link to nowhere"):
        call(tool, path="link", content="x")


def test_a_new_syntax_error_is_reported_with_the_result(tool: Tool, tmp_path: Path) -> None:
    content = call(tool, path="a.py", content="def f(:\n").content
    assert content == "created a.py (1 lines, 8 bytes)\nnote: a.py does not parse now: line 1: invalid syntax"
    assert (tmp_path / "a.py").read_text() == "def f(:\n"


def test_the_three_schemas_are_small(tool: Tool, workspace: Workspace, seen: Seen, tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    tools = [read.tool(workspace, seen, spill), search.tool(workspace, spill), tool]
    schemas = [
        {
            "type": "function",
            "function": {"name": one.name, "description": one.description, "parameters": one.parameters},
        }
        for one in tools
    ]
    assert len(json.dumps(schemas)) <= 1600
    assert [one.reads_only for one in tools] == [True, True, False]
