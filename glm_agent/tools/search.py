"""The tool `search`: matching lines or file names, by `git grep` and `git ls-files` where there is git."""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .. import git
from ..errors import RepositoryError, ToolError
from ..paths import shown
from ..truncate import clip_line
from ..types import Arguments, Json, Tool, ToolOutput
from ..workspace import Workspace
from . import prompt, walk
from .spill import Spill, is_name

_BYTES = 16 * 1024 - 300  # the rest is for the closing lines
_LINE = 300  # characters
_WIDE = 4096  # characters on either side of a match that are looked at for tokens
_PATTERN = 1000
_PATIENCE = 1.0  # seconds until we look whether git waits for what is no file
_COUNTED = 10_000  # matches beyond those shown
_BUFFER = 4 * 1024 * 1024  # bytes of one line that are waited for
_RECORD = re.compile(rb"([^\0]+)\0([0-9]+)[\0:]([0-9]+)[\0:]")

_PARAMETERS = {
    "type": "object",
    "properties": {
        "pattern": {"type": "string", "description": "regex; empty lists files"},
        "path": {"type": "string", "default": "."},
        "glob": {"type": "string", "default": "", "description": "e.g. *.py, src/**/*.{ts,tsx}"},
        "max": {"type": "integer", "default": 100, "minimum": 1, "maximum": 1000},
    },
    "required": ["pattern"],
}


class Query(NamedTuple):
    """What is looked for, at or beneath the path `start` of `root`; `kept` is the name of a kept output."""

    root: Path
    start: str
    pattern: str
    glob: str
    kept: str = ""

    @property
    def name(self) -> str:
        return self.kept or self.start


class _Limits(NamedTuple):
    most: int  # lines
    end: float  # of time.monotonic()
    cancel: threading.Event
    root: Path


def tool(workspace: Workspace, spill: Spill, seconds: float = 20.0) -> Tool:
    """`search`, in the workspace and in kept outputs; what is found after `seconds` is all there is."""

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        query = _query(arguments, workspace, spill)
        limits = _Limits(arguments["max"], time.monotonic() + seconds, cancel, query.root)
        answer = _search(query, limits, workspace) if query.pattern else _list(query, limits)
        return answer.output(query)

    return Tool("search", prompt("search"), _PARAMETERS, run, reads_only=True)


def _query(arguments: Arguments, workspace: Workspace, spill: Spill) -> Query:
    pattern, path, glob = arguments["pattern"], arguments["path"] or ".", arguments["glob"]
    if len(pattern) > _PATTERN or len(glob) > _PATTERN:
        raise ToolError(f"pattern and glob may have at most {_PATTERN} characters; use a shorter one")
    if "\n" in pattern or "\0" in pattern + glob:
        raise ToolError("search works line by line; give a pattern without a line break or NUL")
    if ".." in re.split(r"[/{},]", glob):
        raise ToolError("a glob may not hold '..'; give the directory as path")
    if is_name(path):
        file = spill.file(path)
        return Query(file.parent, file.name, pattern or "^", "", kept=path)
    start = workspace.locate(path)
    if workspace.kind(start) == "missing":
        raise ToolError(f"{shown(start)} does not exist; search in '.' or list its parent")
    return Query(workspace.root, start, pattern, glob)


@dataclass(slots=True)
class _Answer:
    """The lines to show, at most `most` of them, and counts of what was left out."""

    most: int
    what: str
    lines: list[str] = field(default_factory=list[str])
    files: set[str] = field(default_factory=set[str])
    more: int = 0
    more_in: set[str] = field(default_factory=set[str])
    size: int = 0
    partly: bool = False  # counting was stopped
    withheld: int = 0  # files
    notes: list[str] = field(default_factory=list[str])

    def add(self, path: str, line: str) -> bool:
        """Take one line; False once counting more of them is pointless."""
        size = len(line.encode("utf-8", "surrogatepass")) + 1
        if self.more or len(self.lines) == self.most or self.size + size > _BYTES:
            self.more += 1
            self.more_in.add(path)
            self.partly = self.more >= _COUNTED
            return not self.partly
        self.lines.append(line)
        self.files.add(path)
        self.size += size
        return True

    def output(self, query: Query) -> ToolOutput:
        details: Json = {"pattern": query.pattern, "path": query.name, "glob": query.glob}
        details |= {"shown": len(self.lines), "files": len(self.files), "more": self.more}
        lines = self.lines or [self._nothing(query)]
        if self.more:
            count = f"{'at least ' if self.partly else ''}{self.more}"
            where = f" in {len(self.more_in)} files" if self.what == "matches" else ""
            lines = [*lines, f"[{count} more {self.what}{where}]"]
        if self.withheld:
            lines = [*lines, f"[{self.withheld} files withheld: they hold secrets]"]
        return ToolOutput("\n".join([*lines, *self.notes]), details=details)

    def _nothing(self, query: Query) -> str:
        where = "" if query.name == "." else f" in {shown(query.name)}"
        fits = f" that fit {shown(query.glob)}" if query.glob else ""
        if not query.pattern:
            return f"no files{where}{fits} (ignored files are not listed)"
        files = f" in files{fits}" if fits else ""
        return (
            f"no match for {shown(query.pattern)}{where}{files} (ignored and binary files are not searched)"
        )


def _search(query: Query, limits: _Limits, workspace: Workspace) -> _Answer:
    """What the first program finds that can do it: git in its repository, git without one, our own."""
    said = ""
    for argv, env, note in _programs(query):
        answer = _Answer(limits.most, "matches", notes=[note] if note else [])
        ended = _stream(argv, env, limits, _Records(query, answer, workspace).take)
        if ended.code in (0, 1):
            return answer
        if ended.code is None:
            return _stopped(answer)
        said = ended.said.removeprefix("fatal: ").strip()
        if "-e option" in said:
            raise ToolError(f"bad pattern: {said.removeprefix('-e option').lstrip(',: ')}")
        if "pcre2" in said:
            raise ToolError("the pattern backtracks too much to be searched for; make it simpler")
    raise ToolError(f"search failed: {said or 'no program to search with'}")


class _Program(NamedTuple):
    argv: list[str]
    env: dict[str, str]
    note: str = ""


def _programs(query: Query) -> Iterator[_Program]:
    if not query.kept:
        with suppress(RepositoryError):  # there is no git
            env = git.environment(query.root)
            scopes = [["--untracked"]] if _is_repository(query.root) else []
            for scope in [*scopes, ["--no-index", "--exclude-standard"]]:
                for flavour, note in _FLAVOURS:
                    yield _Program(
                        git.argv(query.root, "grep", *_GREP, *scope, flavour, *_what(query)), env, note
                    )
    asked = {"root": str(query.root), "start": query.start, "glob": query.glob, "pattern": query.pattern}
    yield _Program([sys.executable, "-I", "-S", walk.__file__, json.dumps(asked)], {"LC_ALL": "C.UTF-8"})


_FLAVOURS = (("-P", ""), ("-E", "[this git has no PCRE: the pattern was read as POSIX extended]"))
_GREP = (
    "-n",
    "-z",
    "-I",
    "--column",
    "--no-color",
    "--no-heading",
    "--no-break",
    "--no-textconv",
    "--full-name",
)


def _what(query: Query) -> list[str]:
    return ["-e", query.pattern, "--", *_pathspecs(query)]


def _pathspecs(query: Query) -> list[str]:
    here = [] if query.start == "." else [f":(literal){query.start}"]
    if not query.glob:
        return here
    patterns = walk.anchored(query.glob, query.start)
    if query.glob.startswith("!"):
        return [*(here or ["."]), *(f":(glob,exclude){pattern}" for pattern in patterns)]
    return [f":(glob){pattern}" for pattern in patterns]


def _list(query: Query, limits: _Limits) -> _Answer:
    """Names of files: git's, if this is a repository that git can read, else a walk."""
    answer = _Answer(limits.most, "files")
    if _is_repository(query.root):
        with suppress(RepositoryError):  # there is no git
            argv = git.argv(
                query.root, "ls-files", "-z", "-c", "-o", "--exclude-standard", "--deduplicate", "--"
            )
            take = _Names(query, answer).take
            ended = _stream([*argv, *_pathspecs(query)], git.environment(query.root), limits, take)
            if ended.code in (0, None):
                return answer if ended.code == 0 else _stopped(answer)
    answer = _Answer(limits.most, "files")
    fits = walk.matcher(query.glob, query.start)
    for path in filter(fits, walk.names(str(query.root), query.start)):
        if limits.cancel.is_set():
            raise ToolError("cancelled")
        if not answer.add(path, shown(path)) or time.monotonic() > limits.end:
            return _stopped(answer)
    return answer


def _stopped(answer: _Answer) -> _Answer:
    """The answer of a search that we ended: it was counted far enough, or it took too long."""
    if not answer.partly:
        answer.partly = True
        answer.notes.append("[stopped after its time, there may be more: narrow path, glob or pattern]")
    return answer


def _is_repository(root: Path) -> bool:
    return git.find_root(root) == root


class _Records:
    """Reads the records of `git grep -n -z --column` however they are split."""

    def __init__(self, query: Query, answer: _Answer, workspace: Workspace) -> None:
        self._query, self._answer, self._workspace = query, answer, workspace
        self._withheld: dict[str, bool] = {}  # by path
        self._buffer = bytearray()
        self._skipping = False  # the rest of a very long line

    def take(self, data: bytes) -> bool:
        if self._skipping:
            _, newline, data = data.partition(b"\n")
            self._skipping = not newline
        self._buffer += data
        at, go_on = 0, True
        while go_on and (head := _RECORD.match(self._buffer, at)):
            end = self._buffer.find(b"\n", head.end())
            if end < 0 and len(self._buffer) - at < _BUFFER:
                break
            self._skipping = end < 0
            end = len(self._buffer) if end < 0 else end
            go_on = self._add(head, bytes(self._buffer[head.end() : end]))
            at = end + 1
        del self._buffer[:at]
        return go_on

    def _add(self, head: re.Match[bytes], text: bytes) -> bool:
        path = self._query.kept or os.fsdecode(head[1])
        if not self._query.kept and self._is_withheld(path):
            return True
        around = len(_text(text[: int(head[3]) - 1]))
        line = self._masked(_text(text).removesuffix("\r"), around)
        line = clip_line(line, _LINE, around)
        return self._answer.add(path, f"{shown(path)}:{int(head[2])}: {line}")

    def _masked(self, line: str, around: int) -> str:
        start, end = max(0, around - _WIDE), around + _WIDE
        return line[:start] + self._workspace.secrets.mask_line(line[start:end]) + line[end:]

    def _is_withheld(self, path: str) -> bool:
        if path not in self._withheld:
            self._withheld[path] = self._workspace.withholds(path)
            if self._withheld[path]:
                self._answer.withheld += 1
        return self._withheld[path]


class _Names:
    """Reads NUL-ended names; those of files that are there are added."""

    def __init__(self, query: Query, answer: _Answer) -> None:
        self._query, self._answer = query, answer
        self._rest = b""

    def take(self, data: bytes) -> bool:
        *names, self._rest = (self._rest + data).split(b"\0")
        paths = (os.fsdecode(name) for name in names)
        return all(
            self._answer.add(path, shown(path)) for path in paths if os.path.lexists(self._query.root / path)
        )


class _Ended(NamedTuple):
    """`code` None: it was ended by us. `said` is the beginning of stderr."""

    code: int | None
    said: str


def _stream(argv: list[str], env: dict[str, str], limits: _Limits, take: Callable[[bytes], bool]) -> _Ended:
    """Feed what `argv` prints to `take`, until that has enough or the time is up."""
    pipe, said = subprocess.PIPE, b""
    with (
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=env) as process,
        selectors.DefaultSelector() as ready,
    ):
        assert process.stdout and process.stderr
        ready.register(process.stdout, selectors.EVENT_READ)
        ready.register(process.stderr, selectors.EVENT_READ)
        try:
            look = time.monotonic() + _PATIENCE
            while ready.get_map() and time.monotonic() < limits.end and not limits.cancel.is_set():
                if time.monotonic() > look:
                    look = limits.end
                    _look_for_obstacle(limits.root)
                for key, _ in ready.select(0.05):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        ready.unregister(key.fileobj)
                    elif key.fileobj is process.stderr:
                        said = (said + data)[:4096]
                    elif not take(data):
                        return _Ended(None, "")
            if limits.cancel.is_set():
                raise ToolError("cancelled")
            code = None if ready.get_map() else process.wait()
        finally:
            process.kill()
    return _Ended(code, said.decode("utf-8", "replace"))


def _look_for_obstacle(root: Path) -> None:
    if found := git.obstacle(root):
        name = shown(os.path.relpath(found, root))
        raise ToolError(
            f"search cannot end: {name} is not a regular file; remove it, or give a path without it"
        )


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
