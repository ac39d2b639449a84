"""The wall behind the checks of paths: with the checks taken away, file tools still stay in the tree."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fakes import Script, call, calls, says
from running import environment, make_repository

from glm_agent import sandbox, tools
from glm_agent.agent import Agent
from glm_agent.budget import Budget
from glm_agent.sandbox import kernel
from glm_agent.types import Assistant, Said, ToolResult
from glm_agent.workspace import Change, TextFile, Workspace

pytestmark = pytest.mark.skipif(not kernel.landlock_abi(), reason="no Landlock")

SECRET = "of somebody else\n"


class Careless(Workspace):
    """A door that is open: every path is taken as it is."""

    def locate(self, path: str) -> str:
        return path

    def kind(self, path: str) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return "file" if (self.root / path).exists() else "missing"

    def read(self, path: str) -> TextFile:
        text = (self.root / path).read_text()
        return TextFile(path, text, "utf-8", 0o644, len(text))

    def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            (self.root / change.path).write_bytes(change.content or b"")


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A file beside the root, in the folder for temporary files as that is too."""
    (tmp_path / "beside.txt").write_text(SECRET)
    return tmp_path / "beside.txt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo", {"calc.py": "x = 1\n"})


@pytest.fixture
def fence(root: Path, home: Path) -> sandbox.Fence:
    return sandbox.Fence(lambda: sandbox.Reach((root,), (root,), home))


def use(root: Path, fence: Callable[[], None], *made: Assistant) -> list[str]:
    """What the careless tools say to the calls, in the real loop; commands run in the sandbox."""
    policy = sandbox.standard(root, os.environ, root.parent / "state", root.parent / "private")
    run = sandbox.confined(policy, "A") if sandbox.probe().tier == "A" else None
    kit = tools.build("fix", Careless(root), root.parent / "session", run, fence).tools
    agent = Agent(Script(*made, says("Done")), {tool.name: tool for tool in kit}, Budget())
    said = [event.message for event in agent.run([], "Go") if isinstance(event, Said)]
    return [message.content for message in said if isinstance(message, ToolResult)]


ATTEMPTS = calls(
    call(1, "read", path="/etc/hostname"),
    call(2, "read", path="../beside.txt"),
    call(3, "search", pattern="somebody", path="../beside.txt"),
    call(4, "read", path="/proc/self/environ"),
    call(5, "write", path="../made.txt", content="x"),
)


def test_a_door_left_open_leads_nowhere(root: Path, beside: Path, fence: sandbox.Fence) -> None:
    said = use(root, fence, ATTEMPTS)
    assert ["Permission denied" in text for text in said] == [True, True, False, True, True], said
    assert SECRET.strip() not in "".join(said)
    assert not (root.parent / "made.txt").exists()


def test_without_the_wall_it_would_lead_out(root: Path, beside: Path) -> None:
    said = use(root, lambda: None, calls(call(1, "read", path="../beside.txt")))
    assert SECRET in said[0] + "\n"


def test_what_is_not_a_file_tool_stays_free(root: Path, beside: Path, fence: sandbox.Fence) -> None:
    fence()  # what takes its call raw runs in the main thread
    attempt = calls(call(1, "read", path="../beside.txt"), call(2, "bash", command="echo $$; echo x > made"))
    said = use(root, fence, attempt)
    assert "Permission denied" in said[0]
    assert beside.read_text() == SECRET
    assert Path("/proc/self/status").read_text().split("NoNewPrivs:\t")[1][0] == "0"
    if sandbox.probe().tier == "A":
        assert (int(said[1].split("\n")[0]) < 10, (root / "made").read_text()) == (True, "x\n"), "a new root"


def test_one_that_only_reads_cannot_write_in_the_tree_either(root: Path, home: Path) -> None:
    fence = sandbox.Fence(lambda: sandbox.Reach((), (root,), home))
    made = calls(call(1, "read", path="calc.py"), call(2, "write", path="new.py", content="y = 2\n"))
    first, second = use(root, fence, made)
    assert ("x = 1" in first, "Permission denied" in second, (root / "new.py").exists()) == (
        True,
        True,
        False,
    )


def test_processes_that_it_starts_are_kept_in_as_well(root: Path, beside: Path, fence: sandbox.Fence) -> None:
    said: list[str] = []
    connect = "import socket; socket.create_connection(('127.0.0.1', 9))"

    def work() -> None:
        fence()
        for argv in (["cat", str(beside)], ["cat", "calc.py"], [sys.executable, "-I", "-S", "-c", connect]):
            done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
            said.append((done.stdout + done.stderr).strip().split("\n")[-1])

    in_thread(work)
    assert said[0].endswith("Permission denied") and said[1] == "x = 1"
    assert said[2] == "PermissionError: [Errno 13] Permission denied"


def in_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)


_LATE = """
import sys, threading
from pathlib import Path
from glm_agent.sandbox import Fence, Reach
root, found = Path(sys.argv[1]), []
fence = Fence(lambda: Reach((root,), (root,), Path(sys.argv[2])))

def work():
    fence()
    import tomllib, difflib, unidiff, late_zipped, late_loose
    "x".encode("cp437")
    found.append((late_zipped.here, late_loose.here))
    try:
        import late_homely
    except OSError as error:
        found.append(error.strerror)

thread = threading.Thread(target=work); thread.start(); thread.join()
import late_afterwards, late_homely
print(found, late_afterwards.here, late_homely.here)
"""


def test_modules_are_still_found_wherever_they_are(root: Path, home: Path, tmp_path: Path) -> None:
    import zipfile

    loose, zipped = tmp_path / "lib", tmp_path / "zipped.zip"
    loose.mkdir()
    for place, name in ((loose, "late_loose"), (loose, "late_afterwards"), (home, "late_homely")):
        (place / f"{name}.py").write_text("here = 1\n")
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("late_zipped.py", "here = 1\n")
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join((str(loose), str(zipped), str(home), env["PYTHONPATH"]))
    words = [sys.executable, "-c", _LATE, str(root), str(home)]
    ran = subprocess.run(words, cwd="/", env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "[(1, 1), 'Permission denied'] 1 1\n"), ran.stderr
