"""One turn that counts: encode, send, decode, mend, judge, and ask again where that can help.

A turn counts only if its stream is whole. Nothing of a turn that does not is ever executed or remembered.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from . import sse, usage
from .budget import Budget
from .context import Fitter
from .dialects import Dialect, encode, near_models
from .errors import AgentError, BudgetError, CapReached, ProviderError
from .model import Turn, read_turn
from .parameters import refused_parameter, thoughtless, without
from .recover import Fits, recover
from .retry import Failure, Patience, classify, delay, final, refusal
from .slots import Slot, Slots, Waiting
from .types import Assistant, Delta, Discarded, Json, Memo, Message, Notice, Retrying

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

Step = Delta | Retrying | Discarded | Notice | Memo
Each = TypeVar("Each")
Found = TypeVar("Found")


class _Verdict(NamedTuple):
    """The turn as it was meant; `flaw` says why it does not count."""

    message: Assistant
    notes: list[str]
    flaw: str | None


@dataclass(slots=True)
class Client:
    """Asks one model. `send` gives an answer's bytes and raises Failure; `seconds` is time spent asking.

    `lean` says not to think where that is no help. `end` is when the run must end, by time.monotonic.
    `without_tools` gives the dialect for a host that refuses them, None where they are needed.
    `asking` is the size of the request under way, 0 if there is none. `key_name` is the variable of the key.
    `budget` is asked before each request. What the host turns out to refuse is remembered for the session.
    """

    dialect: Dialect
    host: str
    send: Callable[[Json], Iterable[bytes]]
    fitter: Fitter
    slots: Slots = field(default_factory=lambda: Slots(None, 0))
    fits: Fits | None = None  # which arguments of a call that was written as text will do
    may_raise_limit: bool = True
    lean: bool = False
    key_name: str = ""
    end: float = math.inf
    without_tools: Callable[[Dialect], Dialect] | None = None
    budget: Budget = field(default_factory=Budget)
    sleep: Callable[[float], None] = time.sleep
    seconds: float = 0.0
    asking: int = 0
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

    def go_on(self, history: Sequence[Message], steps: Iterable[Json]) -> None:
        """As if it had been asked for all of `history`; `steps` are what its Memos called `fitted`."""
        turns = [message for message in history if isinstance(message, Assistant)]
        self.fitter.go_on(history, steps, _prompt(turns[-1]) if turns else 0)

    def _sum_up(self, history: Sequence[Message]) -> Generator[Step]:
        """Before a conversation outgrows the window, the model tells what matters of it."""
        self.fitter.fit(history)
        request = self.fitter.summary_request()
        if request is None:
            return
        try:
            turn = yield from _told(self._ask(request, None, Patience(), summary=True), _not_aloud)
        except CapReached:
            raise
        except BudgetError:  # even that is too long: what no longer fits is lost, and it says so
            self.fitter.summarised("")
            return
        yield Discarded("the conversation was summed up", turn.message)
        flawed = turn.faults or turn.message.finish not in _WHOLE or turn.message.calls
        self.fitter.summarised("" if flawed else turn.message.text)

    def _ask(
        self, history: Sequence[Message], limit: int | None, patience: Patience, *, summary: bool = False
    ) -> Generator[Step, None, Turn]:
        """A decoded stream, whole or not; a request for a summary is not made shorter. Raises AgentError."""
        while True:
            sent = history if summary else self.fitter.fit(history)
            dialect = thoughtless(self.dialect) if summary and self.lean else self.dialect
            size, wanted = self.fitter.size(sent), limit or dialect.options["max_tokens"]
            granted = self.budget.grant(size, wanted)
            body = encode(sent, dialect, granted if granted < wanted else limit)
            turn, failure = yield from self._try(body, size)
            if failure is None:
                return turn
            if turn.message != Assistant():
                yield Discarded(failure.message, turn.message)
            if dialect != self.dialect and classify(failure).kind in ("drop", "request"):
                self.lean = False
            elif summary and classify(failure).kind == "compact":
                raise self._final(failure)
            else:
                yield from self._mend(failure, patience, body)

    def _try(self, body: Json, size: int) -> Generator[Step, None, tuple[Turn, Failure | None]]:
        """One request of about `size` tokens in a slot of its own, and what went wrong with it."""
        yield from (Memo({"fitted": step}) for step in self.fitter.steps())
        slot = yield from self._slot()
        started = time.monotonic()
        self.asking = size
        failures: list[Failure] = []
        try:
            with closing(_until_failure(self.send(body), failures)) as answer:
                turn = yield from read_turn(sse.read(answer))
        except AgentError:
            self.asking = 0  # it was not sent
            raise
        finally:
            self.seconds += time.monotonic() - started
            slot.release()
        if failures and _is_complete(turn):
            failures.clear()  # all of it was there before the connection broke
        if turn.message != Assistant():
            _count(turn.message, size)
        self.asking = 0
        return turn, failures[0] if failures else _error_frame(turn)

    def _slot(self) -> Generator[Step, None, Slot]:
        slot = yield from _told(self.slots.acquire(), _aloud)
        if trouble := self.slots.trouble:
            self.slots.trouble = None  # once is enough
            yield Notice(trouble)
        return slot

    def _mend(self, failure: Failure, patience: Patience, body: Json) -> Generator[Step]:
        """Whatever lets the next try succeed. Raises AgentError if nothing can."""
        kind = classify(failure).kind
        if kind in ("drop", "request") and (note := self._drop(failure, body)):
            yield Notice(note)
            return
        if kind == "tools" and (note := self._lose_tools(body)):
            yield Notice(note)
            return
        if kind == "compact":
            self._shorten(self._final(failure))
            return
        if kind == "slot":
            self.slots.shrink()
        seconds = patience.wait(failure)
        if seconds is None:
            raise self._final(failure, patience.failed) from failure
        yield from self._wait(patience.failed, seconds, failure)

    def _final(self, failure: Failure, tries: int = 1) -> AgentError:
        error = final(failure, self.host, self.dialect.provider.name, tries)
        model, kind = self.dialect.model, classify(failure).kind
        if kind == "model":
            error.args = (f"{error}; it was asked for {model.id or model.name}{near_models(model.name)}",)
        elif kind == "auth":
            found = f"it is in {self.key_name}" if self.key_name else "none was sent; set GLM_AGENT_API_KEY"
            error.args = (f"{error} ({found})",)
        return error

    def _lose_tools(self, body: Json) -> str | None:
        """Asks without tools from now on, and says so; None if they are needed, or were used already."""
        used = any(message["role"] == "tool" for message in body["messages"])
        if self.without_tools is None or used:
            return None
        self.dialect, self.without_tools = self.without_tools(self.dialect), None
        name = self.dialect.model.name
        return f"{self.host} takes no tools for {name}: it is asked for JSON, and cannot look at the files"

    def _drop(self, failure: Failure, body: Json) -> str | None:
        """Leaves out what the host refuses, from now on, and says so; None if that is nothing of ours."""
        if self.drops == _MAX_DROPS:
            return None
        refused = refused_parameter(failure.code, failure.message, body)
        changed = without(self.dialect, refused) if refused else self.dialect
        if changed == self.dialect:
            return None
        self.drops += 1
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
        overflowed = self.fitter.tell(_prompt(message))
        if overflowed and self.dialect.model.known:
            flaw = flaw or _TOO_LONG
        return _Verdict(message, notes, flaw or _emptiness(message))

    def _more_tokens(self, limit: int | None) -> int:
        """The limit for the one retry of a cut reply. Raises BudgetError if there was one, or none can be."""
        if self.budget.short:
            raise CapReached(self.budget.short, _CUT)
        sent: int = limit or self.dialect.options["max_tokens"]
        more = min(sent * _MORE_TOKENS, self.dialect.model.output)
        if limit is not None or not self.may_raise_limit or more <= sent:
            raise BudgetError(f"the reply was cut at {sent} tokens; raise --max-tokens or lower --effort")
        return more

    def _wait(self, attempt: int, seconds: float, failure: Failure) -> Generator[Retrying]:
        if time.monotonic() + seconds > self.end:
            why = f"the next try, in {seconds:.0f} s, would come after the end of --max-wall-time"
            raise BudgetError(f"{self.host}: {failure.message}; {why}")
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


def _told(
    work: Generator[Each, None, Found], tell: Callable[[Each], Step | None]
) -> Generator[Step, None, Found]:
    """What `work` returns; of what it yields, what `tell` makes of it."""
    with closing(work):
        while True:
            try:
                step = tell(next(work))
            except StopIteration as end:
                found: Found = end.value
                return found
            if step:
                yield step


def _aloud(waiting: Waiting) -> Step:
    return Notice(str(waiting))


def _not_aloud(step: Step) -> Step | None:
    """Leaves out what the model says while it is asked for something of ours."""
    return step if isinstance(step, Retrying | Discarded | Notice | Memo) else None


def _count(message: Assistant, prompt: int) -> None:
    """Estimates what the provider has not counted, at four bytes a token."""
    thought = _tokens(message.thought or "")
    said = _tokens(message.text + "".join(call.name + call.arguments for call in message.calls))
    message.usage = usage.complete(message.usage, prompt, thought + said, thought)


def _prompt(message: Assistant) -> int:
    """The tokens of the request, by the provider's count; 0 if it gave none."""
    return 0 if message.usage.get("estimated") else usage.prompt(message.usage)


def _tokens(text: str) -> int:
    return -(-len(text.encode(errors="replace")) // 4)


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
