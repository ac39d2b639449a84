"""Signals become an exception in the main thread: the first one ends the run in order.

A second one hurries what still runs; a third, or one that comes a second later, ends the program at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

from .. import process
from ..errors import Cancelled

TIME_IS_UP = signal.SIGALRM
_PATIENCE = 1.0  # seconds after the first signal in which the second only hurries
_FROM_OUTSIDE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While installed, a signal raises Cancelled; inside `deferred` it waits, so that no line is torn.

    `offer`, if it is there, is asked at the first Ctrl-C whether to go on; one more while it asks is a no.
    """

    def __init__(self) -> None:
        self.offer: Callable[[], bool] | None = None
        self._asking = False
        self._deferred = False
        self._pending: int | None = None
        self._came: list[float] = []  # when each signal from outside came
        self._ending = False

    @contextmanager
    def installed(self, seconds: float | None) -> Generator[None]:
        """Catches signals; after `seconds`, if given, the alarm that means the time is up."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # what a parent ignores for us, as nohup does, stays ignored
        ours = [signum for signum in _FROM_OUTSIDE if signal.getsignal(signum) != signal.SIG_IGN]
        before = {signum: signal.signal(signum, self._handle) for signum in (*ours, TIME_IS_UP)}
        if seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def limit(self, seconds: float) -> None:
        """The alarm comes after `seconds` from now instead, at once if there are none left."""
        if threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))

    @contextmanager
    def deferred(self) -> Generator[None]:
        outer, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = outer
            if not outer and self._pending is not None and not self._ending:
                self._raise(self._pending)

    def close(self) -> None:
        """From here on the first signal comes too late: the result is being written."""
        self._deferred = self._ending = True

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if signum == TIME_IS_UP:
            if self._ending or self._pending is not None:
                return
        elif self._hurries() and not self._asking:
            with suppress(OSError):  # of a process that ends meanwhile
                process.kill_all()
            if len(self._came) > 2 or self._came[-1] - self._came[0] > _PATIENCE:
                os._exit(128 + signum)
            return
        self._pending = signum
        if not self._deferred and not self._ending:
            self._raise(signum)

    def _hurries(self) -> bool:
        """Notes that a signal came, and whether it is not the first; another may come meanwhile."""
        is_first = not self._came
        self._came.append(time.monotonic())
        return not is_first

    def _raise(self, signum: int) -> None:
        if signum == signal.SIGINT and self.offer and not self._asking and self._goes_on(self.offer):
            return
        self._ending = True
        raise Cancelled(signum)

    def _goes_on(self, offer: Callable[[], bool]) -> bool:
        self._asking = True
        try:
            goes_on = offer()
        finally:
            self._asking = False
            self._came = [time.monotonic()]
        if goes_on:
            self._came, self._pending = [], None
        return goes_on
