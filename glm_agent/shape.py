"""Untrusted JSON, narrowed: a value of the wrong shape is the empty one."""

from __future__ import annotations

from typing import cast

from .types import Json


def mapping(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def sequence(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def string(value: object) -> str:
    return value if isinstance(value, str) else ""


def texts(value: object) -> list[str]:
    return [text for text in sequence(value) if isinstance(text, str)]
