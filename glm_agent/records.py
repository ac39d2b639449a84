"""Lines of a journal: one JSON object each, which carries a checksum of the rest of the line."""

from __future__ import annotations

import json
import zlib
from typing import NamedTuple

from .shape import mapping
from .types import Json

VERSION = 1  # of the first line, `{"journal": 1, …}`; journals of before have none, and no checksums

_MARK = b', "crc": "'
_SEALED = len(_MARK) + 8 + len(b'"}')


class Found(NamedTuple):
    """`damaged` counts lines that are none; the whole ones end at byte `end`."""

    records: list[Json]
    version: int
    damaged: int
    end: int


def seal(data: bytes) -> bytes:
    """The line of an object that is not empty, given as its JSON text in ASCII; that may be large."""
    return b"".join((memoryview(data)[:-1], _MARK, b'%08x"}\n' % zlib.crc32(data)))


def read(data: bytes) -> Found:
    """What `data`, any bytes, holds of a journal; a last line that does not end was never acted upon."""
    lines = [line.strip(b"\0") for line in data.split(b"\n")]
    end = data.rfind(b"\n") + 1
    records: list[Json] = []
    may_be_bare = "type" in (_plain(lines[0]) or {})
    for line in lines[:-1]:
        record = _opened(line)
        if record is not None:
            may_be_bare = False
        elif may_be_bare:
            record = _plain(line)
        if record is not None:
            records.append(record)
    numbers = (number for record in records if isinstance(number := record.get("journal"), int))
    return Found(records, max(numbers, default=0), len(lines) - 1 - len(records), end)


def _opened(line: bytes) -> Json | None:
    """The record of a line whose checksum is right, without that; None for any other."""
    text = line[:-_SEALED] + b"}"
    if line[-_SEALED:] != _MARK + b'%08x"}' % zlib.crc32(text):
        return None
    return _plain(text)


def _plain(line: bytes) -> Json | None:
    try:
        return mapping(json.loads(line)) or None
    except (ValueError, RecursionError):
        return None
