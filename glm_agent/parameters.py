"""Which optional field of a request a host refused, read from its error, and the dialect without it."""

from __future__ import annotations

import re
from typing import NamedTuple

from .dialects import Dialect
from .shape import mapping
from .types import Json

_FIELDS = (  # what an error may say, and the field that goes: the first that is said and was sent
    ("response_format", "response_format"),
    ("json_object", "response_format"),
    ("clear_thinking", "clear_thinking"),
    ("chat_template_kwargs", "chat_template_kwargs"),
    ("enable_thinking", "enable_thinking"),
    ("reasoning_effort", "reasoning_effort"),
    ("tool_stream", "tool_stream"),
    ("stream_options", "stream_options"),
    ("include_usage", "stream_options"),
    ("tool.choice", "tool_choice"),
    ("temperature", "temperature"),
    ("reasoning", "reasoning"),
    *(
        (said, switch)
        for said in ("thinking", "reasoning")
        for switch in ("thinking", "reasoning", "chat_template_kwargs", "enable_thinking", "reasoning_effort")
    ),
)
_UNNAMED = (
    "response_format",
    "tool_stream",
    "clear_thinking",
    "reasoning_effort",
)  # what an error without a name is blamed on
_WORDS = (  # of a refusal, in lower case
    *("unrecognized", "unrecognised", "unknown", "unexpected", "unsupported", "not support", "n't support"),
    *("not permitted", "not allowed", "forbidden", "invalid", "illegal", "cannot be", "must be", "should be"),
    *("not a valid", "out of range", "incompatible", "deprecated"),
    *("不支持", "非法", "无效", "有误", "错误", "未知", "不能", "不允许", "不合法", "必须", "范围"),
)
_IN_A_MESSAGE = re.compile(r"messages\W{1,5}\d+\W.*\b(reasoning_content|reasoning)\b", re.DOTALL)
_MOST = re.compile(  # how large max_tokens may be
    r"(?:\[\s*\d+\s*,|at most|less than or equal to|no more than|up to|maximum (?:value )?(?:allowed )?is"
    r"|<=|不超过|最大值?为?)\s*(\d{1,9})"
)
_LIMIT = re.compile(r"max_(?:completion_)?tokens|数值范围")
_ROOM = re.compile(r"> (\d{1,9}) - (\d{1,9})\b")  # window - prompt
_SWITCHES = ("thinking", "chat_template_kwargs")  # the fields that have fields of their own
_OFF: dict[str, Json] = {"thinking": {"type": "disabled"}, "chat_template_kwargs": {"enable_thinking": False}}
_LEAST_ROOM = 1024  # tokens: with less it is the conversation that is too long
_PARAMETER = "1210"  # of Z.ai's own codes, which have four digits
_ELSEWHERE = re.compile(r"messages|消息|\btools?\b|max_tokens|\bmodel\b")


class Refusal(NamedTuple):
    """`most` is what the host takes, where it refused only the size; an unsure one is a guess worth a try."""

    field: str
    most: int | None = None
    sure: bool = True

    def __str__(self) -> str:
        """For a notice, after the host's name."""
        if self.most is not None:
            return f"takes no more than {self.most} as {self.field}"
        if self.sure:
            return f"refuses the field {self.field}, which is not sent any more"
        return f"refuses a field without naming it; {self.field} is not sent any more"


def refused_parameter(code: str, message: str, sent: Json) -> Refusal | None:
    """The field of the body `sent` that an error of class 400 is about, None if of no one alone."""
    said = message.lower()
    if re.fullmatch(r"1\d{3}", code) and code not in (_PARAMETER, "1213", "1215"):
        return None
    if found := _about_limit(said, sent):
        return found
    refuses = code == _PARAMETER or any(word in said for word in _WORDS)
    if "passed back" in said or not refuses:
        return None  # the first is a host that misses reasoning
    if part := _IN_A_MESSAGE.search(said):
        return Refusal(f"messages.{part[1]}")
    return _about_field(code, said, sent)


def without(dialect: Dialect, refusal: Refusal) -> Dialect:
    """The dialect that leaves out what was refused, or stays within it."""
    provider, model, options = dialect.provider, dialect.model, dict(dialect.options)
    field, most, _ = refusal
    if most is not None:
        options["max_tokens"] = min(most, options["max_tokens"])
        model = model._replace(output=most)
    elif field == "max_tokens":
        provider = provider._replace(max_tokens="max_completion_tokens")
    elif field.startswith("messages."):
        provider = provider._replace(thought_field="none")
    else:
        options.pop(field, None)
        for switch in _SWITCHES:
            if field in mapping(options.get(switch)):
                options[switch] = {name: value for name, value in options[switch].items() if name != field}
    return dialect._replace(provider=provider, model=model, options=options)


def thoughtless(dialect: Dialect) -> Dialect:
    """The dialect that asks for no thinking, where the prompt so far then stays as the host has it cached.

    That is where reasoning is kept from turn to turn: the templates of older models mark every message.
    """
    for field, off in _OFF.items():
        switch = mapping(dialect.options.get(field))
        if dialect.model.thinking == "switch" and switch.get("clear_thinking") is False:
            options = {**dialect.options, field: {**switch, **off}}
            options.pop("reasoning_effort", None)
            return dialect._replace(options=options)
    return dialect


def _about_limit(said: str, sent: Json) -> Refusal | None:
    limit = sent.get("max_tokens") or sent.get("max_completion_tokens") or 0
    if not _LIMIT.search(said):
        return None
    if room := _ROOM.search(said):
        most = int(room[1]) - int(room[2])
        return Refusal("max_tokens", most) if _LEAST_ROOM <= most < limit else None
    for match in _MOST.finditer(said):
        if 0 < int(match[1]) < limit:
            return Refusal("max_tokens", int(match[1]))
    if "max_tokens" in sent and "max_completion_tokens" in said and re.search(r"\buse\b|\binstead\b", said):
        return Refusal("max_tokens")
    return None


def _about_field(code: str, said: str, sent: Json) -> Refusal | None:
    fields = {*sent, *(name for switch in _SWITCHES for name in mapping(sent.get(switch)))}
    for name, field in _FIELDS:
        if field in fields and re.search(rf"(?<![\w-]){name}(?![\w-])", said):
            return Refusal(_culprit(field, sent))
    if code == _PARAMETER and not _ELSEWHERE.search(said):
        return next((Refusal(field, sure=False) for field in _UNNAMED if field in fields), None)
    return None


def _culprit(field: str, options: Json) -> str:
    """A model that always thinks complains of thinking, also where the effort is what it does not take."""
    if field == "thinking" and mapping(options.get("thinking")).get("type") == "enabled":
        return "reasoning_effort" if "reasoning_effort" in options else field
    return field
