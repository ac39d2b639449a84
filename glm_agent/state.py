"""The exact state of a work tree: every byte as it is on disk, and what no git tree can say.

A snapshot's trees hold what git would commit: line ends and the like converted, one bit of a file's mode.
Here are the bytes themselves, all permission bits, and directories with nothing in them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from . import large
from .errors import RepositoryError
from .shape import mapping, string, texts
from .snapshot import Snapshot
from .types import Json

_BATCH = 32 * 1024 * 1024  # bytes that are held at a time
_CHUNK = 1024 * 1024  # bytes
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINK = 0o120000
_FILE = 0o100644
FOLDER = 0o040000
_MOST_EMPTY = 1000  # directories that are looked into for one that seems to hold nothing


class Entry(NamedTuple):
    """A file, link or directory: git's mode and blob."""

    mode: int
    blob: str

    @property
    def is_folder(self) -> bool:
        return self.mode == FOLDER


class State(NamedTuple):
    """`tree` is the snapshot's, `files` one of the same files unconverted.

    `usual` are the permission bits of most files and folders, by git's mode; `bits` those that differ;
    `folders` are directories that hold nothing, `large` files that are kept beside the trees, by what stands
    for their blobs.
    """

    tree: str
    files: str
    usual: Mapping[str, int] = {}
    bits: Mapping[str, int] = {}
    folders: tuple[str, ...] = ()
    large: Mapping[str, str] = {}

    def permissions(self, path: str, mode: int) -> int | None:
        """The permission bits of what is at `path`; None where they are not known."""
        return self.bits.get(path, self.usual.get(f"{mode:o}"))

    def record(self) -> Json:
        return {**self._asdict(), "folders": list(self.folders)}

    @classmethod
    def of(cls, record: Json) -> State:
        return cls(
            string(record.get("tree")),
            string(record.get("files")),
            {kind: bits for kind, bits in mapping(record.get("usual")).items() if isinstance(bits, int)},
            {path: bits for path, bits in mapping(record.get("bits")).items() if isinstance(bits, int)},
            tuple(texts(record.get("folders"))),
            {path: string(blob) for path, blob in mapping(record.get("large")).items()},
        )


def take(snapshot: Snapshot, tree: str, *, keep: bool = False) -> State:
    """The state of the work tree, of which `tree` has just been taken; `keep` its large files too."""
    found = entries(snapshot, tree)
    there = {path: status for path in found if (status := _status(snapshot, path))}
    files = include(snapshot, tree, _converted(snapshot, found, there))
    folders = _outer((*found, *snapshot.large)) | {""}
    modes = {path: found[path].mode for path in there if found[path].mode != _LINK}
    there |= {path: status for path in folders if path and (status := _status(snapshot, path))}
    modes |= {path: FOLDER for path in folders if path in there}
    empty = list(_empty(snapshot, folders))
    for path in empty:
        if status := _status(snapshot, path):
            there[path], modes[path] = status, FOLDER
    found_large = {path: status for path in snapshot.large if (status := _status(snapshot, path))}
    for path, status in found_large.items():
        there[path], modes[path] = status, _FILE
        if keep:
            large.keep(snapshot.folder / "large", snapshot.root, path)
    names = {path: large.name_of(status) for path, status in found_large.items()}
    usual, bits = _summed({path: (mode, stat.S_IMODE(there[path].st_mode)) for path, mode in modes.items()})
    return State(tree, files, usual, bits, tuple(empty), names)


def include(snapshot: Snapshot, tree: str, paths: Iterable[str]) -> str:
    """`tree` with the very bytes of the regular files at `paths`."""
    lines: list[bytes] = []
    for path, blob in _hashed(snapshot, list(paths)):
        status = _status(snapshot, path)
        mode = "100755" if status and status.st_mode & stat.S_IXUSR else "100644"
        lines.append(f"{mode} {blob}\t".encode() + os.fsencode(path))
    return snapshot.edited(tree, "--index-info", lines) if lines else tree


def entries(snapshot: Snapshot, tree: str) -> dict[str, Entry]:
    """What is in `tree`, by path."""
    found: dict[str, Entry] = {}
    for line in snapshot.ask("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]:
        facts, _, path = line.partition(b"\t")
        mode, kind, blob = facts.split()
        if kind == b"blob":
            found[os.fsdecode(path)] = Entry(int(mode, 8), blob.decode())
    return found


def everything(snapshot: Snapshot, state: State) -> dict[str, Entry]:
    """The files and directories of a state, by path."""
    found = {**_listed(snapshot, state.files), **{path: Entry(_FILE, it) for path, it in state.large.items()}}
    return {**dict.fromkeys((*_outer(found), *state.folders), Entry(FOLDER, "")), **found}


@lru_cache(maxsize=3)  # which an undo asks for again and again
def _listed(snapshot: Snapshot, tree: str) -> Mapping[str, Entry]:
    return entries(snapshot, tree)


def above(path: str) -> Iterator[str]:
    """The directories that `path` is in, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def blob_of(name: str, folder: int | None, like: str) -> str | None:
    """The id that git would give the bytes of a file, or a link's target, of the same kind as `like`.

    None if it is neither, or not there. Nothing is followed.
    """
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if large.is_large(like):
        return large.name_of(status) if stat.S_ISREG(status.st_mode) else None
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % status.st_size)
    if stat.S_ISLNK(status.st_mode):
        digest.update(os.fsencode(os.readlink(name, dir_fd=folder)))
        return digest.hexdigest()
    if not stat.S_ISREG(status.st_mode):
        return None
    with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def contents(snapshot: Snapshot, wanted: Iterable[Entry]) -> Iterator[tuple[str, bytes]]:
    """Each blob with its content. Raises RepositoryError for one that is kept no longer."""
    batch: list[str] = []
    total = 0
    for blob, size in _sizes(snapshot, {entry.blob for entry in wanted}).items():
        if batch and total + size > _BATCH:
            yield from _read(snapshot, batch)
            batch, total = [], 0
        batch.append(blob)
        total += size
    yield from _read(snapshot, batch)


def _sizes(snapshot: Snapshot, blobs: Collection[str]) -> dict[str, int]:
    """In bytes; 0 for one that is kept no longer."""
    if not blobs:
        return {}
    stdin = "".join(f"{blob}\n" for blob in blobs).encode()
    rows = [line.split() for line in snapshot.ask("cat-file", "--batch-check", stdin=stdin).split(b"\n")[:-1]]
    return {row[0].decode(): int(row[2]) if len(row) == 3 else 0 for row in rows}


def _read(snapshot: Snapshot, blobs: list[str]) -> Iterator[tuple[str, bytes]]:
    if not blobs:
        return
    said = snapshot.ask("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs).encode())
    at = 0
    for blob in blobs:
        end = said.index(b"\n", at)
        words = said[at:end].split()
        if len(words) != 3:
            raise RepositoryError(f"blob {blob} is kept no longer: it was git's, and git has removed it")
        start, at = end + 1, end + 2 + int(words[2])
        yield blob, said[start : at - 1]


def _converted(
    snapshot: Snapshot, found: Mapping[str, Entry], there: Mapping[str, os.stat_result]
) -> list[str]:
    """Files whose bytes are not those of their blob: what git converts changes its size, as a rule."""
    named = [entry for path, entry in found.items() if path.rpartition("/")[2] == ".gitattributes"]
    words = b"\n".join((snapshot.conversions(), *(content for _, content in contents(snapshot, named))))
    if not words.strip():
        return []
    plain = [
        path for path, status in there.items() if stat.S_ISREG(status.st_mode) and found[path].mode != _LINK
    ]
    sizes = _sizes(snapshot, {found[path].blob for path in plain})
    differ = {path for path in plain if there[path].st_size != sizes[found[path].blob]}
    if b"working-tree-encoding" in words:
        differ |= _encoded(snapshot, plain)
    return sorted(differ)


def _encoded(snapshot: Snapshot, paths: list[str]) -> set[str]:
    stdin = b"".join(os.fsencode(path) + b"\0" for path in paths)
    said = snapshot.ask("check-attr", "-z", "--stdin", "working-tree-encoding", stdin=stdin).split(b"\0")
    rows = zip(said[0::3], said[2::3], strict=False)
    return {os.fsdecode(path) for path, value in rows if value not in (b"unspecified", b"unset")}


def _hashed(snapshot: Snapshot, paths: list[str]) -> Iterator[tuple[str, str]]:
    """Each path with the blob that holds its bytes, kept."""
    odd = [path for path in paths if "\n" in path or path.startswith('"')]
    even = [path for path in paths if path not in odd]
    form = ("hash-object", "-w", "--no-filters")
    if even:
        names = b"".join(os.fsencode(path) + b"\n" for path in even)
        yield from zip(even, snapshot.ask(*form, "--stdin-paths", stdin=names).decode().split(), strict=True)
    for path in odd:
        content = (snapshot.root / path).read_bytes()
        yield path, snapshot.ask(*form, "--stdin", stdin=content).decode().strip()


def _status(snapshot: Snapshot, path: str) -> os.stat_result | None:
    try:
        return os.lstat(f"{snapshot.root}/{path}")
    except OSError:
        return None


def _outer(found: Iterable[str]) -> set[str]:
    """All directories that the files at these paths are in, but for the root."""
    nearest = {path.rpartition("/")[0] for path in found} - {""}
    return nearest | {outer for folder in nearest for outer in above(folder)}


def _empty(snapshot: Snapshot, known: set[str]) -> Iterator[str]:
    """Directories in the `known` ones that hold nothing but such directories, the outer ones first."""
    for folder in sorted(known):
        for name in _folders(f"{snapshot.root}/{folder}")[0]:
            path = f"{folder}/{name}" if folder else name
            if path not in known and name != ".git":
                yield from _if_empty(f"{snapshot.root}/", path)


def _if_empty(root: str, path: str) -> list[str]:
    found, todo = [path], [path]
    while todo:
        names, is_all = _folders(root + (here := todo.pop()))
        if not is_all or ".git" in names or len(found) > _MOST_EMPTY:
            return []
        found += (below := [f"{here}/{name}" for name in names])
        todo += below
    return found


def _folders(place: str) -> tuple[list[str], bool]:
    """The directories in a directory, and whether there is nothing else; False where that is not known."""
    try:
        with os.scandir(place) as found:
            items = [(item.name, item.is_dir(follow_symlinks=False)) for item in found]
    except OSError:
        return [], False
    return [name for name, is_folder in items if is_folder], all(is_folder for _, is_folder in items)


def _summed(modes: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], dict[str, int]]:
    """The commonest bits of each kind, and the paths that have others."""
    counts = Counter(modes.values())
    usual: dict[str, int] = {}
    for (mode, bits), _ in counts.most_common():
        usual.setdefault(f"{mode:o}", bits)
    return usual, {path: bits for path, (mode, bits) in modes.items() if usual[f"{mode:o}"] != bits}
