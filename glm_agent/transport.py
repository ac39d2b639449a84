"""The only importer of the SDK: a request body in, the answer's raw bytes out, every failure a `Failure`.

The SDK does auth, proxies, TLS and status errors. Its own stream reader is not used: it loses broken frames
without a word. Its retries, its redirects and its environment variables are off.
"""

from __future__ import annotations

import gc
import json
import os
import re
import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from . import __version__
from .errors import ConfigError, UsageError
from .retry import Failure, refusal
from .types import Json

if TYPE_CHECKING:
    from httpx2 import Request, Response
    from openai import APIConnectionError, OpenAI

_OCTET = re.compile("25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]")
_NO_URL = "--base-url is not a URL like https://host/v1: scheme, host and path only"
_PLAIN = re.compile(r"[!-~]+")  # what a URL is made of
_ROUTE = re.compile(r"(?i:(?:https?|all|no)_proxy)|SSL_CERT_(?:FILE|DIR)|SSLKEYLOGFILE")
_REFUSAL_SIZE = 64 << 10  # bytes of a refusal, decoded
_REFUSAL_TIMEOUT = 3.0  # seconds for them


class Transport:
    """A connection to one host; the SDK is imported at the first request (~0.45 s).

    `connect` and `silence`, a time without a byte, are in seconds; a reply that thinks is silent for minutes.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        headers: Mapping[str, str],
        *,
        connect: float = 10.0,
        silence: float = 600.0,
    ) -> None:
        self.host = check_base_url(base_url)
        self._base_url = base_url
        self.key = key
        self.status: int | None = None  # of the last answer
        self.headers: Mapping[str, str] = {}
        self.refusal = b""  # its body, if it is no success
        self._headers = headers
        self._timeouts = connect, silence
        self._client: OpenAI | None = None

    def ask(self, body: Json) -> Exchange:
        """A request that is sent when it is called."""
        self.status, self.headers, self.refusal = None, {}, b""
        return Exchange(self._connected, self.host, body, anonymous=self.key is None)

    def _connected(self) -> OpenAI:
        self._client = self._client or self._connect()
        return self._client

    def close(self) -> None:
        """Gives up connections that are kept for the next request."""
        if self._client is not None:
            self._client.close()

    def _connect(self) -> OpenAI:
        for name in [name for name in os.environ if name.startswith("OPENAI_")]:
            del os.environ[name]  # the SDK would take a URL, an organisation, headers from them
        gc.disable()  # nothing that an import makes is garbage: saves a fifth of the SDK's 0.45 s
        import openai

        gc.freeze()
        gc.enable()
        connect, silence = self._timeouts
        timeout = openai.Timeout(silence, connect=connect)
        hooks: Json = {"request": [_say_less], "response": [self._check]}
        trusts = not _is_here(self._base_url)  # the environment's proxies know no way to this machine
        try:
            client = openai.DefaultHttpxClient(
                follow_redirects=False, timeout=timeout, event_hooks=hooks, trust_env=trusts
            )
        except (ImportError, OSError, ValueError) as error:
            names = ", ".join(name for name in os.environ if _ROUTE.fullmatch(name))
            raise ConfigError(f"cannot connect as the environment says ({names}): {error}") from error
        return openai.OpenAI(
            api_key=self.key or "none",
            base_url=self._base_url,
            max_retries=0,
            timeout=timeout,
            default_headers={"User-Agent": f"glm-agent/{__version__}", **self._headers},
            http_client=client,
        )

    def _check(self, response: Response) -> None:
        """Raises Failure for a refusal: the SDK would read all of its body, however much that is."""
        self.headers, self.status = response.headers, (status := response.status_code)
        if status < 300:
            return
        if status < 400 and "location" in response.headers:
            raise Failure(f"{self.host} redirects elsewhere, which is refused", status)
        self.refusal = _read_some(response)
        raise refusal(status, _decode(self.refusal), response.headers)


class Exchange:
    """One request: the call posts it and returns once the answer begins, the iteration reads its bytes.

    Both raise Failure. `close` hangs up, from whichever thread, and wakes one that is reading.
    """

    def __init__(self, client: Callable[[], OpenAI], host: str, body: Json, *, anonymous: bool) -> None:
        self._client = client
        self._host = host
        self._body = body
        self._anonymous = anonymous
        self._response: Response | None = None
        self._socket: socket.socket | None = None

    def __call__(self) -> Exchange:
        client = self._client()
        import httpx2
        import openai

        try:
            answer: object = client.post(
                "/chat/completions",
                cast_to=httpx2.Response,
                content=serialise(self._body),
                options={"headers": {"Authorization": openai.Omit()}} if self._anonymous else {},
                stream=True,
                stream_cls=openai.Stream[Any],
            )
        except openai.APIConnectionError as error:
            raise _trouble(error, self._host) from error
        self._response = cast("Response", answer)  # with cast_to=Response, that is what it is
        self._socket = self._response.extensions["network_stream"].get_extra_info("socket")
        return self

    def __iter__(self) -> Generator[bytes]:
        import httpx2

        response, self._response = self._response, None
        if response is None:
            return
        try:
            yield from response.iter_bytes()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise Failure(f"the stream broke off: {_reason(error)}") from error
        finally:
            self._socket = None  # from here on it may serve another request
            response.close()

    def close(self) -> None:
        if (connection := self._socket) is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # an SSLSocket's own method forgets TLS
        if (unread := self._response) is not None:  # else whoever reads it closes it
            unread.close()


def serialise(body: Json) -> bytes:
    """The bytes of a request: fields in the order of `body`, half surrogate pairs as question marks."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def check_base_url(url: str) -> str:
    """The host (with its port, if any) of a base URL.

    Raises UsageError for one that cannot be used, which never shows it: a password may stand in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # whose words may be a part of the password
        raise UsageError(_NO_URL) from None
    if parts.scheme not in ("http", "https") or not host or not _PLAIN.fullmatch(url):
        raise UsageError(_NO_URL)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(f"{_NO_URL}; the key goes into GLM_AGENT_API_KEY")
    if not _is_name(host):
        raise UsageError(f"--base-url: there can be no host {host!r}")
    return f"{host}:{port}" if port else host


def _is_name(host: str) -> bool:
    """Whether `host` can be looked up at all: labels of a length that names have, or an address."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", host):
        return all(map(_OCTET.fullmatch, host.split(".")))
    return ":" in host or all(len(label) in range(1, 64) for label in host.removesuffix(".").split("."))


def _is_here(url: str) -> bool:
    """Whether the host of `url` is this machine by its name alone."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _say_less(request: Request) -> None:
    """The SDK tells each host about the machine it runs on."""
    for name in [name for name in request.headers if name.startswith("x-stainless-")]:
        del request.headers[name]


def _read_some(response: Response) -> bytes:
    """The beginning of a refusal's body: as much as there is of it soon."""
    import httpx2

    response.request.extensions["timeout"]["read"] = _REFUSAL_TIMEOUT
    data = bytearray()
    end = time.monotonic() + _REFUSAL_TIMEOUT
    with suppress(httpx2.HTTPError, httpx2.StreamError):  # the status says enough
        for piece in response.iter_bytes():
            data += piece
            if len(data) >= _REFUSAL_SIZE or time.monotonic() > end:
                break
    return bytes(data[:_REFUSAL_SIZE])


def _decode(body: bytes) -> object:
    """JSON if it is that, else text; nothing if it is neither."""
    text = "" if b"\0" in body else body.decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _trouble(error: APIConnectionError, host: str) -> Failure:
    import httpx2

    if isinstance(error.__cause__, httpx2.ConnectTimeout):
        seconds = error.request.extensions["timeout"]["connect"]
        return Failure(f"cannot reach {host}: no connection within {seconds:g} s")
    return Failure(f"cannot reach {host}: {_reason(error.__cause__ or error)}")


def _reason(error: BaseException) -> str:
    """The innermost message, which is the one that says something."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__
