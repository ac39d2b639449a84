"""When to ask again: one pure table from what went wrong with a request to what to do about it."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .errors import AgentError, AuthError, BudgetError, ProviderError, UsageError
from .shape import mapping, string

_LONGEST = 300  # characters of a provider's message
_LONGEST_CODE = 64
_MOST = 4096  # characters of it that are looked at
_DEEPEST = 3  # errors wrapped in errors
_CODING = {"zai": "zai-coding", "bigmodel": "bigmodel-coding"}  # one host's two products, by provider row
_GENERAL = {coding: general for general, coding in _CODING.items()}

Kind = Literal[
    "backoff",  # again, after a pause that grows
    "timed",  # again, after the time that the host named
    "slot",  # again, with fewer requests at one time
    "compact",  # again, once the conversation is shorter
    "drop",  # again without the parameter that the host refuses, if it is one of ours
    "auth",  # stop: the key or the account
    "balance",  # stop: no money, or the key of another product
    "plan",  # stop: the plan does not include it
    "quota",  # stop: used up until a reset at a time without a zone
    "model",  # stop: no such model or path
    "policy",  # stop: the provider's rules for accounts or prompts
    "content",  # stop: its content filter
    "host",  # stop: what is at this address cannot be talked to
    "request",  # stop: refused as it stands
]


class Failure(Exception):
    """A request that got no usable stream.

    `status` is None if no answer came at all; `code` is the provider's own, as a string; `retry_after` is in
    seconds.
    """

    def __init__(
        self, message: str, status: int | None = None, code: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after


class Pause(NamedTuple):
    """Seconds between tries: anything from `least` up to the try's own step; the last step repeats."""

    least: float
    steps: tuple[float, ...]
    tries: int = 8  # at most


class Row(NamedTuple):
    kind: Kind
    error: type[AgentError]
    advice: str
    pause: Pause | None = None

    @property
    def again(self) -> bool:
        """Whether the same request may succeed later."""
        return self.pause is not None


_LATER = "try again later"
_BACKOFF = Row("backoff", ProviderError, _LATER, Pause(0, (1, 2, 4, 8, 16, 32, 60)))
_NOBODY = Row(  # a server that starts up is there soon; one that is not there stays away
    "backoff",
    ProviderError,
    "check --base-url, the network, and that the server runs",
    Pause(0, (0.5, 1, 2), 4),
)
_OFTEN = Row("backoff", ProviderError, _LATER, Pause(1, (5, 10, 20, 40, 60)))
_BUSY = Row("backoff", ProviderError, "try again later, or another model", Pause(15, (30, 60, 90, 120)))
_SLOT = Row(
    "slot", ProviderError, "end other runs with this key, or try again later", Pause(1, (3, 6, 10, 15))
)
_COMPACT = Row("compact", BudgetError, "the conversation no longer fits the model's window; split the task")
_REFUSED = "the provider refused the request as it stands"
_DROP = Row("drop", AgentError, _REFUSED)
_REQUEST = Row("request", AgentError, _REFUSED)
_AUTH = Row("auth", AuthError, "check the key, and that it belongs to this provider")
_EXPIRED = Row("auth", AuthError, "the key has expired; make a new one")
_ACCOUNT = Row("auth", AuthError, "the account cannot be used; the provider's console says why")
_PERMISSION = Row("auth", AuthError, "the key may not use this; choose another key or model")
_BALANCE = Row("balance", AuthError, "recharge the account")
_PRODUCT = Row("balance", AuthError, "the key belongs to another product of the provider")
_PLAN = Row("plan", AuthError, "the plan is not valid; renew it, or use another key")
_NOT_IN_PLAN = Row("plan", AuthError, "the plan does not include this model; choose another one with -m")
_QUOTA = Row("quota", ProviderError, "try again after the reset")
_TOMORROW = Row("quota", ProviderError, "the calls of the day are used up; try again tomorrow")
_MODEL = Row("model", UsageError, "check -m and --base-url; `glm-agent models` lists what is known")
_FAIR_USE = Row("policy", AuthError, "the plan's rules of use do not allow it; use a pay-as-you-go key")
_POLICY = Row("policy", AgentError, "the provider's content policy refused it")
_CONTENT = Row(
    "content", AgentError, "the provider's content filter refused it; leave out what it objects to"
)
_MOVED = Row("host", AgentError, "check --base-url")
_TRUST = Row("host", ProviderError, "check --base-url, this machine's clock and its certificates")
_NO_TLS = Row("host", ProviderError, "check --base-url: is it https there, or http?")

_BY_CODE: dict[str, Row] = {
    **dict.fromkeys(("500", "1200", "1230", "1231", "1234"), _BACKOFF),
    **dict.fromkeys(("1303", "rate_limit_error", "rate_limit_exceeded"), _OFTEN),
    **dict.fromkeys(("1305", "1312", "overloaded_error"), _BUSY),
    "1302": _SLOT,
    **dict.fromkeys(("1261", "context_length_exceeded", "request_too_large"), _COMPACT),
    **dict.fromkeys(("1210", "1215", "unsupported_parameter", "unknown_parameter"), _DROP),
    **dict.fromkeys(("1213", "1214"), _REQUEST),
    **dict.fromkeys(("1000", "1001", "1002", "1004", "1005"), _AUTH),
    **dict.fromkeys(("invalid_api_key", "authentication_error"), _AUTH),
    "1003": _EXPIRED,
    **dict.fromkeys(("1100", "1110", "1111", "1112", "1120", "1121"), _ACCOUNT),
    **dict.fromkeys(("1220", "permission_error"), _PERMISSION),
    **dict.fromkeys(("1113", "insufficient_quota"), _BALANCE),
    "1315": _PRODUCT,
    **dict.fromkeys(("1309", "1314"), _PLAN),
    "1311": _NOT_IN_PLAN,
    **dict.fromkeys(("1308", "1310", *map(str, range(1316, 1322))), _QUOTA),
    "1304": _TOMORROW,
    **dict.fromkeys(("1211", "1212", "1221", "1222", "model_not_found"), _MODEL),
    "1313": _FAIR_USE,
    "1300": _POLICY,
    **dict.fromkeys(("1301", "content_filter", "content_policy_violation"), _CONTENT),
}

# What hosts without codes write; None among the statuses: no answer, or an error inside a stream.
_ANY: set[int | None] = {None, 400, 402, 403, 404, 413, 422, 429, 500, 503, 529}
_BY_TEXT: tuple[tuple[str, set[int | None], Row], ...] = (
    (r"certificate.verify.failed|certificate has expired|hostname mismatch", {None}, _TRUST),
    (
        r"connection refused|no connection within|name or service not known|name resolution"
        r"|nodename nor servname",
        {None},
        _NOBODY,
    ),
    (r"wrong.version.number|record layer failure|unknown protocol", {None}, _NO_TLS),
    (
        r"maximum context length|exceeds? (the )?(available |model'?s )?(max(imum)? )?context"
        r"|context (length|size|window) (is |was )?exceeded|prompt (exceeds max|is too long)"
        r"|超(过|出)[^。]{0,16}(上下文|最大长度)|(输入|上下文)[^。]{0,8}(过长|超长)",
        _ANY,
        _COMPACT,
    ),
    (
        r"insufficient (balance|credits|quota)|no resource package|余额不足|无可用资源包",
        {None, 400, 402, 403, 429},
        _BALANCE,
    ),
    (r"usage limit reached|limit will reset|使用上限|限额将在", {None, 403, 429}, _QUOTA),
    (r"concurren|并发", {None, 429, 503}, _SLOT),
    (r"overloaded|heavy traffic|过载|访问量过大", {None, 429, 503}, _BUSY),
    (
        r"unknown model|model.{0,80}(does not exist|not found)|模型不存在",
        {None, 400, 404, 422},
        _MODEL,
    ),
    (
        r"(unsafe|sensitive) (content|information)|敏感(内容|信息)|不安全或敏感",
        {None, 400, 403},
        _CONTENT,
    ),
)

_BY_STATUS: dict[int, Row] = {
    **dict.fromkeys((301, 302, 303, 307, 308), _MOVED),
    **dict.fromkeys((400, 422), _DROP),
    401: _AUTH,
    402: _BALANCE,
    403: _AUTH,
    404: _MODEL,
    **dict.fromkeys((408, 409, 425), _BACKOFF),
    413: _COMPACT,
    429: _OFTEN,
    529: _BUSY,
}

_RESET = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[\sT]+([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)\s*(Z\b|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?"
)
_BRACKETS = re.compile(r"\s*\[([0-9]{3,4})\]\s*\[(.*)\]\s*\[[\w-]*\]\s*", re.DOTALL)
_INSIDE = re.compile(
    r"""^\s*\[?([0-9]{4})\s*[\]:\uff1a]|\bcode["']?\s*[:=\uff1a]?\s*["']?([0-9]{4})\b|错误码\s*[:\uff1a]?\s*([0-9]{4})\b"""
)
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL | re.IGNORECASE)


def classify(failure: Failure) -> Row:
    """The row for a failure: by the provider's code, its words, then the HTTP status; no status may pass."""
    row = _BY_CODE.get(failure.code) or _by_words(failure) or _by_status(failure.status)
    if failure.retry_after and row.kind in ("backoff", "quota"):
        return row._replace(kind="timed", pause=row.pause or _BACKOFF.pause)
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
    asked = headers.get("retry-after")
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
    end: float = math.inf  # by `clock`

    def wait(self, failure: Failure) -> float | None:
        """Takes note of a failed try; the seconds until the next one, None if there is to be none."""
        now = self.clock()
        self.end = min(self.end, now + self.seconds)  # the first failure sets it: `now` only grows
        self.failed += 1
        pause = classify(failure).pause
        if pause is None or self.failed >= min(self.tries, pause.tries):
            return None
        step = pause.steps[min(self.failed, len(pause.steps)) - 1]
        seconds = failure.retry_after or self.spread(pause.least, step)
        return seconds if now + seconds <= self.end else None


def delay(attempt: int, retry_after: float | None = None) -> float:
    """Seconds to wait before try `attempt` + 1: what the host asked, else exponential with full jitter."""
    if retry_after is not None:
        return retry_after
    return random.uniform(0, min(30.0, 0.5 * 2**attempt))


def final(failure: Failure, host: str, provider: str = "", tries: int = 1) -> AgentError:
    """The error that ends the run, in one line that says what to do; `provider` is the name of the row."""
    row = classify(failure)
    status = f"HTTP {failure.status}" if failure.status else ""
    code = f"code {failure.code}" if failure.code and failure.code != str(failure.status) else ""
    where = ", ".join(filter(None, (status, code, f"{tries} tries" if tries > 1 else "")))
    wait = f"; it asks to wait {math.ceil(failure.retry_after)} s" if failure.retry_after else ""
    who = "" if host in failure.message else f"{host}: "
    advice = _advice(row, failure, provider)
    return row.error(f"{who}{failure.message}{f' ({where})' if where else ''}{wait}; {advice}")


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
    if provider in ("", "custom") or row is _PRODUCT:
        return "a Coding Plan key works with --provider zai-coding only"
    return ""


def _by_words(failure: Failure) -> Row | None:
    found = _INSIDE.search(failure.message)
    if found and (row := _BY_CODE.get(found[found.lastindex or 0])):
        return row
    for pattern, statuses, row in _BY_TEXT:
        if failure.status in statuses and re.search(pattern, failure.message, re.IGNORECASE):
            return row
    return None


def _by_status(status: int | None) -> Row:
    if status is None:
        return _BACKOFF
    return _BY_STATUS.get(status) or (_BACKOFF if status >= 500 else _REQUEST)


def _read(body: object, depth: int = 0) -> tuple[str, str]:
    """Message and code of an error in any of the shapes that hosts and what stands before them use."""
    if isinstance(body, str):
        return _read_text(body, depth)
    outer = mapping(body)
    error = mapping(outer.get("error")) or outer
    raw = mapping(error.get("metadata")).get("raw")  # a reseller's: what the host behind it said
    if depth < _DEEPEST and isinstance(raw, str) and raw.lstrip().startswith("{"):
        return _read(raw, depth + 1)
    said = (error.get(name) for name in ("message", "msg", "detail", "error"))
    message = next((text for text in map(string, said) if text), "")
    text, inside = _read_text(message, depth)
    code = error.get("code")
    own = str(code)[:_LONGEST_CODE] if isinstance(code, int | str) and not isinstance(code, bool) else ""
    kind = string(error.get("type"))
    if own not in _BY_CODE and inside:
        own = inside
    return text, own or (kind if kind in _BY_CODE else "")


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
