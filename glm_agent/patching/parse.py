"""A patch as a model writes it, read into files and hunks. Sloppy form is mended, doubtful content refused.

Own reader first (what is header, body and prose; counts that lie), then headers are rebuilt and `unidiff`
reads the result: its object model is the check that every line of every hunk was understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from . import names
from .body import Body, Header, envelope, hunk_header, read_body, starts_file
from .clean import clean
from .refusal import PatchRefused

LIMIT = 4 * 1024 * 1024  # characters of patch
_LINES = 100_000  # more would take seconds
_HUNKS = 20_000
_NEXT_STEP = "send a unified diff: --- a/path, +++ b/path, @@ -line,count +line,count @@, then the lines"
_OPERATION = re.compile(r"\*\*\* (?:\w+ File|Move to)\b")
_BELOW = re.compile(r"index |```|\*\*\* |</|From |Index: |--? ?$|EOF$")  # below an empty file's header
_EXTENDED = re.compile(r"(?:(?:new|deleted) file|old|new) mode \d{6}\s*$|(rename|copy) from \S")
_DEPTH = 8  # anchors above one hunk
Mend = Callable[[Sequence[Body]], bool]
_MODES = {"100644": 0o644, "100755": 0o755}


class Line(NamedTuple):
    """One line of a hunk: `tag` is " ", "-" or "+"; `text` has no line end."""

    tag: str
    text: str


@dataclass(slots=True)
class Hunk:
    """`start` is the line given for the old file (from 1), `new_start` for the new; None if none was.

    `old_bare` and `new_bare`: that side was marked as ending without a newline. `anchors`: lines that stand
    somewhere above, the outermost first. `inserts`: the header says that no old line is touched. `bare`:
    the old lines as if no context had a space before it, if some had none. `ends`: they end the file.
    """

    lines: list[Line]
    start: int | None = None
    old_bare: bool = False
    new_bare: bool = False
    anchors: tuple[str, ...] = ()
    inserts: bool = False
    new_start: int | None = None
    bare: list[str] = field(default_factory=list[str], compare=False)
    ends: bool = False

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
    open: bool = False  # a `--- old` line may still belong to this header
    source: str = ""  # of a rename or copy
    target: str = ""
    copies: bool = False
    creates: bool = False
    deletes: bool = False
    outright: bool = False  # deletes whatever the file holds
    enveloped: bool = False  # its name stands in a line like `*** Update File:`
    absent: bool = False  # the new file's timestamp says that there is none
    mode: int | None = None
    old_mode: int | None = None
    hunks: list[Hunk] = field(default_factory=list[Hunk])
    bodies: list[Body] = field(default_factory=list[Body])

    @property
    def paths(self) -> tuple[str, ...]:
        if self.enveloped and not self.source and not self.creates and not self.outright:
            return (self.old, *(name for name in names.candidates(self.old, "") if name != self.old))
        return (self.source,) if self.source else names.candidates(self.old, self.new)

    @property
    def says_something(self) -> bool:
        return bool(self.bodies or self.target or self.mode or self.creates or self.deletes)

    def awaits(self, old: str, new: str) -> bool:
        """Whether the lines `--- old` and `+++ new` belong to the header above them."""
        if not self.open or self.bodies:
            return False
        return not self.new or old == self.old or new == self.new or self.new in names.candidates(old, new)


def parse(text: str, reverse: bool = False, mend: Mend | None = None) -> list[FilePatch]:
    """The files of a patch, each with its hunks as written; with `reverse` what would take it back.

    `mend` is done to all hunks; then [] if it has nothing to do. Raises PatchRefused.
    """
    if len(text) > LIMIT:
        raise PatchRefused(f"the patch is longer than {LIMIT} characters", hint="send it in parts")
    lines = clean(text)
    if len(lines) > _LINES:
        raise PatchRefused(f"the patch has more than {_LINES} lines", hint="send it in parts")
    files = _said(_Reader(lines).read())
    if sum(len(file.bodies) for file in files) > _HUNKS:
        raise PatchRefused(f"more than {_HUNKS} hunks", hint="send it in parts")
    if mend and not mend([body for file in files for body in file.bodies]):
        return []
    if reverse:
        for file in files:
            _reverse(file)
    _check(files)
    return files


def _said(files: Sequence[FilePatch]) -> list[FilePatch]:
    """The files without headers that say nothing, such as one above another of the same file."""
    said = [file for file in files if file.says_something]
    if not said:
        raise PatchRefused("there is no hunk in the patch", hint=_NEXT_STEP)
    known = {path for file in said for path in (*file.paths, file.target)}
    for file in files:
        if not file.says_something and not file.open and known.isdisjoint(file.paths):
            raise PatchRefused("there is no hunk below its header", file.paths[0], None, _NEXT_STEP)
    return said


class _Reader:
    """Walks over the lines of a patch; `at` is the next one."""

    def __init__(self, lines: list[str]) -> None:
        self.lines, self.at = lines, 0
        self.files: list[FilePatch] = []
        self.anchors: tuple[str, ...] = ()  # header lines without a body, above the next one
        self.loose = False  # below a file's header, where a + or - is no prose

    def read(self) -> list[FilePatch]:
        while self.at < len(self.lines):
            line = self.lines[self.at].rstrip("\r")
            if line.startswith("@@"):
                self._hunk(hunk_header(line))
            elif names_read := starts_file(self.lines, self.at) or envelope(line.strip()):
                self._file(*names_read)
            elif not self._extended(line):
                self._prose(line)
        return self.files

    def _file(self, kind: str, old: str, new: str, used: int) -> None:
        self.at += used
        self.loose, self.anchors = True, ()
        if kind == "git":
            self.files.append(FilePatch(*names.git_names(old), open=True))
            return
        old, new = names.name(old), names.name(new)
        if kind != "pair":
            self.files.append(FilePatch(old, new, open=True, creates=kind == "Add", enveloped=True))
            self.files[-1].deletes = self.files[-1].outright = kind == "Delete"
        elif not self.files or not self.files[-1].awaits(old, new):
            self.files.append(FilePatch())
        file = self.files[-1]
        if kind == "pair":
            file.old, file.new, file.open, file.enveloped = old, new, False, False
            file.creates |= file.old == names.DEV_NULL
            file.deletes |= file.new == names.DEV_NULL
            file.absent = used == 2 and names.is_absent(self.lines[self.at - 1])
        ahead = next((at for at in range(self.at, len(self.lines)) if self.lines[at].strip()), self.at)
        following = self.lines[ahead] if ahead < len(self.lines) else ""
        if following[:1] in ("+", "-", " ") and not starts_file(self.lines, ahead):
            self._hunk(Header())  # the @@ line was left out

    def _hunk(self, header: Header) -> None:
        if not self.files:
            raise PatchRefused("a hunk without a file name above it", hint=_NEXT_STEP)
        if header.written:
            self.at += 1
        anchors = (*self.anchors, header.section)[-_DEPTH:] if header.section else self.anchors
        following = self.lines[self.at] if self.at < len(self.lines) else ""
        if header.section and header.start is None and following.startswith("@@"):
            self.anchors = anchors
            return
        body = read_body(self.lines, self.at, header, self.files[-1].creates)
        if not body.lines:
            raise PatchRefused(f"the hunk at line {self.at} of the patch is empty", hint=_NEXT_STEP)
        self.at += body.length
        body.anchors, self.anchors = anchors, ()
        self.files[-1].bodies.append(body)
        self.loose = True

    def _extended(self, line: str) -> bool:
        """Takes the lines that stand between the first line of a file's header and its hunks."""
        if self._begins_header(line):
            if not self.files or self.files[-1].bodies:
                self.files.append(FilePatch())
            self.files[-1].open = True
        if not self.files or not self.files[-1].open:
            return False
        file = self.files[-1]
        word, _, rest = line.partition(" ")
        match word, rest.partition(" ")[0]:
            case "rename" | "copy", "from":
                file.source, file.copies = names.name(rest[5:]), word == "copy"
            case "rename" | "copy", "to":
                file.target = names.name(rest[3:])
            case "***", "Move":
                file.source, file.target = file.old, names.name(rest.partition(":")[2])
            case "new" | "deleted" | "old", "mode" | "file":
                self._mode(file, line)
            case ("Binary", "files") | ("GIT", "binary"):
                raise PatchRefused(
                    "binary patches are not supported", names.candidates(file.old, file.new)[0]
                )
            case _:
                return False
        self.at += 1
        return True

    def _begins_header(self, line: str) -> bool:
        """Whether it belongs to a header of which the first line was left out, or came earlier."""
        match = _EXTENDED.match(line)
        if not match or (self.files and self.files[-1].open and not self.files[-1].bodies):
            return False
        following = self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""
        return not match[1] or following.startswith(f"{match[1]} to ")

    def _mode(self, file: FilePatch, line: str) -> None:
        mode = line.rpartition(" ")[2]
        file.creates |= line.startswith("new file")
        file.deletes |= line.startswith("deleted file")
        file.outright |= line.startswith("deleted file")
        if mode in ("120000", "160000"):
            raise PatchRefused(
                "symbolic links and submodules cannot be patched", names.candidates(file.old, file.new)[0]
            )
        if line.startswith("new "):
            file.mode = _MODES.get(mode)
        elif line.startswith("old "):
            file.old_mode = _MODES.get(mode)

    def _prose(self, line: str) -> None:
        if line.startswith("```"):
            self.loose = False
        if _OPERATION.match(line.strip()):
            raise PatchRefused(
                f"line {self.at + 1} of the patch is no operation: {line[:80]!r}", hint=_NEXT_STEP
            )
        if line.startswith(("Binary files ", "GIT binary patch")):
            raise PatchRefused("binary patches are not supported")
        self._refuse_bare_content(line)
        stray = line.startswith(("+", "-")) and line.strip() not in ("--", "---")
        if self.loose and stray:
            raise PatchRefused(
                f"line {self.at + 1} of the patch belongs to no hunk: {line[:80]!r}", hint=_NEXT_STEP
            )
        self.at += 1

    def _refuse_bare_content(self, line: str) -> None:
        """Refuses what stands right below the header of a new file and is not marked as added."""
        file, above = self.files[-1] if self.files else None, self.lines[self.at - 1].lstrip()
        if not file or not file.creates or file.bodies or not line.strip() or _BELOW.match(line.strip()):
            return
        if above.startswith(("+++ ", "new file", "index ", "*** Add File")):
            raise PatchRefused(
                f"line {self.at + 1} of the patch has no + before it: {line[:80]!r}", hint=_NEXT_STEP
            )


def _reverse(file: FilePatch) -> None:
    if file.copies or (file.outright and not file.bodies):
        name = file.paths[0]
        raise PatchRefused("what it copies or deletes cannot be taken back from the patch alone", name)
    if names.DEV_NULL not in (file.old, file.new):
        file.old, file.new = file.paths[0], file.paths[-1]  # the prefixes do not go the other way
    file.old, file.new = file.new, file.old
    file.source, file.target = file.target, file.source
    file.creates, file.deletes, file.outright = file.deletes, file.creates, False
    file.mode, file.old_mode = file.old_mode, file.mode
    swapped = {"+": "-", "-": "+", " ": " "}
    for body in file.bodies:
        head = body.header
        body.header = Header(head.written, head.new_start, head.new, head.start, head.old)
        body.lines = [(swapped[tag], text) for tag, text in body.lines]
        body.old_bare, body.new_bare = body.new_bare, body.old_bare


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
    for file in files:
        head = file.bodies[-1].header if file.bodies else Header()
        file.deletes |= file.absent and head.new_start == head.new == 0
    for file, model in zip((file for file in files if file.bodies), read, strict=True):
        for body, hunk in zip(file.bodies, model, strict=True):
            lines = [Line(line.line_type, line.value.removesuffix("\n")) for line in hunk]
            head = body.header
            inserts = head.old == 0 and head.start is not None
            file.hunks.append(
                Hunk(
                    lines,
                    head.start,
                    body.old_bare,
                    body.new_bare,
                    body.anchors,
                    inserts,
                    head.new_start,
                    body.old_without_prefixes() if body.bare else [],
                    body.ends,
                )
            )
