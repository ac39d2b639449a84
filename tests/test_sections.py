"""A real diff of git, file by file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from running import git, make_repository

from glm_agent.sections import Section, read

NUMBERED = "".join(f"line {number}\n" for number in range(30))


def test_each_file_has_its_marks_and_lines(tmp_path: Path) -> None:
    odd = 'odd "name"\tä'
    files = {"a.py": NUMBERED, "gone.py": "x\n", "move me.py": NUMBERED, "mode.sh": "echo\n", odd: "1\n"}
    root = make_repository(tmp_path / "repo", files)
    (root / "a.py").write_text(NUMBERED.replace("line 3\n", "--- a/no.py\n").replace("line 25\n", ""))
    (root / "gone.py").unlink()
    (root / "move me.py").rename(root / "moved.py")
    (root / "mode.sh").chmod(0o755)
    (root / odd).write_text("2\n")
    (root / os.fsdecode(b"\xff")).write_bytes(b"\xff\r\n")
    (root / "link").symlink_to("a.py")
    (root / "blob").write_bytes(b"\0diff --git a/x b/x\n" * 99)
    git(root, "add", "--all")
    words = ["git", "-c", "core.quotePath=false", "diff", "--cached", "--binary", "--find-renames"]
    patch = subprocess.run(words, cwd=root, capture_output=True, check=True).stdout
    found = {section.path: section for section in read(patch)}
    moved = found.pop("moved.py")
    assert (moved.marks, moved.added, moved.removed) == ([], [], [])
    assert found.pop("blob")[1:3] == ([], [])
    heads = ["@@ -1,7 +1,7 @@", "@@ -23,7 +23,6 @@ line 21"]
    assert found == {
        "a.py": Section("a.py", heads, ["--- a/no.py"], ["line 3", "line 25"]),
        "gone.py": Section("gone.py", ["@@ -1 +0,0 @@"], [], ["x"]),
        "mode.sh": Section("mode.sh", ["old mode 100644", "new mode 100755"], [], []),
        odd: Section(odd, ["@@ -1 +1 @@"], ["2"], ["1"]),
        "\udcff": Section("\udcff", ["@@ -0,0 +1 @@"], ["\ufffd\r"], []),
        "link": Section("link", ["new file mode 120000", "@@ -0,0 +1 @@"], ["a.py"], []),
    }
    assert list(read(b"")) == []
