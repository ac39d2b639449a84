"""One turn that counts: encode, send, decode, mend, judge, and ask again where that can help.

A turn counts only if its stream is whole. Nothing of a turn that does not is ever executed or remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from . import sse, usage
from .context import Fitter
from .dialects import Dialect, encode, near_models
from .errors import AgentError, BudgetError, ProviderError
from .model import Turn, read_turn
from .parameters import refused_parameter, without
from .recover import Fits, recover
from .retry import Failure, Patience, classify, delay, final, refusal
from .slots import Slot, Slots
from .types import Assistant, Delta, Discarded, Json, Message, Notice, Retrying

_MAX_DISCARDS = 2  # broken or empty turns in a row that are asked again
_MAX_DROPS = 8  # fields or limits that a host may refuse in one session
_MORE_TOKENS = 2  # factor for the one retry of a reply that was cut at its limit
_CUT = "the reply was cut at its token limit"
_TOO_LONG = "the conversation no longer fits the model's context window"
_FILTERED = "the provider's content filter stopped the answer"

_FLAWS = {  # by finish_reason
    "": "the stream ended without a finish_reason",
    "length": _CUT,
    "model_context_window_exceeded": _TOO_LONG,
    "sensitive": _FILTERED,
    "content_filter": _FILTERED,
}
_CALLING = {"tool_calls", "function_call", "tool_use"}
_WHOLE = {"stop", "eos", "eos_token", "end_turn", "stop_sequence"} | _CALLING

Step = Delta | Retrying | Discarded | Notice


class _Verdict(NamedTuple):
    """The turn as it was meant; `flaw` says why it does not count."""

    message: Assistant
    notes: list[str]
    flaw: str | None


@dataclass(slots=True)
class Client:
    """Asks one model. `send` gives an answer's bytes and raises Failure; `seconds` is time spent asking.

    What the host turns out to refuse is remembered here for the session.
    """

    dialect: Dialect
    host: str
    send: Callable[[Json], Iterable[bytes]]
    fitter: Fitter
    slots: Slots = field(default_factory=lambda: Slots(None, 0))
    fits: Fits | None = None  # which arguments of a call that was written as text will do
    may_raise_limit: bool = True
    sleep: Callable[[float], None] = time.sleep
    seconds: float = 0.0
    drops: int = 0

    def complete(self, history: list[Message]) -> Generator[Step, None, Assistant]:
        """The next turn. Raises AgentError if there is no whole one to be had."""
        yield from self._sum_up(history)
        patience = Patience()
        limit: int | None = None
        discards = 0
        while True:
            turn = yield from self._ask(history, limit, patience)
            message, notes, flaw = self._judge(turn)
            yield from (Notice(f"{self.host}: {note}") for note in notes)
            if flaw is None:
                return _settle(message, history)
            yield Discarded(flaw, turn.message)
            if flaw == _CUT:
                limit = self._more_tokens(limit)
            elif flaw == _TOO_LONG:
                self._shorten(BudgetError(f"{self.host}: {flaw}; split the task"))
            elif flaw == _FILTERED:
                raise AgentError(f"{self.host}: {flaw}")
            else:
                discards += 1
                if discards > _MAX_DISCARDS:
                    text = f"{discards} answers in a row were unusable, the last: {flaw}"
                    raise ProviderError(f"{self.host}: {text}")
                yield from self._wait(discards, delay(discards), Failure(flaw))

    def _sum_up(self, history: Sequence[Message]) -> Generator[Step]:
        """Before a conversation outgrows the window, the model tells what matters of it."""
        self.fitter.fit(history)
        request = self.fitter.summary_request()
        if request is None:
            return
        try:
            turn = yield from _quietly(self._ask(request, None, Patience(), fitted=True))
        except BudgetError:  # even that is too long: what no longer fits is lost, and it says so
            self.fitter.summarised("")
            return
        yield Discarded("the conversation was summed up", turn.message)
        flawed = turn.faults or turn.message.finish not in _WHOLE or turn.message.calls
        self.fitter.summarised("" if flawed else turn.message.text)

    def _ask(
        self, history: Sequence[Message], limit: int | None, patience: Patience, *, fitted: bool = False
    ) -> Generator[Step, None, Turn]:
        """A decoded stream, whole or not. Raises AgentError if none can be had."""
        while True:
            body = encode(history if fitted else self.fitter.fit(history), self.dialect, limit)
            turn, failure = yield from self._try(body)
            if failure is None:
                return turn
            if turn.message != Assistant():
                yield Discarded(failure.message, turn.message)
            yield from self._mend(failure, patience, body)

    def _try(self, body: Json) -> Generator[Step, None, tuple[Turn, Failure | None]]:
        """One request in a slot of its own, and what went wrong with it."""
        slot = yield from self._slot()
        started = time.monotonic()
        failures: list[Failure] = []
        try:
            with closing(_until_failure(self.send(body), failures)) as answer:
                turn = yield from read_turn(sse.read(answer))
        finally:
            self.seconds += time.monotonic() - started
            slot.release()
        if failures and _is_complete(turn):
            failures.clear()  # all of it was there before the connection broke
        return turn, failures[0] if failures else _error_frame(turn)

    def _slot(self) -> Generator[Step, None, Slot]:
        waiting = self.slots.acquire()
        while True:
            try:
                word = next(waiting)
            except StopIteration as end:
                slot: Slot = end.value
                return slot
            yield Notice(str(word))

    def _mend(self, failure: Failure, patience: Patience, body: Json) -> Generator[Step]:
        """Whatever lets the next try succeed. Raises AgentError if nothing can."""
        kind = classify(failure).kind
        if kind in ("drop", "request") and (note := self._drop(failure, body)):
            yield Notice(note)
            return
        if kind == "compact":
            self._shorten(final(failure, self.host, self.dialect.provider.name))
            return
        if kind == "slot":
            self.slots.shrink()
        seconds = patience.wait(failure)
        if seconds is None:
            error = final(failure, self.host, self.dialect.provider.name, patience.failed)
            if kind == "model":
                error.args = (f"{error}{near_models(self.dialect.model.name)}",)
            raise error from failure
        yield from self._wait(patience.failed, seconds, failure)

    def _drop(self, failure: Failure, body: Json) -> str | None:
        """Leaves out what the host refuses, from now on, and says so; None if that is nothing of ours."""
        if self.drops == _MAX_DROPS:
            return None
        self.drops += 1
        refused = refused_parameter(failure.code, failure.message, body)
        changed = without(self.dialect, refused) if refused else self.dialect
        if changed == self.dialect:
            return None
        self.dialect = changed
        return f"{self.host} {refused}"

    def _shorten(self, error: AgentError) -> None:
        """Raises `error` if the conversation is as short as it can be."""
        if not self.fitter.overflowed():
            raise error

    def _judge(self, turn: Turn) -> _Verdict:
        message = turn.message
        if turn.faults:
            return _Verdict(message, [], turn.faults[0].detail)
        if message.finish not in _WHOLE:
            unknown = f"the provider broke off with finish_reason {message.finish[:40]}"
            return _Verdict(message, [], _FLAWS.get(message.finish, unknown))
        offered = [tool["function"] for tool in self.dialect.options.get("tools", ())]
        schemas = {tool["name"]: tool["parameters"] for tool in offered}
        message, notes, flaw = recover(message, schemas, self.fits)
        overflowed = self.fitter.tell(usage.prompt(message.usage))
        if overflowed and self.dialect.model.known:
            flaw = flaw or _TOO_LONG
        return _Verdict(message, notes, flaw or _emptiness(message))

    def _more_tokens(self, limit: int | None) -> int:
        """The limit for the one retry of a cut reply. Raises BudgetError if there was one, or none can be."""
        sent: int = limit or self.dialect.options["max_tokens"]
        more = min(sent * _MORE_TOKENS, self.dialect.model.output)
        if limit is not None or not self.may_raise_limit or more <= sent:
            raise BudgetError(f"the reply was cut at {sent} tokens; raise --max-tokens or lower --effort")
        return more

    def _wait(self, attempt: int, seconds: float, failure: Failure) -> Generator[Retrying]:
        yield Retrying(attempt, seconds, failure.message, failure.status, failure.code or None)
        self.sleep(seconds)


def _is_complete(turn: Turn) -> bool:
    """Whether nothing more can come; some hosts finish each of several calls, and say usage at the end."""
    message = turn.message
    ended = turn.done or bool(message.usage) or message.finish == "stop"
    return ended and message.finish in _WHOLE and not turn.faults


def _until_failure(answer: Iterable[bytes], failures: list[Failure]) -> Generator[bytes]:
    """The bytes of `answer`; where they break off, the Failure goes to `failures`."""
    try:
        yield from answer
    except Failure as error:
        failures.append(error)


def _quietly(asking: Generator[Step, None, Turn]) -> Generator[Step, None, Turn]:
    """The same without what the model says while it is asked for something of ours."""
    while True:
        try:
            step = next(asking)
        except StopIteration as end:
            turn: Turn = end.value
            return turn
        if isinstance(step, Retrying | Discarded | Notice):
            yield step


def _error_frame(turn: Turn) -> Failure | None:
    """The provider's error inside a stream, as if it had come as a status."""
    for fault in turn.faults:
        if fault.error is not None:
            return refusal(None, fault.error)
    return None


def _emptiness(message: Assistant) -> str | None:
    """Why a turn with a good finish_reason does not count all the same."""
    if message.calls:
        return None
    if message.finish in _CALLING:
        return f"finish_reason is {message.finish}, but no call came"
    if message.text.strip():
        return None
    return "the reply is empty but for reasoning" if message.thought else "the reply is empty"


def _settle(message: Assistant, history: list[Message]) -> Assistant:
    """Gives each call an id of its own: hosts leave them out or repeat them."""
    turns = (turn for turn in history if isinstance(turn, Assistant))
    taken = {call.id for turn in turns for call in turn.calls}
    for call in message.calls:
        number = 0
        while not call.id or call.id in taken:
            call.id = f"call_{len(history)}_{number}"
            number += 1
        taken.add(call.id)
    return message
