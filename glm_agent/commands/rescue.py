"""A private copy that goes on: the work of the session's last one, which may be gone, is brought into it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from .. import git, journal
from ..errors import RepositoryError
from ..replica import Replica
from ..shape import mapping, sequence, string
from ..snapshot import Snapshot
from ..types import Json
from . import artefacts
from .resuming import Past


class Rescued(NamedTuple):
    """`base` is the new copy's tree before the work came into it, in the store of the first attempt.

    `old` is the folder of a copy that a kill has left, to be removed once all of it is elsewhere.
    """

    base: str = ""
    notices: tuple[str, ...] = ()
    old: Path | None = None


def memo(replica: Replica) -> Json:
    """What another process needs to find the copy."""
    return {"copy": {"tree": str(replica.tree), "start": replica.start_tree}}


def take_up(replica: Replica, past: Past) -> Rescued:
    """Into the new copy what the session did in its last one."""
    session = past.session
    if journal.running(session.folder):  # which will be said
        return Rescued()
    base = Snapshot(replica.tree, session.folder / "attempts" / "1").take()
    started, result = session.started, session.result
    if started.get("workdir", "in-place") == "in-place" or _is_applied(past):
        return Rescued(base)  # it is in the work tree
    old = None if result else _old_copy(past)
    patch, problem = _kept_patch(past) if result else _left(replica, past, old)
    if patch is None:
        return Rescued(base, (problem,))
    if not patch:
        return Rescued(base)
    try:
        if string(mapping(session.kept.get("copy")).get("start")) != replica.start_tree:
            raise RepositoryError("the work tree has changed since")
        git.run(replica.tree, "apply", "--whitespace=nowarn", "-", stdin=patch)
    except RepositoryError as error:
        kept = keep_aside(session.folder, patch)
        return Rescued(base, (f"what the session did in its private copy is only in {kept}: {error}",))
    return Rescued(base, old=None if past.fork else old)


def _is_applied(past: Past) -> bool:
    is_success = mapping(past.session.result).get("subtype") == "success"
    return past.session.started.get("workdir") == "worktree" and is_success


def _kept_patch(past: Past) -> tuple[bytes | None, str]:
    """The patch of the result; None, with why, if it is not there."""
    attempts = sequence(mapping(past.session.result).get("attempts"))
    last = string(mapping(attempts[-1]).get("patch_file")) if attempts else ""
    file = Path(last or past.session.folder / "patch.diff")
    try:
        return file.read_bytes(), ""
    except OSError as error:
        return None, f"what the session did is gone, and begins anew: {file}: {error.strerror}"


def _left(replica: Replica, past: Past, old: Path | None) -> tuple[bytes | None, str]:
    """What a session that was killed had done until it last paused, or else what its copy holds."""
    kept = past.session.kept
    start, paused = mapping(kept.get("start")), string(kept.get("paused"))
    if not start:
        return b"", ""
    folders = sorted((past.session.folder / "attempts").glob("*/git"), key=lambda git: int(git.parent.name))
    lost = "the private copy in which the session worked is gone: its work is lost, and begins anew"
    if not folders or not (paused or old):
        return None, lost
    try:
        snapshot = Snapshot(old / "tree" if old else replica.tree, folders[-1].parent)
        snapshot.go_on(start)
        return snapshot.diff(string(start.get("tree")), paused or snapshot.take()), ""
    except RepositoryError as error:
        return None, f"{lost} ({error})"


def _old_copy(past: Past) -> Path | None:
    """The folder with the copy, if it is there and nobody else can have made it."""
    tree = Path(string(mapping(past.session.kept.get("copy")).get("tree")))
    home = tree.parent
    try:
        status = home.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return home if tree.name == "tree" and is_ours and (tree / ".git").exists() else None


def keep_aside(folder: Path, patch: bytes) -> Path:
    """A file for it in the session's `folder`, which the run that goes on does not replace."""
    number = 1
    while (kept := folder / f"patch-before-{number}.diff").exists():
        number += 1
    artefacts.write(str(kept), patch)
    return kept
