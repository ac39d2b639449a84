"""A text as lines, each found again by what counts of it, and replaced with its line end kept."""

from __future__ import annotations

from collections.abc import Callable

from .glyphs import plain
from .overlay import overlay
from .refusal import PatchRefused

_MANY = 1000  # places: more are not counted
_NEAR = 4  # lines
_SPACE = " \t"

INDENTATION = 3  # the last rung

# The rungs, strictest first: what counts of a line, and the name of what is overlooked.
_RUNGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", lambda line: line),
    ("trailing space", lambda line: line.rstrip(_SPACE)),
    ("look-alike characters", lambda line: plain(line).rstrip(_SPACE)),
    ("indentation", lambda line: plain(line).strip(_SPACE)),
)


def starts(text: str, part: str) -> list[int]:
    """Where `part` stands in `text`, the first thousand times; places may overlap."""
    found: list[int] = []
    at = text.find(part)
    while at >= 0 and len(found) < _MANY:
        found.append(at)
        at = text.find(part, at + 1)
    return found


class Page:
    """Lines are split at "\\n" alone; `lines` have no line end, `rows` keep their CR."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.rows = text.split("\n")
        self.final = not self.rows[-1]
        self.lines = [row.removesuffix("\r") for row in (self.rows[:-1] if self.final else self.rows)]
        self.tolerances = ["line endings" if "\r" in text else "", *(name for name, _ in _RUNGS[1:])]
        self._keyed: dict[int, str] = {}

    def places(self, old: str, rung: int) -> list[int]:
        """The lines (from 0) at which `old` stands, as far as it counts on this rung."""
        key = _RUNGS[rung][1]
        if rung not in self._keyed:
            self._keyed[rung] = "\n".join(["", *map(key, self.lines), ""])
        keyed = self._keyed[rung]
        wanted = "\n".join(["", *map(key, _lines(old)), ""])
        return [keyed.count("\n", 0, start) for start in starts(keyed, wanted)]

    def has(self, old: str) -> bool:
        return any(self.places(old, rung) for rung in range(len(_RUNGS)))

    def is_near_blank(self, at: int, old: str, above: int, below: int) -> bool:
        """Whether blank lines that `old` was to have around it are just a little further off."""
        end = at + len(_lines(old))
        beyond = self.lines[max(0, at - _NEAR) : at] if above else []
        beyond = beyond + (self.lines[end : end + _NEAR] if below else [])
        return not all(line.strip() for line in beyond)

    def laid(self, at: int, old: str, new: str | None) -> str:
        """The text with the lines of `new` (None: not even one) in place of those of `old`, at line `at`."""
        sent, given = _lines(old), [] if new is None else _lines(new)
        end = at + len(sent)
        self._refuse_slipped(at, sent)
        rows: list[str] = []
        before = at  # the line of the file whose end a new line takes
        for line in overlay(self.lines[at:end], sent, given):
            if isinstance(line, int):
                before = min(at + line + 1, end - 1)
                line = self.lines[at + line] if self._ends_here(at + line) else self.rows[at + line]
            rows.append(line if line.endswith("\r") or not self._crlf(before) else line + "\r")
        if end == len(self.rows):
            rows = [*rows[:-1], rows[-1].removesuffix("\r")] if rows else [""]
        return "\n".join([*self.rows[:at], *rows, *self.rows[end:]])

    def _refuse_slipped(self, at: int, sent: list[str]) -> None:
        """Refuses a block whose outer line stands, as sent, just outside of it: a line was left out."""
        for inner, outer, line in ((at, at - 1, sent[0]), (at + len(sent) - 1, at + len(sent), sent[-1])):
            if line.strip() and self.lines[inner] != line and self.lines[max(outer, 0) : outer + 1] == [line]:
                hint = f"line {outer + 1} of the file is like it, line {inner + 1} is not; copy both"
                raise PatchRefused("`old` seems to leave out a line", hint=hint)

    def _ends_here(self, at: int) -> bool:
        return not self.final and at == len(self.rows) - 1

    def _crlf(self, at: int) -> bool:
        """Whether line `at` ends with CRLF; a last line without an end is like the one above it."""
        return self.rows[at - 1 if self._ends_here(at) and at else at].endswith("\r")


def _lines(text: str) -> list[str]:
    return [line.removesuffix("\r") for line in text.split("\n")]
