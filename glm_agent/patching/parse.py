"""A patch as a model writes it, read into files and hunks. Sloppy form is mended, doubtful content refused.

Own reader first (what is header, body and prose; counts that lie), then headers are rebuilt and `unidiff`
reads the result: its object model is the check that every line of every hunk was understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from . import names
from .body import Body, Header, hunk_header, read_body, starts_file
from .refusal import PatchRefused

LIMIT = 4 * 1024 * 1024  # characters of patch
_HUNKS = 20_000
_NEXT_STEP = "send a unified diff: --- a/path, +++ b/path, @@ -line,count +line,count @@, then the lines"
_V4A = re.compile(r"\*\*\* (Update|Add|Delete|Move to)\b")
_MODES = {"100644": 0o644, "100755": 0o755}


class Line(NamedTuple):
    """One line of a hunk: `tag` is " ", "-" or "+"; `text` has no line end."""

    tag: str
    text: str


@dataclass(slots=True)
class Hunk:
    """`start` is the line given for the old file (from 1), None if none was.

    `old_bare` and `new_bare`: that side was marked as ending without a newline. `odd`: some context line had
    no prefix, so the column of every context line is in doubt.
    """

    lines: list[Line]
    start: int | None
    old_bare: bool
    new_bare: bool
    odd: bool

    @property
    def before(self) -> list[str]:
        return [line.text for line in self.lines if line.tag != "+"]

    @property
    def after(self) -> list[str]:
        return [line.text for line in self.lines if line.tag != "-"]

    def count(self, tags: str) -> int:
        """The number of lines whose tag is one of `tags`."""
        return sum(line.tag in tags for line in self.lines)


@dataclass(slots=True)
class FilePatch:
    """What a patch says about one file; `paths` are the names it may mean, the likeliest first."""

    old: str = ""
    new: str = ""
    git: bool = False  # headed by a `diff --git` line
    renamed_from: str = ""
    renamed_to: str = ""
    creates: bool = False
    deletes: bool = False
    mode: int | None = None
    hunks: list[Hunk] = field(default_factory=list[Hunk])
    bodies: list[Body] = field(default_factory=list[Body])

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.renamed_from,) if self.renamed_from else names.candidates(self.old, self.new)

    def awaits(self, old: str, new: str) -> bool:
        """Whether the lines `--- old` and `+++ new` belong to the `diff --git` line above them."""
        return self.git and not self.bodies and (not self.new or old == self.old or new == self.new)


def parse(text: str) -> list[FilePatch]:
    """The files of a patch, each with its hunks as written. Raises PatchRefused."""
    if len(text) > LIMIT:
        raise PatchRefused(f"the patch is longer than {LIMIT} characters", hint="send it in parts")
    files = _Reader(_clean(text)).read()
    files = [
        file for file in files if file.bodies or file.renamed_to or file.mode or file.creates or file.deletes
    ]
    if not files:
        raise PatchRefused("there is no hunk in the patch", hint=_NEXT_STEP)
    if sum(len(file.bodies) for file in files) > _HUNKS:
        raise PatchRefused(f"more than {_HUNKS} hunks", hint="send it in parts")
    _check(files)
    return files


def _clean(text: str) -> list[str]:
    text = text.removeprefix("\ufeff").strip("\n")
    if "\n" not in text and "\\n" in text:
        text = _unescaped(text)
    lines = text.split("\n")
    heads = [line for line in lines if line.startswith(("--- ", "+++ ", "@@", "diff --git "))]
    if heads and all(line.endswith("\r") for line in heads):  # it travelled as CRLF
        return [line.removesuffix("\r") for line in lines]
    return lines


def _unescaped(text: str) -> str:
    """A patch that was written as one line of JSON text."""
    import json

    try:
        decoded = json.loads(text if text.startswith('"') else f'"{text}"')
    except (ValueError, RecursionError):
        return text
    return decoded.strip("\n") if isinstance(decoded, str) else text


class _Reader:
    """Walks over the lines of a patch; `at` is the next one."""

    def __init__(self, lines: list[str]) -> None:
        self.lines, self.at = lines, 0
        self.files: list[FilePatch] = []
        self.loose = False  # a hunk has ended and prose may not yet begin

    def read(self) -> list[FilePatch]:
        while self.at < len(self.lines):
            line = self.lines[self.at].rstrip("\r")
            if line.startswith("@@"):
                self._hunk(hunk_header(line))
            elif names_read := starts_file(self.lines, self.at):
                self._file(*names_read)
            elif not self._extended(line):
                self._prose(line)
        return self.files

    def _file(self, kind: str, old: str, new: str, used: int) -> None:
        self.at += used
        self.loose = False
        if kind == "git":
            self.files.append(FilePatch(*names.git_names(old), git=True))
            return
        old, new = names.name(old), names.name(new)
        if not self.files or not self.files[-1].awaits(old, new):
            self.files.append(FilePatch())
        file = self.files[-1]
        file.old, file.new, file.git = old, new, False
        file.creates |= file.old == names.DEV_NULL
        file.deletes |= file.new == names.DEV_NULL
        following = self.lines[self.at] if self.at < len(self.lines) else ""
        if following[:1] in ("+", "-", " ") and not starts_file(self.lines, self.at):
            self._hunk(Header())  # the @@ line was left out

    def _hunk(self, header: Header) -> None:
        if not self.files:
            raise PatchRefused("a hunk without a file name above it", hint=_NEXT_STEP)
        if header.written:
            self.at += 1
        body = read_body(self.lines, self.at, header, self.files[-1].creates)
        if not body.lines:
            raise PatchRefused(f"the hunk at line {self.at} of the patch is empty", hint=_NEXT_STEP)
        self.at += body.length
        self.files[-1].bodies.append(body)
        self.loose = True

    def _extended(self, line: str) -> bool:
        """Takes the lines git puts between `diff --git` and `---`."""
        if not self.files or not self.files[-1].git:
            return False
        file = self.files[-1]
        word, _, rest = line.partition(" ")
        match word, rest.partition(" ")[0]:
            case "rename", "from":
                file.renamed_from = names.name(rest[5:])
            case "rename", "to":
                file.renamed_to = names.name(rest[3:])
            case "new" | "deleted" | "old", "mode" | "file":
                self._mode(file, line)
            case "copy", "from" | "to":
                raise PatchRefused("copying a file is not supported", hint="send the copy as a new file")
            case ("Binary", "files") | ("GIT", "binary"):
                raise PatchRefused(
                    "binary patches are not supported", names.candidates(file.old, file.new)[0]
                )
            case _:
                return False
        self.at += 1
        return True

    def _mode(self, file: FilePatch, line: str) -> None:
        mode = line.rpartition(" ")[2]
        file.creates |= line.startswith("new file")
        file.deletes |= line.startswith("deleted file")
        if mode in ("120000", "160000"):
            raise PatchRefused(
                "symbolic links and submodules cannot be patched", names.candidates(file.old, file.new)[0]
            )
        if line.startswith("new "):
            file.mode = _MODES.get(mode)

    def _prose(self, line: str) -> None:
        if line.startswith("```"):
            self.loose = False
        if _V4A.match(line):
            raise PatchRefused("this is not a unified diff", hint=_NEXT_STEP)
        if line.startswith(("Binary files ", "GIT binary patch")):
            raise PatchRefused("binary patches are not supported")
        stray = line.startswith(("+", "-")) and line.strip() not in ("--", "---")
        if self.loose and stray:
            raise PatchRefused(
                f"line {self.at + 1} of the patch belongs to no hunk: {line[:80]!r}", hint=_NEXT_STEP
            )
        self.at += 1


def _check(files: list[FilePatch]) -> None:
    """Fills `hunks`: the patch with rebuilt headers, as unidiff understands it."""
    from io import StringIO

    from unidiff.errors import UnidiffParseError  # 9 ms
    from unidiff.patch import PatchSet

    rebuilt = "".join(
        f"--- {number}\n+++ {number}\n" + "".join(body.rebuilt() for body in file.bodies)
        for number, file in enumerate(files)
        if file.bodies
    )
    try:
        read = list(PatchSet(StringIO(rebuilt, newline="\n")))
    except UnidiffParseError as error:
        raise PatchRefused(
            f"the patch cannot be read: {str(error).strip()[:120]}", hint=_NEXT_STEP
        ) from error
    for file, model in zip((file for file in files if file.bodies), read, strict=True):
        for body, hunk in zip(file.bodies, model, strict=True):
            lines = [Line(line.line_type, line.value.removesuffix("\n")) for line in hunk]
            file.hunks.append(Hunk(lines, body.start, body.old_bare, body.new_bare, body.odd))
