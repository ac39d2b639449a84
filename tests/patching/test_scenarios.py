"""Each folder of tests/scenarios: `input` with `patch.txt` is `expected`; `message.txt` is said."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from glm_agent.errors import ToolError
from glm_agent.tools import patch
from glm_agent.tools.seen import Seen
from glm_agent.workspace import Workspace

SCENARIOS = Path(__file__).parent.parent / "scenarios"


@pytest.mark.parametrize("name", sorted(path.name for path in SCENARIOS.iterdir() if path.is_dir()))
def test_scenario(name: str, tmp_path: Path) -> None:
    folder, root = SCENARIOS / name, tmp_path / "root"
    shutil.copytree(folder / "input", root)
    sent = (folder / "patch.txt").read_bytes().decode()
    try:
        message = patch.tool(Workspace(root), Seen()).run({"patch": sent}, threading.Event()).content
    except ToolError as error:
        message = str(error)
        assert message.startswith("patch refused, nothing was changed: ")
    assert (message + "\n", tree(root)) == ((folder / "message.txt").read_text(), tree(folder / "expected"))


def tree(root: Path) -> dict[str, tuple[bytes, bool]]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in files
    }
