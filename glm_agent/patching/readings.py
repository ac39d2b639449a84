"""What `old` and `new` may mean where they were wrapped on their way: numbered, fenced, escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple


class Reading(NamedTuple):
    """One replacement, and what had to be taken off to read it so.

    `whole`: only whole lines are meant, with their indentation. `above`, `below`: blank lines taken off.
    """

    old: str
    new: str
    tolerance: str = ""
    whole: bool = False
    above: int = 0
    below: int = 0


_NUMBERED = re.compile(r" *([0-9]{1,7})((?:[\t:|│→ ].*)?)", re.DOTALL)
_MARKS = ("\t", " | ", "| ", "|", " │ ", "│", "→", ": ", ":", "  ", " ")
_PRINTED = ("\t", " | ", "| ", "|", " │ ", "│", "→")  # not how lists are numbered
_BLANK = 3  # lines: with more of them around it, text is not looked for
_FENCE = re.compile(r"\s*```[\w+-]*\n(.*)\n```\s*", re.DOTALL)
_TICKS = "```"
_TICKS_ALONE = re.compile(r"\s*```[\w+-]*\s*")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#34;": '"', "&#39;": "'", "&apos;": "'", "&amp;": "&"}
_ENTITY = re.compile("|".join(_ENTITIES))
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_LEVELS = (('"', re.compile(r'(?<!\\)"')), ('nt"\\', re.compile(r'[\n\t]|(?<!\\)"')))
_ELISION = re.compile(r"\s*(?:(?:#|//|/\*|\{/\*|<!--|--|;|%|\*)\s*)?(?:\.{3}|…)")
_SHORTENED = re.compile(
    r"\s*(?:#|//|/\*|\{/\*|<!--|--|;|%|\*)\s*"
    r"(?:(?:\.{3}|…).*\b(?:existing|rest|remaining|unchanged|same|previous)\b"
    r"|(?:existing|rest|remaining|unchanged|same|previous)\b.*(?:\.{3}|…)"
    r"|(?:the )?rest of (?:the )?(?:code|file|function|method|class)"
    r"(?: (?:remains?|stays?|is)(?: the)? (?:same|unchanged))?\W*$)",
    re.IGNORECASE,
)


def readings(old: str, new: str, text: str) -> Iterator[Reading]:
    """As sent first; then what both sides show that it may have been."""
    yield Reading(old, new)
    yield from _unspaced(old, new)
    yield from _unnumbered(old, new)
    if _TICKS not in text:
        yield from _unfenced(old, new)
    yield from _unmarked(old, new)
    yield from _unescaped(old, new)


def elision(old: str) -> str | None:
    """A line of `old` that stands for others."""
    return next((line for line in old.split("\n") if _ELISION.match(line)), None)


def shortened(old: str, new: str, text: str) -> str | None:
    """A comment of `new` that stands for code left out, unless it was there before."""
    for line in new.split("\n"):
        if _SHORTENED.match(line) and line.strip() not in old and line.strip() not in text:
            return line
    return None


def is_numbered_alone(old: str, new: str) -> bool:
    """Whether `new` has line numbers as a tool prints them, before lines of `old`, which has none."""
    kept = {line for line in old.split("\n") if line.strip()}
    return any(mark in _PRINTED and kept & set(sent.split("\n")) for sent, mark in _numbers_off(new))


def is_fenced_alone(old: str, new: str, text: str) -> bool:
    """Whether `new` begins or ends with a code fence, and neither `old` nor the file has any."""
    if _TICKS in old or _TICKS in text:
        return False
    lines = [line for line in new.split("\n") if line.strip()]
    return any(_TICKS_ALONE.fullmatch(line) for line in (*lines[:1], *lines[-1:]))


def _unspaced(old: str, new: str) -> Iterator[Reading]:
    """With fewer blank lines around `old` and `new`; the fewer are taken away, the earlier it comes."""
    above, below = _blank(old.split("\n")), _blank(old.split("\n")[::-1])
    if not old.strip() or max(above, below) > _BLANK:
        return
    for first, last in sorted(product(range(above + 1), range(below + 1)), key=sum)[1:]:
        sent, given = _cut(old, first, last), _cut(new, first, last)
        yield Reading(sent, given, "blank lines around it", True, first, last)


def _blank(lines: list[str]) -> int:
    """How many of `lines` are blank before the first that is not; of blank ones alone, all but one."""
    return next((at for at, line in enumerate(lines) if line.strip()), len(lines) - 1)


def _cut(text: str, first: int, last: int) -> str:
    lines = text.split("\n")
    lines = lines[min(first, _blank(lines)) :]
    last = min(last, _blank(lines[::-1]))
    return "\n".join(lines[: len(lines) - last])


def _unnumbered(old: str, new: str) -> Iterator[Reading]:
    """Without line numbers before every line, as `cat -n`, `grep -n` and other agents' tools print them."""
    plain = not any(_NUMBERED.fullmatch(line) for line in new.split("\n"))
    for sent, mark in _numbers_off(old):
        given = new if plain else next((text for text, same in _numbers_off(new) if same == mark), None)
        if given is not None:
            yield Reading(sent, given, "line numbers", whole=True)


def _numbers_off(text: str) -> Iterator[tuple[str, str]]:
    """`text` without consecutive numbers and the same mark before every line, and that mark; each way."""
    lines = text.split("\n")
    end = "\n" if len(lines) > 1 and not lines[-1] else ""
    found = [_NUMBERED.fullmatch(line) for line in (lines[:-1] if end else lines)]
    matches = [match for match in found if match]
    if len(matches) < len(found) or any(int(m[1]) != int(matches[0][1]) + at for at, m in enumerate(matches)):
        return
    rests = [match[2] for match in matches]
    for mark in _MARKS:
        if all(rest.startswith(mark) or rest == mark.rstrip() for rest in rests):
            yield "\n".join(rest[len(mark) :] for rest in rests) + end, mark


def _unfenced(old: str, new: str) -> Iterator[Reading]:
    sent, given = _FENCE.fullmatch(old), _FENCE.fullmatch(new)
    if sent and (given or _TICKS not in new):
        yield Reading(sent[1], given[1] if given else new, "a code fence", whole=True)


def _unmarked(old: str, new: str) -> Iterator[Reading]:
    """Without HTML entities, where nothing stands bare that would have become one."""
    bare = _ENTITY.sub("", old) + _ENTITY.sub("", new)
    if _ENTITY.search(old) and not re.search("[<>&]", bare):
        sent, given = (_ENTITY.sub(lambda match: _ENTITIES[match[0]], side) for side in (old, new))
        yield Reading(sent, given, "HTML entities")


def _unescaped(old: str, new: str) -> Iterator[Reading]:
    """Without one level of backslashes, where both show that they have one too many, or `new` has none."""
    found: list[Reading] = []
    for letters, bare in _LEVELS:
        escape = re.compile(rf"\\([{re.escape(letters)}])")
        if bare.search(old) or not escape.search(old) or (bare.search(new) and escape.search(new)):
            continue
        sent, given = (escape.sub(lambda match: _ESCAPES[match[1]], side) for side in (old, new))
        found.append(Reading(sent, given, "one level of backslashes"))
    if len(found) < 2 or found[0].old != found[1].old or found[0].new == found[1].new:
        yield from found
