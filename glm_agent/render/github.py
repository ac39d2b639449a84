"""What GitHub's runner is told in a log: what is wrong, as annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..types import Event, Finished, Result
from .faults import Fault, Level, faults
from .sanitize import clean_line

_MOST = 10  # annotations of one level that are shown for a step
_LEVELS: tuple[Level, ...] = ("error", "warning", "notice")


class Annotations:
    """Writes what is wrong with the result as workflow commands, at most ten of a level.

    `levels` is how many of the levels are wanted, the gravest first.
    """

    def __init__(
        self, write: Callable[[str], None], redact: Callable[[str], str], levels: int = len(_LEVELS)
    ) -> None:
        self._write = write
        self._redact = redact
        self._levels = _LEVELS[:levels]

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            for line in self._lines(event.result):
                self._write(line + "\n")

    def close(self) -> None:
        """Nothing to release."""

    def _lines(self, result: Result) -> Iterator[str]:
        every = list(faults(result))
        for level in self._levels:
            found = [fault for fault in every if fault.level == level]
            if len(found) > _MOST:
                rest = Fault(level, "run", f"and {len(found) - _MOST + 1} more; the result has them all")
                found = [*found[: _MOST - 1], rest]
            yield from map(self._line, found)

    def _line(self, fault: Fault) -> str:
        properties = {"file": fault.path, "line": str(fault.line or ""), "title": "glm-agent"}
        shown = ",".join(
            f"{name}={_escape(self._redact(value), ':,')}" for name, value in properties.items() if value
        )
        return f"::{fault.level} {shown}::{_escape(self._redact(fault.text))}"


def _escape(text: str, more: str = "") -> str:
    """By the runner's rules, which are those of URLs; the percent sign first."""
    shown = clean_line(text)
    for sign in "%\r\n" + more:
        shown = shown.replace(sign, f"%{ord(sign):02X}")
    return shown
