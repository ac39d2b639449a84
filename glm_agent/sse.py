"""Server-sent events as GLM hosts really write them: bytes, however split, to chunk dicts and typed faults.

Every `data:` line is tried as a frame of its own, because some hosts forget the blank line between frames;
lines that are no JSON object by themselves are tried together at the end of their event. A body that is no
event stream is one JSON document (a whole completion, or an error) or a fault. Pure: nothing is read but the
argument.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal, cast

from .shape import mapping, sequence
from .types import Json

MAX_EVENT = 8 << 20  # bytes in one frame
MAX_BODY = 64 << 20  # bytes in one turn
MAX_LINES = 2 << 20  # in one turn: what unpacks to millions of them costs minutes

_MAX_GLUED = 64  # frames in one line
_MAX_SPLICES = 8  # places tried in one broken line
_JSON = json.JSONDecoder(strict=False)  # some hosts do not escape what is inside a string
_MARK = b"\xef\xbb\xbf"
_BETWEEN = re.compile(r'\s*(?:data:\s*)*(?:"?\[DONE\]"?\s*\Z)?')  # frames of one line
_DONE = re.compile(rb'(?:data:[ \t]*)*"?\[DONE\]"?', re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]{0,99}>([^<]{1,99})", re.IGNORECASE)
_FINE = (None, 0, 200, "", "0", "200")  # codes that are no error's


@dataclass(slots=True)
class Fault:
    """Something in the body that is not a chunk.

    splice      a frame was cut mid-JSON and runs on as the first frame of a new completion, which follows
    bad_frame   a frame that is not JSON, or larger than the cap
    error       the provider's own error object, in `error`
    no_stream   neither an event stream nor a JSON document: nothing at all, a login page, a proxy's message
    """

    kind: Literal["splice", "bad_frame", "error", "no_stream"]
    detail: str
    error: Json | None = None


class Done:
    """The stream said `[DONE]`."""


DONE: Final = Done()

Item = Json | Fault | Done


def read(body: Iterable[bytes]) -> Iterator[Item]:
    """Chunk dicts and faults in order, then DONE if the stream said so; what follows `[DONE]` is not read."""
    event = _Event()
    strays = bytearray()  # lines of a body that has shown no event yet
    streaming = False
    for line in _lines(body):
        if isinstance(line, Fault):
            yield line
            return
        if line.startswith(b"data:"):
            if not streaming:
                yield from chain.from_iterable(map(_bare, bytes(strays).split(b"\n")))
            streaming = True
            payload = line[5:].strip(b" \t")
            if _DONE.fullmatch(payload):
                yield from event.end()
                yield DONE
                return
            yield from event.take(payload)
        elif not line:
            yield from event.end()
        elif line.startswith((b"event:", b":", b"id:", b"retry:")):
            event.note(line)
        elif streaming:
            yield from _bare(line)
        else:
            strays += line[: max(0, MAX_EVENT - len(strays))] + b"\n"
    yield from event.end()
    if not streaming:
        yield _document(bytes(strays))


class _Event:
    """One event while its lines arrive: its name, and payload lines that are no JSON object by themselves."""

    __slots__ = ("held", "name", "size")

    def __init__(self) -> None:
        self.name = b""
        self.held: list[bytes] = []
        self.size = 0  # bytes held

    def take(self, payload: bytes) -> Iterator[Item]:
        """What `payload` says, if it is a frame of its own; else it is held."""
        if (chunk := _parse(payload)) is not None:
            yield from self._flush()
            yield from self._classify(chunk)
        elif chunks := _several(payload):
            yield from self._flush()
            yield from chain.from_iterable(map(self._classify, chunks))
        elif (chunk := _spliced(payload)) is not None:
            self._drop()
            yield Fault("splice", "a frame was cut and another completion began inside it")
            yield from self._classify(chunk)
        elif payload and (self.held or not _is_json(payload)):  # a lone null or number says nothing
            self.held.append(payload)
            self.size += len(payload)
            if self.size > MAX_EVENT:
                yield self._drop()

    def note(self, line: bytes) -> None:
        """A line of another field, of which only the name matters."""
        if line.startswith(b"event:"):
            self.name = line[6:].strip()

    def end(self) -> Iterator[Item]:
        """A blank line or the end of the body: what is held is whole now, or never will be."""
        if self.held:
            yield from self._flush()
        self.name = b""

    def _flush(self) -> Iterator[Item]:
        if not self.held:
            return
        chunk = _parse(b"\n".join(self.held)) if len(self.held) > 1 else None
        fault = self._drop()
        if chunk is None:
            yield fault
        else:
            yield from self._classify(chunk)

    def _drop(self) -> Fault:
        text = b"\n".join(self.held)[:200].decode(errors="replace")
        self.held.clear()
        self.size = 0
        return Fault("bad_frame", f"a frame is not a JSON object: {text}")

    def _classify(self, chunk: Json) -> Iterator[Item]:
        error = chunk.get("error") or _error_of_choice(chunk)
        if error is True:
            error = chunk
        if not error and (self.name == b"error" or ("choices" not in chunk and _is_refusal(chunk))):
            error = chunk
        if not error or chunk.get("choices"):
            yield chunk
        if error:
            yield _error(error)


def _lines(body: Iterable[bytes]) -> Iterator[bytes | Fault]:
    """Lines without their ends (LF, CRLF or CR) and without a byte order mark; a fault if one has no end."""
    parts: list[bytes] = []  # the line under way, joined only when its end has come
    waiting = total = count = 0
    for data in body:
        parts.append(data)
        waiting += len(data)
        total += len(data)
        if total > MAX_BODY:
            yield Fault("bad_frame", f"the answer is larger than {MAX_BODY >> 20} MiB")
            return
        if b"\n" in data or b"\r" in data:
            *lines, rest = _split(b"".join(parts))
            count += len(lines)
            if waiting <= MAX_EVENT or max(map(len, lines), default=0) <= MAX_EVENT:
                yield from lines
                waiting = len(rest)
            parts = [rest]
        if waiting > MAX_EVENT:
            yield Fault("bad_frame", f"a frame is larger than {MAX_EVENT >> 20} MiB")
            return
        if count > MAX_LINES:
            yield Fault("bad_frame", f"the answer has more than {MAX_LINES} lines")
            return
    *lines, rest = _split(b"".join(parts))  # a CR that waited for its LF may be among them
    yield from lines
    yield rest.rstrip(b"\r")


def _split(text: bytes) -> list[bytes]:
    """Lines without byte order marks: streams that were glued together have one in the middle."""
    lines = _unify(text).split(b"\n")
    return [_unmark(line) for line in lines] if _MARK in text else lines


def _unmark(line: bytes) -> bytes:
    while line.startswith(_MARK):
        line = line[len(_MARK) :]
    return line


def _unify(text: bytes) -> bytes:
    """LF for CRLF and CR; a CR at the very end stays, because its LF may be still to come."""
    if b"\r" not in text:
        return text
    text = text.replace(b"\r\n", b"\n")
    whole, last = (text[:-1], b"\r") if text.endswith(b"\r") else (text, b"")
    return whole.replace(b"\r", b"\n") + last


def _parse(payload: bytes) -> Json | None:
    """`payload` if it is one JSON object."""
    try:
        value: object = _JSON.decode(payload.decode())
    except (ValueError, RecursionError):
        return None
    return cast("Json", value) if isinstance(value, dict) else None


def _several(payload: bytes) -> list[Json]:
    """The chunks of a line that is nothing but whole ones, with `data:` once more before them or without."""
    try:
        text = payload.decode()
        place = _after(text, 0)
        chunks: list[Json] = []
        while place < len(text) and len(chunks) <= _MAX_GLUED:
            value, place = _JSON.raw_decode(text, place)
            if not isinstance(value, dict):
                return []
            chunks.append(cast("Json", value))
            place = _after(text, place)
    except (ValueError, RecursionError):
        return []
    return chunks if len(chunks) <= _MAX_GLUED else []


def _after(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return found.end() if found else place


def _is_json(payload: bytes) -> bool:
    try:
        _JSON.decode(payload.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _spliced(payload: bytes) -> Json | None:
    """The first chunk of another completion that begins somewhere inside the broken `payload`."""
    start = 0
    for _ in range(_MAX_SPLICES):
        start = payload.find(b"data:", start) + 5
        if start < 5:
            return None
        if (chunk := _parse(payload[start:])) is not None and "choices" in chunk:
            return chunk
    return None


def _bare(line: bytes) -> Iterator[Item]:
    """A line without a field name inside a stream means nothing, unless it is an error or a frame's rest."""
    if line.startswith(b"{") and (found := _parse(line)) is not None and (error := found.get("error")):
        yield _error(error)
    elif b'"choices"' in line:
        yield Fault("bad_frame", "a frame has lost its beginning")


def _error_of_choice(chunk: Json) -> object:
    return next(
        (error for item in sequence(chunk.get("choices")) if (error := mapping(item).get("error"))), None
    )


def _is_refusal(chunk: Json) -> bool:
    """Whether a frame without choices is an error without the wrapping: a code and a reason."""
    if chunk.get("errors") or (chunk.get("detail") and len(chunk) == 1):
        return True
    if not (chunk.get("message") or chunk.get("msg")):
        return False
    code = chunk.get("code")
    return chunk.get("object") == "error" or (isinstance(code, int | str) and code not in _FINE)


def _document(body: bytes) -> Item:
    """A body that is no event stream: a whole completion as one chunk, or a fault."""
    document = _parse(body)
    if document is None:
        return Fault("no_stream", _describe(body))
    choices = [mapping(choice) for choice in sequence(document.get("choices"))]
    if not choices:
        return _error(document.get("error") or document)
    return {**document, "choices": [{**choice, "delta": choice.get("message")} for choice in choices]}


def _describe(body: bytes) -> str:
    text = body[:200].decode(errors="replace").strip()
    if not text.startswith("<"):
        return f"the answer is no event stream: {text}" if text else "the answer is empty"
    title = _TITLE.search(body[:4096])
    named = f": {' '.join(title[1].decode(errors='replace').split())}" if title else ""
    return f"the answer is a web page, not an event stream (of a proxy or a login?){named}"


def _error(error: object) -> Fault:
    fields = mapping(error) or {"message": str(error)}
    return Fault("error", str(fields.get("message") or fields.get("msg") or fields)[:500], fields)
