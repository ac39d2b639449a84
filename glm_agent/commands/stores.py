"""What is kept about a work tree outside of it: where that is, and what an earlier run left there."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from .. import config, repository
from ..durable import make_folder
from ..errors import RepositoryError
from ..intents import Intents
from ..paths import shown


def key(top: Path) -> str:
    """The name of the folders in which things of the work tree `top` are kept."""
    return hashlib.sha256(os.fsencode(top.resolve())).hexdigest()[:16]


def require_own(root: Path | None) -> None:
    """Raises RepositoryError if what we would believe of earlier runs is the repository's, or anybody's."""
    home = config.state_home()
    if home.exists() and is_foreign(home.stat()):
        raise RepositoryError(
            f"{home} is another user's, or open to all; set XDG_STATE_HOME to a folder of your own"
        )
    if root and (file := repository.brings(root, home)):
        raise RepositoryError(
            f"{shown(file)} is part of the repository, and so not ours; remove it, or set XDG_STATE_HOME to "
            "a folder of your own"
        )


def is_foreign(status: os.stat_result) -> bool:
    """Whether somebody else may have written there: in a container, root is given folders of its user's."""
    user = os.geteuid()
    return bool(status.st_mode & stat.S_IWOTH) or (user != 0 and status.st_uid not in (user, 0))


def intents(top: Path, keep: Path | None = None) -> Intents:
    """The records of changes of files in `top`; the last one that was done stays as `keep`."""
    return Intents(records(top), keep)


def records(top: Path) -> Path:
    """The folder for records of what is about to happen in `top`."""
    keep_out_of(top, config.state_home())
    return writes(top)


def last_change(session: Path) -> Path:
    """Where the session in that folder keeps what it changed last."""
    return session / "changes" / "last.json"


def written(top: Path, session: Path) -> list[Path]:
    """The folders of records that a change of files in `top` writes to."""
    return [writes(top), last_change(session).parent]


def make(folder: Path, *, keep: bool) -> list[Callable[[], None]]:
    """Makes `folder`; what takes those that were not there away again, unless they are to be kept."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    make_folder(folder)
    return [] if keep else [one.rmdir for one in new]


def keep_out_of(top: Path, folder: Path) -> None:
    """What we keep is no part of the repository: beneath `top`, `folder` is made to ignore itself."""
    if not folder.resolve().is_relative_to(top.resolve()):
        return
    try:
        make_folder(folder)
        with (folder / ".gitignore").open("x") as file:
            file.write("*\n")
    except FileExistsError:
        return
    except OSError as error:
        raise RepositoryError(f"cannot write to {folder}: {error.strerror}") from error


def writes(top: Path) -> Path:
    return config.state_home() / "writes" / key(top)
