"""A model that asks the same thing a third time, and got the same answer twice, is told so instead."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable

from ..errors import ToolError
from ..types import Arguments, Tool, ToolOutput

_ENOUGH = 2  # times that a call is run to the same result
_INCIDENTAL = re.compile(  # what differs between two runs of a command that did the same
    r" time=[\d.]+s\]$| in output:\d+(?=: read or search it\]$)", re.MULTILINE
)


def guard(tools: Iterable[Tool], memory: Memory) -> list[Tool]:
    """The same tools; each refuses a call that was run twice, if nothing can have changed its result.

    What can: a write that succeeded, and any other command.
    """
    return [_guarded(tool, memory) for tool in tools]


def _guarded(tool: Tool, memory: Memory) -> Tool:
    is_command = "command" in tool.parameters["properties"]

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        call = f"{tool.name} {json.dumps(arguments, sort_keys=True)}"
        if memory.is_settled(call):
            raise ToolError(
                f"not run: this very call gave the same result {_ENOUGH} times, and nothing was changed "
                "since; use what it said, or do something else"
            )
        try:
            output = tool.run(arguments, cancel)
        except ToolError as error:
            memory.note(call, f"error {error}")
            raise
        content = output.content
        if not tool.reads_only:
            memory.forget(but=call if is_command else None)
        if is_command:
            content = _INCIDENTAL.sub("", content)
        memory.note(call, f"{output.ok} {content}")
        return output

    return tool._replace(run=run)


class Memory:
    """Calls with their last result and how often in a row it came. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._results: dict[str, tuple[int, int]] = {}  # hash of the result, times

    def is_settled(self, call: str) -> bool:
        with self._lock:
            return self._results.get(call, (0, 0))[1] >= _ENOUGH

    def note(self, call: str, result: str) -> None:
        digest = hash(result)
        with self._lock:
            before, times = self._results.get(call, (digest, 0))
            self._results[call] = (digest, times + 1 if before == digest else 1)

    def forget(self, but: str | None = None) -> None:
        """Something was changed; a command that is only run again changed nothing that it did not before."""
        with self._lock:
            self._results = {call: kept for call, kept in self._results.items() if call == but}
