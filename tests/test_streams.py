"""Recorded and constructed answers of real hosts, each with what it says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_agent.model import Turn, read_turn
from glm_agent.replay import Server
from glm_agent.shape import mapping, sequence
from glm_agent.sse import read
from glm_agent.transport import Transport
from glm_agent.types import Assistant, Delta, Json, TextDelta, ThoughtDelta, ToolCall

FOLDER = Path(__file__).parent / "streams"
RECORDINGS = sorted(path for path in FOLDER.iterdir() if path.suffix in (".sse", ".json", ".html"))
FEW, MANY = settings().max_examples // 5, 3 * settings().max_examples
SPLICES = {"60", "61", "62", "63", "65", "66"}


class Decoded(NamedTuple):
    deltas: list[Delta]
    turn: Turn


def decode(pieces: Iterable[bytes]) -> Decoded:
    deltas: list[Delta] = []
    steps = read_turn(read(pieces))
    while True:
        try:
            deltas.append(next(steps))
        except StopIteration as end:
            return Decoded(deltas, cast("Turn", end.value))


def expected(path: Path) -> Json:
    return mapping(json.loads((FOLDER / "expected" / f"{path.name}.json").read_text("utf-8")))


def number(path: Path) -> str:
    return path.name.partition("-")[0]


@pytest.mark.parametrize("path", RECORDINGS, ids=number)
def test_an_answer_says_what_it_said(path: Path) -> None:
    right = expected(path)
    message, faults, done = (turn := decode([path.read_bytes()]).turn).message, turn.faults, turn.done
    assert message == Assistant(
        text=right["content"],
        thought=message.thought if right["reasoning"] == "" else right["reasoning"],
        calls=[ToolCall(call["id"] or "", call["name"], call["raw"]) for call in right["calls"]],
        finish=right["finish"] or "",
        usage=right["usage"] or {},
    )
    assert not message.thought or message.thought == right["reasoning"]
    assert done == (right["done"] or False)
    errors = [fault.error for fault in faults if fault.kind == "error"]
    if path.suffix == ".html":
        assert [fault.kind for fault in faults] == ["no_stream"]
    else:
        assert errors == [inner(error) for error in sequence(right["errors"])]
    assert ("splice" in [fault.kind for fault in faults]) == (number(path) in SPLICES)


def inner(error: object) -> Json:
    """A body's error is wrapped in some expectations, a frame's in none."""
    found = mapping(error).get("error")
    if isinstance(found, str) or (found and not mapping(found)):
        return {"message": found}
    return mapping(found) or mapping(error)


@pytest.mark.parametrize("path", RECORDINGS, ids=number)
def test_byte_by_byte_it_says_the_same(path: Path) -> None:
    body = path.read_bytes()
    assert decode([bytes([byte]) for byte in body]) == decode([body])


@settings(max_examples=FEW)
@given(st.data())
@pytest.mark.parametrize("path", RECORDINGS, ids=number)
def test_split_anywhere_it_says_the_same(path: Path, data: st.DataObject) -> None:
    body = path.read_bytes()
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    places = [0, *sorted(cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(places)]
    assert decode(pieces) == decode([body])


LINES = sorted({line for path in RECORDINGS for line in path.read_bytes().splitlines() if len(line) < 999})
ODD = [
    b"",
    b"data:",
    b": wait",
    b"event: error",
    b"data: [DONE",
    b'data: {"choices"',
    b'"x"}',
    b"\xef\xbb\xbf",
]
ENDS = [b"\n", b"\n\n", b"\r\n", b"\r", b""]


@settings(max_examples=MANY)
@given(st.data())
def test_lines_of_all_hosts_in_any_order_say_the_same_split_anywhere(data: st.DataObject) -> None:
    line = st.tuples(st.sampled_from([*LINES, *ODD]), st.sampled_from(ENDS))
    body = b"".join(part for pair in data.draw(st.lists(line, max_size=8)) for part in pair)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    pieces = [body[start:end] for start, end in pairwise([0, *sorted(cuts), len(body)])]
    assert decode(pieces) == decode([body])


@pytest.mark.parametrize("path", [path for path in RECORDINGS if path.suffix == ".sse"], ids=number)
def test_with_other_line_ends_it_says_the_same(path: Path) -> None:
    body = path.read_bytes()
    plain = decode([body])
    assert decode([body.replace(b"\n", b"\r\n")]) == plain
    assert decode([body.replace(b"\n", b"\r")]) == plain
    assert decode([b"\xef\xbb\xbf" + body]) == plain
    if number(path) not in SPLICES:
        assert decode([body.replace(b"\n\n", b"\n")]) == plain


@pytest.mark.parametrize("path", [path for path in RECORDINGS if number(path) not in SPLICES], ids=number)
def test_the_deltas_are_the_message(path: Path) -> None:
    deltas, turn = decode([path.read_bytes()])
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == turn.message.text
    thoughts = "".join(delta.text for delta in deltas if isinstance(delta, ThoughtDelta))
    assert thoughts == (turn.message.thought or "")


def test_over_http_it_says_the_same() -> None:
    bodies = [path.read_bytes() for path in RECORDINGS]
    with Server(bodies) as server, closing(Transport(server.url, None, {})) as transport:
        for body in bodies:
            assert decode(transport.ask({"messages": []})()) == decode([body])


def test_all_recordings_are_here() -> None:
    assert len(RECORDINGS) >= 66
