"""Places in files that a text cites (`a.py:10`, `a.py#L3-L9`, `a.py, line 10`), and whether they exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

Status = Literal["verified", "no_such_file", "no_such_line", "unreadable"]

# What may stand in a path that is not quoted. It ends where Markdown and prose go on.
_WORD = re.compile(r"[^\s`\"'<>()\[\]{},;|*\u201c\u201d\u2018\u2019«»]+")
_PLACE = re.compile(
    r"(?P<path>[^:#]{1,400})(?:#L|:L?)(?P<line>[0-9]{1,9})(?:[:C][0-9]{1,9})?"
    r"(?:[-\u2013]L?(?P<end>[0-9]{1,9})(?:[:C][0-9]{1,9})?)?(?!\w|[.:\u2013-]\w)"
)
_IN_WORDS = re.compile(
    r"[`\"'*)\]]{0,4},?\s{1,3}\(?(?:(?:at|on|around)\s)?lines?\s{1,3}(?P<line>[0-9]{1,9})(?!\w|[.:]\w)"
    r"(?:\s?(?:[-\u2013]|to)\s?(?P<end>[0-9]{1,9})(?!\w|[.:]\w))?"
)
_EXTENSION = re.compile(r"[^/.]\.[A-Za-z][A-Za-z0-9_+-]{0,11}$|(?:^|/)\.[A-Za-z][\w.-]*$")
_LETTER = re.compile(r"[^\W\d_]")
# Ends of names of hosts, which stand before a colon and a number as well.
_HOST = re.compile(
    r"\.(?:ai|app|cloud|com|dev|edu|gov|internal|invalid|io|lan|local|localhost|net|org|svc|test)$",
    re.IGNORECASE,
)


class Citation(NamedTuple):
    """Lines `line` to `end_line` of `path`; if not `certain`, it may be something else, such as a port."""

    path: str
    line: int
    end_line: int
    certain: bool = True

    def __str__(self) -> str:
        end = f"-{self.end_line}" if self.end_line != self.line else ""
        return f"{self.path}:{self.line}{end}"


class Checked(NamedTuple):
    citation: Citation
    status: Status


def find(text: str) -> list[Citation]:
    """The places that `text` names, each once, in order; what is in a URL is none."""
    return list(dict.fromkeys(_places(text)))


def check(citations: list[Citation], lines_of: Callable[[str], int | Status]) -> list[Checked]:
    """What is true of each; `lines_of` gives a file's number of lines, or why there is none.

    Of what may be no citation at all only that is kept which names a file.
    """
    known: dict[str, int | Status] = {}
    found: list[Checked] = []
    for citation in citations:
        if citation.path not in known:
            known[citation.path] = lines_of(citation.path)
        status = _status(citation, known[citation.path])
        if citation.certain or status != "no_such_file":
            found.append(Checked(citation, status))
    return found


def _status(citation: Citation, lines: int | Status) -> Status:
    if not isinstance(lines, int):
        return lines
    return "verified" if 1 <= citation.line <= citation.end_line <= lines else "no_such_line"


def _places(text: str) -> Iterator[Citation]:
    for chunk in re.finditer(r"\S+", text):
        visible = _before_url(chunk[0])
        for word in _WORD.finditer(visible):
            if place := _PLACE.match(word[0]):
                yield from _citation(place["path"], place)
            elif place := _IN_WORDS.match(text, chunk.start() + word.end()):
                named = _citation(word[0].rstrip(".,:;!?"), place)
                yield from (one for one in named if one.certain)  # "see line 3" names no file


def _before_url(chunk: str) -> str:
    """What stands before a URL in a run of text without blanks; behind it all is part of it."""
    start = chunk.find("://")
    if start < 0:
        return "" if "www." in chunk else chunk
    while start and (chunk[start - 1].isalnum() or chunk[start - 1] in "+.-"):
        start -= 1
    return chunk[:start]


def _citation(path: str, place: re.Match[str]) -> Iterator[Citation]:
    if not _LETTER.search(path):  # 12:30, 127.0.0.1:8080
        return
    line = int(place["line"])
    certain = _EXTENSION.search(path) is not None and not _HOST.search(path)
    yield Citation(path, line, int(place["end"] or line), certain)
