"""Which files of a work tree are secrets: what a command that runs in it is not to see either."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from .secrets import Secrets, name_kind

_MOST = 300_000  # entries that are looked at
_READ = 1 << 20  # bytes
# Other people's work, which holds certificates and samples, and nothing of the user's.
_FOREIGN = frozenset({".git", "node_modules", "site-packages", "dist-packages", "__pycache__", "vendor"})


def secret_files(root: Path, secrets: Secrets) -> list[Path]:
    """The files beneath `root` that `secrets` withholds, sorted; links and foreign folders are left alone."""
    found = (
        place
        for path, place in islice(_files(root), _MOST)
        if name_kind(path) != "open" and secrets.withholds(path, lambda place=place: _content(place))
    )
    return sorted(found)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    todo = [""]
    while todo:
        folder = todo.pop()
        try:
            with os.scandir(root / folder) as entries:
                here = list(entries)
        except OSError:  # what cannot be listed cannot be named by a command either
            continue
        for entry in here:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                todo += [path] if entry.name not in _FOREIGN else []
            elif entry.is_file(follow_symlinks=False):
                yield path, root / path


def _content(place: Path) -> bytes:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(fd, "rb") as file:
        return file.read(_READ) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
