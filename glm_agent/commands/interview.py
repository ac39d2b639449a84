"""A handful of tiny questions that find out what an endpoint really does; whoever drives this sends them."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .. import sse, usage
from ..model import Turn, read_turn
from ..parameters import Refusal, refused_parameter
from ..retry import Failure, refusal
from ..rows import Model, Provider
from ..shape import mapping, sequence
from ..sse import Item
from ..types import Assistant, CallDelta, Json, TextDelta

MOST = 8  # requests
_TOKENS = 800  # of one reply
_CACHED = 256  # tokens: some hosts report about 45 of any prompt as cached
_FIELDS = ("reasoning_content", "reasoning", "reasoning_details")
_FRUIT = "quince"  # thought of, and never said
_SWITCHES = ("thinking", "chat_template_kwargs", "enable_thinking", "reasoning_effort", "reasoning")
_RULES = "\n".join(
    f"Rule {number} of this house: whoever comes in greets all who are there." for number in range(80)
)
_LEGS = "How many legs do two spiders and a bee have together? Count in words from one to that number."
_NOTE: Json = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Writes a text down.",
        "parameters": {
            "type": "object",
            "properties": {"text": {"type": "string", "description": "One sentence."}},
            "required": ["text"],
        },
    },
}
_COLOURS = (
    "Call note three times in one reply: a sentence of ten words on red, another on green, another on blue."
)
_THINK = "Call note with the text ready and think of a fruit. Then call note with a sentence on that fruit."


class Answer(NamedTuple):
    """What came of one question; `fields` are those in which reasoning arrived."""

    message: Assistant = Assistant()  # never changed
    pieces: int = 0  # of text
    fragments: int = 0  # of the arguments of calls
    fields: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(slots=True)
class Facts:
    """What is known of an endpoint; None or "" where it has not been found out."""

    requests: int = 0
    failure: Failure | None = None  # why there are no answers
    streams: bool | None = None
    usage: Literal["", "unasked", "asked", "refused", "never"] = ""
    cached: int | None = None  # tokens of `prompt` at its second time
    prompt: int = 0
    thinks: bool | None = None  # unasked
    arrives: str = ""  # the field in which reasoning comes
    switch: str = ""  # which switches thinking, as a row says it
    others: list[str] = field(default_factory=list[str])  # that may do it in its place
    tried: list[str] = field(default_factory=list[str])  # switches that do not
    untried: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])  # fields
    tools: Failure | bool | None = None  # the failure is why they are refused
    calls: int = 0  # of the three that were wanted in one reply
    fragments: bool | None = None
    tool_stream: Literal["", "streams", "ignored", "refused", "needless"] = ""
    echo: Literal["", "kept", "accepted", "refused"] = ""
    echo_field: str = ""
    json_mode: Literal["", "obeyed", "ignored", "refused"] = ""
    max_field: str = "max_tokens"
    total: Json = field(default_factory=lambda: usage.normalise({}))  # usage of all questions


Asking = Generator[Json, Answer, Answer]


def listen(body: Iterable[bytes]) -> Answer:
    """A whole answer, or why there is none."""
    fields: list[str] = []
    deltas = read_turn(_noting(sse.read(body), fields))
    pieces = fragments = 0
    while True:
        try:
            delta = next(deltas)
        except StopIteration as end:
            turn: Turn = end.value
            break
        except Failure as error:
            return Answer(failure=error)
        pieces += isinstance(delta, TextDelta)
        fragments += isinstance(delta, CallDelta) and bool(delta.arguments)
    if turn.message.text.lstrip().startswith("<think>"):
        fields.append("content")
    return Answer(turn.message, pieces, fragments, tuple(dict.fromkeys(fields)), _flaw(turn))


def interview(provider: Provider, model: Model, facts: Facts) -> Generator[Json, Answer]:
    """Bodies to send, at most MOST of them; `facts` fills with what the answers show."""
    desk = _Desk(provider, model, facts)
    yield from _silence(desk.greet())
    if facts.failure is not None:
        return
    for part in (desk.ask_usage, desk.ask_calls, desk.ask_echo, desk.ask_json, desk.ask_switches):
        if facts.requests < MOST:
            yield from _silence(part())


class _Desk:
    """One endpoint while it is asked; `facts` is filled, question by question."""

    def __init__(self, provider: Provider, model: Model, facts: Facts) -> None:
        self.provider = provider
        self.model = model
        self.facts = facts

    def greet(self) -> Asking:
        facts = self.facts
        answer = yield from self._ask(_LEGS, _RULES)
        found = self._refused(answer, {"max_tokens": _TOKENS})
        if found and found.field == "max_tokens" and found.most is None:
            facts.max_field = "max_completion_tokens"
            answer = yield from self._ask(_LEGS, _RULES)
        facts.failure = answer.failure
        facts.streams = answer.pieces > 1 if answer.message.text else None
        facts.usage = "unasked" if answer.message.usage else ""
        facts.thinks = _has_thought(answer)
        self._learn_field(answer)
        return answer

    def ask_usage(self) -> Asking:
        """Also the second time of the same prompt, for the cache."""
        facts = self.facts
        answer = yield from self._ask(_LEGS, _RULES, stream_options={"include_usage": True})
        if answer.failure is None:
            facts.usage = facts.usage or ("asked" if answer.message.usage else "never")
            spent = usage.normalise(answer.message.usage)
            facts.prompt = usage.prompt(answer.message.usage)
            details = answer.message.usage.get("prompt_tokens_details")
            cached = spent["cache_read_input_tokens"]
            facts.cached = (cached if cached > _CACHED else 0) if details else None
        elif _is_refusal(answer.failure):
            facts.usage = facts.usage or "refused"
            facts.refused.append("stream_options")
        return answer

    def ask_calls(self) -> Asking:
        facts = self.facts
        answer = yield from self._ask(_COLOURS, tools=[_NOTE], tool_choice="auto")
        if answer.failure is not None:
            facts.tools = answer.failure if _is_refusal(answer.failure) else None
            return answer
        facts.tools = bool(answer.message.calls)
        facts.calls = len(answer.message.calls)
        facts.fragments = answer.fragments > facts.calls if facts.calls else None
        self._learn_field(answer)
        return answer

    def ask_echo(self) -> Asking:
        """Whether reasoning can be sent back, and whether `tool_stream` does anything."""
        facts = self.facts
        if facts.tools is not True:
            return Answer()
        is_own = self.provider.name == "custom"
        facts.echo_field = (facts.arrives if is_own else "") or self.provider.thought_field
        if facts.fragments:
            facts.tool_stream = "needless"
        answer = yield from self._ask_echo()
        while answer.failure is not None and facts.requests < MOST and self._blame(answer):
            answer = yield from self._ask_echo()
        if answer.failure is None:
            self._judge_echo(answer)
        return answer

    def ask_json(self) -> Asking:
        question = "Describe a bee in one sentence, as prose or as JSON."
        answer = yield from self._ask(question, response_format={"type": "json_object"})
        if answer.failure is None:
            self.facts.json_mode = "obeyed" if _is_object(answer.message.text) else "ignored"
        elif _is_refusal(answer.failure):
            self.facts.json_mode = "refused"
        return answer

    def ask_switches(self) -> Asking:
        """By halves: fields that a host does not know do no harm beside the one that it does."""
        facts, answer = self.facts, Answer()
        if self.model.known and self.model.thinking != "switch":
            return answer
        left: list[str] = sorted(_SWITCHES, key=lambda name: name != self.provider.thinking)
        group, is_proven = left[:1], False
        while group and facts.requests < MOST:
            sent = _switched(group, on=not facts.thinks)
            answer = yield from self._ask(_LEGS, **sent)
            if answer.failure is None and _has_thought(answer) != facts.thinks:
                left, is_proven = group, True
                self._learn_field(answer)
            elif answer.failure is None or _is_refusal(answer.failure):
                left = self._without(left, group, answer)
            else:
                return answer
            group = left[: len(left) // 2] if is_proven else left[: (len(left) + 1) // 2]
        if is_proven:
            facts.switch, *facts.others = left
        else:
            facts.untried = left
        return answer

    def _without(self, left: list[str], group: list[str], answer: Answer) -> list[str]:
        """The switches that are left to try."""
        found = self._refused(answer, _switched(group, on=not self.facts.thinks))
        out = [found.field] if found and found.field in group else group
        self.facts.refused += out if answer.failure else []
        self.facts.tried += out
        return [name for name in left if name not in out]

    def _ask_echo(self) -> Asking:
        facts, name = self.facts, self.facts.echo_field
        thought = f"I think of a fruit: the {_FRUIT}. I must not say it yet."
        turn: Json = {"role": "assistant", "content": ""}
        if name == "content":
            turn["content"] = f"<think>{thought}</think>"
        elif name != "none" and facts.echo != "refused":
            turn[name] = thought
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "note", "arguments": '{"text": "ready"}'},
        }
        turn["tool_calls"] = [call]
        past = [turn, {"role": "tool", "tool_call_id": "call_1", "content": "written"}]
        more: Json = {} if facts.tool_stream else {"tool_stream": True}
        return (yield from self._ask(_THINK, "", past, tools=[_NOTE], tool_choice="auto", **more))

    def _blame(self, answer: Answer) -> bool:
        """Whether there is a field to leave out, which is then known to be refused."""
        facts = self.facts
        if answer.failure is None or not _is_refusal(answer.failure):
            return False
        found = self._refused(answer, {"tool_stream": True} if not facts.tool_stream else {})
        if found and found.field.startswith("messages."):
            facts.echo = "refused"
        elif not facts.tool_stream:
            facts.tool_stream = "refused"
        elif not facts.echo and facts.echo_field != "none":
            facts.echo = "refused"
        else:
            return False
        return True

    def _judge_echo(self, answer: Answer) -> None:
        facts, message = self.facts, answer.message
        said = message.text + "".join(call.arguments for call in message.calls)
        if not facts.tool_stream:
            came = answer.fragments > len(message.calls)
            facts.tool_stream = "streams" if came else "ignored" if message.calls else ""
        if not facts.echo and facts.echo_field != "none":
            facts.echo = "kept" if _FRUIT in said.lower() else "accepted"

    def _learn_field(self, answer: Answer) -> None:
        self.facts.arrives = self.facts.arrives or (answer.fields[0] if answer.fields else "")

    def _refused(self, answer: Answer, sent: Json) -> Refusal | None:
        failure = answer.failure
        return refused_parameter(failure.code, failure.message, sent) if failure else None

    def _ask(self, question: str, system: str = "", past: Iterable[Json] = (), **fields: object) -> Asking:
        self.facts.requests += 1
        messages = [
            {"role": "system", "content": system or "Be brief."},
            {"role": "user", "content": question},
        ]
        counted: Json = {"stream_options": {"include_usage": True}} if self.facts.usage == "asked" else {}
        answer = yield {
            "model": self.model.id or self.model.name,
            "messages": [*messages, *past],
            "stream": True,
            self.facts.max_field: _TOKENS,
            **counted,
            **fields,
        }
        self.facts.total = usage.add(self.facts.total, usage.normalise(answer.message.usage))
        return answer


def _silence(asking: Asking) -> Generator[Json, Answer]:
    yield from asking


def _switched(names: Iterable[str], *, on: bool) -> Json:
    """The fields of all these switches together."""
    values: Mapping[str, object] = {
        "thinking": {"type": "enabled" if on else "disabled"},
        "chat_template_kwargs": {"enable_thinking": on},
        "enable_thinking": on,
        "reasoning_effort": "high" if on else "none",
        "reasoning": {"enabled": on},
    }
    return {name: values[name] for name in names}


def _has_thought(answer: Answer) -> bool:
    spent = usage.normalise(answer.message.usage)
    return bool(answer.message.thought) or "content" in answer.fields or spent["reasoning_tokens"] > 0


def _is_refusal(failure: Failure) -> bool:
    """Whether the host will not, rather than cannot now."""
    return failure.status in (400, 404, 415, 422, 500, 501)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _flaw(turn: Turn) -> Failure | None:
    for fault in turn.faults:
        if fault.error is not None:
            return refusal(None, fault.error)
    if turn.message.finish:
        return None
    return Failure(turn.faults[0].detail if turn.faults else "the stream ended without a finish_reason")


def _noting(items: Iterable[Item], fields: list[str]) -> Iterator[Item]:
    """The same items; the fields in which reasoning comes go to `fields`."""
    for item in items:
        if isinstance(item, dict):
            for choice in sequence(item.get("choices")):
                delta = mapping(mapping(choice).get("delta"))
                fields += [name for name in _FIELDS if delta.get(name)]
        yield item
