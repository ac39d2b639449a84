"""What hosts, and what stands before them, do to a client: one row a fault, with how the run must end.

The names begin with the fault's number; rows without one are of the same kinds. The fast suite has the first
row of each number, and all in which half a call must not be run.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from typing import NamedTuple

from fakes import answer, chunk, fragment, stream
from hostile import Play

from glm_agent.types import Json

GOOD = Play(answer("All good."))
KEY = "key.0123456789abcdef"
SOON: Json = {"headers": 1.0, "event": 1.0, "idle": 1.0, "settle": 0.5, "total": 2.5}  # seconds
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Scenario(NamedTuple):
    """`says` is part of the one error, or of the reason why the first answer did not count.

    deadline  seconds that the run may take by its own limits, on a busy machine
    delay     least and most of the first pause, as it is told
    """

    name: str
    plays: tuple[Play, ...]
    code: int = 0
    requests: int = 1
    says: str = ""
    text: str = "All good."
    limits: Json = {}  # noqa: RUF012 - never mutated
    words: tuple[str, ...] = ("ask",)
    deadline: float = 3.0
    delay: tuple[float, float] | None = None


FIX = ("fix", "--allow-empty")
PATIENT = {"limits": SOON, "deadline": 4.0}


def accepted(name: str, play: Play | bytes, text: str = "hi", **more: object) -> Scenario:
    """The first answer counts."""
    return Scenario(name, (_play(play),), text=text)._replace(**more)


def mended(name: str, play: Play | bytes, says: str = "", **more: object) -> Scenario:
    """The first answer does not count, the second one is good."""
    return Scenario(name, (_play(play), GOOD), requests=2, says=says)._replace(**more)


def ends(name: str, play: Play | bytes, code: int, says: str, requests: int = 1, **more: object) -> Scenario:
    """However often it is asked, the run fails."""
    return Scenario(name, (_play(play),), code, requests, says, "")._replace(**more)


def _play(play: Play | bytes) -> Play:
    return play if isinstance(play, Play) else Play(play)


def status(code: int, error: Json | None = None, *headers: tuple[str, str]) -> Play:
    body = json.dumps({"error": {"message": "no", **(error or {})}}).encode()
    return Play(body, status=code, kind="application/json", headers=headers)


def encoded(body: bytes, how: str = "gzip", **more: object) -> Play:
    return Play(body, headers=(("Content-Encoding", how),))._replace(**more)


def page(text: bytes) -> Play:
    return Play(text, kind="text/html")


def frames(*items: object) -> bytes:
    """An event stream that does not end."""
    return stream(*items, done=False)


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


HALF = chunk({"role": "assistant", "content": "Hal"})
HI = chunk({"role": "assistant", "content": "hi"})
STOP = chunk(finish="stop")
WHOLE = stream(HI, STOP)
UMLAUT = frames(chunk({"content": "Grü"})).replace(b"\\u00fc", "ü".encode())
ARGUMENTS = json.dumps({"path": "OOPS", "content": "half"})
CALL = chunk({"tool_calls": [fragment(0, "call_1", name="write", arguments=ARGUMENTS)]})
PART = chunk({"tool_calls": [fragment(0, "call_1", name="write", arguments=ARGUMENTS[:-3])]})

NO_FINISH = "the stream ended without a finish_reason"
NO_JSON = "a frame is not a JSON object"
BROKE = "the stream broke off"
NOBODY = "cannot reach 127.0.0.1"
EMPTY = "the answer is empty"
A_PAGE = "the answer is a web page, not an event stream"


def wrong_types() -> list[object]:
    """Frames in which nothing is what it should be, and no part of an answer is lost."""
    strange: list[object] = [None, 5, "x", [], {}, True]
    deltas = [{"choices": [{"index": 0, "delta": value, "finish_reason": 7}]} for value in strange]
    calls = [chunk({"tool_calls": value}) for value in (None, 5, "x", [], [None])]
    return [42, None, [], {}, *deltas, *calls, *({"choices": value} for value in strange), chunk(usage=[5])]


STATUSES = [
    ends("F7-400", status(400), 1, "no (HTTP 400); the provider refused the request as it stands"),
    ends("F5-401", status(401), 41, "to this provider (it is in GLM_AGENT_API_KEY)"),
    ends("F6-403", status(403), 41, "no (HTTP 403); check the key"),
    ends("F6-404-model", status(404, {"code": "1211", "message": "Unknown Model"}), 2, "asked for glm-4.7"),
    ends("F8-413", status(413), 55, "no longer fits the model's window"),
    ends("F8-1261", status(400, {"code": "1261"}), 55, "no longer fits the model's window"),
    ends("F7-418", status(418), 1, "the provider refused the request as it stands"),
    ends("F7-422", status(422), 1, "the provider refused the request as it stands"),
    ends("x-should-retry", status(400, None, ("x-should-retry", "true")), 1, "HTTP 400"),
    *(mended(f"F15-{code}", status(code), "no") for code in (408, 429, 500)),
    *(mended(f"F15-{code}", status(code), "no") for code in (409, 425, 502, 503, 504, 529)),
    Scenario("F15-500-twice", (status(500), status(500), GOOD), requests=3, says="no"),
    mended("F9-seconds", status(429, None, ("Retry-After", "1")), "no", delay=(1, 1)),
    mended("F10-milliseconds", status(429, None, ("Retry-After-Ms", "300")), "no", delay=(0.3, 0.3)),
    mended(
        "F10-date",
        status(
            429,
            None,
            ("Retry-After", "Wed, 21 Oct 2026 07:28:02 GMT"),
            ("Date", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ),
        "no",
        delay=(2, 2),
    ),
    mended("F9-garbage", status(429, None, ("Retry-After", "soon")), "no", delay=(1, 5)),
    ends("F11-3600", status(429, None, ("Retry-After", "3600")), 75, "asks to wait 3600 s"),
    ends("F12-429-for-ever", status(429), 75, "(HTTP 429, 8 tries)", 8),
    ends("F16-503-for-ever", status(503), 75, "(HTTP 503, 8 tries)", 8),
    *(
        ends(f"F16-{code}-for-ever", status(code), 75, f"(HTTP {code}, 8 tries)", 8)
        for code in (502, 504, 529)
    ),
    ends("F13-1113", status(429, {"code": "1113"}), 41, "recharge the account"),
    mended("F14-1302", status(429, {"code": "1302"}), "no", delay=(1, 3)),
    mended("F14-1305", status(429, {"code": "1305"}), "no", delay=(15, 30)),
    ends("F41-307", Play(status=307, headers=(("Location", "/v1/elsewhere"),)), 1, "redirects elsewhere"),
    ends("F41-302", Play(status=302, headers=(("Location", "http://["),)), 1, "redirects elsewhere"),
    ends(
        "F41-loop",
        Play(status=308, headers=(("Location", "/v1/chat/completions"),)),
        1,
        "redirects",
    ),
    ends("F41-nowhere", Play(status=302), 1, "the host answered with status 302"),
    ends("a-refusal-that-is-cut", status(429, {"code": "1113"})._replace(end="cut"), 41, "recharge"),
    ends(
        "a-refusal-that-hangs",
        Play(b'{"error":{"code":"1113"', status=429, end="hang"),
        41,
        "recharge",
        deadline=5.0,
    ),
    ends(
        "a-refusal-that-drips",
        Play(b'{"error":{"code":"1113"', status=429, forever=(0.2, b" ")),
        41,
        "recharge",
        deadline=5.0,
    ),
    ends("a-refusal-without-end", Play([b"no " * 9, *[b"x" * 2**20] * 90], status=418), 1, "no no no"),
    ends("a-refusal-that-is-no-text", Play(noise(9999), status=418), 1, "answered with status 418"),
]

BEFORE_THE_BODY = [
    mended("F17-once", page(b"<html><title>Sign in</title>"), A_PAGE),
    ends("F17-for-ever", page(b"<!doctype html><title>Sign in</title>"), 75, "a login?): Sign in", 3),
    ends("F18-json", Play(b'{"error":{"code":"1214","message":"messages"}}'), 1, "messages (code 1214)"),
    mended("F18-flat", Play(b'{"code":500,"msg":"later","success":false}'), "later"),
    mended("F18-no-json", Play(b'{"choices":', kind="application/json"), "the answer is no event stream"),
    ends("F19-empty", b"", 75, EMPTY, 3),
    ends("F19-204", Play(status=204), 75, EMPTY, 3),
    ends("F19-done", b"data: [DONE]\n\n", 75, NO_FINISH, 3),
    accepted(
        "F20-json",
        Play(
            b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}', kind="text/json"
        ),
    ),
    mended("raw-close", Play(raw=b""), NOBODY),
    mended("raw-reset", Play(raw=b"", end="reset"), NOBODY),
    mended("raw-garbage", Play(raw=b"\x16\x03\x01 SSH-2.0\r\n\r\n"), NOBODY),
    mended("raw-http-0.9", Play(WHOLE, raw=b""), NOBODY),
    accepted("raw-http-1.0", Play(WHOLE, raw=b"HTTP/1.0 200 OK\r\n\r\n")),
    accepted("raw-103", Play(WHOLE, raw=b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SSE)),
    mended("raw-101", Play(WHOLE, raw=b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" + SSE), NOBODY),
    mended("raw-length-twice", Play(WHOLE, raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + SSE[17:]), ""),
    mended("headers-200k", Play(WHOLE, headers=(("X", "x" * 200_000),)), NOBODY),
    mended("headers-without-end", Play(raw=b"HTTP/1.1 200 OK\r\n", forever=(b"X: y\r\n",)), NOBODY),
    accepted("headers-odd", Play(WHOLE, kind="text/html", headers=(("X", "\xff\x01"),) * 99)),
    mended("F29-stall", Play(raw=b"", end="hang"), "no answer came within 1 s", **PATIENT),
    ends(
        "F29-for-ever",
        Play(raw=b"", end="hang"),
        55,
        "stopped after 1 s",
        words=("ask", "--max-wall-time", "1"),
        deadline=1.5,
    ),
    ends(
        "F29-every-time",
        Play(raw=b"", end="hang"),
        75,
        "no answer came within 0.3 s (8 tries)",
        8,
        limits={"headers": 0.3},
    ),
    mended("F32-slow-headers", Play(raw=SSE[:-2], forever=(0.2, b"X: y\r\n")), "no answer came", **PATIENT),
]

ENDINGS = [
    mended("F21-cut-between-events", Play(frames(HALF, HALF), end="cut"), BROKE),
    mended("F22-cut-in-an-event", Play(frames(HALF, HALF)[:-30], end="cut"), BROKE),
    mended("F23-cut-in-a-letter", Play(UMLAUT[: UMLAUT.index(b"\xbc")], end="cut"), BROKE),
    mended(
        "F22-short-length",
        Play(frames(HALF), raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"),
        BROKE,
    ),
    mended("long-body", Play(WHOLE, raw=b"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n"), NO_JSON),
    mended("F24-eof-between-events", Play(frames(HALF), end="eof"), NO_FINISH),
    mended("F24-eof-in-an-event", Play(frames(HALF, HALF)[:-30], end="eof"), NO_JSON),
    mended("F25-reset", Play(frames(HALF), end="reset"), BROKE),
    ends("F26-every-one-is-cut", Play(frames(HALF), end="cut"), 75, "(8 tries)", 8),
    ends("F26-every-one-ends-early", Play(frames(HALF), end="eof"), 75, "3 answers in a row", 3),
    mended("F27-cut-in-a-call", Play(frames(PART), end="cut"), BROKE, words=FIX),
    mended("F27-cut-after-a-call", Play(frames(CALL), end="cut"), BROKE, words=FIX),
    mended("F27-eof-in-a-call", Play(frames(PART), end="eof"), NO_FINISH, words=FIX),
    mended("F27-eof-after-a-call", Play(frames(CALL), end="eof"), NO_FINISH, words=FIX),
    mended("F27-done-after-a-call", stream(CALL), NO_FINISH, words=FIX),
    mended("F27-call-after-the-finish", frames(STOP, CALL), NO_FINISH, words=FIX),
    mended("F28-length", stream(PART, chunk(finish="length")), "the reply was cut", words=FIX),
    mended("F28-length-whole-call", stream(CALL, chunk(finish="length")), "the reply was cut", words=FIX),
    mended("unknown-finish", stream(CALL, chunk(finish="aborted")), "finish_reason aborted", words=FIX),
    mended("network-error", stream(CALL, chunk(finish="network_error")), "network_error", words=FIX),
    mended("F30-stall", Play(frames(HALF, PART), end="hang"), "no event for 1 s", words=FIX, **PATIENT),
    mended("F30-stall-after-headers", Play(end="hang"), "no event came within 1 s", **PATIENT),
    mended("F31-comments", Play(forever=(0.1, b": wait\n\n")), "no event came within 1 s", **PATIENT),
    mended(
        "F31-comments-later",
        Play(frames(HALF), forever=(0.1, b": wait\n\n")),
        "no event for 1 s",
        **PATIENT,
    ),
    mended(
        "F31-pings",
        Play(frames(HALF), forever=(0.1, frames({"type": "ping"}, {"choices": []}, {}))),
        "no event for 1 s",
        **PATIENT,
    ),
    mended("F32-drip", Play(frames(HALF), forever=(0.1, b"d")), "no event for 1 s", **PATIENT),
    mended("F32-without-end", Play(forever=(0.05, frames(HALF))), "not whole after 2.5 s", **PATIENT),
    mended("F32-flood", Play(forever=(frames(HALF) * 999,)), "not whole after 2.5 s", **PATIENT),
    accepted("F37-no-done", frames(HI, STOP)),
    accepted("F37-no-done-eof", Play(frames(HI, STOP), end="eof")),
    accepted("F38-hang-after-done", Play(WHOLE, end="hang"), deadline=1.0),
    accepted(
        "F38-hang-after-finish", Play(frames(HI, STOP), end="hang"), limits={"settle": 0.3}, deadline=1.3
    ),
    mended(
        "a-null-finish-then-silence",
        Play(frames(chunk({"content": "Hal"}, "null")), end="hang"),
        "no event for 1 s",
        **PATIENT,
    ),
]

FRAMES = [
    mended("F33-error-first", stream({"error": {"code": "1302", "message": "full"}}), "full"),
    mended("F33-error-mid", stream(HI, CALL, {"error": {"code": 500, "message": "oh"}}), "oh", words=FIX),
    mended("F33-error-after-finish", stream(CALL, STOP, {"error": "oh"}), "oh", words=FIX),
    ends("F33-permanent", stream(HI, {"error": {"code": 1113, "message": "poor"}}, STOP), 41, "recharge"),
    mended("F33-flat", stream(HI, {"code": "1302", "message": "full"}), "full"),
    mended("F34-event", b"event: error\n" + frames({"message": "oh"}), "oh"),
    mended("F34-event-mid", frames(HI) + b"event: error\n" + stream({"message": "oh"}, STOP), "oh"),
    mended("F34-bare", frames(HI) + b'{"error":"oh"}\n\n' + stream(STOP), "oh"),
    accepted("error-null", stream({**HI, "error": None}, {**STOP, "error": {}})),
    mended("F35-json", stream(HI, '{"choices":[{"delta":{"content":"x', STOP), NO_JSON),
    mended("F35-utf8", WHOLE.replace(b"hi", b"h\xff"), NO_JSON),
    mended("F35-page-in-a-frame", stream(HI, "<html>502</html>", STOP), NO_JSON),
    mended("F35-frame-without-head", frames(HI) + b'}],"choices":[{"delta":{}}]}\n' + WHOLE, "beginning"),
    mended("F35-first-frame-without-head", b"\0" + WHOLE, "a frame has lost its beginning"),
    mended("F35-deep", b'data: {"a":' + b"[" * 99_999 + b"\n\n" + WHOLE, NO_JSON),
    mended("F35-digits", b'data: {"created":' + b"9" * 9999 + b"}\n\n" + WHOLE, NO_JSON),
    accepted("F36-types", stream(*wrong_types(), HI, *wrong_types(), STOP)),
    ends("F36-content", stream(chunk({"content": 5}), STOP), 75, "the reply is empty", 3),
    accepted(
        "usage-odd", stream(HI, chunk(finish="stop", usage={"prompt_tokens": float("nan"), "cost": "x"}))
    ),
    accepted("mark", b"\xef\xbb\xbf" + WHOLE),
    accepted("mark-in-the-middle", frames(HI) + b"\xef\xbb\xbf" + frames(STOP)),
    accepted("crlf", WHOLE.replace(b"\n", b"\r\n")),
    accepted("cr", WHOLE.replace(b"\n", b"\r")),
    accepted(
        "mixed-ends", frames(HI).replace(b"\n\n", b"\r\n\n") + frames(STOP).replace(b"\n\n", b"\n\r\n\r")
    ),
    accepted("no-space", WHOLE.replace(b"data: ", b"data:")),
    accepted("tab", WHOLE.replace(b"data: ", b"data:\t")),
    accepted("frames-of-one-line", WHOLE.replace(b"\n\n", b"") + b"\n\n"),
    accepted("not-escaped", frames(HI).replace(b'"hi"', b'"h\ti"') + frames(STOP), "h\ti"),
    accepted("data-twice", WHOLE.replace(b"data: ", b"data: data: ")),
    accepted("done-odd", Play(frames(HI, STOP) + b'data:"[done]" \n\n', end="hang"), deadline=1.0),
    accepted("comments", b": a\n\n" + WHOLE.replace(b"data", b": b\nid: 5\nretry: 9\nevent: message\ndata")),
    accepted("byte-by-byte", Play([WHOLE[place : place + 1] for place in range(len(WHOLE))])),
    accepted("separators", WHOLE.replace(b"hi", "a\u2028b\x85c".encode()), "a\u2028b\x85c"),
    accepted(
        "halves", stream(chunk({"content": "\ud83d"}), chunk({"content": "\ude00"}), STOP), "\U0001f600"
    ),
    accepted("pings", stream({"type": "ping"}, HI, {"object": "ping"}, {"choices": []}, STOP)),
    accepted("finish-words", stream(chunk({"content": "hi"}, "null"), chunk({}, ""), chunk({}, "STOP"))),
    ends("finish-null", stream(chunk({"content": "hi"}, "null")), 75, NO_FINISH, 3),
    accepted("other-choices", stream(HI, {"choices": [{"index": 1, "delta": {"content": "x"}}]}, STOP)),
    accepted("message", stream({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})),
    mended(
        "splice",
        stream(
            *({**HI, "id": "a", "created": 1}, {**CALL, "id": "a", "created": 1}),
            *({**HI, "id": "b", "created": 90}, {**STOP, "id": "b", "created": 90}),
        ),
        "another completion began",
        words=FIX,
    ),
    accepted("ids-of-its-own", stream(*({**HI, "id": letter} for letter in "abcd"), STOP), "hi" * 4),
    mended("a-call-without-a-call", stream(HI, chunk(finish="function_call")), "no call came", words=FIX),
]

ENCODINGS = [
    accepted("gzip", encoded(gzip.compress(WHOLE))),
    accepted("gzip-twice", encoded(gzip.compress(gzip.compress(WHOLE)), "gzip, gzip")),
    accepted("deflate", encoded(zlib.compress(WHOLE), "deflate")),
    accepted("deflate-raw", encoded(zlib.compress(WHOLE)[2:-4], "deflate")),
    mended("F39-truncated", encoded(gzip.compress(WHOLE + noise(99))[:90]), ""),
    mended("F39-lie", encoded(WHOLE), BROKE),
    mended("F39-undeclared", Play(gzip.compress(WHOLE)), "the answer is no event stream"),
    mended("F39-unknown", encoded(b"\x1b\x12\x00\xf8" * 9, "br"), "the answer is no event stream"),
    ends("F39-refusal-that-lies", encoded(b"no", status=418), 1, "the host answered with status 418"),
]


_MEBIBYTE = b"x" * 2**20


def _bomb() -> bytes:
    return gzip.compress(b"no " * (100 << 20), 1)


# Answers that are, or become, far too large; made when they are needed.
HEAVY: dict[str, Callable[[], Scenario]] = {
    "F39-bomb-400": lambda: ends("F39-bomb-400", encoded(_bomb(), status=400), 1, "no no no"),
    "F39-bomb-500": lambda: mended("F39-bomb-500", encoded(_bomb(), status=500), "no no no"),
    "F39-bomb-200": lambda: mended("F39-bomb-200", encoded(_bomb()), "a frame is larger than 8 MiB"),
    "F39-bomb-302": lambda: mended("F39-bomb-302", encoded(_bomb(), status=503), "no no no"),
    "F39-bomb-of-comments": lambda: mended(
        "F39-bomb-of-comments",
        encoded(gzip.compress((b": " + _MEBIBYTE + b"\n") * 100, 1)),
        "larger than 64 MiB",
        deadline=20.0,
    ),
    "F39-bomb-of-frames": lambda: mended(
        "F39-bomb-of-frames",
        encoded(gzip.compress(b"data: {}\n\n" * (30 << 20), 1)),
        "has more than 2097152 lines",
        deadline=40.0,
    ),
    "F39-bomb-of-lines": lambda: mended(
        "F39-bomb-of-lines",
        encoded(gzip.compress((b"x" * 30 + b"\n") * (2 << 20), 1)),
        "the answer is no event stream: xxx",
        deadline=20.0,
    ),
    "F40-frame": lambda: mended(
        "F40-frame", Play([b"data: ", *[_MEBIBYTE] * 100]), "a frame is larger than 8 MiB"
    ),
    "F40-line": lambda: mended("F40-line", Play([_MEBIBYTE] * 100), "a frame is larger than 8 MiB"),
    "F40-frames": lambda: mended(
        "F40-frames", Play([frames(chunk({"content": "x" * 2**20}))] * 70), "64 MiB", deadline=20.0
    ),
}


LIGHT = [*STATUSES, *BEFORE_THE_BODY, *ENDINGS, *FRAMES, *ENCODINGS]
NUMBERED = {row.name.partition("-")[0]: row.name for row in reversed(LIGHT) if row.name.startswith("F")}
FAST = set(NUMBERED.values())
