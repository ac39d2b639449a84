"""`models`: the models and providers in our tables."""

from __future__ import annotations

from .. import dialects
from ..dialects import Model
from ..types import Json
from .plain import as_json, print_text, table


def run(as_data: bool, provider: str | None) -> int:
    return print_text(lambda: _text(as_data, provider or dialects.default_provider().name))


def _text(as_data: bool, name: str) -> str:
    provider = dialects.find_provider(name)
    rows = [_row(name, model) for model in dialects.models().values()]
    if as_data:
        hosts = [
            {"name": row.name, "title": row.title, "base_url": row.base_url}
            for row in dialects.providers().values()
        ]
        return as_json({"models": rows, "providers": hosts})
    head = ("MODEL", "WINDOW", "REPLY", "THINKING", "EFFORT", "IN $/M", "CACHED", "OUT")
    lines = [
        (_name(row), str(row["window"]), str(row["output"]), row["thinking"], _words(row), *_price(row))
        for row in rows
    ]
    hosts = [(row.name, row.base_url or "--base-url", row.title) for row in dialects.providers().values()]
    note = f"Prices of {provider.name}, US dollars per million tokens; * is the default.\n\n"
    return table(head, lines) + note + table(("PROVIDER", "BASE URL", ""), hosts)


def _row(provider: str, model: Model) -> Json:
    return {
        "name": model.name,
        "default": model.default,
        "window": model.window,
        "output": model.output,
        "thinking": model.thinking,
        "effort": model.effort,
        "tool_stream": model.tool_stream,
        "price": model.price.get(provider),
    }


def _name(row: Json) -> str:
    return f"{row['name']}*" if row["default"] else row["name"]


def _words(row: Json) -> str:
    return " ".join(row["effort"]) or "-"


def _price(row: Json) -> tuple[str, str, str]:
    if not row["price"]:
        return "?", "?", "?"
    given, cached, out = (f"{dollars:g}" for dollars in row["price"])
    return given, cached, out
