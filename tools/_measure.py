"""The measurements behind `tools/bench`; runs inside `.venv`. Times are medians of interleaved runs."""

from __future__ import annotations

import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from glm_agent import sandbox
from glm_agent.model import read_turn
from glm_agent.replay.script import Pace, reply
from glm_agent.sse import read
from glm_agent.types import Json

ROUNDS = 15
FRAGMENT = 20  # characters
MORE = 4  # times as many chunks must not cost more each
ASK: Json = {"model": "glm-4.7", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}
GLM_AGENT = [sys.executable, "-m", "glm_agent"]

BARE_SDK = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
question = [{"role": "user", "content": "Why?"}]
for chunk in client.chat.completions.create(model="glm-4.7", messages=question, stream=True):
    pass
"""


class Row(NamedTuple):
    what: str
    measured: str
    value: float
    limit: float


def main() -> None:
    wanted = sys.argv[1:] or list(MEASUREMENTS)
    if unknown := [name for name in wanted if name not in MEASUREMENTS]:
        sys.exit(f"bench: nothing named {unknown[0]}; measures {', '.join(MEASUREMENTS)}")
    over = 0
    for row in (row for name in wanted for row in MEASUREMENTS[name]()):
        verdict = "ok" if row.value <= row.limit else "OVER"
        over += verdict == "OVER"
        print(
            f"{row.what:34} {row.measured:34} {row.value:6.2f}  limit {row.limit:<5}  {verdict}", flush=True
        )
    sys.exit(1 if over else 0)


def start() -> Iterable[Row]:
    """Ratios of wall time, of whole processes and up to the first request."""
    nothing, version, usage = _medians(
        [
            lambda: _process([sys.executable, "-c", "pass"]),
            lambda: _process([*GLM_AGENT, "--version"]),
            lambda: _process([*GLM_AGENT, "--help"]),
        ]
    )
    yield _ratio("--version / python -c pass", version, nothing, 2.5)
    yield _ratio("--help / python -c pass", usage, nothing, 8.0)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        options = ["--provider", "custom", "--base-url", url, "--ephemeral"]
        bare, ours = _medians(
            [
                lambda: _first_request(listener, [sys.executable, "-c", BARE_SDK, url], folder),
                lambda: _first_request(listener, [*GLM_AGENT, "ask", "Why?", *options], folder),
            ]
        )
    yield _ratio("first request / bare SDK script", ours, bare, 1.10)


def stream() -> Iterable[Row]:
    """Microseconds of CPU time a chunk, how that grows, and what splitting and json.loads alone take."""
    for what, count, turn in (("content", 20_000, _words), ("argument", 5_000, _call)):
        few, many = _body(turn(count)), _body(turn(MORE * count))
        bare, ours, longer = _medians(
            [lambda few=few: _parse(few), lambda few=few: _decode(few), lambda many=many: _decode(many)],
            rounds=7,
        )
        chunks, then = few.count(b"\n\n"), many.count(b"\n\n")
        each, least, later = ours / chunks * 1e6, bare / chunks * 1e6, longer / then * 1e6
        yield Row(f"{chunks} {what} chunks", f"{each:.1f} us each, json alone {least:.1f}", each, 15.0)
        growth = f"{later:.1f} us each / {each:.1f} us each"
        yield Row(f"of {then} / of {chunks} {what} chunks", growth, later / each, 1.25)


def _words(count: int) -> Json:
    return {"content": "word " * count}


def _call(fragments: int) -> Json:
    return {"tool_calls": [{"name": "write", "arguments": {"content": "x" * FRAGMENT * fragments}}]}


def _body(turn: Json) -> bytes:
    return b"".join(reply(turn, 1, ASK, Pace(fragment=FRAGMENT)).writes)


def confinement() -> Iterable[Row]:
    """A command that does nothing, from the agent's call to its answer, as a multiple of a bare Python."""
    offer = sandbox.probe()
    tiers: list[sandbox.Tier] = ["A", "B"] if offer.tier == "A" and offer.landlock_abi >= 6 else []
    if not tiers:
        print(f"sandbox: nothing to measure: {offer.reason or 'only one tier can be had'}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "work")
        root.mkdir()
        policy = sandbox.standard(root, os.environ, Path(folder, "state"), Path(folder, "tmp"))
        for tier in tiers:
            bare, ours = _medians([_bare_python, lambda tier=tier: _confined(policy, tier)])
            yield _ratio(f"true in {tier} / python -I -S -c pass", ours, bare, 6.0)


MEASUREMENTS: dict[str, Callable[[], Iterable[Row]]] = {
    "start": start,
    "stream": stream,
    "sandbox": confinement,
}


def _bare_python() -> float:
    return _process([sys.executable, "-I", "-S", "-c", "pass"])


def _confined(policy: sandbox.Policy, tier: sandbox.Tier) -> float:
    begin = time.perf_counter()
    sandbox.run("true", policy, tier, timeout=20, cancel=threading.Event())
    return time.perf_counter() - begin


def _medians(measures: list[Callable[[], float]], rounds: int = ROUNDS) -> list[float]:
    """One unmeasured round first; then each takes its turn in every round."""
    times = [[measure() for measure in measures] for _ in range(rounds + 1)]
    return [statistics.median(column) for column in zip(*times[1:], strict=True)]


def _ratio(what: str, ours: float, theirs: float, limit: float) -> Row:
    return Row(what, f"{ours * 1000:.0f} ms / {theirs * 1000:.0f} ms", ours / theirs, limit)


def _process(argv: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - begin


def _first_request(listener: socket.socket, argv: list[str], folder: str) -> float:
    """Seconds from the start of the process until its request is here; it gets a short answer."""
    environment = {"PATH": os.environ["PATH"], "HOME": folder, "GLM_AGENT_API_KEY": "none"}
    begin = time.perf_counter()
    with subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        listener.settimeout(20)
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as request:
            length = 0
            while (line := request.readline()).strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            request.read(length)
            took = time.perf_counter() - begin
            connection.sendall(_ANSWER)
        _, said = process.communicate()
    if process.returncode:
        sys.exit(
            f"bench: {argv[1:4]} ended with status {process.returncode}: {said.decode(errors='replace')}"
        )
    return took


_ANSWER = b"".join(
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
        *reply({"content": "Because."}, 1, ASK, Pace()).writes,
    ]
)


def _decode(body: bytes) -> float:
    pieces = [frame + b"\n\n" for frame in body.split(b"\n\n")]  # as they come: about one in a read
    gc.collect()
    begin = time.process_time()
    for _ in read_turn(read(pieces)):
        pass
    return time.process_time() - begin


def _parse(body: bytes) -> float:
    gc.collect()
    begin = time.process_time()
    for line in body.split(b"\n"):
        if line.startswith(b"data: {"):
            json.loads(line[6:])
    return time.process_time() - begin


if __name__ == "__main__":
    main()
