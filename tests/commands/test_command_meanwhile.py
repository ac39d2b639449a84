"""Sessions that go on after the user, or the last checks, have written into the same tree."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from killing import KILLED, Killer
from running import CHECK, DONE, FILES, FIX, READ, RIGHT, STALL, Ran, Run, git, start, to, wait_for

from glm_agent import sandbox
from glm_agent.replay import Server
from glm_agent.types import Json


@pytest.fixture(autouse=True)
def identity(home: Path) -> None:
    (home / ".gitconfig").write_text("[user]\n\tname = U. Ser\n\temail = u@ser.example\n")


def killed(
    repo: Path, *words: str, turns: tuple[Json, ...] = (FIX,), env: dict[str, str] | None = None
) -> None:
    """A session that was killed while it waited for the model's next turn."""
    with Server([*turns, STALL]) as server:
        process = start(repo, "fix", "Add.", "--json", *words, *to(server.url), env=env)
        wait_for(lambda: len(server.requests) == len(turns) + 1)
        process.kill()
        process.communicate()


def go_on(glm: Run, *words: str) -> Ran:
    with Server([DONE]) as server:
        return glm("fix", "-c", "--json", *words, *to(server.url))


def changes(ran: Ran) -> list[str]:
    return [row["path"] for row in ran.result["changes"]]


def said(ran: Ran) -> str:
    return "\n".join(event["text"] for event in ran.events if event.get("subtype") == "notice")


@pytest.mark.slow
def test_what_the_user_writes_after_a_kill_is_not_the_sessions(repo: Path, glm: Run) -> None:
    (repo / "gone.txt").write_text("gone\n")
    git(repo, "add", "gone.txt")
    git(repo, "commit", "--quiet", "-m", "second")
    touch: Json = {"tool_calls": [{"name": "bash", "arguments": {"command": "echo by a command > made.txt"}}]}
    killed(repo, turns=(FIX, touch))
    (repo / "mine.txt").write_text("mine\n")
    (repo / "check.py").write_text(FILES["check.py"] + "# mine\n")
    (repo / "gone.txt").unlink()
    ran = go_on(glm, "--commit")
    assert (ran.code, changes(ran)) == (0, ["calc.py", "made.txt"])
    assert "check.py, gone.txt, mine.txt changed since the session's last work: not counted" in said(ran)
    assert git(repo, "show", "--format=", "--name-only").split() == ["calc.py", "made.txt"]
    assert glm("undo").code == 0
    assert (repo / "calc.py").read_text() == FILES["calc.py"]
    assert (repo / "check.py").read_text() == FILES["check.py"] + "# mine\n"
    assert ((repo / "mine.txt").read_text(), (repo / "gone.txt").exists()) == ("mine\n", False)


@pytest.mark.slow
def test_a_file_that_both_have_changed_is_counted_and_never_committed(repo: Path, glm: Run) -> None:
    killed(repo)
    with (repo / "calc.py").open("a") as file:
        file.write("# mine\n")
    ran = go_on(glm, "--commit")
    assert (ran.code, changes(ran)) == (45, ["calc.py"])
    assert "calc.py may be changed by others too since the session's last work" in said(ran)
    assert "calc.py may hold changes of yours, so nothing was committed" in ran.result["errors"][0]
    assert git(repo, "rev-list", "--count", "HEAD") == "1\n"


@pytest.mark.slow
@pytest.mark.parametrize("is_killed", [False, True])
def test_the_diff_that_was_refused_is_kept_when_the_session_goes_on(
    repo: Path, home: Path, glm: Run, tmp_path: Path, is_killed: bool
) -> None:
    words = ("fix", "Add.", "--protect", "calc.py", "--json")
    with Server([READ, FIX, DONE]) as server:
        if is_killed:
            (tmp_path / "scratch").mkdir()
            with Killer(repo, tmp_path / "scratch") as killer:
                assert killer.run(*words, *to(server.url), at=1, only=("place",)).code == KILLED
        else:
            assert glm(*words, *to(server.url)).code == 12
    (patch,) = home.glob(".local/state/glm-agent/sessions/*/patch.diff")
    refused = patch.read_bytes()
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "-c", "Again.", "--protect", "check.py", "--commit", "--json", *to(server.url))
        result = server.requests[-1].body["messages"][-1]["content"]
    assert (ran.code, changes(ran)) == (0, ["calc.py"]), ran.err
    note = "[note: the run was interrupted; meanwhile calc.py changed on disk: read again what you need]"
    assert note in result
    kept = patch.with_name("patch-before-1.diff")
    assert f"no longer in the tree: the session's work on calc.py, which is kept in {kept}" in said(ran)
    assert "others" not in said(ran)
    assert kept.read_bytes() == refused != b""
    assert git(repo, "show", "--format=", "--name-only").split() == ["calc.py"]


@pytest.mark.slow
def test_what_the_last_checks_created_is_not_counted_when_the_session_goes_on(repo: Path, glm: Run) -> None:
    leaves = f"grep -q 'a + b' calc.py && touch report.out; {CHECK}"
    with Server([FIX]) as server:
        first = glm("fix", "Add.", "--verify", leaves, "--max-turns", "1", "--json", *to(server.url))
    assert (first.code, changes(first), (repo / "report.out").exists()) == (53, ["calc.py"], True)
    ran = go_on(glm, "--max-turns", "9")
    assert (ran.code, changes(ran)) == (0, ["calc.py"])
    assert ran.result["verification"]["fixed"] != []
    assert RIGHT in (repo / "calc.py").read_text()


@pytest.mark.slow
def test_a_dry_run_goes_on_as_one_and_says_so(repo: Path, glm: Run) -> None:
    with Server([FIX]) as server:
        first = glm("fix", "Add.", "--dry-run", "--max-turns", "1", *to(server.url))
    with Server([DONE]) as server:
        ran = glm("fix", "-c", "--max-turns", "9", *to(server.url))
    assert (first.code, ran.code, ran.out) == (53, 0, first.out)
    assert f"+{RIGHT}" in ran.out
    assert "goes on with --dry-run, as the session began; a new one can do without" in ran.err
    assert (repo / "calc.py").read_text() == FILES["calc.py"]


IN_A_COPY = pytest.mark.skipif(sandbox.probe().tier != "A", reason=f"no tier A: {sandbox.probe().reason}")
LEAVES = f"touch report.out; {CHECK}"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@IN_A_COPY
@pytest.mark.slow
@pytest.mark.parametrize("way", [("--attempts", "2"), ("--dry-run",)])
def test_what_a_killed_session_did_in_a_copy_comes_along(
    repo: Path, glm: Run, way: tuple[str, ...], temporary: Path
) -> None:
    killed(repo, *way, "--verify", LEAVES, env={"TMPDIR": str(temporary)})
    assert len(list(temporary.glob("*/tree/calc.py"))) == 1
    ran = go_on(glm)
    assert (ran.code, changes(ran)) == (0, ["calc.py"])
    assert ran.result["verification"]["fixed"] != []
    assert (RIGHT in (repo / "calc.py").read_text()) is ("--dry-run" not in way)
    assert list(temporary.glob("*/tree")) == []


@IN_A_COPY
@pytest.mark.slow
def test_that_the_copy_of_a_killed_session_is_gone_is_said(repo: Path, glm: Run, temporary: Path) -> None:
    killed(repo, "--worktree", "--allow-empty", env={"TMPDIR": str(temporary)})
    for folder in temporary.iterdir():
        shutil.rmtree(folder)
    ran = go_on(glm)
    assert (ran.code, changes(ran)) == (0, [])
    assert "worked is gone: its work is lost, and begins anew" in said(ran)
