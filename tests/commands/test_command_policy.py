"""What a run may change, through the command line: the diff is git's, and a breach is taken back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from running import CHECK, DONE, FIX, RIGHT, Ran, Run, contents, git, to

from glm_agent.replay import Server
from glm_agent.types import Json


def bash(command: str) -> Json:
    return {"tool_calls": [{"name": "bash", "arguments": {"command": command}}]}


def bounded(glm: Run, turns: list[Json], *words: str) -> tuple[Ran, list[Json]]:
    """What came of it, and the bodies that were sent."""
    with Server(turns) as server:
        ran = glm("fix", "Add.", *words, *to(server.url), "--json")
    return ran, [request.body for request in server.requests]


def state(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file but git's own, with its mode."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if not name.startswith(".git/") and (path.is_symlink() or path.is_file()):
            data = bytes(path.readlink()) if path.is_symlink() else path.read_bytes()
            found[name] = (stat.S_IMODE(path.lstat().st_mode), data)
    return found


def breaches(ran: Ran) -> list[tuple[str, str]]:
    return [(breach["rule"], breach["path"]) for breach in ran.result["policy"]]


def test_a_breach_is_12_is_taken_back_and_the_patch_says_what_it_was(
    glm: Run, repo: Path, tmp_path: Path
) -> None:
    (repo / "mine.txt").write_text("untracked\n")
    (repo / "check.py").chmod(0o755)
    (repo / "private.txt").write_text("mine\n")
    (repo / "private.txt").chmod(0o600)
    before = state(repo)
    turns = [
        FIX,
        bash(
            "chmod 644 private.txt; echo x > new.txt; mv check.py moved.py; ln -s calc.py link; rm mine.txt"
        ),
        DONE,
    ]
    words = ("--protect", "check.py", "--only", "*.py", "--patch", str(tmp_path / "p"))
    ran, bodies = bounded(glm, turns, *words)
    result = ran.result
    assert (ran.code, result["subtype"], state(repo)) == (12, "error_policy", before)
    assert breaches(ran) == [
        ("only", "link"),
        ("only", "mine.txt"),
        ("protect", "check.py"),
        ("only", "new.txt"),
    ]
    assert len(result["errors"]) == 4 and all("\n" not in error for error in result["errors"])
    assert (
        result["notices"][-1] == f"the tree was put back; the diff is in {tmp_path / 'p'}; --keep leaves it"
    )
    assert [row["path"] for row in result["changes"]] == [
        "calc.py",
        "link",
        "mine.txt",
        "moved.py",
        "new.txt",
    ]
    told = bodies[0]["messages"][0]["content"]
    assert "- only files that fit *.py may change\n- no file that fits check.py may change" in told
    assert {body["messages"][0]["content"] for body in bodies} == {told}
    git(repo, "apply", "--check", str(tmp_path / "p"))


@pytest.mark.slow
def test_with_keep_the_tree_stays_as_the_run_left_it(glm: Run, repo: Path) -> None:
    ran, _ = bounded(glm, [FIX, DONE], "--max-diff-lines", "1", "--keep")
    assert (ran.code, breaches(ran)) == (12, [("max_diff_lines", None)])
    assert RIGHT in (repo / "calc.py").read_text()
    assert ran.result["errors"] == [
        "beyond --max-diff-lines: 2 lines were added or removed, 1 are allowed",
    ]


@pytest.mark.slow
def test_within_its_bounds_a_run_succeeds(glm: Run, repo: Path) -> None:
    words = ("--only", "calc.py", "--protect", "check.py", "--max-diff-lines", "2", "--verify", CHECK)
    ran, _ = bounded(glm, [FIX, DONE], *words)
    assert (ran.code, ran.result["policy"], ran.result["notices"]) == (0, [], [])
    assert RIGHT in (repo / "calc.py").read_text()


@pytest.mark.slow
def test_new_binary_files_are_allowed_only_where_that_is_said(glm: Run, repo: Path) -> None:
    makes = bash("printf 'a\\0b' > a.bin")
    ran, _ = bounded(glm, [makes, DONE])
    assert (ran.code, breaches(ran), (repo / "a.bin").exists()) == (12, [("binary", "a.bin")], False)
    ran, _ = bounded(glm, [makes, DONE], "--allow-binary")
    assert (ran.code, (repo / "a.bin").exists()) == (0, True)


@pytest.mark.slow
def test_no_attribute_hides_lines_or_makes_a_binary_file_a_text(glm: Run, repo: Path) -> None:
    hide = bash("printf '*.py -diff\\n*.bin text diff\\n' > .gitattributes; printf 'a\\0b' > new.bin")
    ran, _ = bounded(glm, [hide, FIX, DONE], "--max-diff-lines", "3")
    assert (ran.code, breaches(ran)) == (12, [("binary", "new.bin"), ("max_diff_lines", None)])
    assert [(row["path"], row["added"]) for row in ran.result["changes"]] == [
        (".gitattributes", 2),
        ("calc.py", 1),
        ("new.bin", None),
    ]


@pytest.mark.slow
def test_a_cap_goes_before_a_breach_and_then_nothing_is_taken_back(glm: Run, repo: Path) -> None:
    ran, _ = bounded(glm, [FIX, DONE], "--protect", "calc.py", "--max-turns", "1")
    assert (ran.code, breaches(ran)) == (53, [("protect", "calc.py")])
    assert RIGHT in (repo / "calc.py").read_text()


@pytest.mark.slow
def test_a_repository_adds_bounds_and_takes_none_away(glm: Run, repo: Path) -> None:
    (repo / ".glm-agent.toml").write_text('only = ["check.py"]\nprotect = "nothing.py"\n')
    ran, _ = bounded(glm, [FIX, DONE], "--only", "*.py", "--protect", "calc.py")
    assert breaches(ran) == [("only", "calc.py"), ("protect", "calc.py")]


@pytest.mark.slow
def test_a_glob_that_means_nothing_is_said(glm: Run) -> None:
    ran, _ = bounded(glm, [FIX, DONE], "--protect", "test/**", "--only", "calc.py")
    told = [event["text"] for event in ran.events if event.get("subtype") == "notice"]
    assert told == ["--protect test/**: no tracked file fits that"]


@pytest.mark.slow
@pytest.mark.parametrize("word", ["!calc.py", "../x", "/"])
def test_a_glob_that_can_mean_nothing_is_refused(glm: Run, word: str) -> None:
    ran, bodies = bounded(glm, [DONE], "--protect", word)
    assert (ran.code, bodies) == (2, [])


@pytest.mark.slow
def test_what_the_checks_leave_is_listed_and_neither_counted_nor_removed(glm: Run, repo: Path) -> None:
    (repo / "Cargo.toml").write_text("[package]\n")
    git(repo, "add", "Cargo.toml")
    command = "touch $(date +report-%N.xml); mkdir -p target node_modules; touch target/o node_modules/x"
    ran, _ = bounded(glm, [FIX, DONE], "--verify", command, "--only", "calc.py")
    reports = sorted(path.name for path in repo.glob("report-*.xml"))
    assert (ran.code, len(reports)) == (0, 2)
    assert ran.result["verification"]["created"] == reports
    assert [row["path"] for row in ran.result["changes"]] == ["calc.py"]


@pytest.mark.slow
def test_build_folders_count_only_where_nothing_builds_or_something_is_tracked(glm: Run, repo: Path) -> None:
    for name in ("rust/Cargo.toml", "kept/Cargo.toml", "kept/target/data.txt"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text("x\n")
    git(repo, "add", ".")
    folders = "rust kept none"
    made = bash(f"for f in {folders}; do mkdir -p $f/target; echo x > $f/target/new; done")
    ran, _ = bounded(glm, [made, DONE])
    assert [row["path"] for row in ran.result["changes"]] == ["kept/target/new", "none/target/new"]


@pytest.mark.slow
def test_tests_that_lose_something_are_a_notice_and_no_failure(glm: Run, repo: Path) -> None:
    (repo / "tests").mkdir()
    (repo / "tests/test_calc.py").write_text("def test_add():\n    assert add(1, 2) == 3\n")
    git(repo, "add", ".")
    ran, _ = bounded(glm, [bash("sed -i 's/    assert.*/    pass/' tests/test_calc.py"), DONE])
    assert (ran.code, ran.result["policy"]) == (0, [])
    assert ran.result["notices"] == ["tests are weaker: tests/test_calc.py: 1 assertion removed"]


@pytest.mark.slow
@pytest.mark.parametrize("again", ["echo later >> calc.py", "rm calc.py"])
def test_what_the_checks_did_to_a_file_of_the_run_goes_with_it(glm: Run, repo: Path, again: str) -> None:
    before = contents(repo)
    ran, _ = bounded(
        glm, [FIX, DONE], "--protect", "calc.py", "--verify", f"grep -q 'a - b' calc.py || {again}"
    )
    assert ran.code == 12
    assert contents(repo) == before
