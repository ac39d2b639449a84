"""Changes that are killed, or fail, at every moment: afterwards all of one is there, or nothing of it."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from glm_agent import intents, recovery
from glm_agent.errors import ToolError
from glm_agent.intents import Intents, Planned, digest
from glm_agent.workspace import Change, Workspace

ROOT = Path(__file__).parents[1]
BEFORE = {"a.py": b"old a\r\n", "b.py": b"old b\n", "c/d.py": b"moved\n", "run.sh": b"echo\n"}
AFTER = {"a.py": b"new a\r\n", "n/e/w.py": b"fresh\n", "c/e.py": b"moved\n", "run.sh": b"echo\n"}
CHANGES = [
    Change("a.py", AFTER["a.py"], expect=BEFORE["a.py"]),
    Change("n/e/w.py", AFTER["n/e/w.py"]),
    Change("b.py", None, expect=BEFORE["b.py"]),
    Change("c/e.py", AFTER["c/e.py"]),
    Change("c/d.py", None, expect=BEFORE["c/d.py"]),
    Change("run.sh", BEFORE["run.sh"], mode=0o755, expect=BEFORE["run.sh"]),
]

# Makes the changes of another tree for each failpoint, in a process of its own that ends or fails there.
DRIVER = """
import errno, os, signal, sys
from pathlib import Path
from test_recovery import BEFORE, CHANGES, lay_out
from glm_agent.errors import ToolError
from glm_agent.failpoints import install
from glm_agent.intents import Intents
from glm_agent.workspace import Workspace

def run(home, number, how):
    came = 0
    def hook(name):
        nonlocal came
        came += 1
        if came < number:
            return
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if came == number:
            raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)))
    install(hook)
    try:
        Workspace(home / "tree", intents=Intents(home / "writes", home / "done.json")).apply(CHANGES)
    except ToolError:
        os._exit(1)
    os._exit(0 if came >= number else 2)

home, how = Path(sys.argv[1]), sys.argv[2]
number = 1
while True:
    here = home / str(number)
    lay_out(here / "tree")
    if (child := os.fork()) == 0:
        run(here, number, how)
    if os.waitpid(child, 0)[1] == 2 << 8:
        break
    number += 1
"""


def lay_out(tree: Path) -> None:
    for name, content in BEFORE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    os.chmod(tree / "a.py", 0o640)  # noqa: PTH101 - not the umask's


def look(tree: Path) -> tuple[dict[str, bytes], bool]:
    """The files of `tree`, and whether `run.sh` can be run."""
    files = {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    return files, bool((tree / "run.sh").stat().st_mode & stat.S_IXUSR)


def drive(home: Path, how: str) -> list[Path]:
    """The folders of the runs: one for each failpoint, and the last, which met none."""
    run = subprocess.run(
        [sys.executable, "-c", DRIVER, str(home), how],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    return sorted(home.iterdir(), key=lambda path: int(path.name))


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_what_the_next_run_makes_whole(tmp_path: Path) -> None:
    *killed, last = drive(tmp_path, "kill")
    assert look(last / "tree") == (AFTER, True)
    ends: list[bool] = []
    for home in killed:
        said = recovery.recover(home / "tree", home / "writes")
        whole = look(home / "tree") == (AFTER, True)
        ends.append(whole)
        if not whole:
            assert look(home / "tree") == (BEFORE, False), home
            assert not (home / "tree/n").exists()
        assert all(("finished" if whole else "taken back") in line for line in said)
        assert (list(home.glob("writes/*")), (home / "done.json").exists()) == ([], whole)
        assert stat.S_IMODE((home / "tree/a.py").stat().st_mode) == 0o640
        assert recovery.recover(home / "tree", home / "writes") == []
    assert ends == sorted(ends)  # from some moment on, it is finished
    assert {False, True} == set(ends)
    assert len(ends) > 20


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ENOSPC", "EROFS", "EACCES", "EIO"])
def test_an_error_at_any_moment_leaves_all_or_nothing_at_once(tmp_path: Path, how: str) -> None:
    for home in drive(tmp_path, how):
        assert look(home / "tree") in ((BEFORE, False), (AFTER, True)), home
        assert not list((home / "writes").glob("open-*")), home


def leave(tree: Path, *files: Planned) -> Path:
    """The folder with a record that nobody holds."""
    folder = tree.parent / "writes"
    record = Intents(folder).open(list(files), [])
    assert record is not None
    record.leave()
    return folder


def test_what_the_user_wrote_since_stays(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    lay_out(tree)
    (tree / ".glm-agent-1.tmp").write_bytes(b"new a")
    (tree / ".glm-agent-2.tmp").write_bytes(b"new b")
    (tree / "b.py").write_bytes(b"mine")
    folder = leave(
        tree,
        Planned("a.py", digest(BEFORE["a.py"]), digest(b"new a"), ".glm-agent-1.tmp", ""),
        Planned("b.py", digest(BEFORE["b.py"]), digest(b"new b"), ".glm-agent-2.tmp", ""),
    )
    said = "a.py, b.py: a change that was cut short was finished; b.py changed since and stays as it is"
    assert recovery.recover(tree, folder) == [said]
    assert look(tree)[0] == {**BEFORE, "a.py": b"new a", "b.py": b"mine"}


def test_a_record_leads_nowhere_else(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    lay_out(tree)
    (tree / ".git").mkdir()
    (tmp_path / "out").write_bytes(b"x")
    (tree / "link").symlink_to(tmp_path)
    names = ["../out", "link/out", "/etc/passwd", ".git/config", ""]
    folder = leave(tree, *(Planned(name, digest(b"x"), None, "a.py", "b.py") for name in names))
    recovery.recover(tree, folder)
    assert (look(tree)[0], (tmp_path / "out").read_bytes()) == (BEFORE, b"x")


def test_the_record_of_a_run_that_lives_is_left_alone(tmp_path: Path) -> None:
    lay_out(tmp_path / "tree")
    record = Intents(tmp_path / "writes").open([Planned("a.py", None, None, "", "")], [])
    assert recovery.recover(tmp_path / "tree", tmp_path / "writes") == []
    assert record is not None
    record.close(done=False)


def test_a_record_that_was_not_whole_yet_means_nothing(tmp_path: Path) -> None:
    for name, data in (("open-1.json", b'{"writing": 1'), ("open-2.json", b"")):
        (tmp_path / name).write_bytes(data)
    assert recovery.recover(tmp_path, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_last_change_that_was_made_stays_on_record(tmp_path: Path) -> None:
    lay_out(tmp_path / "tree")
    kept = Intents(tmp_path / "writes", tmp_path / "done.json")
    kept.call = "call_7"
    workspace = Workspace(tmp_path / "tree", intents=kept)
    workspace.apply(CHANGES[:1])
    found = intents.read(tmp_path / "done.json")
    assert found is not None
    assert (found.call, [file.path for file in found.files], found.made) == ("call_7", ["a.py"], [])
    with pytest.raises(ToolError):
        workspace.apply(CHANGES[:1])
    assert json.loads((tmp_path / "done.json").read_text())["call"] == "call_7"
    assert not (tmp_path / "writes").exists()


def test_without_a_place_for_records_files_are_written_all_the_same(tmp_path: Path) -> None:
    lay_out(tmp_path / "tree")
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match=f"nothing was changed: {os.strerror(errno.ENOTDIR)}"):
        Workspace(tmp_path / "tree", intents=Intents(tmp_path / "file/writes")).apply(CHANGES)
    Workspace(tmp_path / "tree", intents=Intents(Path("/sys/glm-agent"))).apply(CHANGES)
    assert look(tmp_path / "tree") == (AFTER, True)
