"""The way to a model: who serves it, where and with which key, and the client that asks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from .. import config, dialects
from ..client import Client
from ..context import Fitter
from ..dialects import Dialect
from ..errors import ToolError, UsageError
from ..recover import Fits
from ..rows import Model, Provider
from ..settings import Settings
from ..slots import open_slots
from ..tools.arguments import decode
from ..transport import Transport, check_base_url
from ..types import Json, Tool
from ..watchdog import Limits, watch
from .conduct import Stage
from .tally import Tally

_CONNECT = 10.0  # seconds
_TIMEOUTS = {"timeout_headers": "headers", "timeout_first": "event", "timeout_idle": "idle"}
_LONG_THOUGHT = 600.0  # seconds until the first event of a model whose effort may be at its maximum


def choose_model(settings: Settings) -> tuple[Provider, Model]:
    """Raises UsageError for names that cannot be."""
    name = settings.provider or dialects.default_provider().name
    provider = dialects.find_provider(name)
    return provider, dialects.find_model(provider, settings.model or dialects.default_model(provider))


def require_price(settings: Settings, provider: Provider, model: Model) -> None:
    """Raises UsageError for a cap on money where nobody knows what it buys."""
    if settings.max_budget_usd is not None and dialects.price(provider, model) is None:
        row = f'[models."{model.name}".price] {provider.name} = [INPUT, CACHED, OUTPUT]'
        file = config.config_home() / "config.toml"
        raise UsageError(
            f"--max-budget-usd: what {model.name} costs at {provider.name} is not known; say it in {file}, "
            f"in dollars for a million tokens: {row}"
        )


def connect(settings: Settings, provider: Provider) -> Transport:
    """Raises AuthError without a key, UsageError or ConfigError without a usable URL; sends nothing."""
    url, origin = config.find_base_url(settings, provider)
    check_base_url(url)  # whose refusals hide a password
    config.require_privacy(settings, url, origin)
    found = config.find_key(settings, provider)
    longest = max(_LONG_THOUGHT, *(getattr(settings, name) or 0.0 for name in _TIMEOUTS))
    connect = settings.timeout_connect or _CONNECT
    key = found[0] if found else None
    return Transport(url, key, provider.headers, connect=connect, silence=longest)


def open_client(
    stage: Stage, kit: Sequence[Tool], dialect: Dialect, transport: Transport, forget: Callable[[], None]
) -> Client:
    """What asks, until the stage ends; `forget` is called when tool results leave the conversation."""
    provider, model = dialect.provider, dialect.model
    fixed = len(dialect.system.encode()) + len(json.dumps(dialect.options.get("tools", [])))

    deadlines = limits(stage.settings, model)
    key = config.find_key(stage.settings, provider)
    client = Client(
        dialect,
        transport.host,
        lambda body: watch(transport.ask(body), deadlines, stage.cancel),
        Fitter(model.window, dialect.options["max_tokens"], fixed, forget),
        open_slots(config.state_home(), transport.host, transport.key, provider.in_flight),
        fitting(kit),
        may_raise_limit=stage.settings.max_tokens is None,
        lean=stage.settings.lean_thinking,
        key_name=key[1] if key else "",
        budget=stage.budget,
        end=stage.tally.started + (stage.settings.max_wall_time or math.inf),
    )
    stage.tally.ledger.price = dialects.price(provider, model)
    stage.endings.append(lambda: _take_costs(stage.tally, client))
    stage.closers.append(transport.close)
    return client


def fitting(kit: Sequence[Tool]) -> Fits:
    """Whether arguments are such that a tool of `kit` takes them."""
    named = {tool.name: tool for tool in kit}

    def fits(name: str, arguments: Json) -> bool:
        try:
            decode(named[name], json.dumps(arguments))
        except ToolError:
            return False
        return True

    return fits


def limits(settings: Settings, model: Model) -> Limits:
    """The usual deadlines, but for what was asked; what was not never cuts a longer one short."""
    usual = Limits(event=_LONG_THOUGHT) if model.effort else Limits()
    asked = {limit: given for name, limit in _TIMEOUTS.items() if (given := getattr(settings, name))}
    found = usual._replace(**asked)
    if settings.timeout_first is None:
        found = found._replace(event=max(found.event, found.headers))
    longest = max(found.event, found.idle)
    return found._replace(total=settings.timeout_turn or max(found.total, longest))


def _take_costs(tally: Tally, client: Client) -> None:
    tally.api_seconds = client.seconds
    if client.asking:  # a signal came in between: what was asked is charged all the same
        tally.ledger.charge({"prompt_tokens": client.asking, "estimated": True})
