"""Pure rules for the names of files: what a path given by a model, a patch or a file may look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from .errors import ToolError

_LONGEST = 4096  # characters
_DEEPEST = 200  # components: each may cost a descriptor
_NAMED = 5
_ELSEWHERE = re.compile(r"~|[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]*://|\\\\")
_SHORT_GIT = re.compile(r"git~[0-9]+")


def normalise(path: str, roots: Iterable[PurePosixPath]) -> str:
    """`path` relative to the root, '/'-separated, '.' for the root itself. Raises ToolError.

    An absolute path is accepted if it lies, by its text, in one of `roots` (spellings of the root).
    """
    if not path.strip():
        raise ToolError("the path is empty; give one relative to the repository root")
    if len(path) > _LONGEST:
        raise ToolError(f"the path has {len(path)} characters; at most {_LONGEST} are allowed")
    if bad := next((char for char in path if char in "\0\n\r"), None):
        raise ToolError(f"the path {shown(path)} holds {bad!r}; give one path, without it")
    parts = _descend(path, _relative(path, roots).split("/"))
    if len(parts) > _DEEPEST:
        raise ToolError(f"the path has {len(parts)} components; at most {_DEEPEST} are allowed")
    return "/".join(parts) or "."


def is_git(name: str) -> bool:
    """Whether some file system takes the component `name` for `.git`: case, Unicode, streams, short names."""
    return any(_is_git(part) for part in re.split(r"[/\\]", name))


def shown(path: str) -> str:
    """`path` for one line of text: quoted and escaped where it holds anything but printable characters."""
    return path if path.isprintable() else ascii(path)


def named(paths: Sequence[str]) -> str:
    """The first of `paths` for one line of text, and how many more there are."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(map(shown, paths[:_NAMED])) + more


def _relative(path: str, roots: Iterable[PurePosixPath]) -> str:
    if _ELSEWHERE.match(path):
        raise ToolError(f"{shown(path)} is not a path in the repository; give one relative to its root")
    if not path.startswith("/"):
        return path
    absolute = PurePosixPath(path)
    for root in roots:
        if absolute.is_relative_to(root):
            return str(absolute.relative_to(root))
    raise ToolError(f"{shown(path)} is outside the repository; paths are relative to its root")


def _descend(path: str, names: list[str]) -> list[str]:
    parts: list[str] = []
    for name in names:
        if name in ("", "."):
            continue
        if name == "..":
            if not parts:
                raise ToolError(f"{shown(path)} leads above the repository root; paths are relative to it")
            parts.pop()
            continue
        if is_git(name):
            raise ToolError(
                f"{shown(path)} is git's own; use `git` commands to look at history, never its files"
            )
        parts.append(name)
    return parts


def _is_git(name: str) -> bool:
    if not name.isascii():
        import unicodedata  # only names beyond ASCII pay for it

        folded = unicodedata.normalize("NFKC", name)
        name = "".join(char for char in folded if not _ignorable(char, unicodedata.category(char)))
    name = name.casefold().partition(":")[0].rstrip(". ")
    return name == ".git" or _SHORT_GIT.fullmatch(name) is not None


def _ignorable(char: str, category: str) -> bool:
    return category in ("Cf", "Mn", "Cc") or char in "\u115f\u1160\u3164\uffa0"
