"""The only importer of the SDK: a request body in, the answer's raw bytes out, every failure a `Failure`.

The SDK does auth, proxies, TLS and status errors. Its own stream reader is not used: it loses broken frames
without a word. Its retries, its redirects and its environment variables are off.
"""

from __future__ import annotations

import gc
import json
import os
import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import __version__
from .errors import UsageError
from .retry import Failure
from .shape import mapping
from .types import Json

if TYPE_CHECKING:
    from httpx2 import Request
    from openai import APIConnectionError, APIStatusError, OpenAI

_CONNECT_TIMEOUT = 10.0  # seconds
_PLAIN = re.compile(r"[!-~]+")  # what a URL is made of
_READ_TIMEOUT = 300.0  # seconds without a byte; a reply that thinks long is silent for minutes


class Transport:
    """A connection to one host; the SDK is imported at the first request (~0.45 s)."""

    def __init__(self, base_url: str, key: str | None, headers: dict[str, str]) -> None:
        self.host = check_base_url(base_url)
        self._base_url = base_url
        self._key = key
        self._headers = headers
        self._client: OpenAI | None = None

    def send(self, body: Json) -> Generator[bytes]:
        """The bytes of the answer as they arrive. Raises Failure, also in the middle."""
        client = self._client = self._client or self._connect()
        import httpx2
        import openai

        try:
            response = client.post(
                "/chat/completions",
                cast_to=httpx2.Response,
                content=serialise(body),
                options={"headers": {"Authorization": openai.Omit()}} if self._key is None else {},
                stream=True,
                stream_cls=openai.Stream[Any],
            )
        except openai.APIStatusError as error:
            raise _refusal(error, self.host) from error
        except openai.APIConnectionError as error:
            raise _trouble(error, self.host) from error
        try:
            yield from response.iter_bytes()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise Failure(f"the stream broke off: {_reason(error)}") from error
        finally:
            response.close()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

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
        timeout = openai.Timeout(_READ_TIMEOUT, connect=_CONNECT_TIMEOUT)
        return openai.OpenAI(
            api_key=self._key or "none",
            base_url=self._base_url,
            max_retries=0,
            timeout=timeout,
            default_headers={"User-Agent": f"glm-agent/{__version__}", **self._headers},
            http_client=openai.DefaultHttpxClient(
                follow_redirects=False, timeout=timeout, event_hooks={"request": [_say_less]}
            ),
        )


def serialise(body: Json) -> bytes:
    """The bytes of a request: fields in the order of `body`, half surrogate pairs as question marks."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def check_base_url(url: str) -> str:
    """The host (with its port, if any) of a base URL. Raises UsageError for one that cannot be used."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"--base-url {url!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--base-url {url!r} is not a URL like https://host/v1")
    if parts.username or parts.password or parts.query or parts.fragment or not _PLAIN.fullmatch(url):
        raise UsageError("--base-url must be scheme, host and path only; the key goes into GLM_AGENT_API_KEY")
    return f"{parts.hostname}:{port}" if port else parts.hostname


def _say_less(request: Request) -> None:
    """The SDK tells each host about the machine it runs on."""
    for name in [name for name in request.headers if name.startswith("x-stainless-")]:
        del request.headers[name]


def _refusal(error: APIStatusError, host: str) -> Failure:
    if 300 <= error.status_code < 400:
        return Failure(f"{host} redirects elsewhere, which is refused", error.status_code)
    body = mapping(error.body)
    message = body.get("message") or body.get("msg") or (error.body if isinstance(error.body, str) else "")
    text = " ".join(str(message or f"the host answered with status {error.status_code}").split())[:300]
    return Failure(
        text,
        error.status_code,
        str(body.get("code") or ""),
        _seconds(error.response.headers.get("retry-after")),
    )


def _trouble(error: APIConnectionError, host: str) -> Failure:
    return Failure(f"cannot reach {host}: {_reason(error.__cause__ or error)}")


def _reason(error: BaseException) -> str:
    """The innermost message, which is the one that says something."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None
