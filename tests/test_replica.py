from __future__ import annotations

import os
from pathlib import Path

import pytest
from running import git, make_repository

from glm_agent import git as door
from glm_agent.replica import Replica, discard
from glm_agent.snapshot import Snapshot

ODD = os.fsdecode(b"caf\xe9 \n.txt")


def files(root: Path) -> dict[str, tuple[int, int, bytes | str]]:
    """Mode, time and content of all that is no folder, `.git` aside."""
    found: dict[str, tuple[int, int, bytes | str]] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if ".git" in path.relative_to(root).parts or (path.is_dir() and not path.is_symlink()):
            continue
        status = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes()
        found[name] = (status.st_mode, status.st_mtime_ns, content)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """With all kinds of files, and line ends that git would change on their way out."""
    root = make_repository(
        tmp_path / "root", {"a.txt": "a\n", "b/c.txt": "c\n", ".gitattributes": "* text=auto eol=crlf\n"}
    )
    (root / "a.txt").write_bytes(b"one\r\ntwo\n")
    git(root, "add", "a.txt")
    (root / "b/c.txt").chmod(0o755)
    (root / ODD).write_bytes(b"\xff\0")
    (root / "link").symlink_to("b")
    (root / "dangling").symlink_to("/nowhere")
    (root / "empty").mkdir()
    (root / ".git/info/exclude").write_text("ignored/\n*.so\n__pycache__/\n")
    for name in ("ignored/x", "b/e.so", "b/__pycache__/c.pyc", "b/ignored/y"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    return root


def test_a_copy_is_the_same_byte_for_byte_and_git_sees_the_same(root: Path, tmp_path: Path) -> None:
    index = (root / ".git/index").read_bytes()
    replica = Replica(root, tmp_path / "home", again=True)
    layered = {"ignored/x", "b/ignored/y", "b/__pycache__/c.pyc"}
    expected = {name: found for name, found in files(root).items() if name not in layered}
    assert files(replica.tree) == expected
    assert [layer.place for layer in replica.private().layers] == ["b/ignored", "ignored"]
    assert (replica.tree / "empty").is_dir() and (replica.tree / "ignored").is_dir()
    own = Snapshot(replica.tree, tmp_path / "own")
    assert (own.take(), own.problems) == (replica.start_tree, [])
    listed = door.run(replica.tree, "ls-files", "-z", "--others", "--exclude-standard")
    assert listed == b""
    (replica.tree / "a.txt").write_text("spoilt")
    assert replica.renew("one") == tmp_path / "home/one/tree"
    assert files(replica.tree) == expected
    assert (root / ".git/index").read_bytes() == index
    discard(tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_a_sparse_checkout_stays_sparse(root: Path, tmp_path: Path) -> None:
    git(root, "commit", "-qam", "x")
    git(root, "sparse-checkout", "set", "--no-cone", "/a.txt", "/.gitattributes")
    assert not (root / "b/c.txt").exists()
    replica = Replica(root, tmp_path / "home")
    own = Snapshot(replica.tree, tmp_path / "own")
    before = own.take()
    assert before == replica.start_tree
    (replica.tree / "a.txt").unlink()
    assert [row["path"] for row in own.changes(before, own.take())] == ["a.txt"]


@pytest.mark.slow
def test_submodules_and_inner_repositories_are_layers(root: Path, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other", {"o.txt": "o\n"})
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    make_repository(root / "inner", {"i.txt": "i\n"})
    replica = Replica(root, tmp_path / "home")
    assert {"sub", "inner"} <= {layer.place for layer in replica.private().layers}
    own = Snapshot(replica.tree, tmp_path / "own")
    assert own.take() == replica.start_tree


@pytest.mark.slow
def test_what_cannot_be_laid_over_is_copied_as_far_as_it_is_small(root: Path, tmp_path: Path) -> None:
    for name in ("big.so", "ignored/big"):
        (root / name).touch()
        os.truncate(root / name, 600 << 20)
    replica = Replica(root, tmp_path / "home", layered=False)
    assert replica.private().layers == ()
    assert (replica.tree / "b/ignored/y").read_text() == "b/ignored/y"
    assert (replica.tree / "b/e.so").read_text() == "b/e.so"
    assert not (replica.tree / "ignored/x").exists()
    assert replica.notices == [
        "big.so: too large for a copy of what git ignores: left out",
        "ignored: too large for a copy, and no overlay can be had: left out",
    ]
