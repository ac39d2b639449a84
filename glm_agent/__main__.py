"""Start: `--version` before anything is imported, then the command line."""

from __future__ import annotations

import os
import sys

from . import __version__

_STDOUT_CLOSED = 141  # as in outcome.py, which is not imported yet


def main() -> int:
    """The exit code of the program."""
    _fill_standard_streams()
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:  # before or after a run, which catches its own
        return 130
    except BrokenPipeError:
        _discard(1)
        return _STDOUT_CLOSED
    except OSError as error:  # of a print: everything that runs catches its own
        _discard(1)
        _complain(f"glm-agent: cannot write the output: {error.strerror}")
        return 1
    return code


def _run(words: list[str]) -> int:
    if words in (["--version"], ["-V"]):
        print(f"glm-agent {__version__}")
        return 0
    import gc

    gc.disable()  # nothing made while importing is garbage: saves a quarter of the start
    from .cli import main as run

    gc.freeze()
    gc.enable()
    code = run(words)
    _ignore_signals()
    return code


def _ignore_signals() -> None:
    """The exit code stands: a signal that comes later must not change it."""
    import signal

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)


def _complain(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(2)


def _discard(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _fill_standard_streams() -> None:
    """A stream that was closed becomes /dev/null, or the next file that is opened would be in its place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115 - open to the end
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main())
