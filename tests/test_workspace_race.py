"""A directory that becomes a link while it is walked: resolve first and open then, and you lose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from glm_agent.errors import ToolError
from glm_agent.workspace import Change, Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_OPENS = 200_000
_SWAP = """
import os, sys
os.chdir(sys.argv[1])
while os.getppid() == int(sys.argv[2]):
    os.rename("folder", "aside")
    os.rename("link", "folder")
    os.rename("folder", "link")
    os.rename("aside", "folder")
"""


@pytest.fixture
def root(tmp_path: Path) -> Generator[Path]:
    """A tree in which `folder` is a directory, a link to one outside, or not there, in quick succession."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file.txt").write_text("inside")
    outside.mkdir()
    (outside / "file.txt").write_text("outside")
    (root / "link").symlink_to(outside)
    swapper = subprocess.Popen([sys.executable, "-c", _SWAP, str(root), str(os.getpid())])
    yield root
    swapper.kill()
    swapper.wait()


def naive(root: Path) -> str:
    place = (root / "folder" / "file.txt").resolve()
    assert place.is_relative_to(root)
    return place.read_text()


def test_the_race_is_real(root: Path) -> None:
    """Else the tests below prove nothing."""
    seen = set[str]()
    for _ in range(_OPENS):
        with suppress(OSError, AssertionError):
            seen.add(naive(root))
        if "outside" in seen:
            return
    raise AssertionError("resolve-then-open was never outrun")


def test_no_read_escapes(root: Path) -> None:
    workspace, seen = Workspace(root), dict[str, int]()
    for _ in range(_OPENS):
        try:
            said = workspace.read("folder/file.txt").text
        except ToolError:
            said = "refused"
        seen[said] = seen.get(said, 0) + 1
    assert set(seen) == {"inside", "refused"}
    assert min(seen.values()) > 100


def test_no_write_escapes(root: Path) -> None:
    workspace, outside = Workspace(root), root.parent / "outside"
    written = 0
    for number in range(_OPENS // 20):
        with suppress(ToolError):
            workspace.apply([Change(f"folder/{number}.txt", b"x")])
            written += 1
    assert written > 100
    assert [path.name for path in outside.iterdir()] == ["file.txt"]
