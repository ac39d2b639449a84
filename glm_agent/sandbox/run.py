"""A command from its start in the sandbox to what is left of it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .. import process
from ..errors import SandboxError
from . import guard
from .plan import Tier, confine
from .policy import Policy


class Ran(NamedTuple):
    """`undone`: what it had made or changed where that may not be; `note`: what the sandbox kept from it."""

    done: process.Completed
    undone: tuple[guard.Undone, ...]
    note: str | None

    def notes(self) -> list[str]:
        """What there is to say of the sandbox, each in brackets."""
        said = [f"[{one.what}: {one.path}, which a command may not make or change]" for one in self.undone]
        return [*said, *([f"[sandbox: {self.note}]"] if self.note else [])]


Runner = Callable[[str, float, threading.Event], Ran]  # command, seconds, cancel


def confined(policy: Policy, tier: Tier) -> Runner:
    """Runs each command in the sandbox; raises as `run` does."""
    return lambda command, timeout, cancel: run(command, policy, tier, timeout=timeout, cancel=cancel)


def unconfined(root: Path) -> Runner:
    """Runs each command as the user, with all the user may do."""

    def start(command: str, timeout: float, cancel: threading.Event) -> Ran:
        return Ran(process.run(command, root, timeout=timeout, cancel=cancel), (), None)

    return start


def run(
    command: str,
    policy: Policy,
    tier: Tier,
    *,
    timeout: float,
    cancel: threading.Event,
    keep: int = process.KEEP,
) -> Ran:
    """`command` to its end; nothing of it is left running.

    Raises SandboxError if it could not be confined: then it was not run.
    """
    undone = guard.recover(policy.store)
    with confine(command, policy, tier) as box:
        guard.record(policy, tier)
        try:
            done = process.run(box.start, policy.root, timeout=timeout, cancel=cancel, keep=keep)
        finally:
            undone += guard.restore(policy.store)
        if done.exit_code is not None and (why := box.trouble()) is not None:
            raise SandboxError(f"the sandbox could not be set up ({why}); see glm-agent doctor")
    notes = [withheld(done.output, done.exit_code, policy), _beside(done, policy) if tier == "B" else None]
    return Ran(done, tuple(undone), "; ".join(filter(None, notes)) or None)


_NAMED = 3  # folders

# What programs say when they meet the walls
_OFFLINE = re.compile(
    rb"Network is unreachable|Temporary failure in name resolution|Could not resolve host|ENETUNREACH"
    rb"|EAI_AGAIN|Name or service not known|No address associated with hostname|getaddrinfo ENOTFOUND"
    rb"|dial tcp: lookup|failed to lookup address|UnknownHostException|nodename nor servname"
)
_READ_ONLY = re.compile(rb"Read-only file system|EROFS|Device or resource busy|EBUSY")
_DENIED = re.compile(rb"Permission denied|EACCES")
_APART = re.compile(rb"Invalid cross-device link|EXDEV")
_BIG = re.compile(rb"File too large|EFBIG|File size limit exceeded")
_FORKS = re.compile(rb"Resource temporarily unavailable|can't start new thread|Cannot fork|EAGAIN")


def withheld(output: bytes, exit_code: int | None, policy: Policy) -> str | None:
    """For a command that failed: what of that may be the sandbox's doing, and how it could be had."""
    if exit_code == 0:
        return None
    end = output[-64 * 1024 :]
    notes: list[str] = []
    if not policy.network and _OFFLINE.search(end):
        notes.append("network is off: --network")
    if lines := [line for line in end.split(b"\n") if _READ_ONLY.search(line)]:
        notes += _read_only(b"\n".join(lines), policy)
    if policy.hidden and _APART.search(end):
        notes.append("folders with secret files are mounted: copy and delete (mv does) instead of renaming")
    if _BIG.search(end) or exit_code == 128 + 25:  # SIGXFSZ
        notes.append(f"files may have {policy.limits.file_size // 1024**2} MiB")
    if _FORKS.search(end):
        notes.append(f"at most {policy.limits.processes} processes and threads")
    return "; ".join(notes) or None


def _beside(done: process.Completed, policy: Policy) -> str | None:
    """In place, nothing can be made in a folder with a secret: it could be the secret by a new name."""
    folders = {
        os.path.relpath(path.parent, policy.root) for path in policy.hidden if policy.root in path.parents
    }
    if done.exit_code == 0 or not folders or not _DENIED.search(done.output[-64 * 1024 :]):
        return None
    named = ", ".join(sorted(folders)[:_NAMED])
    return f"beside secret files nothing can be made or removed, so not in {named}: --allow-secrets"


def _read_only(refused: bytes, policy: Policy) -> list[str]:
    if policy.read_only:
        return ["read-only: the repository"]
    named = [
        path
        for path in (*policy.protected, *policy.deeper)
        if re.search(rb"(?<![\w.-])" + _quoted(path), refused)
    ]
    if named:
        return [f"read-only: {', '.join(named)}"]
    return ["writable are only the repository, $HOME and /tmp"]


def _quoted(path: str) -> bytes:
    return re.escape(path.encode("utf-8", "surrogateescape")) + rb"(?![\w-])"
