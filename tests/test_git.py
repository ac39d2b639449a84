from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from running import git as theirs

from glm_agent import git

DUBIOUS = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}  # git's own switch: as if somebody else owned everything


def ask(root: Path) -> bytes:
    return git.run(root, "rev-parse", "--is-inside-work-tree", env=DUBIOUS)


def trust(home: Path, *values: str) -> None:
    lines = "".join(f'\tdirectory = "{value}"\n' for value in values)
    (home / ".gitconfig").write_text(f"[safe]\n{lines}[alias]\n\tx = !touch fired\n")


def test_a_repository_of_another_user_is_refused_with_the_command_that_helps(repo: Path, home: Path) -> None:
    spaced = repo.rename(repo.with_name("re po"))
    trust(home, str(home), f"{spaced}/sub", f"{spaced}-2/*")
    with pytest.raises(git.GitError) as refused:
        ask(spaced)
    command = f"git config --global --add safe.directory '{spaced}'"
    assert str(refused.value) == f"{spaced} belongs to another user; if you trust what is in it: {command}"
    assert refused.value.subtype == "error_repository"


@pytest.mark.parametrize("value", ["{}", "*", "{}/", "{parent}/*", "~/repo"])
def test_what_the_user_calls_safe_is_read(value: str, repo: Path, home: Path) -> None:
    if value.startswith("~"):
        repo = repo.rename(home / "repo")
    trust(home, value.format(repo, parent=repo.parent))
    assert ask(repo) == b"true\n"
    assert f"safe.directory={repo}" in git.argv(repo)
    assert "safe.directory=*" not in git.argv(repo)


def test_a_later_empty_value_takes_trust_back(repo: Path, home: Path) -> None:
    trust(home, "*", "")
    with pytest.raises(git.GitError, match="another user"):
        ask(repo)


def test_trust_in_the_environment_counts(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COUNT", "1"), ("KEY_0", "safe.directory"), ("VALUE_0", str(repo))):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert ask(repo) == b"true\n"


def test_a_repository_cannot_call_itself_safe(repo: Path) -> None:
    theirs(repo, "config", "safe.directory", "*")
    with pytest.raises(git.GitError, match="another user"):
        ask(repo)


def test_the_real_owner_counts(repo: Path, home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (repo, *repo.rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(git.GitError, match="another user"):
        git.run(repo, "status")
    trust(home, str(repo))
    assert git.run(repo, "status", "--porcelain") == b""


@pytest.mark.parametrize("place", ["default", "xdg", "named"])
def test_the_user_s_own_list_of_ignored_files_is_respected(
    place: str, repo: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"default": home / ".config/git/ignore", "xdg": home / "x/git/ignore", "named": home / "mine"}
    if place == "xdg":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "x"))
    if place == "named":
        (home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/mine\n")
    files[place].parent.mkdir(parents=True, exist_ok=True)
    files[place].write_text("*.mine\n")
    (repo / "a.mine").touch()
    assert git.run(repo, "ls-files", "--others", "--exclude-standard") == b""


def test_a_list_that_is_no_file_is_not_opened(repo: Path, home: Path) -> None:
    (home / ".config/git").mkdir(parents=True)
    os.mkfifo(home / ".config/git/ignore")
    (repo / "a").touch()
    assert git.run(repo, "ls-files", "--others", "--exclude-standard", timeout=5) == b"a\n"


def test_git_that_does_not_answer_is_ended(repo: Path) -> None:
    (repo / ".git/config").unlink()
    os.mkfifo(repo / ".git/config")
    began = time.monotonic()
    with pytest.raises(git.GitError, match="did not answer within 0 s"):
        git.run(repo, "status", timeout=0.1)
    assert time.monotonic() - began < 2
    shutil.rmtree(repo)
