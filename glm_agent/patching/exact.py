"""A diff exactly as git or `diff -u` write it: every header known, every count right, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from . import names
from .parse import LIMIT

_FIELD = re.compile(
    r"((?:old|new|new file|deleted file) mode|(?:copy|rename) (?:from|to)|(?:dis)?similarity index|index"
    r"|---|\+\+\+) ([^\r]+)"
)
_RANGES = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?: .*)?", re.DOTALL)
_INDEX = re.compile(r"([0-9a-f]{4,64})\.\.([0-9a-f]{4,64})(?: 100(?:644|755))?")
_MODES = {"100644": 0o644, "100755": 0o755, None: None}

_SWAPPED = {"+": "-", "-": "+", " ": " "}

_Fields = dict[str, str]


class Hunk(NamedTuple):
    """Its first line in the old and in the new file, from 0, and its lines: (tag, text with its end)."""

    at: int
    new_at: int
    lines: list[tuple[str, str]]

    def texts(self, tags: str) -> list[str]:
        """The lines whose tag is one of `tags`."""
        return [text for tag, text in self.lines if tag in tags]

    def reversed(self) -> Hunk:
        return Hunk(self.new_at, self.at, [(_SWAPPED[tag], text) for tag, text in self.lines])


@dataclass(slots=True)
class Part:
    """What becomes of the file `source` (None: there is none yet): it is `target` then (None: it goes).

    `old_hash` and `new_hash` are the beginnings of git's names for both contents, "" if not given.
    """

    source: str | None
    target: str | None
    copies: bool = False
    old_mode: int | None = None
    mode: int | None = None
    old_hash: str = ""
    new_hash: str = ""
    hunks: list[Hunk] = field(default_factory=list[Hunk])

    def reversed(self) -> Part:
        """What takes it back."""
        modes, hashes = (self.mode, self.old_mode), (self.new_hash, self.old_hash)
        hunks = [hunk.reversed() for hunk in self.hunks]
        return Part(self.target, self.source, False, *modes, *hashes, hunks)


class _Loose(Exception):
    """The text is no diff that a program wrote."""


def read(text: str) -> list[Part] | None:
    """The parts of the diff in `text`, each about one file; None if anything in it is not as it should be."""
    if not text.endswith("\n") or len(text) > LIMIT:
        return None
    lines = text[:-1].split("\n")
    try:
        return list(_parts(lines))
    except _Loose:
        return None


def _parts(lines: Sequence[str]) -> Iterator[Part]:
    at = 0
    while at < len(lines):
        fields, at = _head(lines, at)
        hunks: list[Hunk] = []
        while at < len(lines) and lines[at].startswith("@@"):
            hunk, at = _hunk(lines, at)
            hunks.append(hunk)
        yield _part(fields, hunks)


def _head(lines: Sequence[str], at: int) -> tuple[_Fields, int]:
    """A file's header as its fields, and the line below it."""
    fields: _Fields = {}
    if lines[at].startswith("diff --git "):
        fields["git"] = lines[at][11:]
        at += 1
    while "+++" not in fields and at < len(lines) and (match := _FIELD.fullmatch(lines[at])):
        if match[1] in fields:
            raise _Loose
        fields[match[1]] = match[2]
        at += 1
    bare = "git" not in fields and set(fields) != {"---", "+++"}
    if bare or ("---" in fields) != ("+++" in fields) or "\r" in fields.get("git", ""):
        raise _Loose
    return fields, at


def _hunk(lines: Sequence[str], at: int) -> tuple[Hunk, int]:
    """The hunk at `at`, as long as its header says, and the line below it."""
    match = _RANGES.fullmatch(lines[at])
    if not match:
        raise _Loose
    start, old, new_start, new = (1 if number is None else int(number) for number in match.groups())
    hunk = Hunk(start - (old > 0), new_start - (new > 0), [])
    if min(hunk.at, hunk.new_at) < 0:
        raise _Loose
    at += 1
    while old > 0 or new > 0 or (at < len(lines) and lines[at].startswith("\\ ")):
        if at == len(lines):
            raise _Loose
        line = lines[at] or " "  # GNU diff may leave out the space of a blank line
        tag = line[0]
        if tag == "\\":
            _strip_end(hunk.lines)
        elif tag in " +-":
            hunk.lines.append((tag, line[1:] + "\n"))
            old, new = old - (tag != "+"), new - (tag != "-")
        if tag not in " +-\\" or old < 0 or new < 0:
            raise _Loose
        at += 1
    if hunk.texts(" -") == hunk.texts(" +"):
        raise _Loose
    return hunk, at


def _strip_end(lines: list[tuple[str, str]]) -> None:
    """The last line so far has no newline."""
    if not lines or not lines[-1][1].endswith("\n"):
        raise _Loose
    tag, text = lines[-1]
    lines[-1] = (tag, text[:-1])


def _part(fields: _Fields, hunks: list[Hunk]) -> Part:
    if hunks and "+++" not in fields:
        raise _Loose
    part = Part(*_names(fields), "copy from" in fields, hunks=hunks)
    old, new = (
        fields.get(f"{one} mode", fields.get(f"{other} file mode"))
        for one, other in (("old", "deleted"), ("new", "new"))
    )
    if old not in _MODES or new not in _MODES:
        raise _Loose
    part.old_mode, part.mode = _MODES[old], _MODES[new]
    if "index" in fields:
        match = _INDEX.fullmatch(fields["index"])
        if not match:
            raise _Loose
        part.old_hash, part.new_hash = match.groups()
    if not hunks and part.source == part.target and part.mode is None:
        raise _Loose
    return part


def _names(fields: _Fields) -> tuple[str | None, str | None]:
    """The old and the new name that all of the header's fields agree on."""
    given = names.git_names(fields.get("git", ""))
    pair = (_name(fields["---"]), _name(fields["+++"])) if "+++" in fields else ("", "")
    for word in ("rename", "copy"):
        if f"{word} from" in fields or f"{word} to" in fields:
            moved = (_name(fields.get(f"{word} from", "")), _name(fields.get(f"{word} to", "")))
            if "" in moved or moved[0] == moved[1] or (pair != ("", "") and names.candidates(*pair) != moved):
                raise _Loose
            return moved
    creates = "new file mode" in fields or pair[0] == names.DEV_NULL
    deletes = "deleted file mode" in fields or pair[1] == names.DEV_NULL
    known = [name for name in pair if name not in ("", names.DEV_NULL)]
    if (creates and deletes) or len(known) != ((2 - creates - deletes) if pair != ("", "") else 0):
        raise _Loose
    path, *others = names.candidates(*(pair if "" in given else given))
    unsure = others and ("" not in given or len(known) == 2)
    if unsure or not path or ("" not in given and not set(known) <= set(given)):
        raise _Loose
    return None if creates else path, None if deletes else path


def _name(written: str) -> str:
    """A file name without its quotes, or what git and `diff` put behind a tab."""
    if names.is_absent(written):  # it is the date that says that there is no such file
        raise _Loose
    name = names.name(written) if written.startswith('"') else written.partition("\t")[0]
    if name.startswith("./") or "//" in name:
        raise _Loose
    return name
