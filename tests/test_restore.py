from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import git, make_repository
from running import look_at_tree as look

from glm_agent import durable, state
from glm_agent.errors import RepositoryError
from glm_agent.restore import restore
from glm_agent.snapshot import Snapshot
from glm_agent.state import State

FILES = {
    "a.txt": "one\n",
    "run.sh": "#!/bin/sh\n",
    "dir/b.txt": "b\n",
    "dir/deep/c.txt": "c\n",
    ".gitattributes": (
        "*.crlf text eol=crlf\n*.id ident\n*.lfs filter=lfs -text\n*.u16 working-tree-encoding=UTF-16LE\n"
    ),
}
RAW = {
    "win.crlf": b"one\r\ntwo\r\n",
    "mixed.crlf": b"one\r\ntwo\n",
    "v.id": b"$Id: 0123 $\n",
    "big.lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "wide.u16": "wide\n".encode("utf-16-le"),
    "empty": b"",
    "line\nbreak": b"odd\n",
    "caf\udce9": b"latin\n",
    '"quoted"': b"q\r\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "repo")


def make(root: Path) -> Path:
    root.mkdir()
    make_repository(root, FILES)
    for name, content in RAW.items():
        (root / name).write_bytes(content)
    git(root, "add", "win.crlf", "v.id", "wide.u16")
    (root / "run.sh").chmod(0o755)
    (root / "private").write_text("mine")
    (root / "private").chmod(0o600)
    (root / "link").symlink_to("dir/b.txt")
    (root / "dangling").symlink_to("/nowhere")
    (root / "hollow" / "inner").mkdir(parents=True)
    (root / "dir" / "deep").chmod(0o700)
    return root


def take(snapshot: Snapshot) -> State:
    return state.take(snapshot, snapshot.take(), keep=True)


def test_what_git_converts_comes_back_byte_for_byte(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    before, start = look(root), take(snapshot)
    for name in RAW:
        (root / name).write_bytes(RAW[name].replace(b"\r\n", b"\n") + b"more")
    assert restore(snapshot, root, take(snapshot), start) == []
    assert look(root) == before


def test_a_change_that_git_does_not_see_is_taken_back(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    before, start = look(root), take(snapshot)
    (root / "win.crlf").write_bytes(b"one\ntwo\n")
    (root / "private").chmod(0o644)
    (root / "hollow" / "inner").rmdir()
    (root / "new hollow").mkdir()
    now = take(snapshot)
    assert now.tree == start.tree
    assert restore(snapshot, root, now, start) == []
    assert look(root) == before


def test_files_and_directories_change_places(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    before, start = look(root), take(snapshot)
    (root / "a.txt").unlink()
    (root / "a.txt" / "x").mkdir(parents=True)
    (root / "a.txt" / "x" / "y").write_text("y")
    for name in ("deep/c.txt", "b.txt"):
        (root / "dir" / name).unlink()
    (root / "dir" / "deep").rmdir()
    (root / "dir").rmdir()
    (root / "dir").write_text("a file now")
    (root / "link").unlink()
    (root / "link").mkdir()
    (root / "hollow" / "inner").rmdir()
    (root / "hollow").rmdir()
    (root / "hollow").symlink_to("a.txt")
    assert restore(snapshot, root, take(snapshot), start) == []
    assert look(root) == before


@pytest.mark.slow
def test_a_file_that_is_not_as_it_was_seen_stops_all_of_it(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    start = take(snapshot)
    (root / "a.txt").write_text("the run's\n")
    (root / "empty").unlink()
    now = take(snapshot)
    (root / "a.txt").write_text("the user's\n")
    before = look(root)
    with pytest.raises(RepositoryError, match=r"changed meanwhile, so nothing was restored: a\.txt"):
        restore(snapshot, root, now, start)
    assert look(root) == before


def test_what_cannot_be_put_in_its_place_takes_everything_back(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    (root / "z").write_text("last\n")
    start = take(snapshot)
    for name in ("z", "a.txt", "dir/b.txt"):
        (root / name).unlink()
    (root / "run.sh").write_text("other\n")
    (root / "new" / "deep").mkdir(parents=True)
    (root / "new" / "deep" / "file").write_text("n")
    now = take(snapshot)
    (root / "z").mkdir()
    (root / "z" / "users.txt").write_text("in the way\n")
    before = look(root)
    with pytest.raises(RepositoryError, match="nothing was restored: z: there is something else now"):
        restore(snapshot, root, now, start)
    assert look(root) == before


def test_nothing_is_followed_out_of_the_tree(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    start = take(snapshot)
    (root / "dir" / "b.txt").write_text("changed\n")
    now = take(snapshot)
    (root / "dir").rename(tmp_path / "outside")
    (root / "dir").symlink_to(tmp_path / "outside")
    with pytest.raises(RepositoryError, match=r"dir/b\.txt"):
        restore(snapshot, root, now, start)
    assert (tmp_path / "outside" / "b.txt").read_text() == "changed\n"


def test_a_file_in_git_s_own_folder_is_refused(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    start = take(snapshot)
    blob = snapshot.ask("hash-object", "-w", "--stdin", stdin=b"evil").decode().strip()
    inner = keep_tree(snapshot, b"100644 config\0" + bytes.fromhex(blob))
    evil = keep_tree(snapshot, b"40000 .git\0" + bytes.fromhex(inner))
    before = (root / ".git" / "config").read_bytes()
    with pytest.raises(RepositoryError, match="none of the work tree's files"):
        restore(snapshot, root, start, evil, only=[".git/config"])
    assert (root / ".git" / "config").read_bytes() == before


def keep_tree(snapshot: Snapshot, content: bytes) -> str:
    return (
        snapshot.ask("hash-object", "-w", "--literally", "-t", "tree", "--stdin", stdin=content)
        .decode()
        .strip()
    )


@pytest.mark.slow
def test_only_some_paths_are_restored(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    start = take(snapshot)
    (root / "a.txt").write_text("the run's\n")
    (root / "run.sh").write_text("the user's\n")
    now = take(snapshot)
    before = look(root)
    restore(snapshot, root, now, start, only=["a.txt"])
    assert look(root) == {**before, "a.txt": (before["a.txt"][0], b"one\n")}


@pytest.mark.slow
def test_trees_alone_keep_the_bits_of_what_is_there(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    start = snapshot.take()
    before = look(root)
    (root / "private").write_text("changed")
    (root / "run.sh").chmod(0o644)
    (root / "a.txt").unlink()
    restore(snapshot, root, snapshot.take(), start)
    assert look(root) == before


@pytest.mark.slow
def test_a_repository_of_sha_256_is_restored_too(tmp_path: Path) -> None:
    (root := tmp_path / "repo").mkdir()
    git(root, "init", "--quiet", "--object-format=sha256")
    (root / "a.txt").write_text("one\n")
    snapshot = Snapshot(root, tmp_path / "session")
    before, start = look(root), take(snapshot)
    (root / "a.txt").write_text("two\n")
    assert restore(snapshot, root, take(snapshot), start) == []
    assert (look(root), len(start.files)) == (before, 64)


@pytest.mark.slow
@pytest.mark.parametrize("value", ["true", "input"])
def test_line_ends_come_back_where_only_the_configuration_converts(tmp_path: Path, value: str) -> None:
    (root := tmp_path / "repo").mkdir()
    make_repository(root, {"a.txt": "one\r\n"})
    git(root, "config", "core.autocrlf", value)
    snapshot = Snapshot(root, tmp_path / "session")
    (root / "b.txt").write_bytes(b"two\r\n")
    before, start = look(root), take(snapshot)
    for name in ("a.txt", "b.txt"):
        (root / name).write_bytes(b"one\n")
    assert restore(snapshot, root, take(snapshot), start) == []
    assert look(root) == before


def make_large(path: Path, byte: bytes) -> None:
    with path.open("wb") as file:
        file.write(byte)
        file.truncate(40 * 1024 * 1024)


@pytest.mark.slow
def test_a_large_file_comes_back_unless_it_was_written_over_in_place(root: Path, tmp_path: Path) -> None:
    snapshot = Snapshot(root, tmp_path / "session")
    (root / "data").mkdir()
    for name in ("data/gone", "replaced", "same", "data/over"):
        make_large(root / name, b"1")
    before, start = look(root), take(snapshot)
    (root / "data" / "gone").unlink()
    (root / "replaced").unlink()
    make_large(root / "replaced", b"2")
    make_large(root / "data/new", b"3")
    after, end = look(root), take(snapshot)
    assert restore(snapshot, root, end, start) == []
    assert look(root) == before
    assert restore(snapshot, root, take(snapshot), end) == []
    assert look(root) == after
    with (root / "same").open("r+b") as file:
        file.write(b"over")
    problems = restore(snapshot, root, take(snapshot), start)
    assert problems in ([], ["same was too large to be kept whole, and stays as it is"])
    expected = before if not problems else {**before, "same": look(root)["same"]}
    assert look(root) == expected


NAMES = st.sampled_from(
    ["a.txt", "dir", "dir/b.txt", "dir/deep", "dir/deep/c.txt", "win.crlf", "new", "new/x", "link"]
)
ACTIONS = st.lists(
    st.tuples(NAMES, st.sampled_from(["file", "crlf", "run", "link", "folder", "remove", "private"])),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
@pytest.mark.slow
def test_any_changes_are_taken_back_and_made_again(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str]]
) -> None:
    place = tmp_path_factory.mktemp("any")
    root = make(place / "repo")
    snapshot = Snapshot(root, place / "session")
    before, start = look(root), take(snapshot)
    for name, kind in actions:
        act(root / name, kind)
    after, end = look(root), take(snapshot)
    assert restore(snapshot, root, end, start) == []
    assert look(root) == before
    assert restore(snapshot, root, take(snapshot), end) == []
    assert look(root) == after


def act(path: Path, kind: str) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
    if kind == "remove" or any(above.is_symlink() for above in path.parents):
        return
    for above in path.parents:
        if above.is_file():
            above.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("a.txt")
    else:
        path.write_bytes(b"x\r\n" if kind == "crlf" else b"x\n")
        path.chmod({"run": 0o755, "private": 0o600}.get(kind, 0o644))


@pytest.mark.slow
def test_many_files_are_restored_at_once(root: Path, tmp_path: Path) -> None:
    for number in range(250):
        (root / f"many-{number}").write_text(f"{number}\n")
    snapshot = Snapshot(root, tmp_path / "session")
    before, start = look(root), take(snapshot)
    for number in range(250):
        (root / f"many-{number}").write_text("changed\n")
    assert restore(snapshot, root, take(snapshot), start) == []
    assert look(root) == before


def test_all_of_a_file_system_is_brought_to_its_disk_or_an_error(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    durable.sync_all(descriptor)
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        durable.sync_all(descriptor)
