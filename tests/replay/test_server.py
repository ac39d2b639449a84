"""The scripted server: what it says on the wire, its faults, its memory, that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.model import Turn, read_turn
from glm_agent.replay import Pace, Recording, Request, Server, read_recording, read_turns
from glm_agent.replay.script import reply
from glm_agent.sse import read
from glm_agent.types import Json

STREAMS = Path(__file__).parents[1] / "streams"
ASK: Json = {"model": "glm-4.7", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
HELLO: Json = {"content": "Hello, you."}
READS: Json = {
    "reasoning": "Read both.",
    "content": "Reading.",
    "tool_calls": [
        {"name": "read", "arguments": {"path": "ä.py"}},
        {"name": "read", "arguments": '{"path": "b', "id": "call_b"},
    ],
}


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes
    headers: http.client.HTTPMessage


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def post(server: Server, body: Json = ASK, path: str = "/v1/chat/completions") -> Answer:
    return fetch(server, "POST", path, json.dumps(body).encode())


def fetch(server: Server, method: str, path: str, body: bytes | None = None) -> Answer:
    connection = connect(server)
    try:
        connection.request(method, path, body, {"Authorization": "Bearer secret"} if body else {})
        response = connection.getresponse()
        kind = response.headers["Content-Type"]
        return Answer(response.status, kind, response.read(), response.headers)
    finally:
        connection.close()


def connect(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port(server), timeout=5)


def port(server: Server) -> int:
    return int(server.url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))


def decode(body: bytes) -> Turn:
    deltas = read_turn(read([body]))
    while True:
        try:
            next(deltas)
        except StopIteration as stop:
            return stop.value


def chunks(body: bytes) -> list[Json]:
    return [item for item in read([body]) if isinstance(item, dict)]


# Turns


def test_a_turn_is_sent_as_zai_sends_it() -> None:
    with Server([READS]) as server:
        answer = post(server)
    assert (answer.status, answer.content_type) == (200, "text/event-stream;charset=UTF-8")
    assert answer.body.endswith(b"\n\ndata: [DONE]\n\n")
    *opening, last = chunks(answer.body)
    choices = [chunk["choices"][0] for chunk in opening]
    call_id: str = choices[3]["delta"]["tool_calls"][0]["id"]
    first = {"name": "read", "arguments": '{"path": "ä.py"}'}
    second = {"name": "read", "arguments": '{"path": "b'}
    assert choices == [
        {"index": 0, "delta": {"role": "assistant", "reasoning_content": "Read"}},
        {"index": 0, "delta": {"role": "assistant", "reasoning_content": " both."}},
        {"index": 0, "delta": {"role": "assistant", "content": "Reading."}},
        {
            "index": 0,
            "delta": {"tool_calls": [{"id": call_id, "index": 0, "type": "function", "function": first}]},
        },
        {
            "index": 0,
            "delta": {"tool_calls": [{"id": "call_b", "index": 1, "type": "function", "function": second}]},
        },
    ]
    assert call_id.startswith("call_") and len(call_id) == 29
    end = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "tool_calls"}
    assert last["choices"] == [end]
    usage = last["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] > 0


text = st.text(max_size=40)
turns = st.fixed_dictionaries(
    {},
    optional={
        "reasoning": text,
        "content": text,
        "tool_calls": st.lists(
            st.fixed_dictionaries({"name": st.just("read"), "arguments": st.dictionaries(text, text)})
        ),
    },
)


@given(turn=turns, chunk=st.integers(0, 9), fragment=st.integers(0, 9))
def test_every_turn_decodes_to_itself_however_it_is_cut(turn: Json, chunk: int, fragment: int) -> None:
    answer = reply(turn, 1, ASK, Pace(chunk=chunk, fragment=fragment))
    decoded = decode(b"".join(answer.writes))
    message = decoded.message
    assert (decoded.faults, decoded.done) == ([], True)
    assert (message.thought or "", message.text) == (turn.get("reasoning", ""), turn.get("content", ""))
    calls: list[Json] = turn.get("tool_calls", [])
    assert [json.loads(call.arguments) for call in message.calls] == [call["arguments"] for call in calls]
    assert len({call.id for call in message.calls}) == len(calls)
    assert message.finish == ("tool_calls" if calls else "stop")
    assert not chunk or all(len(data) <= chunk for data in answer.writes)


def test_fragments_repeat_the_index_and_nothing_else() -> None:
    with Server([READS], pace=Pace(fragment=10)) as server:
        found = chunks(post(server).body)
    sent: list[Json] = [
        chunk["choices"][0]["delta"]["tool_calls"][0]
        for chunk in found
        if "tool_calls" in chunk["choices"][0]["delta"]
    ]
    assert sent[1] == {"index": 0, "function": {"arguments": 'ä.py"}'}}
    assert [call["function"]["arguments"] for call in sent] == ['{"path": "', 'ä.py"}', '{"path": "', "b"]


def test_without_stream_the_answer_is_one_completion() -> None:
    with Server([{**READS, "usage": {"total_tokens": 3}}]) as server:
        answer = post(server, {**ASK, "stream": False})
    body = json.loads(answer.body)
    message = body["choices"][0]["message"]
    assert answer.content_type == "application/json; charset=UTF-8"
    assert (message["reasoning_content"], message["content"]) == ("Read both.", "Reading.")
    assert [call["index"] for call in message["tool_calls"]] == [0, 1]
    assert (body["choices"][0]["finish_reason"], body["usage"]) == ("tool_calls", {"total_tokens": 3})


def test_after_its_end_the_script_repeats_its_last_turn_without_calls() -> None:
    with Server([HELLO, READS, {"fault": "status"}]) as server:
        texts = [decode(post(server).body).message.text for _ in range(5)]
    assert texts == ["Hello, you.", "Reading.", "", "Hello, you.", "Hello, you."]


@pytest.mark.parametrize(("script", "strict"), [([HELLO], True), ([READS], False)])
def test_after_its_end_a_strict_script_or_one_of_calls_only_is_a_400(
    script: list[Json], strict: bool
) -> None:
    with Server(script, strict=strict) as server:
        post(server)
        answer = post(server)
    message = "the script has 1 turns, and this is request 2"
    assert (answer.status, json.loads(answer.body)) == (400, {"error": {"code": "1210", "message": message}})


def test_a_turn_that_expects_what_the_request_does_not_say_is_a_400() -> None:
    def asks(content: str) -> Json:
        before = [{"role": "user", "content": "5 failed"}, {"role": "assistant", "content": "so"}]
        return {**ASK, "messages": [*before, {"role": "tool", "content": content}]}

    with Server([{**HELLO, "expect": "5 failed"}] * 2) as server:
        statuses = [post(server, asks("0 failed")).status, post(server, asks("of 9, 5 failed")).status]
    assert statuses == [400, 200]


# Recordings


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("08-zai-glm46-minimal-stop.sse", "text/event-stream;charset=UTF-8"),
        ("12-zai-401-no-token.json", "application/json; charset=UTF-8"),
        ("13-zai-502-gateway.html", "text/html"),
    ],
)
def test_a_recording_is_played_byte_for_byte(name: str, content_type: str, chunk: int) -> None:
    recording = read_recording(STREAMS / name, 401)
    with Server([recording], pace=Pace(chunk=chunk)) as server:
        answer = post(server)
    assert answer[:3] == (401, content_type, (STREAMS / name).read_bytes())


def test_paths_and_bytes_are_recordings_too() -> None:
    path = STREAMS / "08-zai-glm46-minimal-stop.sse"
    with Server([path, path.read_bytes(), Recording(b"", 503)]) as server:
        answers = [post(server), post(server), post(server)]
    assert answers[0][:3] == answers[1][:3]
    assert (answers[2].status, answers[2].body) == (503, b"")


# Faults and pace


@pytest.mark.parametrize(
    ("fault", "raised"), [("cut", http.client.IncompleteRead), ("reset", ConnectionResetError)]
)
def test_a_broken_connection_breaks_after_so_many_bytes(fault: str, raised: type[Exception]) -> None:
    with Server([{**HELLO, "fault": fault, "after": 30}]) as server:
        connection = connect(server)
        connection.request("POST", "/v1/chat/completions", json.dumps(ASK))
        response = connection.getresponse()
        with pytest.raises(raised) as error:
            response.read()
        connection.close()
    if isinstance(error.value, http.client.IncompleteRead):
        assert len(error.value.partial) == 30


@pytest.mark.parametrize(
    ("fault", "raised"), [("cut", http.client.RemoteDisconnected), ("reset", ConnectionResetError)]
)
def test_a_connection_can_break_before_the_status_line(fault: str, raised: type[Exception]) -> None:
    with Server([{**HELLO, "fault": fault, "after": -1}, HELLO]) as server:
        with pytest.raises(raised):
            post(server)
        assert post(server).status == 200


def test_a_close_is_a_proper_end_without_a_finish_reason() -> None:
    with Server([{**HELLO, "fault": "close"}]) as server:
        turn = decode(post(server).body)
    assert (turn.message.text, turn.message.finish, turn.done, turn.faults) == ("Hello, you.", "", False, [])


def test_a_status_comes_with_the_headers_and_body_of_the_script() -> None:
    refusal = {"fault": "status", "status": 429, "headers": {"Retry-After": "7"}, "body": {"error": "busy"}}
    with Server([refusal]) as server:
        answer = post(server)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert (answer.content_type, answer.body) == ("application/json; charset=UTF-8", b'{"error":"busy"}')


@pytest.mark.parametrize("after", [-1, 0, 50])
def test_a_stall_with_an_end_goes_on_where_it_stopped(after: int) -> None:
    with Server([HELLO]) as server:
        whole = post(server).body
    with Server([{**HELLO, "fault": "stall", "after": after, "seconds": 0.2}]) as server:
        start = time.monotonic()
        assert post(server).body == whole
        took = time.monotonic() - start
    assert 0.2 <= took < 0.39  # once, not twice


def test_a_server_stops_at_once_with_stalled_idle_and_flooded_clients() -> None:
    flood = Recording(b"x" * (20 << 20))
    script: list[Json | Recording] = [{**HELLO, "fault": "stall"}, flood]
    with contextlib.ExitStack() as clients, contextlib.ExitStack() as serving:
        server = serving.enter_context(Server(script))
        idle = clients.enter_context(socket.create_connection(("127.0.0.1", port(server))))
        for _ in script:
            connection = clients.enter_context(contextlib.closing(connect(server)))
            connection.request("POST", "/v1/chat/completions", json.dumps(ASK))
            connection.getresponse()
        start = time.monotonic()
        serving.close()
        assert time.monotonic() - start < 0.3
        assert idle.recv(1) == b""


def test_a_client_that_leaves_ends_its_stall() -> None:
    with Server([{**HELLO, "fault": "stall", "after": 0}]) as server:
        threads = threading.active_count()
        connection = connect(server)
        connection.request("POST", "/v1/chat/completions", json.dumps(ASK))
        connection.getresponse().close()
        connection.close()
        deadline = time.monotonic() + 2
        while threading.active_count() > threads and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() == threads


def test_delay_comes_before_the_first_byte_and_gap_between_writes() -> None:
    turn = {**HELLO, "delay": 0.1, "gap": 0.02}  # four writes: two words, the finish, [DONE]
    with Server([turn]) as server:
        connection = connect(server)
        start = time.monotonic()
        connection.request("POST", "/v1/chat/completions", json.dumps(ASK))
        response = connection.getresponse()
        first = time.monotonic() - start
        response.read()
        whole = time.monotonic() - start
        connection.close()
    assert first >= 0.1
    assert whole >= 0.16


def test_a_fault_there_is_not_is_named_before_anything_is_served() -> None:
    with pytest.raises(ValueError, match="no fault named 'explode'; use one of close, cut"):
        Server([{"fault": "explode"}])


@pytest.mark.parametrize("line", ["[1]", "{", '{"fault": "x"}'])
def test_a_bad_line_of_turns_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 2|no fault named 'x'"):
        read_turns('{"content": "a"}\n' + line + "\n")


# What it was asked


def test_requests_are_remembered_in_order_and_logged_without_the_key(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with Server([HELLO], log=log) as server:
        post(server)
        post(server, {**ASK, "model": "ü"}, "/api/coding/paas/v4/chat/completions")
    assert [request.path for request in server.requests] == [
        "/v1/chat/completions",
        "/api/coding/paas/v4/chat/completions",
    ]
    assert [request.body["model"] for request in server.requests] == ["glm-4.7", "ü"]
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer secret"] * 2
    logged = [Request(**json.loads(line)) for line in log.read_text().split("\n")[:-1]]
    assert "secret" not in log.read_text()
    masked = [asked._replace(headers={**asked.headers, "authorization": "***"}) for asked in server.requests]
    assert logged == masked


def test_requests_in_flight_are_counted_and_each_turn_is_played_once() -> None:
    script = [{"content": str(number), "delay": 0.1} for number in range(4)]
    with Server(script) as server:
        texts: list[str] = []
        askers = [
            threading.Thread(target=lambda: texts.append(decode(post(server).body).message.text))
            for _ in script
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        post(server)
    assert sorted(texts) == ["0", "1", "2", "3"]
    assert server.most_in_flight == 4


def test_one_connection_serves_many_requests() -> None:
    with Server([HELLO]) as server:
        connection = connect(server)
        for _ in range(3):
            connection.request("POST", "/v1/chat/completions", json.dumps(ASK))
            assert connection.getresponse().read().endswith(b"[DONE]\n\n")
        connection.close()
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/models", None, 200),
        ("GET", "/api/paas/v4/models?x=1", None, 200),
        ("GET", "/v1/nothing", None, 404),
        ("POST", "/v1/embeddings", b"{}", 404),
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"\xff", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
    ],
)
def test_other_requests_get_an_answer_and_use_up_no_turn(
    method: str, path: str, body: bytes | None, status: int
) -> None:
    with Server([HELLO], strict=True) as server:
        assert fetch(server, method, path, body).status == status
        assert post(server).status == 200
    assert len(server.requests) == 1
