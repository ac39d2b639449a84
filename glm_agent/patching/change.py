"""What a plan says of each file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Texts = Mapping[str, str | None]


class Placed(NamedTuple):
    """A hunk that was found: its first line in the old file (from 1); what was overlooked, "" for nothing."""

    line: int
    tolerance: str


@dataclass(slots=True)
class FileChange:
    """What becomes of `path`: `text` None to delete, `new_path` only to rename, `mode` None to keep it.

    "same" says that all of the patch stands in the file already; a copy of `source` is a "create".
    """

    path: str
    kind: Literal["create", "update", "delete", "rename", "same"]
    text: str | None
    new_path: str | None = None
    mode: int | None = None
    added: int = 0
    removed: int = 0
    hunks: list[Placed] = field(default_factory=list[Placed])
    source: str = ""
