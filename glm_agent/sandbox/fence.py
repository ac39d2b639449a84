"""Threads that keep themselves, and what they start, to some places: a wall behind the checks of paths.

Of a process that starts sandboxes only threads can do that: nothing below a Landlock may ever mount.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from . import plan
from .reach import TOO_MUCH

_PACKAGE = Path(__file__).parents[1]
_NO_NEW_PRIVILEGES = 38  # of prctl; of one thread, as the fence itself is


class Reach(NamedTuple):
    """Places of a fenced thread besides the system's and our own Python's. What is not there is passed over.

    Of what holds `home` no Python gets more than names, wherever it looks for modules.
    """

    written: tuple[Path, ...]
    read: tuple[Path, ...]
    home: Path


class Fence:
    """Called in a thread, it keeps that to what `reach` says, for good; the main thread it leaves alone.

    `reach` is asked in the first of these threads, and anew in the first after `close`. Without Landlock,
    nothing is kept from anything.
    """

    def __init__(self, reach: Callable[[], Reach]) -> None:
        self._reach = reach
        self._lock = threading.Lock()
        self._ruleset: int | None = None  # -1: no Landlock

    def __call__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            return  # it starts sandboxes, and writes where the user says
        with self._lock:
            if self._ruleset is None:
                self._ruleset = _ruleset(self._reach())
        if self._ruleset >= 0:
            from . import kernel, landlock

            kernel.prctl(_NO_NEW_PRIVILEGES, 1)
            landlock.enter(self._ruleset)

    def close(self) -> None:
        with self._lock:
            if self._ruleset is not None and self._ruleset >= 0:
                os.close(self._ruleset)
            self._ruleset = None


def _ruleset(reach: Reach) -> int:
    from . import kernel, landlock  # ~3 ms: ctypes

    if not (abi := kernel.landlock_abi()):
        return -1
    rules = [(path, landlock.READ) for path in (*plan.system(), *reach.read)]
    for path in _python():
        wide = reach.home.is_relative_to(path) or str(path) in TOO_MUCH
        rules.append((path, landlock.READ_DIR if wide else landlock.READ))
    rules.append((Path(os.devnull), landlock.READ | landlock.DEVICE))
    rights = landlock.WRITE | landlock.READ_FILE | landlock.READ_DIR  # no program of the tree is run
    rules += [(path, rights) for path in reach.written]
    return landlock.ruleset(abi, [(os.fsencode(path), rights) for path, rights in rules], tcp=False)


def _python() -> Iterator[Path]:
    """Where modules are looked for: that a folder was closed to one thread, the others would be told too."""
    yield from map(Path, map(os.path.abspath, sys.path))
    for prefix in map(Path, (sys.prefix, sys.base_prefix)):
        yield from (prefix, prefix / "lib")
    yield from (_PACKAGE, Path(sys.executable).resolve())
