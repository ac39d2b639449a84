"""A session as JSON: its `init`, its messages and its `result`, each as the stream has it."""

from __future__ import annotations

from ..journal import Session
from ..render.jsonl import SCHEMA, encode, shape
from ..types import Json


def write(session: Session) -> str:
    started = {name: value for name, value in session.started.items() if name not in ("at", "type")}
    document: Json = {
        "schema": SCHEMA,
        "session_id": session.id,
        "init": {"type": "system", "subtype": "init", "schema": SCHEMA, **started} if started else None,
        "messages": [shape(message) for message in session.messages],
        "result": {"type": "result", **session.result} if session.result else None,
    }
    return encode(document, indent=2) + "\n"
