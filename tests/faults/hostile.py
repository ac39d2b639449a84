"""A host that breaks every rule, on loopback: raw sockets, so that any byte can be sent at any time."""

from __future__ import annotations

import contextlib
import io
import json
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, cycle
from typing import Literal, NamedTuple

from glm_agent.types import Json

_HELLO = b"\x16"  # how TLS begins
_TICK = 0.02  # seconds between looks whether anybody is still there
_PAUSE_BEFORE_RESET = 0.05  # seconds: a reset overtakes what was sent just before

Piece = bytes | float  # a chunk of the body, or seconds of silence
End = Literal["whole", "eof", "cut", "reset", "hang"]


class Play(NamedTuple):
    """One answer, sent by chunks.

    raw      sent before anything else, instead of a status line and headers
    forever  sent again and again after `body`, until the client leaves
    end      whole: as HTTP wants it; eof: the connection closes, as was announced; cut: it closes in the
             middle; reset: the same with RST; hang: silence until the client leaves
    """

    body: bytes | Sequence[Piece] = b""
    end: End = "whole"
    status: int = 200
    kind: str = "text/event-stream"
    headers: tuple[tuple[str, str], ...] = ()
    forever: tuple[Piece, ...] = ()
    raw: bytes | None = None

    @property
    def pieces(self) -> Iterator[Piece]:
        whole: Iterable[Piece] = (self.body,) if isinstance(self.body, bytes) else self.body
        return chain(whole, cycle(self.forever))


class _Gone(Exception):
    """The client left."""


class Host:
    """Plays its answers in order, the last one for ever; `url` is what a client takes as base URL.

    With `tls` it is there to be distrusted: it says nothing after the handshake.
    """

    def __init__(self, plays: Sequence[Play], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Json] = []
        self.connections = 0
        self.last = Play()  # what was played last
        self.asked = float("inf")  # when the last request came, by the clock of `time.monotonic`
        self._tls = tls
        self._plays = plays
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._thread = threading.Thread(target=self._accept)

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Host:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._thread.join()
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, _Gone):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                self._tls.wrap_socket(connection, server_side=True).close()
                return
            if connection.recv(1, socket.MSG_PEEK) == _HELLO:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            with connection.makefile("rb") as reader:
                while (body := _request(reader)) is not None:
                    with self._lock:
                        self.requests.append(body)
                        self.asked = time.monotonic()
                        self.last = play = self._plays[min(len(self.requests), len(self._plays)) - 1]
                    _perform(play, connection)
                    if play.end != "whole" or play.raw is not None:
                        break
        self._open.discard(connection)


def _request(reader: io.BufferedReader) -> Json | None:
    """The body of the next request, None if there is none."""
    size = 0
    while line := reader.readline():
        if line == b"\r\n":
            return json.loads(reader.read(size))
        if line.lower().startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    return None


def _perform(play: Play, connection: socket.socket) -> None:
    if play.raw is not None:
        connection.sendall(play.raw)
    else:
        connection.sendall(_head(play))
    plain = play.raw is not None or play.end == "eof" or _has_length(play)
    for piece in play.pieces:
        if not isinstance(piece, bytes):
            _pause(connection, piece)
        elif piece:  # an empty chunk would be the last one
            connection.sendall(piece if plain else b"%x\r\n%b\r\n" % (len(piece), piece))
    if play.end == "whole" and not plain:
        connection.sendall(b"0\r\n\r\n")
    elif play.end == "reset":
        _pause(connection, _PAUSE_BEFORE_RESET)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif play.end == "hang":
        _pause(connection, float("inf"))


def _head(play: Play) -> bytes:
    lines = [f"HTTP/1.1 {play.status} Said So", f"Content-Type: {play.kind}"]
    if play.end == "eof":
        lines.append("Connection: close")
    elif not _has_length(play):
        lines.append("Transfer-Encoding: chunked")
    lines += [f"{name}: {value}" for name, value in play.headers]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _has_length(play: Play) -> bool:
    return play.status == 204 or any(name == "Content-Length" for name, _ in play.headers)


def _pause(connection: socket.socket, seconds: float) -> None:
    """Waits; raises _Gone as soon as nobody is there to wait."""
    arrivals = select.poll()
    arrivals.register(connection, select.POLLIN)
    while seconds > 0:
        if arrivals.poll(min(seconds, _TICK) * 1000) and not connection.recv(1, socket.MSG_PEEK):
            raise _Gone
        seconds -= _TICK
