"""Providers and models to choose from, and a conversation encoded the way one of them wants it.

The rows are `providers.toml` and `models.toml` beside this file, with the user's own beside and over them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UsageError
from .rows import BadRow, Model, Provider, read_model, read_provider
from .shape import mapping
from .spelling import near
from .types import Assistant, Json, Message, Tool, ToolResult, User
from .usage import Price
from .veil import cover, cover_own

_LIKELY_ID = re.compile(r"glm-\d(\.\d)?v?(-(turbo|flashx?|airx?|x))?")  # a model newer than our rows
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")  # a host refuses the whole conversation for one bad name
_DOTS = " (a dot as in <|user·|> is ours: the file has none, and what you write loses it; copy it as shown)"
_MAX_TOKENS = 16_384  # of one reply: bounds a runaway thought

_of_the_user: dict[str, Json] = {"providers": {}, "models": {}}  # tables of rows, by the file they go over


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
    options: Json  # the fields beside `model` and `messages`; `max_tokens` whatever the host calls it
    end: str = ""  # the last line of what a tool returned: what stands before it is data


def use_rows(providers_table: object, models_table: object) -> None:
    """From now on, these rows of the user's go beside and over ours. Raises BadRow; then none do."""
    tables = {"providers": providers_table, "models": models_table}
    _forget_rows()
    for kind, table in tables.items():
        if not isinstance(table, dict):
            raise BadRow((kind,), "expected a table")
    if not any(tables.values()):
        return
    _of_the_user.update((kind, mapping(table)) for kind, table in tables.items())
    try:
        models()
    except BadRow:
        _forget_rows()
        raise


@cache
def providers() -> dict[str, Provider]:
    rows = {name: read_provider(name, table, None) for name, table in _rows("providers.toml").items()}
    for name, table in _of_the_user["providers"].items():
        rows[name] = read_provider(name, table, rows.get(name, rows["custom"]))
    return rows


@cache
def models() -> dict[str, Model]:
    file = _rows("models.toml")
    hosts, dates = providers().keys(), mapping(file["prices_of"])
    rows = {name: read_model(name, table, None, dates, hosts) for name, table in file["model"].items()}
    for name, table in _of_the_user["models"].items():
        rows[name] = read_model(name, table, rows.get(name, Model(name)), {}, hosts)
    return rows


def default_provider() -> Provider:
    return next(row for row in providers().values() if row.default)


def default_model(provider: Provider) -> str:
    """The model of a run that names none."""
    return provider.default_model or next(row.name for row in models().values() if row.default)


def find_provider(name: str) -> Provider:
    """Raises UsageError, naming near ones, if there is no such row."""
    if row := providers().get(name):
        return row
    raise UsageError(f"unknown provider {name!r}{near(name, providers())}; one of {', '.join(providers())}")


def find_model(provider: Provider, name: str) -> Model:
    """The row for `name`, ours or the provider's own id, as it is at that provider; or cautious defaults.

    Raises UsageError if the provider cannot have it.
    """
    own = _our_name(provider, name)
    row = models().get(own)
    if row is None and provider.own_models and not _LIKELY_ID.fullmatch(own):
        meant = near(own, models())
        raise UsageError(f"{provider.name} has no model {name!r}{meant}; `glm-agent models` lists them")
    its_id = own_id(provider, name)
    if row is None:
        return Model(own, its_id, known=False)
    window = row.window_at.get(provider.name, row.window)
    return row._replace(
        id=its_id,
        window=window,
        output=min(row.output_at.get(provider.name, row.output), window),
        price=row.price if its_id == own_id(provider, own) else {},  # a variant may have a price of its own
    )


def own_id(provider: Provider, name: str) -> str:
    """What the provider calls the model that is `name` here; a name that is no GLM's stays."""
    if listed := provider.model_ids.get(name):
        return listed
    return provider.model_prefix + name.removeprefix("glm-") if name.startswith("glm-") else name


def _our_name(provider: Provider, name: str) -> str:
    """The name of a row for what a user or a host may call it, `name` if there is none."""
    if name in models() or provider.own_models:
        return name
    if own := next((own for own, listed in provider.model_ids.items() if listed == name), None):
        return own
    if name.startswith(provider.model_prefix):
        return f"glm-{name.removeprefix(provider.model_prefix)}".lower().partition(":")[0]
    short = name.rpartition("/")[2].partition(":")[0].lower()  # zai-org/GLM-4.7, glm-4.7:cloud
    return short if short in models() else name


def near_models(name: str) -> str:
    """`; did you mean …?` for a model name, or nothing."""
    return near(name, models())


def price(provider: Provider, model: Model) -> Price | None:
    """What the pair costs, None if that is not known."""
    return model.price.get(provider.name)


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
    provider, model = dialect.provider, dialect.model
    options = dialect.options
    if max_tokens is not None:
        options = {**options, "max_tokens": min(max_tokens, model.output)}
    if provider.max_tokens != "max_tokens":
        options = {provider.max_tokens if name == "max_tokens" else name: options[name] for name in options}
    return {
        "model": model.id or model.name,
        "messages": [
            {"role": "system", "content": cover(dialect.system)},
            *(_message(message, provider.thought_field, dialect.end) for message in history),
        ],
        **options,
    }


def _message(message: Message, thought_field: str, end: str) -> Json:
    """No control token in it but those that the host's own template brings."""
    match message:
        case User(text):
            return {"role": "user", "content": cover(text)}
        case ToolResult(call_id=call_id, content=content, note=note):
            return {"role": "tool", "tool_call_id": call_id, "content": _framed(content, end) + note}
        case Assistant():
            # content is never null: some chat templates print that as the word None
            encoded: Json = {"role": "assistant", "content": cover_own(message.text)}
            _add_thought(encoded, message.thought and cover_own(message.thought), thought_field)
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


def _framed(content: str, end: str) -> str:
    """What a tool returned up to the line `end`, which nobody can have written into a file before."""
    covered = cover(content)
    if not end:
        return covered
    note = _DOTS if covered != content else ""
    return f"{covered.replace(end, '[end]')}\n{end}{note}"


def _add_thought(encoded: Json, thought: str | None, field: str) -> None:
    if thought is None or field == "none":
        return
    if field != "content":
        encoded[field] = thought
    elif thought:
        encoded["content"] = f"<think>{thought}</think>{encoded['content']}"


def _arguments(raw: str) -> str:
    """`raw` if it is a JSON object, else an empty one: chat templates break on anything else."""
    try:
        value = json.loads(raw)
        if not isinstance(value, dict):
            return "{}"
        escaped = "\\u" in raw  # what is written so is a token all the same
        plain = json.dumps(value, ensure_ascii=False) if escaped else raw
    except (ValueError, RecursionError):
        return "{}"
    covered = cover_own(plain)
    if covered == plain:
        return raw
    return json.dumps(json.loads(covered)) if escaped else covered


def _tool(tool: Tool) -> Json:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _thinking(provider: Provider, model: Model, wish: Wish) -> tuple[Json, list[str]]:
    """The request fields that switch thinking, and what cannot be had."""
    on, effort, notices = _feasible(provider, model, wish)
    asked = wish.thinking is not None or effort is not None
    if model.thinking == "none" or (provider.thinking_sent == "asked" and not asked):
        return {}, notices
    fields = _switch(provider, model, on)
    if effort and on:
        word = provider.effort_words.get(effort, effort)
        if provider.effort == "reasoning":
            fields.setdefault("reasoning", {})["effort"] = word
        else:
            fields["reasoning_effort"] = word
    return fields, notices


def _feasible(provider: Provider, model: Model, wish: Wish) -> tuple[bool, str | None, list[str]]:
    """Whether to think, how hard, and a line for each wish that has to be left out."""
    notices: list[str] = []
    on, effort = wish.thinking is not False, wish.effort
    if not on and model.thinking == "always":
        notices.append(f"{model.name} always thinks; --no-thinking was not sent")
        on = True
    elif not on and provider.thinking == "none" and model.thinking == "switch":
        notices.append(f"{provider.name} has no switch for thinking; --no-thinking was not sent")
        on = True
    if effort and model.known and effort not in model.effort:
        notices.append(f"{model.name} has no effort '{effort}'; --effort was not sent")
        effort = None
    elif effort and provider.effort == "none":
        notices.append(f"{provider.name} takes no effort; --effort was not sent")
        effort = None
    return on, effort, notices


def _switch(provider: Provider, model: Model, on: bool) -> Json:
    keep: Json = {}
    if on and provider.keeps_thinking and model.keeps_thinking:
        keep = {"clear_thinking": False}
    match provider.thinking:
        case "thinking":
            return {"thinking": {"type": "enabled" if on else "disabled", **keep}}
        case "reasoning":
            return {"reasoning": {"enabled": on}}
        case "chat_template_kwargs":
            return {"chat_template_kwargs": {"enable_thinking": on, **keep}}
        case "enable_thinking":
            return {"enable_thinking": on}
        case "reasoning_effort":
            return keep if on else {"reasoning_effort": "none"}
        case _:
            return {}


def _forget_rows() -> None:
    for table in _of_the_user:
        _of_the_user[table] = {}
    providers.cache_clear()
    models.cache_clear()


@cache
def _rows(file: str) -> dict[str, Any]:
    import tomllib  # 16 ms

    return mapping(tomllib.loads((Path(__file__).parent / file).read_text(encoding="utf-8")))
