"""`config`: every value with where it came from; a key is said to be found, never shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .. import config, dialects
from ..errors import AgentError, UsageError
from ..git import find_root
from ..settings import OPTIONS, Settings
from ..types import Json
from .plain import as_json, print_text, table


def run(as_data: bool, flags: Mapping[str, object]) -> int:
    return print_text(lambda: _text(as_data, flags))


def _text(as_data: bool, flags: Mapping[str, object]) -> str:
    folder = config.working_folder(flags.get("cd"))
    settings = config.load(
        {name: value for name, value in flags.items() if name != "cd"}, folder, find_root(folder)
    )
    rows = list(_rows(settings))
    if as_data:
        return as_json({name: {"value": value, "origin": origin} for name, value, origin in rows})
    return table(
        ("OPTION", "VALUE", "ORIGIN"), [(name, _shown(value), origin) for name, value, origin in rows]
    )


def _rows(settings: Settings) -> Iterator[tuple[str, object, str]]:
    provider = dialects.find_provider(settings.provider or dialects.default_provider().name)
    model = settings.model or dialects.default_model(provider)
    url, says = _url(settings, provider)
    resolved: Json = {"provider": provider.name, "model": model, "base_url": url}
    for name in OPTIONS:
        origin = says if name == "base_url" else settings.origins.get(name, "default")
        yield name, resolved.get(name, getattr(settings, name)), origin
    for name, globs in settings.demands.items():
        yield f"{name}, also", globs, "repository"
    yield "api_key", *_key(settings, provider)
    yield "config file", str(config.config_home() / "config.toml"), "user"
    yield "sessions", str(config.state_home() / "sessions"), "user"


def _url(settings: Settings, provider: dialects.Provider) -> tuple[str | None, str]:
    try:
        return config.find_base_url(settings, provider)
    except UsageError:
        return None, "missing"


def _key(settings: Settings, provider: dialects.Provider) -> tuple[str, str]:
    try:
        found = config.find_key(settings, provider)
    except AgentError:
        return "missing", f"looked in {', '.join([config.KEY, *provider.key_env])}"
    return ("found", found[1]) if found else ("not needed", provider.name)


def _shown(value: object) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return "; ".join(str(item) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value).lower() if isinstance(value, bool) else str(value)
