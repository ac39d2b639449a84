"""`undo` as a user runs it: after runs that change all there is to change, and after some were killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from killing import KILLED, Killer
from running import (
    DONE,
    FIX,
    RIGHT,
    STALL,
    WRONG,
    Run,
    call,
    environment,
    finish,
    git,
    look,
    start,
    to,
    wait_for,
)

from glm_agent.replay import Server
from glm_agent.types import Json

FREE = ("--sandbox", "danger-full-access")


def calls(name: str, **arguments: object) -> Json:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def undo(glm: Run, *words: str) -> Json:
    return json.loads(glm("undo", *words, "--json").out)


def fix(glm: Run, *turns: Json, code: int = 0) -> str:
    """The id of the session that these turns make."""
    with Server([*turns, DONE]) as server:
        ran = glm("fix", "Do it.", *FREE, *to(server.url), "--json")
    assert ran.code == code, ran.err
    return str(ran.result["session_id"])


def test_the_last_run_is_undone_and_that_is_undone_too(
    glm: Run, repo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    before = look(repo)
    session = fix(glm, FIX)
    after = look(repo)
    assert "undo: would restore calc.py\n" in call(["sessions", "show", session], capfdbinary).out
    checked = glm("undo", "--check")
    assert (checked.code, checked.out) == (0, "would restore calc.py\n")
    assert look(repo) == after
    undone = glm("undo")
    assert (undone.code, undone.out) == (0, "restored calc.py\n")
    assert undone.err == f"session {session} is undone; `glm-agent undo` takes that back\n"
    assert look(repo) == before
    again = undo(glm)
    assert again["changes"] == [{"path": "calc.py", "kind": "update"}]
    assert look(repo) == after


@pytest.mark.slow
def test_what_the_run_did_not_touch_may_have_changed_since(glm: Run, repo: Path) -> None:
    fix(glm, FIX)
    (repo / "check.py").write_text("mine now\n")
    (repo / "notes.txt").write_text("mine\n")
    assert glm("undo").code == 0
    assert (repo / "calc.py").read_text().endswith(WRONG)
    assert ((repo / "check.py").read_text(), (repo / "notes.txt").read_text()) == ("mine now\n", "mine\n")


@pytest.mark.slow
def test_a_file_that_has_changed_since_is_named_and_put_back_only_by_force(
    glm: Run, repo: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    session = fix(glm, FIX)
    (repo / "calc.py").write_text("mine\n")
    before = look(repo)
    refused = glm("undo")
    assert (refused.code, refused.out) == (45, "")
    assert "so nothing was undone: calc.py; --force" in refused.err
    assert look(repo) == before
    shown = call(["sessions", "show", session], capfdbinary).out
    assert "undo: would restore calc.py; changed since: calc.py; --force\n" in shown
    assert glm("undo", "--force").code == 0
    assert "undo: done already\n" in call(["sessions", "show", session], capfdbinary).out
    assert (repo / "calc.py").read_text().endswith(WRONG)
    assert glm("undo").code == 0
    assert look(repo) == before


@pytest.mark.slow
def test_a_session_is_undone_by_its_name_and_only_where_it_ran(glm: Run, repo: Path, tmp_path: Path) -> None:
    first = fix(glm, FIX)
    fix(glm, calls("write", path="new.txt", content="n\n"))
    assert undo(glm, first)["undone"] == first
    assert (repo / "new.txt").exists()
    assert glm("undo", first).out == "nothing to undo: the tree is as it was before the session\n"
    (other := tmp_path / "other").mkdir()
    git(other, "init", "--quiet")
    assert glm("undo", at=other).code == 2
    elsewhere = glm("undo", first, at=other)
    assert (elsewhere.code, "run undo there (-C)" in elsewhere.err) == (2, True)
    assert glm("undo", "nope").code == 2
    assert glm("undo", at=tmp_path).code == 45


@pytest.mark.slow
def test_an_ignored_file_that_a_tool_wrote_comes_back(glm: Run, repo: Path) -> None:
    (repo / ".gitignore").write_text("*.log\n")
    (repo / "old.log").write_bytes(b"old\r\n")
    (repo / "old.log").chmod(0o600)
    before = look(repo)
    fix(
        glm,
        calls("read", path="old.log"),
        calls("write", path="old.log", content="new\n"),
        calls("write", path="more.log", content="m\n"),
    )
    assert (repo / "more.log").exists()
    assert glm("undo").code == 0
    assert look(repo) == before
    assert glm("undo").code == 0
    assert (repo / "more.log").read_text() == "m\n"


def killed(repo: Path, *turns: Json) -> None:
    """A run that is killed once its turns are done."""
    with Server([*turns, STALL]) as server:
        process = start(repo, "fix", "Do it.", *FREE, *to(server.url))
        wait_for(lambda: len(server.requests) == len(turns) + 1)
        process.send_signal(signal.SIGKILL)
        finish(process)


@pytest.mark.slow
def test_a_run_that_was_killed_is_undone(glm: Run, repo: Path) -> None:
    (repo / "mine.txt").write_text("mine\n")
    before = look(repo)
    killed(repo, FIX, calls("write", path="new/file.txt", content="n\n"))
    (repo / "later.txt").write_text("by the user\n")
    rows = undo(glm, "--check")["changes"]
    assert rows == [{"path": "calc.py", "kind": "update"}, {"path": "new/file.txt", "kind": "delete"}]
    assert glm("undo").code == 0
    (repo / "later.txt").unlink()
    assert look(repo) == before


@pytest.mark.slow
def test_what_a_command_of_a_killed_run_wrote_is_undone_by_force(glm: Run, repo: Path) -> None:
    before = look(repo)
    killed(repo, FIX, calls("bash", command="echo more >made.txt"))
    refused = glm("undo")
    assert (refused.code, "nothing was undone: made.txt" in refused.err) == (45, True)
    assert glm("undo", "--force").code == 0
    assert look(repo) == before


@pytest.mark.slow
def test_a_killed_run_does_not_hide_what_the_user_changed_since(glm: Run, repo: Path) -> None:
    killed(repo, FIX)
    (repo / "calc.py").write_text("mine\n")
    refused = glm("undo")
    assert (refused.code, "nothing was undone: calc.py" in refused.err) == (45, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "moment", "at"), [((), "intend", 1), ((), "swapped", 1), (("--worktree",), "swapped", 2)]
)
def test_a_run_that_was_killed_in_a_write_does_not_hide_what_the_user_changed_since(
    glm: Run, repo: Path, tmp_path: Path, words: tuple[str, ...], moment: str, at: int
) -> None:
    with Server([FIX, DONE]) as server, Killer(repo, tmp_path) as killer:
        task = ("fix", "Do it.", *words, *FREE, *to(server.url))
        assert killer.run(*task, only=(moment,), at=at).code == KILLED
    (repo / "calc.py").write_text("mine\n")
    refused = glm("undo")
    assert (refused.code, "nothing was undone: calc.py" in refused.err) == (45, True)
    assert (repo / "calc.py").read_text() == "mine\n"
    if not words:
        with Server([DONE]) as server:
            assert "calc.py may be changed by others" in glm("fix", "-c", *FREE, *to(server.url)).err


@pytest.mark.slow
def test_start_and_end_are_commits_in_the_session_s_own_store(glm: Run, repo: Path, home: Path) -> None:
    folder = home / ".local/state/glm-agent/sessions" / fix(glm, FIX)
    start, end = json.loads((folder / "state.json").read_text())["commits"]
    objects = {"GIT_OBJECT_DIRECTORY": str(folder / "objects")}
    objects["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(repo / ".git/objects")
    words = ["git", "diff", "--name-only", start, end]
    done = subprocess.run(words, cwd=repo, env=environment(**objects), capture_output=True, check=True)
    assert done.stdout == b"calc.py\n"
    assert subprocess.run(["git", "cat-file", "-e", start], cwd=repo, check=False, stderr=-3).returncode != 0


@pytest.mark.slow
def test_a_session_that_changed_nothing_is_nothing_to_undo(glm: Run, repo: Path) -> None:
    assert glm("undo").code == 2
    session = fix(glm, code=11)
    assert glm("undo").code == 2
    assert "changed nothing" in glm("undo", session).err


EDITS = r"""
set -e
printf 'one\r\nchanged\r\n' >win.txt
chmod 755 calc.py; chmod 640 private
rm gone.txt; rm -r folder; echo file >folder
mkdir -p was/now; mv moved.txt was/now/there.txt
ln -sf elsewhere link; rm readonly.txt; echo w >readonly.txt
rm was-file; mkdir was-file; echo in >was-file/in
printf '\377' >"$(printf 'caf\351')"
echo '*.tmp' >>.gitignore; echo x >x.tmp; echo s >staged.txt
mkdir hollow-new; rmdir hollow; rm empty; : >empty-new; mv Case.txt case.txt
"""


def litter(repo: Path) -> None:
    """Everything that a work tree may hold, in all states that git knows."""
    for name in ("gone.txt", "moved.txt", "was-file", "staged.txt", "unstaged.txt", "Case.txt"):
        (repo / name).write_text(f"{name}\n")
    (repo / "folder").mkdir()
    (repo / "folder/inner.txt").write_text("inner\n")
    (repo / "win.txt").write_bytes(b"one\r\ntwo\r\n")
    (repo / ".gitattributes").write_text("win.txt text eol=crlf\n*.big filter=lfs\n")
    (repo / "link").symlink_to("calc.py")
    (repo / "readonly.txt").write_text("r\n")
    (repo / "readonly.txt").chmod(0o444)
    (repo / ".gitignore").write_text("*.log\n")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", "more")
    (repo / "staged.txt").write_text("staged\n")
    git(repo, "add", "staged.txt")
    (repo / "unstaged.txt").write_text("unstaged\n")
    (repo / "private").write_text("untracked\n")
    (repo / "private").chmod(0o600)
    (repo / "empty").touch()
    (repo / "hollow").mkdir()
    (repo / "caf\udce9").write_bytes(b"\xff\xfe\r")
    (repo / "x.log").write_text("ignored\n")


def conflict(repo: Path, verb: str) -> None:
    """A merge, or a rebase, that stops half-way."""
    git(repo, "stash", "--include-untracked", "--quiet")
    git(repo, "checkout", "--quiet", "-b", "other")
    (repo / "check.py").write_text("other\n")
    git(repo, "commit", "--quiet", "-am", "other")
    git(repo, "checkout", "--quiet", "main")
    (repo / "check.py").write_text("main\n")
    git(repo, "commit", "--quiet", "-am", "main")
    with suppress(subprocess.CalledProcessError):
        git(repo, verb, "other")
    for name in ("unstaged.txt", "private", "empty"):
        (repo / name).write_text("unstaged\n")
    (repo / "hollow").mkdir()


@pytest.fixture(
    params=["plain", "detached", "worktree", "unborn", "sparse", "submodule", "merge", "rebase", "shallow"]
)
def state(request: pytest.FixtureRequest, repo: Path, tmp_path: Path) -> Iterator[Path]:
    litter(repo)
    match request.param:
        case "detached":
            git(repo, "checkout", "--quiet", "--detach")
        case "worktree" | "shallow":
            words = ("worktree", "add", "--quiet")
            if request.param == "shallow":
                words = ("clone", "--quiet", "--depth=1", f"file://{repo}")
            git(repo, *words, str(tmp_path / "linked"))
            repo = tmp_path / "linked"
            (repo / "unstaged.txt").write_text("unstaged\n")
            (repo / "private").write_text("untracked\n")
            (repo / "empty").touch()
            (repo / "hollow").mkdir()
        case "unborn":
            git(repo, "checkout", "--quiet", "--orphan", "new")
        case "sparse":
            (repo / "far").mkdir()
            (repo / "far/away.txt").write_text("away\n")
            git(repo, "add", "far")
            git(repo, "commit", "--quiet", "-m", "far", "far")
            git(repo, "sparse-checkout", "set", "--no-cone", "/*", "!/far/")
        case "merge" | "rebase":
            conflict(repo, request.param)
        case "submodule":
            git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo), "sub")
        case _:
            pass
    yield repo


@pytest.mark.slow
def test_everything_is_as_it_was_whatever_was_changed(glm: Run, state: Path, home: Path) -> None:
    before = look(state)
    turns = [
        calls("edit", path="calc.py", old=WRONG, new=RIGHT),
        calls("write", path="new/deep/file.txt", content="n\n"),
        calls("bash", command=EDITS),
        calls("patch", patch="--- a/unstaged.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-unstaged\n"),
    ]
    with Server([*turns, DONE]) as server:
        ran = glm("fix", "Do it.", *FREE, "--allow-merge", *to(server.url), "--json", at=state)
    assert ran.code == 0, ran.err
    after = look(state)
    failed = [event for event in ran.events if '"is_error": true' in json.dumps(event)]
    assert (failed, after[0] != before[0]) == ([], True)
    kept = home / ".local/state/glm-agent/sessions" / ran.result["session_id"] / "index"
    assert kept.read_bytes() == before[2]
    undone = glm("undo", at=state)
    assert undone.code == 0, undone.err
    assert look(state) == before
    assert glm("undo", at=state).code == 0
    assert look(state) == after


@pytest.mark.slow
def test_while_one_run_writes_there_is_no_other(glm: Run, repo: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "p.diff").write_text(
        "--- a/calc.py\n+++ b/calc.py\n@@ -1 +1 @@\n-def add(a, b):\n+def add(b, a):\n"
    )
    with Server([FIX, STALL]) as server:
        process = start(repo, "fix", "Do it.", *FREE, *to(server.url))
        wait_for(lambda: len(server.requests) == 2)
        (session,) = (home / ".local/state/glm-agent/sessions").iterdir()
        said = f"process {process.pid} (session {session.name}) is writing in {repo}"
        for words in (
            ("fix", "More.", *FREE, *to(server.url)),
            ("undo",),
            ("apply", str(tmp_path / "p.diff")),
        ):
            refused = glm(*words)
            assert (refused.code, said in refused.err) == (45, True), refused.err
        assert len(server.requests) == 2
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 130
    assert glm("apply", str(tmp_path / "p.diff")).code == 0


@pytest.mark.slow
def test_a_session_that_went_on_after_an_undo_is_the_last_one(glm: Run, repo: Path) -> None:
    before = look(repo)
    fix(glm, FIX)
    assert undo(glm)["written"] is True
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "-c", "Again.", *FREE, *to(server.url), "--json")
    assert (ran.code, look(repo) != before) == (0, True)
    undone = undo(glm)
    assert (undone["undone"], look(repo)) == (ran.result["session_id"], before)


@pytest.mark.slow
def test_what_was_changed_while_an_undo_was_cut_short_stays(glm: Run, repo: Path, tmp_path: Path) -> None:
    before = look(repo)
    fix(glm, FIX, calls("write", path="a.txt", content="a\n"), calls("write", path="b/c.txt", content="c\n"))
    (tmp_path / "scratch").mkdir()
    with Killer(repo, tmp_path / "scratch") as killer:
        assert killer.run("undo", at=2, only=("take",)).code == KILLED
    assert not (repo / "a.txt").exists()
    (repo / "calc.py").write_text("mine\n")
    checked = undo(glm, "--check")
    assert checked["notes"] == ["an undo was cut short here, and the next run that writes finishes it"]
    undone = undo(glm)
    said = "a.txt, b, b/c.txt, calc.py: an undo that was cut short was finished; "
    assert undone["notes"] == [f"{said}calc.py changed since and stays as it is"]
    assert (repo / "calc.py").read_text() == "mine\n"
    (repo / "calc.py").write_bytes(before[0]["calc.py"][1])
    assert look(repo) == before


@pytest.mark.slow
def test_an_undo_that_was_cut_short_waits_for_the_writer_there_is(
    glm: Run, repo: Path, tmp_path: Path
) -> None:
    fix(glm, FIX)
    (tmp_path / "scratch").mkdir()
    with Killer(repo, tmp_path / "scratch") as killer:
        assert killer.run("undo", at=1, only=("place",)).code == KILLED
    with Server([STALL]) as server:
        process = start(repo, "fix", "More.", *FREE, *to(server.url), env={"XDG_STATE_HOME": str(tmp_path)})
        wait_for(lambda: server.requests)
        assert "cut short" not in glm("doctor").out
        assert (repo / "calc.py").read_text().endswith(RIGHT)
        process.send_signal(signal.SIGINT)
        finish(process)
    assert "was finished" in glm("doctor").out
    assert not list(repo.glob(".glm-agent-*"))
    assert (repo / "calc.py").read_text().endswith(WRONG)


@pytest.mark.slow
def test_without_its_session_an_undo_cannot_be_finished_and_says_where_things_are(
    glm: Run, repo: Path, tmp_path: Path, home: Path
) -> None:
    session = fix(glm, FIX)
    (tmp_path / "scratch").mkdir()
    with Killer(repo, tmp_path / "scratch") as killer:
        assert killer.run("undo", at=1, only=("place",)).code == KILLED
    shutil.rmtree(home / ".local/state/glm-agent/sessions" / session)
    said = glm("doctor").out
    assert f"calc.py: an undo was cut short, and session {session} is gone; what it had moved is in" in said
    (kept,) = repo.glob("glm-agent-kept-*")
    assert {file.read_text() for file in kept.iterdir()} == {
        f"def add(a, b):\n{text}" for text in (WRONG, RIGHT)
    }
    assert "cut short" not in glm("doctor").out


@pytest.mark.slow
def test_what_a_kill_cut_short_is_not_finished_once_it_is_undone(
    glm: Run, repo: Path, tmp_path: Path
) -> None:
    before = look(repo)
    (tmp_path / "scratch").mkdir()
    with (
        Killer(repo, tmp_path / "scratch") as killer,
        Server([calls("write", path="new/file.txt", content="n\n"), DONE]) as server,
    ):
        cut = killer.run("fix", "Do it.", *FREE, *to(server.url), at=1, only=("swap",))
    assert (cut.code, look(repo) != before) == (KILLED, True)
    undone = glm("undo")
    said = "new/file.txt: a change that was cut short was finished"
    assert (undone.code, said in undone.err) == (0, True), undone.err
    assert look(repo) == before
    glm("doctor")
    assert look(repo) == before


@pytest.mark.slow
def test_the_last_run_is_the_one_that_worked_last_even_if_it_went_on_with_an_older_session(
    glm: Run, repo: Path
) -> None:
    session = fix(glm, FIX)
    undo(glm)
    with Server([calls("write", path="new.txt", content="n\n"), DONE]) as server:
        assert glm("fix", "-c", "More.", *FREE, *to(server.url)).code == 0
    undone = undo(glm)
    assert (undone["undone"], undone["changes"]) == (session, [{"path": "new.txt", "kind": "delete"}])
    assert undo(glm)["undone"] == undone["session_id"]
    assert (repo / "new.txt").exists()


@pytest.mark.slow
def test_a_signal_that_comes_too_late_does_not_make_it_deny_what_it_did(
    glm: Run, repo: Path, tmp_path: Path
) -> None:
    before = look(repo)
    fix(glm, FIX)
    with Killer(repo, tmp_path) as killer:
        undone = killer.run("undo", how="term", only=("place",), at=1)
        assert (undone.code, undone.out, look(repo)) == (0, "restored calc.py\n", before)
        (repo / "a.diff").write_text("--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+n\n")
        applied = killer.run("apply", "a.diff", how="term", only=("swapped",), at=1)
    assert (applied.code, (repo / "new.txt").read_text()) == (0, "n\n")


@pytest.mark.slow
def test_what_is_kept_of_a_session_and_cannot_be_used_is_named(
    glm: Run, repo: Path, home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    session = fix(glm, FIX)
    after = look(repo)
    kept = home / ".local/state/glm-agent/sessions" / session / "git"
    shutil.rmtree(kept)
    kept.touch()  # as good as a file system that is read-only
    refused = glm("undo")
    assert (refused.code, refused.err) == (45, f"glm-agent: cannot undo: {kept}/refs: Not a directory\n")
    assert "undo: would" not in call(["sessions", "show", session], capfdbinary).out
    assert look(repo) == after


@pytest.mark.slow
def test_what_the_user_wrote_between_two_parts_of_a_session_is_put_away_only_by_force(
    glm: Run, repo: Path
) -> None:
    before = look(repo)
    fix(glm, FIX)
    with (repo / "calc.py").open("a") as file:
        file.write("# mine\n")
    with Server([calls("write", path="new.txt", content="n\n"), DONE]) as server:
        assert glm("fix", "-c", "More.", *FREE, *to(server.url)).code == 0
    refused = glm("undo")
    assert (refused.code, "nothing was undone: calc.py; --force" in refused.err) == (45, True)
    assert glm("undo", "--force").code == 0
    assert look(repo) == before
    assert glm("undo").code == 0
    assert (repo / "calc.py").read_text().endswith("# mine\n")
