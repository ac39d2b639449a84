"""Full outputs that were too long for the model, kept under names (`output:3`) that are no paths."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

from ..errors import ToolError
from ..failpoints import failpoint

MAX_OUTPUT = 64 * 1024 * 1024  # bytes
_NAME = re.compile(r"output:([1-9][0-9]{0,8})")


def is_name(path: str) -> bool:
    """Whether `path` names a kept output, existing or not."""
    return path.startswith("output:")


class Spill:
    """Outputs in `folder`, which is made, for its owner only, when the first one comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._last = 0

    def save(self, data: bytes) -> str:
        """Keep the first MAX_OUTPUT bytes of `data`; returns their name. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        failpoint("spill")
        number, fd = self._create()
        with os.fdopen(fd, "wb") as file:
            file.write(memoryview(data)[:MAX_OUTPUT])
        return f"output:{number}"

    def file(self, name: str) -> Path:
        """Where the output `name` is kept. Raises ToolError if there is none."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise ToolError(f"{name!a} is no name of an output; they look like output:1")
        path = self._path(int(found[1]))
        if not path.is_file():
            raise ToolError(f"there is no {name}; only outputs said to be kept can be read")
        return path

    def text(self, name: str) -> str:
        """What was kept as `name`; bytes that are not UTF-8 are shown with backslashes. Raises ToolError."""
        try:
            data = self.file(name).read_bytes()
        except OSError as error:
            raise ToolError(f"{name} cannot be read: {error.strerror}; run the command again") from error
        return data.decode("utf-8", "backslashreplace")

    def _create(self) -> tuple[int, int]:
        """The next number and its file, beyond those of an earlier run of the same session."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with self._lock:
            while True:
                self._last += 1
                try:
                    return self._last, os.open(self._path(self._last), flags, 0o600)
                except FileExistsError:
                    continue

    def _path(self, number: int) -> Path:
        return self._folder / f"output-{number}"
