"""The raw JSON of a call to arguments that fit the tool's schema: lenient where the meaning is certain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ..errors import ToolError
from ..types import Json, Tool
from ..veil import uncover

_LARGEST = 4 * 1024 * 1024  # characters
_DEEPEST = 50
_GREATEST = 2**53  # whole numbers beyond it are not the same to every JSON reader

_Value = Json | list[Any] | str | int | float | None  # what JSON can be

# What other agents call our parameters.
_ALIASES = {
    "old": ("old_string", "oldText", "old_str"),
    "new": ("new_string", "newText", "new_str"),
    "replace_all": ("replaceAll",),
    "path": ("file_path", "filePath", "filepath", "filename", "file", "target_file"),
    "command": ("cmd",),
    "pattern": ("query", "regex"),
    "patch": ("diff", "patch_text", "patchText", "input"),
    "content": ("contents", "text", "file_text"),
}


def decode(tool: Tool, raw: str) -> Json:
    """The arguments of a call, every parameter checked and defaults filled in. Raises only ToolError.

    Truncated JSON is never repaired: half a call is not executed.
    """
    if tool.takes_raw:
        return {"raw": uncover(raw)}
    given = _rename(_unwrap(_parse(raw), tool), tool)
    properties: dict[str, Json] = tool.parameters.get("properties", {})
    required: list[str] = tool.parameters.get("required", [])
    arguments: Json = {}
    for name, schema in properties.items():
        if given.get(name) is not None:
            arguments[name] = _fit(name, given[name], schema)
        elif name in required:
            raise ToolError(f"{tool.name} needs '{name}'{_got(given)}; for example {_example(tool)}")
        elif "default" in schema:
            arguments[name] = schema["default"]
    return arguments


def _parse(raw: str) -> Json:
    if len(raw) > _LARGEST:
        raise ToolError(
            f"arguments have {len(raw)} characters; at most {_LARGEST} are allowed: do it in parts"
        )
    value = _load(raw) if raw.strip() else None
    if isinstance(value, str):
        value = _load(value) if value.strip() else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ToolError(f"arguments must be one JSON object, not {_kind(value)}")
    if _depth(value) > _DEEPEST:
        raise ToolError(f"arguments are nested more than {_DEEPEST} deep; send plain values")
    return value


def _load(text: str) -> _Value:
    try:
        return json.loads(text, strict=False, parse_constant=_no_constant, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ToolError(
            f"arguments are not one JSON object: {error.msg} at character {error.pos + 1} of {len(text)}; "
            "nothing was run, send the whole call again"
        ) from error
    except RecursionError as error:
        raise ToolError(f"arguments are nested more than {_DEEPEST} deep; send plain values") from error
    except ValueError as error:  # a whole number with thousands of digits
        raise ToolError("arguments hold a number that is too large") from error


def _no_constant(name: str) -> None:
    raise ToolError(f"arguments hold {name}, which is not a JSON value")


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, value in pairs:
            if found[name] != value:
                raise ToolError(f"arguments give {_quoted(name)} twice, with different values")
    return found


def _unwrap(given: Json, tool: Tool) -> Json:
    """An `edits: [{...}]` with one entry is that entry."""
    known = tool.parameters.get("properties", {})
    if "edits" not in given or "edits" in known or "old" not in known:
        return given
    edits: _Value = given["edits"]
    if isinstance(edits, str):
        edits = _load(edits)
    entry: _Value = edits[0] if isinstance(edits, list) and len(edits) == 1 else edits
    if not isinstance(entry, dict):
        raise ToolError(f"'edits' must hold one edit; for several, call {tool.name} once for each")
    return {**given, **entry}


def _rename(given: Json, tool: Tool) -> Json:
    known = tool.parameters.get("properties", {})
    renamed = dict(given)
    for name in known:
        aliases = [alias for alias in _ALIASES.get(name, ()) if alias in given and alias not in known]
        if aliases and given.get(name) is None:
            renamed[name] = given[aliases[0]]
    return renamed


def _fit(name: str, value: _Value, schema: Json) -> str | int | bool:
    match schema.get("type"):
        case "string":
            return _string(name, value)
        case "boolean":
            return _boolean(name, value)
        case "integer":
            number = _integer(name, value)
            low, high = schema.get("minimum", -_GREATEST), schema.get("maximum", _GREATEST)
            if low <= number <= high:
                return number
            raise ToolError(f"'{name}' is {number}; it must be between {low} and {high}")
        case other:
            raise TypeError(f"a parameter of type {other!r} is not supported")


def _string(name: str, value: _Value) -> str:
    if not isinstance(value, str):
        raise ToolError(f"'{name}' must be a string, not {_kind(value)}")
    if not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise ToolError(f"'{name}' holds half a surrogate pair; send the character whole")
    return uncover(value)


def _boolean(name: str, value: _Value) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    raise ToolError(f"'{name}' must be true or false, not {_kind(value)}")


def _integer(name: str, value: _Value) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", value, re.ASCII):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _GREATEST:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) <= _GREATEST:
            return value
        raise ToolError(f"'{name}' is too large a number")
    raise ToolError(f"'{name}' must be a whole number, not {_kind(value)}")


def _depth(value: Json) -> int:
    depth = 0
    level: list[_Value] = [value]
    while level and depth <= _DEEPEST:
        depth += 1
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
    return depth


def _children(value: _Value) -> Iterable[_Value]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _kind(value: _Value) -> str:
    kinds = {
        "dict": "an object",
        "list": "a list",
        "str": "a string",
        "bool": "a boolean",
        "float": "a fraction",
    }
    return kinds.get(type(value).__name__, "a number")


def _got(given: Json) -> str:
    names = [_quoted(name) for name in list(given)[:5]]
    return f" (got {', '.join(names)})" if names else ""


def _quoted(name: str) -> str:
    return ascii(name[:40])


def _example(tool: Tool) -> str:
    properties: dict[str, Json] = tool.parameters.get("properties", {})
    samples = {"integer": 1, "boolean": False}
    call = {
        name: samples.get(properties[name].get("type", ""), "...") for name in tool.parameters["required"]
    }
    return json.dumps(call)
