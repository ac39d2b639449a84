"""What is on the disk for good, and whole, before anything relies on it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .failpoints import failpoint


def replace(file: Path, data: bytes, *, lasting: bool = True) -> None:
    """The whole of `file`, at once and its owner's alone; `lasting`: not lost with the power either.

    Raises OSError, with the file as it was.
    """
    fresh = file.with_name(f".{file.name}-{os.urandom(8).hex()}.tmp")
    try:
        failpoint("replace")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
            if lasting:
                out.flush()
                os.fsync(out.fileno())
        failpoint("written")
        fresh.replace(file)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
    failpoint("replaced")
    if lasting:
        sync_folder(file.parent)


def make_folder(folder: Path) -> None:
    """Makes `folder` and those above it that are missing, all of them their owner's alone. Raises OSError."""
    for one in (*[above for above in reversed(folder.parents) if not above.exists()], folder):
        one.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Names in `folder` are on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(descriptor: int) -> None:
    """All that was written to the file system of `descriptor` is on the disk. Raises OSError."""
    import ctypes  # 8 ms

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:  # Linux has it
        os.sync()
        return
    if syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
