"""What state the user's repository is in, read without running anything that it configures."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from . import git, gitdir
from .errors import RepositoryError
from .gitdir import Places
from .types import Json

__all__ = ["Places", "brings", "describe", "places", "require_repository", "require_writable", "warnings"]

_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}


def require_repository(root: Path, *, allow_merge: bool = False) -> None:
    """Raises RepositoryError unless `root` is the top of a work tree, with nothing half-done in it.

    `allow_merge` accepts a merge, rebase or the like that is not finished.
    """
    if not os.path.lexists(root / ".git"):
        _refuse_bare(root)
        raise RepositoryError(f"{root} is not a git repository; run `git init` there first")
    folder = places(root).folder
    if allow_merge:
        return
    for name, what in _UNFINISHED.items():
        if os.path.lexists(folder / name):
            raise RepositoryError(
                f"{root} is in the middle of a {what}; finish or abort it first, or --allow-merge to "
                "edit its files and leave the rest to you"
            )


def require_writable(root: Path) -> None:
    """Raises RepositoryError where the file system lets nobody write."""
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        raise RepositoryError(f"{root} is read-only; --dry-run works without changing it")


def places(root: Path) -> Places:
    """Raises RepositoryError if git cannot read the repository at `root`, or takes another folder for it."""
    found = gitdir.locate(root)
    _require_top(root, git.stamp(root))
    return found


def brings(root: Path, place: Path) -> str | None:
    """A file at or below `place` that is part of the repository at `root`, and so anybody's; None if none is.

    `place` counts as lying in it only by its own name: a link of the user's that leads there is the user's.
    """
    if not os.path.lexists(root / ".git") or not any(_is_same(folder, root) for folder in place.parents):
        return None
    inside = {place, Path(os.path.realpath(place))}
    names = [str(path.relative_to(root)) for path in inside if path.is_relative_to(root)]
    found = git.run(root, "ls-files", "-z", "--", *names).partition(b"\0")[0] if names else b""
    return os.fsdecode(found) or None


def describe(root: Path) -> Json | None:
    """`{"head": oid or None, "branch": name or None, "dirty": bool}`, or None outside a repository.

    Raises RepositoryError, as `places` does, and in a bare repository.
    """
    if not os.path.lexists(root / ".git"):
        _refuse_bare(root)
        return None
    places(root)
    status = ("status", "--porcelain=v2", "-z", "--branch", "--no-ahead-behind", "--no-renames")
    said = git.run(root, *status, "--untracked-files=normal", "--ignore-submodules=all")
    facts: dict[bytes, bytes] = {}
    entries = said.split(b"\0")[:-1]
    while entries and entries[0].startswith(b"# "):
        _, name, value = entries.pop(0).split(b" ", 2)
        facts[name] = value
    head, branch = facts.get(b"branch.oid", b"(initial)"), facts.get(b"branch.head", b"(detached)")
    return {
        "head": None if head == b"(initial)" else head.decode(),
        "branch": None if branch == b"(detached)" else os.fsdecode(branch),
        "dirty": bool(entries),
    }


def warnings(root: Path) -> list[str]:
    """What the user should know of how git is called: variables it is not given, objects from elsewhere."""
    said: list[str] = []
    if names := ", ".join(git.ignored()):
        said.append(f"{names} in the environment: ignored, the repository is {root}")
    if os.path.lexists(root / ".git"):
        found = gitdir.locate(root)
        said += [f"{found.common} borrows objects from {path}" for path in gitdir.lenders(found)]
    return said


def _is_same(folder: Path, root: Path) -> bool:
    try:
        return folder.samefile(root)
    except OSError:
        return False


def _refuse_bare(folder: Path) -> None:
    if (folder / "HEAD").is_file() and (folder / "objects").is_dir():
        raise RepositoryError(f"{folder} is a bare repository; run in a work tree (git worktree add DIR)")


@cache
def _require_top(root: Path, _: tuple[int, ...]) -> None:
    """Asked once for each state of the configuration."""
    try:
        top = Path(os.fsdecode(git.run(root, "rev-parse", "--show-toplevel").removesuffix(b"\n")))
    except git.GitError as error:
        if "in a work tree" in str(error):
            why = "is configured as a bare repository (core.bare); run in a work tree"
            raise RepositoryError(f"{root} {why}") from error
        raise RepositoryError(f"git cannot read the repository in {root}: {error}") from error
    if not top.is_dir() or not top.samefile(root):
        raise RepositoryError(f"the repository in {root} points to another work tree ({top}); run there")
