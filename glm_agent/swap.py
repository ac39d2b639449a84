"""Things of a work tree taken into a folder of their own, others put in their place; or all taken back."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from . import large, paths
from .descent import FOLDER, parent
from .durable import sync_all
from .errors import RepositoryError
from .failpoints import failpoint
from .snapshot import Snapshot
from .state import Entry, State, above, blob_of, contents

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MANY = 200  # files, from which on all that its file system has to write is written faster than each
_MOST_SAID = 5  # problems in one message


Found = Literal["old", "new", "gone", "other"]


class Step(NamedTuple):
    """What is at `path` and what is to be; None is nothing. `bits` None: as they are, or as is usual."""

    path: str
    now: Entry | None
    wanted: Entry | None
    bits: int | None = None
    old_bits: int | None = None

    @property
    def takes(self) -> bool:
        """Whether a file or link goes or is replaced."""
        return self.is_content and self.now is not None and not self.now.is_folder

    @property
    def puts(self) -> bool:
        """Whether a file or link comes."""
        return self.is_content and self.wanted is not None and not self.wanted.is_folder

    @property
    def is_content(self) -> bool:
        return (self.now and self.now[:2]) != (self.wanted and self.wanted[:2])


class Swap:
    """Takes things away into a folder of its own, puts others in their place, and can take all of it back."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, FOLDER & ~os.O_NOFOLLOW)
        self._name = f".glm-agent-{os.urandom(8).hex()}.tmp"
        os.mkdir(self._name, 0o700, dir_fd=self._root)
        self._stage = os.open(self._name, FOLDER, dir_fd=self._root)
        self._fresh: dict[str, str] = {}  # names in the stage, by path
        self._linked: dict[str, str] = {}
        self._taken = 0
        self._back: list[Callable[[], None]] = []  # newest last
        self._touched: set[str] = set()

    def find(self, path: str, old: Entry | None, new: Entry | None) -> Found:
        """What is at `path`; "gone" also where its folder is no folder."""
        try:
            with self._folder(path) as (folder, last):
                if not _exists(last, folder):
                    return "gone"
                if new and _is_as(new, last, folder):
                    return "new"
                return "old" if old and _is_as(old, last, folder) else "other"
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return "gone"
            raise

    def require(self, steps: list[Step]) -> None:
        """Raises RepositoryError unless each file is as its step says."""
        other = [step.path for step in steps if not self._is_as(step)]
        if other:
            raise RepositoryError(f"changed meanwhile, so nothing was restored: {paths.named(other)}")

    def stage(self, snapshot: Snapshot, steps: list[Step]) -> None:
        """What is to come, on the disk before anything of it is in its place."""
        places: dict[str, list[Step]] = {}
        at_once = len(steps) > _MANY
        for step in steps:
            if step.wanted:
                places.setdefault(step.wanted.blob, []).append(step)
            if step.wanted and large.is_large(step.wanted.blob):
                self._double(snapshot, step, step.wanted.blob)
        ordinary = [step.wanted for step in steps if step.wanted and not large.is_large(step.wanted.blob)]
        for blob, content in contents(snapshot, ordinary):
            for step in places[blob]:
                self._write(step, content, sync=not at_once)
        if at_once:
            sync_all(self._stage)

    def has_second_name(self, path: str) -> bool:
        """Whether the old file could be given one, so that the new one can simply take its place."""
        name = self._spare()
        failpoint("spare")
        with self._folder(path) as (folder, last), suppress(OSError):
            os.link(last, name, src_dir_fd=folder, dst_dir_fd=self._stage, follow_symlinks=False)
            self._linked[path] = name
            return True
        return False

    def remove(self, path: str) -> None:
        name = self._spare()
        self._touched.add(path.rpartition("/")[0])
        failpoint("take")
        with self._folder(path) as (folder, last):
            os.rename(last, name, src_dir_fd=folder, dst_dir_fd=self._stage)
        self._back.append(lambda: self._return(name, path))

    def remove_folder(self, path: str) -> None:
        """Removes a directory if nothing is in it."""
        with suppress(FileNotFoundError, NotADirectoryError), self._folder(path) as (folder, last):
            mode = stat.S_IMODE(os.lstat(last, dir_fd=folder).st_mode)
            failpoint("take")
            try:
                os.rmdir(last, dir_fd=folder)
            except OSError:  # others' files are in it, or it is a link
                return
            self._touched.add(path.rpartition("/")[0])
            self._back.append(lambda: self._make(path, mode))

    def make_folder(self, path: str, wanted: State) -> None:
        """Makes a directory and those above that are missing."""
        for folder in [*reversed(list(above(path))), path]:
            with suppress(FileExistsError):
                bits = wanted.permissions(folder, stat.S_IFDIR)
                self._make(folder, 0o755 if bits is None else bits)
                self._back.append(lambda folder=folder: self._unmake(folder))

    def place(self, path: str, wanted: State) -> None:
        """Puts what was staged for `path` there."""
        folder_path = path.rpartition("/")[0]
        if folder_path:
            self.make_folder(folder_path, wanted)
        self._touched.add(folder_path)
        failpoint("place")
        with self._folder(path) as (folder, last):
            if path not in self._linked and _exists(last, folder):
                raise FileExistsError(errno.EEXIST, "there is something else now", path)
            os.rename(self._fresh[path], last, src_dir_fd=self._stage, dst_dir_fd=folder)
        if kept := self._linked.get(path):
            self._back.append(lambda: self._return(kept, path))
        else:
            self._back.append(lambda: self._unplace(path))

    def set_bits(self, step: Step) -> Iterator[str]:
        """Gives a file that stays the permission bits that it had; says where that is not possible."""
        assert step.bits is not None
        failpoint("bits")
        try:
            with self._folder(step.path) as (folder, last):
                _chmod(last, folder, step.bits)
        except OSError as error:
            yield f"{paths.shown(step.path)} keeps its permission bits: {error.strerror}"
            return
        if (old := step.old_bits) is not None:
            self._back.append(lambda: self._set(step.path, old))

    def settle(self) -> None:
        """Makes sure that what was done is on the disk."""
        failpoint("settle")
        for path in self._touched:
            inside = f"{path}/x" if path else "x"
            with suppress(FileNotFoundError, NotADirectoryError), self._folder(inside) as (folder, _):
                os.fsync(folder)

    def take_back(self) -> str:
        """Takes all steps back; what could not be, ready to follow an error's text."""
        stuck: list[str] = []
        while self._back:
            failpoint("return")
            try:
                self._back.pop()()
            except OSError as error:
                stuck.append(said(error))
        if not stuck:
            return ""
        kept = f"glm-agent-kept-{os.urandom(4).hex()}"
        os.rename(self._name, kept, src_dir_fd=self._root, dst_dir_fd=self._root)
        self._name = ""
        return f"; and could not be put back: {'; '.join(stuck[:_MOST_SAID])}; the files are in {kept}"

    def close(self) -> None:
        if self._name:
            failpoint("away")
            for name in os.listdir(self._stage):  # noqa: PTH208 - a descriptor
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._stage)
            with suppress(OSError):
                os.rmdir(self._name, dir_fd=self._root)
        os.close(self._stage)
        os.close(self._root)

    @contextmanager
    def _folder(self, path: str) -> Generator[tuple[int, str]]:
        """The directory that `path` is in, reached without following a link, and the last name."""
        if any(name in ("", ".", "..") or paths.is_git(name) for name in path.split("/")):
            raise RepositoryError(f"{paths.shown(path)} is none of the work tree's files")
        with parent(self._root, path) as found:
            yield found

    def _spare(self) -> str:
        self._taken += 1
        return f"old-{self._taken}"

    def _write(self, step: Step, content: bytes, *, sync: bool) -> None:
        assert step.wanted is not None
        name = self._fresh[step.path] = f"new-{len(self._fresh)}"
        failpoint("fresh")
        if stat.S_ISLNK(step.wanted.mode):
            os.symlink(content, os.fsencode(name), dir_fd=self._stage)
            return
        with os.fdopen(os.open(name, _NEW, 0o600, dir_fd=self._stage), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), self._bits(step, step.wanted.mode))
            if sync:
                os.fsync(file.fileno())

    def _double(self, snapshot: Snapshot, step: Step, blob: str) -> None:
        name = self._fresh[step.path] = f"new-{len(self._fresh)}"
        source = large.find(snapshot.folder / "large", step.path, blob)
        if source is None:
            raise FileNotFoundError(errno.ENOENT, "what was kept of it has changed", step.path)
        large.put(source, snapshot.root / self._name / name)
        if step.bits is not None:
            _chmod(name, self._stage, step.bits)

    def _bits(self, step: Step, mode: int) -> int:
        """Those that are wanted; else those of the file that is there, with git's one bit put right."""
        if step.bits is not None:
            return step.bits
        bits = 0o644
        with suppress(OSError), self._folder(step.path) as (folder, last):
            status = os.stat(last, dir_fd=folder, follow_symlinks=False)
            bits = stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else bits
        return bits | (bits & 0o444) >> 2 if mode & 0o100 else bits & ~0o111

    def _is_as(self, step: Step) -> bool:
        try:
            with self._folder(step.path) as (folder, last):
                return _is_as(step.now, last, folder)
        except (FileNotFoundError, NotADirectoryError):
            return step.now is None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link where a directory was
                return step.now is None
            raise

    def _return(self, name: str, path: str) -> None:
        with self._folder(path) as (folder, last):
            os.rename(name, last, src_dir_fd=self._stage, dst_dir_fd=folder)

    def _unplace(self, path: str) -> None:
        with self._folder(path) as (folder, last):
            os.unlink(last, dir_fd=folder)

    def _make(self, path: str, mode: int) -> None:
        with self._folder(path) as (folder, last):
            failpoint("folder")
            os.mkdir(last, 0o700, dir_fd=folder)
            failpoint("made")
            _chmod(last, folder, mode)

    def _unmake(self, path: str) -> None:
        with self._folder(path) as (folder, last):
            os.rmdir(last, dir_fd=folder)

    def _set(self, path: str, bits: int) -> None:
        with self._folder(path) as (folder, last):
            _chmod(last, folder, bits)


def _is_as(entry: Entry | None, name: str, folder: int) -> bool:
    """Whether `name` in a directory is what `entry` says, by its content."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return entry is None
    if entry is None or entry.is_folder:
        return stat.S_ISDIR(status.st_mode)  # which may have to go, or else stops what comes in its place
    return (
        stat.S_IFMT(status.st_mode) == stat.S_IFMT(entry.mode)
        and blob_of(name, folder, entry.blob) == entry.blob
    )


def _chmod(name: str, folder: int, bits: int) -> None:
    """Changes the bits of a file or directory, and of nothing that a link leads to."""
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise OSError(errno.ELOOP, "a symbolic link is there", name)
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except PermissionError:
        os.chmod(name, bits, dir_fd=folder)
        return
    try:
        os.fchmod(descriptor, bits)
    finally:
        os.close(descriptor)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def said(error: OSError) -> str:
    where = f"{paths.shown(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror}"
