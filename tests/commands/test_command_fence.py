"""File tools behind their wall, as a user meets it: everything that was in reach and has to be still is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import CHECK, DONE, FIX, READ, Ran, Run, git, make_repository, to

from glm_agent.replay import Server
from glm_agent.sandbox import kernel, probe
from glm_agent.types import Json

pytestmark = pytest.mark.skipif(not kernel.landlock_abi(), reason="no Landlock")

BASH: Json = {"tool_calls": [{"name": "bash", "arguments": {"command": "echo $$ is first"}}]}
KNOWN_TO_GIT_ALONE = r"a\K - b"  # Python has no \K


def search(pattern: str, path: str = ".") -> Json:
    return {"tool_calls": [{"name": "search", "arguments": {"pattern": pattern, "path": path}}]}


def results(ran: Ran) -> list[str]:
    said = [event["message"]["content"] for event in ran.events if event["type"] == "user"]
    return [block["content"] for blocks in said for block in blocks if block["type"] == "tool_result"]


def git_that_looks_around(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """A git in front of the real one that first does `does`: it knows its verb, and whether it is fenced."""
    folder.mkdir()
    looks = "if cat /etc/hostname >/dev/null 2>&1; then found=free; else found=fenced; fi"
    verb = "verb=other; for word; do case $word in grep) verb=search; esac; done"
    (folder / "git").write_text(f'#!/bin/sh\n{looks}\n{verb}\n{does}\nexec {shutil.which("git")} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_file_tools_are_behind_it(glm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tells = '[ $verb = search ] && echo "fatal: -e option, $found" >&2 && exit 2'
    git_that_looks_around(tmp_path / "bin", monkeypatch, tells)
    with Server([search("a - b"), DONE]) as server:
        ran = glm("ask", "Why?", *to(server.url), "--json")
    assert results(ran) == ["error: bad pattern: fenced"]


@pytest.mark.slow
def test_the_rest_of_the_run_is_not(
    repo: Path, glm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_that_looks_around(tmp_path / "bin", monkeypatch, f'echo "$verb $found" >> {repo}/told')
    (repo / ".gitignore").write_text("told\n")
    answer, patch = tmp_path / "answer.md", tmp_path / "run.patch"
    with Server([search("a - b"), FIX, BASH, DONE]) as server:
        words = ("fix", "Add.", "-o", str(answer), "--patch", str(patch), "--verify", CHECK)
        ran = glm(*words, *to(server.url), "--json")
    assert (ran.code, answer.read_text()) == (0, "Done: it adds now.\n")
    assert patch.read_text().startswith("diff --git a/calc.py b/calc.py\n")
    told = (repo / "told").read_text().split("\n")[:-1]
    assert set(told) >= {"search fenced", "other free"}
    assert told[-1] == "other free", "the patch was made by a thread that is free"
    if probe().tier == "A":
        assert ran.events[0]["sandbox"]["tier"] == "A"
        assert int(results(ran)[2].partition(" is first")[0]) < 10, "processes are counted anew"


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="glm-agent-test-", dir="/tmp") as folder:
        yield Path(folder)


def in_a_linked_work_tree(repo: Path, scratch: Path) -> Path:
    git(repo, "worktree", "add", "--quiet", str(scratch / "linked"))
    return scratch / "linked"


def in_a_submodule(repo: Path, scratch: Path) -> Path:
    outer = make_repository(scratch / "outer", {"top.txt": "x\n"})
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo), "inner")
    return outer / "inner"


def behind_a_link(repo: Path, scratch: Path) -> Path:
    (scratch / "link").symlink_to(repo)
    return scratch / "link"


def in_the_folder_for_temporary_files(repo: Path, scratch: Path) -> Path:
    return shutil.copytree(repo, scratch / "copy")


def with_borrowed_objects(repo: Path, scratch: Path) -> Path:
    git(scratch, "clone", "--quiet", "--shared", str(repo), str(scratch / "borrower"))
    return scratch / "borrower"


def with_settings_elsewhere(repo: Path, scratch: Path) -> Path:
    (scratch / "included").write_text("[user]\n\tname = Somebody\n")
    git(repo, "config", "include.path", str(scratch / "included"))
    return repo


def with_a_list_of_what_to_ignore(repo: Path, scratch: Path) -> Path:
    (Path.home() / ".config/git").mkdir(parents=True)
    (Path.home() / ".config/git/ignore").write_text("ignored.py\n")
    (repo / "ignored.py").write_text("a - b\n")
    return repo


PLACES = (
    in_a_linked_work_tree,
    in_a_submodule,
    behind_a_link,
    in_the_folder_for_temporary_files,
    with_borrowed_objects,
    with_settings_elsewhere,
    with_a_list_of_what_to_ignore,
)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_it_is_not_felt(place: Callable[[Path, Path], Path], repo: Path, glm: Run, scratch: Path) -> None:
    root = place(repo, scratch)
    turns = [search(KNOWN_TO_GIT_ALONE), search(""), READ, search("ret", "calc.py"), FIX, DONE]
    with Server(turns) as server:
        ran = glm("fix", "Add.", *to(server.url), "--json", at=root)
    found, listed, read, again, fixed = results(ran)
    assert (found, again) == ("calc.py:2:     return a - b",) * 2
    assert "calc.py\n" in listed and "ignored.py" not in listed
    assert "return a - b" in read and "calc.py" in fixed
    assert (ran.code, [row["path"] for row in ran.result["changes"]]) == (0, ["calc.py"])


@pytest.mark.slow
def test_it_is_not_felt_without_git_or_a_home(
    glm: Run, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch / "calc.py").write_text("a - b\n")
    monkeypatch.setenv("HOME", "/proc/no/home")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for path in ("/usr/bin:/bin", "/nowhere"):
        monkeypatch.setenv("PATH", path)
        with Server([search("a - b"), search(""), READ, DONE]) as server:
            ran = glm("ask", "Why?", *to(server.url), "--json", at=scratch)
        found, listed, read = results(ran)
        assert (ran.code, found, listed) == (0, "calc.py:1: a - b", "calc.py")
        assert "a - b" in read
