"""As much of JSON Schema as turning text into arguments needs: types, enums, required properties, items."""

from __future__ import annotations

import json
from types import NoneType
from typing import Final, cast

from ..shape import mapping, sequence, string
from ..types import Json


def fits_schema(value: object, schema: object) -> bool:
    """Whether `value` keeps to what is read of `schema`; all other keywords are taken as kept."""
    rules = mapping(schema)
    types = _types(rules)
    if types and not any(_is_a(value, kind) for kind in types):
        return False
    if "enum" in rules and value not in sequence(rules["enum"]):
        return False
    if isinstance(value, dict):
        return _has_properties(cast("Json", value), rules)
    items = rules.get("items")
    return all(fits_schema(item, items) for item in sequence(value)) if items else True


def typed(raw: str, schema: object) -> object:
    """A value that was written without its type: a string as it is, anything else as JSON, if that fits."""
    types = _types(mapping(schema))
    if not schema or types == {"string"}:
        return raw
    text = raw.strip()
    try:
        value, end = decode(text, 0)
    except (ValueError, RecursionError):
        return raw
    if end < len(text) or not fits_schema(value, schema):
        return raw
    has_parts = _is_a(value, "object") or _is_a(value, "array")
    return value if types or has_parts or not fits_schema(raw, schema) else raw


def decode(text: str, place: int) -> tuple[object, int]:
    """The JSON value at `place`, and where it ends. Raises ValueError or RecursionError."""
    return _DECODER.raw_decode(text, place)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(strict=False, parse_constant=_refuse)


def _has_properties(value: Json, rules: Json) -> bool:
    known = mapping(rules.get("properties"))
    if any(string(name) not in value for name in sequence(rules.get("required"))):
        return False
    if rules.get("additionalProperties") is False and not value.keys() <= known.keys():
        return False
    return all(fits_schema(value[name], known[name]) for name in value.keys() & known.keys())


def _types(rules: Json) -> set[str]:
    """The types that a schema names, directly or as alternatives; none if it leaves one open."""
    if kind := rules.get("type"):
        return {kind} if isinstance(kind, str) else {string(one) for one in sequence(kind)}
    options = [mapping(one) for word in ("anyOf", "oneOf") for one in sequence(rules.get(word))]
    kinds = [string(option.get("type")) for option in options]
    return set(kinds) if all(kinds) else set()


def _is_a(value: object, kind: str) -> bool:
    if isinstance(value, float) and kind == "integer":
        return value.is_integer()
    return kind in _KINDS.get(type(value), ())


_KINDS: Final[dict[type, tuple[str, ...]]] = {
    bool: ("boolean",),
    str: ("string",),
    int: ("integer", "number"),
    float: ("number",),
    dict: ("object",),
    list: ("array",),
    NoneType: ("null",),
}
