"""Whatever a host does: the right exit code and one true result, nothing half done, no deadline outlived."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from hostile import Host, Play
from nursery import Child, Kill, Nursery
from running import FILES, Ran, environment, first_fast, to, wait_for
from scenarios import FAST, GOOD, HEAVY, KEY, LIGHT, Scenario, status

SUBTYPES = {
    0: "success",
    1: "error_during_execution",
    2: "error_usage",
    41: "error_auth",
    55: "error_max_budget",
    75: "error_provider",
    129: "error_cancelled",
    130: "error_cancelled",
    143: "error_cancelled",
}
LATE = 2.0  # seconds that a run may outlive its deadline
LARGEST = 300 << 20  # bytes of memory

Start = Callable[..., Child]


@pytest.fixture(scope="module")
def nursery() -> Generator[Nursery]:
    with closing(Nursery()) as nursery:
        yield nursery


@pytest.fixture
def start(nursery: Nursery, repo: Path, home: Path) -> Start:
    """`start(url, scenario)`: the program in a repository of its own."""

    def start(url: str, scenario: Scenario, kill: Kill | None = None, **more: str) -> Child:
        command, *flags = scenario.words
        words = [command, "Why?", "--json", *to(url), *flags]
        env = environment(HOME=str(home), GLM_AGENT_API_KEY=KEY, **more)
        child = nursery.run(words, repo, env, scenario.limits, kill)
        assert {path.name: path.read_text() for path in repo.iterdir() if path.is_file()} == FILES
        return child

    return start


def check(scenario: Scenario, child: Child) -> None:
    """What holds for every run, and what the scenario says."""
    ran = Ran(child.code, child.out, child.err)
    result = ran.result  # each line fits the schema; one result, last, that agrees with the exit code
    assert (child.code, result["subtype"]) == (scenario.code, SUBTYPES[scenario.code]), child
    assert result["result"] == (scenario.text if child.code == 0 else "")
    assert "Traceback" not in child.out + child.err
    assert KEY not in child.out + child.err
    assert not any(word in child.out for word in ("NaN", "Infinity"))  # which Python reads, and nobody else
    told = [event for event in ran.events if event.get("subtype") in ("retry", "discarded")]
    reason: str = [*result["errors"], *(event["reason"] for event in told)][0] if scenario.says else ""
    assert scenario.says in reason
    if scenario.delay:
        least, most = scenario.delay
        assert least <= next(event["delay_s"] for event in told if "delay_s" in event) <= most
    assert child.seconds <= scenario.deadline + LATE
    assert child.rss < LARGEST


def play(scenario: Scenario, start: Start) -> None:
    with Host(scenario.plays) as host:
        child = start(host.url, scenario)
    check(scenario, child)
    assert len(host.requests) == scenario.requests
    if child.code == 0:
        assert finishes(host.last)


def finishes(play: Play) -> bool:
    """Whether the answer has a finish_reason, as far as that can be read."""
    pieces = (play.body,) if isinstance(play.body, bytes) else play.body
    body = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    return b'"finish_reason"' in body or any(name == "Content-Encoding" for name, _ in play.headers)


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(row, marks=() if row.name in FAST else pytest.mark.slow, id=row.name) for row in LIGHT],
)
def test_a_fault_ends_as_it_must(scenario: Scenario, start: Start) -> None:
    play(scenario, start)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_what_is_far_too_large_costs_neither_memory_nor_time(name: str, start: Start) -> None:
    scenario = HEAVY[name]()
    assert scenario.name == name
    play(scenario, start)


def unreachable(url: str, start: Start, code: int, says: str, **more: object) -> Child:
    scenario = Scenario(url, (), code, 0, says, "")._replace(**more)
    child = start(url, scenario)
    check(scenario, child)
    return child


def test_f1_nobody_listens(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        child = unreachable(url, start, 75, "Connection refused (4 tries); check --base-url")
    assert child.out.count('"subtype": "retry"') == 3


def test_f2_no_such_name(start: Start) -> None:
    limits = {"RES_OPTIONS": "attempts:1 timeout:1"}
    scenario = Scenario("", (), 75, 0, "cannot reach nowhere.invalid: ", "", deadline=8.0)
    check(scenario, start("https://nowhere.invalid/v1", scenario, **limits))


@pytest.mark.parametrize(
    "host",
    first_fast(
        *("a..b", "u@127.0.0.1", "127.0.0.1:99999", "x" * 64 + ".invalid"),
        *(".", "256.1.1.1", "1.2.3.4444", "01.2.3.4"),
        keep=3,
    ),
)
def test_f2_a_name_that_cannot_be(host: str, start: Start) -> None:
    unreachable(f"https://{host}/v1", start, 2, "--base-url")


@pytest.mark.slow  # the system gives up only after a while
def test_f3_nobody_answers_the_door(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        unreachable(url, start, 75, "no connection within 10 s (4 tries); check --base-url", deadline=45.0)
        for connection in waiting:
            connection.close()


def test_f4_no_tls_there(start: Start) -> None:
    with Host([GOOD]) as host:
        unreachable(host.url.replace("http", "https"), start, 75, "is it https there, or http?")
    assert (host.connections, host.requests) == (1, [])


@pytest.mark.slow
def test_f4_a_certificate_that_nobody_signed(start: Start, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words.split(), *files], capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Host([GOOD], context) as host:
        unreachable(host.url.replace("http", "https"), start, 75, "certificate verify failed")
    assert host.connections == 1


def test_f42_a_repository_names_no_proxy(start: Start, tmp_path: Path) -> None:
    with Host([GOOD]) as thief, Host([GOOD]) as host:
        lines = [
            f"{name}={thief.url}" for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "OPENAI_BASE_URL")
        ]
        (tmp_path / "repo" / "deep").mkdir()
        for folder in ("repo/deep", "repo/.git"):
            (tmp_path / folder / ".env").write_text("\n".join(lines))
        check(Scenario("", ()), start(host.url, Scenario("", ())))
    assert (len(host.requests), thief.connections) == (1, 0)


SIGNALS = {
    "F43-in-a-stall": (Play(end="hang"), signal.SIGINT, 130),
    "F44-between-two-tries": (status(429, None, ("Retry-After", "800")), signal.SIGINT, 130),
    "F48-SIGTERM": (Play(raw=b"", end="hang"), signal.SIGTERM, 143),
    "F48-SIGHUP": (Play(forever=(0.05, b": wait\n\n")), signal.SIGHUP, 129),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_whatever_waits(name: str, start: Start) -> None:
    played, signum, code = SIGNALS[name]
    scenario = Scenario(name, (played,), code, 1, "cancelled by", "", deadline=0.0)
    with Host(scenario.plays) as host:
        waits = partial(wait_for, lambda: time.monotonic() - host.asked > 0.3)
        child = start(host.url, scenario, (signum, waits))
    check(scenario, child)
    assert len(host.requests) == 1
