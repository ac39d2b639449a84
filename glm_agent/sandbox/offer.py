"""What the machine can do, found out by doing it."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .. import process
from ..errors import SandboxError
from .plan import Tier, confine, numbers_are_private
from .policy import Layer, Policy, Private

_SECONDS = 20.0  # for what takes a thirtieth of one
_SCOPED = 6  # the Landlock that keeps signals and abstract sockets in


class Offer(NamedTuple):
    """The best tier to be had, or None; `reason` says why not tier A, `gaps` what even so is not kept."""

    tier: Tier | None
    reason: str
    landlock_abi: int
    gaps: tuple[str, ...]


@cache
def probe() -> Offer:
    """Really tries, in a child, once in a process; some 30 ms. Raises nothing: what fails is the reason."""
    if sys.platform != "linux":
        return Offer(None, f"commands can be confined on Linux only, not on {sys.platform}", 0, ())
    from . import kernel  # ~3 ms: ctypes

    abi = kernel.landlock_abi()
    if (why := _trouble("A")) is None:
        return Offer("A", "", abi, tuple(_gaps_in_namespaces(abi)))
    reason = f"{why}; user namespaces may be switched off, or forbidden in this container"
    if abi < _SCOPED:
        return Offer(
            None, f"{reason}; and Landlock {abi or 'is missing'}, at least {_SCOPED} is needed", abi, ()
        )
    if (also := _trouble("B")) is not None:
        return Offer(None, f"{reason}; and in place: {also}", abi, ())
    return Offer("B", reason, abi, GAPS_IN_PLACE)


@cache
def can_layer() -> bool:
    """Whether tier A can show a folder with changes laid over it; some 30 ms."""
    return _trouble("A", layered=True) is None


# What Landlock and seccomp alone do not keep; shown to the user once.
GAPS_IN_PLACE = (
    "mode, times and attributes of own files outside can be changed",
    "whether a file outside exists can be found out",
    "other processes' names can be listed",
    "what git reads is put back after a command, not kept from it; its objects are not put back",
    "a password in git's settings can be read",
    "in a folder with a secret file nothing can be made or removed",
    "no sockets, no /dev/shm, no terminals, no common /tmp",
)


def _gaps_in_namespaces(abi: int) -> list[str]:
    gaps: list[str] = []
    if not abi:
        gaps.append("no Landlock: namespaces and seccomp alone")
    if abi < _SCOPED:
        gaps.append("with the network on, abstract sockets of other programs can be reached")
    if not numbers_are_private():
        gaps.append("as root, the number of processes is not bounded (Linux before 6.14)")
    return gaps


def _trouble(tier: Tier, *, layered: bool = False) -> str | None:
    """Why a command cannot be run in `tier`; None if it can, and is kept from `.git`."""
    import tempfile  # ~10 ms

    with tempfile.TemporaryDirectory(prefix="glm-agent-") as folder:
        places = [Path(folder).resolve() / name for name in ("work", "home", "tmp", "store")]
        for place in (*places, places[0] / ".git"):
            place.mkdir(mode=0o700)
        work, home, tmp, store = places
        policy = Policy(work, home, Path("/home/nobody"), tmp, store, {})
        if layered:
            policy = replace(policy, private=_copy(work, home.parent))
        try:
            with confine(_TRIAL[tier], policy, tier) as box:
                done = process.run(box.start, work, timeout=_SECONDS, cancel=threading.Event())
                said = done.output.decode("utf-8", "replace").strip()
                return box.trouble() or (None if done.exit_code == 0 else said or f"status {done.exit_code}")
        except (OSError, SandboxError) as error:
            return str(error)


def _copy(work: Path, folder: Path) -> Private:
    """An empty one, with one layer."""
    tree, changes = folder / "tree", folder / "changes"
    for place in (work / "layer", tree / ".git", tree / "layer", changes):
        place.mkdir(parents=True)
    return Private(tree, (Layer("layer", work / "layer", changes),))


_TRIAL: dict[Tier, str] = {
    "A": "echo > made && ! (echo > .git/made) 2>/dev/null",
    "B": "echo > made && ! (echo > /tmp/glm-agent-$$) 2>/dev/null",
}
