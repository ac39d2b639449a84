"""Any script, any caps, any signal: one result, last, true to its exit code and to the tree."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from nursery import Child, Kill, Nursery
from running import CHECK, DONE, FIX, RIGHT, STALL, WRONG, Ran, edit, environment, git, make_repository, to

from glm_agent.replay import Server
from glm_agent.types import Json

SIGNALS = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}
ENDS = {0, 1, 2, 10, 11, 12, 13, 41, 53, 55, 75}
LONGEST = 20.0  # seconds of one run, on a busy machine
SCHEMA = '{"type": "object", "required": ["ok"]}'


class Case(NamedTuple):
    """`signum` comes when `after` requests have."""

    turns: list[Json]
    words: list[str]
    signum: signal.Signals | None
    after: int


def call(name: str, **arguments: object) -> Json:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def bash(command: str) -> Json:
    return call("bash", command=command)


PATCH = f"--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-{WRONG}+{RIGHT}"
CALLS = [
    FIX,
    edit(RIGHT, WRONG),
    edit("not there", "x"),
    call("read", path="calc.py"),
    call("read", path="../outside"),
    call("search", pattern="add"),
    call("write", path="deep/er/new.py", content="x = 1\n"),
    call("write", path="crlf.txt", content="a\r\nb"),
    call("write", path=".github/workflows/ci.yml", content="on: push\n"),
    call("patch", patch=PATCH),
    call("no_such_tool", path="x"),
    {"tool_calls": [{"name": "write", "arguments": '{"path": "half.py", "content": "x'}]},
    {"tool_calls": [*FIX["tool_calls"], *bash("echo two > two.txt")["tool_calls"]]},
    bash("mv check.py moved.py"),
    bash("rm -f calc.py"),
    bash("chmod +x calc.py; ln -sf calc.py link"),
    bash("printf 'a\\0b' > a.bin"),
    bash("echo more >> mine.txt; rm -rf docs; mkdir docs2; echo é > 'docs2/odd ä.md'"),
    bash("mkdir -p __pycache__ node_modules; touch __pycache__/x.pyc node_modules/y; exit 3"),
]
ANSWERS = [
    DONE,
    {"content": "", "reasoning": "hm"},
    {"content": '{"ok": 1}'},
    {"content": "cut", "finish": "length"},
]
FAULTS = [
    *({"content": "Half an ans", "fault": fault, "after": 200} for fault in ("close", "cut", "reset")),
    *({**FIX, "fault": fault} for fault in ("close", "cut", "reset")),
    *({"fault": "status", "status": status} for status in (400, 401, 429, 500)),
    {"fault": "status", "status": 429, "body": {"error": {"code": "1113", "message": "no balance"}}},
]
USAGES: list[Json] = [
    {},
    {"usage": {"prompt_tokens": 3000, "completion_tokens": 400}},
    {"usage": {"cost": 0.2}},
]
CAPS = [
    *(["--max-turns", str(number)] for number in (1, 2, 3)),
    *(["--max-tool-calls", str(number)] for number in (1, 2)),
    *(["--max-total-tokens", number] for number in ("100", "9000", "20000")),
    *(["--max-budget-usd", number] for number in ("0.001", "0.02", "0.3")),
    ["--max-wall-time", "1s"],
]
BOUNDS = [
    ["--protect", "calc.py"],
    ["--only", "*.py"],
    ["--only", "*.py", "--protect", "check.py", "--keep"],
    ["--max-diff-lines", "1"],
    ["--allow-binary"],
]
OTHERS = [
    ["--verify", CHECK],
    ["--verify", CHECK, "--verify-rounds", "1"],
    ["--verify", "true"],
    ["--allow-empty"],
    ["--json-schema", SCHEMA],
]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    def turn(found: Json) -> Json:
        return {**found, **draw(st.sampled_from(USAGES))}

    middle = draw(st.lists(st.sampled_from([*CALLS, *FAULTS]).map(turn), max_size=5))
    last = draw(st.sampled_from([*ANSWERS, *ANSWERS, STALL]))
    signum = draw(st.sampled_from([*[None] * 12, *SIGNALS]))
    words = [word for flags in (CAPS, BOUNDS, OTHERS) for word in draw(st.sampled_from([[], *flags]))]
    turns = [*middle, last]
    stalls = last is STALL and signum is None
    if stalls and "--max-wall-time" not in words:
        words += ["--max-wall-time", "1s"]
    return Case(
        [*turns, DONE] if last is not STALL else turns, words, signum, draw(st.integers(1, len(turns)))
    )


@pytest.fixture(scope="module")
def nursery() -> Generator[Nursery]:
    with closing(Nursery()) as nursery:
        yield nursery


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each run starts from: clean, dirty and untracked files, and a price for the model."""
    root = make_repository(tmp_path_factory.mktemp("origin") / "repo")
    (root / "docs").mkdir()
    (root / "docs/a.md").write_text("a\n")
    (root / "blob.bin").write_bytes(b"\0\xff" * 9)
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "more")
    (root / "docs/a.md").write_text("dirty\n")
    (root / "mine.txt").write_text("untracked\n")
    config = root.parent / "home/.config/glm-agent"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('[models."glm-4.7".price]\ncustom = [1.0, 0.1, 10.0]\n')
    return root.parent


def play(case: Case, nursery: Nursery, origin: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(origin, folder, symlinks=True)
    start, root = folder / "start", folder / "repo"
    shutil.copytree(root, start, symlinks=True)
    with Server(case.turns) as server:
        words = ["fix", "Add.", "--json", "--patch", str(folder / "p"), *to(server.url), *case.words]
        env = environment(HOME=str(folder / "home"), GLM_AGENT_API_KEY="key.0123456789abcdef")
        kill: Kill | None = (case.signum, until(server, case.after, folder)) if case.signum else None
        child = nursery.run(words, root, env, {}, kill)
    tells_the_truth(case, child, start, root, folder / "p")


def until(server: Server, count: int, folder: Path) -> Callable[[], None]:
    """Returns once `count` requests have come, or none will."""

    def wait() -> None:
        end = time.monotonic() + LONGEST
        while time.monotonic() < end and len(server.requests) < count:
            out = folder / "stdout"
            if out.exists() and '"type": "result"' in out.read_text("utf-8", "replace"):
                return
            time.sleep(0.01)

    return wait


def tells_the_truth(case: Case, child: Child, start: Path, root: Path, patch: Path) -> None:
    result = Ran(child.code, child.out, child.err).result  # fits the schema, in which the table is
    assert "Traceback" not in child.out + child.err and child.seconds < LONGEST
    signalled = {SIGNALS[case.signum]} if case.signum else set[int]()
    assert child.code in ENDS | signalled
    event(str(child.code))
    if child.code != 0:
        assert result["errors"]
    changed, before = files(root), files(start)
    if child.code == 12 and result["policy"] and "--keep" not in case.words:
        assert changed == before
    if not patch.exists():  # nothing has begun
        assert child.code == 2 or signalled
        assert changed == before
        return
    if diff := patch.read_bytes():
        subprocess.run(["git", "-C", str(start), "apply", str(patch)], check=True, capture_output=True)
    assert bool(diff) is bool(result["changes"])
    if not (child.code == 12 and result["policy"] and "--keep" not in case.words):
        assert changed == files(start)


def files(root: Path) -> dict[str, tuple[bool, bytes]]:
    """Everything but git's own and by-products, with whether it can be executed."""
    found: dict[str, tuple[bool, bytes]] = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if name.startswith((".git/", "__pycache__/", "node_modules/")):
            continue
        if path.is_symlink():
            found[name] = (False, bytes(path.readlink()))
        elif path.is_file():
            found[name] = (bool(path.stat().st_mode & stat.S_IXUSR), path.read_bytes())
    return found


RELAXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(case=cases())
@settings(max_examples=2, suppress_health_check=RELAXED)
def test_a_few_scripts_end_as_they_must(case: Case, nursery: Nursery, origin: Path, tmp_path: Path) -> None:
    play(case, nursery, origin, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(case=cases())
@settings(max_examples=40, suppress_health_check=RELAXED)
def test_any_script_ends_as_it_must(case: Case, nursery: Nursery, origin: Path, tmp_path: Path) -> None:
    play(case, nursery, origin, tmp_path / "run")
