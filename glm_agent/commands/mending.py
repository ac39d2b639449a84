"""What a kill has left of a change in a work tree: known, finished or taken back."""

from __future__ import annotations

from pathlib import Path

from .. import recovery, reversal
from ..errors import RepositoryError
from ..intents import OPEN
from ..lock import hold
from .stores import last_change, writes


def recover(top: Path, *, alone: bool = False) -> list[str]:
    """Finishes or takes back what a kill cut short in `top`, and says so, for the user.

    `alone` says that the lock on `top` is ours; if it is another run's, that one has seen to it.
    """
    if not alone:
        try:
            lock = hold(top)
        except RepositoryError:
            return []
        try:
            return recover(top, alone=True)
        finally:
            lock.release()
    folder = writes(top)
    said = recovery.recover(top, folder) if folder.is_dir() else []
    return [*said, *reversal.finish(top, folder)]


def is_between(top: Path) -> bool:
    """Whether a kill has left `top` on the way from one state to another; only for who has the lock on it."""
    return reversal.is_cut_short(writes(top))


def untouched(top: Path, session: Path) -> set[str]:
    """What the session in that folder changed last, or was about to, where nobody has written since."""
    return recovery.untouched(top, [last_change(session), *writes(top).glob(f"{OPEN}*.json")])
