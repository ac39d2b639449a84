"""The program as a user runs it, in this process or as one of its own, in real repositories."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import pytest
from jsonschema import Draft202012Validator

from glm_agent import cli
from glm_agent.types import Json

ROOT = Path(__file__).parents[1]
CHECK = f"{sys.executable} check.py"
WRONG, RIGHT = "    return a - b\n", "    return a + b\n"
FILES = {
    "calc.py": f"def add(a, b):\n{WRONG}",
    "check.py": (
        "from calc import add\n"
        "bad = [pair for pair in ((1, 2), (3, 4), (5, 0)) if add(*pair) != sum(pair)]\n"
        "for a, b in bad:\n"
        "    print(f'FAILED check.py::add[{a}-{b}] - got {add(a, b)}')\n"
        "raise SystemExit(bool(bad))\n"
    ),
}


def edit(old: str, new: str) -> Json:
    """A turn that edits `calc.py`."""
    return {"tool_calls": [{"name": "edit", "arguments": {"path": "calc.py", "old": old, "new": new}}]}


FIX = edit(WRONG, RIGHT)
READ: Json = {"tool_calls": [{"name": "read", "arguments": {"path": "calc.py"}}]}
DONE: Json = {"content": "Done: it adds now."}
STALL: Json = {"content": "Let me think about this", "fault": "stall", "after": 300}


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def events(self) -> list[Json]:
        """Stdout as stream-json: valid lines, just one result, last, which agrees with the exit code."""
        found = [json.loads(line) for line in self.out.split("\n")[:-1]]
        for event in found:
            validator().validate(event)
        assert self.out.endswith("\n")
        assert [event["type"] for event in found].index("result") == len(found) - 1
        assert found[-1]["exit_code"] == self.code, found[-1]
        assert found[-1]["is_error"] is (self.code != 0)
        return found

    @property
    def result(self) -> Json:
        return self.events[-1]


Run = Callable[..., Ran]


def first_fast(*values: object, keep: int = 1) -> list[object]:
    """Parameters of a test that costs a process: the fast suite has the first `keep` only.

    A plain tuple is a row: one value for each of the test's names.
    """
    rows = [cast("tuple[object, ...]", value) if type(value) is tuple else (value,) for value in values]
    marks = [() if number < keep else pytest.mark.slow for number in range(len(rows))]
    return [pytest.param(*row, marks=mark) for row, mark in zip(rows, marks, strict=True)]


@cache
def validator() -> Any:  # noqa: ANN401 - the library has no types
    return Draft202012Validator(json.loads((ROOT / "glm_agent/schemas/events.json").read_text("utf-8")))


def call(words: list[str], capture: pytest.CaptureFixture[bytes]) -> Ran:
    """The command line in this process."""
    capture.readouterr()
    code = cli.main(words)
    sys.stdout.flush()
    out, err = capture.readouterr()
    return Ran(code, out.decode(), err.decode())


def environment(**more: str) -> dict[str, str]:
    """For a process of its own; PATH finds the Python that runs the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {"PATH": path, "HOME": os.environ["HOME"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
    return {**kept, **more}


def start(
    folder: Path,
    *words: str,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    before: tuple[str, ...] = (),
) -> subprocess.Popen[bytes]:
    """The program as a process of its own; `before` are words that start what follows them."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "glm_agent", *words],
        cwd=folder,
        env=environment(**(env or {})),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> Ran:
    """What came of a process that `start` started."""
    with process:
        out, err = process.communicate(timeout=20)
    return Ran(process.returncode, out.decode(), err.decode())


def run(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> Ran:
    """The command line as a process of its own, with nothing on stdin."""
    return finish(start(folder, *words, env=env))


def shell(folder: Path, script: str, **env: str) -> Ran:
    """A shell script in which `$GLM` is the program."""
    program = f"{sys.executable} -m glm_agent"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment(GLM=program, **env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def to(url: str) -> tuple[str, ...]:
    """The flags that send requests to a scripted server."""
    return ("--provider", "custom", "--base-url", url)


HERE = to("http://127.0.0.1:9/v1")


def refused(glm: Run, *words: str, code: int, says: str, at: Path | None = None) -> None:
    """The same refusal as text and as JSON; one line, no request (nobody listens at HERE)."""
    text = glm(*words, at=at)
    assert (text.code, text.out) == (code, "")
    assert [says in line for line in text.err.split("\n") if line.startswith("glm-agent: ")] == [True], (
        text.err
    )
    assert "Traceback" not in text.err
    data = glm(*words, "--json", at=at)
    assert data.code == code
    (error, *_) = data.result["errors"]
    assert says in error
    assert len(data.events) <= 4


def git(folder: Path, *words: str) -> str:
    """What git prints, run with no one's configuration."""
    who = {
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@localhost",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@localhost",
    }
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "core.autocrlf=false", *words],
        cwd=folder,
        env=environment(GIT_CONFIG_NOSYSTEM="1", **who),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


def make_repository(folder: Path, files: Mapping[str, str] = FILES) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, `.git` too."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


Look = dict[str, tuple[int, bytes]]


def look(root: Path) -> tuple[Look, str, bytes, str]:
    """All there is: what is in the tree, git's view of it, its index byte for byte, and its refs."""
    status = git(
        root, "--no-optional-locks", "status", "--porcelain=v2", "--untracked-files=all", "--ignored"
    )
    folder = Path(git(root, "rev-parse", "--absolute-git-dir").strip())
    return look_at_tree(root), status, (folder / "index").read_bytes(), git(root, "for-each-ref")


def look_at_tree(root: Path) -> Look:
    """Everything but `.git`: mode, and content or target."""
    found: Look = {}
    for here, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".git"]
        for name in (*folders, *names):
            path = Path(here) / name
            mode = path.lstat().st_mode
            content = b""
            if stat.S_ISLNK(mode):
                content = os.fsencode(path.readlink())
            elif stat.S_ISREG(mode):
                content = path.read_bytes()
            found[str(path.relative_to(root))] = (mode, content)
    return found


def turn(number: int, *calls: tuple[str, Json], text: str = "") -> Json:
    """The model's turn `number`, whose calls have ids of their own."""
    made = [
        {"id": f"call_{number}_{place}", "name": name, "arguments": arguments}
        for place, (name, arguments) in enumerate(calls)
    ]
    return {"content": text, "tool_calls": made}


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def processes_with(mark: str) -> list[int]:
    """Ids of live processes whose command line holds `mark`."""
    return [pid for pid, words in _command_lines() if mark.encode() in words]


def _command_lines() -> Iterator[tuple[int, bytes]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                yield int(folder.name), (folder / "cmdline").read_bytes()
            except OSError:
                continue
