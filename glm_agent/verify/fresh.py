"""The report that a command was to write: read only if this very run of the command wrote it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import ToolError
from ..reported import junit
from ..reported.junit import BadReport
from ..workspace import Workspace

_CHUNK = 1024 * 1024
_MOST_FILES = 5000


class Seen(NamedTuple):
    """Names of checks by what became of them; each is in one of the first two at most."""

    failed: dict[str, None]
    passed: set[str]
    flaky: set[str]


class Report:
    """JUnit XML at `path` below the root: a file, or a folder whose `*.xml` are one report together."""

    def __init__(self, workspace: Workspace, path: str) -> None:
        self.path = path
        self._workspace = workspace
        self._before: dict[str, tuple[int, ...]] | None = {}

    def mark(self) -> None:
        """What is there now was not written by the run that follows."""
        try:
            self._before = self._marks()
        except (OSError, ToolError, BadReport):
            self._before = None

    def read(self) -> Seen:
        """What the command wrote since `mark`. Raises BadReport, ready to follow the path."""
        try:
            before, now = self._before, self._marks()
            if before is None:
                raise BadReport("could not be looked at before the command ran")
            new = [name for name, mark in now.items() if before.get(name) != mark]
            if not new:
                raise BadReport("was not written by the command" + " in this run" * bool(now))
            return self._read(new)
        except OSError as error:
            raise BadReport(f"cannot be read: {error.strerror}") from error
        except ToolError as error:
            raise BadReport(f"cannot be read: {error}") from error

    def _read(self, names: list[str]) -> Seen:
        seen, left = Seen({}, set(), set()), junit.MOST
        for name in names:
            with self._workspace.opened(name) as fd:
                size = os.fstat(fd).st_size
                left -= size
                if left < 0:
                    raise BadReport(f"has more than {junit.MOST >> 20} MiB")
                _add(seen, junit.read(_chunks(fd)))
        seen.passed.difference_update(seen.failed)
        return seen

    def _marks(self) -> dict[str, tuple[int, ...]]:
        """Each file of the report with what changes when it is written."""
        found: dict[str, tuple[int, ...]] = {}
        for name in self._names():
            with self._workspace.opened(name) as fd:
                status = os.fstat(fd)
            found[name] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return found

    def _names(self) -> list[str]:
        match self._workspace.kind(self.path):
            case "missing":
                return []
            case "file":
                return [self.path]
            case _:
                entries = self._workspace.entries(self.path)
        names = [entry.name for entry in entries if entry.kind == "file" and entry.name.endswith(".xml")]
        if len(names) > _MOST_FILES:
            raise BadReport(f"has more than {_MOST_FILES} files")
        return [f"{self.path}/{name}" for name in names]


def _add(seen: Seen, cases: Iterable[junit.Case]) -> None:
    """A check that has both failed and passed may be two of the same name: it failed."""
    for case in cases:
        match case.state:
            case "failed":
                seen.failed[case.name] = None
            case "passed":
                seen.passed.add(case.name)
            case "flaky":
                seen.flaky.add(case.name)
            case _:
                pass


def _chunks(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _CHUNK):
        yield data
