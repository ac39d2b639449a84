"""A private copy of the work tree, for a run that leaves the user's own as it is.

It holds byte for byte what git would see: tracked files as they are, and untracked ones. Ignored files come
along as well; ignored folders and repositories inside this one do not: commands see those as layers.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from . import git
from .large import share
from .paths import named
from .repository import places
from .sandbox import Layer, Private, can_layer
from .snapshot import Snapshot

_LEFT_OUT = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
_MOST_LAYERS = 100
_MOST_COPIED = 512 * 1024 * 1024  # bytes of what git does not see
_REAL_FILES = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Replica:
    """A copy, at `tree` in `home`, of the state of the work tree at `root`: a repository of its own.

    `start` has the state at that moment, as the tree `start_tree`. `notices` say what the copy is without.
    With `again`, it can be made anew; `layered` says whether commands can be shown layers, if that is known.
    Raises RepositoryError where git cannot read the repository, OSError if the copy cannot be written.
    """

    def __init__(
        self,
        root: Path,
        home: Path,
        *,
        again: bool = False,
        without: Iterable[Path] = (),
        layered: bool | None = None,
    ) -> None:
        self.root = root.resolve()
        self.tree = home / "tree"
        self._home = home
        self._changes = home / "changes"
        self._pristine = home / "pristine"
        self.start = Snapshot(root, home / "start")
        self.start_tree = self.start.take()
        self.notices = list(self.start.problems)
        paths = self._ask("ls-tree", "-r", "-z", "--name-only", "--full-tree", self.start_tree)
        self._folders, files, empty = self._unseen({os.fsencode(path) for path in without})
        source = self._pristine if again else self.tree
        self._missing = copy_files(self.root, source, paths)
        self._copy_within_bounds(source, files)
        for path in empty:
            (source / os.fsdecode(path)).mkdir(parents=True, exist_ok=True)
        self._layered = can_layer() if layered is None and self._folders else layered is not False
        if not self._layered:
            self._copy_folders(source)
        self._begin()

    def renew(self, aside: str) -> Path:
        """A copy of the same state as at first; the one before is put aside, and where is returned."""
        kept = self._home / aside
        kept.mkdir()
        for folder in (self.tree, self._changes, self._home / "repository"):
            if folder.exists():
                folder.rename(kept / folder.name)
        self._begin()
        return kept / self.tree.name

    def private(self) -> Private:
        """The copy as commands are to see it."""
        folders = self._folders if self._layered else []
        layers = [
            Layer(name, self.root / name, self._changes / str(number))
            for number, name in enumerate(map(os.fsdecode, folders))
        ]
        return Private(self.tree, tuple(layers))

    def _begin(self) -> None:
        if self._pristine.exists():
            shutil.copytree(self._pristine, self.tree, symlinks=True, copy_function=_copy_whole)
        for layer in self.private().layers:
            layer.changes.mkdir(parents=True)
            (self.tree / layer.place).mkdir(parents=True, exist_ok=True)
        self._make_repository()

    def _make_repository(self) -> None:
        """With git's things in the same shape as the original's: a folder, or a file that leads to one."""
        mark = self.tree / ".git"
        folder = common = mark
        if stat.S_ISREG((self.root / ".git").lstat().st_mode):
            common = self._home / "repository"
            folder = common / "worktrees/tree"
            folder.mkdir(parents=True)
            mark.write_text(f"gitdir: {folder}\n")
            (folder / "gitdir").write_text(f"{mark}\n")
            (folder / "commondir").write_text("../..\n")
            (folder / "HEAD").write_text("ref: refs/heads/none\n")
        kept = self._home / "start"
        for name in ("refs", "info", "objects/info"):
            (common / name).mkdir(parents=True, exist_ok=True)
        for name in ("HEAD", "config", "info/exclude", "info/attributes"):
            shutil.copyfile(kept / "git" / name, common / name)
        lenders = (kept / "objects", places(self.root).common / "objects")
        (common / "objects/info/alternates").write_bytes(b"".join(_line(place) for place in lenders))
        git.run(self.tree, "read-tree", self.start_tree)
        if self._missing:  # of a sparse checkout
            words = ("update-index", "--skip-worktree", "-z", "--stdin")
            git.run(self.tree, *words, stdin=b"\0".join(self._missing))
        git.run(self.tree, "update-index", "-q", "--refresh", ok=(0, 1))

    def _unseen(self, without: set[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """What no tree of git's holds: folders, files, and folders with nothing in them."""
        ignored = self._ask("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
        others = self._ask("ls-files", "-z", "--others", "--exclude-standard", "--directory")
        folders = [path[:-1] for path in ignored if path.endswith(b"/")]
        folders = [path for path in folders if path not in without and _name(path) not in _LEFT_OUT]
        files = [path for path in (*ignored, *others) if not path.endswith(b"/")]
        if more := folders[_MOST_LAYERS:]:
            self._leave_out(more, "more ignored folders than a copy takes along")
        return folders[:_MOST_LAYERS], files, [path for path in others if path.endswith(b"/")]

    def _copy_within_bounds(self, to: Path, files: Iterable[bytes]) -> None:
        left, over = _MOST_COPIED, list[bytes]()
        for path in files:
            with suppress(OSError):
                left -= (size := (self.root / os.fsdecode(path)).lstat().st_size)
                if left < 0:
                    left += size
                    over.append(path)
                    continue
                copy_files(self.root, to, [path])
        if over:
            self._leave_out(over, "too large for a copy of what git ignores")

    def _copy_folders(self, to: Path) -> None:
        """Where nothing can be laid over them, as far as they are small."""
        left, over = _MOST_COPIED, list[bytes]()
        for folder in self._folders:
            real = self.root / os.fsdecode(folder)
            size = sum(_sizes(real, left))
            if size > left:
                over.append(folder)
                continue
            left -= size
            with suppress(shutil.Error):  # of what is no file or cannot be read; all else is copied
                place = to / os.fsdecode(folder)
                shutil.copytree(real, place, symlinks=True, copy_function=_copy_whole, dirs_exist_ok=True)
        if over:
            self._leave_out(over, "too large for a copy, and no overlay can be had")

    def _leave_out(self, paths: list[bytes], why: str) -> None:
        self.notices.append(f"{named(list(map(os.fsdecode, paths)))}: {why}: left out")

    def _ask(self, *words: str) -> list[bytes]:
        return self.start.ask(*words).split(b"\0")[:-1]


def copy_files(root: Path, to: Path, paths: Iterable[bytes]) -> list[bytes]:
    """Regular files and links at `paths` below `root`, with modes and times; returns what is not there."""
    missing: list[bytes] = []
    made = {b""}
    to.mkdir(parents=True, exist_ok=True)
    for path in paths:
        folder = path.rpartition(b"/")[0]
        if folder not in made:
            made.add(folder)
            (to / os.fsdecode(folder)).mkdir(parents=True, exist_ok=True)
        try:
            _copy(root / os.fsdecode(path), to / os.fsdecode(path))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            missing.append(path)
    return missing


def discard(folder: Path) -> None:
    """Away with a copy, also where a command has left folders that nobody may write to."""
    with suppress(FileNotFoundError):
        folder.chmod(0o700)
    for above, names, _ in os.walk(folder):
        for name in names:
            place = Path(above, name)
            if not place.is_symlink():
                with suppress(OSError):
                    place.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Raises FileNotFoundError for what is neither file nor link."""
    status = source.lstat()
    if stat.S_ISLNK(status.st_mode):
        target.symlink_to(os.readlink(source))  # noqa: PTH115 - as it is written, not as Path has it
    elif stat.S_ISREG(status.st_mode):
        with os.fdopen(os.open(source, _REAL_FILES), "rb") as reading, target.open("xb") as writing:
            _pour(reading.fileno(), writing.fileno())
            os.fchmod(writing.fileno(), stat.S_IMODE(status.st_mode) & 0o777)
    else:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _copy_whole(source: str, target: str) -> str:
    with suppress(FileNotFoundError):
        _copy(Path(source), Path(target))
    return target


def _pour(reading: int, writing: int) -> None:
    try:
        share(reading, writing)
    except OSError:
        while data := os.read(reading, 1 << 20):
            while data:
                data = data[os.write(writing, data) :]


def _sizes(folder: Path, most: int) -> Iterator[int]:
    """Of the files below `folder`, until they are more than `most`."""
    total = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (size := Path(above, name).lstat().st_size)
                yield size
        if total > most:
            return


def _line(path: Path) -> bytes:
    """Of a list of object stores."""
    text = os.fsencode(path)
    special = text.startswith((b'"', b"#")) or b"\n" in text
    escaped = text.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return (b'"%b"' % escaped if special else text) + b"\n"


def _name(path: bytes) -> str:
    return os.fsdecode(path.rpartition(b"/")[2])
