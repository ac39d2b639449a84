"""What state the user's repository is in, read without running anything that it configures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from . import git
from .errors import RepositoryError
from .types import Json

_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}
_DRIVER_KEYS = {"clean": "", "smudge": "", "process": "", "required": "false"}


class Places(NamedTuple):
    """Where a work tree keeps its things; a linked work tree has its own `folder`, but shares `common`."""

    folder: Path
    common: Path


def require_repository(root: Path) -> None:
    """Raises RepositoryError unless `root` is the top of a work tree with nothing half-done in it."""
    if not os.path.lexists(root / ".git"):
        if (root / "HEAD").is_file() and (root / "objects").is_dir():
            raise RepositoryError(f"{root} is a bare repository; run in a work tree (git worktree add DIR)")
        raise RepositoryError(f"{root} is not a git repository; run `git init` there first")
    folder = places(root).folder
    for name, what in _UNFINISHED.items():
        if os.path.lexists(folder / name):
            raise RepositoryError(f"{root} is in the middle of a {what}; finish or abort it first")


def places(root: Path) -> Places:
    """Raises RepositoryError if git cannot read the repository at `root`, or takes another folder for it."""
    if _line(root, "--is-bare-repository") == "true":
        raise RepositoryError(f"{root} is configured as a bare repository (core.bare); run in a work tree")
    top = Path(_line(root, "--show-toplevel"))
    if not top.is_dir() or not top.samefile(root):
        raise RepositoryError(f"the repository in {root} points to another work tree ({top}); run there")
    return Places(Path(_line(root, "--absolute-git-dir")), root / _line(root, "--git-common-dir"))


def describe(root: Path) -> Json | None:
    """`{"head": oid or None, "branch": name or None, "dirty": bool}`, or None outside a repository."""
    if not os.path.lexists(root / ".git"):
        return None
    head = git.run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1, 128))
    branch = git.run(root, "symbolic-ref", "--quiet", "--short", "HEAD", ok=(0, 1, 128))
    status = (
        "status",
        "--porcelain",
        "-z",
        "--no-renames",
        "--untracked-files=normal",
        "--ignore-submodules=all",
    )
    dirty = git.run(root, *status, env=_without_drivers(root))
    return {"head": _text(head) or None, "branch": _text(branch) or None, "dirty": bool(dirty)}


def _without_drivers(root: Path) -> dict[str, str]:
    """Environment that empties every filter driver: their names may hold `=`, which `-c` cannot say."""
    listed = git.run(root, "config", "--includes", "--name-only", "-z", "--list")
    names = {os.fsdecode(key).rpartition(".")[0] for key in listed.split(b"\0") if key.startswith(b"filter.")}
    pairs = [(f"{name}.{key}", value) for name in sorted(names) for key, value in _DRIVER_KEYS.items()]
    env = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env


def _line(root: Path, option: str) -> str:
    try:
        return _text(git.run(root, "rev-parse", option))
    except git.GitError as error:
        raise RepositoryError(f"git cannot read the repository in {root}: {error}") from error


def _text(output: bytes) -> str:
    return os.fsdecode(output.removesuffix(b"\n"))
