"""The demo's journal, played to a view that records what it draws."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from glm_agent import config, journal, types
from glm_agent.commands import demo
from glm_agent.render.live import Live, markdown
from glm_agent.render.plain import Look

TARGET = Path(__file__).resolve().parents[1] / "docs" / "demo.svg"
KINDS = {kind.__name__: kind for kind in (types.Started, types.Verified, types.Stopped)}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_STATE_HOME"] = home
        demo.run({"ephemeral": False, "quiet": True})
        svg = draw(next(journal.sessions(config.state_home())))
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(svg, encoding="utf-8")


def draw(session: Path) -> str:
    console = Console(record=True, file=StringIO(), width=100)
    look = Look(colour=True, redact=_shorten)
    view = Live(console, markdown(console), look)
    for event in events(session):
        view(event)
    view.close()
    svg = console.export_svg(title="glm-agent demo")
    # the reader's own monospace font will do: nothing is fetched to show a picture
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def _shorten(line: str) -> str:
    return line.replace(sys.executable, "python3")


def events(session: Path) -> Iterator[types.Event]:
    messages = iter(journal.load(session).messages)
    for line in (session / "journal.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
        record: dict[str, Any] = json.loads(line)
        fields = {name: value for name, value in record.items() if name not in ("at", "type")}
        if record["type"] == "Said":
            yield types.Said(next(messages))
        elif record["type"] == "Finished":
            yield types.Finished(types.Result(**fields["result"]))
        elif record["type"] in KINDS:
            yield KINDS[record["type"]](**fields)


if __name__ == "__main__":
    main()
