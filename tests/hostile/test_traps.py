"""No trap of a hostile repository fires, and none stops a run for ever; that each is one is shown first."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import pytest
from running import DONE, READ, Ran, Run, environment, first_fast, git, to
from traps import HANGS, LATE_HANGS, LOCAL, TRAPS, Place, Trap, new_repository

from glm_agent import git as door
from glm_agent.errors import ToolError
from glm_agent.replay import Server
from glm_agent.tools.search import tool as search_tool
from glm_agent.tools.spill import Spill
from glm_agent.types import Json
from glm_agent.workspace import Workspace


def search(**arguments: str) -> Json:
    return {"tool_calls": [{"name": "search", "arguments": arguments}]}


LOOK = [READ, search(pattern="add"), search(pattern="", glob="*.txt"), search(pattern="o", path="sub")]
CHANGE: Json = {
    "tool_calls": [
        {"name": "edit", "arguments": {"path": "calc.py", "old": "a - b", "new": "a + b"}},
        {"name": "write", "arguments": {"path": "sub/new.txt", "content": "new\n"}},
    ]
}
CHANGES = [("calc.py", "update"), ("sub/new.txt", "create")]

WHO = {f"GIT_{who}_{what}": "t@h" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@cache
def version() -> tuple[int, ...]:
    said = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:2]))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_repository(tmp_path_factory.mktemp("pristine") / "repo")


@pytest.fixture
def place(pristine: Path, tmp_path: Path) -> Place:
    (tmp_path / "outside").mkdir()
    return Place(shutil.copytree(pristine, tmp_path / "place"), tmp_path / "outside", "trap")


def spring(trap: Trap, place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Builds the trap, and sets what it needs in the environment."""
    if version() < trap.since:
        pytest.skip(f"needs git {trap.since[0]}.{trap.since[1]}")
    place = place._replace(name=trap.name)
    trap.build(place)
    if trap.env:
        theirs = new_repository(place.outside / "theirs")
        git(theirs, "config", "core.fsmonitor", place.payload)
    for name, value in trap.env.items():
        monkeypatch.setenv(name, value.format(outside=place.outside, payload=place.payload))
    return place


def plain(trap: Trap, place: Place) -> None:
    """What anybody's git does."""
    given = {name: os.environ[name] for name in trap.env}
    given |= {**WHO, "GIT_TERMINAL_PROMPT": "0", "TERM": "xterm"}
    subprocess.run(
        ["sh", "-c", trap.fires],
        cwd=place.repo,
        env=environment(**given),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=10,
        check=False,
    )


def hangs(trap: Trap, place: Place) -> bool:
    process = subprocess.Popen(
        ["sh", "-c", trap.fires],
        cwd=place.repo,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(0.2)
    except subprocess.TimeoutExpired:
        return True
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()
    return False


def ask(glm: Run, at: Path) -> Ran:
    with Server([*LOOK, DONE], strict=True) as server:
        return glm("ask", "Why?", *to(server.url), "--json", at=at)


def fix(glm: Run, at: Path) -> Ran:
    with Server([*LOOK, CHANGE, DONE], strict=True) as server:
        return glm("fix", "Add.", *to(server.url), "--json", at=at)


def fired(place: Place) -> list[str]:
    """Which traps have."""
    files = [place.canary, place.repo / "pwned"]
    return sorted({line for file in files if file.exists() for line in file.read_text().split("\n")} - {""})


def require_works(place: Place, glm: Run, folder: str = ".") -> None:
    asked = ask(glm, place.repo / folder)
    assert (asked.code, asked.result["errors"]) == (0, [])
    assert fired(place) == []
    fixed = fix(glm, place.repo / folder)
    assert (fixed.code, fixed.result["errors"]) == (0, [])
    assert [(change["path"], change["kind"]) for change in fixed.result["changes"]] == CHANGES
    assert fired(place) == []


def require_refused(trap: Trap, place: Place, glm: Run, seconds: float = 2.0) -> None:
    for command in (ask, fix):
        began = time.monotonic()
        ran = command(glm, place.repo / trap.folder)
        assert (ran.code, len(ran.result["errors"])) == (45, 1), ran.result["errors"]
        assert trap.refused in ran.result["errors"][0]
        assert time.monotonic() - began < seconds
    assert fired(place) == []


def named(traps: tuple[Trap, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trap", traps, ids=lambda trap: trap.name)


@pytest.mark.parametrize(
    "trap",
    [pytest.param(trap, id=trap.name, marks=() if trap in LOCAL else pytest.mark.slow) for trap in TRAPS],
)
def test_plain_git_falls_into_it(trap: Trap, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place = spring(trap, place, monkeypatch)
    plain(trap, place)
    assert fired(place) == [trap.name]


def test_none_of_all_that_one_repository_can_hold_fires(
    place: Place, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = [trap for trap in TRAPS if not trap.alone and version() >= trap.since]
    assert len(together) > 40
    for trap in together:
        spring(trap, place, monkeypatch)
    place.canary.unlink(missing_ok=True)  # building one set off another
    require_works(place, glm)


# What the door lets through, asked for so that it would run what is configured.
DOOR = (
    *("status", "status --porcelain=v2 --branch", "ls-files --others --exclude-standard", "grep -e o"),
    *("grep --textconv --recurse-submodules -e o", "grep --untracked -e o", "add .", "add --renormalize ."),
    *("hash-object data.txt", "cat-file --filters HEAD:data.txt", "cat-file --textconv HEAD:data.txt"),
    *("checkout-index --force --all", "diff-tree --patch --ext-diff --textconv {empty} HEAD"),
    *("diff-tree --patch --submodule=diff {empty} HEAD", "rev-list --show-signature --max-count=1 HEAD"),
    *("commit --allow-empty -m x", "commit --allow-empty", "commit --allow-empty -m x --trailer x=1"),
    *("cat-file -p HEAD:sub/more.txt", "cat-file -p {missing}", "update-index --refresh", "read-tree HEAD"),
    *("for-each-ref --format=%(contents:trailers)", "init", "config --list", "check-attr -a data.txt"),
)
EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # the tree without entries, which git knows


@pytest.mark.slow
def test_nothing_that_is_asked_of_git_sets_one_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for trap in TRAPS:
        if not trap.alone and version() >= trap.since:
            spring(trap, place, monkeypatch)
    place.canary.unlink(missing_ok=True)
    set_off: dict[str, list[str]] = {}
    for words in DOOR:
        asked = words.format(empty=EMPTY, missing="1" * 40).split()
        door.run(place.repo, *asked, env=WHO, ok=tuple(range(256)))
        if found := fired(place):
            set_off[words] = found
            place.canary.unlink()
    assert set_off == {}


@pytest.mark.slow
def test_a_branch_that_is_called_as_an_option_is_none(place: Place, glm: Run) -> None:
    head = git(place.repo, "rev-parse", "HEAD")
    (place.repo / ".git/refs/heads/--output=pwned").write_text(head)
    (place.repo / ".git/HEAD").write_text("ref: refs/heads/--output=pwned\n")
    show = 'git diff "$(git rev-parse --abbrev-ref HEAD)"'
    subprocess.run(["sh", "-c", show], cwd=place.repo, env=environment(), capture_output=True, check=False)
    assert (place.repo / "pwned").exists()
    (place.repo / "pwned").unlink()
    require_works(place, glm)
    assert not (place.repo / "pwned").exists()


@pytest.mark.parametrize(
    "head", ["ref: refs/../../../outside/head", "ref: ../outside/head", "1" * 41, "", "x"]
)
def test_a_head_that_leads_outside_tells_nothing(head: str, place: Place, glm: Run) -> None:
    oid = git(place.repo, "rev-parse", "HEAD")
    (place.outside / "head").write_text(oid)
    (place.repo / ".git/HEAD").write_text(f"{head}\n")
    ran = ask(glm, place.repo)
    assert ran.code in (0, 45)
    assert oid.strip() not in ran.out
    assert "internal" not in ran.out


def test_another_work_tree_than_this_is_refused(place: Place, glm: Run) -> None:
    """Plain git, run in the repository, would clean away a folder outside."""
    (place.outside / "dear").touch()
    git(place.repo, "config", "core.worktree", str(place.outside))
    assert git(place.repo, "clean", "-ndx") == "Would remove dear\n"
    for command in (ask, fix):
        ran = command(glm, place.repo)
        assert (ran.code, ran.result["errors"]) == (
            45,
            [f"the repository in {place.repo} points to another work tree ({place.outside}); run there"],
        )
    assert (place.outside / "dear").exists()


def test_replaced_objects_are_seen_as_they_are(place: Place) -> None:
    false = place.outside / "false"
    false.write_text("false\n")
    blob = git(place.repo, "hash-object", "-w", str(false)).strip()
    git(place.repo, "replace", git(place.repo, "rev-parse", "HEAD:data.txt").strip(), blob)
    assert git(place.repo, "cat-file", "-p", "HEAD:data.txt") == "false\n"
    assert door.run(place.repo, "cat-file", "-p", "HEAD:data.txt") == b"one\n"


def test_somebody_else_s_repository_is_refused_with_the_command_that_helps(place: Place, glm: Run) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (place.repo, *place.repo.rglob("*")):
        os.lchown(path, 12345, 12345)
    for command in (ask, fix):
        ran = command(glm, place.repo)
        assert ran.code == 45
        assert ran.result["errors"][0].endswith(f"git config --global --add safe.directory {place.repo}")


@pytest.mark.parametrize("folder", [".git", ".git/objects"])
def test_inside_of_git_s_own_folder_nothing_is_done(folder: str, place: Place, glm: Run) -> None:
    for command in (ask, fix):
        ran = command(glm, place.repo / folder)
        assert (ran.code, ran.result["errors"]) == (
            45,
            [f"{place.repo}/.git is git's own; run in {place.repo}"],
        )


def test_a_bare_repository_is_refused_by_both(place: Place, glm: Run) -> None:
    git(place.outside, "clone", "--quiet", "--bare", str(place.repo), "bare")
    for command in (ask, fix):
        ran = command(glm, place.outside / "bare")
        assert (ran.code, ["is a bare repository" in error for error in ran.result["errors"]]) == (45, [True])


def test_variables_for_git_are_dropped_and_said_once(
    place: Place, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_repository(place.outside / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    ran = fix(glm, place.repo)
    notices = [event["text"] for event in ran.events if event.get("subtype") == "notice"]
    assert notices == [f"GIT_DIR, GIT_INDEX_FILE in the environment: ignored, the repository is {place.repo}"]
    assert (ran.code, [(change["path"], change["kind"]) for change in ran.result["changes"]]) == (0, CHANGES)
    assert git(other, "status", "--porcelain") == " M data.txt\n"


@pytest.mark.slow
@named(tuple(trap for trap in TRAPS if not trap.refused))
def test_it_does_not_fire(trap: Trap, place: Place, glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    require_works(spring(trap, place, monkeypatch), glm, trap.folder)


@named(tuple(trap for trap in TRAPS if trap.refused))
def test_what_leads_astray_is_refused(
    trap: Trap, place: Place, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_refused(trap, spring(trap, place, monkeypatch), glm)


@pytest.mark.slow
@pytest.mark.parametrize("trap", first_fast(*HANGS[-5:], *HANGS[:-5], keep=5), ids=lambda trap: trap.name)
def test_what_git_would_wait_for_is_refused_at_once(
    trap: Trap, place: Place, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = spring(trap, place, monkeypatch)
    assert hangs(trap, place)
    if trap.refused:
        require_refused(trap, place, glm)
    else:
        require_works(place, glm)


@pytest.mark.slow
@named(LATE_HANGS)
def test_what_git_waits_for_is_found(
    trap: Trap, place: Place, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = spring(trap, place, monkeypatch)
    assert hangs(trap, place)
    require_refused(trap, place, glm, seconds=5)


@pytest.mark.slow
def test_a_search_that_git_waits_in_is_ended_and_says_why(place: Place) -> None:
    """A command of the model's may have made what was not there at the start."""
    tool = search_tool(Workspace(place.repo), Spill(place.outside))
    os.mkfifo(place.repo / "sub/.gitattributes")
    began = time.monotonic()
    with pytest.raises(ToolError, match=r"search cannot end: sub/\.gitattributes is not a regular file"):
        tool.run({"pattern": "two", "path": ".", "glob": "", "max": 10}, threading.Event())
    assert time.monotonic() - began < 3
    (place.repo / "sub/.gitattributes").unlink()
    found = tool.run({"pattern": "two", "path": ".", "glob": "", "max": 10}, threading.Event())
    assert found.content == "sub/more.txt:1: two"


@pytest.mark.slow
def test_a_git_of_the_repository_is_not_run_where_a_private_copy_is_worked_in(
    place: Place, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the repository's own environment is activated."""
    (place.repo / "bin").mkdir()
    shutil.copy(place._replace(name="git").payload, place.repo / "bin/git")
    monkeypatch.setenv("PATH", f"{place.repo}/bin:{os.environ['PATH']}")
    subprocess.run(["git", "status"], cwd=place.repo, stdin=subprocess.DEVNULL, check=True)
    assert fired(place) == ["git"]
    place.canary.unlink()
    with Server([*LOOK, CHANGE, DONE], strict=True) as server:
        ran = glm("fix", "Add.", "--worktree", *to(server.url), "--json", at=place.repo)
    assert (ran.code, fired(place)) == (0, [])


@pytest.mark.slow
def test_it_can_be_called_by_a_hook_of_git(place: Place) -> None:
    """A hook has GIT_DIR and GIT_INDEX_FILE in its environment, relative to the work tree."""
    hook = place.repo / ".git/hooks/pre-commit"
    with Server([*LOOK, CHANGE, DONE], strict=True) as server:
        program = f"'{sys.executable}' -m glm_agent fix 'Add.' --json --no-stdin"
        hook.write_text(f"#!/bin/sh\ncd sub && {program} {' '.join(to(server.url))} > ../.git/said 2>&1\n")
        hook.chmod(0o755)
        git(place.repo, "commit", "--quiet", "-m", "second", "--", "data.txt")
    said = (place.repo / ".git/said").read_text()
    result = json.loads(said.split("\n")[-2])
    assert (result["exit_code"], [change["path"] for change in result["changes"]]) == (
        0,
        ["calc.py", "sub/new.txt"],
    )
    assert re.search(r"GIT_INDEX_FILE[A-Z_, ]* in the environment: ignored", said)
    assert git(place.repo, "status", "--porcelain") == " M calc.py\n?? sub/new.txt\n"
