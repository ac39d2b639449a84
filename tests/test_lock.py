from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT

from glm_agent.errors import RepositoryError
from glm_agent.keeping import place
from glm_agent.lock import hold

HOLDS = """
import sys
from pathlib import Path
from glm_agent.lock import hold
lock = hold(Path(sys.argv[1]), Path(sys.argv[2]))
lock.name("20250102-abc")
print(lock.problem, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (folder := tmp_path / "state").mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (folder := tmp_path / "repo").mkdir()
    return folder


def test_there_is_one_at_a_time_whatever_path_leads_there(root: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    lock = hold(root, home)
    lock.name("20250102-abc")
    with pytest.raises(RepositoryError, match=rf"process {os.getpid()} \(session 20250102-abc\) is writing"):
        hold(tmp_path / "alias", home)
    (card,) = (home / "locks").iterdir()
    assert card.stat().st_mode & 0o777 == 0o600
    lock.release()
    assert list((home / "locks").iterdir()) == []
    hold(tmp_path / "alias", home).release()


def test_without_a_card_the_kernel_names_the_process(root: Path) -> None:
    lock = hold(root)
    with pytest.raises(RepositoryError, match=f"process {os.getpid()} is writing in"):
        hold(root)
    lock.release()
    lock.release()


def test_it_dies_with_its_process(root: Path, home: Path) -> None:
    words = [sys.executable, "-c", HOLDS, str(root), str(home)]
    process = subprocess.Popen(
        words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"None\n"
        with pytest.raises(RepositoryError, match=rf"process {process.pid} \(session 20250102-abc\)"):
            hold(root, home)
        process.send_signal(signal.SIGKILL)
    lock = hold(root, home)
    (home / "locks" / place(root)).write_text(json.dumps({"pid": process.pid, "session": "of the dead"}))
    with pytest.raises(RepositoryError, match=f"process {os.getpid()} is writing"):
        hold(root, home)
    lock.release()
