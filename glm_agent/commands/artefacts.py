"""Files the user asked for: checked before the first request, written at the end."""

from __future__ import annotations

from pathlib import Path

from ..errors import AgentError, UsageError
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


def write(file: str, data: bytes) -> None:
    """Raises AgentError if it cannot."""
    try:
        Path(file).write_bytes(data)
    except OSError as error:
        raise AgentError(f"cannot write {file}: {error.strerror}") from error
