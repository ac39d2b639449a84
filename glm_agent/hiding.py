"""What a command that runs in a work tree is not to see of it, and what it is not to change at any depth."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from . import durable
from .gitdir import Places
from .secrets import Secrets, mask, name_kind

_MOST = 1_000_000  # entries that are looked at: some three seconds
_MOST_PLACES = 1000  # that are kept: each is a mount
_READ = 1 << 20  # bytes
# Other people's work, which holds certificates and samples, and nothing of the user's.
_FOREIGN = frozenset({".git", "node_modules", "site-packages", "dist-packages", "__pycache__"})
_MOST_SETTINGS = 200  # of submodules


class Survey(NamedTuple):
    """What of a tree a command is not to see, or not to change. Links and foreign folders are left alone.

    `secrets` are files, by all of their names; `inodes` are device and inode of those with several; `kept`
    are files and folders deeper than the top, relative to the root, each with what was there; `whole` says
    that nothing was left out because there is too much.
    """

    secrets: tuple[Path, ...]
    inodes: frozenset[tuple[int, int]]
    kept: tuple[tuple[str, tuple[int, int]], ...]
    whole: bool

    def is_true_of(self, root: Path) -> bool:
        """Whether what is kept is still where it was."""
        return all(_inode(root / path) == inode for path, inode in self.kept)


def survey(root: Path, secrets: Secrets, is_kept: Callable[[str], bool], most: int = _MOST) -> Survey:
    """One walk over at most `most` entries of the tree at `root`."""
    found: set[Path] = set()
    kept: list[tuple[str, tuple[int, int]]] = []
    number = 0
    for path, is_file in islice(_entries(root, _FOREIGN), most + 1):
        number += 1
        if is_kept(path) and "/" in path and (inode := _inode(root / path)):
            kept.append((path, inode))
        if is_file and _is_of_interest(path) and secrets.withholds(path, partial(_content, root / path)):
            found.add(root / path)
    inodes = frozenset(inode for place in found if (inode := _inode(place, several=True)))
    if inodes:
        found.update(_other_names(root, inodes, most))
    whole = number <= most and len(kept) <= _MOST_PLACES
    return Survey(tuple(sorted(found)), inodes, tuple(kept[:_MOST_PLACES]), whole)


def masked_settings(places: Places, store: Path) -> list[tuple[Path, Path]]:
    """Of git's settings those that hold a password or a token, each with a copy in `store` that does not."""
    found = [places.common / "config", places.folder / "config.worktree"]
    found += islice(places.common.glob("modules/*/config"), _MOST_SETTINGS)
    return [(place, copy) for place in found if (copy := _masked_copy(place, store)) is not None]


def _masked_copy(place: Path, store: Path) -> Path | None:
    content = _content(place)
    masked = os.fsencode(mask(os.fsdecode(content)))
    if masked == content:
        return None
    copy = store / f"settings-{sha256(os.fsencode(place)).hexdigest()[:16]}"
    durable.replace(copy, masked, lasting=False)
    return copy


def _is_of_interest(path: str) -> bool:
    """Below `vendor` keys are other people's, as in the foreign folders."""
    kind = name_kind(path)
    return kind != "open" and not (kind == "key" and "vendor" in path.split("/"))


def _other_names(root: Path, inodes: Collection[tuple[int, int]], most: int) -> Iterator[Path]:
    """Files anywhere in the tree: another name may also lie in a folder that is else not looked into."""
    for path, is_file in islice(_entries(root, frozenset()), most):
        if is_file and _inode(root / path, several=True) in inodes:
            yield root / path


def _entries(root: Path, passed: Collection[str]) -> Iterator[tuple[str, bool]]:
    """Files and folders by path, with whether it is a file; no folder that is called as in `passed`."""
    todo = [""]
    while todo:
        folder = todo.pop()
        try:
            with os.scandir(f"{root}/{folder}") as entries:
                here = list(entries)
        except OSError:  # what cannot be listed cannot be named by a command either
            continue
        for entry in here:
            path = f"{folder}/{entry.name}" if folder else entry.name
            is_file = entry.is_file(follow_symlinks=False)
            if not is_file and not entry.is_dir(follow_symlinks=False):
                continue
            if is_file or entry.name not in passed:
                yield path, is_file
                todo += [] if is_file else [path]


def _inode(place: Path, *, several: bool = False) -> tuple[int, int] | None:
    """Device and inode of what is there, if anything; with `several` only if it has more names than one."""
    try:
        status = place.lstat()
    except OSError:
        return None
    return None if several and status.st_nlink < 2 else (status.st_dev, status.st_ino)


def _content(place: Path) -> bytes:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(fd, "rb") as file:
        return file.read(_READ) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
