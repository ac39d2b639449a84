from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from running import git as theirs

from glm_agent import git
from glm_agent.errors import RepositoryError

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
    (repo / "big.txt").write_text("x" * 50_000_000)
    began = time.monotonic()
    with pytest.raises(git.GitError, match=r"did not answer within 0 s: -C .*/repo hash-object big\.txt"):
        git.run(repo, "hash-object", "big.txt", timeout=0.01)
    assert time.monotonic() - began < 1


@pytest.mark.slow
def test_what_git_waits_for_in_the_tree_is_named(repo: Path) -> None:
    (repo / "sub").mkdir()
    (repo / "sub" / "new.txt").touch()
    os.mkfifo(repo / "sub" / ".gitignore")
    began = time.monotonic()
    with pytest.raises(git.GitError, match=r"sub/\.gitignore is not a regular file, and git waits for it"):
        git.run(repo, "status")
    assert time.monotonic() - began < 3


@pytest.mark.slow
def test_an_included_file_that_git_waits_for_is_named(repo: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wait")
    (repo / "more").write_text(f"[include]\n\tpath = {tmp_path}/wait\n")
    theirs(repo, "config", "include.path", "../more")
    with pytest.raises(git.GitError, match="wait is not a regular file, and git waits for it"):
        git.run(repo, "status")


def test_a_word_that_could_reach_the_network_is_not_said(repo: Path) -> None:
    with pytest.raises(ValueError, match="fetch"):
        git.argv(repo, "-c", "user.name=x", "fetch")


def test_a_driver_that_is_configured_later_runs_no_more_than_one_before(repo: Path, tmp_path: Path) -> None:
    assert git.run(repo, "status", "--porcelain") == b""
    theirs(repo, "config", "filter.x.clean", f"touch '{tmp_path}/fired'; cat")
    (repo / ".gitattributes").write_text("*.py filter=x\n")
    os.utime(repo / "calc.py", (1, 1))
    assert git.run(repo, "status", "--porcelain") == b"?? .gitattributes\n"
    assert not (tmp_path / "fired").exists()


@pytest.mark.parametrize("entry", ["{repo}", "{repo}/bin", "{link}", ".", "", "bin"])
def test_git_is_not_looked_for_in_the_repository(
    entry: str, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "bin").mkdir()
    (tmp_path / "link").symlink_to(repo / "bin")
    for place in (repo, repo / "bin"):
        (place / "git").write_text(f"#!/bin/sh\ntouch '{tmp_path}/fired'\n")
        (place / "git").chmod(0o755)
    monkeypatch.chdir(repo)
    trusted = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{entry.format(repo=repo, link=tmp_path / 'link')}:{trusted}")
    assert git.run(repo, "rev-parse", "--is-inside-work-tree") == b"true\n"
    assert git.environment(repo)["PATH"] == trusted
    assert not (tmp_path / "fired").exists()


@pytest.mark.parametrize("path", ["", ".", "{repo}"])
def test_without_a_git_elsewhere_there_is_none(
    path: str, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "git").write_text("#!/bin/sh\n")
    (repo / "git").chmod(0o755)
    monkeypatch.chdir(repo)
    monkeypatch.setenv("PATH", path.format(repo=repo))
    with pytest.raises(RepositoryError, match="git was not found on PATH; install git"):
        git.run(repo, "status")


@pytest.mark.parametrize("count", [3, 5000])
def test_any_number_of_drivers_is_overridden_or_refused(count: int, repo: Path, tmp_path: Path) -> None:
    sections = "".join(f'[filter "d{n}"]\n\tclean = touch {tmp_path}/fired\n' for n in range(count))
    (repo / ".gitattributes").write_text(f"*.py filter=d{count - 1}\n")
    with (repo / ".git/config").open("a") as config:
        config.write(sections)
    os.utime(repo / "calc.py", (1, 1))
    if count > 4000:
        with pytest.raises(RepositoryError, match="more than 4000"):
            git.run(repo, "status")
    else:
        git.run(repo, "status")
    assert not (tmp_path / "fired").exists()


def test_a_driver_whose_name_is_too_long_for_an_environment_is_refused(repo: Path) -> None:
    with (repo / ".git/config").open("a") as config:
        config.write(f'[filter "{"x" * 300_000}"]\n\tclean = false\n')
    with pytest.raises(RepositoryError, match="git cannot be started: Argument list too long"):
        git.run(repo, "status")


@pytest.mark.slow
def test_a_call_through_the_door_costs_little_more_than_the_start_of_a_git(repo: Path) -> None:
    """The least of many interleaved calls: what else the machine does is none of our costs."""
    binary = git.argv(repo)[0]
    words = [binary, "-C", str(repo), "rev-parse", "HEAD"]
    plain, door, scan = list[float](), list[float](), list[float]()
    for _ in range(100):
        plain.append(_milliseconds(lambda: subprocess.run(words, capture_output=True, check=True)))
        door.append(_milliseconds(lambda: git.run(repo, "rev-parse", "HEAD")))
        os.utime(repo / ".git/config")
        scan.append(_milliseconds(lambda: git.environment(repo)))
    costs = [min(times) for times in (plain, door, scan)]
    sys.stdout.write("plain {:.2f} ms, through the door {:.2f} ms, a scan {:.2f} ms\n".format(*costs))
    assert max(costs[1], costs[2]) <= 2.5 * costs[0], costs


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
