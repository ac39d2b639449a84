"""Rules of Landlock: which folders a thread, and all that it starts, may read and change."""

from __future__ import annotations

import os
import sys

from . import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 0x1, 0x2, 0x4, 0x8, 0x4000, 0x8000
READ = EXECUTE | READ_FILE | READ_DIR
# all but making devices: to remove, make files, folders, links, sockets and FIFOs, move, truncate
WRITE = WRITE_FILE | TRUNCATE | 0x10 | 0x20 | 0x80 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000
DEVICE = WRITE_FILE | TRUNCATE | IOCTL_DEV
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_BIND_TCP, _CONNECT_TCP, _ABSTRACT_SOCKETS, _SIGNALS = 1, 2, 1, 2


def restrict(abi: int, rules: list[tuple[bytes, int]], *, tcp: bool) -> None:
    """Confine this thread to `rules`, as `ruleset` makes of them. Needs no_new_privs."""
    made = ruleset(abi, rules, tcp=tcp)
    enter(made)
    os.close(made)


def ruleset(abi: int, rules: list[tuple[bytes, int]], *, tcp: bool) -> int:
    """A descriptor to `enter`: folders or files with rights; what is not there is passed over.

    As much as `abi` knows: no signals or abstract sockets to processes outside, and no TCP unless `tcp`.
    """
    known = _known(abi)
    words = [known]
    if abi >= 4:
        words.append(0 if tcp else _BIND_TCP | _CONNECT_TCP)
    if abi >= 6:
        words.append(_ABSTRACT_SOCKETS | _SIGNALS)
    attributes = b"".join(word.to_bytes(8, sys.byteorder) for word in words)
    made = kernel.system(444, attributes, len(attributes), 0)
    for path, rights in rules:
        _allow(made, path, rights & known)
    return made


def enter(ruleset: int) -> None:
    """Confine this thread, and all that it starts, for good. Needs no_new_privs."""
    kernel.system(446, ruleset, 0)


def _known(abi: int) -> int:
    if abi >= 5:
        return 0xFFFF
    return {1: 0x1FFF, 2: 0x3FFF}.get(abi, 0x7FFF)


def _allow(ruleset: int, path: bytes, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if os.fstat(place).st_mode & 0o170000 != 0o040000:
        rights &= _ON_FILES
    if rights:
        rule = rights.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
        kernel.system(445, ruleset, 1, rule, 0)
    os.close(place)
