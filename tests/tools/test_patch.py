"""The tool `patch` on real files: all of them or none; tests/scenarios shows what it says."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from glm_agent.errors import ToolError
from glm_agent.tools import edit, patch
from glm_agent.tools.seen import Seen
from glm_agent.types import ToolOutput
from glm_agent.workspace import Workspace

CHANGE = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"


def run(root: Path, text: str, seen: Seen | None = None) -> ToolOutput:
    return patch.tool(Workspace(root), seen or Seen()).run({"patch": text}, threading.Event())


def test_all_kinds_of_change_at_once(tmp_path: Path) -> None:
    for name, text in {"f": "a\n", "gone": "g\n", "old": "o\n", "run.sh": "#!\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "run.sh").chmod(0o640)
    seen = Seen()
    output = run(
        tmp_path,
        CHANGE
        + "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-g\n--- /dev/null\n+++ b/d/e/new\n@@ -0,0 +1 @@\n+n\n"
        + "diff --git a/old b/moved\nrename from old\nrename to moved\n"
        + "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n",
        seen,
    )
    tree = {
        str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert tree == {"f": "b\n", "d/e/new": "n\n", "moved": "o\n", "run.sh": "#!\n"}
    assert (tmp_path / "run.sh").stat().st_mode & 0o777 == 0o750
    assert all(seen.unchanged(name, text) for name, text in tree.items())
    kinds = [(change["path"], change["kind"], change["new_path"]) for change in output.details["changes"]]
    assert kinds == [
        ("f", "update", None),
        ("gone", "delete", None),
        ("d/e/new", "create", None),
        ("old", "rename", "moved"),
        ("run.sh", "update", None),
    ]


def test_absolute_names_inside_the_root_are_taken(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\n")
    assert run(tmp_path, CHANGE.replace("a/f", f"{tmp_path}/f").replace("b/f", f"{tmp_path}/f")).ok
    assert (tmp_path / "f").read_text() == "b\n"


def test_a_new_syntax_error_is_reported(tmp_path: Path) -> None:
    output = run(tmp_path, "--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+def\n")
    assert output.content == "created a.py +1 -0\nnote: a.py does not parse now: line 1: invalid syntax"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("--- a/link\n+++ b/link\n@@ -1 +1 @@\n-t\n+u\n", "link goes through a symbolic link"),
        ("--- a/pipe\n+++ b/pipe\n@@ -1 +1 @@\n-t\n+u\n", "pipe is not a regular file"),
        ("--- a/bin\n+++ b/bin\n@@ -1 +1 @@\n-t\n+u\n", "bin is binary"),
        ("--- a/nope\n+++ b/nope\n@@ -1 +1 @@\n-t\n+u\n", "nope does not exist"),
        ("--- /dev/null\n+++ b/f/g\n@@ -0,0 +1 @@\n+u\n", "f/g "),
        ("--- /dev/null\n+++ b/.Git/hooks/x\n@@ -0,0 +1 @@\n+u\n", ".Git/hooks/x is git's own"),
        ("--- a/x/../f\n+++ b/x/../f\n@@ -1 +1 @@\n-a\n+c\n", "one file is changed twice"),
        (
            '--- a/t\n+++ b/t\n@@ -1 +1 @@\n-t\n+u\n--- /dev/null\n+++ "b/a\\nb"\n@@ -0,0 +1 @@\n+u\n',
            "the path ",
        ),
    ],
)
def test_one_bad_file_and_none_is_changed(second: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\n")
    (tmp_path / "t").write_text("t\n")
    (tmp_path / "link").symlink_to("t")
    (tmp_path / "bin").write_bytes(b"\x00t\n")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ToolError) as error:
        run(tmp_path, CHANGE + second)
    assert str(error.value).startswith(f"patch refused, nothing was changed: {message}")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert ((tmp_path / "f").read_text(), (tmp_path / "t").read_text()) == ("a\n", "t\n")


def test_both_schemas_stay_small(tmp_path: Path) -> None:
    tools = [module.tool(Workspace(tmp_path), Seen()) for module in (edit, patch)]
    texts = [json.dumps([tool.name, tool.description, tool.parameters]) for tool in tools]
    assert sum(map(len, texts)) <= 1400


def test_a_copy_keeps_the_right_to_execute_and_the_encoding(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"caf\xe9\n")
    (tmp_path / "f").chmod(0o755)
    run(tmp_path, "diff --git a/f b/g\ncopy from f\ncopy to g\n")
    assert (tmp_path / "g").read_bytes() == b"caf\xe9\n"
    assert (tmp_path / "g").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("old", "new"), [("\ufeffa", "\ufeffb"), ("a", "b"), ("a", "\ufeffb"), ("\ufeffa", "b")]
)
def test_a_byte_order_mark_stays_the_only_one(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "f").write_bytes("\ufeffa\nc\n".encode())
    run(tmp_path, f"--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-{old}\n+{new}\n c\n")
    assert (tmp_path / "f").read_bytes() == "\ufeffb\nc\n".encode()
