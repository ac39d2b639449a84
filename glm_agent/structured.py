"""Answers that must fit a JSON Schema: a tool `answer` whose arguments are the answer, else a text.

The terminal tool needs no host to force or to know anything; a host that refuses tools is asked for a JSON
object instead. However an answer came, it counts only if it fits.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from .errors import UsageError
from .shape import mapping, sequence
from .truncate import clip_line
from .types import Arguments, Json, Tool, ToolOutput

if TYPE_CHECKING:
    from jsonschema.exceptions import SchemaError, ValidationError
    from jsonschema.protocols import Validator

NAME = "answer"
INSTRUCTION = (
    f"Give your final answer by calling `{NAME}`, once, when all work is done: its arguments are the answer, "
    "nothing after it is read, and text beside it is ignored."
)
_DESCRIPTION = "Gives the final answer and ends the session; the arguments must fit this schema exactly."

_REPAIRS = 2  # of an answer that does not fit
_SHOWN = 5  # errors
_SCHEMA_BYTES = 64 << 10
_ANSWER_CHARACTERS = 4 << 20
_SPARE_DEPTH = 200  # levels of nesting that an answer leaves for what it is put into

_FENCE = re.compile(r"^[ \t]*```.*$", re.MULTILINE)


def load(text: str) -> Json:
    """The schema that `text` is, or that stands in the file it names with `@`. Raises UsageError."""
    name = f"--json-schema {text}" if text.startswith("@") else "--json-schema"
    data = _read(text[1:], name) if text.startswith("@") else text.encode("utf-8", "surrogateescape")
    if len(data) > _SCHEMA_BYTES:
        raise UsageError(f"{name}: a schema may have {_SCHEMA_BYTES >> 10} KiB, and this has more")
    try:
        schema = _parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not UTF-8") from error
    except ValueError as error:
        hint = "" if text.startswith("@") else "; give a schema, or @FILE for one in a file"
        raise UsageError(f"{name}: not JSON: {error}{hint}") from error
    if not _is_object(schema):
        raise UsageError(f'{name}: a schema must be a JSON object, such as {{"type": "object", …}}')
    try:
        _check(schema, name)
    except RecursionError as error:
        raise UsageError(f"{name}: nested too deep, or refers to itself without end") from error
    except OverflowError as error:  # of a regex that repeats something more often than can be counted
        raise UsageError(f"{name}: not a JSON Schema: {error}") from error
    return schema


@dataclass(slots=True)
class Answer:
    """The answer of one session. `value` counts only if `found`; `complaint` says why nothing was."""

    schema: Json
    value: Any = None
    found: bool = False
    refused: int = 0
    complaint: str = "the model gave no answer"

    def tool(self) -> Tool:
        """The terminal tool. `run` gets the call's own text as `raw`; `details["final"]` ends the loop."""

        def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
            try:
                errors = self._accept([_parse(arguments["raw"].strip() or "{}")])
            except ValueError as error:
                errors = [f"not JSON: {error}"]
            if not errors:
                return ToolOutput("accepted", details={"final": True})
            self._refuse(errors)
            if self.refused > _REPAIRS:
                return ToolOutput(f"error: {self._report(errors)}", False, {"final": True})
            return ToolOutput(f"error: {self._report(errors)}", False)

        return Tool(NAME, _DESCRIPTION, parameters(self.schema), run, reads_only=False, takes_raw=True)

    def demand(self, text: str) -> str | None:
        """Takes the text of a turn without a call; what to say to the model next, None if it is over.

        After None, `found` says whether there is an answer.
        """
        if self.found or self.refused > _REPAIRS:
            return None
        errors = self._accept(_spoken(text))
        if not errors:
            return None
        self._refuse(errors)
        return None if self.refused > _REPAIRS else self._report(errors)

    def withdraw(self) -> None:
        """More work is to be done: what was answered until now does not count."""
        self.value, self.found = None, False

    def _accept(self, given: list[object]) -> list[str]:
        """Takes the one value that fits; else the errors of the first that was given."""
        validator = _validator(self.schema)
        wrapped = _is_wrapped(self.schema)
        fitting: list[object] = []
        for value in given:
            meant = [meaning for meaning in _meanings(value, wrapped) if not _errors(validator, meaning)]
            fitting += [meaning for meaning in meant[:1] if meaning not in fitting]
        if not given:
            return ["there is no JSON value in the reply"]
        if not fitting:
            return _errors(validator, next(_meanings(given[0], wrapped)))
        if len(fitting) > 1:
            return ["there are several answers that fit; give one"]
        self.value, self.found = fitting[0], True
        return []

    def _refuse(self, errors: list[str]) -> None:
        self.refused += 1
        self.complaint = f"no answer fitted the schema; the last one: {errors[0]}"

    def _report(self, errors: list[str]) -> str:
        lines = "\n".join(f"- {error}" for error in errors)
        return (
            f"this answer does not fit the schema:\n{lines}\n"
            f"Give the whole answer again, corrected: call `{NAME}`, or where there are no tools, reply with "
            "the JSON object alone."
        )


def parameters(schema: Json) -> Json:
    """The schema of the tool's arguments: `schema`, or an object whose `value` has it."""
    sent = {name: part for name, part in schema.items() if name != "$schema"}
    if not _is_wrapped(schema):
        return {"properties": {}, **sent}
    value = sent if "$id" in schema else _moved(sent)  # references start at an $id, wherever it stands
    return {"type": "object", "properties": {"value": value}, "required": ["value"]}


def json_mode(options: Json, schema: Json) -> tuple[Json, str]:
    """The request's options where tools are refused, and what the system prompt must then say as well."""
    sent = {name: value for name, value in options.items() if not name.startswith("tool")}
    shape = json.dumps(parameters(schema), ensure_ascii=False)
    words = f"There are no tools here. Reply with one JSON object and nothing else; it must fit:\n{shape}"
    return {**sent, "response_format": {"type": "json_object"}}, words


def _read(file: str, name: str) -> bytes:
    try:
        with Path(file).open("rb") as stream:
            return stream.read(_SCHEMA_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"{name}: {getattr(error, 'strerror', None) or error}") from error


def _parse(text: str) -> object:
    """A JSON value that can be written again. Raises ValueError."""
    if len(text) > _ANSWER_CHARACTERS:
        raise ValueError(f"longer than {_ANSWER_CHARACTERS} characters")
    try:
        value = probe = json.loads(
            text, parse_constant=_number, parse_float=_number, parse_int=_integer, object_pairs_hook=_once
        )
        for _ in range(_SPARE_DEPTH):
            probe = [probe]
        json.dumps(probe, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except UnicodeEncodeError as error:
        raise ValueError("holds half a surrogate pair; send the character whole") from error
    return value


def _once(pairs: list[tuple[str, Any]]) -> Json:
    """JSON readers differ in which of two values of one name they take."""
    found = dict(pairs)
    if any(found[name] != value for name, value in pairs):
        raise ValueError("one name has two different values")
    return found


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:40]} is no JSON number, or too large for one")
    return number


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:  # thousands of digits
        raise ValueError(f"a number of {len(text)} digits is too large") from error


def _check(schema: Json, name: str) -> None:
    """Raises UsageError unless `schema` is a JSON Schema that is complete in itself; or RecursionError."""
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    validator = _validator(schema)
    try:
        validator.check_schema(schema)
    except SchemaError as error:
        raise UsageError(f"{name}: not a JSON Schema: {_said(error)}") from error
    if schema and not any(keyword in validator.VALIDATORS for keyword in schema):
        raise UsageError(
            f"{name}: not a JSON Schema: {_plain(next(iter(schema)))} is no keyword, nor is any other"
        )
    _check_references(schema, name)
    for sample in ("{}", "[]", '""', "0", "null"):
        try:
            any(validator.iter_errors(json.loads(sample)))
        except Unresolvable as error:
            raise UsageError(f"{name}: the reference {_plain(error.ref)} leads nowhere") from error


def _check_references(schema: Json, name: str) -> None:
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    resolver = Registry[Any]().resolver_with_root(resource)
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise UsageError(
                f"{name}: {_plain(reference)}: only references within the schema (#…) are followed"
            )
        try:
            target = resolver.lookup(reference).contents
        except (Unresolvable, ValueError, TypeError) as error:
            raise UsageError(f"{name}: the reference {_plain(reference)} leads nowhere") from error
        if not isinstance(target, dict | bool):
            raise UsageError(f"{name}: the reference {_plain(reference)} leads to what is no schema")


def _references(schema: object) -> Iterator[str]:
    for name, part in mapping(schema).items():
        if name in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(part, str):
            yield part
        elif name in ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"):
            for each in mapping(part).values():
                yield from _references(each)
        elif name not in ("enum", "const", "default", "examples"):  # data, not schemas
            yield from _references(part)
    for part in sequence(schema):
        yield from _references(part)


def _validator(schema: Json) -> Validator:
    """For the draft that the schema names; it fetches nothing."""
    from jsonschema import Draft202012Validator  # 90 ms
    from jsonschema.validators import validator_for
    from referencing import Registry

    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())


def _errors(validator: Validator, value: object) -> list[str]:
    """The first errors as `path: message`; none if the value fits."""
    from referencing.exceptions import Unresolvable

    errors = validator.iter_errors(cast("Any", value))
    try:
        found = [_said(error) for error in islice(errors, _SHOWN + 1)]
    except RecursionError:
        return ["$: nested deeper than can be checked"]
    except OverflowError:
        return ["$: a number is larger than can be checked"]
    except Unresolvable as error:
        return [f"$: the schema's reference {_plain(error.ref)} cannot be followed"]
    return found if len(found) <= _SHOWN else [*found[:_SHOWN], "and more"]


def _said(error: ValidationError | SchemaError) -> str:
    """Of alternatives that all fail, the one that came furthest; all of them if none got anywhere."""
    others = ""
    while error.context:
        deepest = max(error.context, key=lambda each: len(each.absolute_path))
        if len(deepest.absolute_path) == len(error.absolute_path):
            others = f": {'; '.join(clip_line(each.message, 100) for each in error.context[:3])}"
            break
        error = deepest
    return f"{clip_line(error.json_path, 200)}: {clip_line(error.message, 300)}{others}"


def _meanings(given: object, wrapped: bool) -> Iterator[object]:
    """What a model can mean by `given`: itself or what it wraps, each also with JSON in strings read."""
    inner = mapping(given)
    candidates = [inner["value"]] if wrapped and "value" in inner else [given]
    if list(inner) == ["value"]:
        candidates.append(inner["value"])
    for candidate in candidates:
        yield candidate
        yield _unquoted(candidate)


def _unquoted(value: object) -> object:
    """`value` with strings read that are themselves JSON objects or lists, at the top and one level below."""
    opened = _opened(value)
    if not _is_object(opened):
        return opened
    return {name: _opened(part) for name, part in opened.items()}


def _opened(value: object) -> object:
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return _parse(value)
    except ValueError:
        return value


def _spoken(text: str) -> list[object]:
    """The JSON values that a text is, or is made of where fences part it."""
    found: list[object] = []
    for part in _FENCE.split(text):
        try:
            found.append(_parse(part.strip()))
        except ValueError:
            continue
    return found


def _is_wrapped(schema: Json) -> bool:
    return schema.get("type") != "object"


def _moved(part: object) -> object:
    """Part of a schema with references that still lead where they did, once it is a property of another."""
    if isinstance(part, list):
        return [_moved(each) for each in sequence(cast("object", part))]
    if not _is_object(part):
        return part
    moved: Json = {name: _moved(each) for name, each in part.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        moved["$ref"] = f"#/properties/value{reference[1:]}"
    return moved


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _plain(text: str) -> str:
    return ascii(text[:80])
