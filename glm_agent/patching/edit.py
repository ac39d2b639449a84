"""One replacement in one text: a ladder of rungs, each taken only if exactly one place fits."""

from __future__ import annotations

import re
from typing import NamedTuple

from .glyphs import plain
from .indent import indent_of
from .page import INDENTATION, Page, starts
from .readings import Reading, elision, is_fenced_alone, is_numbered_alone, readings, shortened
from .refusal import PatchRefused, missing, several

_LIMIT = 4 * 1024 * 1024  # characters of `old` and of `new`
_FENCED = (".md", ".mdx", ".markdown", ".rmd", ".qmd", ".mdc", ".txt")  # files that may get code fences
_TELLING = 12  # letters and digits that text must have to be known again
_SPACE = " \t"
_OUTDENTED = re.compile(
    r"\s*(?:[)\]}@]|(?:else|elif|except|finally|catch|end|case|default|def|class|fi|done)\b)"
)


class Edited(NamedTuple):
    """The new text, and what had to be overlooked to find the place ("" for nothing)."""

    text: str
    tolerance: str
    places: int = 1


class _Spot(NamedTuple):
    """`old` as it stands at the offset `start`, and what comes in its place."""

    start: int
    old: str
    new: str


def apply_edit(text: str, old: str, new: str, replace_all: bool = False, path: str = "") -> str:
    """`text` with the one `old` in it (with `replace_all` every exact one) as `new`. Raises PatchRefused."""
    return edit(text, old, new, replace_all, path).text


def edit(text: str, old: str, new: str, replace_all: bool = False, path: str = "") -> Edited:
    """Like `apply_edit`, and says which tolerance was needed. Raises PatchRefused.

    The name at the end of `path` tells whether code fences may come into the file.
    """
    _check(text, old, new)
    if not path.lower().endswith(_FENCED) and is_fenced_alone(old, new, text):
        raise PatchRefused("`new` is in a code fence, `old` is not", hint="send `new` without the ``` lines")
    page = Page(text)
    for reading in readings(old, new, text):
        found = _found(page, reading, replace_all)
        if found and found.text == text:
            raise PatchRefused("the edit changes nothing: the file is so already", hint="go on")
        if found:
            tolerance = ", ".join(filter(None, (reading.tolerance, found.tolerance)))
            return found._replace(tolerance=tolerance)
    raise _not_found(text, old, new)


def _check(text: str, old: str, new: str) -> None:
    if not old:
        raise PatchRefused("`old` is empty", hint="give the lines to replace; to make a file use `write`")
    if old == new:
        raise PatchRefused("`old` and `new` are the same: nothing to do")
    if len(old) > _LIMIT or len(new) > _LIMIT:
        raise PatchRefused(f"`old` or `new` is longer than {_LIMIT} characters", hint="edit in parts")
    if is_numbered_alone(old, new):
        raise PatchRefused("`new` has line numbers, `old` has none", hint="send both without line numbers")
    if line := shortened(old, new, text):
        hint = f"`new` must have every line that is to be there; it has {line.strip()[:160]!r}"
        raise PatchRefused("`new` leaves out code", hint=hint)


def _found(page: Page, reading: Reading, replace_all: bool) -> Edited | None:
    if reading.whole:
        return _by_lines(page, reading)
    return _literal(page, reading, replace_all) or _alike(page, reading) or _by_lines(page, reading)


def _literal(page: Page, reading: Reading, replace_all: bool) -> Edited | None:
    """`old` as it is, wherever it begins and ends."""
    text, spots = page.text, _spots(page.text, reading)
    tolerance = "line endings" if any(spot.old != reading.old for spot in spots) else ""
    if replace_all and spots:
        return Edited(_replaced(text, spots), tolerance, len(spots))
    if len(spots) > 1:
        raise _ambiguous([text.count("\n", 0, spot.start) for spot in spots], page.lines)
    for spot in spots:
        above = text[: spot.start]
        _refuse_twice(text, above, spot.old, spot.new)
        if not _misfits(above, spot.old, spot.new):
            return Edited(_replaced(text, spots), tolerance)
    return None


def _spots(text: str, reading: Reading) -> list[_Spot]:
    """Where `old` stands with the line ends the text has there, and `new` with the same."""
    sent, old, new = reading.old, reading.old.replace("\r\n", "\n"), reading.new.replace("\r\n", "\n")
    spots = [_Spot(start, old, new) for start in starts(text, old)]
    if "\r\n" not in text:
        return spots or [_Spot(start, sent, reading.new) for start in starts(text, sent) if sent != old]
    both = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    if both[0] == old:  # one line: its own end says which
        return [_Spot(spot.start, old, both[1] if _has_crlf(text, spot.start) else new) for spot in spots]
    spots = [spot for spot in spots if old[0] != "\n" or text[spot.start - 1 : spot.start] != "\r"]
    spots += [_Spot(start, *both) for start in starts(text, both[0])]
    if sent not in (old, both[0]):
        spots += [_Spot(start, sent, reading.new) for start in starts(text, sent)]
    return sorted(spots)


def _has_crlf(text: str, start: int) -> bool:
    """Whether the line at `start` ends with CRLF; a last line without an end is like the one above it."""
    end = text.find("\n", start)
    return text[(end if end >= 0 else text.rfind("\n")) - 1] == "\r"


def _replaced(text: str, spots: list[_Spot]) -> str:
    parts: list[str] = []
    done = 0
    for start, old, new in spots:
        if start >= done:
            parts += [text[done:start], new]
            done = start + len(old)
    return "".join([*parts, text[done:]])


def _refuse_twice(text: str, above: str, old: str, new: str) -> None:
    """Refuses to add around `old` what stands around it already."""
    within = new.find(old)
    added = new[:within] + new[within + len(old) :]
    start = len(above) - within
    if within < 0 or start < 0 or not _tells(added) or not text.startswith(new, start):
        return
    line = text.count("\n", 0, start) + 1
    raise PatchRefused(f"already applied: `new` stands at line {line}", hint="go on, or edit what is there")


def _tells(text: str) -> bool:
    return sum(char.isalnum() for char in text) >= _TELLING


def _misfits(above: str, old: str, new: str) -> bool:
    """Whether `old` begins inside a line's indentation, and `new` was written as if it did not."""
    left = above[above.rfind("\n") + 1 :]
    if not left or left.strip(_SPACE):
        return False
    if not new.strip():
        return not new and old.endswith("\n")
    first, _, rest = new.partition("\n")
    second = rest.partition("\n")[0]
    if indent_of(old) != indent_of(new) or (indent_of(old) and rest):
        return True
    if "\n" in old.removesuffix("\n") or not second.strip():
        return False
    deep, opens = len(indent_of(second)), first.rstrip().endswith((":", "{"))
    if deep > len(left) or (deep == len(left) and not opens) or _OUTDENTED.match(second):
        return False
    if deep and not opens:
        hint = "send whole lines, each with its own indentation"
        raise PatchRefused("`old` begins inside the indentation of its line", hint=hint)
    return True


def _alike(page: Page, reading: Reading) -> Edited | None:
    """`old` but for look-alike characters; whole lines are then laid over the file's."""
    old, new, text = reading.old, reading.new, page.text
    if (text.isascii() and old.isascii()) or old.startswith("\n"):
        return None
    if old.endswith("\n") and new.endswith("\n"):
        old, new = old[:-1], new[:-1]
    found = starts(plain(text), plain(old))
    if len(found) > 1:
        raise _ambiguous([text.count("\n", 0, start) for start in found], page.lines)
    if not found or old.endswith("\n") or _misfits(text[: found[0]], old, new):
        return None
    at = text.count("\n", 0, found[0])
    left = text[text.rfind("\n", 0, found[0]) + 1 : found[0]]
    end = found[0] + len(old)
    right = text[end:].partition("\n")[0]
    return Edited(page.laid(at, f"{left}{old}{right}", f"{left}{new}{right}"), "look-alike characters")


def _by_lines(page: Page, reading: Reading) -> Edited | None:
    """Whole lines, on the looser rungs; None if they are nowhere."""
    old, new = reading.old, reading.new
    if old.endswith("\n") and len(old) > 1 and not (new and not new.endswith("\n") and page.has(old)):
        old, new = old[:-1], new.removesuffix("\n") if new else None
    rungs = page.tolerances[:INDENTATION] if reading.whole else page.tolerances
    for rung, tolerance in enumerate(rungs):
        places = page.places(old, rung)
        if len(places) > 1:
            raise _ambiguous(places, page.lines)
        if places and not old.strip():
            raise PatchRefused("`old` has only blank lines", hint="add the lines around them")
        if places and page.is_near_blank(places[0], old, reading.above, reading.below):
            return None
        if places:
            return Edited(page.laid(places[0], old, new), tolerance)
    return None


def _ambiguous(lines: list[int], rows: list[str]) -> PatchRefused:
    hint = several(lines, rows) + "\nadd lines around it, or set replace_all"
    return PatchRefused("`old` fits at more than one place", hint=hint)


def _not_found(text: str, old: str, new: str) -> PatchRefused:
    start = text.find(new.strip("\n")) if _tells(new) else -1
    if start >= 0:
        line = text.count("\n", 0, start) + 1
        return PatchRefused(f"already applied: `new` stands at line {line}", hint="go on")
    if line := elision(old):
        hint = f"`old` must have every line; it has {line.strip()[:160]!r}. Edit each part by itself"
        return PatchRefused("`old` leaves out lines", hint=hint)
    return PatchRefused("`old` is not in the file", hint=missing(old.split("\n"), text.split("\n")))
