"""What a diff takes out of tests, by the look of its lines: said, and never judged. Pure.

Python, JavaScript, Go, Rust and Java are known. What is only moved, within a file or to another, is not said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .paths import shown
from .sections import Section

_LONGEST = 400  # characters of a line that are looked at
_MOST_FILES, _MOST_NAMES = 10, 5

_TEST_FILE = re.compile(
    r"(?:^|/)(?:tests?|__tests__|specs?|e2e)/|(?:^|/)(?:test_[^/]*|conftest)\.py$|_test\.(?:py|go)$"
    r"|\.(?:test|spec)\.[cm]?[jt]sx?$|(?:Tests?|IT|Spec)\.(?:java|kt|scala)$|\.rs$"
)
_TEST = re.compile(
    r"\s*(?:async\s+)?def (?P<python>test\w*)\(|func (?P<go>(?:Test|Fuzz|Example)\w*)\("
    r"|\s*(?:it|test|describe)(?:\.each\(.*\))?\(\s*(?P<js>\"[^\"]*\"|'[^']*'|`[^`]*`)"
    r"|\s*(?:public\s+|private\s+)?void (?P<java>\w+)\(\)"
    r"|\s*(?P<rust>#\[(?:\w+::)*test\b[^]]*\]|@(?:Parameterized|Repeated)?Test\b)"
)
_ASSERTION = re.compile(
    r"\s*(?:await\s+)?(?:debug_)?assert(?:\s|\(|_\w+!|!|\.|\w*\()|\s*(?:\w+\.)*(?:assert\w*|assertThat)\("
    r"|\s*(?:await\s+)?expect\(|\s*(?:require|assert)\.\w+\(|\s*\w+\.(?:Error|Fatal|Fail)(?:f|Now)?\("
    r"|\s*with (?:pytest\.)?(?:raises|warns)\("
)
_SKIP = re.compile(
    r"\s*@?(?:pytest\.)?(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b|\s*@(?:unittest\.)?(?:skip\w*|expectedFailure)\b"
    r"|\s*(?:self\.)?skipTest\(|\s*\w+\.Skip(?:f|Now)?\(|\s*#\[ignore\b|\s*@(?:Disabled|Ignore)\b"
    r"|\s*(?:it|test|describe|suite)\.(?:skip|only|todo|fails|failing)\b|\s*(?:x|f)(?:it|test|describe)\("
)


class _Seen(NamedTuple):
    """What the lines of one kind hold: names of tests, assertions, and what keeps tests from running."""

    tests: list[str]
    assertions: list[str]
    skips: list[str]


def find(sections: Iterable[Section]) -> list[str]:
    """A line for each test file that loses something, and how many more there are."""
    files = [(it.path, _look(it.added), _look(it.removed)) for it in sections if _TEST_FILE.search(it.path)]
    tests = Counter(test for _, added, _ in files for test in added.tests)
    kept = Counter(line for _, added, _ in files for line in added.assertions)
    before = Counter(line for _, _, removed in files for line in removed.skips)
    found: list[str] = []
    for path, added, removed in files:
        gone = list(_without(removed.tests, tests))
        lost = len(list(_without(removed.assertions, kept)))
        skips = len(list(_without(added.skips, before)))
        new = max(0, len(added.assertions) - len(removed.assertions) + lost)
        parts = [
            f"{_count(len(gone), 'test')} removed{_names(gone)}" * bool(gone),
            f"{_count(max(0, lost - new), 'assertion')} removed" * (lost > new),
            f"{_count(min(lost, new), 'assertion')} changed" * bool(min(lost, new)),
            f"{_count(skips, 'mark')} added that skips tests, or all others" * bool(skips),
        ]
        if said := "; ".join(filter(None, parts)):
            found.append(f"{shown(path)}: {said}")
    more = len(found) - _MOST_FILES
    return [*found[:_MOST_FILES], f"and {_count(more, 'more test file')} like these"] if more > 0 else found


def _look(lines: Sequence[str]) -> _Seen:
    seen = _Seen([], [], [])
    for line in (line[:_LONGEST] for line in lines):
        if match := _TEST.match(line):
            seen.tests.append(next(filter(None, match.groups())).strip())
        if _ASSERTION.match(line):
            seen.assertions.append(line.strip())
        if _SKIP.match(line):
            seen.skips.append(line.strip())
    return seen


def _without(lines: Sequence[str], others: Counter[str]) -> Iterator[str]:
    """Those of `lines` that are not among `others`, each of which stands for one."""
    for line in lines:
        if others[line] > 0:
            others[line] -= 1
        else:
            yield line


def _names(found: Sequence[str]) -> str:
    names = [name for name in found if not name.startswith(("#", "@"))][:_MOST_NAMES]
    return f" ({', '.join(map(shown, names))}{', …' * (len(found) > _MOST_NAMES)})" if names else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
