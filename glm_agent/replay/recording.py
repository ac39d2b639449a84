"""A recording: a script whose answers are the provider's own bytes, with what was asked and said between.

Its first line says how the run was set up, the others what happened, in order:

    {"recording": 1, …}                        the start; the number is the format's
    {"request": {"same": 3, "messages": […], "head": {…}}, "hash": "…"}
    {"writes": ["data: {…", …], "status": 200, …}   an answer: an entry of a script
    {"said": {"role": "tool", …}}              a message that became part of the history
    {"end": {"subtype": "success"}}            the outcome

A request begins with the first `same` messages of the one before, and has its other fields too if there is no
`head`. Every prefix is a recording: of a run that was killed there.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

from ..shape import mapping, sequence, string
from ..types import Json
from .script import check_turn, is_line_of_a_script

VERSION = 1

_LARGEST = 256 << 20  # bytes of a file
_MOST = 100_000  # lines
_LINES = 12  # of a difference
_WIDTH = 160  # characters of each
_COMPARED = 200  # lines from the first that differs


class Request(NamedTuple):
    """What was asked, as it differs from the request before; `prompt` is the number of prompts until then."""

    same: int
    messages: list[Json]
    head: Json
    prompt: int


class Asked(NamedTuple):
    """A request with its answer, an entry of a script; None if the run was killed before there was one."""

    request: Request
    answer: Json | None


@dataclass(slots=True)
class Recorded:
    """A recording as read back; `end` is None if the run was killed, `torn` says that a line is cut off."""

    start: Json
    asked: list[Asked] = field(default_factory=list[Asked])
    prompts: list[str] = field(default_factory=list[str])
    turns: list[Json] = field(default_factory=list[Json])
    results: dict[str, Json] = field(default_factory=dict[str, Json])
    end: str | None = None
    torn: bool = False


class Difference(NamedTuple):
    """`part` of a request that is not as it was; `lines` say how, briefly."""

    part: str
    lines: list[str]


class Chain:
    """The hash of each request of a run, from what is new in it alone."""

    def __init__(self) -> None:
        self._links = [b""]  # after so many messages
        self._head = b""

    @property
    def length(self) -> int:
        return len(self._links) - 1

    def add(self, same: int, messages: list[Json], head: Json | None) -> str:
        del self._links[same + 1 :]
        for message in messages:
            self._links.append(_digest(self._links[-1] + _bytes(message)))
        if head is not None:
            self._head = _digest(_bytes(head))
        return _digest(self._head + self._links[-1]).hex()


def read(path: Path) -> Recorded:
    """Raises ValueError with what is wrong with the file, in one line; OSError if it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would keep us waiting
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size > _LARGEST:
            raise ValueError(f"more than {_LARGEST >> 20} MiB, which no recording has")
        return parse(file.read(_LARGEST))


def parse(data: bytes) -> Recorded:
    """Raises ValueError, naming the line, for what is no recording; what a killed run left is one."""
    lines = data.split(b"\n", _MOST)
    if len(lines) > _MOST:
        raise ValueError(f"more than {_MOST} lines, which no recording has")
    torn = lines.pop() != b""
    if not lines:
        raise ValueError("not a recording: it has no whole line")
    reader = _Reader(_start(lines[0]))
    for number, line in enumerate(lines[1:], 2):
        try:
            reader.take(_object(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    reader.found.torn = torn
    return reader.found


def difference(expected: Json, had: Json) -> Difference | None:
    """The first part in which a request is not what was expected, None if it is; `had` is what there is."""
    if expected == had:
        return None
    wanted, given = (sequence(body.get("messages")) for body in (expected, had))
    if wanted[:1] != given[:1]:
        return Difference("the system prompt", compare(wanted[:1], given[:1]))
    for name in sorted({*expected, *had} - {"messages"}, key=lambda name: (name != "tools", name)):
        if expected.get(name) != had.get(name):
            part = "the tools" if name == "tools" else f"the field {name[:40]}"
            return Difference(part, compare(expected.get(name), had.get(name)))
    count = max(len(wanted), len(given))
    place = next((k for k in range(count) if wanted[k : k + 1] != given[k : k + 1]), None)
    if place is None:
        return None
    role = string(mapping((given if place < len(given) else wanted)[place]).get("role"))
    return Difference(
        f"message {place} ({role[:20]})", compare(wanted[place : place + 1], given[place : place + 1])
    )


def compare(expected: object, had: object) -> list[str]:
    """A short diff of two JSON values: `-` what was recorded, `+` what there is now."""
    import difflib

    old, new = _lines(expected), _lines(had)
    pairs = enumerate(zip(old, new, strict=False))
    begin = next((k for k, (one, other) in pairs if one != other), min(len(old), len(new)))
    rows = difflib.unified_diff(old[begin:][:_COMPARED], new[begin:][:_COMPARED], lineterm="", n=1)
    found = [row for row in [*rows][2:] if not row.startswith("@@")]
    more = [f"… {len(found) - _LINES} more lines"] if len(found) > _LINES else []
    return [row if len(row) <= _WIDTH else f"{row[:_WIDTH]}…" for row in found[:_LINES]] + more


def scrub(value: object, hide: Callable[[str], str]) -> object:
    """A JSON value with each text in it as `hide` leaves it."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {hide(name): scrub(item, hide) for name, item in cast("Json", value).items()}
    if isinstance(value, list):
        return [scrub(item, hide) for item in cast("list[object]", value)]
    return value


class _Reader:
    """Takes a recording line by line. Raises ValueError."""

    def __init__(self, start: Json) -> None:
        self.found = Recorded(start)
        self._chain = Chain()
        self._head: Json = {}

    def take(self, record: Json) -> None:
        found = self.found
        if "request" in record:
            found.asked.append(Asked(self._request(record), None))
        elif "said" in record:
            self._say(mapping(record["said"]))
        elif "end" in record:
            found.end = string(mapping(record["end"]).get("subtype"))
        elif is_line_of_a_script(record) and found.asked and found.asked[-1].answer is None:
            found.asked[-1] = found.asked[-1]._replace(answer=_answer(record))
        else:
            raise ValueError("an answer to no request; the file is damaged")

    def _request(self, record: Json) -> Request:
        given = mapping(record["request"])
        same, messages = given.get("same"), [mapping(message) for message in sequence(given.get("messages"))]
        if not isinstance(same, int) or not 0 <= same <= self._chain.length:
            raise ValueError("a request that continues none; the file is damaged")
        head = mapping(given["head"]) if "head" in given else None
        if self._chain.add(same, messages, head) != record.get("hash"):
            raise ValueError("a request without its own hash; the file is damaged, or was edited")
        self._head = self._head if head is None else head
        return Request(same, messages, self._head, len(self.found.prompts))

    def _say(self, message: Json) -> None:
        match message.get("role"):
            case "user":
                self.found.prompts.append(string(message.get("text")))
            case "tool":
                self.found.results[string(message.get("call_id"))] = message
            case "assistant":
                self.found.turns.append(message)
            case _:
                raise ValueError("a message of nobody's; the file is damaged")


def _answer(record: Json) -> Json:
    """An answer that can be played. Raises ValueError."""
    calls = [mapping(call) for call in sequence(record.get("tool_calls", []))]
    texts: list[object] = [record.get("content") or "", record.get("reasoning") or ""]
    texts += [call.get(name) for call in calls for name in ("id", "name", "arguments")]
    pieces, status = record.get("writes", []), record.get("status", 200)
    headers = mapping(record.get("headers", {}))
    if not all(isinstance(text, str) for text in (*texts, *sequence(pieces), *headers.values())):
        raise ValueError("an answer that cannot be played; the file is damaged")
    if not isinstance(pieces, list) or type(status) is not int or record.get("fault") not in (None, "cut"):
        raise ValueError("an answer that cannot be played; the file is damaged")
    for text in sequence(cast("object", pieces)):
        string(text).encode("utf-8", "surrogateescape")
    return check_turn(record)


def _start(line: bytes) -> Json:
    try:
        start = _object(line)
        json.dumps(start, ensure_ascii=False).encode()
    except ValueError:
        start = {}
    version = start.get("recording")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ValueError("not a recording; `fix --record FILE` makes one")
    if version != VERSION:
        raise ValueError(f"its format is {version}, {VERSION} is known here; use the version that made it")
    return start


def _object(line: bytes) -> Json:
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("not JSON; the file is damaged") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object; the file is damaged")
    return cast("Json", value)


def _lines(value: object) -> list[str]:
    """A JSON value to be read: a line a field, and the lines of its texts."""
    return list(_spread(value, ""))


def _spread(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in cast("Json", value).items():
            if isinstance(item, dict | list) or (isinstance(item, str) and "\n" in item):
                yield f"{indent}{name}:"
                yield from _spread(cast("object", item), indent + "  ")
            else:
                yield f"{indent}{name}: {item if isinstance(item, str) else json.dumps(item)}"
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _spread(item, indent)
    elif isinstance(value, str):
        yield from (indent + line for line in value.split("\n"))
    else:
        yield indent + json.dumps(value)


def _bytes(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
