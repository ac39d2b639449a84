from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from fakes import answer
from running import first_fast

from glm_agent import __version__
from glm_agent.errors import UsageError
from glm_agent.replay import Server
from glm_agent.retry import Failure
from glm_agent.transport import Transport, check_base_url, serialise
from glm_agent.types import Json

ROOT = Path(__file__).parents[1]
BODY: Json = {"model": "glm-4.7", "messages": [{"role": "user", "content": "Grüß"}], "stream": True}
KEY = "key.0123456789"


def ask(url: str, key: str | None = KEY, headers: dict[str, str] | None = None) -> bytes:
    with closing(Transport(url, key, headers or {})) as transport:
        return b"".join(transport.ask(BODY)())


def refused(url: str) -> Failure:
    with pytest.raises(Failure) as caught:
        ask(url)
    return caught.value


def facts(failure: Failure) -> tuple[str, int | None, str, float | None]:
    return failure.message, failure.status, failure.code, failure.retry_after


def test_a_request_says_who_asks_and_nothing_about_the_machine() -> None:
    with Server([{"content": "Hi"}]) as server:
        ask(server.url, headers={"Accept-Language": "en-US,en"})
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == BODY
    assert list(request.body) == list(BODY)
    told = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
    assert told == {
        "accept": "application/json",
        "accept-encoding": told["accept-encoding"],
        "accept-language": "en-US,en",
        "authorization": f"Bearer {KEY}",
        "connection": "keep-alive",
        "content-type": "application/json",
        "user-agent": f"glm-agent/{__version__}",
    }


def test_without_a_key_there_is_no_authorization() -> None:
    with Server([{"content": "Hi"}]) as server:
        ask(server.url, key=None)
    assert "authorization" not in server.requests[0].headers


def test_a_body_is_compact_in_order_and_always_valid() -> None:
    assert serialise({"b": "ü\u2028", "a": [1, None]}) == '{"b":"ü\u2028","a":[1,null]}'.encode()
    assert json.loads(serialise({"a": "x\ud83d"})) == {"a": "x?"}


def test_the_bytes_are_those_that_were_sent() -> None:
    body = b"\xef\xbb\xbfdata: {}\r\n\n\xff\x00: odd" * 1000
    with Server([body]) as server:
        assert ask(server.url) == body


def test_one_transport_asks_again_and_again() -> None:
    answers = [answer(str(number)) for number in range(3)]
    with Server(answers) as server, closing(Transport(server.url, KEY, {})) as transport:
        assert [b"".join(transport.ask(BODY)()) for _ in answers] == answers


def test_bytes_arrive_while_the_host_is_still_sending() -> None:
    with Server([{"content": "one two", "fault": "stall", "after": 50}]) as server:
        transport = Transport(server.url, KEY, {})
        with closing(transport), closing(iter(transport.ask(BODY)())) as pieces:
            assert len(next(pieces)) == 50


VARIABLES = {
    "OPENAI_BASE_URL": "http://127.0.0.1:9/stolen",
    "OPENAI_API_KEY": "stolen-key",
    "OPENAI_ADMIN_KEY": "stolen-admin",
    "OPENAI_ORG_ID": "stolen-org",
    "OPENAI_PROJECT_ID": "stolen-project",
    "OPENAI_CUSTOM_HEADERS": "X-Stolen: yes",
    "OPENAI_WEBHOOK_SECRET": "stolen-secret",
    "OPENAI_LOG": "debug",
}
SEND = """
import sys
from glm_agent.transport import Transport
for piece in Transport(sys.argv[1], sys.argv[2] or None, {}).ask({"messages": []})():
    print(len(piece), flush=True)
"""


def command(url: str, key: str = KEY) -> list[str]:
    return [sys.executable, "-c", SEND, url, key]


@pytest.mark.parametrize("key", first_fast(KEY, ""))
def test_the_sdks_own_variables_are_neither_used_nor_sent(key: str) -> None:
    environment = {**os.environ, **VARIABLES, "PYTHONPATH": str(ROOT)}
    with Server([b"data: [DONE]\n\n"]) as server:
        run = subprocess.run(
            command(server.url, key), env=environment, capture_output=True, text=True, check=False
        )
    assert (run.stdout, run.stderr) == ("14\n", "")
    (request,) = server.requests
    assert "stolen" not in json.dumps(request).lower()
    assert request.headers.get("authorization") == (f"Bearer {KEY}" if key else None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_and_not_followed(status: int) -> None:
    with Server([{"content": "stolen"}]) as thief:
        elsewhere = {"Location": f"{thief.url}/chat/completions"}
        with Server([{"fault": "status", "status": status, "headers": elsewhere, "body": ""}]) as server:
            message = f"{check_base_url(server.url)} redirects elsewhere, which is refused"
            assert facts(refused(server.url)) == (message, status, "", None)
    assert (len(server.requests), thief.requests) == (1, [])


REFUSALS: list[tuple[int, object, str, str]] = [
    (401, {"error": {"code": "1001", "message": "Token\n Missing"}}, "Token Missing", "1001"),
    (400, {"error": {"code": 1210, "message": "bad"}}, "bad", "1210"),
    (429, {"code": "1113", "message": "No money"}, "No money", "1113"),
    (
        429,
        {"type": "error", "error": {"type": "rate_limit_error", "code": "1302", "message": "x"}},
        "x",
        "1302",
    ),
    (404, {"status": 404, "error": "Not Found", "path": "/v4/v1"}, "Not Found", ""),
    (401, {"code": 401, "msg": "no", "success": False}, "no", "401"),
    (502, "<html>Bad\nGateway</html>", "<html>Bad Gateway</html>", ""),
    (500, "", "the host answered with status 500", ""),
    (503, [], "the host answered with status 503", ""),
    (529, {"error": {"message": "x" * 1000}}, "x" * 300, ""),
    (418, {"error": None}, "the host answered with status 418", ""),
]


@pytest.mark.parametrize(("status", "body", "message", "code"), REFUSALS)
def test_a_status_is_a_failure_with_what_the_host_said(
    status: int, body: object, message: str, code: str
) -> None:
    with Server([{"fault": "status", "status": status, "body": body}]) as server:
        assert facts(refused(server.url)) == (message, status, code, None)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("30", 30.0), ("0.5", 0.5), ("-1", 0.0), ("nan", 0.0), ("soon", None), ("", None)],
)
def test_a_wait_that_the_host_asks_for_is_part_of_the_failure(header: str, seconds: float | None) -> None:
    turn = {"fault": "status", "status": 429, "headers": {"Retry-After": header}, "body": {}}
    with Server([turn]) as server:
        assert refused(server.url).retry_after == seconds


def test_nobody_there_is_a_failure_that_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        failure = refused(f"http://127.0.0.1:{port}/v1")
    message = f"cannot reach 127.0.0.1:{port}: [Errno 111] Connection refused"
    assert facts(failure) == (message, None, "", None)


def test_an_unknown_host_is_a_failure_that_says_so() -> None:
    message = refused("http://nowhere.invalid/v1").message
    assert re.match(r"cannot reach nowhere\.invalid: .*(resolution|not known|hostname)", message)


@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_a_stream_that_breaks_off_gives_what_came_and_then_fails(kind: str) -> None:
    came: list[bytes] = []
    turn = {"content": "one two three", "fault": kind, "after": 100}
    with (
        Server([turn]) as server,
        closing(Transport(server.url, KEY, {})) as transport,
        pytest.raises(Failure, match=r"^the stream broke off: ."),
    ):
        came.extend(transport.ask(BODY)())
    assert len(b"".join(came)) in ((0, 100) if kind == "reset" else (100,))


@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_a_host_that_hangs_up_before_it_answers_is_a_failure(kind: str) -> None:
    with Server([{"fault": kind, "after": -1}]) as server:
        assert refused(server.url).message.startswith("cannot reach 127.0.0.1:")


@contextmanager
def raw_host(response: bytes) -> Generator[str]:
    """A host that answers one request with these very bytes, and hangs up."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(response)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join()


def http(body: bytes, *headers: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = ["HTTP/1.1 200 OK", "Connection: close", f"Content-Length: {size}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_compressed_answer_is_unpacked() -> None:
    body = answer("Hi" * 1000)
    with raw_host(http(gzip.compress(body), "Content-Encoding: gzip")) as url:
        assert ask(url) == body


BAD_ANSWERS = {
    "gzip that is none": http(b"data: {}", "Content-Encoding: gzip"),
    "a short body": http(b"data: {}\n\n", length=1000),
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "nothing": b"",
    "a cut header": b"HTTP/1.1 200 OK\r\nContent-Le",
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_answer_that_is_no_sound_http_is_a_failure(name: str) -> None:
    with raw_host(BAD_ANSWERS[name]) as url:
        assert refused(url).status is None


def test_a_signal_ends_a_stalled_stream_at_once() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with (
        Server([{"content": "one two", "fault": "stall", "after": 50}]) as server,
        subprocess.Popen(command(server.url), env=environment, stdout=pipe, stderr=pipe, text=True) as run,
    ):
        assert run.stdout and run.stdout.readline() == "50\n"
        time.sleep(0.1)  # it waits for more now
        started = time.monotonic()
        run.send_signal(signal.SIGINT)
        run.wait(5)
        took = time.monotonic() - started
    assert (run.returncode, took < 1) == (-signal.SIGINT, True)


def test_leaving_a_stream_hangs_up() -> None:
    """The host's thread ends when its client is gone; a stall has no other end."""
    turn = {"content": "one two", "fault": "stall", "after": 50}
    with Server([turn]) as server, closing(Transport(server.url, KEY, {})) as transport:
        pieces = iter(transport.ask(BODY)())
        next(pieces)
        before = threading.active_count()
        pieces.close()
        end = time.monotonic() + 2
        while threading.active_count() == before and time.monotonic() < end:
            time.sleep(0.01)
        assert threading.active_count() == before - 1


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.z.ai/api/paas/v4", "api.z.ai"),
        ("http://127.0.0.1:8080/v1/", "127.0.0.1:8080"),
        ("http://[::1]:80/v1", "::1:80"),
    ],
)
def test_a_base_url_has_a_host(url: str, host: str) -> None:
    assert check_base_url(url) == host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.z.ai/v4",
        "ftp://host/v1",
        "http://",
        "https://user:secret@host/v1",
        "https://host/v1?key=secret",
        *("user:secret@host/v1", "//user:secret@host/v1", "https//user:secret@host", "ht tp://u:secret@h"),
        *("https://user:secret@[::1", "https://user:secret@host:99999/v1", "https://user:secret/v1"),
        *("https://user:secret@a..b/v1", "https://a..b/v1?key=secret"),
        "https://host/v1#x",
        " https://host/v1",
        "https://host:99999/v1",
        "https://[::1/v1",
        "https://ho st/v1",
        "https://host\n/v1",
    ],
)
def test_a_base_url_that_cannot_be_used_is_refused_and_no_secret_shown(url: str) -> None:
    with pytest.raises(UsageError, match="--base-url") as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)


ROUTES = """
import sys
from glm_agent.transport import Transport

try:
    print(b"".join(Transport(sys.argv[1], None, {}).ask({"stream": True})()).decode()[:5])
except Exception as error:
    print(type(error).__name__, error)
"""


def ask_with(url: str, **variables: str) -> str:
    """What a process with these variables gets from `url`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SSL_")}
    env = {**own, **variables, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", ROUTES, url], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("name", first_fast("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"))
def test_no_proxy_stands_between_us_and_this_machine(name: str) -> None:
    with Server([{"content": "Hi"}]) as server:
        assert ask_with(server.url, **{name: "http://127.0.0.1:9"}) == "data:"


@pytest.mark.parametrize(
    ("name", "value"),
    first_fast(
        ("SSL_CERT_FILE", "/missing"), ("ALL_PROXY", "socks5://127.0.0.1:9"), ("HTTPS_PROXY", "nothing://x")
    ),
)
def test_an_environment_that_leads_nowhere_is_named(name: str, value: str) -> None:
    said = ask_with("https://host.invalid/v1", **{name: value})
    assert said.startswith(f"ConfigError cannot connect as the environment says ({name}")
