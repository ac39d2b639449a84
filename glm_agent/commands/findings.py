"""What an interview found out: as checks for a person, and as the row of a provider."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .. import dialects
from ..retry import final
from ..rows import Model, Provider, model_name, read_provider
from ..usage import Price, cost
from .checks import Check
from .interview import Facts

_NOT_FOUND_OUT = "not found out"


def describe(facts: Facts, provider: Provider, host: str) -> list[Check]:
    """A check for each thing that was asked about."""
    if facts.failure is not None:
        error = final(facts.failure, host, provider.name)
        found, _, advice = str(error).partition("; ")
        return [Check("answers", "fail", found, advice, error.subtype)]
    return [
        Check("answers", "ok", f"{host} answers"),
        _streaming(facts),
        _tools(facts, provider, host),
        _calls(facts),
        _usage(facts),
        _thinking(facts),
        _echo(facts),
        _json_mode(facts),
    ]


def bill(facts: Facts, price: Price | None) -> str:
    """What the interview cost, in one line."""
    spent = facts.total
    given = spent["input_tokens"] + spent["cache_read_input_tokens"]
    least = "" if facts.usage == "unasked" else "at least "
    said = f"{facts.requests} requests, {least}{given} tokens in, {spent['output_tokens']} out"
    if not given:
        return f"{facts.requests} requests; the host reports no usage, so what they cost is not known"
    return f"{said}, {f'${cost(spent, price):.4f}' if price else 'at a price that is not known here'}"


def learned(facts: Facts, provider: Provider, model: Model) -> Provider:
    """The provider's row as the answers showed it; what they did not show stays."""
    row = provider._replace(
        default_model=_own_name(model),
        usage_option=facts.usage == "asked" if facts.usage else provider.usage_option,
        tool_stream=facts.tool_stream == "streams" if facts.tool_stream else provider.tool_stream,
        max_tokens=facts.max_field,
        thought_field="none" if facts.echo == "refused" else facts.echo_field or provider.thought_field,
    )
    if facts.switch and facts.switch != provider.thinking:
        row = row._replace(thinking=facts.switch, thinking_sent="asked", keeps_thinking=False)
    elif not facts.switch and facts.tried:
        row = row._replace(thinking="none", thinking_sent="asked", keeps_thinking=False)
    if facts.switch in ("reasoning", "reasoning_effort"):
        return row._replace(effort=facts.switch)
    if "reasoning_effort" in facts.refused and row.effort == "reasoning_effort":
        return row._replace(effort="none")
    return row


def _own_name(model: Model) -> str:
    """What the model is called there, "" if that cannot stand in a row."""
    try:
        return model_name(model.id or model.name)
    except ValueError:
        return ""


def as_toml(row: Provider, name: str) -> str:
    """`[providers.NAME]` with all in which the row differs from one that says only where it is.

    Raises BadRow for a URL that a row may not have.
    """
    base = read_provider(name, {"base_url": row.base_url}, dialects.providers()["custom"])
    kept = {**row._asdict(), "name": name, "title": row.title if row.name == name else base.title}
    given = {column: value for column, value in kept.items() if value != getattr(base, column)}
    given = {"base_url": row.base_url, **given}
    given.pop("default", None)
    return f"[providers.{name}]\n" + "".join(
        f"{column} = {_toml(value)}\n" for column, value in given.items()
    )


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        pairs = [f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _streaming(facts: Facts) -> Check:
    if facts.streams is None:
        return Check("streaming", "warn", "the first answer had no text", "try again, or another model")
    if facts.streams:
        return Check("streaming", "ok", "text comes piece by piece")
    return Check(
        "streaming", "warn", "text comes all at once", "nothing breaks; there is no progress to watch"
    )


def _tools(facts: Facts, provider: Provider, host: str) -> Check:
    if isinstance(facts.tools, bool) and facts.tools:
        return Check("tools", "ok", f"{facts.calls} of 3 calls came in one reply")
    if facts.tools is None:
        return Check("tools", "warn", _NOT_FOUND_OUT, "ask again later")
    advice = "choose a model, or a way of serving it, that calls tools: an agent cannot work without"
    if facts.tools is False:
        return Check("tools", "warn", "accepted, but no call came", advice)
    error = final(facts.tools, host, provider.name)
    return Check("tools", "fail", f"refused: {facts.tools.message}", advice, error.subtype)


def _calls(facts: Facts) -> Check:
    how = {True: "arguments come in fragments", False: "arguments come whole", None: _NOT_FOUND_OUT}
    more = {
        "streams": "in fragments with tool_stream",
        "ignored": "tool_stream is accepted and changes nothing",
        "refused": "tool_stream is refused",
        "needless": "without tool_stream",
        "": "tool_stream was not tried",
    }
    return Check("arguments", "ok", f"{how[facts.fragments]}; {more[facts.tool_stream]}")


def _usage(facts: Facts) -> Check:
    words = {
        "unasked": "reported unasked",
        "asked": "reported if asked by stream_options",
        "never": "not reported",
        "refused": "not reported, and stream_options is refused",
        "": _NOT_FOUND_OUT,
    }
    if facts.cached is None:
        cache = "what was cached is not"
    else:
        cache = f"{facts.cached} of {facts.prompt} tokens of a prompt were cached at its second time"
    if facts.usage in ("unasked", "asked"):
        return Check("usage", "ok", f"{words[facts.usage]}; {cache}")
    return Check("usage", "warn", words[facts.usage], "tokens and cost of runs will be unknown or estimated")


def _thinking(facts: Facts) -> Check:
    habit = {True: "thinks unasked", False: "does not think unasked", None: _NOT_FOUND_OUT}[facts.thinks]
    field = f", reasoning comes as {facts.arrives}" if facts.arrives else ""
    what = "off" if facts.thinks else "on"
    if facts.switch:
        perhaps = f" (or {', '.join(facts.others)})" if facts.others else ""
        return Check("thinking", "ok", f"{habit}{field}; switched {what} by {facts.switch}{perhaps}")
    if facts.tried:
        tried = f"; not switched {what} by {', '.join(facts.tried)}"
        rest = f"; not tried: {', '.join(facts.untried)}" if facts.untried else ""
        return Check("thinking", "ok", f"{habit}{field}{tried}{rest}")
    return Check("thinking", "ok", f"{habit}{field}; switching it was not tried")


def _echo(facts: Facts) -> Check:
    words = {
        "kept": f"taken back as {facts.echo_field}, and read",
        "accepted": f"accepted as {facts.echo_field}, but nothing of it was seen in the next answer",
        "refused": f"refused as {facts.echo_field}: it is not sent back",
        "": "sending it back was not tried",
    }
    return Check("reasoning", "ok", words[facts.echo])


def _json_mode(facts: Facts) -> Check:
    words = {
        "obeyed": "response_format json_object gives JSON",
        "ignored": "response_format json_object is accepted, and does not give JSON",
        "refused": "response_format json_object is refused",
        "": _NOT_FOUND_OUT,
    }
    return Check("json", "ok", words[facts.json_mode])
