from __future__ import annotations

from pathlib import Path

import pytest

from glm_agent.commands.tracking import Tracking
from glm_agent.keeping import Keeper
from glm_agent.snapshot import Snapshot
from glm_agent.workspace import Workspace


@pytest.fixture
def tracking(repo: Path, tmp_path: Path) -> Tracking:
    (repo / "win.txt").write_bytes(b"one\r\n")
    (repo / ".gitattributes").write_text("*.txt text\n")
    snapshot = Snapshot(repo, tmp_path / "session")
    return Tracking(snapshot, Keeper(snapshot, tmp_path / "session"), Workspace(repo), lambda name: None)


def test_what_the_work_changed_is_put_back_and_what_checks_wrote_stays(
    tracking: Tracking, repo: Path, tmp_path: Path
) -> None:
    before = (repo / "calc.py").read_bytes()
    tracking.keep()
    (repo / "baseline.out").write_text("by the first check\n")
    list(tracking.begin())
    (repo / "calc.py").write_text("worse\n")
    list(tracking.end())
    (repo / "report.out").write_text("by the second check\n")
    tracking.disown()
    tracking.resume()
    (repo / "win.txt").write_bytes(b"two\r\n")
    (repo / "new").mkdir()
    (repo / "new/file.py").write_text("n\n")
    list(tracking.end())
    assert tracking.put_back(tmp_path / "writes") == []
    assert (repo / "calc.py").read_bytes() == before
    assert (repo / "win.txt").read_bytes() == b"one\r\n"
    assert not (repo / "new").exists()
    assert (repo / "baseline.out").read_text() == "by the first check\n"
    assert (repo / "report.out").read_text() == "by the second check\n"
