from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glm_agent import git as door
from glm_agent.errors import RepositoryError
from glm_agent.snapshot import Snapshot


def git(folder: Path, *args: str, stdin: bytes = b"") -> bytes:
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "init.defaultBranch=main")
    argv = ["git", *identity, "-c", "gc.auto=0", "-c", "protocol.file.allow=always", *args]
    return subprocess.run(argv, cwd=folder, input=stdin, capture_output=True, check=True).stdout


def commit(folder: Path, files: dict[str, str | bytes]) -> None:
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x", "--allow-empty")


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its content and mode."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = f"{hashlib.sha256(content).hexdigest()} {path.lstat().st_mode:o}"
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, {"a.py": "one\ntwo\nthree\n", "dir/b.txt": "b\n" * 20, ".gitignore": "*.log\n"})
    return folder


@pytest.fixture
def snapshot(root: Path, tmp_path: Path) -> Snapshot:
    return Snapshot(root, tmp_path / "session")


def test_every_kind_of_change_is_listed_and_shown(root: Path, snapshot: Snapshot) -> None:
    write(root, {"gone.py": "1\n2\n", "mine.txt": "untracked, from before\n"})
    before = snapshot.take()
    (root / "gone.py").unlink()
    (root / "dir" / "b.txt").rename(root / "dir" / "c.txt")
    (root / "a.py").chmod(0o755)
    write(root, {"a.py": "one\nTWO\nthree\nfour\n", "new.py": "n\n", "bin": b"\0\1\2", "x.log": "ignored"})
    after = snapshot.take()
    assert snapshot.changes(before, after) == [
        {"path": "a.py", "kind": "update", "added": 2, "removed": 1},
        {"path": "bin", "kind": "create", "added": None, "removed": None},
        {"path": "dir/c.txt", "kind": "rename", "added": 0, "removed": 0, "from": "dir/b.txt"},
        {"path": "gone.py", "kind": "delete", "added": 0, "removed": 2},
        {"path": "new.py", "kind": "create", "added": 1, "removed": 0},
    ]
    assert b"-two\n+TWO\n three\n+four\n" in snapshot.diff(before, after)
    assert snapshot.problems == []


def test_nothing_changed_is_the_same_tree_and_an_empty_diff(root: Path, snapshot: Snapshot) -> None:
    before = snapshot.take()
    (root / "a.py").touch()
    after = snapshot.take()
    assert (before, snapshot.diff(before, after), snapshot.changes(before, after)) == (after, b"", [])


def test_the_diff_applies_to_what_was_there_before(root: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    before = snapshot.take()
    git(root, "worktree", "add", "-q", str(tmp_path / "other"))
    write(root, {"a.py": "no line break at the end", "b\tü\n.bin": bytes(range(256)), "latin": b"\xe9\r\n"})
    (root / "link").symlink_to("a.py")
    (root / "dir" / "b.txt").unlink()
    after = snapshot.take()
    git(tmp_path / "other", "apply", "--binary", "-", stdin=snapshot.diff(before, after))
    assert Snapshot(tmp_path / "other", tmp_path / "session-2").take() == after


def test_the_diff_of_a_real_fix_is_the_expected_one(tmp_path: Path) -> None:
    case = Path(__file__).parent / "real" / "marshmallow-1867"
    root = tmp_path / "repo"
    root.mkdir()
    subprocess.run(["tar", "xzf", str(case / "repo.tar.gz"), "-C", str(root)], check=True)
    git(root, "init", "-q")
    commit(root, {})
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    expected = (case / "expected.patch").read_bytes()
    git(root, "apply", "-", stdin=expected)
    header = b"diff --git a/src/marshmallow/fields.py b/src/marshmallow/fields.py\nindex "
    diff = snapshot.diff(before, snapshot.take())
    assert diff.startswith(header)
    assert diff[diff.index(b"--- ") :] == expected


def test_the_user_s_git_folder_is_never_written(root: Path, tmp_path: Path) -> None:
    write(root, {"staged.py": "s\n", "a.py": "changed\n"})
    git(root, "add", "staged.py")
    git(root, "update-index", "--split-index")
    earlier = fingerprint(root / ".git")
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    write(root, {"a.py": "again\n", "new": "n\n"})
    snapshot.diff(before, snapshot.take())
    assert fingerprint(root / ".git") == earlier


def test_a_repository_without_commits_works(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q")
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    write(root, {"first.py": "1\n"})
    rows = [{"path": "first.py", "kind": "create", "added": 1, "removed": 0}]
    assert snapshot.changes(before, snapshot.take()) == rows
    assert not (root / ".git" / "index").exists()


def test_in_a_linked_work_tree_its_own_index_counts(root: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(root, "worktree", "add", "-q", str(linked))
    earlier = fingerprint(root / ".git")
    snapshot = Snapshot(linked, tmp_path / "session")
    before = snapshot.take()
    assert before == git(root, "rev-parse", "HEAD^{tree}").decode().strip()
    write(linked, {"a.py": "x\n"})
    rows = [{"path": "a.py", "kind": "update", "added": 1, "removed": 3}]
    assert snapshot.changes(before, snapshot.take()) == rows
    assert fingerprint(root / ".git") == earlier


def test_by_products_are_no_change_unless_tracked(root: Path, tmp_path: Path) -> None:
    commit(root, {"node_modules/kept.js": "tracked\n"})
    (root / ".git" / "info" / "exclude").write_text("private.txt")  # without a line break at its end
    (root / "inner").mkdir()
    git(root / "inner", "init", "-q")
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    write(
        root, {"pkg/__pycache__/a.pyc": "x", ".pytest_cache/v": "x", "node_modules/x.js": "x", "z.pyc": "x"}
    )
    write(root, {".venv/bin/python": "x", "private.txt": "x", ".a.swp": "x"})
    assert snapshot.take() == before
    write(root, {"node_modules/kept.js": "changed\n"})
    rows = [{"path": "node_modules/kept.js", "kind": "update", "added": 1, "removed": 1}]
    assert snapshot.changes(before, snapshot.take()) == rows


def test_changes_that_the_index_was_told_to_hide_are_seen(root: Path, tmp_path: Path) -> None:
    git(root, "update-index", "--assume-unchanged", "a.py")
    git(root, "update-index", "--skip-worktree", "dir/b.txt")
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    write(root, {"a.py": "x\n", "dir/b.txt": "y\n"})
    assert [row["path"] for row in snapshot.changes(before, snapshot.take())] == ["a.py", "dir/b.txt"]


def test_files_left_out_by_a_sparse_checkout_are_not_deletions(root: Path, tmp_path: Path) -> None:
    commit(root, {"far/away.py": "1\n"})
    git(root, "sparse-checkout", "set", "dir")
    assert not (root / "far").exists()
    snapshot = Snapshot(root, tmp_path / "session")
    assert snapshot.take() == git(root, "rev-parse", "HEAD^{tree}").decode().strip()


def test_a_file_put_where_a_sparse_checkout_leaves_out_is_a_change(root: Path, tmp_path: Path) -> None:
    git(root, "sparse-checkout", "set", "--no-cone", "/a.py")
    before = Snapshot(root, tmp_path / "session").take()
    for folder in ("session", "session-2"):  # prepared already, and not
        snapshot = Snapshot(root, tmp_path / folder)
        write(root, {"dir/b.txt": "b\n"})
        rows = [{"path": "dir/b.txt", "kind": "update", "added": 0, "removed": 19}]
        assert snapshot.changes(before, snapshot.take()) == rows


def test_a_change_of_the_same_size_within_the_same_moment_is_seen(root: Path, tmp_path: Path) -> None:
    when = time.time_ns()
    write(root, {"a.py": "1\n"})
    os.utime(root / "a.py", ns=(when, when))
    git(root, "add", "a.py")
    os.utime(
        root / ".git" / "index", ns=(when, when)
    )  # the index is as old as the file: git must look inside
    write(root, {"a.py": "2\n"})
    os.utime(root / "a.py", ns=(when, when))
    snapshot = Snapshot(root, tmp_path / "session")
    shown = door.run(root, "cat-file", "-p", f"{snapshot.take()}:a.py", env=objects(tmp_path / "session"))
    assert shown == b"2\n"


def test_the_copied_index_is_as_old_as_the_user_s(root: Path, tmp_path: Path) -> None:
    """git looks into files that are not older than the index: a younger copy would hide a change."""
    os.utime(root / ".git" / "index", (1e9, 1e9))
    Snapshot(root, tmp_path / "session")
    assert (tmp_path / "session" / "git" / "index").stat().st_mtime == 1e9


def objects(folder: Path) -> dict[str, str]:
    return {"GIT_OBJECT_DIRECTORY": str(folder / "objects")}


@pytest.mark.parametrize("name", ["inner", "in ner[1]*?\\!#", "with\nline", " \udcff"])
def test_repositories_inside_are_left_out_and_named(name: str, root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    for folder in (root / name, root / "dir" / name):
        folder.mkdir()
        git(folder, "init", "-q")
        write(folder, {"f": "f\n"})
    commit(root / name, {})
    after = snapshot.take()
    said = [f"{path} is a repository of its own: left out" for path in (name, f"dir/{name}")]
    assert sorted(snapshot.problems) == sorted(said)
    assert after == before
    write(root, {"ok.py": "1\n"})
    assert [row["path"] for row in snapshot.changes(before, snapshot.take())] == ["ok.py"]


def test_submodules_are_not_looked_into(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    git(source, "init", "-q")
    commit(source, {"s.py": "1\n"})
    git(root, "submodule", "--quiet", "add", str(source), "sub")
    commit(root, {})
    trap = tmp_path / "fired"
    write(root, {"sub/.gitattributes": "* filter=t\n"})
    git(root / "sub", "config", "filter.t.clean", f"touch '{trap}'; cat")
    git(root / "sub", "config", "core.fsmonitor", f"touch '{trap}'")
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    assert snapshot.problems == []
    write(root, {"sub/s.py": "2\n"})
    assert snapshot.take() == before
    assert not trap.exists()


def test_nothing_that_the_repository_configures_runs(root: Path, tmp_path: Path) -> None:
    trap = f"touch '{tmp_path}/fired'; cat"
    for key in ("filter.t.clean", "filter.t.smudge", "filter.t.process", "diff.t.textconv", "diff.t.command"):
        git(root, "config", key, trap)
    for key in ("diff.external", "core.fsmonitor"):
        git(root, "config", key, trap)
    (root / ".git" / "hooks").mkdir(exist_ok=True)
    hook = root / ".git" / "hooks" / "post-index-change"
    hook.write_text(f"#!/bin/sh\n{trap}\n")
    hook.chmod(0o755)
    git(root, "config", "filter.t.required", "true")
    write(root, {".gitattributes": "* filter=t diff=t\n"})
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    write(root, {"a.py": "changed\n"})
    after = snapshot.take()
    assert b"+changed\n" in snapshot.diff(before, after)
    assert [row["path"] for row in snapshot.changes(before, after)] == ["a.py"]
    assert not (tmp_path / "fired").exists()
    subprocess.run(["git", "add", "-A"], cwd=root, capture_output=True, check=False)
    assert (tmp_path / "fired").exists()  # the trap works


def test_one_changed_line_of_a_file_with_windows_line_ends_is_one_line(root: Path, tmp_path: Path) -> None:
    commit(root, {".gitattributes": "*.bat text eol=crlf\n", "run.bat": "one\ntwo\n"})
    (root / "run.bat").unlink()
    git(root, "checkout", "run.bat")
    assert (root / "run.bat").read_bytes() == b"one\r\ntwo\r\n"
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    write(root, {"run.bat": "one\r\n2\r\n"})
    rows = [{"path": "run.bat", "kind": "update", "added": 1, "removed": 1}]
    assert snapshot.changes(before, snapshot.take()) == rows


def test_odd_names_come_through(root: Path, snapshot: Snapshot) -> None:
    before = snapshot.take()
    names = ["-rf", ":(top)x", 'q"uote', "sp ace", "tab\there", "ü", "\udcff\udcfe", "\u2028"]
    write(root, dict.fromkeys(names, "1\n"))
    assert [row["path"] for row in snapshot.changes(before, snapshot.take())] == sorted(names)


def test_a_path_with_separators_of_lists_works(tmp_path: Path) -> None:
    root = tmp_path / 'a:b "c'
    root.mkdir()
    git(root, "init", "-q")
    write(root, {"f": "1\n"})
    os.utime(root / "f", (1e9, 1e9))  # old: so that its blob is only in the user's store
    commit(root, {})
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    write(root, {"f": "2\n"})
    assert b"-1\n+2\n" in snapshot.diff(before, snapshot.take())


def test_an_existing_folder_is_taken_up_again(root: Path, tmp_path: Path) -> None:
    before = Snapshot(root, tmp_path / "session").take()
    write(root, {"a.py": "x\n"})
    (tmp_path / "session" / "git" / "index.lock").touch()  # of a git that was killed
    snapshot = Snapshot(root, tmp_path / "session")
    assert [row["path"] for row in snapshot.changes(before, snapshot.take())] == ["a.py"]


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_taken(root: Path, snapshot: Snapshot) -> None:
    before = snapshot.take()
    write(root, {"secret": "x", "z.py": "1\n"})
    (root / "secret").chmod(0)
    if os.access(root / "secret", os.R_OK):
        pytest.skip("this user can read everything")
    after = snapshot.take()
    assert [row["path"] for row in snapshot.changes(before, after)] == ["z.py"]
    assert "secret" in snapshot.problems[0]


def test_what_is_ignored_is_judged_by_the_first_rules(root: Path, snapshot: Snapshot) -> None:
    write(root, {"old.log": "ignored\n", "dir/.gitignore": "/x/\n!kept.log\n", "dir/x/y": "ignored\n"})
    before = snapshot.take()
    write(root, {".gitignore": "*.txt\n", "dir/.gitignore": "*\n", "new/.gitignore": "*\n"})
    write(
        root, {"new.txt": "1\n", "dir/sub/new.py": "2\n", "dir/kept.log": "3\n", "dir/x/z": "", "z.pyc": ""}
    )
    write(root, {"in\tner/f": "", "new/mine": ""})
    git(root / "in\tner", "init", "-q")
    expected = [".gitignore", "dir/.gitignore", "dir/kept.log", "dir/sub/new.py", "new.txt"]
    for _ in range(2):
        assert [row["path"] for row in snapshot.changes(before, snapshot.take())] == expected


def test_what_is_no_longer_ignored_was_there_before(root: Path, snapshot: Snapshot) -> None:
    write(root, {"old.log": "from before\n", "named.log": "from before\n"})
    before = snapshot.take()
    (root / ".gitignore").unlink()
    write(root, {"named.log": "changed\n"})
    after = snapshot.take(["named.log"])
    assert [row["path"] for row in snapshot.changes(before, after)] == [".gitignore", "named.log"]


def test_named_paths_count_whatever_they_are(root: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    (root / "link").symlink_to(tmp_path)
    (root / "inner").mkdir()
    git(root / "inner", "init", "-q")
    before = snapshot.take()
    write(root, {"x.log": "1\n", "-z.log": "2\n", "inner/f": "3\n"})
    (tmp_path / "outside").touch()
    named = ["x.log", "-z.log", "inner/f", "gone", "a.py/x", "dir", "link/outside", "a.py"]
    after = snapshot.take(named)
    assert [row["path"] for row in snapshot.changes(before, after)] == ["-z.log", "x.log"]
    assert snapshot.problems == ["inner/f is in a repository of its own, of which no diff here can tell"]


def test_a_tree_is_completed_only_with_what_was_there(root: Path, snapshot: Snapshot) -> None:
    write(root, {"old.log": "1\n", "changed.log": "1\n"})
    time.sleep(0.02)  # the clock of a file system is coarse
    before = snapshot.take()
    time.sleep(0.02)
    write(root, {"changed.log": "2\n", "new.log": "2\n"})
    names = ["old.log", "changed.log", "new.log", "a.py", "gone"]
    rows = [{"path": "old.log", "kind": "create", "added": 1, "removed": 0}]
    assert snapshot.changes(before, snapshot.complete(before, names)) == rows
    assert snapshot.complete(before, ["a.py"]) == before
    assert "old.log" not in git(root, "ls-files").decode()


def test_what_others_did_is_carried_over_except_where_we_were(root: Path, snapshot: Snapshot) -> None:
    base = snapshot.take()
    write(root, {"a.py": "ours\n", "ours": "1\n"})
    before = snapshot.take()
    write(root, {"a.py": "both\n", "theirs": "1\n"})
    (root / "dir" / "b.txt").unlink()
    carried = snapshot.carry(base, before, snapshot.take())
    assert [(row["path"], row["kind"]) for row in snapshot.changes(base, carried)] == [
        ("dir/b.txt", "delete"),
        ("theirs", "create"),
    ]
    assert snapshot.carry(base, before, before) == base


def test_large_untracked_files_are_left_out_and_named(root: Path, snapshot: Snapshot) -> None:
    before = snapshot.take()
    for name in ("large", "dir/la rge[1]*"):
        (root / name).touch()
        os.truncate(root / name, (32 << 20) + 1)
    write(root, {"small": "1\n"})
    assert [row["path"] for row in snapshot.changes(before, snapshot.take())] == ["small"]
    said = [
        f"{name} has more than 32 MiB and is not tracked: left out" for name in ("dir/la rge[1]*", "large")
    ]
    assert snapshot.problems == said
    os.truncate(root / "large", 1)
    assert [row["path"] for row in snapshot.changes(before, snapshot.take())] == ["large", "small"]


def test_nothing_half_written_stays(root: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    objects = tmp_path / "session" / "objects"
    write(objects, {"ab/tmp_obj_x": "half", "pack/tmp_pack_x": "half", "tmp_obj_y": "half"})
    snapshot.take()
    assert list(objects.rglob("tmp_*")) == []


def test_an_index_that_is_no_file_is_refused(root: Path, tmp_path: Path) -> None:
    (root / ".git" / "index").unlink()
    os.mkfifo(root / ".git" / "index")
    with pytest.raises(RepositoryError, match="not a regular file"):
        Snapshot(root, tmp_path / "session")


@pytest.mark.slow
def test_a_second_look_at_80_000_files_costs_little_more_than_git_status(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q")
    for number in range(800):
        folder = root / f"d{number // 20}" / f"s{number}"
        folder.mkdir(parents=True)
        for file in range(100):
            (folder / f"f{file}.py").write_text(f"x = {number * 100 + file}\n")
    commit(root, {})
    snapshot = Snapshot(root, tmp_path / "session")
    before = snapshot.take()
    ours = min(timed(snapshot.take) for _ in range(3))
    theirs = min(timed(lambda: git(root, "status", "--porcelain")) for _ in range(3))
    sys.stderr.write(f"take {ours:.3f} s, git status {theirs:.3f} s\n")
    assert snapshot.take() == before
    assert ours < 4 * theirs


def timed(work: object) -> float:
    assert callable(work)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_what_a_killed_git_left_in_the_store_is_taken_away(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    left = tmp_path / "session/objects/tmp_objdir-bulk-fsync-x1"
    (left / "ab").mkdir(parents=True)
    (left / "ab/cd").write_text("half")
    (left.parent / "tmp_obj_x2").write_text("half")
    snapshot.take()
    assert not list(left.parent.glob("tmp_*"))
