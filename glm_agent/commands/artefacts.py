"""Files the user asked for: checked before the first request, written at the end."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .. import config
from ..errors import AgentError, UsageError
from ..failpoints import failpoint
from ..render import discard
from ..render.sanitize import clean
from ..settings import Settings
from ..types import Result

_SUMMARY = 1 << 20  # bytes that GitHub takes for one step


def check(settings: Settings) -> None:
    """Raises UsageError if a file that will be wanted at the end cannot be written."""
    named: dict[str, str] = {}
    for option, file in _files(settings):
        path = Path(file)
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UsageError(f"{option} {file}: not a file in an existing directory")
        if file in named:
            raise UsageError(f"{named[file]} and {option} both name {file}; give two files")
        named[file] = option
    if settings.patch != "-":
        return
    if settings.output_format != "text":
        raise UsageError("--patch - needs --output-format text; with JSON give a file, or take `patch_file`")
    if on_github() and not stat.S_ISREG(os.fstat(1).st_mode):
        raise UsageError("--patch - in a log of GitHub's, which obeys lines of a patch; give a file")


def empty(settings: Settings) -> None:
    """What an earlier run wrote is not taken for this one's. Raises AgentError if it cannot be emptied."""
    for option, file in _files(settings):
        if option != "--debug-file" and Path(file).is_file():
            write(file, b"")


def report(wanted: Sequence[str], result: Result, redact: Callable[[str], str]) -> None:
    """Writes each `--report`. Raises AgentError, once all are tried, for the first that cannot be written."""
    problems: list[AgentError] = []
    for kind, _, file in (item.partition("=") for item in wanted):
        try:
            write(file, redact(_page(kind, result)).encode("utf-8", "backslashreplace"))
        except AgentError as error:
            problems.append(error)
    if problems:
        raise problems[0]


def on_github() -> bool:
    return config.environment().get("GITHUB_ACTIONS") == "true"


def summarise(result: Result, redact: Callable[[str], str]) -> None:
    """The page of a GitHub step, if this is one, gets the report too. Raises AgentError if it cannot."""
    file = config.environment().get("GITHUB_STEP_SUMMARY")
    if not file or not on_github():
        return
    page = redact(_page("md", result)).encode("utf-8", "backslashreplace")
    try:
        with Path(file).open("ab") as stream:
            if stream.tell() + len(page) <= _SUMMARY:  # of more, nothing at all is shown
                stream.write(page)
    except OSError as error:
        raise AgentError(f"cannot write GITHUB_STEP_SUMMARY {file}: {error.strerror}") from error


def _page(kind: str, result: Result) -> str:
    if kind == "md":
        from ..render.markdown import markdown

        return markdown(result)
    if kind == "junit":
        from ..render.junit import junit

        return junit(result)
    from ..render.sarif import sarif

    return sarif(result)


def _files(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is to be written, each with the option that says so."""
    single = (
        ("--output-last-message", settings.output_last_message),
        ("--patch", None if settings.patch == "-" else settings.patch),
        ("--debug-file", settings.debug_file),
    )
    yield from ((option, file) for option, file in single if file is not None)
    yield from (("--report", item.partition("=")[2]) for item in settings.report)


def print_patch(data: bytes) -> None:
    """For a terminal, which would obey what is in it, to be read only.

    Raises BrokenPipeError, or AgentError if stdout cannot take it.
    """
    if sys.stdout.isatty():
        data = clean(data.decode("utf-8", "surrogateescape")).encode("utf-8", "backslashreplace")
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
        failpoint("artefact")
        Path(file).write_bytes(data)
    except OSError as error:
        raise AgentError(f"cannot write {file}: {error.strerror}") from error
