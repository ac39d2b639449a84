"""`models`: the models and providers in our tables and the user's."""

from __future__ import annotations

from .. import config, dialects
from ..dialects import Model, Provider
from ..git import find_root
from ..types import Json
from .plain import as_json, print_text, table


def run(as_data: bool, provider: str | None) -> int:
    return print_text(lambda: _text(as_data, provider))


def _text(as_data: bool, name: str | None) -> str:
    folder = config.working_folder(None)
    settings = config.load({"provider": name}, folder, find_root(folder))
    provider = dialects.find_provider(settings.provider or dialects.default_provider().name)
    default = dialects.find_model(provider, dialects.default_model(provider)).name
    found = [dialects.find_model(provider, name) for name in dialects.models()]
    rows = [_row(provider, model, model.name == default) for model in found]
    hosts = dialects.providers().values()
    if as_data:
        return as_json({"provider": provider.name, "models": rows, "providers": list(map(_host, hosts))})
    head = ("MODEL", "THERE", "WINDOW", "REPLY", "THINKING", "EFFORT", "IN $/M", "CACHED", "OUT", "OF")
    lines = [
        (
            f"{row['name']}*" if row["default"] else row["name"],
            row["id"],
            str(row["window"]),
            str(row["output"]),
            row["thinking"],
            " ".join(row["effort"]) or "-",
            *_price(row),
        )
        for row in rows
    ]
    note = (
        f"As {provider.name} has them, if it does: * is the default, ? is not known. "
        "Prices are US dollars per million tokens.\n\n"
    )
    where = [(row.name, row.base_url or "--base-url", _keys(row), row.title) for row in hosts]
    return table(head, lines) + note + table(("PROVIDER", "BASE URL", "KEY", ""), where)


def _row(provider: Provider, model: Model, is_default: bool) -> Json:
    price = dialects.price(provider, model)
    return {
        "name": model.name,
        "id": model.id,
        "default": is_default,
        "window": model.window,
        "output": model.output,
        "thinking": model.thinking,
        "effort": model.effort if provider.effort != "none" else (),
        "keeps_thinking": model.keeps_thinking and provider.keeps_thinking,
        "tool_stream": model.tool_stream and provider.tool_stream,
        "vision": model.vision,
        "price": price[:3] if price else None,
        "price_date": price.date if price else None,
    }


def _host(provider: Provider) -> Json:
    return {
        "name": provider.name,
        "title": provider.title,
        "base_url": provider.base_url,
        "key_env": provider.key_env,
        "key_needed": provider.key_needed,
        "in_flight": provider.in_flight,
    }


def _price(row: Json) -> tuple[str, str, str, str]:
    if row["price"] is None:
        return "?", "?", "?", "-"
    given, cached, out = (f"{dollars:g}" for dollars in row["price"])
    return given, cached, out, row["price_date"]


def _keys(provider: Provider) -> str:
    return " ".join(provider.key_env) if provider.key_needed else "-"
