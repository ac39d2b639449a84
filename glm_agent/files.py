"""Configuration files: read as text, parsed with the line of what is wrong, replaced as a whole."""

from __future__ import annotations

import os
import re
import shlex
import stat
from pathlib import Path

from . import durable
from .errors import ConfigError
from .types import Json

OUR_HEADER = re.compile(r"^\s*\[\s*tool\s*\.\s*[\"']?glm-agent", re.MULTILINE)
_OURS = r"(?:\s*tool\s*\.\s*[\"']?glm-agent[\"']?\s*\.\s*)"
_LARGEST = 1 << 20  # bytes


def read(file: Path, *, follow: bool = True, own: bool = False) -> str:
    """The text of a configuration file, "" if there is none. Never waits for a FIFO.

    One of the user's `own` must not be anybody's to change. Raises ConfigError.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(file, flags if follow else flags | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        if not follow and file.is_symlink():
            raise ConfigError(f"{file}: a symbolic link; a repository's settings must be a file") from error
        raise ConfigError(f"{file}: {why(error)}") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{file}: not a regular file")
        if own and mode & stat.S_IWOTH:
            raise ConfigError(f"{file}: anybody can change it: chmod 600 {shlex.quote(str(file))}")
        data = os.read(descriptor, _LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(data) > _LARGEST:
        raise ConfigError(f"{file}: larger than {_LARGEST >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: not valid UTF-8") from error


def parse(file: Path, text: str) -> Json:
    """Raises ConfigError, with the line."""
    import tomllib  # 16 ms

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{file}: not valid TOML: nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = found[1] if found else text.count("\n") + 1
        raise ConfigError(f"{file}:{line}: not valid TOML: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{file}: not valid TOML: a number has too many digits") from error


def place(file: Path, text: str, name: str) -> str:
    """`file:line` of the key `name`."""
    table = OUR_HEADER.search(text)
    key = re.compile(rf"^[ \t]*(?:\[{_OURS}?)?[\"']?{re.escape(name)}\b", re.MULTILINE)
    found = key.search(text, table.start() if table else 0)
    return f"{file}:{text.count(chr(10), 0, found.start()) + 1}" if found else str(file)


def place_of(file: Path, text: str, path: tuple[str, ...]) -> str:
    """`file:line` of the last part of a path of tables and keys that can be seen in the text."""
    place = 0
    for name in path:
        key = re.compile(rf"(?<![\w-])[\"']?{re.escape(name)}[\"']?\s*[.=\]]")
        found = key.search(text, place)
        place = found.start() if found else place
    return f"{file}:{text.count(chr(10), 0, place) + 1}"


def replace(file: Path, text: str) -> None:
    """The whole of `file`, at once, and the user's alone from then on. Raises ConfigError."""
    try:
        durable.make_folder(file.parent)
        durable.replace(file, text.encode())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {why(error)}") from error


def why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
