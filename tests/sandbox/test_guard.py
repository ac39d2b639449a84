"""What is put right after a command, here without one: the changes are made by the test itself."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from glm_agent import sandbox
from glm_agent.sandbox import Policy, Undone


def contents(root: Path) -> dict[str, str]:
    def what(path: Path) -> str:
        if path.is_symlink():
            return f"-> {path.readlink()}"
        return path.read_text() if path.is_file() else f"folder {path.stat().st_mode:o}"

    return {str(path.relative_to(root)): what(path) for path in sorted(root.rglob("*"))}


@pytest.fixture
def tree(policy: Policy) -> Path:
    for name, text in {
        ".git/config": "[core]\n",
        ".git/objects/ab": "1",
        ".git/hooks/a": "#!\n",
        "f": "f\n",
    }.items():
        (policy.root / name).parent.mkdir(exist_ok=True)
        (policy.root / name).write_text(text)
    (policy.root / ".git/hooks/a").chmod(0o755)
    return policy.root


def test_nothing_recorded_nothing_done(policy: Policy) -> None:
    assert sandbox.restore(policy.store) == []


def test_what_has_not_changed_is_left_alone(tree: Path, policy: Policy) -> None:
    for tier in ("A", "B"):
        sandbox.record(policy, tier)
        (tree / "f").write_text("other\n")
        assert sandbox.restore(policy.store) == []
    assert (tree / "f").read_text() == "other\n"


def test_in_place_every_change_below_git_is_put_back(tree: Path, policy: Policy) -> None:
    before = contents(tree)
    sandbox.record(policy, "B")
    (tree / ".git/config").write_text("[core]\n\tfsmonitor = evil\n")
    (tree / ".git/HEAD").unlink()
    (tree / ".git/hooks/a").chmod(0o644)
    (tree / ".git/hooks/post-checkout").write_text("evil")
    (tree / ".git/refs").rmdir()
    (tree / ".git/refs").symlink_to("/etc")
    (tree / ".git/objects/info").mkdir()
    (tree / ".git/objects/info/alternates").write_text("/")
    (tree / ".git/objects/cd").write_text("an object")
    undone = {one.path: one.what for one in sandbox.restore(policy.store)}
    assert undone == {
        **{".git/HEAD": "restored", ".git/config": "restored", ".git/hooks/a": "restored"},
        **{".git/refs": "restored", ".git/hooks/post-checkout": "removed"},
        **{".git/objects/info/alternates": "removed"},
    }
    left = {".git/objects/cd": "an object", ".git/objects/info": before[".git"]}
    assert contents(tree) == before | left


def test_a_change_that_keeps_size_and_time_is_seen(tree: Path, policy: Policy) -> None:
    config = tree / ".git/config"
    sandbox.record(policy, "B")
    times = (config.stat().st_atime_ns, config.stat().st_mtime_ns)
    config.write_text("[evil]\n")
    os.utime(config, ns=times)
    assert sandbox.restore(policy.store) == [Undone(".git/config", "restored")]
    assert config.read_text() == "[core]\n"


def test_a_git_folder_that_was_moved_comes_back_with_its_objects(tree: Path, policy: Policy) -> None:
    before = contents(tree)
    sandbox.record(policy, "B")
    (tree / ".git").rename(tree / "elsewhere")
    (tree / ".git").mkdir()
    assert sandbox.restore(policy.store) == [Undone(".git", "restored")]
    assert contents(tree) == before


def test_a_folder_that_leads_elsewhere_now_is_not_followed(
    tree: Path, policy: Policy, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "workflows").mkdir(parents=True)
    (outside / "workflows/own.yml").write_text("own")
    for tier in ("A", "B"):
        sandbox.record(policy, tier)
        (tree / ".github").symlink_to(outside)
        assert sandbox.restore(policy.store) == [Undone(".github", "removed")]
    assert contents(outside) == {"workflows": f"folder {0o40755:o}", "workflows/own.yml": "own"}


def test_what_a_crash_left_is_put_right_once_and_what_is_under_way_is_left_alone(
    tree: Path, policy: Policy
) -> None:
    sandbox.record(policy, "B")
    (tree / ".git/config").write_text("evil")
    (tree / ".envrc").write_text("evil")
    assert sandbox.recover(policy.store) == []
    own = policy.store / f"record-{os.getpid()}.json"
    own.rename(policy.store / "record-99999999.json")
    assert {one.path for one in sandbox.recover(policy.store)} == {".git/config", ".envrc"}
    (tree / ".envrc").write_text("the user's own")
    assert sandbox.recover(policy.store) == sandbox.restore(policy.store) == []


@pytest.mark.slow
def test_what_cannot_be_removed_is_at_least_moved_out_of_the_way(tree: Path, policy: Policy) -> None:
    sandbox.record(policy, "A")
    (tree / ".husky").mkdir()
    folder = os.open(tree / ".husky", os.O_RDONLY)
    for _ in range(1100):  # deeper than a recursion may go
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    assert sandbox.restore(policy.store) == [Undone(".husky", "removed")]
    left = [path for path in tree.iterdir() if path.name.startswith(".removed-")]
    assert ((tree / ".husky").exists(), len(left)) == (False, 1)
    subprocess.run(["rm", "-r", left[0]], check=True)  # pytest's own removal would be as helpless


def test_in_a_new_root_what_the_user_changes_meanwhile_is_his(tree: Path, policy: Policy) -> None:
    sandbox.record(policy, "A")
    (tree / ".git/config").write_text("by the user")
    assert sandbox.restore(policy.store) == []


def test_names_may_be_any_bytes(tree: Path, policy: Policy) -> None:
    odd = os.fsdecode(b".git/hooks/\xff\n")
    (tree / odd).write_text("a")
    sandbox.record(policy, "B")
    (tree / odd).write_text("b")
    assert sandbox.restore(policy.store) == [Undone(odd, "restored")]
    assert (tree / odd).read_text() == "a"


def test_a_tree_that_is_only_read_is_not_copied(tree: Path, policy: Policy) -> None:
    sandbox.record(replace(policy, read_only=True), "B")
    assert [path.name for path in policy.store.iterdir()] == [f"record-{os.getpid()}.json"]
