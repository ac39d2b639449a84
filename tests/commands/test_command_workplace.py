"""Where a run works and where its result goes, and what of the user's it leaves alone on the way."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from running import (
    CHECK,
    DONE,
    FILES,
    FIX,
    HERE,
    RIGHT,
    STALL,
    WRONG,
    Ran,
    Run,
    edit,
    finish,
    git,
    refused,
    start,
    to,
    wait_for,
)

from glm_agent import sandbox
from glm_agent.replay import Server
from glm_agent.types import Json

pytestmark = pytest.mark.skipif(sandbox.probe().tier != "A", reason=f"no tier A: {sandbox.probe().reason}")

BROKEN = edit(WRONG, "    return a * b\n")
NAMES = ["check.py::add[1-2]", "check.py::add[3-4]"]


@pytest.fixture(autouse=True)
def identity(home: Path) -> None:
    (home / ".gitconfig").write_text("[user]\n\tname = U. Ser\n\temail = u@ser.example\n")


@dataclass(frozen=True)
class State:
    """All of the user's that a run in a copy may not touch."""

    index: bytes
    refs: str
    head: str
    stash: str
    status: str
    files: dict[str, str]


def state(root: Path) -> State:
    index = (root / git(root, "rev-parse", "--git-path", "index").strip()).read_bytes()
    files = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() + oct(path.stat().st_mode)
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and ".git" not in path.relative_to(root).parts
    }
    head = git(root, "rev-parse", "--symbolic-full-name", "HEAD") + git(root, "rev-parse", "HEAD")
    status = git(root, "--no-optional-locks", "status", "--porcelain=v2", "--untracked-files=all")
    return State(index, git(root, "for-each-ref"), head, git(root, "stash", "list", "-p"), status, files)


def make_dirty(root: Path) -> None:
    """Staged, unstaged, stashed, untracked, ignored, and a link."""
    (root / "check.py").write_text(FILES["check.py"] + "# staged\n")
    git(root, "stash")
    (root / "staged.txt").write_text("staged\n")
    git(root, "add", "staged.txt")
    (root / "staged.txt").write_text("staged, then changed\n")
    (root / "check.py").write_text(FILES["check.py"] + "# not staged\n")
    (root / "untracked.txt").write_text("untracked\n")
    (root / ".git/info/exclude").write_text("ignored/\n*.local\n")
    (root / "ignored").mkdir()
    (root / "ignored/data").write_text("data\n")
    (root / "set.local").write_text("local\n")
    (root / "link").symlink_to("calc.py")


def bash(command: str) -> Json:
    return {"tool_calls": [{"name": "bash", "arguments": {"command": command}}]}


def write(path: str, content: str) -> Json:
    return {"tool_calls": [{"name": "write", "arguments": {"path": path, "content": content}}]}


def play(glm: Run, *words: str, turns: tuple[Json, ...] = (FIX, DONE), at: Path | None = None) -> Ran:
    with Server(list(turns)) as server:
        return glm("fix", "Add.", "--json", *to(server.url), *words, at=at)


def results(ran: Ran) -> list[str]:
    """What the model was told of each call."""
    said = [event["message"]["content"] for event in ran.events if event["type"] == "user"]
    return [block["content"] for blocks in said for block in blocks if block["type"] == "tool_result"]


# A copy


def test_in_a_copy_all_is_as_in_place_and_the_tree_is_changed_only_at_the_end(repo: Path, glm: Run) -> None:
    make_dirty(repo)
    before = state(repo)
    look = bash(
        "pwd; cat calc.py; cat staged.txt untracked.txt set.local ignored/data link; "
        "git status --short; echo new > ignored/data; echo later > ignored/more"
    )
    ran = play(glm, "--worktree", "--verify", CHECK, turns=(look, bash("cat ignored/*"), FIX, DONE))
    seen, again, _ = results(ran)
    assert seen.split("\n")[0] == str(repo)
    assert "staged, then changed\nuntracked\nlocal\ndata\ndef add(a, b):" in seen
    assert "AM staged.txt\n?? link\n?? untracked.txt" in seen and " M check.py" in seen
    assert again.startswith("new\nlater\n")
    assert (ran.code, ran.events[0]["workdir"]) == (0, "worktree")
    assert ran.events[0]["cwd"] == str(repo)
    assert ran.result["changes"] == [{"path": "calc.py", "kind": "update", "added": 1, "removed": 1}]
    assert ran.result["verification"]["fixed"] == NAMES
    after = state(repo)
    assert (repo / "calc.py").read_text() == FILES["calc.py"].replace(WRONG, RIGHT)
    assert replace(after, status="", files={}) == replace(before, status="", files={})
    assert {name for name in after.files if after.files[name] != before.files.get(name)} == {"calc.py"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "turns", "code"),
    [
        (("--dry-run",), (FIX, DONE), 0),
        (("--dry-run", "--attempts", "2"), (FIX, DONE), 0),
        (("--worktree", "--verify-rounds", "1"), (BROKEN, DONE), 10),
        (("--attempts", "2", "--verify-rounds", "1"), (BROKEN, DONE, BROKEN, DONE), 10),
        (("--worktree", "--max-turns", "1"), (FIX, DONE), 53),
        (
            ("--worktree", "--verify-rounds", "1"),
            (bash("rm -r calc.py .git; git stash; git add ."), DONE),
            10,
        ),
    ],
)
def test_what_is_not_to_be_applied_leaves_everything_as_it_was(
    repo: Path, glm: Run, words: tuple[str, ...], turns: tuple[Json, ...], code: int
) -> None:
    make_dirty(repo)
    before = state(repo)
    ran = play(glm, "--verify", CHECK, *words, turns=turns)
    assert ran.code == code
    assert state(repo) == before
    patch = Path(ran.result["patch_file"]).read_text()
    assert patch.startswith("diff --git a/calc.py b/calc.py\n")


@pytest.mark.slow
def test_a_dry_run_prints_a_patch_that_git_applies(repo: Path, glm: Run) -> None:
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--dry-run", *to(server.url))
    assert (ran.code, git(repo, "status", "--short")) == (0, "")
    subprocess.run(["git", "apply"], cwd=repo, input=ran.out.encode(), check=True)
    assert (repo / "calc.py").read_text() == FILES["calc.py"].replace(WRONG, RIGHT)


def make_editable(repo: Path, venv: Path) -> str:
    """A check that imports the package by way of an editable install, which names the original's path."""
    (repo / "src").mkdir()
    (repo / "src/app.py").write_text("VALUE = 1\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "app")
    site = venv / "site"
    site.mkdir(parents=True)
    (site / "__editable__.app.pth").write_text(f"{repo}/src\n")
    look = "import app, sys; print('FAILED app.py::value' if app.VALUE != 2 else app.__file__); "
    code = f"import site; site.addsitedir({str(site)!r}); {look}sys.exit(app.VALUE != 2)"
    (repo / "value.py").write_text(code)
    return f"cd /tmp && {sys.executable} {repo}/value.py"


@pytest.mark.slow
@pytest.mark.parametrize("inside", [True, False])
def test_an_editable_install_is_checked_as_it_is_in_the_copy(
    repo: Path, glm: Run, tmp_path: Path, inside: bool
) -> None:
    venv = repo / ".venv" if inside else tmp_path / "venv"
    check = make_editable(repo, venv)
    more = () if inside else ("--sandbox-read", str(venv))
    right = write("src/app2.py", ""), bash("echo 'VALUE = 2' > src/app.py"), DONE
    ran = play(glm, "--dry-run", "--verify", check, *more, turns=right)
    assert (ran.code, ran.result["verification"]["fixed"]) == (0, ["app.py::value"])
    assert (repo / "src/app.py").read_text() == "VALUE = 1\n"
    (repo / "src/app.py").write_text("VALUE = 2\n")
    wrong = bash("echo 'VALUE = 3' > src/app.py"), DONE
    ran = play(glm, "--dry-run", "--verify", check, "--verify-rounds", "1", *more, turns=wrong)
    assert (ran.code, ran.result["verification"]["newly_broken"]) == (10, ["app.py::value"])


@pytest.mark.slow
def test_without_namespaces_files_can_be_changed_but_nothing_is_run(repo: Path, glm: Run) -> None:
    free = ("--worktree", "--sandbox", "danger-full-access")
    ran = play(glm, *free, "--verify", CHECK, turns=())
    assert (ran.code, ran.result["subtype"]) == (44, "error_sandbox")
    assert "original's place" in ran.result["errors"][0]
    ran = play(glm, *free)
    assert ran.code == 0 and "bash" not in ran.events[0]["tools"]
    assert (repo / "calc.py").read_text() == FILES["calc.py"].replace(WRONG, RIGHT)


@pytest.mark.slow
def test_a_file_that_the_user_changes_meanwhile_is_not_overwritten(repo: Path, glm: Run) -> None:
    (repo / "calc.py").chmod(0o755)
    git(repo, "commit", "-qam", "mode")
    turn = {"content": "Done.", "delay": 1}
    with Server([FIX, write("new/er.py", "x\n"), turn, STALL]) as server:
        process = start(repo, "fix", "Add.", "--json", "--worktree", *to(server.url))
        wait_for(lambda: len(server.requests) == 3)
        (repo / "calc.py").write_text("mine = 1\n")
        ran = finish(process)
    assert (ran.code, ran.result["subtype"]) == (45, "error_repository"), ran.result
    assert ran.result["errors"] == [
        f"calc.py changed in the work tree meanwhile, which stays as it is; the patch is in "
        f"{ran.result['patch_file']}"
    ]
    assert (repo / "calc.py").read_text() == "mine = 1\n" and not (repo / "new").exists()
    git(repo, "checkout", "calc.py")
    git(repo, "apply", ran.result["patch_file"])
    assert (repo / "calc.py").stat().st_mode & 0o777 == 0o755


@pytest.mark.slow
def test_created_deleted_renamed_and_executable_files_arrive_as_they_are(repo: Path, glm: Run) -> None:
    (repo / "crlf.txt").write_bytes(b"a\r\nb\n\xff")
    make = bash("mv crlf.txt moved.txt; mkdir -p d/e; printf 'x\\r\\n' > d/e/f; chmod +x d/e/f; rm check.py")
    ran = play(glm, "--worktree", turns=(make, FIX, DONE))
    assert ran.code == 0, ran.result
    assert (repo / "moved.txt").read_bytes() == b"a\r\nb\n\xff" and not (repo / "crlf.txt").exists()
    assert (repo / "d/e/f").read_bytes() == b"x\r\n" and os.access(repo / "d/e/f", os.X_OK)
    assert not (repo / "check.py").exists()


@pytest.mark.slow
def test_a_linked_work_tree_is_copied_with_its_git(repo: Path, glm: Run) -> None:
    linked = repo.parent / "linked"
    git(repo, "worktree", "add", "-q", "-b", "other", str(linked))
    before = state(repo), git(linked, "for-each-ref")
    ran = play(
        glm,
        "--worktree",
        turns=(bash("git log --oneline | wc -l; git status --short; git branch --show-current"), FIX, DONE),
        at=linked,
    )
    assert ran.code == 0, ran.result
    assert results(ran)[0].startswith("1\nother\n[exit=0")
    assert (linked / "calc.py").read_text() == FILES["calc.py"].replace(WRONG, RIGHT)
    assert (state(repo), git(linked, "for-each-ref")) == before


@pytest.mark.slow
def test_what_may_not_be_made_and_what_is_secret_is_so_in_a_copy_too(repo: Path, glm: Run) -> None:
    (repo / ".git/info/exclude").write_text(".env\nlocal/\n")
    (repo / ".env").write_text("PASSWORD=hunter22\n")
    (repo / "local").mkdir()
    (repo / "local/id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
    reach = bash(
        "mkdir -p .github/workflows; echo x > .github/workflows/x.yml; cat .env local/id_rsa | wc -c"
    )
    read: Json = {"tool_calls": [{"name": "read", "arguments": {"path": ".env"}}]}
    ran = play(glm, "--worktree", turns=(reach, read, FIX, DONE))
    assert results(ran)[0].startswith("0\n") and "[removed: .github" in results(ran)[0]
    assert "holds secrets" in results(ran)[1]
    assert not (repo / ".github").exists()
    assert [row["path"] for row in ran.result["changes"]] == ["calc.py"]


@pytest.mark.slow
@pytest.mark.parametrize("way", [("--worktree",), ("--attempts", "2"), ("--dry-run",)])
def test_a_session_in_a_copy_goes_on_with_what_it_had_done_there(
    repo: Path, glm: Run, way: tuple[str, ...]
) -> None:
    first = play(glm, *way, "--verify", CHECK, "--max-turns", "1", turns=(FIX,))
    assert (first.code, git(repo, "status", "--porcelain")) == (53, "")
    with Server([DONE]) as server:
        ran = glm("fix", "-c", "--max-turns", "9", "--json", *to(server.url))
    assert (ran.code, ran.result["num_turns"], ran.result["verification"]["fixed"]) == (0, 2, NAMES)
    assert [row["path"] for row in ran.result["changes"]] == ["calc.py"]
    assert (RIGHT in (repo / "calc.py").read_text()) is ("--dry-run" not in way)


@pytest.mark.slow
def test_what_a_copy_held_is_kept_where_the_tree_has_changed_since(repo: Path, glm: Run) -> None:
    first = play(glm, "--worktree", "--verify", CHECK, "--max-turns", "1", turns=(FIX,))
    patch = Path(first.result["patch_file"])
    held = patch.read_bytes()
    (repo / "mine.txt").write_text("mine\n")
    with Server([DONE]) as server:
        ran = glm("fix", "-c", "--max-turns", "9", "--json", *to(server.url))
    assert (ran.code, ran.result["changes"]) == (10, [])
    assert patch.with_name("patch-before-1.diff").read_bytes() == held != patch.read_bytes()
    said = [event["text"] for event in ran.events if event.get("subtype") == "notice"]
    assert any("only in" in text and "patch-before-1.diff" in text for text in said)


@pytest.mark.slow
def test_what_the_user_writes_between_two_runs_of_a_session_is_not_the_sessions(repo: Path, glm: Run) -> None:
    first = play(glm, "--verify", CHECK, "--max-turns", "1", turns=(FIX,))
    (repo / "mine.txt").write_text("mine\n")
    with Server([DONE]) as server:
        ran = glm("fix", "-c", "--max-turns", "9", "--commit", "--json", *to(server.url))
    assert (first.code, ran.code, [row["path"] for row in ran.result["changes"]]) == (53, 0, ["calc.py"])
    assert git(repo, "show", "--format=", "--name-only").split() == ["calc.py"]
    assert glm("undo").code == 0
    assert (repo / "mine.txt").read_text() == "mine\n"
    assert (repo / "calc.py").read_text() == FILES["calc.py"]


# Attempts


@pytest.mark.slow
def test_the_first_attempt_that_is_green_counts_and_all_patches_are_kept(repo: Path, glm: Run) -> None:
    (repo / ".git/info/exclude").write_text("ignored/\n")
    (repo / "ignored").mkdir()
    spoil = bash("ls . ignored; echo spoilt > untracked.txt; touch ignored/spoilt")
    turns = (spoil, BROKEN, DONE, spoil, FIX, {"content": "The second one."})
    with Server(list(turns)) as server:
        words = ("--attempts", "3", "--verify", CHECK, "--verify-rounds", "1", "--json")
        ran = glm("fix", "Add.", *words, *to(server.url))
        asked = [request.body["messages"] for request in server.requests]
    assert (ran.code, ran.result["result"], ran.result["num_turns"]) == (0, "The second one.", 6)
    assert asked[3] == asked[0], "the second attempt knows nothing of the first"
    listed = [said.partition("[exit=0")[0] for said in results(ran)]
    assert listed[0] == listed[2] == ".:\ncalc.py\ncheck.py\nignored\n\nignored:\n", "nor does the tree"
    rows = ran.result["attempts"]
    assert [(row["number"], row["chosen"], row["green"], row["failing"]) for row in rows] == [
        (1, False, False, 3),
        (2, True, True, 0),
    ]
    first, second = (Path(row["patch_file"]).read_text() for row in rows)
    assert "+    return a * b" in first and "+    return a + b" in second
    assert second == Path(ran.result["patch_file"]).read_text()
    assert (repo / "calc.py").read_text() == FILES["calc.py"].replace(WRONG, RIGHT)
    assert ran.result["verification"]["fixed"] == NAMES


@pytest.mark.slow
def test_of_failed_attempts_the_one_with_fewest_failures_is_the_result(repo: Path, glm: Run) -> None:
    one = edit(WRONG, "    return 3 if b else 5\n")  # two of three are right
    turns = (one, {"content": "One."}, BROKEN, {"content": "Two."})
    ran = play(glm, "--attempts", "2", "--verify", CHECK, "--verify-rounds", "1", turns=turns)
    assert (ran.code, ran.result["result"]) == (10, "One.")
    assert [row["chosen"] for row in ran.result["attempts"]] == [True, False]
    assert ran.result["verification"]["still_failing"] == ["check.py::add[3-4]"]
    assert len(ran.result["errors"]) == 1
    assert (repo / "calc.py").read_text() == FILES["calc.py"]


@pytest.mark.slow
def test_of_an_attempt_in_rounds_only_the_last_round_counts(repo: Path, glm: Run) -> None:
    better = edit("    return a * b\n", "    return 3 if b else 5\n")
    turns = (
        BROKEN,
        DONE,
        DONE,
        better,
        {"content": "One."},
        edit(WRONG, "    return 7\n"),
        {"content": "Two."},
    )
    ran = play(glm, "--attempts", "2", "--verify", CHECK, turns=turns)
    assert (ran.code, ran.result["result"]) == (10, "One.")
    assert [row["failing"] for row in ran.result["attempts"]] == [1, 2]
    assert ran.result["verification"]["still_failing"] == ["check.py::add[3-4]"]


@pytest.mark.slow
def test_caps_count_over_all_attempts(repo: Path, glm: Run) -> None:
    words = ("--attempts", "3", "--verify", CHECK, "--verify-rounds", "1", "--max-turns", "3")
    ran = play(glm, *words, turns=(BROKEN, DONE, BROKEN, DONE, FIX, DONE))
    assert (ran.code, ran.result["num_turns"], len(ran.result["attempts"])) == (53, 3, 2)


@pytest.mark.slow
def test_an_interrupted_attempt_leaves_the_patches_so_far(repo: Path) -> None:
    with Server([BROKEN, DONE, edit(WRONG, "    return 3\n"), STALL]) as server:
        words = ("--attempts", "3", "--verify", CHECK, "--verify-rounds", "1", "--json")
        process = start(repo, "fix", "Add.", *words, *to(server.url))
        wait_for(lambda: len(server.requests) == 4)
        process.send_signal(signal.SIGINT)
        ran = finish(process)
    assert ran.code == 130
    texts = [Path(row["patch_file"]).read_text() for row in ran.result["attempts"]]
    assert ["return a * b" in text for text in texts] == [True, False]
    assert ["return 3" in text for text in texts] == [False, True]
    assert (repo / "calc.py").read_text() == FILES["calc.py"]


# Commits


def test_a_commit_has_the_runs_diff_and_nothing_else(repo: Path, glm: Run) -> None:
    make_dirty(repo)
    hook = repo / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hooked\nexit 1\n")
    hook.chmod(0o755)
    before, old = state(repo), git(repo, "rev-parse", "HEAD").strip()
    answer = {"content": f"**Add adds**\n\nIt used to subtract.\n{'x' * 80}"}
    ran = play(glm, "--commit", turns=(FIX, write("new.txt", "new\n"), answer))
    assert ran.code == 0, ran.result
    new = git(repo, "rev-parse", "HEAD").strip()
    assert ran.result["commit"] == {"id": new, "branch": "main"}
    assert git(repo, "show", "--format=%P|%an <%ae>|%cn", "--name-status", "HEAD") == (
        f"{old}|U. Ser <u@ser.example>|U. Ser\n\nM\tcalc.py\nA\tnew.txt\n"
    )
    version = ran.events[0]["version"]
    assert git(repo, "show", "--no-patch", "--format=%B") == (
        f"Add adds\n\nIt used to subtract.\n{'x' * 80}\n\n"
        f"Assisted-by: glm-agent {version} ({ran.events[0]['model']})\n\n"
    )
    after = state(repo)
    assert (after.status, after.stash) == (before.status, before.stash)
    assert "hooked" not in after.files
    assert git(repo, "reflog", "-1", "--format=%gs", "main") == "commit (glm-agent): Add adds\n"


@pytest.mark.slow
@pytest.mark.parametrize("is_taken_back", [False, True])
def test_a_session_that_goes_on_commits_what_is_new(repo: Path, glm: Run, is_taken_back: bool) -> None:
    first = play(glm, "--commit", turns=(FIX, write("new.txt", "new\n"), DONE))
    assert first.code == 0
    if is_taken_back:
        git(repo, "reset", "HEAD~1")
    other, back = "    return b + a\n", bash("rm new.txt")
    with Server([edit(RIGHT, other), back, DONE]) as server:
        ran = glm("fix", "-c", "The other way round.", "--json", *to(server.url))
    assert ran.code == 0, ran.result
    assert [row["path"] for row in ran.result["changes"]] == ["calc.py"]
    news = "M\tcalc.py\n" if is_taken_back else "M\tcalc.py\nD\tnew.txt\n"
    assert git(repo, "show", "--format=", "--name-status", "HEAD") == news
    assert git(repo, "show", "HEAD:calc.py") == FILES["calc.py"].replace(WRONG, other)
    assert git(repo, "rev-list", "--count", "HEAD") == ("2\n" if is_taken_back else "3\n")
    assert git(repo, "status", "--porcelain") == ""
    with Server([DONE]) as server:
        ran = glm("fix", "-c", "Is that all?", "--json", *to(server.url))
    assert (ran.code, ran.result["commit"]) == (0, None)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--dry-run",), ("--worktree",), ()])
def test_a_branch_is_committed_to_without_switching(repo: Path, glm: Run, words: tuple[str, ...]) -> None:
    make_dirty(repo)
    before = state(repo)
    ran = play(glm, "--branch", "fixes/one", *words)
    assert (ran.code, ran.result["commit"]["branch"]) == (0, "fixes/one"), ran.result
    assert git(repo, "diff", "--name-only", "main", "fixes/one") == "calc.py\n"
    assert git(repo, "rev-parse", "fixes/one^") == git(repo, "rev-parse", "main")
    after = state(repo)
    assert (after.index, after.head, after.stash) == (before.index, before.head, before.stash)
    changed = {name for name in after.files if after.files[name] != before.files.get(name)}
    assert changed == (set() if words == ("--dry-run",) else {"calc.py"})
    git(repo, "fsck", "--strict", "--no-dangling")
    assert git(repo, "show", "fixes/one:calc.py") == FILES["calc.py"].replace(WRONG, RIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["unstaged", "staged", "untracked"])
def test_a_file_that_was_dirty_before_is_not_committed(repo: Path, glm: Run, how: str) -> None:
    turn = FIX
    if how == "untracked":
        (repo / "calc2.py").write_text(WRONG)
        turn = bash("echo x >> calc2.py")
    else:
        (repo / "calc.py").write_text(FILES["calc.py"] + "# mine\n")
    if how == "staged":
        git(repo, "add", "calc.py")
    before = state(repo)
    ran = play(glm, "--commit", turns=(turn, DONE))
    assert (ran.code, ran.result["commit"]) == (45, None)
    assert "had changes of yours before the run" in ran.result["errors"][0]
    after = state(repo)
    assert (after.index, after.refs, after.head) == (before.index, before.refs, before.head)
    assert after.files != before.files, "the tree keeps the changes"
    assert Path(ran.result["patch_file"]).stat().st_size > 0


@pytest.mark.slow
def test_a_file_that_a_filter_would_change_is_not_committed(repo: Path, glm: Run) -> None:
    (repo / ".gitattributes").write_text("*.bin filter=lfs\n")
    git(repo, "config", "filter.lfs.clean", "touch ran")
    before = state(repo)
    ran = play(glm, "--commit", turns=(write("a.bin", "x\n"), DONE))
    assert (ran.code, ran.result["commit"]) == (45, None)
    assert ran.result["errors"][0].startswith("a.bin would go through a filter")
    assert state(repo).refs == before.refs and not (repo / "ran").exists()


@pytest.mark.slow
def test_the_first_commit_of_all_can_be_made(tmp_path: Path, glm: Run) -> None:
    root = tmp_path / "unborn"
    root.mkdir()
    git(root, "init", "-q")
    (root / "other.txt").write_text("other\n")
    ran = play(glm, "--commit", turns=(write("a.txt", "a\n"), DONE), at=root)
    assert ran.code == 0, ran.result
    assert git(root, "ls-tree", "-r", "--name-only", "HEAD") == "a.txt\n"
    assert git(root, "status", "--short") == "?? other.txt\n"


@pytest.mark.slow
def test_nothing_is_committed_of_a_run_that_fails(repo: Path, glm: Run) -> None:
    before = state(repo)
    ran = play(glm, "--commit", "--verify", CHECK, "--verify-rounds", "1", turns=(BROKEN, DONE))
    assert (ran.code, ran.result["commit"]) == (10, None)
    assert state(repo).refs == before.refs


@pytest.mark.slow
def test_hooks_run_only_when_asked_for_and_their_refusal_is_final(repo: Path, glm: Run) -> None:
    hooks = repo / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name, text in {
        "pre-commit": "git diff --cached --name-only > hooked; test ! -e no",
        "commit-msg": 'echo "Signed: hook" >> "$1"',
    }.items():
        (hooks / name).write_text(f"#!/bin/sh\n{text}\n")
        (hooks / name).chmod(0o755)
    (repo / "no").touch()
    (repo / "mine.txt").write_text("mine\n")
    git(repo, "add", "mine.txt")
    ran = play(glm, "--commit", "--run-hooks")
    assert (ran.code, ran.result["subtype"], ran.result["commit"]) == (10, "error_verify", None)
    assert "the hook pre-commit failed" in ran.result["errors"][0]
    (repo / "no").unlink()
    git(repo, "checkout", "calc.py")
    ran = play(glm, "--commit", "--run-hooks")
    assert ran.code == 0, ran.result
    assert (repo / "hooked").read_text() == "calc.py\n"
    assert git(repo, "show", "-s", "--format=%B").rstrip().endswith("\nSigned: hook")
    assert git(repo, "status", "--short") == "A  mine.txt\n?? hooked\n"


@pytest.mark.slow
def test_hooks_are_not_given_our_key(
    repo: Path, glm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "sk-9Zq7Lm3Xc5Vb8Nd1Kf6Jh2Gs4Pw0Rt")
    monkeypatch.setenv("MINE", "kept")
    hook = repo / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\n")
    hook.chmod(0o755)
    assert play(glm, "--commit", "--run-hooks").code == 0
    seen = (tmp_path / "seen").read_text()
    assert "MINE=kept" in seen and "sk-9Zq" not in seen


# Refused before anything is asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--dry-run", "--commit"), 2, "give --branch NAME"),
        (("--dry-run", "--worktree"), 2, "give one"),
        (("--record", "run.jsonl", "--attempts", "2"), 2, "give one"),
        (("--commit", "--branch", "b"), 2, "give one"),
        (("--run-hooks",), 2, "--run-hooks is for --commit or --branch"),
        (("--branch", "main"), 2, "there is such a branch already"),
        (("--branch", "main/b"), 2, "the branch main is in the way"),
        (("--branch", "a..b"), 2, "no name for a branch"),
        (("--branch", "@{-1}"), 2, "no name for a branch"),
        (("--branch=-x",), 2, "no name for a branch"),
    ],
)
def test_what_cannot_go_well_is_refused_at_once(
    repo: Path, glm: Run, words: tuple[str, ...], code: int, says: str
) -> None:
    git(repo, "checkout", "-q", "-b", "before")
    git(repo, "checkout", "-q", "main")
    refused(glm, "fix", "Add.", *HERE, *words, code=code, says=says)


@pytest.mark.slow
def test_a_dry_run_that_would_keep_nothing_is_refused(glm: Run, tmp_path: Path) -> None:
    ran = play(glm, "--dry-run", "--ephemeral", turns=())
    assert (ran.code, "--patch FILE" in ran.result["errors"][0]) == (2, True)
    ran = play(glm, "--dry-run", "--ephemeral", "--patch", str(tmp_path / "p"))
    assert (ran.code, (tmp_path / "p").read_text()[:10]) == (0, "diff --git")


@pytest.mark.slow
def test_a_commit_needs_a_branch_and_a_name(repo: Path, glm: Run, home: Path) -> None:
    git(repo, "checkout", "-q", "--detach")
    refused(glm, "fix", "Add.", *HERE, "--commit", code=45, says="use --branch NAME")
    ran = play(glm, "--branch", "b")
    assert ran.code == 0
    git(repo, "checkout", "-q", "main")
    (home / ".gitconfig").unlink()
    refused(glm, "fix", "Add.", *HERE, "--commit", code=2, says="git does not know who commits")
    git(repo, "config", "user.name", "Local")
    git(repo, "config", "user.email", "local@example")
    git(repo, "checkout", "-q", "calc.py")
    assert play(glm, "--commit").code == 0
    assert git(repo, "show", "-s", "--format=%an %ce") == "Local local@example\n"


@pytest.mark.slow
def test_nothing_of_a_copy_is_left(repo: Path, tmp_path: Path) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    (repo / ".git/info/exclude").write_text("kept/\n")
    (repo / "kept").mkdir()
    (repo / "kept/a").touch()
    closed = bash(
        "mkdir -p closed/in; touch closed/in/x; chmod 500 closed/in closed; rm kept/a; mkdir kept/a"
    )
    with Server([closed, FIX, DONE]) as server:
        process = start(repo, "fix", "Add.", "--worktree", *to(server.url), env={"TMPDIR": str(place)})
        assert finish(process).code == 0
    assert list(place.iterdir()) == []
    assert (repo / "kept/a").is_file() and (repo / "closed/in/x").is_file()
