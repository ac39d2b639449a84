"""Files the user asked for: checked before the first request, written at the end."""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import AgentError, UsageError
from ..render import discard
from ..settings import Settings


def check(settings: Settings) -> None:
    """Raises UsageError if a file that will be wanted at the end cannot be written."""
    for option, file in (
        ("--output-last-message", settings.output_last_message),
        ("--patch", settings.patch),
        ("--debug-file", settings.debug_file),
    ):
        if file is None or (option == "--patch" and file == "-"):
            continue
        path = Path(file)
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UsageError(f"{option} {file}: not a file in an existing directory")
    if settings.patch and settings.patch == settings.output_last_message:
        raise UsageError(f"--patch and --output-last-message both name {settings.patch}; give two files")
    if settings.patch == "-" and settings.output_format != "text":
        raise UsageError("--patch - needs --output-format text; with JSON give a file, or take `patch_file`")


def empty(settings: Settings) -> None:
    """What an earlier run wrote is not taken for this one's. Raises AgentError if it cannot be emptied."""
    for file in (settings.output_last_message, settings.patch):
        if file is not None and Path(file).is_file():
            write(file, b"")


def print_patch(data: bytes) -> None:
    """Raises BrokenPipeError, or AgentError if stdout cannot take it."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(sys.stdout)
        raise AgentError(f"cannot write the output: {error.strerror}") from error


def write(file: str, data: bytes) -> None:
    """Raises AgentError if it cannot."""
    try:
        Path(file).write_bytes(data)
    except OSError as error:
        raise AgentError(f"cannot write {file}: {error.strerror}") from error
