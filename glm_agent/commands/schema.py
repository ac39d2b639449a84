"""`schema`: the JSON Schemas of what goes to stdout."""

from __future__ import annotations

from pathlib import Path

from .plain import print_text


def run(name: str) -> int:
    file = Path(__file__).parent.parent / "schemas" / f"{name}.json"
    return print_text(lambda: file.read_text(encoding="utf-8"))
