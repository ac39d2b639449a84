"""The way down to a file, folder by folder, without following a link on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def descend(root: int, names: Iterable[str], make: Callable[[int, str], object] | None = None) -> int:
    """A descriptor of the folder that `names` lead to, each made first if need be. Raises OSError."""
    here = os.dup(root)
    try:
        for name in names:
            if make:
                make(here, name)
            below = os.open(name, FOLDER, dir_fd=here)
            os.close(here)
            here = below
    except BaseException:
        os.close(here)
        raise
    return here


@contextmanager
def parent(
    root: int, path: str, make: Callable[[int, str], object] | None = None
) -> Generator[tuple[int, str]]:
    """The folder that `path` is in, and its name there. Raises OSError."""
    *above, name = path.split("/")
    folder = descend(root, above, make)
    try:
        yield folder, name
    finally:
        os.close(folder)
