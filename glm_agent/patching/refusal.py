"""The one way the engine says no, and the look at the real file that makes a refusal useful."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..errors import ToolError

NO_FILE = "there is no such file"
MISSING_LINES = "these lines are not in the file"
NO_SINGLE_WAY = "its indentation differs from the file's in no single way"

_HINT_LIMIT = 1000  # characters of file shown
_WIDTH = 160  # of one line shown
_LINES = 12
_FILE_LINES = 50_000  # looked at for the nearest region
_WANTED_LINES = 200
_POSITIONS = 50  # of one line that occurs often
_FUZZY_LINES = 2000  # compared by similarity, and only to choose what is shown


class PatchRefused(ToolError):
    """Nothing was changed. `reason` is one line, `hunk` counts from 1 in `path`, `hint` says what to do."""

    def __init__(self, reason: str, path: str = "", hunk: int | None = None, hint: str = "") -> None:
        self.reason, self.path, self.hunk, self.hint = reason, path, hunk, hint
        super().__init__(reason, path, hunk, hint)

    def __str__(self) -> str:
        place = self.path if self.path.isprintable() else ascii(self.path)
        place += f", hunk {self.hunk}" if self.hunk is not None else ""
        head = f"{place}: {self.reason}" if place else self.reason
        return f"{head}\n{self.hint}" if self.hint else head


def missing(wanted: Sequence[str], lines: Sequence[str]) -> str:
    """Shows the region of `lines` that is most like `wanted` (at most 1 KB), and where they first differ."""
    start = _nearest(wanted[:_WANTED_LINES], lines[:_FILE_LINES])
    if start is None:
        return f"nothing in the file is like it; it begins:\n{numbered(lines, 0, 5)}\nread the file again"
    first = next((i for i, line in enumerate(wanted) if _line(lines, start + i) != line), 0)
    there, sent = _line(lines, start + first), wanted[first]
    spelled = _blanks_shown if _without_blanks(there) == _without_blanks(sent) else _shown
    note = f"first difference at line {start + first + 1}: the file has {spelled(there)}"
    note += f", you sent {spelled(sent)}"
    top = max(0, start, start + first - _LINES // 2)
    shown = numbered(lines, top, _LINES)
    return f"{note}\nnearest lines of the file:\n{shown}\ncopy them exactly and send it again"


def several(starts: Sequence[int], lines: Sequence[str]) -> str:
    """Names the places (0-based) that fit equally well, at most ten of them."""
    shown = "\n".join(f"{at + 1}: {lines[at][:_WIDTH]}" for at in starts[:10] if at < len(lines))
    return f"it fits at lines {', '.join(str(at + 1) for at in starts[:10])}:\n{shown[:_HINT_LIMIT]}"


def numbered(lines: Sequence[str], start: int, count: int) -> str:
    """`count` lines from `start` (0-based) as `number: text`, at most 1 KB."""
    rows = [f"{at + 1}: {lines[at][:_WIDTH]}" for at in range(max(0, start), min(start + count, len(lines)))]
    while len(rows) > 1 and sum(map(len, rows)) + len(rows) > _HINT_LIMIT:
        rows.pop()
    return "\n".join(rows)


def _line(lines: Sequence[str], at: int) -> str:
    return lines[at] if 0 <= at < len(lines) else ""


def _shown(line: str) -> str:
    return repr(line[:_WIDTH])


def _without_blanks(line: str) -> str:
    return "".join(line.split())


def _blanks_shown(line: str) -> str:
    """`line` with every blank visible: `·` for a space, `→` for a tab, an escape for any other."""
    spelled = line[:_WIDTH].replace(" ", "·").replace("\t", "→")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in spelled)


def _nearest(wanted: Sequence[str], lines: Sequence[str]) -> int | None:
    """Where most of `wanted` stands in order; every line that is there votes for a start, rare ones more."""
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for at, line in enumerate(lines):
        positions[line.strip()].append(at)
    votes: defaultdict[int, float] = defaultdict(float)
    for offset, line in enumerate(wanted):
        found = positions.get(line.strip(), []) if line.strip() else []
        for at in found[:_POSITIONS]:
            votes[at - offset] += 1 / len(found)
    if votes:
        return max(0, max(votes, key=lambda start: (votes[start], -start)))
    return _most_alike(wanted, lines)


def _most_alike(wanted: Sequence[str], lines: Sequence[str]) -> int | None:
    import difflib  # 8 ms, and only to choose what a refusal shows

    target = max(wanted, key=lambda line: len(line.strip()), default="").strip()[:_WIDTH]
    if not target:
        return None
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(target)
    best, start = 0.6, None
    for at, line in enumerate(lines[:_FUZZY_LINES]):
        matcher.set_seq1(line.strip()[:_WIDTH])
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best and matcher.ratio() > best:
            best, start = matcher.ratio(), at
    return start
