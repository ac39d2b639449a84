"""The tool `edit` on real files: what it writes, what it says, and that a refusal changes nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from glm_agent.errors import ToolError
from glm_agent.tools import edit
from glm_agent.tools.seen import Seen
from glm_agent.types import ToolOutput
from glm_agent.workspace import Workspace


def run(root: Path, path: str, old: str, new: str, replace_all: bool = False) -> ToolOutput:
    arguments = {"path": path, "old": old, "new": new, "replace_all": replace_all}
    return edit.tool(Workspace(root), Seen()).run(arguments, threading.Event())


def test_it_says_what_the_lines_are_now(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1\ny = 2\nz = 3\n")
    output = run(tmp_path, "a.py", "y = 2\n", "y = 4\nw = 5\n")
    assert file.read_text() == "x = 1\ny = 4\nw = 5\nz = 3\n"
    details = {"path": "a.py", "kind": "update", "added": 2, "removed": 1}
    assert output == ToolOutput("edited a.py at line 2: +2 -1 lines\n2: y = 4\n3: w = 5", True, details)


def test_it_shows_ten_lines_at_most(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\n")
    output = run(tmp_path, "a", "x", "\n".join("y" * 999 for _ in range(50)))
    assert output.content.startswith("edited a at line 1: +50 -1 lines\n1: yyy")
    assert output.content.endswith("\n[40 more lines]")
    assert len(output.content) < 2500


def test_encoding_mark_line_ends_and_mode_stay(tmp_path: Path) -> None:
    file = tmp_path / "win.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    file.chmod(0o750)
    output = run(tmp_path, "win.txt", "one\ntwo", "1\n2")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"\xef\xbb\xbf1\r\n2\r\n", 0o750)
    assert output.content.startswith(
        "edited win.txt at line 1: +2 -2 lines (matched ignoring line endings)\n"
    )


def test_bytes_that_are_not_utf8_stay(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9\nx\n")
    run(tmp_path, "a", "x", "y")
    assert (tmp_path / "a").read_bytes() == b"caf\xe9\ny\n"


def test_a_new_syntax_error_is_reported_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = (1)\n")
    output = run(tmp_path, "a.py", "(1)", "(1")
    assert (tmp_path / "a.py").read_text() == "x = (1\n"
    assert "\nnote: a.py does not parse now: line 1:" in output.content


def test_what_was_edited_counts_as_seen(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\n")
    seen = Seen()
    arguments = {"path": "./a", "old": "x", "new": "y", "replace_all": False}
    edit.tool(Workspace(tmp_path), seen).run(arguments, threading.Event())
    assert seen.unchanged("a", "y\n")


@pytest.mark.parametrize(
    ("path", "old", "message"),
    [
        ("a", "z", "a: `old` is not in the file\n"),
        ("a", "x", "a: `old` fits at more than one place\nit fits at lines 1, 2:\n"),
        ("b", "x", "b does not exist"),
        ("../a", "x", "../a leads above the repository root"),
        ("link", "x", "link"),
    ],
)
def test_a_refusal_changes_nothing(path: str, old: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\nx\n")
    (tmp_path / "target").write_text("x\n")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(ToolError) as error:
        run(tmp_path, path, old, "y")
    assert str(error.value).startswith(f"edit refused, nothing was changed: {message}")
    assert ((tmp_path / "a").read_text(), (tmp_path / "target").read_text()) == ("x\nx\n", "x\n")
