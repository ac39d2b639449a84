"""People who run commands, and the sandbox's parts as each of them has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import pytest

from glm_agent import sandbox

PACKAGE = Path(sandbox.__file__).parents[1]
OTHER = 1001  # an ordinary user, who need not have a name


@cache
def python_of(user: int) -> str | None:
    """A Python that `user` may run."""
    for python in (sys.executable, "/usr/bin/python3"):
        argv = [python, "-c", "import ctypes, sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            done = subprocess.run(
                argv, cwd="/", stderr=subprocess.DEVNULL, check=False, text=True, **become(user)
            )
            if done.returncode == 0:
                return python
        except OSError:
            continue
    return None


class Who(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def become(user: int) -> Who:
    return {} if user == os.getuid() else {"user": user, "group": user, "extra_groups": []}


@pytest.fixture(params=["root", "user"])
def person(request: pytest.FixtureRequest) -> str:
    """`root`, and an ordinary user: whoever can be had."""
    if request.param == "root" and os.getuid():
        pytest.skip("needs to be root")
    if python_of(user_id(request.param)) is None:
        pytest.skip("no Python that an ordinary user may run")
    return request.param


def user_id(person: str) -> int:
    return OTHER if person == "user" and os.getuid() == 0 else os.getuid()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own, which nobody else may enter."""
    with tempfile.TemporaryDirectory(prefix="glm-agent-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name).resolve()


@pytest.fixture
def drive(folder: Path, person: str) -> Callable[[str], dict[str, Any]]:
    """`drive(how)`: the attempts, made by the person in a world of its own; see driver.py."""
    import json

    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", "replay"))
    shutil.copytree(Path(__file__).parent, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    work, user = folder / "w", user_id(person)
    (work / "work").mkdir(parents=True)
    (work / "others").write_text("of another\n")
    shutil.copy("/usr/bin/id", work / "work/set-id")
    (work / "work/set-id").chmod(0o4755)
    for place in (work, work / "work"):
        os.chown(place, user, user)

    def run(how: str) -> dict[str, Any]:
        path = f"{work}/home/tools/bin:/usr/bin:/bin"
        env = {
            "PATH": path,
            "HOME": f"{work}/home",
            "LANG": "C.UTF-8",
            "GLM_AGENT_API_KEY": "sk-4f1d-of-nobody",
        }
        argv = [str(python_of(user)), f"{folder}/tests/driver.py", str(folder), str(work), how]
        done = subprocess.run(
            argv, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False, **become(user)
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


Box = Callable[..., sandbox.Ran]


@pytest.fixture
def policy(tmp_path: Path, home: Path) -> sandbox.Policy:
    """For a work tree with a `.git`, below a folder that is nobody's home."""
    root = tmp_path / "work"
    for name in (".git/hooks", ".git/refs"):
        (root / name).mkdir(parents=True)
    (root / ".git/HEAD").write_text("ref: refs/heads/main\n")
    start: Mapping[str, str] = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    return sandbox.standard(root, start, tmp_path / "state", tmp_path / "private")


@pytest.fixture
def box(policy: sandbox.Policy) -> Box:
    """`box(command, **changes to the policy)`, in tier A."""
    import threading

    if sandbox.probe().tier != "A":
        pytest.skip(f"no namespaces here: {sandbox.probe().reason}")

    def run(command: str, timeout: float = 20, tier: sandbox.Tier = "A", **changes: object) -> sandbox.Ran:
        changed = replace(policy, **changes)  # type: ignore[arg-type] - names and values of its fields
        return sandbox.run(command, changed, tier, timeout=timeout, cancel=threading.Event())

    return run
