"""The system calls that a confined command may not make, as a program for the kernel's filter. Pure."""

from __future__ import annotations

import struct

# name: (x86_64, aarch64); None where that machine has no such call
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other processes' memory and descriptors
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    # the tree of mounts, namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "setns": (308, 268),
    "chroot": (161, 51),
    # parts of the kernel with a history
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "vmsplice": (278, 75),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "lookup_dcookie": (212, 18),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # files by number, past every path
    "open_by_handle_at": (304, 265),
    # the machine
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "iopl": (172, None),
    "ioperm": (173, None),
    "vhangup": (153, 58),
    "nfsservctl": (180, 42),
}
# ptrace, and shmget, msgget, semget, mq_open: what they make or find is everybody's
_SHARED = ((101, 117), (29, 194), (68, 186), (64, 190), (240, 180))
# prlimit64 and setpriority, and which argument says whose; 0 is oneself
_OF_OTHERS = (((302, 261), 0), ((141, 140), 1))
# numbers, which argument is the mode, which the flags that say whether there is one
_MAKE_FILES: tuple[tuple[tuple[int | None, int | None], int, int | None], ...] = (
    ((2, None), 2, 1),  # open
    ((257, 56), 3, 2),  # openat
    ((85, None), 1, None),  # creat
    ((90, None), 1, None),  # chmod
    ((91, 52), 1, None),  # fchmod
    ((268, 53), 2, None),  # fchmodat
    ((452, 452), 2, None),  # fchmodat2
    ((133, None), 1, None),  # mknod
    ((259, 33), 2, None),  # mknodat
)
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LAST = 469  # calls that came later are as if the kernel did not have them; 0x40000000 and up is x32
_NAMESPACES = 0x7E020000  # CLONE_NEW*
_NEW_TIME = 0x80
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16

_LOAD, _EQUAL, _ABOVE, _ANY, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data; its arguments begin at 16


def program(machine: str, families: tuple[int, ...], *, alone: bool) -> bytes:
    """The filter for `machine` (as uname says). Sockets only of `families`, and for looking at interfaces.

    `alone`: in namespaces of its own; else what would reach other programs there is refused as well.

    Raises ValueError for a machine whose numbers are not known.
    """
    if machine not in _MACHINES:
        raise ValueError(f"the numbers of {machine}'s system calls are not known here")
    column = list(_MACHINES).index(machine)
    code = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, _MACHINES[machine]), (_RETURN, 0, 0, _KILL)]
    code += [(_LOAD, 0, 0, _NUMBER), (_ABOVE, 0, 1, _LAST), _error(_ENOSYS)]
    for numbers in REFUSED.values():
        if (number := numbers[column]) is not None:
            code += [(_EQUAL, 0, 1, number), _error(_EPERM)]
    for unseen in (435, 437):  # clone3 and openat2: their flags are out of sight; libraries fall back
        code += [(_EQUAL, 0, 1, unseen), _error(_ENOSYS)]
    if not alone:
        code += [line for numbers in _SHARED for line in ((_EQUAL, 0, 1, numbers[column]), _error(_EPERM))]
        for numbers, process in _OF_OTHERS:
            own = [_argument(process), (_EQUAL, 1, 0, 0), _error(_EPERM), (_RETURN, 0, 0, _ALLOW)]
            code += _when(numbers[column], own)
    code += _when((56, 220)[column], _flags(_NAMESPACES))  # clone
    code += _when((272, 97)[column], _flags(_NAMESPACES | _NEW_TIME))  # unshare
    code += _when((16, 29)[column], _ioctl())
    code += _when((41, 198)[column], _socket(families))
    code += _set_id_files(column)
    return b"".join(struct.pack("=HBBI", *line) for line in [*code, (_RETURN, 0, 0, _ALLOW)])


_Line = tuple[int, int, int, int]


def _error(number: int) -> _Line:
    return (_RETURN, 0, 0, _ERRNO | number)


def _argument(index: int) -> _Line:
    return (_LOAD, 0, 0, 16 + 8 * index)  # the low half: both machines are little-endian


def _when(number: int, body: list[_Line]) -> list[_Line]:
    """`body`, which always returns, for the call `number`."""
    return [(_EQUAL, 0, len(body), number), *body]


def _flags(forbidden: int) -> list[_Line]:
    return [_argument(0), (_ANY, 0, 1, forbidden), _error(_EPERM), (_RETURN, 0, 0, _ALLOW)]


def _ioctl() -> list[_Line]:
    """TIOCSTI and TIOCLINUX type into a terminal. The kernel looks at 32 bits, so do we."""
    refused = [line for number in (0x5412, 0x541C) for line in ((_EQUAL, 0, 1, number), _error(_EPERM))]
    return [_argument(1), *refused, (_RETURN, 0, 0, _ALLOW)]


def _set_id_files(column: int) -> list[_Line]:
    """Nobody makes a program that runs as its owner or group."""
    code: list[_Line] = []
    for numbers, mode, flags in _MAKE_FILES:
        if (number := numbers[column]) is not None:
            refuse = [_argument(mode), (_ANY, 0, 1, 0o6000), _error(_EPERM)]
            if flags is not None:  # without O_CREAT and O_TMPFILE the mode is whatever was there
                skip = len(refuse)
                refuse = [_argument(flags), (_ANY, 0, skip, 0x400040), *refuse]
            code += _when(number, [*refuse, (_RETURN, 0, 0, _ALLOW)])
    return code


def _socket(families: tuple[int, ...]) -> list[_Line]:
    code: list[_Line] = [_argument(0)]
    if _UNIX in families:
        code += [(_EQUAL, 0, 1, _UNIX), (_RETURN, 0, 0, _ALLOW)]
    netlink = [_argument(2), (_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _ALLOW), _error(_EPERM)]  # NETLINK_ROUTE
    code += [(_EQUAL, 0, len(netlink), _NETLINK), *netlink]
    for family in (_INET, _INET6):
        if family in families:
            kind = [_argument(1), (_AND, 0, 0, 0xF), (_EQUAL, 0, 1, 3), _error(_EPERM)]  # SOCK_RAW
            body = [*kind, (_RETURN, 0, 0, _ALLOW)]
            code += [(_EQUAL, 0, len(body), family), *body]
    refused = _EPERM if families == () else _EAFNOSUPPORT
    return [*code, _error(refused)]
