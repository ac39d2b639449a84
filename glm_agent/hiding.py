"""Which files of a work tree are secrets: what a command that runs in it is not to see either."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path

from .gitdir import Places
from .secrets import Secrets, mask, name_kind

_MOST = 300_000  # entries that are looked at
_READ = 1 << 20  # bytes
# Other people's work, which holds certificates and samples, and nothing of the user's.
_FOREIGN = frozenset({".git", "node_modules", "site-packages", "dist-packages", "__pycache__"})
_MOST_SETTINGS = 200  # of submodules


def secret_files(root: Path, secrets: Secrets) -> list[Path]:
    """The files beneath `root` that `secrets` withholds, sorted; links and foreign folders are left alone."""
    found = (
        place
        for path, place in islice(_files(root), _MOST)
        if _is_of_interest(path) and secrets.withholds(path, lambda place=place: _content(place))
    )
    return sorted(found)


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
    fresh = copy.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(masked)
    fresh.replace(copy)
    return copy


def _is_of_interest(path: str) -> bool:
    """Below `vendor` keys are other people's, as in the foreign folders."""
    kind = name_kind(path)
    return kind != "open" and not (kind == "key" and "vendor" in path.split("/"))


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
