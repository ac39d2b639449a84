"""Providers and models as rows, and a conversation encoded the way one of them wants it.

The rows are `providers.toml` and `models.toml` beside this file; what a column means stands at their heads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UsageError
from .shape import mapping
from .types import Assistant, Json, Message, Tool, ToolResult, User
from .usage import Price

_LIKELY_ID = re.compile(r"glm-\d(\.\d)?v?(-(turbo|flashx?|airx?|x))?")  # a model newer than our rows
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")  # a host refuses the whole conversation for one bad name
_MAX_TOKENS = 16_384  # of one reply: bounds a runaway thought


class Provider(NamedTuple):
    name: str
    title: str
    base_url: str
    key_env: list[str]
    thinking: str
    thought_field: str
    base_url_env: list[str] = []  # noqa: RUF012 - defaults of a NamedTuple are never mutated
    key_page: str = ""
    key_needed: bool = True
    model_prefix: str = ""
    thinking_sent: str = "always"
    tool_stream: bool = False
    usage_option: bool = False
    own_models: bool = False
    headers: dict[str, str] = {}  # noqa: RUF012
    default: bool = False


class Model(NamedTuple):
    """A row of models.toml; a model without a row gets these cautious defaults."""

    name: str
    window: int = 131_072
    output: int = 98_304
    thinking: str = "switch"
    effort: list[str] = []  # noqa: RUF012
    keeps_thinking: bool = False
    tool_stream: bool = False
    price: dict[str, list[float]] = {}  # noqa: RUF012
    default: bool = False
    known: bool = True


class Wish(NamedTuple):
    """How the user wants the model asked; None leaves it to the rows."""

    thinking: bool | None = None
    effort: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


class Dialect(NamedTuple):
    """Everything of a request that stays the same for a whole session."""

    provider: Provider
    model: Model
    system: str
    options: Json  # the fields beside `model` and `messages`


@cache
def providers() -> dict[str, Provider]:
    return {name: Provider(name, **row) for name, row in _rows("providers.toml").items()}


@cache
def models() -> dict[str, Model]:
    return {name: Model(name, **row) for name, row in _rows("models.toml")["model"].items()}


def default_provider() -> Provider:
    return next(row for row in providers().values() if row.default)


def default_model() -> Model:
    return next(row for row in models().values() if row.default)


def find_provider(name: str) -> Provider:
    """Raises UsageError, naming near ones, if there is no such row."""
    if row := providers().get(name):
        return row
    raise UsageError(
        f"unknown provider {name!r}{_near(name, list(providers()))}; one of {', '.join(providers())}"
    )


def find_model(provider: Provider, name: str) -> Model:
    """The row for `name`, or cautious defaults. Raises UsageError if the provider cannot have it."""
    own = name.removeprefix(provider.model_prefix)
    if row := models().get(own):
        return row
    if provider.own_models and not _LIKELY_ID.fullmatch(own):
        near = _near(own, list(models()))
        raise UsageError(f"{provider.name} has no model {name!r}{near}; `glm-agent models` lists them")
    return Model(own, known=False)


def near_models(name: str) -> str:
    """`; did you mean …?` for a model name, or nothing."""
    return _near(name, list(models()))


def price(provider: Provider, model: Model) -> Price | None:
    """What the pair costs, None if that is not known."""
    row = model.price.get(provider.name)
    return Price(row[0], row[1], row[2], str(_rows("models.toml")["prices_of"])) if row else None


def dialect(
    provider: Provider, model: Model, system: str, tools: Sequence[Tool], wish: Wish
) -> tuple[Dialect, list[str]]:
    """How to ask from now on, and a line for each wish that this model or host cannot be asked for."""
    thinking, notices = _thinking(provider, model, wish)
    options: Json = {"tools": [_tool(tool) for tool in tools], "tool_choice": "auto"} if tools else {}
    options |= {"stream": True, "max_tokens": wish.max_tokens or min(_MAX_TOKENS, model.output), **thinking}
    if provider.usage_option:
        options["stream_options"] = {"include_usage": True}
    if tools and provider.tool_stream and model.tool_stream:
        options["tool_stream"] = True
    if wish.temperature is not None:
        options["temperature"] = wish.temperature
    return Dialect(provider, model, system, options), notices


def encode(history: Sequence[Message], dialect: Dialect, max_tokens: int | None = None) -> Json:
    """The body of the request that continues `history`; `max_tokens` replaces the session's own."""
    field = dialect.provider.thought_field
    body: Json = {
        "model": dialect.provider.model_prefix + dialect.model.name,
        "messages": [
            {"role": "system", "content": dialect.system},
            *(_message(message, field) for message in history),
        ],
        **dialect.options,
    }
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    return body


def _message(message: Message, thought_field: str) -> Json:
    match message:
        case User(text):
            return {"role": "user", "content": text}
        case ToolResult(call_id=call_id, content=content):
            return {"role": "tool", "tool_call_id": call_id, "content": content}
        case Assistant():
            # content is never null: some chat templates print that as the word None
            encoded: Json = {"role": "assistant", "content": message.text}
            if message.thought is not None:
                encoded[thought_field] = message.thought
            if message.calls:
                encoded["tool_calls"] = [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {
                            "name": _NOT_IN_NAMES.sub("_", call.name)[:64] or "_",
                            "arguments": _arguments(call.arguments),
                        },
                    }
                    for call in message.calls
                ]
            return encoded


def _arguments(raw: str) -> str:
    """`raw` if it is a JSON object, else an empty one: chat templates break on anything else."""
    try:
        return raw if isinstance(json.loads(raw), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"


def _tool(tool: Tool) -> Json:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _thinking(provider: Provider, model: Model, wish: Wish) -> tuple[Json, list[str]]:
    """The request fields that switch thinking, and what cannot be had."""
    notices: list[str] = []
    on, effort = wish.thinking is not False, wish.effort
    if not on and model.thinking == "always":
        notices.append(f"{model.name} always thinks; --no-thinking was not sent")
        on = True
    if effort and model.known and effort not in model.effort:
        notices.append(f"{model.name} has no effort {effort!r}; --effort was not sent")
        effort = None
    asked = wish.thinking is not None or effort is not None
    if model.thinking == "none" or (provider.thinking_sent == "asked" and not asked):
        return {}, notices
    if provider.thinking == "reasoning":
        return {"reasoning": {"enabled": on, **({"effort": effort} if effort and on else {})}}, notices
    fields: Json = {"thinking": {"type": "enabled" if on else "disabled"}}
    if on and model.keeps_thinking:
        fields["thinking"]["clear_thinking"] = False
    if effort and on:
        fields["reasoning_effort"] = effort
    return fields, notices


def _near(name: str, names: list[str]) -> str:
    from difflib import get_close_matches  # 8 ms: only for an error message

    found = get_close_matches(name, names, 3, 0.5)
    return f"; did you mean {' or '.join(found)}?" if found else ""


@cache
def _rows(file: str) -> dict[str, Any]:
    import tomllib  # 16 ms

    return mapping(tomllib.loads((Path(__file__).parent / file).read_text(encoding="utf-8")))
