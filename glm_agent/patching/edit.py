"""One replacement in one text, by the ladder of a hunk: each rung only if exactly one place fits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from . import locate
from .indent import NONE, Shift, indent_of, uniform
from .locate import Source
from .parse import Hunk, Line
from .refusal import PatchRefused, missing, several
from .splice import Placement, splice

_MANY = 11  # places: more are not counted
_LIMIT = 4 * 1024 * 1024  # characters of `old` and of `new`
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


class Edited(NamedTuple):
    """The new text, and what had to be overlooked to find the place ("" for nothing)."""

    text: str
    tolerance: str


def apply_edit(text: str, old: str, new: str, replace_all: bool = False) -> str:
    """`text` with the one `old` in it (with `replace_all` every exact one) as `new`. Raises PatchRefused."""
    return edit(text, old, new, replace_all).text


def edit(text: str, old: str, new: str, replace_all: bool = False) -> Edited:
    """Like `apply_edit`, and says which tolerance was needed. Raises PatchRefused."""
    if not old:
        raise PatchRefused("`old` is empty", hint="give the lines to replace; to make a file use `write`")
    if old == new:
        raise PatchRefused("`old` and `new` are the same: nothing to do")
    if len(old) > _LIMIT or len(new) > _LIMIT:
        raise PatchRefused(f"`old` or `new` is longer than {_LIMIT} characters", hint="edit in parts")
    done = _everywhere(text, old, new) if replace_all else _once(text, old, new)
    if done.text == text:
        raise PatchRefused("the edit changes nothing")
    return done


def _everywhere(text: str, old: str, new: str) -> Edited:
    for sent, given, tolerance in _spellings(text, old, new):
        if sent in text:
            return Edited(text.replace(sent, given), tolerance)
    raise PatchRefused("`old` is not in the file exactly, as `replace_all` needs", hint=_nearest(text, old))


def _once(text: str, old: str, new: str) -> Edited:
    found = _exact(text, old, new) or _by_lines(text, old, new)
    if found:
        return found
    for sent, given in _unescaped(old, new):
        if found := _exact(text, sent, given):
            return Edited(found.text, "one level of backslashes")
    raise PatchRefused("`old` is not in the file", hint=_nearest(text, old))


def _exact(text: str, old: str, new: str) -> Edited | None:
    for sent, given, tolerance in _spellings(text, old, new):
        starts = _starts(text, sent)
        if len(starts) > 1:
            lines = [text.count("\n", 0, start) for start in starts]
            hint = several(lines, text.split("\n")) + "\nadd lines around it, or set replace_all"
            raise PatchRefused("`old` fits at more than one place", hint=hint)
        if starts and not _doubles_indent(text[: starts[0]], sent, given):
            end = starts[0] + len(sent)
            return Edited(text[: starts[0]] + given + text[end:], tolerance)
    return None


def _spellings(text: str, old: str, new: str) -> list[tuple[str, str, str]]:
    """`old` and `new` with the line ends the text may have: as sent, as CRLF, as LF."""
    crlf = "\r\n" in text
    if "\r" in old or "\r" in new:
        lf = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
        return [(old, new, "")] if crlf else [(old, new, ""), (*lf, "line endings")]
    if not crlf:
        return [(old, new, "")]
    both = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    if "\n" in old:
        return [(old, new, ""), (*both, "line endings")]
    at = text.find(old)
    end = text.find("\n", at)
    return [(*both, "")] if end < 0 or text[end - 1] == "\r" else [(old, new, "")]


def _starts(text: str, old: str) -> list[int]:
    starts: list[int] = []
    at = text.find(old)
    while at >= 0 and len(starts) < _MANY:
        starts.append(at)
        at = text.find(old, at + 1)
    return starts


def _doubles_indent(above: str, old: str, new: str) -> bool:
    """Whether `old` begins inside a line's indentation and `new` with another indentation than `old`."""
    left = above[above.rfind("\n") + 1 :]
    return bool(left) and not left.strip(" \t") and bool(new.strip()) and indent_of(old) != indent_of(new)


def _by_lines(text: str, old: str, new: str) -> Edited | None:
    """Whole lines, on the looser rungs; None if they are nowhere."""
    source = Source(text)
    hunk = _hunk(old, new)
    rung = next((r for r in range(len(locate.TOLERANCES)) if source.places(hunk.before, r)), None)
    if rung is None:
        return None
    spot = locate.find(source, hunk.before, None, "")
    shift = _shift(source, hunk, spot.at) if rung >= locate.INDENTATION else NONE
    return Edited(splice(source, [Placement(hunk, spot, shift)]), locate.TOLERANCES[rung])


def _hunk(old: str, new: str) -> Hunk:
    """The replacement as a hunk: lines that `old` and `new` share at either end are context."""
    whole = old.endswith("\n") and len(old) > 1
    before = (old[:-1] if whole else old).split("\n")
    after = (new.removesuffix("\n") if whole else new).split("\n") if new or not whole else []
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    room = min(len(before), len(after)) - head
    ends = zip(reversed(before), reversed(after), strict=False)
    tail = min(room, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends)))
    lines = [Line(" ", line) for line in before[:head]]
    lines += [Line("-", line) for line in before[head : len(before) - tail]]
    lines += [Line("+", line) for line in after[head : len(after) - tail]]
    lines += [Line(" ", line) for line in before[len(before) - tail :]]
    return Hunk(lines)


def _shift(source: Source, hunk: Hunk, at: int) -> Shift:
    """How to indent `new`: not at all if it has the file's indentation, moved if it has that of `old`."""
    there = source.lines[at : at + len(hunk.before)]
    evidence = _evidence(hunk.before, hunk.after, there)
    if all(indent_of(given) == indent_of(found) for _, given, found in evidence):
        return NONE
    shift = uniform(zip(hunk.before, there, strict=True))
    follows = all(indent_of(given) == indent_of(sent) for sent, given, _ in evidence)
    if shift is None or not follows or shift.of_all(hunk.after) is None:
        hint = "the file has:\n" + "\n".join(repr(line[:160]) for line in there[:6])
        raise PatchRefused(
            "`old` is in the file only with another indentation", hint=hint + "\ncopy it exactly"
        )
    return shift


def _evidence(
    before: Sequence[str], after: Sequence[str], there: Sequence[str]
) -> list[tuple[str, str, str]]:
    """(old, new, file) for lines that `old` and `new` share but for indentation, else for their first."""
    triples = list(zip(before, after, there, strict=False))
    head = list(takewhile(lambda t: t[0].strip() == t[1].strip(), triples))
    ends = zip(reversed(before), reversed(after), reversed(there), strict=False)
    tail = list(takewhile(lambda t: t[0].strip() == t[1].strip(), ends))
    shared = [triple for triple in (*head, *tail) if triple[0].strip()]
    first = [triple for triple in triples[:1] if triple[0].strip() and triple[1].strip()]
    return shared or first


def _unescaped(old: str, new: str) -> list[tuple[str, str]]:
    """`old` and `new` without one level of backslashes, where both show that they have one too many."""
    readings: list[tuple[str, str]] = []
    for letters, bare in (('"', re.compile(r'(?<!\\)"')), ('nt"\\', re.compile(r'[\n\t]|(?<!\\)"'))):
        if bare.search(old) or bare.search(new):
            continue
        pattern = re.compile(rf"\\([{re.escape(letters)}])")
        sent, given = (pattern.sub(lambda match: _ESCAPES[match[1]], side) for side in (old, new))
        if sent not in (old, given):
            readings.append((sent, given))
    return readings


def _nearest(text: str, old: str) -> str:
    return missing(old.split("\n"), text.split("\n"))
