"""When to ask again: what went wrong with a request, what to do about it, how long to wait, what to say."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .errors import AgentError
from .shape import mapping, sequence, string
from .types import Json
from .verdicts import BACKOFF, PRODUCT, Row, is_known, verdict

_LONGEST = 300  # characters of a provider's message
_LONGEST_CODE = 64
_MOST = 4096  # characters of it that are looked at
_DAY = 86_400.0  # seconds
_DEEPEST = 3  # errors wrapped in errors
_SAYING = (  # fields that say what is wrong
    *("message", "msg", "detail", "error_description", "error_msg", "error", "errors", "Message", "title"),
)
_CODING = {"zai": "zai-coding", "bigmodel": "bigmodel-coding"}  # one host's two products, by provider row
_GENERAL = {coding: general for general, coding in _CODING.items()}


class Failure(Exception):
    """A request that got no usable stream.

    `status` is None if no answer came at all; `code` is the provider's own, as a string; `retry_after` is in
    seconds; `tries` is how many such failures at most are worth another one.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        code: str = "",
        retry_after: float | None = None,
        *,
        tries: int = 8,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.tries = tries


_RESET = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[\sT]+([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)\s*(Z\b|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?"
)
_BRACKETS = re.compile(r"\s*\[([0-9]{3,4})\]\s*\[(.*)\]\s*\[[\w-]*\]\s*", re.DOTALL)
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL | re.IGNORECASE)


def classify(failure: Failure) -> Row:
    """The row for a failure: by the provider's code, its words, then the HTTP status; no status may pass."""
    row = verdict(failure.status, failure.code, failure.message)
    if failure.retry_after and row.kind in ("backoff", "quota"):
        return row._replace(kind="timed", pause=row.pause or BACKOFF.pause)
    return row


def refusal(
    status: int | None, body: object, headers: Mapping[str, str] | None = None, now: float | None = None
) -> Failure:
    """What a host's refusal says, whatever its shape.

    `body` is decoded JSON, or text; `status` is None for an error inside a stream, which may have a status as
    its code. `headers` have names in lower case (or ignore case); `now` is the time since the epoch.
    """
    message, code = _read(body)
    if status is None and re.fullmatch("[45][0-9][0-9]", code):
        status = int(code)
    text = " ".join(message.split())[:_LONGEST]
    text = text or (f"the host answered with status {status}" if status else "the host gave no reason")
    return Failure(text, status, code, retry_after(headers or {}, time.time() if now is None else now))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a host asks to wait: in milliseconds, in seconds, or until a date by the host's clock."""
    if (wait := _number(headers.get("retry-after-ms"))) is not None:
        return wait / 1000
    asked = headers.get("retry-after") or headers.get("llm_provider-retry-after")  # as LiteLLM hands it on
    if (wait := _number(asked)) is not None:
        return wait
    if (date := _epoch(asked)) is None:
        return None
    there = _epoch(headers.get("date"))
    return max(0.0, date - (now if there is None else there))


def reset_time(message: str) -> str | None:
    """When a limit ends, in the provider's own words: without a zone it is no time that can be waited for."""
    found = _RESET.search(message)
    if found is None or not re.search(r"reset|重置", message, re.IGNORECASE):
        return None
    date, hour, zone = found.groups()
    return f"{date} {hour} {zone}" if zone else f"{date} {hour} (its time zone is not given)"


@dataclass(slots=True)
class Patience:
    """How often one request may be tried, and for how many seconds from its first failure."""

    tries: int = 8
    seconds: float = 900.0
    clock: Callable[[], float] = time.monotonic
    spread: Callable[[float, float], float] = random.uniform
    failed: int = 0
    _end: float = math.inf  # by `clock`

    def wait(self, failure: Failure) -> float | None:
        """Takes note of a failed try; the seconds until the next one, None if there is to be none."""
        now = self.clock()
        self._end = min(self._end, now + self.seconds)  # the first failure sets it: `now` only grows
        self.failed += 1
        pause = classify(failure).pause
        if pause is None or self.failed >= min(self.tries, pause.tries, failure.tries):
            return None
        step = pause.steps[min(self.failed, len(pause.steps)) - 1]
        seconds = failure.retry_after or self.spread(pause.least, step)
        return seconds if now + seconds <= self._end else None


def delay(attempt: int) -> float:
    """Seconds to wait before try `attempt` + 1: exponential with full jitter."""
    return random.uniform(0, min(30.0, 0.5 * 2**attempt))


def final(failure: Failure, host: str, provider: str = "", tries: int = 1) -> AgentError:
    """The error that ends the run, in one line that says what to do; `provider` is the name of the row."""
    row = classify(failure)
    status = f"HTTP {failure.status}" if failure.status else ""
    code = f"code {failure.code}" if failure.code and failure.code != str(failure.status) else ""
    where = ", ".join(filter(None, (status, code, f"{tries} tries" if tries > 1 else "")))
    wait = f"; it asks to wait {_long(failure.retry_after)}" if failure.retry_after else ""
    who = "" if host in failure.message else f"{host}: "
    advice = _advice(row, failure, provider)
    return row.error(f"{who}{failure.message}{f' ({where})' if where else ''}{wait}; {advice}")


def _long(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds <= _DAY else "longer than a day"


def _advice(row: Row, failure: Failure, provider: str) -> str:
    """A key of one of a host's two products looks poor, or wrong, to the other one."""
    if row.kind == "balance":
        return f"{row.advice}; {other}" if (other := _other_product(row, provider)) else row.advice
    when = reset_time(failure.message) if row.kind in ("quota", "timed") else None
    return f"try again after the reset at {when}" if when else row.advice


def _other_product(row: Row, provider: str) -> str:
    if coding := _CODING.get(provider):
        return f"if the key belongs to a Coding Plan, use --provider {coding}"
    if general := _GENERAL.get(provider):
        return f"if the key is not the Coding Plan's, use --provider {general}"
    if provider in ("", "custom") or row is PRODUCT:
        return "a Coding Plan key works with --provider zai-coding only"
    return ""


def _read(body: object, depth: int = 0) -> tuple[str, str]:
    """Message and code of an error in any of the shapes that hosts and what stands before them use."""
    if isinstance(body, str):
        return _read_text(body, depth)
    error = _innermost(body)
    raw = mapping(error.get("metadata")).get("raw")  # a reseller's: what the host behind it said
    if depth < _DEEPEST and isinstance(raw, str) and raw.lstrip().startswith("{"):
        return _read(raw, depth + 1)
    text, inside = _read_text(_words(error), depth)
    code = error.get("code")
    own = str(code)[:_LONGEST_CODE] if isinstance(code, int | str) and not isinstance(code, bool) else ""
    kind = string(error.get("type"))
    if inside and not is_known(own):
        own = inside
    return text, own or (kind if is_known(kind) else "")


def _innermost(body: object) -> Json:
    """The error itself: some hosts wrap it more than once, or give a list of them."""
    error = mapping(body) or mapping(next(iter(sequence(body)), None))
    for _ in range(_DEEPEST):
        listed = next(iter(sequence(error.get("errors"))), None)
        error = mapping(error.get("error")) or mapping(listed) or error
    return error


def _words(said: object, depth: int = 0) -> str:
    """What an error says, also where that is an object, or a list of what is wrong in which place."""
    if isinstance(said, str) or depth > _DEEPEST:
        return string(said)
    if parts := sequence(said):
        return "; ".join(filter(None, (_words(part, depth + 1) for part in parts[:_DEEPEST])))
    fields = mapping(said)
    text = next(filter(None, (_words(fields.get(name), depth + 1) for name in _SAYING)), "")
    place = ".".join(str(step) for step in sequence(fields.get("loc")))
    return f"{place}: {text}" if place and text else text


def _read_text(text: str, depth: int) -> tuple[str, str]:
    """A message that may hold a whole error again: JSON, `[1113][why][request]`, or a page."""
    text = text[:_MOST]
    if found := _BRACKETS.fullmatch(text):
        return found[2], found[1]
    if title := _TITLE.search(text):
        return title[1], ""
    if depth < _DEEPEST and text.lstrip().startswith("{"):
        try:
            inner = _read(json.loads(text), depth + 1)
        except (ValueError, RecursionError):
            return text, ""
        return inner if inner[0] else (text, inner[1])
    return text, ""


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.inf
    except ValueError:
        return None
    return max(0.0, value) if value != math.inf else None


def _epoch(text: str | None) -> float | None:
    """The time of an HTTP date."""
    if not text or len(text) > 100:
        return None
    import email.utils  # 14 ms

    parts = email.utils.parsedate_tz(text)
    try:
        return email.utils.mktime_tz(parts) if parts else None
    except (ValueError, OverflowError):
        return None
