"""Changes that a kill or a power failure cut short: finished if all of it was staged, else taken back."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from .descent import FOLDER, descend
from .intents import Intent, Planned, cut_short, digest, read
from .paths import is_git, named

_LARGEST = 64 << 20  # bytes: nothing of ours is as large
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def recover(root: Path, folder: Path) -> list[str]:
    """Sees to the records in `folder` that nobody holds, of changes in `root`; says what became of each."""
    said: list[str] = []
    for record, intent in cut_short(folder):
        done = False
        try:
            if intent:  # else nothing was staged yet
                done, line = _settle(root, intent)
                said.append(line)
        except OSError as error:
            said.append(f"a change that was cut short cannot be put right yet: {error.strerror}")
            record.leave()
            continue
        with suppress(OSError):
            record.close(done=done)
    return said


def untouched(root: Path, records: Iterable[Path]) -> set[str]:
    """The paths of the changes on record in those files where nobody else has put anything since."""
    found: set[str] = set()
    with _Folders(root) as folders:
        for intent in filter(None, map(read, records)):
            files = [_File(folders.open(file.path), file) for file in intent.files]
            found |= {file.planned.path for file in files if not file.is_foreign}
    return found


def _settle(root: Path, intent: Intent) -> tuple[bool, str]:
    """Whether the change is now made, and what is said of it. Raises OSError."""
    with _Folders(root) as folders:
        files = [_File(folders.open(file.path), file) for file in intent.files]
        ours = [file for file in files if not file.is_foreign]
        done = all(file.can_be_finished for file in ours)
        if done:
            _each(ours, _File.finish)
        elif all(file.can_be_taken_back for file in ours):
            _each(ours, _File.take_back)
        else:
            return False, f"{_named(intent)}: a change was cut short, and what it takes to mend that is gone"
        folders.sync()
        for file in files:
            file.clean()
    if not done:
        _remove_folders(root, intent.made)
    line = f"{_named(intent)}: a change that was cut short was {'finished' if done else 'taken back'}"
    kept = [file.planned.path for file in files if file.is_foreign]
    return done, line + (f"; {named(kept)} changed since and stays as it is" if kept else "")


class _File:
    """One file of a cut-short change, in the folder open at `folder` (-1: there is none)."""

    def __init__(self, folder: int, planned: Planned) -> None:
        self.planned = planned
        self._folder = folder
        self._name = planned.path.rpartition("/")[2]
        now = _images(folder, self._name)
        self._is_after = planned.after in now
        self._is_before = planned.before in now and not self._is_after
        self._is_gone = None in now and not self._is_after and not self._is_before
        self.is_foreign = not (self._is_after or self._is_before or self._is_gone)
        staged = planned.after is None or planned.after in _images(folder, planned.fresh)
        kept = planned.before is None or planned.before in _images(folder, planned.kept)
        self.can_be_finished = self._is_after or staged
        self.can_be_taken_back = self._is_before or kept

    def finish(self) -> None:
        if self._is_after:
            return
        if self.planned.after is None:
            os.unlink(self._name, dir_fd=self._folder)
        else:
            self._rename(self.planned.fresh)

    def take_back(self) -> None:
        if self._is_before:
            return
        if self.planned.before is not None:
            self._rename(self.planned.kept)
        elif not self._is_gone:
            os.unlink(self._name, dir_fd=self._folder)

    def clean(self) -> None:
        """Away with the other names, once the right one is there."""
        for name in filter(None, (self.planned.fresh, self.planned.kept)):
            with suppress(OSError):
                os.unlink(name, dir_fd=self._folder)

    def _rename(self, name: str) -> None:
        os.rename(name, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)


class _Folders:
    """Descriptors of the folders beneath `root`, opened without following links."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, int] = {}

    def __enter__(self) -> _Folders:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open.values():
            if fd >= 0:
                os.close(fd)

    def open(self, path: str) -> int:
        """The folder that `path` is in; -1 if there is none, or a link. Raises OSError."""
        folder = path.rpartition("/")[0]
        if folder not in self._open:
            self._open[folder] = _walk(self._root, folder)
        return self._open[folder]

    def sync(self) -> None:
        for fd in self._open.values():
            if fd >= 0:
                os.fsync(fd)


def _walk(root: Path, folder: str) -> int:
    names = list(filter(None, folder.split("/")))
    if any(name == ".." or is_git(name) for name in names):
        return -1
    top = os.open(root, FOLDER & ~os.O_NOFOLLOW)
    try:
        return descend(top, names)
    except OSError as error:
        if error.errno in _NO_FOLDER:
            return -1
        raise
    finally:
        os.close(top)


def _images(folder: int, name: str) -> tuple[str | None, ...]:
    """What the file at `name` is, as records have it: its digest, with and without mode; None for no file."""
    if folder < 0 or not name or is_git(name):
        return (None,)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return (None,)
    except OSError:  # a link, or a file that may not be read: not as we left it
        return ()
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return ()
        content = digest(file.read())
    return content, f"{content} {stat.S_IMODE(status.st_mode):o}"


def _each(files: Sequence[_File], work: Callable[[_File], None]) -> None:
    for file in files:
        work(file)


def _remove_folders(root: Path, made: Sequence[str]) -> None:
    """Those that the change made, where they are empty."""
    for path in sorted(made, reverse=True):
        with suppress(OSError), _Folders(root) as folders:
            os.rmdir(path.rpartition("/")[2], dir_fd=folders.open(path))


def _named(intent: Intent) -> str:
    return named([file.path for file in intent.files])
