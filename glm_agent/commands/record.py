"""`--record`: what a run was told, sent and got, in a file that `replay` takes."""

from __future__ import annotations

from pathlib import Path

from .. import __version__, secrets
from ..client import Client
from ..errors import UsageError
from ..replay.recorder import Recorder, Seen
from ..transport import Transport
from ..types import Json
from .conduct import Stage


def begin(stage: Stage, client: Client, transport: Transport, setup: Json) -> None:
    """From here on everything is recorded; `setup` is what the first request is made of, beside settings.

    Raises UsageError for a file that cannot be written, or that the run itself would see.
    """
    settings = stage.settings
    path = _outside(stage, Path(settings.record or ""))

    def hide(text: str) -> str:
        return secrets.mask(stage.redact(text))

    recorder = Recorder(path, hide)
    stage.closers.append(recorder.close)
    dialect = client.dialect
    offered = [tool["function"]["name"] for tool in dialect.options.get("tools", [])]
    names = ("thinking", "effort", "temperature", "max_tokens")
    recorder.start(
        {
            "version": __version__,
            "provider": dialect.provider.name,
            "model": dialect.model.name,
            "host": client.host,
            "wish": {name: getattr(settings, name) for name in names},
            "lean_thinking": client.lean,
            "caps": {name: stage.budget.caps.get(name) for name in ("max_total_tokens", "max_budget_usd")},
            "tools": offered,
            "more": settings.append_system_prompt,
            **setup,
        }
    )
    client.send = recorder.tap(
        client.send, lambda: Seen(transport.status, transport.headers, transport.refusal)
    )
    stage.first.append(recorder.take)


def _outside(stage: Stage, path: Path) -> Path:
    """The file, which is no part of what the run works on: its changes are compared, and the model reads."""
    found = path.absolute().parent.resolve() / path.name
    if found.is_relative_to(stage.top.resolve()):
        raise UsageError(f"--record {path}: it is among the files of the run; name one outside of them")
    return found
