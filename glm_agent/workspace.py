"""The one door to the files of the repository: descriptors all the way down, nothing above the root."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from . import paths, policy
from .errors import DeniedError, ToolError
from .intents import Intents, Record
from .secrets import Secrets, marks
from .text import decode, encode
from .writing import Change, Step, Writing

__all__ = ["MAX_ENTRIES", "MAX_FILE", "Change", "Entry", "TextFile", "Workspace", "text_change"]

MAX_FILE = 10 * 1024 * 1024  # bytes
MAX_ENTRIES = 10_000  # of one directory

_MAX_LINKS = 40  # as the kernel's own limit
_MAX_FOLDERS = 200  # that one set of changes may touch: each costs a descriptor
_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PASS: int = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
_FOLDER = os.O_RDONLY | os.O_DIRECTORY


EntryKind = Literal["file", "directory", "link", "other"]
_KINDS: dict[int, EntryKind] = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


class TextFile(NamedTuple):
    """A file as text. `text` has no byte order mark and its own line ends; `size` is in bytes."""

    path: str
    text: str
    encoding: str
    mode: int
    size: int


class Entry(NamedTuple):
    name: str
    kind: EntryKind
    size: int


class Workspace:
    """Files beneath `root` but for `secrets`. Every path is text from outside, and all raise ToolError.

    `forbidden` gives the reason why a path may not be written. Absolute paths are below `known_as`, if that
    is where the files seem to be. With `intents`, a kill in the middle of a change leaves what it takes to
    finish it, or to take it back.
    """

    def __init__(
        self,
        root: Path,
        secrets: Secrets | None = None,
        forbidden: Callable[[str], str | None] = policy.forbidden,
        known_as: Path | None = None,
        intents: Intents | None = None,
    ) -> None:
        self.root = root.resolve()
        self.secrets = secrets or Secrets()
        self._forbidden = forbidden
        self._intents = intents
        known_as = known_as or root
        self._spellings = (PurePosixPath(known_as.resolve()), PurePosixPath(known_as.absolute()))

    def locate(self, path: str) -> str:
        """`path` relative to the root, '.' for the root; what the disk holds there is not looked at."""
        return paths.normalise(path, self._spellings)

    def kind(self, path: str) -> Literal["file", "directory", "missing"]:
        """What reading `path` would meet; "file" is anything but a directory."""
        path = self.locate(path)
        try:
            with self._opened(path, os.O_RDONLY) as fd:
                return "directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return "missing"
            if error.errno == errno.ENXIO:  # a socket
                return "file"
            raise self._refusal(path, error) from error

    def read(self, path: str) -> TextFile:
        """The text of a regular file of at most MAX_FILE bytes; links beneath the root are followed."""
        path = self.locate(path)
        try:
            with self._opened(path, os.O_RDONLY) as fd:
                data, status = _contents(path, fd)
        except OSError as error:
            raise self._refusal(path, error) from error
        text, encoding = decode(data)
        if "\0" in text[:8192]:
            raise ToolError(f"{paths.shown(path)} is binary ({len(data)} bytes); it cannot be read as text")
        return TextFile(path, text, encoding, stat.S_IMODE(status.st_mode), len(data))

    @contextmanager
    def opened(self, path: str) -> Generator[int]:
        """The descriptor of a regular file of any size; links beneath the root are followed."""
        path = self.locate(path)
        try:
            with self._opened(path, os.O_RDONLY) as fd:
                _require_file(path, os.fstat(fd))
                yield fd
        except OSError as error:
            raise self._refusal(path, error) from error

    def withholds(self, path: str) -> bool:
        """Whether `path` is a file that holds secrets; False for what cannot be opened."""
        try:
            with self._opened(self.locate(path), os.O_RDONLY):
                return False
        except DeniedError:
            return True
        except (OSError, ToolError):
            return False

    def entries(self, path: str) -> list[Entry]:
        """What the directory `path` holds, sorted by name, without `.git`; MAX_ENTRIES at most."""
        path = self.locate(path)
        try:
            with self._opened(path, _FOLDER) as fd, os.scandir(fd) as found:
                some = (_entry(item) for item in found if not paths.is_git(item.name))
                return sorted(entry for entry, _ in zip(some, range(MAX_ENTRIES), strict=False))
        except OSError as error:
            raise self._refusal(path, error) from error

    def apply(self, changes: Sequence[Change]) -> None:
        """Make all of `changes`, or none: a file that is not what its change expects refuses them all."""
        changes = [change._replace(path=self.locate(change.path)) for change in changes]
        if len({change.path for change in changes}) < len(changes):
            raise ToolError("one file is changed twice; join the changes")
        writing = Writing()
        steps = [Step(change, change.path.rpartition("/")[2], self._check(change)) for change in changes]
        try:
            writing.record = self._record(steps)
            for step in steps:
                step.folder = self._folder(step.change.path.rpartition("/")[0], writing)
                writing.stage(step)
            for change in changes:  # staging took its time, and others may have written meanwhile
                if change.expect is not None or self.kind(change.path) == "file":
                    self._check(change)
            writing.swap()
        except OSError as error:
            raise ToolError(f"nothing was changed: {error.strerror}{writing.undo()}") from error
        except BaseException:
            writing.undo()
            raise
        finally:
            writing.close()

    def _record(self, steps: Sequence[Step]) -> Record | None:
        """What is about to happen, on the disk: folders that are missing, files, and their other names."""
        if self._intents is None:
            return None
        missing = {parent for step in steps for parent in self._missing(step.change.path)}
        return self._intents.open([step.planned() for step in steps], sorted(missing))

    def _missing(self, path: str) -> Iterator[str]:
        """The folders above `path` that there are not."""
        folder = path.rpartition("/")[0]
        while folder and self.kind(folder) == "missing":
            yield folder
            folder = folder.rpartition("/")[0]

    def _check(self, change: Change) -> os.stat_result | None:
        """The status of the file to be changed, once it is known to be what the change expects."""
        name = paths.shown(change.path)
        if why := self._forbidden(change.path):
            raise DeniedError(f"{name} may not be changed: {why}. Go on without it", change.path, why)
        try:
            with self._opened(change.path, os.O_RDONLY, follow=False) as fd:
                data, status = _contents(change.path, fd)
        except FileNotFoundError:
            if change.expect is not None:
                raise ToolError(f"{name} no longer exists; look again before changing it") from None
            _refuse_marks(change, b"")
            return None
        except OSError as error:
            raise self._refusal(change.path, error) from error
        if change.expect is None:
            raise ToolError(f"{name} exists already; read it first")
        if data != change.expect:
            raise ToolError(f"{name} changed on disk since it was read; read it again")
        _refuse_marks(change, data)
        return status

    def _folder(self, path: str, writing: Writing) -> int:
        """The descriptor of directory `path`, made with its parents where it is missing."""
        if path in writing.folders:
            return writing.folders[path]
        if len(writing.folders) >= _MAX_FOLDERS:
            raise ToolError(f"the change touches more than {_MAX_FOLDERS} directories; split it")
        try:
            fd = self._open(path or ".", _FOLDER, follow=False)
        except FileNotFoundError:
            parent, _, name = path.rpartition("/")
            above = self._folder(parent, writing)
            os.mkdir(name, dir_fd=above)
            writing.made.append((above, name))
            fd = os.open(name, _FOLDER | _OPEN, dir_fd=above)
        writing.folders[path] = fd
        return fd

    @contextmanager
    def _opened(self, path: str, flags: int, *, follow: bool = True) -> Generator[int]:
        fd = self._open(path, flags, follow=follow)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open(self, path: str, flags: int, *, follow: bool) -> int:
        """A descriptor of normalised `path` that is beneath the root, whatever moves meanwhile.

        Each component is opened without following; links are followed by us, if at all, with each
        component of their target under the same rules. Raises ToolError and OSError.
        """
        todo = _components(path)
        fds = [os.open(self.root, _PASS | os.O_CLOEXEC)]
        names = [""]  # where each of them really is
        links = 0
        try:
            while todo:
                name = todo.pop()
                if name == "..":
                    _rise(path, fds)
                    names.pop()
                    continue
                if paths.is_git(name):
                    raise ToolError(f"{paths.shown(path)} leads into git's own files")
                try:
                    fds.append(os.open(name, (_PASS if todo else flags) | _OPEN, dir_fd=fds[-1]))
                except OSError as error:
                    links += 1
                    target = _target(path, name, fds[-1], error)
                    if not follow or links > _MAX_LINKS:
                        raise _linked(path, target, follow) from None
                    todo += _components(target)
                    continue
                names.append(f"{names[-1]}/{name}")
                if not todo:
                    self._withhold(path, names[-1][1:], fds[-1])
                    return fds.pop()
            return os.open(".", flags | _OPEN, dir_fd=fds[-1])
        finally:
            for fd in fds:
                os.close(fd)

    def _withhold(self, path: str, real: str, fd: int) -> None:
        """Raises ToolError if the file open at `fd` is a secret."""
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return
        secrets = self.secrets
        if secrets.withholds(real, lambda: os.pread(fd, MAX_FILE, 0)) or secrets.withholds_inode(
            real, status
        ):
            said = f"{paths.shown(path)} is withheld: it holds secrets. Go on without it"
            raise DeniedError(said, real, "it holds secrets")

    def _refusal(self, path: str, error: OSError) -> ToolError:
        name = paths.shown(path)
        match error.errno:
            case errno.ENOENT:
                return ToolError(f"{name} does not exist{self._near(path)}")
            case errno.ENOTDIR:
                return ToolError(
                    f"{name} is not a directory, or goes through a file; look at its parent first"
                )
            case errno.ENXIO:
                return ToolError(f"{name} is not a regular file; it cannot be read")
            case errno.EACCES | errno.EPERM:
                return ToolError(f"{name} cannot be opened: its permissions forbid it")
            case _:
                return ToolError(f"{name} cannot be opened: {error.strerror}")

    def _near(self, path: str) -> str:
        """Up to three names that may have been meant, ready to follow "does not exist"."""
        import difflib  # 9 ms, and only for a missing file

        folder, _, wanted = path.rpartition("/")
        beside = self._names(folder or ".")
        close = difflib.get_close_matches(wanted, [name for name, _ in beside][:500], 3, 0.6)
        found = [f"{folder}/{name}" if folder else name for name in close]
        todo, looked = ["."], 0
        while todo and looked < 200 and len(found) < 3:
            here, looked = todo.pop(0), looked + 1
            for name, is_folder in self._names(here):
                full = name if here == "." else f"{here}/{name}"
                if name == wanted and full not in found:
                    found.append(full)
                if is_folder and not name.startswith(".") and name not in ("node_modules", "__pycache__"):
                    todo.append(full)
        names = ", ".join(paths.shown(name) for name in found[:3])
        return f"; did you mean {names}?" if names else "; search for it, or list its directory with read"

    def _names(self, folder: str) -> list[tuple[str, bool]]:
        with suppress(OSError, ToolError), self._opened(folder, _FOLDER) as fd, os.scandir(fd) as found:
            some = zip(found, range(1000), strict=False)
            shown = (item for item, _ in some if not paths.is_git(item.name))
            return sorted((item.name, item.is_dir(follow_symlinks=False)) for item in shown)
        return []


def text_change(file: TextFile, new_text: str) -> Change:
    """`file` with `new_text`, its encoding and mode kept; ToolError where the encoding lacks a character."""
    if file.encoding.endswith("-bom") and not file.text.startswith("\ufeff"):
        new_text = new_text.removeprefix("\ufeff")  # the file has its mark, and needs no other
    try:
        content = encode(new_text, file.encoding)
    except UnicodeEncodeError as error:
        bad = new_text[error.start]
        raise ToolError(f"{paths.shown(file.path)} is {file.encoding}, which cannot hold {bad!a}") from error
    return Change(file.path, content, expect=encode(file.text, file.encoding))


def _components(path: str) -> list[str]:
    """What is left to walk, the next one last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _rise(path: str, fds: list[int]) -> None:
    if len(fds) == 1:
        raise ToolError(f"{paths.shown(path)} leads, by a symbolic link, outside the repository")
    os.close(fds.pop())


def _target(path: str, name: str, folder: int, error: OSError) -> str:
    """Where the link `name` leads; if it is none, `error` stands."""
    try:
        target = os.readlink(name, dir_fd=folder)
    except OSError:
        raise error from None
    if target.startswith("/"):
        raise ToolError(
            f"{paths.shown(path)} leads, by a symbolic link, to {paths.shown(target)}; use a path inside"
        )
    return target


def _linked(path: str, target: str, follow: bool) -> ToolError:
    name, target = paths.shown(path), paths.shown(target)
    if follow:
        return ToolError(f"{name} is a loop of symbolic links")
    return ToolError(f"{name} goes through a symbolic link to {target}; change the file that it leads to")


def _refuse_marks(change: Change, before: bytes) -> None:
    """Raises ToolError if the change would put a mark in the place of what it stands for."""
    if change.content is not None and marks(decode(change.content)[0]) > marks(decode(before)[0]):
        raise ToolError(
            f"{paths.shown(change.path)}: [secret: …] stands for a value that you were not shown; change the "
            "lines around it and leave that one alone"
        )


def _contents(path: str, fd: int) -> tuple[bytes, os.stat_result]:
    name, status = paths.shown(path), os.fstat(fd)
    _require_file(path, status)
    with os.fdopen(fd, "rb", closefd=False) as file:
        data = file.read(MAX_FILE + 1) if status.st_size <= MAX_FILE else b""
    if max(status.st_size, len(data)) > MAX_FILE:
        raise ToolError(
            f"{name} has {status.st_size} bytes; at most {MAX_FILE} are read. Use search or a command"
        )
    return data, status


def _require_file(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ToolError(f"{paths.shown(path)} is a directory, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise ToolError(f"{paths.shown(path)} is not a regular file; it cannot be read")


def _entry(item: os.DirEntry[str]) -> Entry:
    status = item.stat(follow_symlinks=False)
    return Entry(item.name, _KINDS.get(stat.S_IFMT(status.st_mode), "other"), status.st_size)
