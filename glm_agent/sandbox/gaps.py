"""Folders that are open but for something in them: what else they hold is named, entry by entry."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import SandboxError

_MOST = 10_000  # entries: each is a rule, or a mount


class Part(NamedTuple):
    """A place that is open as a whole, or a folder whose other entries are parts of their own."""

    place: Path
    is_whole: bool


def around(path: Path, spared: Collection[Path], *, links: bool = False) -> Iterator[Part]:
    """What of `path` is not `spared`, which are places without links. A folder comes before its entries.

    Links in a folder that is opened in part are left out, or with `links` those that lead to nothing spared.
    Raises SandboxError where that is too much.
    """
    above = {parent for place in spared for parent in place.parents}
    real = path.resolve()
    if real in spared:
        return
    if real not in above:
        yield Part(path, True)
        return
    todo, number = [real], 0
    while todo:
        folder = todo.pop()
        yield Part(folder, False)
        for entry in _entries(folder):
            place, number = Path(entry.path), number + 1
            if number > _MOST:
                raise SandboxError(
                    f"{folder} has too many files beside one that is to be hidden; move that one"
                )
            if place in above and not entry.is_symlink():
                todo.append(place)
            elif place not in spared and (
                not entry.is_symlink() or (links and _is_clear(place, spared, above))
            ):
                yield Part(place, True)


def _is_clear(link: Path, spared: Collection[Path], above: Collection[Path]) -> bool:
    target = link.resolve()
    return target not in above and not any(place in spared for place in (target, *target.parents))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # what cannot be listed is not opened
        return []
