"""Moments at which tests let the program die or its disk fail. Else they mean nothing."""

from __future__ import annotations

from collections.abc import Callable

_hooks: list[Callable[[str], None]] = []


def failpoint(name: str) -> None:
    """The program has come to `name`; the hook may end it here, or raise what the kernel would."""
    for hook in _hooks:
        hook(name)


def install(hook: Callable[[str], None]) -> None:
    """From now on `hook` is called at each failpoint."""
    _hooks.append(hook)
