"""A diff as git writes it, file by file. Pure; it is our own git's, so nothing of it is in doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .patching.names import git_names, name

_FILE = re.compile(rb"^diff --git ", re.MULTILINE)
_MOST_MARKS = 20


class Section(NamedTuple):
    """What changes at `path`: `marks` are modes and heads of hunks, the rest the lines of each kind."""

    path: str
    marks: list[str]
    added: list[str]
    removed: list[str]


def read(patch: bytes) -> Iterator[Section]:
    """Bytes that are no UTF-8 stay what they are in names, and are replaced in lines."""
    for text in _FILE.split(patch)[1:]:
        head, hunk, body = text.partition(b"\n@@ ")
        lines = (b"@@ " + body).split(b"\n") if hunk else []
        header = head.decode("utf-8", "surrogateescape").split("\n")
        modes = [
            line for line in header[1:] if line.startswith(("old mode ", "new mode ", "new file mode 12"))
        ]
        heads = [_text(line) for line in lines if line.startswith(b"@@ ")]
        added, removed = ([_text(line[1:]) for line in lines if line[:1] == sign] for sign in (b"+", b"-"))
        yield Section(_path(header), [*modes, *heads][:_MOST_MARKS], added, removed)


def _path(header: list[str]) -> str:
    """The name that the file has afterwards, or had, if it is gone."""
    fields = dict.fromkeys(("+++ ", "--- ", "rename to "), "")
    for line in header[1:]:
        for mark in fields:
            if line.startswith(mark):
                fields[mark] = name(line.removeprefix(mark))
    for mark in ("+++ ", "--- "):
        if fields[mark] not in ("", "/dev/null"):
            return fields[mark][2:]
    return fields["rename to "] or git_names(header[0])[1][2:]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
