"""The loop: ask the model, run what it calls, tell it the results, until it answers or a cap is reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, islice

from .budget import Budget
from .errors import CapReached, ToolError
from .tools.arguments import decode
from .types import Complete, Event, Message, Said, Stopped, Tool, ToolCall, ToolResult, ToolStarted, User

_AT_ONCE = 8  # reads that run together
_IN_A_TURN = 16  # calls that are run
_LAST_WORDS = 0.8  # seconds that cancelled tools have, all together


@dataclass(slots=True)
class Agent:
    """Caps count over all that share the `budget`. `cancel` is set when whatever runs must end."""

    complete: Complete
    tools: Mapping[str, Tool]
    budget: Budget
    cancel: threading.Event = field(default_factory=threading.Event)

    def run(self, history: list[Message], prompt: str | None) -> Generator[Event]:
        """Extend `history`, by `prompt` first, yielding all that happens; the last event is Stopped."""
        if prompt is not None:
            yield _say(history, User(prompt))
        while (end := self.budget.reached()) is None:
            try:
                turn = yield from self.complete(history)
            except CapReached as reached:
                end = reached.cap
                break
            self.budget.turns += 1
            yield _say(history, turn)
            if not turn.calls or (yield from self.answer(history, turn.calls)):
                end = "done"
                break
        yield Stopped(end, self.budget.turns)

    def answer(self, history: list[Message], calls: list[ToolCall]) -> Generator[Event, None, bool]:
        """Neighbouring readers run together, a writer alone; results keep the calls' order. True is final."""
        for reads_only, batch in groupby(calls[:_IN_A_TURN], key=self._reads_only):
            while part := list(islice(batch, _AT_ONCE if reads_only else 1)):
                yield from map(ToolStarted, part)
                results = self._together(part)
                if part[-1] is calls[-1]:
                    results[-1].note += self.budget.landing_note()
                yield from (_say(history, result) for result in results)
        for call in calls[_IN_A_TURN:]:
            too_many = f"error: not run: only {_IN_A_TURN} calls are run in one turn; ask for fewer at once"
            yield _say(history, ToolResult(call.id, too_many, ok=False))
        return any(isinstance(one, ToolResult) and "final" in one.details for one in history[-len(calls) :])

    def _reads_only(self, call: ToolCall) -> bool:
        tool = self.tools.get(call.name)
        return tool is None or tool.reads_only

    def _together(self, calls: list[ToolCall]) -> list[ToolResult]:
        results = [ToolResult(call.id, "error: interrupted", ok=False) for call in calls]
        running: list[threading.Event] = []  # set when done: an interrupted join cannot be repeated

        def work(place: int, number: int, done: threading.Event) -> None:
            results[place] = self._run_one(calls[place], number)
            done.set()

        try:
            for place, call in enumerate(calls):
                self.budget.calls += 1
                running.append(done := threading.Event())
                thread = threading.Thread(target=work, args=(place, self.budget.calls, done), daemon=True)
                is_raw = call.name in self.tools and self.tools[call.name].takes_raw
                (thread.run if is_raw else thread.start)()  # a regex without end hears signals only here
            for done in running:
                while not done.wait(0.05):  # without end it could sleep through a signal just before it
                    pass
        except BaseException:
            self.cancel.set()  # tools poll it, end what they started, and return
            end = time.monotonic() + _LAST_WORDS
            for done in running:
                done.wait(max(0.0, end - time.monotonic()))
            raise
        return results

    def _run_one(self, call: ToolCall, number: int) -> ToolResult:
        """Never raises: every call gets exactly one answer, so the history stays valid."""
        try:
            if why := self.budget.refusal(number):
                raise ToolError(f"not run: {why}")
            if (tool := self.tools.get(call.name)) is None:
                raise ToolError(
                    f"there is no tool {call.name[:64]!r} here; use one of {', '.join(self.tools)}"
                )
            return ToolResult(call.id, *tool.run(decode(tool, call.arguments), self.cancel))
        except ToolError as error:
            return ToolResult(call.id, f"error: {error}", ok=False, details=dict(error.details))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool's own bug must not lose the session
            return ToolResult(call.id, f"error: {call.name} crashed: {error!r}", ok=False)


def _say(history: list[Message], message: Message) -> Said:
    history.append(message)
    return Said(message)
