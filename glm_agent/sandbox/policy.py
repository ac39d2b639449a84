"""What commands may see and do. Data, and what it is by default for a user and a work tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..policy import protected

_GIB = 1024**3

# Below the root: read-only where they exist, removed where they come to be. They run later, unconfined.
PROTECTED = protected()


class Limits(NamedTuple):
    """Of each process, but for `processes`, which counts threads too.

    Whatever `memory` is, where the machine runs out of it the kernel ends a confined command first. A number
    keeps sanitizers and race detectors from working: they map terabytes that they do not use.
    """

    processes: int = 4096
    memory: int | None = None  # bytes of its own
    file_size: int = 4 * _GIB  # bytes
    cpu: int = 4 * 3600  # seconds
    open_files: int = 65_536


class Layer(NamedTuple):
    """A folder below the root that a private copy is without: seen in it all the same, never written to."""

    place: str  # below the root
    real: Path
    changes: Path  # an existing folder of ours, for what commands change in it


class Private(NamedTuple):
    """A copy of the tree that commands see in its place; the original's `.git` is seen in the copy."""

    tree: Path
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """For commands in the work tree `root`. All paths are absolute and without links, if they exist.

    `home`, `tmp` and `store` are folders of ours outside the tree. Commands find the first two at `home_seen`
    and `/tmp`; the third, which they do not see, is for the guard's record. `environment` is all they get,
    `deeper` are places in the tree that exist and are protected as well, `hidden` are secret files, which
    appear empty, `homes` people's own, which are not there. Of a pair in `instead` the second is seen at the
    first; not so in tier B, where what is hidden cannot be opened instead, and which cannot show a `private`
    copy either.
    """

    root: Path
    home: Path
    home_seen: Path
    tmp: Path
    store: Path
    environment: Mapping[str, str]
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    protected: tuple[str, ...] = PROTECTED
    deeper: tuple[str, ...] = ()
    hidden: tuple[Path, ...] = ()
    homes: tuple[Path, ...] = ()
    instead: tuple[tuple[Path, Path], ...] = ()
    read_only: bool = False
    network: bool = False
    limits: Limits = field(default_factory=Limits)
    private: Private | None = None

    @property
    def tree(self) -> Path:
        """Where what commands see at the root really is."""
        return self.private.tree if self.private else self.root
