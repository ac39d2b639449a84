"""The user's words: from the command line, a file, or standard input. A silent pipe is not waited for."""

from __future__ import annotations

import os
import select
import stat
import sys
from errno import EAGAIN
from typing import Literal, NamedTuple

from ..errors import UsageError

_PATIENCE = 0.2  # seconds a pipe on stdin may take until its first byte
_MOST = 1 << 20  # bytes

Use = Literal["read", "skipped", "none"]


class Task(NamedTuple):
    """`stdin` is what became of standard input; `skipped` means a pipe that stayed open without data."""

    text: str
    stdin: Use


def read(argument: str | None, prompt_file: str | None, stdin: bool | None) -> Task:
    """The whole task. Raises UsageError for two sources, or text that no model can be sent."""
    if argument is not None and prompt_file is not None:
        raise UsageError("give the task as an argument or with --prompt-file, not both")
    if argument == "-" and stdin is False:
        raise UsageError("the task - is read from stdin, which --no-stdin forbids; give one of them")
    if argument == "-":
        return Task(_checked(_drain(), "stdin"), "read")
    words = argument or ""
    if prompt_file is not None:
        words = _checked(_file(prompt_file), f"--prompt-file {prompt_file}")
    words = _checked(os.fsencode(words), "the task")
    use, piped = _standard_input(stdin)
    if words.strip() and piped.strip():
        words = f"{words}\n\nStandard input:\n{fenced(piped)}"
    return Task(words if words.strip() else piped, use)


def _standard_input(wanted: bool | None) -> tuple[Use, str]:
    if wanted is None and (use := _look()) != "read":
        return use, ""
    if wanted is False:
        return "none", ""
    text = _checked(_drain(), "stdin")
    return ("read", text) if text else ("none", "")


def _look() -> Use:
    """Whether standard input has something to say: a file, or a pipe with data or an end, soon."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return "none"
    if stat.S_ISREG(mode):
        return "read"
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return "none"
    return "read" if select.select([0], [], [], _PATIENCE)[0] else "skipped"


def _file(name: str) -> bytes:
    """The file; of a pipe, what comes without a pause. Never waits for a writer, nor for an end."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return _all(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f"--prompt-file {name}: {error.strerror}") from error


def _all(descriptor: int) -> bytes:
    data = b""
    while len(data) <= _MOST:
        if not select.select([descriptor], [], [], _PATIENCE)[0]:
            raise BlockingIOError(EAGAIN, "no regular file, and without data for too long; use - and a pipe")
        if not (more := os.read(descriptor, _MOST + 1 - len(data))):
            break
        data += more
    return data


def _drain() -> bytes:
    return sys.stdin.buffer.read(_MOST + 1) if sys.stdin else b""


def _checked(data: bytes, source: str) -> str:
    if len(data) > _MOST:
        raise UsageError(
            f"{source} is larger than {_MOST >> 20} MiB; put it into a file of the repository and name that"
        )
    if b"\0" in data:
        raise UsageError(f"{source} holds a NUL byte at offset {data.index(0)}; only text can be a task")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not valid UTF-8 at byte {error.start}") from error


def fenced(text: str) -> str:
    """`text` as a block that nothing in it can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.rstrip()}\n{fence}"
