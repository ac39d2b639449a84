"""What comes to be where it would run later, unconfined, is found after a command, put back, and told of.

In a new root the kernel keeps a command from what exists; what does not exist cannot be mounted over. In
place (tier B) no part of the tree can be excepted, so `.git` and the like are recorded before and restored
after. The record stays in a folder of ours until that is done: what a crash left undone, the next start does.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from .. import descent, durable
from .plan import Tier
from .policy import Policy

_NOT_RECORDED = {"objects", "logs", "lfs"}  # of `.git`: contents that git checks by their hash, or only shows


class Entry(NamedTuple):
    """What was at a path. `stamp` is the inode; of a file with its size and times, one not to be set."""

    kind: str  # file, folder, link, other; "" for nothing
    mode: int = 0
    text: str = ""  # of a link
    stamp: tuple[int, ...] = ()


class Undone(NamedTuple):
    path: str  # below the root
    what: str  # removed, restored


def record(policy: Policy, tier: Tier) -> None:
    """Before a command: note in the policy's store what is at its protected paths."""
    store = policy.store
    with _opened(policy.tree) as root:
        before = {path: _look(root, path) for path in _with_parents(policy.protected)}
        inside = tier == "B" and not policy.read_only
        paths = (*policy.protected, *policy.deeper) if inside else policy.protected
        if inside:
            before |= {path: _look(root, path) for path in policy.deeper}
            for path in paths:
                before |= dict(_walk(root, path, before[path]))
        durable.make_folder(store)
        for path, entry in before.items():
            if inside and entry.kind == "file":
                _copy(root, path, store / _name(path, entry))
    note = {"root": str(policy.tree), "inside": inside, "protected": paths, "before": before}
    place = _place(store, os.getpid())
    durable.replace(place, json.dumps(note).encode(), lasting=False)


def restore(store: Path, process: int | None = None) -> list[Undone]:
    """After a command, when all of it is dead: put right what this process, or `process`, has recorded.

    Nothing recorded, nothing done. Raises OSError if something cannot be put right.
    """
    place = _place(store, process or os.getpid())
    try:
        note = json.loads(place.read_text("ascii"))
    except FileNotFoundError:
        return []
    before = {path: _entry(*fields) for path, fields in note["before"].items()}
    leading = set(_with_parents(note["protected"])) - set(note["protected"])
    undone: list[Undone] = []
    with _opened(Path(note["root"])) as root:
        undone += _bring_back(root, note["protected"], before) if note["inside"] else ()
        for path, entry in before.items():  # folders before what is in them
            now = _look(root, path)
            if _is_misled(entry, now) if path in leading else _is_wrong(entry, now, note["inside"]):
                undone.append(_put_right(root, path, entry, store if path not in leading else None))
        if note["inside"]:
            for path in note["protected"]:
                undone += _remove_new(root, path, before)
    place.unlink()
    return undone


def recover(store: Path) -> list[Undone]:
    """At the start: do what processes that are gone have left undone."""
    names = [path.stem.rpartition("-")[2] for path in store.glob("record-*.json")]
    return [
        undone for name in names if not Path("/proc", name).exists() for undone in restore(store, int(name))
    ]


def _place(store: Path, process: int) -> Path:
    return store / f"record-{process}.json"


def _with_parents(paths: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    for path in paths:
        parts = PurePosixPath(path).parts
        found |= dict.fromkeys("/".join(parts[:end]) for end in range(1, len(parts) + 1))
    return list(found)


def _entry(kind: str, mode: int, text: str, stamp: list[int]) -> Entry:
    return Entry(kind, mode, text, tuple(stamp))


def _is_misled(entry: Entry, now: Entry) -> bool:
    """Of a folder that leads to a protected path, and is else nobody's business: now it leads elsewhere."""
    return "link" in (entry.kind, now.kind) and (entry.kind, entry.text) != (now.kind, now.text)


def _is_wrong(entry: Entry, now: Entry, inside: bool) -> bool:
    if entry.kind in ("", "link"):
        return (entry.kind, entry.text) != (now.kind, now.text)
    return inside and (entry[:3] != now[:3] or (entry.kind == "file" and entry.stamp != now.stamp))


def _bring_back(root: int, paths: list[str], before: dict[str, Entry]) -> Iterator[Undone]:
    """A folder that was renamed, with all in it that is not recorded."""
    found = {_look(root, name).stamp[:1]: name for name in os.listdir(root)}
    for path in paths:
        entry = before[path]
        if entry.kind != "folder" or _look(root, path).stamp == entry.stamp or entry.stamp not in found:
            continue
        with descent.parent(root, path, _make_folder) as (parent, name):
            if _look(root, path).kind:
                _remove(parent, name)
            os.rename(found[entry.stamp], name, src_dir_fd=root, dst_dir_fd=parent)
        yield Undone(path, "restored")


def _put_right(root: int, path: str, entry: Entry, store: Path | None) -> Undone:
    """Without a store, only links are made anew."""
    with descent.parent(root, path, None if store is None else _make_folder) as (parent, name):
        now = _look(root, path).kind
        if now and not (now == entry.kind == "folder"):
            _remove(parent, name)
            now = ""
        if entry.kind == "link":
            os.symlink(entry.text, name, dir_fd=parent)
        elif store is None:
            return Undone(path, "removed")
        elif entry.kind == "folder":
            if not now:
                os.mkdir(name, dir_fd=parent)
            os.chmod(name, entry.mode, dir_fd=parent)
        elif entry.kind == "file":
            _paste(store / _name(path, entry), parent, name)
            os.chmod(name, entry.mode, dir_fd=parent)
    return Undone(path, "restored" if entry.kind else "removed")


def _remove_new(root: int, path: str, before: dict[str, Entry]) -> Iterator[Undone]:
    for found, _ in list(_walk(root, path, _look(root, path))):
        if found not in before:
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                descent.parent(root, found) as (parent, name),
            ):
                _remove(parent, name)
                yield Undone(found, "removed")


def _walk(root: int, path: str, entry: Entry) -> Iterator[tuple[str, Entry]]:
    """What is in the folder `path`, folders before what is in them."""
    waiting = [path] if entry.kind == "folder" else []
    while waiting:
        folder = waiting.pop()
        with descent.parent(root, f"{folder}/.") as (opened, _):
            names = sorted(os.listdir(opened))  # noqa: PTH208 - of a descriptor
        for name in names:
            found = _look(root, f"{folder}/{name}")
            yield f"{folder}/{name}", found
            if found.kind == "folder" and not (folder == ".git" and name in _NOT_RECORDED):
                waiting.append(f"{folder}/{name}")
        if folder == ".git" and _look(root, ".git/objects/info").kind == "folder":
            waiting.append(".git/objects/info")  # alternates: where else git takes objects from


def _look(root: int, path: str) -> Entry:
    """Without following a link anywhere on the way: behind one there is nothing."""
    try:
        with descent.parent(root, path) as (parent, name):
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            text = os.readlink(name, dir_fd=parent) if stat.S_ISLNK(found.st_mode) else ""
    except OSError:
        return Entry("")
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    stamp: tuple[int, ...] = (found.st_ino,) if kind == "folder" else ()
    if kind == "file":
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return Entry(kind, stat.S_IMODE(found.st_mode), text, stamp)


def _name(path: str, entry: Entry) -> str:
    """Of a copy. The same contents at the same path have the same name, so that they are copied once."""
    return sha256(json.dumps([path, entry.stamp]).encode()).hexdigest()


def _copy(root: int, path: str, to: Path) -> None:
    if to.exists():
        return
    with descent.parent(root, path) as (parent, name):
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        fresh = to.with_suffix(".new")
        with os.fdopen(source, "rb") as reading, fresh.open("wb") as writing:
            shutil.copyfileobj(reading, writing)
        fresh.replace(to)


def _paste(copy: Path, parent: int, name: str) -> None:
    with copy.open("rb") as reading, _new(parent, name) as writing:
        shutil.copyfileobj(reading, writing)


def _new(parent: int, name: str) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb")


def _remove(parent: int, name: str) -> None:
    """Whatever it is. What resists, by depth or by mode, is at least moved out of the way."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
    except (OSError, RecursionError):
        os.rename(name, f".removed-{os.urandom(4).hex()}", src_dir_fd=parent, dst_dir_fd=parent)


@contextmanager
def _opened(path: Path) -> Generator[int]:
    folder = os.open(path, descent.FOLDER)
    try:
        yield folder
    finally:
        os.close(folder)


def _make_folder(parent: int, name: str) -> None:
    kind = _look(parent, name).kind
    if kind not in ("", "folder"):
        _remove(parent, name)
    if kind != "folder":
        os.mkdir(name, dir_fd=parent)
