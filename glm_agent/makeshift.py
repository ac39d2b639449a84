"""The git folder that snapshots work in: the user's index, and of the configuration only what is data."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path

from . import byproducts, git
from .errors import RepositoryError
from .repository import Places

# What decides how a file becomes a blob, and is only data.
_CARRIED = r"^(core\.(filemode|symlinks|ignorecase|precomposeunicode|autocrlf|eol)|extensions\.objectformat)$"
_AS_THEY_ARE = b"\n* !diff\n"  # what is binary, bytes decide: else a run could hide its lines by an attribute
# Else what an undo needs may be lost with the power; all objects of one git are flushed together.
_ON_THE_DISK = b"\tfsync = loose-object\n\tfsyncMethod = batch\n"


def make(own: Path, root: Path, where: Places) -> None:
    """Fills the folder `own` from the repository of the work tree at `root`. Raises RepositoryError."""
    info = where.common / "info"
    (own / "refs").mkdir(parents=True, exist_ok=True)
    (own / "info").mkdir(exist_ok=True)
    (own / "HEAD").write_text("ref: refs/heads/none\n")
    (own / "config").write_bytes(_carried_configuration(root))
    excludes = "\n".join(byproducts.USUAL).encode() + b"\n" + _content(info / "exclude")
    (own / "info" / "exclude").write_bytes(excludes.removesuffix(b"\n") + b"\n")
    attributes = _content(info / "attributes").removesuffix(_AS_THEY_ARE)  # of a copy of ours
    (own / "info" / "attributes").write_bytes(attributes + _AS_THEY_ARE)
    for index in (where.folder / "index", *where.folder.glob("sharedindex.*")):
        if _is_file(index):
            shutil.copy2(index, own)  # with its time: git trusts entries that are older than the index


def _carried_configuration(root: Path) -> bytes:
    lines = [b"[core]\n\tbare = false\n\tsafecrlf = false\n", _ON_THE_DISK]
    for entry in git.run(root, "config", "-z", "--get-regexp", _CARRIED, ok=(0, 1)).split(b"\0"):
        key, _, value = entry.partition(b"\n")
        section, _, name = key.partition(b".")
        if value.isalnum():
            lines.append(b"[%s]\n\t%s = %s\n" % (section, name, value))
            if section == b"extensions":
                lines.append(b"[core]\n\trepositoryFormatVersion = 1\n")
    return b"".join(lines)


def conversions(own: Path) -> bytes:
    """What in `own` may make git convert files; b"" if nothing does."""
    converts = re.search(rb"autocrlf = (?!false|no|off|0)", _content(own / "config"))
    attributes = _content(own / "info" / "attributes").removesuffix(_AS_THEY_ARE)
    return attributes + (converts[0] if converts else b"")


def _content(path: Path) -> bytes:
    return path.read_bytes() if _is_file(path) else b""


def _is_file(path: Path) -> bool:
    """Raises RepositoryError for what is there, but not a regular file: a FIFO would never end."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise RepositoryError(f"{path} is not a regular file; the repository is broken")
    return True
