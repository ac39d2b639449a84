"""Views: pure consumers of events. Nothing flows back from one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TextIO, cast

from ..errors import AgentError
from ..types import Event
from .sanitize import clean, disarm

if TYPE_CHECKING:
    from ..usage import Price
    from .plain import Look


class View(Protocol):
    def __call__(self, event: Event) -> None: ...

    def close(self) -> None:
        """Leaves the terminal usable; may be called at any time, more than once."""


class Wanted(NamedTuple):
    """The user's flags about output; `level` is -1 with -q and 1 with -v."""

    format: Literal["text", "json", "stream-json"] = "text"
    partial: bool = False
    level: Literal[-1, 0, 1] = 0
    color: Literal["auto", "always", "never"] = "auto"


def choose(
    wanted: Wanted,
    out: TextIO,
    err: TextIO,
    *,
    environ: Mapping[str, str],
    redact: Callable[[str], str],
    price: Price | None = None,
) -> list[View]:
    """The views of a run: one writes to `out`, and only one; what is for people goes to `err`."""
    from .plain import Look, Plain

    if out is err:
        out = expendable(err)
    err = expendable(err)
    for_log, others = _log(wanted, err, environ, redact)
    look = Look(wanted.level, _colour(wanted, err, environ), for_log.redact)
    if wanted.format != "text":
        from .jsonl import JsonLines

        machine = JsonLines(writer(out), wanted.partial, only_result=wanted.format == "json", redact=redact)
        person = Plain(_drop, for_log.write, look if wanted.level > 0 else look._replace(level=-1))
        return [machine, person, *others]
    if wanted.level >= 0 and _capable(err, environ):
        return [_live(look, out, err, price), *others]
    return [Plain(writer(out), for_log.write, look), *others]


def writer(stream: TextIO) -> Callable[[str], None]:
    """Writes and flushes; what the stream's encoding lacks is escaped, so that no text can end a run.

    Raises BrokenPipeError if the reader is gone, AgentError, once, if the stream cannot take any more.
    """

    def write(text: str) -> None:
        try:
            _write(stream, text)
        except BrokenPipeError:
            raise
        except OSError as error:
            discard(stream)
            raise AgentError(f"cannot write the output: {error.strerror}") from error

    return write


def expendable(stream: TextIO) -> TextIO:
    """The stream, but what it cannot take is lost without a word: stderr never decides how a run ends."""
    return cast("TextIO", _Expendable(stream))


def discard(stream: TextIO) -> None:
    """From here on what is written goes nowhere, what is in its buffer too."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


class _Log(NamedTuple):
    """What becomes of a line for people, and what writes it."""

    redact: Callable[[str], str]
    write: Callable[[str], None]


def _log(
    wanted: Wanted, err: TextIO, environ: Mapping[str, str], redact: Callable[[str], str]
) -> tuple[_Log, list[View]]:
    """How stderr is written to where it is a log, and the views that only a log has."""
    log, others = _Log(redact, writer(err)), list[View]()
    if environ.get("GITHUB_ACTIONS") == "true":
        from .github import Annotations

        others.append(Annotations(log.write, redact, 1 if wanted.level < 0 else 3))
        log = _Log(_disarmed(redact), log.write)
    if wanted.level >= 0 and not err.isatty():
        from .heartbeat import Heartbeat

        shown = log
        heart = Heartbeat(lambda text: shown.write(shown.redact(clean(f"{text}\n"))), log.redact)
        others.append(heart)
        log = _Log(log.redact, heart.heard(log.write))
    return log, others


def _disarmed(redact: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: disarm(redact(text))


class _Expendable:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            discard(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            discard(self._stream)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _live(look: Look, out: TextIO, err: TextIO, price: Price | None) -> View:
    from rich.console import Console  # 0.05 s, only for a person who watches

    from .live import Live, markdown

    console = Console(file=err, no_color=not look.colour, highlight=False, markup=False, emoji=False)
    if not out.isatty():
        write = writer(out)
        return Live(console, lambda text: write(text + "\n"), look, apart=True, price=price)
    answers = Console(file=out, no_color=not look.colour, highlight=False, markup=False, emoji=False)
    return Live(console, markdown(answers), look, price=price)


def _colour(wanted: Wanted, err: TextIO, environ: Mapping[str, str]) -> bool:
    if wanted.color != "auto":
        return wanted.color == "always"
    return not environ.get("NO_COLOR") and _capable(err, environ)


def _capable(stream: TextIO, environ: Mapping[str, str]) -> bool:
    return stream.isatty() and environ.get("TERM", "") not in {"", "dumb", "unknown"}


def _drop(text: str) -> None:
    """The answer is in the result line already."""
