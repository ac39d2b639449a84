"""What the kernel offers to confine commands with, tried in a process of its own.

Run as a program it imports nothing of ours, changes only itself, and prints one JSON object.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE: the least that needs a capability in the new namespace
_SET_SECCOMP, _FILTER = 22, 2
_FAULT = 14  # EFAULT: the kernel would take a filter, had we given one
_LANDLOCK = 444  # landlock_create_ruleset, the same number on every machine of today


def main() -> None:
    found = {"landlock": 0, "seccomp": False, "namespaces": f"not on {sys.platform}"}
    if sys.platform == "linux":
        libc: Any = ctypes.CDLL(None, use_errno=True)
        found["landlock"] = max(0, libc.syscall(_LANDLOCK, None, 0, 1))
        libc.prctl(_SET_SECCOMP, _FILTER, None, 0, 0)
        found["seccomp"] = ctypes.get_errno() == _FAULT
        found["namespaces"] = _namespaces(libc)
    sys.stdout.write(json.dumps(found))


def _namespaces(libc: Any) -> str:  # noqa: ANN401 - a library has no type
    """Why there is no user namespace in which mounts can be made; "" if there is one."""
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_MOUNTS):
        return os.strerror(ctypes.get_errno())
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib is 10 ms
                file.write(text)
        except OSError as error:
            return f"{name}: {error.strerror}"
    if libc.mount(None, b"/", None, _PRIVATE, None):
        return f"mount: {os.strerror(ctypes.get_errno())}"
    return ""


if __name__ == "__main__":
    main()
