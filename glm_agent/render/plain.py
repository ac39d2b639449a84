"""Plain text for logs and pipes: the answer on one stream, a line for each thing that happens on the other.

What the model or a tool says stands behind `| `, so that no line of it passes for one of ours or for a
command to the program that reads the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

from ..types import (
    Assistant,
    Discarded,
    Event,
    Finished,
    Message,
    Notice,
    Result,
    Retrying,
    Said,
    ToolCall,
    ToolResult,
    User,
    Verified,
)
from ..veil import uncover
from . import words
from .sanitize import clean

Level = Literal[-1, 0, 1]  # quiet, normal, verbose
_SHOWN = 10  # lines of a tool result in verbose mode
_LINE = 200  # characters of each
_DIM, _RED, _GREEN = "2", "31", "32"


def _same(line: str) -> str:
    return line


class Look(NamedTuple):
    """How much a view for people says, and what it does to each line before it is written."""

    level: Level = 0
    colour: bool = False
    redact: Callable[[str], str] = _same

    def calls(self, message: Assistant) -> dict[str, ToolCall]:
        """The calls of a turn by id, redacted already: a key that is cut in half would not be found again."""
        every = message.calls
        return {
            call.id: ToolCall(call.id, self.redact(call.name), self.redact(call.arguments)) for call in every
        }

    def answer(self, message: ToolResult) -> ToolResult:
        """A result, redacted already, for the same reason."""
        return replace(message, content=self.redact(message.content))


class Plain:
    """Writes the final answer to `out`, exactly once, and everything else to `err`, line by line.

    Quiet, only the answer and errors are written; verbose, also reasoning and the first lines of results.
    """

    def __init__(
        self,
        out: Callable[[str], None],
        err: Callable[[str], None],
        look: Look = Look(),  # noqa: B008 - immutable
    ) -> None:
        self._out = out
        self._err = err
        self._look = look
        self._calls: dict[str, ToolCall] = {}
        self._held = ""  # text of a turn without calls: the answer, unless the run goes on
        self._ended = False

    def __call__(self, event: Event) -> None:
        if self._ended:
            return
        match event:
            case Said():
                self._said(event.message)
            case Retrying():
                self._note(words.retrying(event))
            case Discarded():
                self._note(f"answer discarded: {words.clip(event.reason)}")
            case Verified():
                self._note(words.verified(event))
            case Notice():
                self._note(event.text)
            case Finished():
                self._ended = True
                self._finish(event.result)
            case _:
                return

    def close(self) -> None:
        """Nothing to release: a line is out as soon as it is written."""

    def _said(self, message: Message) -> None:
        match message:
            case User():
                self._release()
            case Assistant():
                self._release()
                self._turn(message)
            case ToolResult():
                self._answered(self._look.answer(message))

    def _turn(self, message: Assistant) -> None:
        if self._look.level > 0 and message.thought:
            self._note(_quoted(message.thought.strip()), _DIM)
        self._held = uncover(message.text)
        if message.calls:
            self._calls = self._look.calls(message)
            self._release()

    def _release(self) -> None:
        """Text that turned out not to be the answer."""
        held, self._held = self._held.strip(), ""
        if held:
            self._note(_quoted(held))

    def _answered(self, message: ToolResult) -> None:
        call = self._calls.pop(message.call_id, ToolCall(message.call_id, "tool", "{}"))
        colour = "" if message.ok else _RED
        self._note(f"{words.describe(call)}  -> {words.effect(call, message)}", colour)
        if self._look.level > 0 and message.content:
            self._note(_quoted(_head(message.content)), _DIM)

    def _finish(self, result: Result) -> None:
        if self._held.strip() not in result.result:
            self._release()
        if answer := result.result.replace("\r\n", "\n").rstrip("\n"):
            self._out(self._look.redact(clean(answer)) + "\n")
        for check in words.checks(result):
            self._note(check.text, _GREEN if check.passes else _RED)
        for error in result.errors:
            self._write(f"glm-agent: {error}", _RED)
        if result.is_error and not result.errors:
            self._write(f"glm-agent: {result.subtype} (exit {result.exit_code})", _RED)
        if result.session_id:  # else nothing has begun that could be summed up
            self._note(words.summary(result))

    def _note(self, text: str, colour: str = "") -> None:
        if self._look.level >= 0:
            self._write(text, colour)

    def _write(self, text: str, colour: str) -> None:
        shown = self._look.redact(clean(text))
        if self._look.colour and colour:
            shown = f"\x1b[{colour}m{shown}\x1b[0m"
        self._err(shown + "\n")


def _quoted(text: str) -> str:
    return "| " + text.replace("\r\n", "\n").replace("\n", "\n| ")


def _head(content: str) -> str:
    lines = content.rstrip("\n").split("\n")
    shown = [line if len(line) <= _LINE else line[:_LINE] + "…" for line in lines[:_SHOWN]]
    more = [f"… {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join(shown + more)
