"""A new root that holds what is listed and nothing else; the old one is let go."""

from __future__ import annotations

import os

from . import kernel
from .kernel import NODEV, NOEXEC, NOSUID, RDONLY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import TypedDict

    class Layout(TypedDict):
        """What the new root holds; absolute paths, but `protected` and `deeper` are below `work`."""

        base: bytes  # an existing folder, over which it is built
        binds: list[tuple[bytes, bytes, bool]]  # from where, to where, writable; parents first
        layers: list[tuple[bytes, bytes, bytes]]  # where, what is seen there, a folder for what is changed
        links: list[tuple[bytes, bytes]]  # where, and what they say
        work: bytes
        protected: list[bytes]  # read-only
        deeper: list[bytes]  # likewise, in folders that may be moved
        hidden: list[bytes]  # an empty file or folder
        processes: int  # how many there may be at once; 0: the kernel cannot bound them


_SAFE = NOSUID | NODEV
_FOLDER = os.O_PATH | os.O_DIRECTORY
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
_DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty")
_DEVICE_LINKS = {
    b"fd": b"/proc/self/fd",
    b"stdin": b"fd/0",
    b"stdout": b"fd/1",
    b"stderr": b"fd/2",
    b"ptmx": b"pts/ptmx",
}
_SETTINGS = (b"sys", b"sysrq-trigger", b"irq", b"bus", b"fs", b"acpi", b"scsi", b"driver", b"tty")
_SECRETIVE = (b"kcore", b"keys", b"kmsg", b"timer_list", b"sched_debug", b"kallsyms", b"config.gz")


def change_root(layout: Layout) -> None:
    """Build the new root and enter it. Needs new namespaces of users, mounts and processes.

    What is readable only, protected or hidden and does not exist is passed over.
    """
    kernel.mount(b"none", b"/", b"", 0x44000)  # MS_REC | MS_PRIVATE: nothing of this is seen outside
    trees = [(bind[1], _tree(bind)) for bind in layout["binds"]]
    trees += [(target, kernel.overlay(real, changes)) for target, real, changes in layout["layers"]]
    kernel.mount(b"tmpfs", layout["base"], b"tmpfs", _SAFE, b"size=16m,mode=755")
    os.chdir(layout["base"])
    root = os.open(b".", _FOLDER)
    _fill_dev(root)
    _fill_proc(root, layout["processes"])
    for target, tree in trees:
        if tree is not None:
            _attach(root, target, tree)
    for path, text in layout["links"]:
        _link(root, path, text)
    work = kernel.open_beneath(root, layout["work"][1:], _FOLDER)
    _protect(work, layout["protected"])
    _freeze(work, layout["deeper"], ())
    _pin(root, layout["work"], layout["hidden"])
    _hide(root, layout["hidden"])
    kernel.change_root(layout["base"])
    kernel.restrict_mount(b"/", _SAFE | RDONLY)


def _tree(bind: tuple[bytes, bytes, bool]) -> int | None:
    source, _, writable = bind
    try:
        tree = kernel.clone_tree(source)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        if writable:
            raise
        return None
    kernel.restrict_tree(tree, _SAFE if writable else _SAFE | RDONLY)
    return tree


def _attach(root: int, target: bytes, tree: int) -> None:
    """Put `tree` at `target`, which is made if it is not there; never through a link."""
    try:
        place = kernel.open_beneath(root, target[1:], os.O_PATH)
    except OSError:  # not there, or behind a link: an earlier command made it, in the home that is kept
        place = _make(_parent(root, target), target.rpartition(b"/")[2], _is_folder(tree))
    kernel.attach(tree, place)
    os.close(place)


def _link(root: int, path: bytes, text: bytes) -> None:
    try:
        os.symlink(text, path.rpartition(b"/")[2], dir_fd=_parent(root, path))
    except FileExistsError:
        return  # of an earlier command, in the home that is kept


def _make(parent: int, name: bytes, is_folder: bool) -> int:
    """A new file or folder, in place of a link or a file if there is one."""
    _unlink(parent, name)
    if is_folder:
        os.mkdir(name, 0o755, dir_fd=parent)
    else:
        os.close(os.open(name, _NEW_FILE, 0o444, dir_fd=parent))
    return kernel.open_beneath(parent, name, os.O_PATH)


def _unlink(parent: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _parent(root: int, path: bytes) -> int:
    """The folder that `path` is to lie in."""
    folder = root
    for name in path.split(b"/")[1:-1]:
        try:
            folder = kernel.open_beneath(folder, name, _FOLDER)
        except OSError:
            folder = _make(folder, name, True)
    return folder


def _protect(work: int, paths: list[bytes]) -> None:
    """Read-only, and each folder above them a mount of its own: a mount cannot be renamed."""
    pinned = {path[:end] for path in paths for end, char in enumerate(path) if char == ord("/")}
    _freeze(work, sorted(pinned | set(paths)), pinned)


def _freeze(work: int, paths: list[bytes], pinned: Collection[bytes]) -> None:
    for path in paths:
        try:
            place = kernel.open_beneath(work, path, os.O_PATH)
        except OSError:  # not there, or behind a link: what comes to be there is looked for afterwards
            continue
        tree = kernel.clone_tree(b"", place)
        kernel.restrict_tree(tree, _SAFE if path in pinned else _SAFE | RDONLY)
        kernel.attach(tree, place)


def _pin(root: int, work: bytes, paths: list[bytes]) -> None:
    """The folders between `work` and `paths` keep their names: else the next command would find them bare."""
    beneath = work.rstrip(b"/") + b"/"
    pinned = {
        path[:end]
        for path in paths
        if path.startswith(beneath)
        for end in range(len(beneath), len(path))
        if path[end] == ord("/")
    }
    for path in sorted(pinned):  # a folder before what is in it
        try:
            place = kernel.open_beneath(root, path[1:], _FOLDER)
        except OSError:
            continue
        kernel.attach(kernel.clone_tree(b"", place), place)


def _hide(root: int, paths: list[bytes]) -> None:
    if not paths:
        return
    nothing = {False: _make(root, b".empty", False), True: _make(root, b".nothing", True)}
    for path in paths:
        try:
            place = kernel.open_beneath(root, path[1:], os.O_PATH)
        except OSError:  # not there, or a link: then its target is in the list if it is a secret
            continue
        _cover(place, nothing[_is_folder(place)])


def _cover(place: int, thing: int) -> None:
    tree = kernel.clone_tree(b"", thing)
    kernel.restrict_tree(tree, _SAFE | RDONLY)
    kernel.attach(tree, place)


def _is_folder(descriptor: int) -> bool:
    return os.fstat(descriptor).st_mode & 0o170000 == 0o040000


def _fill_dev(root: int) -> None:
    dev = _make(root, b"dev", True)
    for name in _DEVICES:
        os.close(_make(dev, name, False))
        kernel.mount(b"/dev/" + name, b"dev/" + name, b"", 0x1000)  # MS_BIND; without NODEV, or it is dead
        kernel.restrict_mount(b"dev/" + name, RDONLY | NOSUID | NOEXEC)  # else root could change its mode
    for name, text in _DEVICE_LINKS.items():
        os.symlink(text, name, dir_fd=dev)
    _make(dev, b"pts", True)
    kernel.mount(b"devpts", b"dev/pts", b"devpts", NOSUID | NOEXEC, b"newinstance,ptmxmode=0666,mode=620")
    _make(dev, b"shm", True)
    kernel.mount(b"tmpfs", b"dev/shm", b"tmpfs", _SAFE, b"mode=1777,size=25%")


def _fill_proc(root: int, processes: int) -> None:
    """Only its own processes; what changes or tells of the machine is read-only or empty."""
    _make(root, b"proc", True)
    kernel.mount(b"proc", b"proc", b"proc", _SAFE | NOEXEC)
    _limit_processes(processes)
    for name in _SETTINGS:
        try:
            place = kernel.open_beneath(root, b"proc/" + name, os.O_PATH)
        except OSError:
            continue
        _cover(place, place)
    nothing = kernel.open_beneath(root, b"dev/null", os.O_PATH)
    for name in _SECRETIVE:
        try:
            _cover(kernel.open_beneath(root, b"proc/" + name, os.O_PATH), nothing)
        except OSError:
            continue


def _limit_processes(count: int) -> None:
    """RLIMIT_NPROC does not bind root; the numbers of a namespace of processes bind everybody."""
    if count:
        with open("proc/sys/kernel/pid_max", "w", encoding="ascii") as setting:  # noqa: PTH123 - dear to load
            setting.write(str(count))
