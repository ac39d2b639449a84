"""A table of TOML as the row of a provider or a model, refused column by column where it makes no sense.

What the columns mean stands at the heads of `providers.toml` and `models.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from .settings import Parse, choice, flag, integer, text, texts
from .shape import mapping, sequence
from .spelling import near
from .usage import Price

_URL = re.compile(r"(?i:https?)://(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(?:/[!-~]*)?")
_NOT_IN_URLS = re.compile(r"[?#@]")
_PROVIDER, _MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}"), re.compile(r"[!-~]{1,200}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER, _HEADER_VALUE = re.compile(r"[A-Za-z0-9-]+"), re.compile(r"[ -~]+")
_DEAREST = 1e9  # dollars for a million tokens
_OWN_WORD = "config.toml"  # the date of a price that the user gave
_SECRETS = ("authorization", "x-api-key", "api-key", "cookie")


class Provider(NamedTuple):
    name: str
    title: str = ""
    base_url: str = ""
    base_url_env: tuple[str, ...] = ()
    key_env: tuple[str, ...] = ()
    key_page: str = ""
    key_needed: bool = True
    model_prefix: str = "glm-"
    model_ids: Mapping[str, str] = {}
    own_models: bool = False
    default_model: str = ""
    thinking: str = "thinking"
    thinking_sent: str = "always"
    keeps_thinking: bool = False
    effort: str = "none"
    effort_words: Mapping[str, str] = {}
    thought_field: str = "reasoning_content"
    tool_stream: bool = False
    usage_option: bool = False
    max_tokens: str = "max_tokens"
    in_flight: int = 2
    headers: Mapping[str, str] = {}
    default: bool = False


class Model(NamedTuple):
    """A row of models.toml; a model without a row gets these cautious defaults.

    `id` is what the provider at hand calls it, "" where nobody has asked yet.
    """

    name: str
    id: str = ""
    window: int = 131_072
    output: int = 98_304
    window_at: Mapping[str, int] = {}
    output_at: Mapping[str, int] = {}
    thinking: str = "switch"
    effort: tuple[str, ...] = ()
    keeps_thinking: bool = False
    tool_stream: bool = False
    vision: bool = False
    price: Mapping[str, Price] = {}
    default: bool = False
    known: bool = True


class BadRow(ValueError):
    """What is wrong with a table; `path` leads to it from the top of its file."""

    def __init__(self, path: tuple[str, ...], why: str) -> None:
        super().__init__(why)
        self.path = path


def read_provider(name: str, table: object, base: Provider | None) -> Provider:
    """`base` with the table's columns in their place; None for a row of our own. Raises BadRow."""
    path = ("providers", name)
    columns = _PROVIDER_COLUMNS if base else {**_PROVIDER_COLUMNS, "default": flag}
    if not _PROVIDER.fullmatch(name):
        raise BadRow(path, "a provider's name is made of letters, digits, dots, dashes and underscores")
    found = _read_columns(path, table, columns)
    row = (base or Provider(name))._replace(**found)
    if base and not row.base_url and name != "custom":
        raise BadRow(path, "base_url is missing")
    if base and base.name != name:  # a new one, made from the row for any server
        row = row._replace(name=name, title=found.get("title", name))
        row = row._replace(key_needed=found.get("key_needed", bool(row.key_env)))
    return row


def read_model(
    name: str, table: object, base: Model | None, dates: Mapping[str, str], hosts: Collection[str]
) -> Model:
    """`base` with the table's columns in their place; None for a row of our own. Raises BadRow.

    `dates` says when a host's prices were checked, and is empty for the user's own.
    """
    path = ("models", name)
    columns = _MODEL_COLUMNS if base else {**_MODEL_COLUMNS, "default": flag}
    if not _MODEL.fullmatch(name):
        raise BadRow(path, "a model's name is one word of plain ASCII")
    found = _read_columns(path, table, columns)
    prices = {
        host: price._replace(date=dates.get(host, price.date))
        for host, price in found.get("price", {}).items()
    }
    for column in ("price", "window_at", "output_at"):
        for host in found.get(column, {}):
            if host not in hosts:
                raise BadRow((*path, column, host), "no such provider")
    for column in ("window", "output"):
        if column in found:  # the user's word for all hosts goes over ours for one
            found.setdefault(f"{column}_at", {})
    base = base or Model(name)
    row = base._replace(**{**found, "price": {**base.price, **prices}})
    if "output" in found and row.output > row.window:
        why = f"a reply of {row.output} tokens does not fit a window of {row.window}"
        raise BadRow((*path, "output"), why)
    return row


def _read_columns(path: tuple[str, ...], table: object, columns: Mapping[str, Parse]) -> dict[str, Any]:
    """The table's values as they are kept. Raises BadRow for a column that is unknown or of another kind."""
    if not isinstance(table, dict):
        raise BadRow(path, "expected a table")
    found: dict[str, Any] = {}
    for name, value in mapping(table).items():  # pyright: ignore[reportUnknownArgumentType]
        if name not in columns:
            known = f"; there are {', '.join(columns)}"
            raise BadRow((*path, name), f"no such column{near(name, columns) or known}")
        try:
            found[name] = columns[name](value)
        except BadRow as error:
            raise BadRow((*path, name, *error.path), str(error)) from error
        except ValueError as error:
            raise BadRow((*path, name), str(error)) from error
    return found


def base_url(value: object) -> str:
    """Raises ValueError, which never holds the value."""
    found = _URL.fullmatch(value) if isinstance(value, str) and not _NOT_IN_URLS.search(value) else None
    if found and int(found[1] or 0) < 1 << 16:
        return found[0]
    raise ValueError("expected a URL like https://host/v1: scheme, host and path only")


def _variables(value: object) -> tuple[str, ...]:
    names = texts(value)
    if all(_VARIABLE.fullmatch(name) for name in names):
        return names
    raise ValueError("expected names of environment variables; a key itself belongs into the environment")


def model_name(value: object) -> str:
    if isinstance(value, str) and _MODEL.fullmatch(value):
        return value
    raise ValueError("expected a model's name: one word of plain ASCII")


def _header(name: str, value: object) -> str:
    if name.lower() in _SECRETS:
        raise ValueError("a key belongs into the environment; name its variable in key_env")
    said = text(value)
    if _HEADER.fullmatch(name) and _HEADER_VALUE.fullmatch(said):
        return said
    raise ValueError("expected a header's name and one line of plain ASCII")


def _price(value: object) -> Price:
    found = [
        float(part)
        for part in sequence(value)
        if isinstance(part, int | float) and not isinstance(part, bool) and 0 <= part <= _DEAREST
    ]
    if len(found) == len(sequence(value)) == 3:
        return Price(found[0], found[1], found[2], _OWN_WORD)
    raise ValueError("expected three prices, none below 0: input, cached input, output")


def _effort_word(name: str, value: object) -> str:
    if name not in ("low", "high", "max"):
        raise ValueError("--effort has the words low, high and max")
    return text(value)


def _table(parse: Callable[[str, object], object]) -> Parse:
    """A parser of tables whose pairs `parse` takes."""

    def read(value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise ValueError("expected a table")
        found: dict[str, object] = {}
        for name, part in mapping(value).items():  # pyright: ignore[reportUnknownArgumentType]
            try:
                found[name] = parse(name, part)
            except ValueError as error:
                raise BadRow((name,), str(error)) from error
        return found

    return read


def _any_name(parse: Parse) -> Callable[[str, object], object]:
    return lambda _, value: parse(value)


_PROVIDER_COLUMNS: dict[str, Parse] = {
    "title": text,
    "base_url": base_url,
    "base_url_env": _variables,
    "key_env": _variables,
    "key_page": text,
    "key_needed": flag,
    "model_prefix": text,
    "model_ids": _table(_any_name(text)),
    "own_models": flag,
    "default_model": model_name,
    "thinking": choice(
        "thinking", "reasoning", "chat_template_kwargs", "reasoning_effort", "enable_thinking", "none"
    ),
    "thinking_sent": choice("always", "asked"),
    "keeps_thinking": flag,
    "effort": choice("reasoning_effort", "reasoning", "none"),
    "effort_words": _table(_effort_word),
    "thought_field": choice("reasoning_content", "reasoning", "content", "none"),
    "tool_stream": flag,
    "usage_option": flag,
    "max_tokens": choice("max_tokens", "max_completion_tokens"),
    "in_flight": integer(1),
    "headers": _table(_header),
}
_MODEL_COLUMNS: dict[str, Parse] = {
    "window": integer(1),
    "output": integer(1),
    "window_at": _table(_any_name(integer(1))),
    "output_at": _table(_any_name(integer(1))),
    "thinking": choice("switch", "always", "none"),
    "effort": texts,
    "keeps_thinking": flag,
    "tool_stream": flag,
    "vision": flag,
    "price": _table(_any_name(_price)),
}
