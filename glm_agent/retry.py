"""When to ask again: one pure table from what went wrong with a request to what to do about it."""

from __future__ import annotations

import random
from typing import NamedTuple

from .errors import AgentError, AuthError, BudgetError, ProviderError, UsageError

MAX_TRIES = 4  # of one request
MAX_WAIT = 60.0  # seconds: a host that asks for more is not waited for

_BASE_DELAY, _MAX_DELAY = 0.5, 30.0  # seconds


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


class Row(NamedTuple):
    error: type[AgentError]
    advice: str
    again: bool = False


_PASSING = Row(ProviderError, "try again later", again=True)
_AUTH = Row(AuthError, "check the key, and that it belongs to this provider")
_BALANCE = Row(
    AuthError,
    "recharge the account; a Coding Plan key works with --provider zai-coding only",
)
_PLAN = Row(AuthError, "the account's plan does not allow this; choose another model or plan")
_QUOTA = Row(ProviderError, "try again after the reset")
_MODEL = Row(UsageError, "check -m and --base-url; `glm-agent models` lists what is known")
_CONTEXT = Row(BudgetError, "the conversation no longer fits the model's window; split the task")
_POLICY = Row(AgentError, "the provider's content policy refused it")
_REQUEST = Row(AgentError, "the provider refused the request as it stands")

_BY_CODE = {
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004", "1005", "1110", "1111", "1112"), _AUTH),
    **dict.fromkeys(("1120", "1121", "1220"), _AUTH),
    "1113": _BALANCE,
    **dict.fromkeys(("1309", "1311", "1313", "1314", "1315"), _PLAN),
    **dict.fromkeys(("1304", "1308", "1310", *map(str, range(1316, 1322))), _QUOTA),
    **dict.fromkeys(("1211", "1212", "1221", "1222"), _MODEL),
    "1261": _CONTEXT,
    **dict.fromkeys(("1210", "1213", "1214", "1215"), _REQUEST),
    **dict.fromkeys(("1300", "1301"), _POLICY),
    **dict.fromkeys(("500", "1200", "1230", "1231", "1234", "1302", "1303", "1305", "1312"), _PASSING),
}

_BY_STATUS = {
    401: _AUTH,
    402: _BALANCE,
    403: _AUTH,
    404: _MODEL,
    408: _PASSING,
    409: _PASSING,
    413: _CONTEXT,
    425: _PASSING,
    429: _PASSING,
}


def classify(failure: Failure) -> Row:
    """The row for a failure: by the provider's code, else by the HTTP status; no status may pass."""
    if row := _BY_CODE.get(failure.code):
        return row
    if failure.status is None or failure.status >= 500:
        return _PASSING
    return _BY_STATUS.get(failure.status, _REQUEST)


def delay(attempt: int, retry_after: float | None = None) -> float:
    """Seconds to wait before try `attempt` + 1: what the host asked, else exponential with full jitter."""
    if retry_after is not None:
        return retry_after
    return random.uniform(0, min(_MAX_DELAY, _BASE_DELAY * 2**attempt))


def final(failure: Failure, host: str) -> AgentError:
    """The error that ends the run, in one line that says what to do."""
    row = classify(failure)
    status = f"HTTP {failure.status}" if failure.status else ""
    where = ", ".join(filter(None, (status, failure.code and f"code {failure.code}")))
    wait = f"; it asks to wait {failure.retry_after:.0f} s" if failure.retry_after else ""
    who = "" if host in failure.message else f"{host}: "
    return row.error(f"{who}{failure.message}{f' ({where})' if where else ''}{wait}; {row.advice}")
