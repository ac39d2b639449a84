"""Files and matching lines without git. Also a program of its own, so that a slow regex can be killed:

`python -I -S walk.py '{"root": …, "start": …, "glob": …, "pattern": …}'` prints, for each matching line,
path NUL line NUL column NUL text, as `git grep -z --column` does. So it imports nothing of ours.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

_BINARY = 8192  # first bytes in which a NUL means binary
_LINE = 1024 * 1024  # bytes of a line that are matched at once
_EXPANDED = 64


def names(root: str, start: str) -> Iterator[str]:
    """The regular files at or beneath `start`, relative to `root`, by name.

    Left out: links, `.git`, and what is in a directory that ignores itself.
    """
    top = "" if start == "." else start
    if top and stat.S_ISREG(Path(root, top).lstat().st_mode):
        yield top
        return
    todo = [top]
    while todo:
        folder = todo.pop()
        files, folders = _children(root, folder)
        yield from files
        todo += reversed(folders)


def matcher(glob: str, start: str) -> Callable[[str], bool]:
    """Whether a file fits `glob`, beneath `start`; the same as the patterns of `anchored` mean to git."""
    if not glob:
        return lambda path: True
    wanted = not glob.startswith("!")
    patterns = [_compile(one) for one in anchored(glob, start)]
    return lambda path: any(_fits(path.split("/"), pattern) for pattern in patterns) == wanted


def anchored(glob: str, start: str) -> list[str]:
    """`glob` as patterns from the root: braces expanded, at any depth beneath `start` if it has no slash."""
    found: list[str] = []
    for one in _expand(glob.removeprefix("!")):
        local = one.removeprefix("./")
        if local.endswith("/"):
            local += "**"
        if "/" not in local:
            local = f"**/{local}"
        local = local.removeprefix("/")
        if start == ".":
            found.append(local)
            continue
        found.append(f"{escape(start)}/{local}")
        if local.startswith(f"{start}/"):  # `start` was said twice
            found.append(local)
    return found


def escape(path: str) -> str:
    """`path` so that a glob takes it literally."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def grep(root: str, start: str, glob: str, pattern: str) -> Iterator[bytes]:
    """Each matching line as a record. Raises re.error."""
    wanted, fits = re.compile(pattern), matcher(glob, start)
    for name in filter(fits, names(root, start)):
        for number, line in _lines(Path(root, name)):
            text = line.rstrip(b"\n").decode("utf-8", "surrogateescape")
            if found := wanted.search(text):
                column = len(text[: found.start()].encode("utf-8", "surrogateescape")) + 1
                yield b"%b\0%d\0%d\0%b\n" % (os.fsencode(name), number, column, line.rstrip(b"\n"))


def main() -> int:
    """0: found; 1: not found; 2: the pattern is bad, said on stderr."""
    code = 1
    try:
        for record in grep(**json.loads(sys.argv[1])):
            sys.stdout.buffer.write(record)
            code = 0
        sys.stdout.buffer.flush()
    except re.error as error:
        sys.stderr.write(f"-e option: {error}")
        return 2
    return code


def _children(root: str, folder: str) -> tuple[list[str], list[str]]:
    files: list[str] = []
    folders: list[str] = []
    try:
        entries = sorted(os.scandir(Path(root, folder)), key=lambda entry: entry.name)
    except OSError:  # not ours to read: no file of it can be shown
        return files, folders
    if folder and any(entry.name == ".gitignore" and _ignores_all(Path(entry.path)) for entry in entries):
        return files, folders
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_file(follow_symlinks=False):
            files.append(path)
        elif entry.is_dir(follow_symlinks=False) and entry.name != ".git":
            folders.append(path)
    return files, folders


def _ignores_all(path: Path) -> bool:
    """Whether this is the `.gitignore` of a directory that is nobody's source: a cache, or what we keep."""
    lines = [line.strip() for _, line in islice(_lines(path), 10)]
    return [line for line in lines if line and not line.startswith(b"#")] == [b"*"]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines of a text file, in pieces where very long; none of a binary or unreadable one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or b"\0" in file.read(_BINARY):
            return
        file.seek(0)
        number = 1
        while line := file.readline(_LINE):
            yield number, line
            number += line.endswith(b"\n")


def _expand(glob: str) -> list[str]:
    """`*.{a,b}` as `*.a` and `*.b`; braces beyond a bound are taken literally."""
    todo, done = [glob], list[str]()
    while todo:
        one = todo.pop(0)
        found = re.search(r"\{([^{}]*,[^{}]*)\}", one)
        if found is None or len(todo) + len(done) >= _EXPANDED:
            done.append(one)
            continue
        todo += [one[: found.start()] + part + one[found.end() :] for part in found[1].split(",")]
    return done


def _compile(glob: str) -> list[re.Pattern[str] | None]:
    """One pattern for each component of a path; None stands for any number of directories."""
    parts = glob.split("/")
    if parts[-1] == "**":
        parts.append("*")
    return [None if part == "**" else re.compile(fnmatch.translate(_unescape(part))) for part in parts]


def _unescape(part: str) -> str:
    """Backslashes as the character classes that fnmatch has in their place."""
    return re.sub(r"\\(.)", lambda found: f"[{found[1]}]" if found[1] in "\\*?[" else found[1], part)


def _fits(parts: list[str], pattern: list[re.Pattern[str] | None]) -> bool:
    """Whether all of `parts` are matched by all of `pattern`; linear in both."""
    states = _skip({0}, pattern)
    for part in parts:
        after: set[int] = set()
        for state in states:
            wanted = pattern[state] if state < len(pattern) else _END
            if wanted is None:
                after.add(state)
            elif wanted.match(part):
                after.add(state + 1)
        states = _skip(after, pattern)
    return len(pattern) in states


def _skip(states: set[int], pattern: list[re.Pattern[str] | None]) -> set[int]:
    """With the states that are reached by taking `**` for no directory at all."""
    for state in list(states):
        while state < len(pattern) and pattern[state] is None:
            state += 1
            states.add(state)
    return states


_END = re.compile(r"(?!)")  # what never matches


if __name__ == "__main__":
    sys.exit(main())
