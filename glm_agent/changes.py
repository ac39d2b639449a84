"""What git says about two trees, as rows of our own output."""

from __future__ import annotations

import os

from .types import Json

FORM = ("-z", "--raw", "--numstat")  # of `git diff-tree`

_KINDS = {b"A": "create", b"D": "delete", b"R": "rename"}

_Counts = tuple[int | None, int | None]


def read(output: bytes) -> list[Json]:
    """`{"path", "kind": create|update|delete|rename, "added", "removed"}` by path, renames with "from".

    Lines of binary files are not counted: None.
    """
    kinds, counts = _split(output)
    rows = [_row(kind, paths, counts[paths[-1]]) for kind, paths in kinds]
    return sorted(rows, key=lambda row: row["path"])


def _split(output: bytes) -> tuple[list[tuple[bytes, list[bytes]]], dict[bytes, _Counts]]:
    """The two halves of `--raw --numstat -z`: kinds with their paths, and lines added and removed by path."""
    kinds: list[tuple[bytes, list[bytes]]] = []
    counts: dict[bytes, _Counts] = {}
    fields = iter(output.split(b"\0"))
    for field in fields:
        if field.startswith(b":"):
            kind = field.rpartition(b" ")[2][:1]
            kinds.append((kind, [next(fields) for _ in range(2 if kind == b"R" else 1)]))
        elif field:
            added, removed, path = field.split(b"\t", 2)
            if not path:  # a rename: both names follow
                next(fields)
                path = next(fields)
            counts[path] = (_number(added), _number(removed))
    return kinds, counts


def _number(text: bytes) -> int | None:
    return None if text == b"-" else int(text)


def _row(kind: bytes, paths: list[bytes], lines: _Counts) -> Json:
    row: Json = {"path": os.fsdecode(paths[-1]), "kind": _KINDS.get(kind, "update")}
    row |= {"added": lines[0], "removed": lines[1]}
    if kind == b"R":
        row["from"] = os.fsdecode(paths[0])
    return row
