"""What is sent of a long conversation: old tool results give way to one line each, then all to a summary.

The history itself stays whole. What is sent changes rarely and all at once, and is byte-identical from one
request to the next in between: that is what prompt caches are made of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from .shape import mapping, sequence
from .truncate import clip_line, head_tail
from .types import Assistant, Json, Message, ToolCall, ToolResult, User
from .veil import uncover

_CLEAR_AT, _CLEAR_SHARE = 64_000, 0.4  # tokens, and share of the window; the smaller one counts
_FREED_AT_LEAST = 20_000  # tokens: less is not worth a cache that starts anew; a sixth of a small window
_KEPT = 10  # newest results, whose bodies stay
_KEPT_HARD = 2  # of them, once the provider has refused the request for its length
_SHORT = 500  # bytes: an error that is shorter stays, and so does a line that stands for a body
_SUMMARY_SHARE, _SUMMARY_RESERVE = 0.85, 10_000
_GROWN = 8  # part of the window that a conversation grows by before it is summed up again
_SUMMARY_BYTES = 32 << 10
_LEAST_WINDOW = 8_192  # whatever a provider refuses
_SCALES = 0.25, 4.0  # what a provider's count may differ from ours by

_STUB = re.compile(r"\[cleared: [^\n]*; [^\n]*call again if needed\]")
_KEPT_OUTPUT = re.compile(r"\b(output:[1-9][0-9]{0,8}): read or search it\]\s*$")
_SUMMARY = "[The earlier part of this conversation was replaced by this summary of it.]\n\n"
_LOST = "(It no longer fitted and could not be summarised. Read again what you need before you go on.)"


class Gauge(NamedTuple):
    """How tokens are counted: `fixed` bytes go with every request; one is `scale` by the provider's count."""

    fixed: int = 0
    scale: float = 1.0


_PLAIN = Gauge()


@dataclass(slots=True)
class Fitter:
    """What to send of one append-only history. `forget` is called whenever bodies leave the request.

    `window` and `max_tokens` are in tokens; `fixed` is the size of system prompt and tools in bytes.
    Each turn `fit` comes first, then what is known of its request: a summary, an overflow, the real count.
    """

    window: int
    max_tokens: int
    fixed: int = 0
    forget: Callable[[], None] = lambda: None
    scale: float = 1.0
    limit: int = 0  # what the window has turned out to be
    _history: Sequence[Message] = ()
    _base: list[Message] = field(default_factory=list[Message])  # stands for the first `_taken` messages
    _taken: int = 0
    _fitted: int = 0  # messages of the history that `_sent` stands for
    _sent: list[Message] = field(default_factory=list[Message])
    _summary: str = ""
    _summed: int = 0  # tokens after the last summary, or the last try at one
    _steps: list[Json] = field(default_factory=list[Json])  # what was done to the conversation, not yet told

    def __post_init__(self) -> None:
        self.limit = self.window

    def fit(self, history: Sequence[Message]) -> list[Message]:
        """The messages to send: a valid conversation that ends as `history` does."""
        self._history, self._fitted = history, len(history)
        self._sent = [*self._base, *history[self._taken :]]
        if cleared := clear(self._sent, self.limit, self._gauge):
            self._step("fit")
            self._replace(cleared[0])
        return self._sent

    def restart(self) -> None:
        """Another history comes: nothing that was said so far stands before the model any more."""
        self._history, self._base, self._taken, self._fitted, self._sent = (), [], 0, 0, []
        self._summary, self._summed = "", 0
        self.forget()

    def tell(self, prompt_tokens: int) -> bool:
        """Takes the provider's count of what `fit` gave last, 0 for none; True if it silently overflowed."""
        overflowed = prompt_tokens > self.window
        if prompt_tokens > 0:
            low, high = _SCALES
            self.scale = min(high, max(low, prompt_tokens / estimate(self._sent, Gauge(self.fixed))))
            self.limit = max(self.limit, min(prompt_tokens, self.window))
        return overflowed

    def overflowed(self) -> bool:
        """What `fit` gave last was too long: True if `fit` now gives clearly less, False if nothing helps."""
        self._step("overflowed")
        before = self.size(self._sent)
        self.limit = min(self.limit, max(_LEAST_WINDOW, before))
        shorter, _, _ = _without_bodies(self._sent, _KEPT_HARD)
        if self.size(shorter) > before // 2:
            shorter = self._summarise(f"{self._summary}\n\n{_LOST}", before // 2, _KEPT_HARD)
        if self.size(shorter) > before * 0.9:
            return False
        self._replace(shorter)
        return True

    def summary_request(self) -> list[Message] | None:
        """What to send in place of what `fit` gave last, if the model is to sum it up first."""
        size = self.size(self._sent)
        has_grown = not self._summed or size > self._summed + self.limit // _GROWN
        if not has_grown or not needs_summary(size, self.limit, self.max_tokens):
            return None
        return [*self._sent, User(summary_prompt())]

    def summarised(self, text: str) -> None:
        """Takes the answer to `summary_request`; from now on `fit` gives less, unless there is no text."""
        self._step("summarised", text)
        if text.strip():
            self._summary = text = uncover(text)
            goal = _summary_limit(self.limit, self.max_tokens) // 2
            self._replace(self._summarise(text, goal, _KEPT))
        self._summed = self.size(self._sent)

    def steps(self) -> list[Json]:
        """What was done to the conversation since this was last asked, for `go_on`."""
        steps, self._steps = self._steps, []
        return steps

    def go_on(self, history: Sequence[Message], steps: Iterable[Json], prompt_tokens: int) -> None:
        """As if this had fitted all of `history`, with these `steps`; `prompt_tokens` are its last turn's."""
        for step in steps:
            at = int(step.get("at") or 0)
            self._history, self._fitted = history[:at], at
            self.scale, self.limit = float(step.get("scale") or 1), int(step.get("limit") or self.window)
            self._sent = [*self._base, *history[self._taken : at]]
            match step.get("do"):
                case "fit":
                    self.fit(self._history)
                case "overflowed":
                    self.overflowed()
                case _:
                    self.summarised(str(step.get("text") or ""))
        turns = [place for place, message in enumerate(history) if isinstance(message, Assistant)]
        last = turns[-1] if turns else 0
        if self._fitted <= last:  # else the last step knew that count already
            self._sent = [*self._base, *history[self._taken : last]]
            self.tell(prompt_tokens)
        self._steps.clear()

    def size(self, messages: Sequence[Message]) -> int:
        """About how many tokens a request with `messages` has."""
        return estimate(messages, self._gauge)

    def _summarise(self, text: str, goal: int, keep: int) -> list[Message]:
        """With as many of the newest `keep` results as `goal` tokens allow."""
        changed = changed_paths(self._history)
        shorter = summarise(self._sent, text, keep, changed)
        while keep and self.size(shorter) > goal:
            keep //= 2
            shorter = summarise(self._sent, text, keep, changed)
        return shorter

    def _step(self, name: str, text: str = "") -> None:
        at = {"at": self._fitted, "scale": self.scale, "limit": self.limit}
        self._steps.append({"do": name, **at, **({"text": text} if text else {})})

    def _replace(self, messages: list[Message]) -> None:
        self._base, self._taken = messages, self._fitted
        self._sent = list(messages)
        self.forget()

    @property
    def _gauge(self) -> Gauge:
        return Gauge(self.fixed, self.scale)


def estimate(history: Iterable[Message], gauge: Gauge = _PLAIN) -> int:
    """About how many tokens a request with `history` has."""
    size, results = gauge.fixed, 0
    for message in history:
        match message:
            case User(text):
                size += _bytes(text)
            case ToolResult(content=content, note=note):
                size += _bytes(content) + _bytes(note)
                results += 1
            case Assistant():
                size += _bytes(message.text) + _bytes(message.thought or "")
                size += sum(_bytes(call.name) + _bytes(call.arguments) for call in message.calls)
    return int((size / 4 + 45 * results + 80) * gauge.scale)


def clear(history: Sequence[Message], window: int, gauge: Gauge = _PLAIN) -> tuple[list[Message], int] | None:
    """`history` with the bodies of all but the newest results replaced, and how many; None to leave it.

    A body becomes one line that names the call; all else stays as it is, and so do short errors.
    """
    if estimate(history, gauge) <= min(_CLEAR_AT, int(window * _CLEAR_SHARE)):
        return None
    cleared, count, freed = _without_bodies(history, _KEPT)
    if freed / 4 * gauge.scale < min(_FREED_AT_LEAST, window // 6):
        return None
    return cleared, count


def needs_summary(size: int, window: int, max_tokens: int) -> bool:
    """Whether a conversation of `size` tokens is so near the end of the window that it must be summed up."""
    return size > _summary_limit(window, max_tokens)


def summary_prompt() -> str:
    """What asks the model for a summary."""
    return (Path(__file__).parent / "prompts" / "summary.md").read_text(encoding="utf-8").strip()


def summarise(
    history: Sequence[Message], text: str, keep: int = _KEPT, changed: Sequence[str] | None = None
) -> list[Message]:
    """The task verbatim, the summary `text`, the user's latest words, the newest `keep` results with calls.

    `changed` are the paths of files that were changed, found in `history` unless given.
    """
    start = _tail(history, keep)
    dropped, tail = history[1:start], history[start:]
    paths = changed_paths(history) if changed is None else changed
    summary = _SUMMARY + head_tail(text.strip(), _SUMMARY_BYTES // 2, _SUMMARY_BYTES // 2)
    if paths:
        summary += f"\n\nFiles changed until now: {', '.join(map(_plain, paths))}"
    words = [message for message in dropped if isinstance(message, User) and not _is_summary(message)]
    latest = words[-1:] if not any(isinstance(message, User) for message in tail) else []
    return [*history[:1], User(summary), *latest, *(message for message in tail if not _is_summary(message))]


def changed_paths(history: Iterable[Message]) -> list[str]:
    """The paths of files that tools changed, sorted."""
    found: set[str] = set()
    for message in history:
        if isinstance(message, ToolResult) and message.ok:
            changes = sequence(message.details.get("changes")) or [message.details]
            for change in map(mapping, changes):
                names = (change.get("path"), change.get("new_path")) if "kind" in change else ()
                found.update(name for name in names if isinstance(name, str))
    return sorted(found)


def _without_bodies(history: Sequence[Message], keep: int) -> tuple[list[Message], int, int]:
    """`history` with a line for each body but the newest `keep`, how many, and how many bytes that frees."""
    old = sum(isinstance(message, ToolResult) for message in history) - keep
    calls: dict[str, ToolCall] = {}
    messages: list[Message] = []
    count = freed = 0
    for message in history:
        if isinstance(message, Assistant):
            calls.update((call.id, call) for call in message.calls)
        elif isinstance(message, ToolResult):
            if old > 0 and (stub := _stub(message, calls.get(message.call_id))):
                count, freed = count + 1, freed + _bytes(message.content) - _bytes(stub)
                message = replace(message, content=stub)
            old -= 1
        messages.append(message)
    return messages, count, freed


def _stub(result: ToolResult, call: ToolCall | None) -> str | None:
    """The line that stands for the result's body, None if the body stays."""
    size = _bytes(result.content)
    if size < _SHORT and (not result.ok or _STUB.fullmatch(result.content)):
        return None
    kept = _KEPT_OUTPUT.search(result.content[-200:])
    way = f"read {kept[1]}, or call again if needed" if kept else "call again if needed"
    stub = f"[cleared: {_named(call)}, {size} bytes; {way}]"
    return stub if _bytes(stub) < size else None


def _named(call: ToolCall | None) -> str:
    """`read src/a.py 1-400`: the tool and what it was called with, on one line."""
    if call is None:
        return "a tool's result"
    try:
        given = mapping(json.loads(call.arguments))
    except (ValueError, RecursionError):
        given = {}
    name, path = call.name, given.get("path")
    if name == "read" and isinstance(path, str):
        first, limit = given.get("offset", 1), given.get("limit", 400)
        end = f"-{first + limit - 1}" if isinstance(first, int) and isinstance(limit, int) else ""
        return f"read {_plain(path)} {_plain(first)}{end}"
    return " ".join([_plain(name), *(_plain(value) for value in list(given.values())[:3])])


def _plain(value: object) -> str:
    """A value that the model or the disk gave, on one line of about 60 characters that can be sent."""
    text = uncover(value if isinstance(value, str) else str(value))[:400]
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    return clip_line(quoted.encode("utf-8", "replace").decode(), 60)


def _tail(history: Sequence[Message], keep: int) -> int:
    """Where the turn begins whose results are the oldest of the newest `keep`; 1 if there are fewer."""
    place = len(history)
    while keep > 0 and place > 1:
        place -= 1
        keep -= isinstance(history[place], ToolResult)
    while 1 < place < len(history) and isinstance(history[place], ToolResult):
        place -= 1
    return place


def _is_summary(message: Message) -> bool:
    return isinstance(message, User) and message.text.startswith(_SUMMARY)


def _summary_limit(window: int, max_tokens: int) -> int:
    return max(window // 2, min(int(window * _SUMMARY_SHARE), window - max_tokens - _SUMMARY_RESERVE))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
