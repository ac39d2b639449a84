"""One turn that counts: encode, send, decode, judge, and ask again where that can help.

A turn counts only if its stream is whole. Nothing of a turn that does not is ever executed or remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass

from . import sse
from .dialects import Dialect, encode, near_models
from .errors import AgentError, BudgetError, ProviderError
from .model import Turn, read_turn
from .retry import MAX_TRIES, MAX_WAIT, Failure, classify, delay, final
from .types import Assistant, Delta, Discarded, Json, Message, Retrying

_MAX_DISCARDS = 2  # broken or empty turns in a row that are asked again
_MORE_TOKENS = 2  # factor for the one retry of a reply that was cut at its limit
_CUT = "the reply was cut at its token limit"

_HOPELESS = {  # by finish_reason: asking again cannot help
    "sensitive": (AgentError, "the provider's content filter stopped the answer"),
    "content_filter": (AgentError, "the provider's content filter stopped the answer"),
    "model_context_window_exceeded": (
        BudgetError,
        "the conversation no longer fits the model's context window",
    ),
}
_FLAWS = {  # by finish_reason
    "": "the stream ended without a finish_reason",
    "length": _CUT,
    **{
        finish: f"the provider broke off with finish_reason {finish}"
        for finish in ("network_error", "error", *_HOPELESS)
    },
}

Step = Delta | Retrying | Discarded


@dataclass(slots=True)
class Client:
    """Asks one model. `send` gives an answer's bytes and raises Failure; `seconds` is time spent asking."""

    dialect: Dialect
    host: str
    send: Callable[[Json], Iterable[bytes]]
    may_raise_limit: bool = True
    sleep: Callable[[float], None] = time.sleep
    seconds: float = 0.0

    def complete(self, history: list[Message]) -> Generator[Step, None, Assistant]:
        """The next turn. Raises AgentError if there is no whole one to be had."""
        limit: int | None = None
        discards = 0
        while True:
            turn = yield from self._ask(history, limit)
            if (flaw := _flaw(turn)) is None:
                return _settle(turn.message, history)
            yield Discarded(flaw, turn.message)
            if not turn.faults and turn.message.finish in _HOPELESS:
                error, text = _HOPELESS[turn.message.finish]
                raise error(f"{self.host}: {text}")
            if flaw == _CUT:
                limit = self._more_tokens(limit)
                continue
            discards += 1
            if discards > _MAX_DISCARDS:
                raise ProviderError(
                    f"{self.host}: {discards} answers in a row were unusable, the last: {flaw}"
                )
            yield from self._wait(discards, Failure(flaw))

    def _ask(self, history: list[Message], limit: int | None) -> Generator[Step, None, Turn]:
        """A decoded stream, whole or not. Raises AgentError if none can be had."""
        body = encode(history, self.dialect, limit)
        attempt = 1
        while True:
            started = time.monotonic()
            failures: list[Failure] = []
            try:
                with closing(_until_failure(self.send(body), failures)) as answer:
                    turn = yield from read_turn(sse.read(answer))
            finally:
                self.seconds += time.monotonic() - started
            failure = failures[0] if failures else _error_frame(turn)
            if failure is None:
                return turn
            if turn.message != Assistant():
                yield Discarded(failure.message, turn.message)
            self._check_hope(failure, attempt)
            yield from self._wait(attempt, failure)
            attempt += 1

    def _check_hope(self, failure: Failure, attempt: int) -> None:
        """Raises AgentError if asking again is no use."""
        wanted = failure.retry_after or 0.0
        if classify(failure).again and attempt < MAX_TRIES and wanted <= MAX_WAIT:
            return
        error = final(failure, self.host)
        if failure.code == "1211":
            error.args = (f"{error}{near_models(self.dialect.model.name)}",)
        raise error from failure

    def _more_tokens(self, limit: int | None) -> int:
        """The limit for the one retry of a cut reply. Raises BudgetError if there was one, or none can be."""
        sent: int = limit or self.dialect.options["max_tokens"]
        more = min(sent * _MORE_TOKENS, self.dialect.model.output)
        if limit is not None or not self.may_raise_limit or more <= sent:
            raise BudgetError(f"the reply was cut at {sent} tokens; raise --max-tokens or lower --effort")
        return more

    def _wait(self, attempt: int, failure: Failure) -> Generator[Retrying]:
        seconds = delay(attempt, failure.retry_after)
        yield Retrying(attempt, seconds, failure.message, failure.status, failure.code or None)
        self.sleep(seconds)


def _until_failure(answer: Iterable[bytes], failures: list[Failure]) -> Generator[bytes]:
    """The bytes of `answer`; where they break off, the Failure goes to `failures`."""
    try:
        yield from answer
    except Failure as error:
        failures.append(error)


def _error_frame(turn: Turn) -> Failure | None:
    """The provider's error inside a stream, as if it had come as a status."""
    for fault in turn.faults:
        if fault.error is not None:
            code = str(fault.error.get("code") or "")
            status = int(code) if code.isdecimal() and len(code) == 3 and "400" <= code < "600" else None
            return Failure(" ".join(fault.detail.split()), status, code)
    return None


def _flaw(turn: Turn) -> str | None:
    """Why the turn does not count, None if it does."""
    message = turn.message
    if turn.faults:
        return turn.faults[0].detail
    if message.finish in _FLAWS:
        return _FLAWS[message.finish]
    if message.calls:
        return None
    if message.finish == "tool_calls":
        return "finish_reason is tool_calls, but no call came"
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
