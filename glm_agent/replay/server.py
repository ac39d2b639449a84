"""A GLM endpoint on loopback that answers from a script, in order, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Generator, Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO, NamedTuple, cast

from ..types import Json
from .script import Entry, Fault, Pace, Reply, is_answer, load, models, refuse, reply

_LARGEST = 256 << 20  # bytes of a request
_TICK = 0.02  # seconds between looks at who has left
_SECRET = ("authorization", "x-api-key", "api-key", "cookie")


class Request(NamedTuple):
    """One request for a completion; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: Json


class Server:
    """Serves while the `with` block runs, from threads of its own; `url` is what a client takes as base URL.

    Each request for a completion gets the next entry of the script. After the last one, the last turn that
    makes no calls is repeated; there being none, or with `strict`, the answer is status 400.
    `log` names a file that gets each request as a line of JSON, with the key masked.
    """

    def __init__(
        self,
        script: Iterable[Entry],
        *,
        pace: Pace = Pace(),  # noqa: B008 - a constant
        strict: bool = False,
        log: Path | None = None,
        port: int = 0,
    ) -> None:
        self.requests: list[Request] = []
        self.most_in_flight = 0
        self._script = [load(entry) for entry in script]
        self._encore = None if strict else next(filter(is_answer, reversed(self._script)), None)
        self._pace = pace
        self._in_flight = 0
        self._lock = threading.Lock()
        self._log: IO[str] | None = log.open("a", encoding="utf-8") if log else None
        self._listener = _Listener(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(_TICK,), name="replay")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}/v1"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends every answer under way, and returns when no thread is left."""
        self._listener.shutdown()
        self._listener.hang_up()
        self._listener.server_close()  # joins the threads of the requests
        self._thread.join()
        if self._log:
            self._log.close()

    def answer(self, request: Request) -> Reply:
        """Takes note of the request; the reply of the script to it."""
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
            if self._log:
                masked = {name: "***" if name in _SECRET else text for name, text in request.headers.items()}
                self._log.write(json.dumps(request._replace(headers=masked)._asdict()) + "\n")
                self._log.flush()
        entry = self._script[number - 1] if number <= len(self._script) else self._encore
        if entry is None:
            return refuse(400, f"the script has {len(self._script)} turns, and this is request {number}")
        return reply(entry, number, request.body, self._pace)

    @contextlib.contextmanager
    def in_flight(self) -> Generator[None]:
        with self._lock:
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1


class _Listener(socketserver.ThreadingTCPServer):
    """Not http.server's: that one looks its own name up in the DNS."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], server: Server) -> None:
        super().__init__(address, _Handler)
        self.script_server = server
        self._open: set[socket.socket] = set()

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        self._open.add(cast("socket.socket", request))
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        self._open.discard(cast("socket.socket", request))
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wakes every thread that reads from or writes to a client."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # it may be closed already
                connection.shutdown(socket.SHUT_RDWR)


class _Gone(ConnectionError):
    """The client left, or was hung up on."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        known = self.path.partition("?")[0].endswith("/models")
        self._send(models() if known else refuse(404, f"no such path: {self.path}", "404"))

    def do_POST(self) -> None:
        server = cast("_Listener", self.server).script_server
        with server.in_flight():
            size = self.headers.get("Content-Length", "")
            if not size.isdecimal() or int(size) > _LARGEST:
                self.close_connection = True
                return self._send(refuse(411, "a Content-Length is needed"))
            raw = self.rfile.read(int(size))
            if not self.path.partition("?")[0].endswith("/chat/completions"):
                return self._send(refuse(404, f"no such path: {self.path}", "404"))
            try:
                body: object = json.loads(raw)
            except ValueError as error:
                return self._send(refuse(400, f"the request is not JSON: {error}"))
            if not isinstance(body, dict):
                return self._send(refuse(400, "the request is not a JSON object"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            return self._send(server.answer(Request(self.path, headers, cast("Json", body))))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is in `requests`."""

    def _send(self, answer: Reply) -> None:
        self._pause(answer.pace.delay)
        if answer.fault and answer.fault.after < 0:
            self._strike(answer.fault)
            answer.fault = None
        self.send_response(answer.status)
        headers = {"Content-Type": answer.content_type, "Transfer-Encoding": "chunked", **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self._send_body(answer)
        self.wfile.write(b"0\r\n\r\n")

    def _send_body(self, answer: Reply) -> None:
        sent, fault = 0, answer.fault
        for number, data in enumerate(answer.writes):
            if number:
                self._pause(answer.pace.gap)
            if fault and 0 <= fault.after < sent + len(data):
                self._write(data[: fault.after - sent])
                if fault.kind == "close":
                    return
                self._strike(fault)  # comes back from a stall that has an end
                data, fault = data[fault.after - sent :], None
            self._write(data)
            sent += len(data)
        if fault and fault.kind != "close":
            self._strike(fault)

    def _write(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _strike(self, fault: Fault) -> None:
        if fault.kind == "stall":
            return self._pause(fault.seconds)
        if fault.kind == "reset":
            linger = struct.pack("ii", 1, 0)  # at once, and so with RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.close(self.connection.detach())
        raise _Gone

    def _pause(self, seconds: float | None) -> None:
        """Waits, for ever if `seconds` is None; raises _Gone as soon as nobody is there to wait."""
        end = time.monotonic() + seconds if seconds is not None else float("inf")
        arrivals = select.poll()
        arrivals.register(self.connection, select.POLLIN)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _TICK))
            if arrivals.poll(0) and not self.connection.recv(1, socket.MSG_PEEK):
                raise _Gone
