"""Files too large for a git tree: kept beside it as a second name or a copy that shares their blocks."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

_FICLONE = 0x40049409  # Linux
_MARK = "large "  # begins what stands for the id of such a file


def name_of(status: os.stat_result) -> str:
    """What stands for the blob of a large file: a file that is written to gets another one."""
    return f"{_MARK}{status.st_size} {status.st_mtime_ns}"


def is_large(blob: str) -> bool:
    return blob.startswith(_MARK)


def keep(folder: Path, root: Path, path: str) -> None:
    """Keeps the file at `path` in `folder`, if it can be: not on another file system that has neither."""
    with suppress(OSError):
        status = (root / path).lstat()
        place = _place(folder, path, name_of(status))
        folder.mkdir(mode=0o700, exist_ok=True)
        if stat.S_ISREG(status.st_mode) and not place.exists():
            _double(root / path, place, status)


def find(folder: Path, path: str, blob: str) -> Path | None:
    """Where that content is kept; None if it was written over, by way of the other name."""
    place = _place(folder, path, blob)
    with suppress(OSError):
        if name_of(place.lstat()) == blob:
            return place
    return None


def put(source: Path, target: Path) -> None:
    """Makes `target` of what is kept at `source`. Raises OSError."""
    _double(source, target, source.lstat())


def share(reading: int, writing: int) -> None:
    """Copies a whole file without copying, by descriptors. Raises OSError where the file system cannot."""
    fcntl.ioctl(writing, _FICLONE, reading)


def _place(folder: Path, path: str, blob: str) -> Path:
    return folder / hashlib.sha256(os.fsencode(f"{blob}\n{path}")).hexdigest()[:32]


def _double(source: Path, target: Path, status: os.stat_result) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    with suppress(OSError), source.open("rb") as old, os.fdopen(os.open(target, flags, 0o600), "wb") as new:
        share(old.fileno(), new.fileno())
        os.utime(new.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        return
    target.unlink(missing_ok=True)
    os.link(source, target, follow_symlinks=False)
