from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from glm_agent import repository
from glm_agent.errors import RepositoryError


def git(folder: Path, *args: str) -> str:
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *args], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_clean_repository_is_accepted_and_described(root: Path) -> None:
    repository.require_repository(root)
    head = git(root, "rev-parse", "HEAD")
    assert repository.describe(root) == {"head": head, "branch": "main", "dirty": False}


@pytest.mark.parametrize("name", ["a.txt", "new.txt"])
def test_changed_and_untracked_files_make_it_dirty(name: str, root: Path) -> None:
    (root / name).write_text("two\n")
    described = repository.describe(root)
    assert described is not None
    assert described["dirty"] is True


def test_without_commits_there_is_a_branch_but_no_head(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    repository.require_repository(tmp_path)
    assert repository.describe(tmp_path) == {"head": None, "branch": "main", "dirty": False}


def test_a_detached_head_has_no_branch(root: Path) -> None:
    git(root, "checkout", "-q", "--detach")
    described = repository.describe(root)
    assert described is not None
    assert described["branch"] is None


def test_a_linked_work_tree_is_a_repository(root: Path, tmp_path: Path) -> None:
    git(root, "worktree", "add", "-q", str(tmp_path / "linked"))
    repository.require_repository(tmp_path / "linked")
    found = repository.places(tmp_path / "linked")
    assert found == (root / ".git" / "worktrees" / "linked", root / ".git")


def test_outside_git_the_way_on_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="git init"):
        repository.require_repository(tmp_path)
    assert repository.describe(tmp_path) is None


def test_a_bare_repository_is_refused(root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(root), "bare")
    with pytest.raises(RepositoryError, match="bare"):
        repository.require_repository(tmp_path / "bare")
    git(root, "config", "core.bare", "true")
    with pytest.raises(RepositoryError, match=r"core\.bare"):
        repository.require_repository(root)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MERGE_HEAD", "merge"),
        ("rebase-merge/", "rebase"),
        ("rebase-apply/", "rebase"),
        ("CHERRY_PICK_HEAD", "cherry-pick"),
        ("REVERT_HEAD", "revert"),
    ],
)
def test_a_half_done_operation_is_refused(name: str, said: str, root: Path) -> None:
    path = root / ".git" / name
    if name.endswith("/"):
        path.mkdir()
    else:
        path.write_text(git(root, "rev-parse", "HEAD") + "\n")
    with pytest.raises(RepositoryError, match=f"in the middle of a {said}"):
        repository.require_repository(root)


def test_a_real_merge_conflict_is_refused(root: Path) -> None:
    git(root, "checkout", "-qb", "other")
    (root / "a.txt").write_text("other\n")
    git(root, "commit", "-qam", "other")
    git(root, "checkout", "-q", "main")
    (root / "a.txt").write_text("main\n")
    git(root, "commit", "-qam", "main")
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "merge", "other")
    with pytest.raises(RepositoryError, match="in the middle of a merge"):
        repository.require_repository(root)


def test_each_linked_work_tree_has_its_own_half_done_operation(root: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(root, "worktree", "add", "-q", str(linked))
    (root / ".git" / "worktrees" / "linked" / "MERGE_HEAD").write_text(git(root, "rev-parse", "HEAD") + "\n")
    repository.require_repository(root)
    with pytest.raises(RepositoryError, match="in the middle of a merge"):
        repository.require_repository(linked)


@pytest.mark.parametrize("content", ["gitdir: /nowhere\n", "garbage\n", "gitdir: .git\n", "gitdir: a\0b", ""])
def test_a_broken_git_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / ".git").write_text(content)
    with pytest.raises(RepositoryError, match=r"\.git does not lead to a repository; repair it"):
        repository.require_repository(tmp_path)


def test_an_empty_git_folder_is_broken_not_absent(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(RepositoryError, match="cannot read the repository"):
        repository.require_repository(tmp_path)


def test_a_repository_that_points_elsewhere_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    git(root, "config", "core.worktree", str(tmp_path / "elsewhere"))
    with pytest.raises(RepositoryError, match="points to another work tree"):
        repository.require_repository(root)


def test_a_submodule_is_a_repository(root: Path, tmp_path: Path) -> None:
    around = tmp_path / "around"
    around.mkdir()
    git(around, "init", "-q")
    git(around, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(root), "in/sub")
    repository.require_repository(around / "in" / "sub")
    found = repository.places(around / "in" / "sub")
    assert found == (around / ".git/modules/in/sub", around / ".git/modules/in/sub")


@pytest.mark.slow
def test_a_submodule_of_a_submodule_is_a_repository(root: Path, tmp_path: Path) -> None:
    for name in ("middle", "around"):
        git(tmp_path, "init", "-q", name)
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    git(tmp_path / "middle", *add, str(root), "inner")
    git(tmp_path / "middle", "commit", "-qm", "inner")
    git(tmp_path / "around", *add, str(tmp_path / "middle"), "middle")
    git(tmp_path / "around", "commit", "-qm", "middle")
    linked = tmp_path / "linked"
    git(tmp_path / "around", "worktree", "add", "-q", str(linked))
    for place in (tmp_path / "around", linked):
        git(place, "-c", "protocol.file.allow=always", "submodule", "-q", "update", "--init", "--recursive")
        repository.require_repository(place / "middle" / "inner")


def test_git_files_without_end_lead_nowhere(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(500):
        (folder / ".git").write_text("gitdir: .\n")
        folder /= "a"
        folder.mkdir()
    with pytest.raises(RepositoryError, match="does not know this work tree"):
        repository.require_repository(folder.parent)


def test_a_git_file_must_lead_to_where_it_is_known(root: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(root, "worktree", "add", "-q", str(linked))
    copy = linked.rename(tmp_path / "copy")
    with pytest.raises(RepositoryError, match="does not know this work tree"):
        repository.require_repository(copy)
    git(root, "worktree", "repair", str(copy))
    repository.require_repository(copy)


def test_a_link_for_git_s_folder_is_refused(root: Path, tmp_path: Path) -> None:
    (root / ".git").rename(tmp_path / "elsewhere")
    (root / ".git").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RepositoryError, match=r"\.git is a symbolic link"):
        repository.require_repository(root)


@pytest.mark.parametrize(
    "name",
    [
        *("HEAD", "index", "config", "config.worktree", "packed-refs", "shallow", "info/attributes"),
        *("info/exclude", "info/sparse-checkout", "objects/info/alternates"),
    ],
)
def test_what_git_would_wait_for_is_named_before_git_is_called(name: str, root: Path) -> None:
    (root / ".git" / name).unlink(missing_ok=True)
    os.mkfifo(root / ".git" / name)
    with pytest.raises(RepositoryError, match=f"{name} is not a regular file"):
        repository.describe(root)


def test_objects_from_elsewhere_are_told_of(root: Path, tmp_path: Path) -> None:
    assert repository.warnings(root) == []
    git(tmp_path, "clone", "-q", "--shared", str(root), "borrower")
    borrower = tmp_path / "borrower"
    assert repository.warnings(borrower) == [f"{borrower}/.git borrows objects from {root}/.git/objects"]


def test_variables_that_git_is_not_given_are_told_of(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_EDITOR", "vi")
    assert repository.warnings(root) == [f"GIT_DIR in the environment: ignored, the repository is {root}"]


def test_no_configured_program_runs_for_a_description(root: Path, tmp_path: Path) -> None:
    trap = f"touch '{tmp_path}/fired'; cat"
    (root / ".gitattributes").write_text("*.txt filter=tr.ap=x\n")
    for key in ("clean", "smudge", "process"):
        git(root, "config", f"filter.tr.ap=x.{key}", trap)
    git(root, "config", "filter.tr.ap=x.required", "true")
    git(root, "config", "core.fsmonitor", trap)
    (root / "a.txt").write_text("two\n")  # of the same size: git has to look inside
    described = repository.describe(root)
    assert described is not None
    assert described["dirty"] is True
    assert not (tmp_path / "fired").exists()
    subprocess.run(["git", "status"], cwd=root, capture_output=True, check=False)
    assert (tmp_path / "fired").exists()  # the trap works
