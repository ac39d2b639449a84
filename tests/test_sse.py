from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import pytest
from fakes import chunk, stream
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.shape import mapping
from glm_agent.sse import DONE, MAX_BODY, MAX_EVENT, Fault, Item, read

A = chunk({"content": "Grüß\u2028dich"})
B = chunk({"content": "B"}, "stop")
A_LINE, B_LINE = (b"data: " + json.dumps(each, ensure_ascii=False).encode() for each in (A, B))

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in pairwise(places)]


SEVERAL_LINES = (
    json.dumps(A, indent=1, ensure_ascii=False)
    .replace("{\n", "data: {\n", 1)
    .replace("\n", "\ndata: ")
    .encode()
    + b"\n\n"
    + B_LINE
    + b"\n\ndata: [DONE]\n\n"
)

WHOLE = {
    "plain": A_LINE + b"\n\n" + B_LINE + b"\n\ndata: [DONE]\n\n",
    "CRLF": A_LINE + b"\r\n\r\n" + B_LINE + b"\r\n\r\ndata: [DONE]\r\n\r\n",
    "CR": A_LINE + b"\r\r" + B_LINE + b"\r\rdata: [DONE]\r\r",
    "single newlines": A_LINE + b"\n" + B_LINE + b"\ndata: [DONE]\n",
    "single CRs and no end": A_LINE + b"\r" + B_LINE + b"\rdata: [DONE]",
    "a byte order mark": b"\xef\xbb\xbf" + A_LINE + b"\n\n" + B_LINE + b"\n\ndata: [DONE]\n\n",
    "no space": A_LINE.replace(b"data: ", b"data:") + b"\n\n" + B_LINE + b"\n\ndata:[DONE]\n\n",
    "more spaces": A_LINE.replace(b"data: ", b"data:   ") + b"\n\n" + B_LINE + b"  \n\ndata: [DONE] \n\n",
    "comments and fields": b": hello\n\nid: 7\nretry: 10\nevent: message\n"
    + A_LINE
    + b"\n\n:\n\n"
    + B_LINE
    + b"\n\nevent: ping\n\ndata: [DONE]\n\n",
    "other words for the end": A_LINE + b"\n\n" + B_LINE + b'\n\ndata: data:\t"[done]"\t\n\n',
    "tabs": A_LINE.replace(b" ", b"\t", 1) + b"\n\n" + B_LINE + b"\t\n\ndata:\t[DONE]\n\n",
    "data twice": b"data: " + A_LINE + b"\n\ndata:data:" + B_LINE + b"\n\ndata: data: [DONE]\n\n",
    "marks in the middle": A_LINE + b"\n\n\xef\xbb\xbf\xef\xbb\xbf" + B_LINE + b"\n\ndata: [DONE]\n\n",
    "no line end between frames": A_LINE + B_LINE + b"data: [DONE]\n\ndata: [DONE]",
    "nothing between frames": A_LINE + b" " + B_LINE[6:] + b"[DONE]\n\ndata: [DONE]",
    "empty data": b"data:\n\n" + A_LINE + b"\n\ndata: \n\n" + B_LINE + b"\n\ndata: [DONE]\n\n",
    "lone scalars and lists": b"data: 42\n\n"
    + A_LINE
    + b'\n\ndata: null\ndata: "x"\n'
    + B_LINE
    + b"\n\ndata: []\n\ndata: [DONE]\n\n",
    "a frame on several lines": SEVERAL_LINES,
    "a frame on several lines with CRLF": SEVERAL_LINES.replace(b"\n", b"\r\n"),
    "bytes after the end": A_LINE
    + b"\n\n"
    + B_LINE
    + b'\n\ndata: [DONE]\n\n{"error":{"code":"1"}}\n'
    + A_LINE,
    "lines that mean nothing": A_LINE + b"\n\nwhat is this\n{}\n\n" + B_LINE + b"\n\ndata: [DONE]\n\n",
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_stream_gives_its_chunks_in_one_read_and_byte_by_byte(name: str) -> None:
    body = WHOLE[name]
    assert list(read([body])) == [A, B, DONE]
    assert list(read(bytes([byte]) for byte in body)) == [A, B, DONE]


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(0, 2000), max_size=8))
def test_any_split_of_the_same_bytes_gives_the_same(name: str, cuts: list[int]) -> None:
    assert list(read(pieces(WHOLE[name], cuts))) == [A, B, DONE]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_give_chunks_and_faults_however_split(noise: bytes, cuts: list[int]) -> None:
    for body in (noise, A_LINE + b"\n\n" + noise + b"\n\n" + B_LINE, b"data: " + noise):
        found = list(read([body]))
        assert all(item is DONE or isinstance(item, dict | Fault) for item in found)
        assert list(read(pieces(body, cuts))) == found


@given(st.text("\r\nd{}:\ufeff", max_size=30), st.lists(st.integers(0, 60), max_size=5))
def test_line_ends_are_found_however_split(text: str, cuts: list[int]) -> None:
    body = text.replace("d", "data: 0").encode()
    assert list(read(pieces(body, cuts))) == list(read([body]))


@given(JSON_VALUES)
def test_any_json_value_can_be_a_frame_or_a_body(value: object) -> None:
    text = json.dumps(value)
    framed = list(read([f"data: {text}\n\n".encode()]))
    assert all(isinstance(item, dict | Fault) for item in framed)
    if isinstance(value, dict) and not mapping(cast("object", value)).get("error"):
        assert json.dumps(framed) == json.dumps([value])
    assert len(list(read([text.encode()]))) == 1


def bad(text: str) -> Fault:
    return Fault("bad_frame", f"a frame is not a JSON object: {text}")


NOT_AN_ANSWER = "the answer is no event stream: "
EXPIRED = {"code": "1305", "message": "busy"}
SPLICE = Fault("splice", "a frame was cut and another completion began inside it")

A_AND_A_HALF = bad((A_LINE[6:] + B_LINE[6:-1])[:200].decode())

BROKEN: dict[str, tuple[bytes, list[Item]]] = {
    "empty": (b"", [Fault("no_stream", "the answer is empty")]),
    "blank": (b"\r\n\n", [Fault("no_stream", "the answer is empty")]),
    "only a mark": (b"\xef\xbb\xbf", [Fault("no_stream", "the answer is empty")]),
    "comments only": (b": one\n\n: two\n\n", [Fault("no_stream", "the answer is empty")]),
    "HTML": (
        b"<html>\n<p>Log in",
        [Fault("no_stream", "the answer is a web page, not an event stream (of a proxy or a login?)")],
    ),
    "a titled page": (
        b"\n<!doctype html><title>Sign\nin </title>",
        [
            Fault(
                "no_stream", "the answer is a web page, not an event stream (of a proxy or a login?): Sign in"
            )
        ],
    ),
    "a frame without its head": (
        A_LINE + b'\n\nta: {"choices":[]}\n\n' + B_LINE,
        [A, Fault("bad_frame", "a frame has lost its beginning"), B],
    ),
    "a first frame without its head": (
        b"\0" + A_LINE + b"\n\n" + B_LINE,
        [Fault("bad_frame", "a frame has lost its beginning"), B],
    ),
    "an error before the first frame": (
        b'{"error":{"code":"1305","message":"busy"}}\n' + B_LINE,
        [Fault("error", "busy", EXPIRED), B],
    ),
    "a flat error frame": (
        b'data: {"code":"1305","message":"busy"}\n\n' + B_LINE,
        [Fault("error", "busy", EXPIRED), B],
    ),
    "a frame that is fine": (
        b'data: {"code":200,"msg":"ok"}\n\n' + B_LINE,
        [{"code": 200, "msg": "ok"}, B],
    ),
    "a scalar": (b"42", [Fault("no_stream", NOT_AN_ANSWER + "42")]),
    "only the end": (b"data: [DONE]\n\n", [DONE]),
    "a cut last line": (A_LINE + b'\n\ndata: {"choi', [A, bad('{"choi')]),
    "a cut line, then more": (b'data: {"choi\n\n' + B_LINE, [bad('{"choi'), B]),
    "a cut line without a blank one": (b'data: {"choi\n' + B_LINE, [bad('{"choi'), B]),
    "no UTF-8": (b'data: {"a":"\xff"}\n\n' + B_LINE, [bad('{"a":"\ufffd"}'), B]),
    "a cut line that speaks of data": (b'data: {"a":"data: {}\n\n' + B_LINE, [bad('{"a":"data: {}'), B]),
    "too deep": (b"data: " + b"[" * 200_000 + b"\n\n", [bad("[" * 200)]),
    "glued frames of which one is cut": (A_LINE + B_LINE[6:-1] + b"\n", [A_AND_A_HALF]),
    "too many glued frames": (b"data: " + b"{}" * 200, [bad("{}" * 100)]),
    "what is not escaped": (b'data: {"a":"\t\x01"}\ndata: {"a":"\ndata: "}', [{"a": "\t\1"}, {"a": "\n"}]),
    "a spliced frame": (b'data: {"id":"1","choices":[{"del' + B_LINE + b"\n\n", [SPLICE, B]),
    "a splice in text": (b'data: {"choices":[{"delta":{"content":"\\"data: {' + B_LINE, [SPLICE, B]),
    "an error frame": (
        b'data: {"error":{"code":"1305","message":"busy"}}\n\n',
        [Fault("error", "busy", EXPIRED)],
    ),
    "an error that is no more than said to be one": (
        b'data: {"error":true,"message":"busy"}',
        [Fault("error", "busy", {"error": True, "message": "busy"})],
    ),
    "an error of a choice": (
        b'data: {"choices":[{"finish_reason":"stop","error":{"message":"busy"}}]}',
        [
            {"choices": [{"finish_reason": "stop", "error": {"message": "busy"}}]},
            Fault("error", "busy", {"message": "busy"}),
        ],
    ),
    "an error of text": (b'data: {"error":"busy"}', [Fault("error", "busy", {"message": "busy"})]),
    "an error event": (
        b'event: error\ndata: {"code":"1305","message":"busy"}\n\n' + B_LINE,
        [Fault("error", "busy", EXPIRED), B],
    ),
    "an error with a choice": (
        b"data: " + json.dumps({**B, "error": EXPIRED}).encode() + b"\n\n",
        [{**B, "error": EXPIRED}, Fault("error", "busy", EXPIRED)],
    ),
    "an error without a field": (
        A_LINE + b'\n\n{"error":{"code":"1305","message":"busy"}}\n\n',
        [A, Fault("error", "busy", EXPIRED)],
    ),
    "no error": (b'data: {"error":null,"choices":[]}', [{"error": None, "choices": []}]),
    "a JSON error": (b'{"error":{"code":"1305","message":"busy"}}', [Fault("error", "busy", EXPIRED)]),
    "a flat JSON error": (
        b'{\n"code": 500,\n"msg": "404 NOT_FOUND", "success": false}',
        [Fault("error", "404 NOT_FOUND", {"code": 500, "msg": "404 NOT_FOUND", "success": False})],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_stream_gives_its_faults_in_one_read_and_byte_by_byte(name: str) -> None:
    body, expected = BROKEN[name]
    assert list(read([body])) == expected
    if len(body) < 1000:
        assert list(read(bytes([byte]) for byte in body)) == expected


def test_a_whole_completion_as_the_body_is_one_chunk() -> None:
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "1", "choices": [choice], "usage": {"prompt_tokens": 1}}
    assert list(read([json.dumps(body, indent=2).encode()])) == [
        {**body, "choices": [{**choice, "delta": message}]}
    ]


def endless(piece: bytes) -> Iterator[bytes]:
    """A body that ends only if nobody reads on."""
    for _ in range(2 * MAX_BODY // len(piece)):
        yield piece
    pytest.fail("read to the end")


def test_a_frame_has_a_largest_size() -> None:
    (fault,) = read(endless(b"x" * (1 << 20)))
    assert fault == Fault("bad_frame", "a frame is larger than 8 MiB")
    assert list(read([b"data: " + b" " * MAX_EVENT + b"\n\n"])) == [fault]
    assert list(read([b'data: "' + b" " * (MAX_EVENT - 8) + b'"\n\n' + B_LINE])) == [B]


def test_an_answer_has_a_largest_size() -> None:
    *chunks, fault = read(endless(stream(chunk({"content": "x" * 900_000}), done=False)))
    assert fault == Fault("bad_frame", "the answer is larger than 64 MiB")
    assert len(chunks) == MAX_BODY // len(stream(chunk({"content": "x" * 900_000}), done=False))


def test_lines_that_never_become_a_frame_cost_linear_time() -> None:
    started = time.process_time()
    found = list(read(b"data: {not json\n" * 50_000 for _ in range(1)))
    assert found == [bad(("{not json\n" * 20)[:200])]
    assert time.process_time() - started < 2


def test_lines_that_never_become_a_frame_are_dropped_at_the_cap() -> None:
    line = b"data: {" + b"x" * (1 << 20) + b"\n"
    assert list(read([line] * 9)) == [bad("{" + "x" * 199), bad("{" + "x" * 199)]


def test_chunks_are_given_out_before_the_next_bytes_are_asked_for() -> None:
    asked: list[int] = []

    def body() -> Iterator[bytes]:
        for number, line in enumerate((A_LINE + b"\n\n", B_LINE + b"\n\n")):
            asked.append(number)
            yield line

    items = read(body())
    assert (next(items), asked) == (A, [0])
    assert (next(items), asked) == (B, [0, 1])
