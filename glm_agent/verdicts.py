"""What a refusal means: one pure table from its status, its code and its words to what to do about it."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from .errors import AgentError, AuthError, BudgetError, ProviderError, UsageError

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
    "tools",  # stop, unless it can be done without: the model, or the host, takes no tools
    "policy",  # stop: the provider's rules for accounts or prompts
    "content",  # stop: its content filter
    "host",  # stop: what is at this address cannot be talked to
    "request",  # stop: refused as it stands
]


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
BACKOFF = Row("backoff", ProviderError, _LATER, Pause(0, (1, 2, 4, 8, 16, 32, 60)))
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
PRODUCT = Row("balance", AuthError, "the key belongs to another product of the provider")
_PLAN = Row("plan", AuthError, "the plan is not valid; renew it, or use another key")
_NOT_IN_PLAN = Row("plan", AuthError, "the plan does not include this model; choose another one with -m")
_QUOTA = Row("quota", ProviderError, "try again after the reset")
_TOMORROW = Row("quota", ProviderError, "the calls of the day are used up; try again tomorrow")
_MODEL = Row("model", UsageError, "check -m and --base-url; `glm-agent models` lists what is known")
_NO_TOOLS = Row(
    "tools", UsageError, "this work needs tools; choose another model with -m, or another --provider"
)
_FAIR_USE = Row("policy", AuthError, "the plan's rules of use do not allow it; use a pay-as-you-go key")
_POLICY = Row("policy", AgentError, "the provider's content policy refused it")
_CONTENT = Row(
    "content", AgentError, "the provider's content filter refused it; leave out what it objects to"
)
_MOVED = Row("host", AgentError, "check --base-url")
_TRUST = Row("host", ProviderError, "check --base-url, this machine's clock and its certificates")
_NO_TLS = Row("host", ProviderError, "check --base-url: is it https there, or http?")

_BY_CODE: dict[str, Row] = {
    **dict.fromkeys(("500", "1200", "1230", "1231", "1234"), BACKOFF),
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
    "1315": PRODUCT,
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
_TOOLS_REFUSED = re.compile(
    r"(?:not|n't) (?:currently )?support\w*(?: the)?(?: use of)? (?:tool|function)s?(?:_use|_call\w*)?\b"
    r"|no endpoints found that support tool use|tool choice requires --|tools param requires --"
    r"|(?<![\w-])(?:tool|function)s?(?:[ _-](?:use|call\w*|parameters?))?['\"`]?"
    r" (?:is|are) not (?:supported|enabled|available|implemented)"
    r"|un(?:known|supported|expected|recogni[sz]ed)[ \w]{0,20} (?:argument|parameter|field)[^.]{0,30}"
    r"['\"`: ]tools['\"`]?(?:[\s.,]|$)|(?:'tools'\), .{0,10}|\bbody\.tools: )extra inputs"
    r"|不支持.{0,8}(?:工具|函数|tools|function)",
    re.IGNORECASE,
)
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
        r"|longer than the model'?s (maximum )?context|input length .{0,20}exceeds the maximum"
        r"|超(过|出)[^。]{0,16}(上下文|最大长度)|(输入|上下文|prompt)[^。]{0,8}(过长|超长)",
        _ANY,
        _COMPACT,
    ),
    (
        r"insufficient (balance|credits|quota)|no resource package|余额不足|无可用资源包|欠费",
        {None, 400, 402, 403, 429},
        _BALANCE,
    ),
    (
        r"usage limit .{0,20}reached|limit exhausted|limit will reset|使用上限|限额将在",
        {None, 403, 429},
        _QUOTA,
    ),
    (r"daily call limit|今日调用次数", {None, 403, 429}, _TOMORROW),
    (r"\b(plan|package) has expired|套餐已到期", {None, 400, 403, 429}, _PLAN),
    (r"\bplan does not (yet )?include|套餐暂未开放", {None, 400, 403, 429}, _NOT_IN_PLAN),
    (r"fair.us(e|age)|公平使用", {None, 400, 403, 429}, _FAIR_USE),
    (
        r"\baccount (is currently inactive|does not exist|has been locked)"
        r"|账[户号][^。]{0,12}(锁定|非活动|不存在)",
        {None, 400, 403, 429},
        _ACCOUNT,
    ),
    (r"concurren|并发", {None, 429, 503}, _SLOT),
    (r"overloaded|heavy traffic|过载|访问量过大", {None, 429, 503}, _BUSY),
    (
        r"unknown model|invalid model name|model.{0,80}(does not exist|not found)|模型不存在",
        {None, 400, 404, 422},
        _MODEL,
    ),
    (r"no connected db", {400}, _AUTH),  # LiteLLM's proxy, of a key that it does not know
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
    **dict.fromkeys((408, 409, 425), BACKOFF),
    413: _COMPACT,
    429: _OFTEN,
    529: _BUSY,
}

_INSIDE = re.compile(
    r"""^\s*\[?([0-9]{4})\s*[\]:\uff1a]|\bcode["']?\s*[:=\uff1a]?\s*["']?([0-9]{4})\b|错误码\s*[:\uff1a]?\s*([0-9]{4})\b"""
)


def verdict(status: int | None, code: str, message: str) -> Row:
    """The row for a refusal: by the provider's code, its words, then the HTTP status.

    A code that says no more than that something was refused gives way to words that say it is tools.
    """
    row = _BY_CODE.get(code)
    if row in (None, _DROP, _REQUEST, _MODEL) and _TOOLS_REFUSED.search(message):
        return _NO_TOOLS
    return row or _by_words(status, message) or _by_status(status)


def is_known(code: str) -> bool:
    return code in _BY_CODE


def _by_words(status: int | None, message: str) -> Row | None:
    found = _INSIDE.search(message)
    if found and (row := _BY_CODE.get(found[found.lastindex or 0])):
        return row
    for pattern, statuses, row in _BY_TEXT:
        if status in statuses and re.search(pattern, message, re.IGNORECASE):
            return row
    return None


def _by_status(status: int | None) -> Row:
    if status is None:
        return BACKOFF
    return _BY_STATUS.get(status) or (BACKOFF if status >= 500 else _REQUEST)
