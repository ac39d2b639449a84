"""Changes on their way to disk: staged beside their places, swapped in together, undone on any error."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from .failpoints import failpoint
from .intents import Planned, Record, digest

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
    """One change in its `folder`, a descriptor; `status` is the old file's, None if there is none.

    `fresh` is the new content's temporary name, `kept` the old file's until all are swapped.
    """

    change: Change
    name: str
    status: os.stat_result | None
    folder: int = -1
    fresh: str = ""
    kept: str = ""
    is_kept: bool = False
    swapped: bool = False

    def __post_init__(self) -> None:
        self.fresh = _spare_name() if self.change.content is not None else ""
        self.kept = _spare_name() if self.status is not None else ""

    @property
    def mode(self) -> int:
        """That was asked for, else the old file's."""
        if self.change.mode is not None:
            return self.change.mode
        return 0o644 if self.status is None else stat.S_IMODE(self.status.st_mode)

    def planned(self) -> Planned:
        """As the record has it; modes count only where nothing else changes."""
        before = None if self.change.expect is None else digest(self.change.expect)
        after = None if self.change.content is None else digest(self.change.content)
        if before == after and self.status is not None:
            before, after = f"{before} {stat.S_IMODE(self.status.st_mode):o}", f"{after} {self.mode:o}"
        return Planned(self.change.path, before, after, self.fresh, self.kept)


class Writing:
    """One set of changes; `folders` are the directories it needs, by path, `made` those that are new.

    `record`, if there is one, tells the next run of it until it is whole, or taken back.
    """

    def __init__(self) -> None:
        self.record: Record | None = None
        self.folders: dict[str, int] = {}  # descriptors
        self.made: list[tuple[int, str]] = []  # parent's descriptor, name
        self._steps: list[Step] = []
        self._is_whole = False

    def stage(self, step: Step) -> None:
        """Write the step's new content to disk, beside its place, and give the old one its second name."""
        self._steps.append(step)
        failpoint("stage")
        if step.fresh:
            descriptor = os.open(step.fresh, _NEW, 0o600, dir_fd=step.folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(step.change.content or b"")
                file.flush()
                _like(file.fileno(), step)
                failpoint("sync")
                os.fsync(file.fileno())
        if step.kept:
            with suppress(OSError):  # no hard links here: the swap leaves a moment without the file
                here = step.folder
                os.link(step.name, step.kept, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
                step.is_kept = True

    def swap(self) -> None:
        """Put every step into its place; what was there is kept until all are."""
        self._sync()
        for step in self._steps:
            failpoint("swap")
            here, is_linked = step.folder, step.is_kept
            if step.kept and not is_linked:
                os.rename(step.name, step.kept, src_dir_fd=here, dst_dir_fd=here)
                step.is_kept = True
                failpoint("moved")
            step.swapped = True
            if step.fresh:
                os.rename(step.fresh, step.name, src_dir_fd=here, dst_dir_fd=here)
            elif is_linked:
                os.unlink(step.name, dir_fd=here)
        failpoint("swapped")
        self._sync()
        self._is_whole = True
        self._clean()

    def undo(self) -> str:
        """Put everything back as it was; what could not be put back, ready to follow an error's text."""
        stuck: list[str] = []
        if self._is_whole:  # a signal came too late
            self._clean()
            return ""
        for step in reversed(self._steps):
            failpoint("undo")
            try:
                if step.is_kept:
                    os.replace(step.kept, step.name, src_dir_fd=step.folder, dst_dir_fd=step.folder)
                elif step.swapped and step.status is None:
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
        if not stuck:  # else the next run tries again
            self._conclude(done=False)
        return "".join(stuck)

    def close(self) -> None:
        """Let go of the directories, and of the record."""
        for fd in self.folders.values():
            os.close(fd)
        if self.record:
            self.record.leave()

    def _clean(self) -> None:
        for step in self._steps:
            failpoint("clean")
            _remove(step.kept, step.folder)
        failpoint("conclude")
        self._conclude(done=True)

    def _conclude(self, *, done: bool) -> None:
        record, self.record = self.record, None
        if record:
            with suppress(OSError):  # the next run finds that there is nothing left to do
                record.close(done=done)

    def _sync(self) -> None:
        for fd in self.folders.values():
            os.fsync(fd)


def _like(fd: int, step: Step) -> None:
    """Give the new file its mode, and the old one's owner."""
    old = step.status
    if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.fchown(fd, old.st_uid, old.st_gid)
    os.fchmod(fd, step.mode)


def _spare_name() -> str:
    return f".glm-agent-{os.urandom(8).hex()}.tmp"


def _remove(name: str, folder: int) -> None:
    if name:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
