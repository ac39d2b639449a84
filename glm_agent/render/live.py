"""The view for a person at a terminal: what happens, as it happens, above one moving status line.

The only importer of rich. Foreign text is cleaned and never read as markup. Streaming costs little however
much comes: whole lines are printed a few times a second and scroll away, only the last rows are drawn again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rich.console import Console, Group
from rich.live import Live as Region
from rich.text import Text

from .. import usage
from ..types import (
    Assistant,
    CallDelta,
    Discarded,
    Event,
    Finished,
    Message,
    Notice,
    Result,
    Retrying,
    Said,
    Started,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolResult,
    ToolStarted,
    User,
    Verified,
)
from ..veil import uncover
from . import words
from .plain import Look
from .sanitize import clean

_RATE = 10  # times a second that the moving part is drawn and lines are printed
_ROWS = 8  # rows of text that are still coming
_PREVIEW = 4_000  # characters of such text
_PARAGRAPH = 400  # characters
_DIFF_ROWS = 16
_MARKDOWN_LIMIT = 200_000  # characters; longer answers are printed as they are

_STYLES = {"+": "green", "-": "red", "@": "cyan", " ": "dim", "…": "dim"}
_SIGNS = {"bullet": "●", "good": "✓", "bad": "✗", "prompt": ">", "dot": " · ", "spin": "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"}
_ASCII = {"bullet": "*", "good": "+", "bad": "x", "prompt": ">", "dot": ", ", "spin": "|/-\\"}


class Live:
    """Draws on `console`; the final answer goes to `answer`, exactly once.

    `apart` says that the answer goes elsewhere, a pipe or a file: its text is then shown here as well.
    """

    def __init__(
        self,
        console: Console,
        answer: Callable[[str], None],
        look: Look,
        *,
        apart: bool = False,
        price: usage.Price | None = None,
    ) -> None:
        self._console = console
        self._answer = answer
        self._look = look
        self._apart = apart
        self._signs = _SIGNS if console.encoding.lower().startswith("utf") else _ASCII
        self._status = _Status(price, self._signs)
        self._stream = _Stream(console)
        self._preview = ""  # the end of text that may turn out to be the answer
        self._held = ""  # text of a turn without calls: the answer, unless the run goes on
        self._streamed = False  # whether the turn now said was seen in fragments
        self._calls: dict[str, ToolCall] = {}
        self._region: Region | None = None
        self._ended = False

    def __call__(self, event: Event) -> None:
        if self._ended:
            return
        match event:
            case TextDelta():
                self._text(event.text)
            case ThoughtDelta():
                self._fragment(event.text, "dim")
                self._status.doing = "thinking"
            case CallDelta():
                self._status.doing = f"preparing {words.clip(event.name, 40)}"
            case Said():
                self._settle()
                self._said(event.message)
            case Finished():
                self.close()
                self._ended = True
                self._finish(event.result)
            case _:
                self._settle()
                self._happened(event)
        if not self._ended:
            self._draw()

    def close(self) -> None:
        """Leaves the terminal as it was: the moving part gone, the cursor shown. At any time, also twice."""
        region, self._region = self._region, None
        try:
            self._settle()
        finally:
            if region is not None:
                try:
                    region.stop()
                finally:
                    self._console.show_cursor(True)

    def _text(self, fragment: str) -> None:
        self._status.doing = "answering"
        self._streamed = True
        if self._apart:
            self._fragment(fragment, "")
        else:
            self._settle()
            self._preview = (self._preview + fragment)[-_PREVIEW:]

    def _fragment(self, fragment: str, style: str) -> None:
        self._streamed = True
        if style != self._stream.style:
            self._settle()
            self._stream.style = style
        self._stream.add(clean(fragment))
        if lines := self._stream.due():
            self._print(lines, style)

    def _settle(self) -> None:
        """Prints what is left of the stream: something else comes next."""
        if lines := self._stream.rest():
            self._print(lines, self._stream.style)

    def _happened(self, event: Event) -> None:
        self._preview = ""
        match event:
            case Started():
                self._print(self._signs["dot"].join(_opening(event)), "dim")
            case ToolStarted():
                self._status.doing = words.describe(event.call)
            case Retrying():
                self._streamed = False
                self._status.wait(words.clip(event.reason), event.delay)
                self._print(words.retrying(event), "yellow")
            case Discarded():
                self._streamed = False
                self._status.spend(event.turn)
                self._print(f"answer discarded: {words.clip(event.reason)}", "yellow")
            case Verified():
                self._mark(event.exit_code == 0, words.verified(event))
            case Notice():
                self._print(event.text, "yellow")
            case _:
                return

    def _said(self, message: Message) -> None:
        self._preview = ""
        match message:
            case User():
                self._release()
                self._status.doing = "waiting for the model"
                self._print(f"{self._signs['prompt']} {words.clip(self._look.redact(message.text))}", "bold")
            case Assistant():
                self._release()
                self._turn(message)
            case ToolResult():
                self._answered(self._look.answer(message))
                self._status.doing = "waiting for the model"

    def _turn(self, message: Assistant) -> None:
        self._status.turns += 1
        self._status.spend(message)
        self._calls = self._look.calls(message)
        if message.thought and not self._streamed:
            self._print(message.thought.strip("\n"), "dim")
        if not (self._apart and self._streamed):
            self._held = uncover(message.text)
        if message.calls:
            self._release()
        self._streamed = False

    def _release(self) -> None:
        """Text that turned out not to be the answer."""
        held, self._held = self._held.strip("\n"), ""
        if held:
            self._print(held)

    def _answered(self, message: ToolResult) -> None:
        call = self._calls.pop(message.call_id, ToolCall(message.call_id, "tool", "{}"))
        sign, rest = ("green", "dim") if message.ok else ("red", "red")
        effect = words.effect(call, message)
        self._show((f"{self._signs['bullet']} ", sign), (words.describe(call), "bold"), (f"  {effect}", rest))
        if message.ok:
            self._diff(words.rows(call, message, _DIFF_ROWS))
        if self._look.level > 0 and message.content:
            self._diff(words.Row(" ", line) for line in message.content.split("\n", 10)[:10])

    def _diff(self, changed: Iterable[words.Row]) -> None:
        for row in changed:
            self._show((f"  {row.kind} {self._look.redact(row.text)[:500]}", _STYLES[row.kind]), whole=False)

    def _finish(self, result: Result) -> None:
        if not self._apart and self._held.strip() not in result.result:
            self._release()
        if answer := result.result.replace("\r\n", "\n").rstrip("\n"):
            self._answer(self._look.redact(clean(answer)))
        for check in words.checks(result):
            self._mark(check.passes, check.text)
        for error in result.errors or [f"{result.subtype} (exit {result.exit_code})"] * result.is_error:
            self._print(f"glm-agent: {error}", "red")
        if result.session_id:  # else nothing has begun that could be summed up
            self._mark(not result.is_error, words.summary(result))

    def _mark(self, good: bool, text: str) -> None:
        sign, style = ("good", "green") if good else ("bad", "red")
        self._show((f"{self._signs[sign]} ", style), (text, ""))

    def _print(self, text: str, style: str = "") -> None:
        self._show((text, style))

    def _show(self, *parts: tuple[str, str], whole: bool = True) -> None:
        """The one way to the screen for what stays: texts with styles, cut to one row if not `whole`."""
        line = Text(no_wrap=not whole, overflow="fold" if whole else "ellipsis")
        for text, style in parts:
            line.append(self._look.redact(clean(text)), style=style)
        self._console.print(line, highlight=False, markup=False, emoji=False)

    def _draw(self) -> None:
        """Starts the moving part, which then draws itself."""
        if self._region is None and self._console.is_terminal:
            self._region = Region(
                self,
                console=self._console,
                refresh_per_second=_RATE,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._region.start()

    def __rich__(self) -> Group:
        """The moving part, made when it is drawn: what has just been printed is not in it any more."""
        style, text = self._stream.style, self._stream.waiting()
        if not text:
            style, text = "", clean(self._preview)
        parts: list[Text] = []
        if text:
            width, height = self._console.size
            text = self._look.redact(text)[-_ROWS * width :]
            lines = Text(text, style=style, overflow="fold").wrap(self._console, width)
            parts += lines[-max(1, min(_ROWS, height - 3)) :]
        return Group(*parts, Text(self._look.redact(self._status.line()), no_wrap=True, overflow="ellipsis"))


def markdown(console: Console) -> Callable[[str], None]:
    """A writer of answers to a terminal: as Markdown, with nothing in it that the terminal would obey."""

    def write(text: str) -> None:
        from rich.markdown import Markdown  # 0.05 s, wanted once, at the end
        from rich.segment import Segment, Segments

        if len(text) > _MARKDOWN_LIMIT:
            console.print(Text(text), highlight=False)
            return
        # Without hyperlinks, which would hide where they lead; cleaned again, because an entity such as
        # `&#x202e;` is a control character only once it is rendered.
        segments = console.render(Markdown(text, hyperlinks=False))
        safe = [Segment(clean(segment.text), segment.style) for segment in segments if not segment.control]
        console.print(Segments(safe), end="", crop=False)

    return write


class _Stream:
    """Text in fragments, given back as whole lines, a few times a second."""

    def __init__(self, console: Console) -> None:
        self.style = ""
        self._console = console
        self._lines: list[str] = []  # whole, not yet printed
        self._tail = ""
        self._printed_at = 0.0

    def add(self, fragment: str) -> None:
        before, newline, self._tail = (self._tail + fragment).rpartition("\n")
        if newline:
            self._lines.append(before)
        # A paragraph in one line: what fills whole rows can go. The width costs a system call.
        if len(self._tail) > _PARAGRAPH and len(self._tail) > 4 * (width := self._console.width):
            wrapped = Text(self._tail, overflow="fold").wrap(self._console, width)
            self._lines.append("\n".join(row.plain for row in wrapped[:-1]))
            self._tail = wrapped[-1].plain

    def due(self) -> str:
        """The whole lines, if it is time to print them again; else ""."""
        now = time.monotonic()
        if not self._lines or now - self._printed_at < 1 / _RATE:
            return ""
        self._printed_at = now
        lines, self._lines = self._lines, []
        return "\n".join(lines)

    def rest(self) -> str:
        """All that was not given back yet."""
        text = self.waiting().rstrip("\n")
        self._lines, self._tail = [], ""
        return text

    def waiting(self) -> str:
        return "\n".join([*self._lines, self._tail])


class _Status:
    """The moving line: what is being done, and what it cost so far."""

    def __init__(self, price: usage.Price | None, signs: dict[str, str]) -> None:
        self.doing = "starting"
        self.turns = 0
        self._price = price
        self._signs = signs
        self._tokens = usage.normalise({})
        self._began = time.monotonic()
        self._waiting_for = ""
        self._until = 0.0

    def spend(self, turn: Assistant) -> None:
        self._tokens = usage.add(self._tokens, usage.normalise(turn.usage))

    def wait(self, reason: str, delay: float) -> None:
        self.doing = "waiting for the model"
        self._waiting_for = reason
        self._until = time.monotonic() + delay

    def line(self) -> str:
        now = time.monotonic()
        frames = self._signs["spin"]
        left = self._until - now
        doing = f"{self._waiting_for} ({words.duration(left)})" if left > 0 else self.doing
        total = self._tokens
        tokens = usage.tokens(total)
        parts = [
            f"{frames[int(now * _RATE) % len(frames)]} {doing}",
            words.duration(now - self._began),
            f"turn {self.turns + 1}",
            f"{words.count(tokens)} tokens" if tokens else "",
            words.money(usage.cost(total, self._price)) if self._price and tokens else "",
        ]
        return self._signs["dot"].join(part for part in parts if part)


def _opening(event: Started) -> list[str]:
    sandbox = f"{event.sandbox.get('mode')} ({event.sandbox.get('mechanism')})"
    return [
        f"glm-agent {words.clip(event.command)}",
        words.clip(f"{event.model} at {event.base_url_host}"),
        words.clip(f"sandbox {sandbox}"),
        words.clip(f"session {event.session_id}"),
    ]
