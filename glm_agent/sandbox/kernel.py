"""System calls that Python has no name for; each raises OSError. Imports little: a launcher is waited for."""

from __future__ import annotations

import ctypes
import os
import sys

AT_FDCWD = -100
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8  # of a mount; the same bits old and new
BENEATH, NO_SYMLINKS, NO_MAGICLINKS = 0x08, 0x04, 0x02

_EPERM, _EINVAL = 1, 22
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_AT_EMPTY_PATH, _AT_RECURSIVE, _AT_NOFOLLOW = 0x1000, 0x8000, 0x100
_OPEN_TREE_CLONE, _MOVE_BOTH_EMPTY = 1, 0x44


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers; 0 if none."""
    try:
        return system(444, None, 0, 1) if sys.platform == "linux" else 0
    except OSError:
        return 0


def shield() -> None:
    """Of the calling process: other programs of the same user cannot look into its memory or environment."""
    if sys.platform == "linux":
        prctl(4, 0)  # PR_SET_DUMPABLE


def system(number: int, *words: int | bytes | None) -> int:
    """A call whose number is the same on all machines (424 and above)."""
    wide = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    return _checked(_libc.syscall(ctypes.c_long(number), *wide))


def prctl(option: int, value: int = 0, more: int | bytes = 0) -> int:
    third = ctypes.c_ulong(more) if isinstance(more, int) else more
    return _checked(_libc.prctl(option, ctypes.c_ulong(value), third, ctypes.c_ulong(0), ctypes.c_ulong(0)))


def load_filter(program: bytes) -> None:
    """Load a seccomp filter; needs no_new_privs."""
    code = ctypes.create_string_buffer(program, len(program))
    count = len(program) // 8
    header = count.to_bytes(8, sys.byteorder) + ctypes.addressof(code).to_bytes(8, sys.byteorder)
    prctl(22, 2, header)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags))


def mount(source: bytes, target: bytes, kind: bytes, flags: int, options: bytes = b"") -> None:
    _checked(_libc.mount(source, target, kind, ctypes.c_ulong(flags), options))


def change_root(root: bytes) -> None:
    """Make the mount at `root` the root and let the old one go."""
    os.chdir(root)
    _checked(_libc.pivot_root(b".", b"."))
    _checked(_libc.umount2(b".", 2))  # MNT_DETACH
    os.chdir("/")


def clone_tree(path: bytes, folder: int = AT_FDCWD) -> int:
    """A copy of the mounts at `path` (b"" for `folder` itself), attached nowhere yet."""
    return system(428, folder, path, _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC | _AT_EMPTY_PATH)


def restrict_tree(tree: int, flags: int) -> None:
    """Add `flags` (RDONLY and so on) to a mount and to all below it."""
    words = flags.to_bytes(8, sys.byteorder) + bytes(24)
    system(442, tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, words, len(words))


def restrict_mount(path: bytes, flags: int) -> None:
    """Add `flags` to the one mount at `path`."""
    words = flags.to_bytes(8, sys.byteorder) + bytes(24)
    system(442, AT_FDCWD, path, 0, words, len(words))


def attach(tree: int, place: int) -> None:
    """Put what `clone_tree` gave onto the file or folder `place`, and close it."""
    system(429, tree, b"", place, b"", _MOVE_BOTH_EMPTY)
    os.close(tree)


def overlay(lower: bytes, changes: bytes) -> int:
    """A mount, attached nowhere yet, that shows the folder `lower`; what is written goes to `changes`.

    The layers are named by descriptors: what a mount is told in text may have 255 bytes.
    """
    folder = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    places = {b"lowerdir": os.open(lower, folder)}
    for key, name in ((b"upperdir", b"upper"), (b"workdir", b"work")):
        place = os.path.join(changes, name)  # noqa: PTH118 - dear to load
        os.makedirs(place, 0o700, exist_ok=True)  # noqa: PTH103
        places[key] = os.open(place, folder)
    context = system(430, b"overlay", 1)  # fsopen, FSOPEN_CLOEXEC
    for key, descriptor in places.items():
        system(431, context, 1, key, b"/proc/self/fd/%d" % descriptor, 0)  # fsconfig, FSCONFIG_SET_STRING
    system(431, context, 0, b"userxattr", None, 0)  # FSCONFIG_SET_FLAG
    system(431, context, 6, None, None, 0)  # FSCONFIG_CMD_CREATE
    tree = system(432, context, 1, NOSUID | NODEV)  # fsmount, FSMOUNT_CLOEXEC
    for descriptor in (context, *places.values()):
        os.close(descriptor)
    return tree


def open_beneath(folder: int, path: bytes, flags: int) -> int:
    """Opened without a link of any kind on the way, and never above `folder`."""
    how = [flags | os.O_CLOEXEC, 0, BENEATH | NO_SYMLINKS | NO_MAGICLINKS]
    words = b"".join(word.to_bytes(8, sys.byteorder) for word in how)
    return system(437, folder, path or b".", words, len(words))


def drop_capabilities() -> None:
    """All of them, for good: also what a program run as root would get back."""
    try:
        prctl(28, 0x2F)  # PR_SET_SECUREBITS: uid 0 is nothing special, and that is locked
        for number in range(64):  # ends with an error after the last one
            prctl(24, number)  # PR_CAPBSET_DROP
    except OSError as error:
        if error.errno not in (_EPERM, _EINVAL):  # whoever may not do this has no capabilities
            raise
    header = (0x20080522).to_bytes(4, sys.byteorder) + bytes(4)
    _checked(_libc.capset(header, bytes(24)))


def set_limit(resource: int, value: int) -> None:
    """Lower both limits of `resource` to `value`; what is lower already stays."""
    pair = (ctypes.c_uint64 * 2)()
    _checked(_libc.getrlimit(resource, pair))
    pair[0], pair[1] = min(pair[0], value), min(pair[1], value)
    _checked(_libc.setrlimit(resource, pair))


def raise_loopback() -> None:
    """Bring the interface `lo` of a new network up."""
    sock = _checked(_libc.socket(2, 2 | os.O_CLOEXEC, 0))
    request = b"lo".ljust(16, b"\0") + (0x41).to_bytes(2, sys.byteorder) + bytes(22)  # IFF_UP | IFF_RUNNING
    _checked(_libc.ioctl(sock, ctypes.c_ulong(0x8914), request))
    os.close(sock)


# Signals, without the module of that name: its import is dear.


def block(signals: tuple[int, ...]) -> ctypes.Array[ctypes.c_char]:
    """Block them, and return them as a set to wait for."""
    found = ctypes.create_string_buffer(128)
    for number in signals:
        _libc.sigaddset(found, number)
    _libc.sigprocmask(0, found, None)
    return found


def wait_signal(signals: ctypes.Array[ctypes.c_char]) -> int:
    number = ctypes.c_int()
    _libc.sigwait(signals, ctypes.byref(number))
    return number.value


def reset_signals() -> None:
    """Nothing ignored and nothing blocked: how a program expects to start."""
    for number in range(1, 32):
        _libc.signal(number, ctypes.c_void_p(0))
    _libc.sigprocmask(2, ctypes.create_string_buffer(128), None)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
