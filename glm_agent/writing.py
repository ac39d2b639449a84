"""Changes on their way to disk: staged beside their places, swapped in together, undone on any error."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Change(NamedTuple):
    """`content` None deletes; `mode` None keeps the file's (0o644 for a new one).

    `expect` is what the file held when the change was planned; None: there was no file.
    """

    path: str
    content: bytes | None
    mode: int | None = None
    expect: bytes | None = None


@dataclass(slots=True)
class Step:
    change: Change
    folder: int
    name: str
    status: os.stat_result | None
    fresh: str = ""  # the new content's temporary name
    kept: str = ""  # the old file's, until all are swapped
    swapped: bool = False


class Writing:
    """One set of changes; `folders` are the directories it needs, by path, `made` those that are new."""

    def __init__(self) -> None:
        self.folders: dict[str, int] = {}  # descriptors
        self.made: list[tuple[int, str]] = []  # parent's descriptor, name
        self._steps: list[Step] = []

    def stage(self, step: Step) -> None:
        """Write the step's new content to disk, beside its place."""
        self._steps.append(step)
        if step.change.content is None:
            return
        step.fresh = _spare_name()
        with os.fdopen(os.open(step.fresh, _NEW, 0o600, dir_fd=step.folder), "wb") as file:
            file.write(step.change.content)
            file.flush()
            _like(file.fileno(), step)
            os.fsync(file.fileno())

    def swap(self) -> None:
        """Put every step into its place; what was there is kept until all are."""
        for step in self._steps:
            if step.status is not None:
                _keep(step)
            step.swapped = True
            if step.fresh:
                os.rename(step.fresh, step.name, src_dir_fd=step.folder, dst_dir_fd=step.folder)
        for fd in self.folders.values():
            os.fsync(fd)
        for step in self._steps:
            _remove(step.kept, step.folder)

    def undo(self) -> str:
        """Put everything back as it was; what could not be put back, ready to follow an error's text."""
        stuck: list[str] = []
        for step in reversed(self._steps):
            try:
                if step.kept:
                    os.replace(step.kept, step.name, src_dir_fd=step.folder, dst_dir_fd=step.folder)
                elif step.swapped:
                    _remove(step.name, step.folder)
            except OSError:
                stuck.append(
                    f"; {step.change.path} could not be put back and is kept beside it as {step.kept}"
                )
                continue
            _remove(step.kept, step.folder)
            _remove(step.fresh, step.folder)
        for above, name in reversed(self.made):
            with suppress(OSError):
                os.rmdir(name, dir_fd=above)
        return "".join(stuck)

    def close(self) -> None:
        """Let go of the directories."""
        for fd in self.folders.values():
            os.close(fd)


def _keep(step: Step) -> None:
    """Give the old file a second name; a deletion then takes the first one away."""
    kept = _spare_name()
    here = step.folder
    if step.fresh:
        with suppress(OSError):  # no hard links here: the rename below leaves a moment without the file
            os.link(step.name, kept, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
            step.kept = kept
            return
    os.rename(step.name, kept, src_dir_fd=here, dst_dir_fd=here)
    step.kept = kept


def _like(fd: int, step: Step) -> None:
    """Give the new file the mode that was asked for, else the old one's, and the old one's owner."""
    old, mode = step.status, step.change.mode
    if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.fchown(fd, old.st_uid, old.st_gid)
    if mode is None:
        mode = 0o644 if old is None else stat.S_IMODE(old.st_mode)
    os.fchmod(fd, mode)


def _spare_name() -> str:
    return f".glm-agent-{os.urandom(8).hex()}.tmp"


def _remove(name: str, folder: int) -> None:
    if name:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
