"""What this session's model has seen of the files: so that nothing is sent twice, or overwritten unread."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from contextlib import suppress
from hashlib import sha256
from threading import Thread
from typing import NamedTuple
from weakref import WeakSet


class _View(NamedTuple):
    """What was shown, and who ran beside it: neighbours of one turn, whose answers may stand above it."""

    digest: bytes
    beside: WeakSet[Thread]


class Seen:
    """Contents by path, as the model last saw or wrote them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: dict[str, bytes] = {}
        self._views: dict[tuple[str, Hashable], _View] = {}
        self._news: dict[str, bytes] = {}

    def note(self, path: str, text: str) -> None:
        """The model knows that `path` holds `text`: it read it, or wrote it."""
        with self._lock:
            self._contents[path] = self._news[path] = _digest(text)

    def news(self) -> dict[str, str]:
        """What was noted since this was last asked: hexadecimal digests by path, for `restore`."""
        with self._lock:
            news, self._news = self._news, {}
        return {path: digest.hex() for path, digest in news.items()}

    def restore(self, path: str, digest: str) -> None:
        """As if `path` had been noted with the text that has this digest."""
        with self._lock, suppress(ValueError):
            self._contents[path] = bytes.fromhex(digest)

    def knows(self, path: str) -> bool:
        with self._lock:
            return path in self._contents

    def unchanged(self, path: str, text: str) -> bool:
        """Whether the model knows `path`, and `text` is still what it knows."""
        with self._lock:
            return self._contents.get(path) == _digest(text)

    def repeated(self, path: str, text: str, view: Hashable) -> bool:
        """Whether this `view` of this very `text` was shown before, by a call that came earlier in the
        model's order; from now on it was. Calls run in threads that are started in that order.
        """
        digest, me = _digest(text), threading.current_thread()
        with self._lock:
            before = self._views.get((path, view))
            if before and before.digest == digest and me not in before.beside:
                return True
            beside = WeakSet(thread for thread in threading.enumerate() if thread is not me)
            self._views[path, view] = _View(digest, beside)
            return False

    def forget(self) -> None:
        """Earlier bodies have left the request: show views again. What the model knows stays known."""
        with self._lock:
            self._views.clear()


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
