"""Globs as a .gitignore has them: the one way in which an option names files beneath the root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def fits(path: str, globs: Iterable[str]) -> bool:
    """Whether one of `globs` means `path`, '/'-separated beneath the root, or a folder that it is in."""
    parts = path.split("/")
    return any(_means(glob, parts) for glob in globs)


def check(glob: str) -> str:
    """The glob itself. Raises ValueError for what can never mean a file."""
    parts = glob.split("/")
    if glob.startswith("!"):
        raise ValueError("expected a glob without ! before it; what is not meant is not named")
    if ".." in parts or not any(part not in ("", ".") for part in parts):
        raise ValueError("expected a glob beneath the root, for example tests/** or *.lock")
    return glob


def _means(glob: str, parts: Sequence[str]) -> bool:
    wanted = [part for part in glob.split("/") if part not in ("", ".")]
    if "/" not in glob.rstrip("/"):
        wanted.insert(0, "**")  # a name alone is meant wherever it stands
    if wanted[-1] == "**":
        wanted.append("*")
    ends = len(parts) if glob.endswith("/") else len(parts) + 1
    return any(_match(parts[:end], wanted) for end in range(1, ends))


def _match(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether all of `parts` are matched; one goes back to the last `**` only, so it is never slow."""
    part = want = 0
    retry: tuple[int, int] | None = None
    while part < len(parts):
        if want < len(wanted) and wanted[want] == "**":
            want += 1
            retry = part, want
        elif want < len(wanted) and fnmatchcase(parts[part], wanted[want]):
            part, want = part + 1, want + 1
        elif retry is None:
            return False
        else:
            retry = retry[0] + 1, retry[1]
            part, want = retry
    return all(rest == "**" for rest in wanted[want:])
