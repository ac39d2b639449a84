"""Where a work tree keeps git's things: looked at before git is called, which a FIFO would stop for ever."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .errors import RepositoryError

# What git opens without a look at what it is.
_FILES = (
    *("HEAD", "index", "config", "config.worktree", "packed-refs", "shallow", "gitdir"),
    *("info/attributes", "info/exclude", "info/grafts", "info/sparse-checkout"),
    *("objects/info/alternates", "objects/info/commit-graph", "objects/pack/multi-pack-index"),
)
_IN_THE_TREE = (".gitattributes", ".gitignore", ".gitmodules")
_ENDLESS = (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK)
_KINDS = (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR)  # of what git can keep
_SHORT = 12  # digits of a commit's id
_LINE = 8192  # bytes of a file that holds a path


class Places(NamedTuple):
    """Where a work tree keeps its things; a linked work tree has its own `folder`, but shares `common`."""

    folder: Path
    common: Path


def find_root(start: Path) -> Path | None:
    """The nearest directory at or above `start` with a `.git`. Raises RepositoryError inside of that."""
    root = next((folder for folder in (start, *start.parents) if os.path.lexists(folder / ".git")), None)
    if root and start.relative_to(root).parts[:1] == (".git",):
        raise RepositoryError(f"{root / '.git'} is git's own; run in {root}")
    return root


def locate(root: Path) -> Places:
    """Where the work tree at `root` keeps its things.

    Raises RepositoryError for what git would wait for, and for a `.git` that leads to a repository which
    does not know this work tree.
    """
    found = _places(root)
    for folder in dict.fromkeys(found):
        for name in _FILES:
            _require_file(folder / name)
    for name in _IN_THE_TREE:
        if _is_endless(root / name):
            raise RepositoryError(
                f"{root / name} is not a regular file, and git would wait for it; remove it"
            )
    return found


def head(root: Path) -> str:
    """What is checked out at `root`, `BRANCH COMMIT` or one of them; "" where that cannot be told."""
    if not os.path.lexists(root / ".git"):
        return ""
    found = _places(root)
    first = _line(found.folder / "HEAD")
    name = first.removeprefix("ref: ")
    if name == first:
        return first[:_SHORT]
    commit = _line(found.folder / name) or _line(found.common / name) or _packed(found.common, name)
    return " ".join(filter(None, (name.removeprefix("refs/heads/"), commit[:_SHORT])))


def obstacle(root: Path, give_up: Callable[[], bool] = lambda: False) -> Path | None:
    """What git would wait for when it opens it, somewhere in the tree at `root` or in git's own folders."""
    todo = [(root, False)]
    if os.path.lexists(root / ".git"):
        todo += [(folder, True) for folder in dict.fromkeys(_places(root))]
    while todo and not give_up():
        folder, is_gits = todo.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:  # git cannot read it either
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                todo.append((path, is_gits or entry.name == ".git"))
            elif (is_gits or entry.name in _IN_THE_TREE) and _is_endless(path):
                return path
    return None


def is_special(place: bytes | Path) -> bool:
    """Whether a FIFO, a socket or a device is there."""
    try:
        return stat.S_IFMT(os.lstat(place).st_mode) not in _KINDS
    except (OSError, ValueError):
        return False


def lenders(found: Places) -> list[Path]:
    """The object stores, somewhere else, that the repository borrows from."""
    try:
        lines = (found.common / "objects/info/alternates").read_bytes().split(b"\n")
    except OSError:
        return []
    objects = found.common / "objects"
    named = [objects / os.fsdecode(line) for line in lines if line and not line.startswith(b"#")]
    return [path for path in named if not _real(path).is_relative_to(_real(found.common))]


def _places(root: Path) -> Places:
    mark = root / ".git"
    kind = stat.S_IFMT(mark.lstat().st_mode)
    if kind == stat.S_IFREG:
        return _led_away(root, mark)
    if kind != stat.S_IFDIR:
        what = "a symbolic link" if kind == stat.S_IFLNK else "neither a directory nor a file"
        raise RepositoryError(f"{mark} is {what}; run in a repository, or a work tree of its own")
    if os.path.lexists(mark / "commondir"):
        raise RepositoryError(f"{mark / 'commondir'} lends another repository's settings; remove it")
    return Places(mark, mark)


def _led_away(root: Path, mark: Path) -> Places:
    """Where a `.git` file leads: a genuine linked work tree, or a submodule of the repository around it."""
    named = _line(mark)
    folder = root / named.removeprefix("gitdir: ")
    if not named.startswith("gitdir: ") or not folder.is_dir():
        raise RepositoryError(f"{mark} does not lead to a repository; repair it (git worktree repair)")
    folder = _real(folder)
    if (common := _shared(folder, mark)) or _is_submodule(root, folder):
        return Places(folder, common or folder)
    raise RepositoryError(
        f"{mark} leads to {folder}, which does not know this work tree; repair it (git worktree repair), "
        f"or move that directory to {mark}"
    )


def _shared(folder: Path, mark: Path) -> Path | None:
    """The repository of the linked work tree whose `.git` is `mark`, if both say so."""
    back, common = _line(folder / "gitdir"), _line(folder / "commondir")
    if not (back and common):
        return None
    place = _real(folder / common)
    is_linked = _real(folder / back) == _real(mark) and _real(folder).parent == place / "worktrees"
    return place if is_linked else None


def _is_submodule(root: Path, folder: Path) -> bool:
    """Whether `folder` is where the repository around `root`, if any, keeps its submodules."""
    for around in root.parents:
        mark = around / ".git"
        if mark.is_dir() and not mark.is_symlink():
            return folder.is_relative_to(_real(mark / "modules"))
        own = around / _line(mark).removeprefix("gitdir: ")
        if mark.is_file() and _shared(own, mark):  # a linked work tree; else a submodule itself
            return folder.is_relative_to(_real(own / "modules"))
    return False


def _packed(folder: Path, name: str) -> str:
    with suppress(OSError):
        for line in (folder / "packed-refs").read_bytes().split(b"\n"):
            commit, _, ref = line.partition(b" ")
            if ref == os.fsencode(name):
                return commit.decode("ascii", "replace")
    return ""


def _require_file(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise RepositoryError(f"{path} cannot be looked at: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise RepositoryError(
            f"{path} is not a regular file; the repository is broken: repair it, or clone anew"
        )


def _is_endless(path: Path) -> bool:
    """Whether `path`, or what it links to, is a FIFO or a device."""
    try:
        return stat.S_IFMT(path.stat().st_mode) in _ENDLESS
    except OSError:
        return False


def _line(path: Path) -> str:
    """The one line of a small file; "" if it cannot be read. Never waits for a FIFO."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        data = os.read(descriptor, _LINE).rstrip(b"\r\n") if is_file else b""
        return "" if b"\0" in data else os.fsdecode(data)
    finally:
        os.close(descriptor)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
