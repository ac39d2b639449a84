"""Ctrl-C at a terminal asks first: stop, or go on, with a note that the model reads next."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from ..errors import ToolError
from ..render import expendable, writer
from ..types import Arguments, Tool, ToolOutput

_QUESTION = (
    "\nStop? Enter, s or Ctrl-C again stops; c goes on; anything else goes on as a note to the model: "
)
_STOP, _GO_ON = ("", "s", "stop"), ("c", "continue")


class Notes:
    """What the user has to say to the model, and has not been told yet."""

    def __init__(self) -> None:
        self._waiting: list[str] = []

    def ask(self, pause: Callable[[], None]) -> bool:
        """Whether to go on; `pause` is called before the question is put. Raises what a signal raises."""
        pause()
        writer(expendable(sys.stderr))(_QUESTION)
        line = sys.stdin.readline()
        said = line.strip()
        if not line or said.lower() in _STOP:
            return False
        if said.lower() not in _GO_ON:
            self._waiting.append(said)
        return True

    def take(self) -> str:
        """All notes, which are told with that; "" if there are none."""
        taken: list[str] = []
        with suppress(IndexError):  # tools run in several threads
            while True:
                taken.append(self._waiting.pop(0))
        return "\n".join(taken)

    def pass_on(self, tool: Tool) -> Tool:
        """`tool`, with whose result go the notes that came meanwhile."""

        def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
            try:
                output = tool.run(arguments, cancel)
            except ToolError as error:
                if told := self._told():
                    return ToolOutput(f"error: {error}", ok=False, details=dict(error.details), note=told)
                raise
            return output._replace(note=self._told())

        return tool._replace(run=run)

    def _told(self) -> str:
        return f"\n\n[note from the user: {note}]" if (note := self.take()) else ""


def can_ask() -> bool:
    """Whether somebody is there to be asked."""
    streams = (sys.stdin, sys.stderr)  # None if they were closed from the start
    return all(stream is not None and stream.isatty() for stream in streams)
