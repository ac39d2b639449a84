"""What counts as the run's own change, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import CHECK, DONE, FILES, FIX, RIGHT, WRONG, Ran, Run, edit, git, make_repository, to

from glm_agent.replay import Server
from glm_agent.types import Json

IDLE: Json = {"content": "All is well."}
FIXED: Json = {"path": "calc.py", "kind": "update", "added": 1, "removed": 1}


def call(name: str, **arguments: str) -> Json:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def paths(ran: Ran) -> list[str]:
    return [row["path"] for row in ran.result["changes"]]


@pytest.mark.parametrize("more", [(), ("--ephemeral",)])
def test_a_session_kept_inside_the_repository_is_no_change(
    more: tuple[str, ...], repo: Path, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(repo))
    monkeypatch.setattr("tempfile.tempdir", str(repo))
    with Server([IDLE]) as server:
        ran = glm("fix", "Add.", *more, *to(server.url), "--json")
    assert (ran.code, ran.result["changes"]) == (11, [])
    assert git(repo, "status", "--porcelain") == ""


def test_a_session_kept_inside_the_repository_is_not_found(
    repo: Path, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(repo))
    turns = [call("search", pattern=""), call("search", pattern="needle"), DONE]
    with Server(turns) as server:
        assert glm("ask", "Where is the needle?", *to(server.url)).code == 0
    listed, found = [message["content"] for message in server.requests[-1].body["messages"][-3::2]]
    assert listed.startswith("calc.py\ncheck.py\n[end ")
    assert found.startswith("no match")


@pytest.mark.parametrize(("words", "code"), [(("true",), 0), (("false",), 41), (("true", "Add."), 41)])
def test_a_key_is_needed_only_if_there_is_something_to_ask(
    words: tuple[str, ...], code: int, glm: Run
) -> None:
    ran = glm("fix", "--verify", *words, "--json")
    assert (ran.code, ran.result["num_turns"], ran.result["changes"]) == (code, 0, [])
    assert ran.result["result"].startswith("Nothing to fix") is (code == 0)


def test_what_checks_write_is_no_change(repo: Path, glm: Run) -> None:
    with Server([IDLE]) as server:
        ran = glm("fix", "Add.", "--verify", "date +%N > out.log", *to(server.url), "--json")
    assert (ran.code, ran.result["changes"]) == (11, [])
    assert (repo / "out.log").exists()


@pytest.mark.slow
def test_what_checks_write_between_rounds_is_no_change(repo: Path, glm: Run) -> None:
    half, rest = edit(WRONG, "    0\n"), edit("    0\n", RIGHT)
    check = f"date +%N > out.log; date +%N > $$.log; {CHECK}"
    with Server([half, DONE, rest, DONE]) as server:
        ran = glm("fix", "Add.", "--verify", check, *to(server.url), "--json")
    assert (ran.code, ran.result["errors"], ran.result["changes"]) == (0, [], [FIXED])


@pytest.mark.slow
def test_what_is_changed_by_a_check_and_the_model_is_a_change(repo: Path, glm: Run) -> None:
    half, rest = edit(WRONG, "    0\n"), edit("    0\n", RIGHT)
    with Server([half, DONE, rest, DONE]) as server:
        ran = glm("fix", "Add.", "--verify", f"echo >> calc.py; {CHECK}", *to(server.url), "--json")
    assert (ran.code, paths(ran)) == (0, ["calc.py"])


def test_a_file_that_the_model_makes_git_ignore_is_a_change(repo: Path, glm: Run) -> None:
    make = call("bash", command="echo made > made.txt; echo '*.txt' > .gitignore; touch a.pyc")
    with Server([make, DONE]) as server:
        ran = glm("fix", "Add.", "-y", *to(server.url), "--json")
    assert (ran.code, paths(ran)) == (0, [".gitignore", "made.txt"])


def test_an_edit_of_an_ignored_file_is_a_change_of_what_was_there(
    repo: Path, glm: Run, tmp_path: Path
) -> None:
    (repo / ".git/info/exclude").write_text("calc.py\nnew.py\n")
    git(repo, "rm", "--quiet", "--cached", "calc.py")
    git(repo, "commit", "--quiet", "-m", "ignored")
    new = call("write", path="new.py", content="x = 1\n")
    with Server([FIX, new, DONE]) as server:
        ran = glm("fix", "Add.", "--patch", str(tmp_path / "p"), *to(server.url), "--json")
    created = {"path": "new.py", "kind": "create", "added": 1, "removed": 0}
    assert (ran.code, ran.result["changes"]) == (0, [FIXED, created])
    git(repo, "apply", "--reverse", str(tmp_path / "p"))
    assert (repo / "calc.py").read_text() == FILES["calc.py"]


def test_a_patch_of_an_ignored_file_is_a_change_too(repo: Path, glm: Run) -> None:
    (repo / ".git/info/exclude").write_text("local.cfg\n")
    (repo / "local.cfg").write_text("a = 1\n")
    patch = "--- a/local.cfg\n+++ b/local.cfg\n@@ -1 +1 @@\n-a = 1\n+a = 2\n"
    with Server([call("patch", patch=patch), DONE]) as server:
        ran = glm("fix", "Set it.", *to(server.url), "--json")
    assert (ran.code, ran.result["changes"]) == (0, [{**FIXED, "path": "local.cfg"}])


def test_a_change_inside_a_submodule_is_named_where_no_diff_can_show_it(
    repo: Path, glm: Run, tmp_path: Path
) -> None:
    make_repository(tmp_path / "library")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "library"))
    git(repo, "commit", "--quiet", "-m", "with a submodule")
    change = call("edit", path="library/calc.py", old=WRONG, new=RIGHT)
    with Server([change, DONE]) as server:
        ran = glm("fix", "Add.", *to(server.url))
    assert (ran.code, len(server.requests)) == (0, 2)
    assert "library/calc.py is in a repository of its own, of which no diff here can tell" in ran.err


def test_a_refused_edit_of_an_ignored_file_is_no_change(repo: Path, glm: Run) -> None:
    (repo / ".git/info/exclude").write_text("*.cfg\n")
    (repo / "local.cfg").write_text("a = 1\n")
    with Server([call("edit", path="local.cfg", old="b", new="c"), IDLE]) as server:
        ran = glm("fix", "Set it.", *to(server.url), "--json")
    assert (ran.code, ran.result["changes"]) == (11, [])


def test_a_write_outside_of_a_sparse_checkout_is_a_change(repo: Path, glm: Run) -> None:
    (repo / "deep").mkdir()
    (repo / "deep/far.txt").write_text("1\n")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "-m", "more")
    git(repo, "sparse-checkout", "set", "--cone", "nothing")
    assert not (repo / "deep").exists()
    write = call("write", path="deep/far.txt", content="2\n")
    new = call("write", path="deep/new.txt", content="3\n")
    with Server([write, new, DONE]) as server:
        ran = glm("fix", "Write.", *to(server.url), "--json")
    assert (ran.code, paths(ran)) == (0, ["deep/far.txt", "deep/new.txt"])


def test_a_large_file_that_the_run_made_is_left_out_and_named(repo: Path, glm: Run, home: Path) -> None:
    make = call("bash", command="truncate -s 33M large.bin; echo > small.txt")
    with Server([make, DONE]) as server:
        ran = glm("fix", "Make.", "-y", "--patch", "-", *to(server.url))
    assert (ran.code, ran.out.count("diff --git"), "b/small.txt" in ran.out) == (0, 1, True)
    assert "large.bin has more than 32 MiB and is not tracked: left out" in ran.err
    assert not [path for path in home.rglob("*") if path.is_file() and path.stat().st_size > 1 << 20]
