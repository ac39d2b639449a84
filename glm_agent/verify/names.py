"""Names of failing checks in what test runners print."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache

from ..reported.junit import bounded
from ..shape import mapping, string

MAX_NAMES = 1000
_MAX_LINE = 2000  # characters of a line that are looked at

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
# Else no pattern below can fit. Each branch begins with a character: then looking through much is cheap.
_HINT = re.compile(
    r"FAIL|ERROR|not ok|Failed|Timeout|SEGFAULT|ILLEGAL|Not Run|borted|\u25cf|\u2715|\xd7|\u2717|\u2716"
    r"|UNEXPECTED SUCCESS|# Subtest: |\"Action\":\"fail\"|PASS "
    r"|\n(?:\x1b\[[\d;]*m)*(?:\d+\) |rspec |___|test at )"
)

# A line that fits one of these names a failing check, whoever else wrote on that output.
_SURE = (
    r"(?:\[gw\d+\] .+?\] )?(?:FAILED|ERROR) ([^\s\[:][^\[:]*\.\w+::[^\[]+?(?:\[.*?\])?)(?: - .*)?$",
    r"(?:FAILED|ERROR) (\S+\.py)(?: - .*)?$",  # pytest, as above: a file that cannot be collected
    r"([^\s:]+\.py::.+?) (?:FAILED|ERROR)(?: +\[ *\d+%\])?$",  # pytest -v
    r"(?:FAIL|ERROR|UNEXPECTED SUCCESS): (\S+ \(\S+\).*)$",  # unittest
    r"FAIL\s+(\S+ \[(?:build|setup) failed\])$",  # go: a package that does not compile
    r" *FAIL \[ *[\d.]+s\] (?:\([ \d/]+\) )?(\S.*)$",  # cargo nextest
    r" *FAIL +(?:\|[^|]*\| +)?(\S+\.\w+ > .+)$",  # vitest
    r" *FAIL +(?:\|[^|]*\| +)?(\S+\.\w+) +\[ .* \]$",  # vitest: a file that cannot be loaded
    r"\s+\d+ - (\S.*?) \((?:Failed|Timeout|SEGFAULT|ILLEGAL|Not Run|\w+ [Aa]borted)\)",  # ctest
    r"\[  FAILED  \] ([^\s.,]+\.[^\s,]+)(?:, where .*)?(?: \(\d+ ms\))?$",  # googletest
    r"\d+\) ([\w\\]+::\w.*)$",  # PHPUnit
    r"rspec \S+ # (\S.*)$",  # RSpec
    r" +Failed (\S.*?) \[[<\d][^\]]*s\]$",  # dotnet
    r"(?:\[ERROR\] )?(?!Tests run: )(\S.*?) +(?:-- )?Time elapsed: .* <<< (?:FAILURE|ERROR)!$",  # surefire
    r"(\S.* > .+) FAILED$",  # Gradle
)
# Told once for each check that fails: two with the same name are two.
_CARGO = re.compile(r"(?:test (\S.*?) \.\.\.|(\S.*?) ---) FAILED$")
_TAP = re.compile(r"( *)not ok \d+ (?:- )?(?!.*# (?:TODO|SKIP))(\S.*?)(?: +# .*)?$")
_SUBTEST = re.compile(r"( *)# Subtest: (.*)$")
_GO = re.compile(r" *--- FAIL: (\S+)")
_GO_PACKAGE = re.compile(r"FAIL\t(\S+)\t[\d.]+s$")
_GO_JSON = re.compile(r'\{.*"Action":"fail"')
_JEST = re.compile(r"  ● (?!Console$|Test suite failed to run$)(\S.*)$")
_NODE = re.compile(r"test at (.+?):\d+:\d+$")
# Only where no line above was found: the same check may appear as both.
_SUREFIRE = re.compile(r"\[ERROR\] +([\w.$>]+\.\w+(?:\[.*?\])?)(?::\d+| \xbb )")
_MARK = re.compile(r" *[✕\xd7✗✖] (?!failing tests:)(?!.*# TODO)(\S.*?)(?: \(?[\d.]+ ?m?s\)?)?$")
_NUMBERED = re.compile(r"^ +\d+\) (\S.*?):?\r?$", re.MULTILINE)  # mocha, before the line that counts them
_LISTED = re.compile(r"^  \d+\) (\S.*?\r?\n(?: {7,}\S.*\r?\n){0,20}?)(?: *\r?\n| {5}\S)", re.MULTILINE)
_FAILING = re.compile(r"^ +\d+ failing\r?$", re.MULTILINE)
_FILE = re.compile(r" *FAIL +(?:\S+ )?(\S+\.[cm]?[jt]sx?)(?: \([\d.]+ m?s\))?$")
_PASS = re.compile(r" *PASS +\S")
_SUITE_BROKEN = re.compile(r" *● Test suite failed to run$")
_SECTION = re.compile(r"=+ (?:FAILURES|ERRORS) =+$")
_HEADER = re.compile(r"_{3,} (?:ERROR (?:at setup of|at teardown of|collecting) )?(\S.*?) _{3,}$")


def failures(output: str) -> list[str]:
    """Names of failing checks in the output of a test runner: in order, each once, at most MAX_NAMES."""
    found = _Found()
    for line in _candidates(output):
        found.read(line)
        if len(found.sure) >= MAX_NAMES:
            break
    return found.names(output)[:MAX_NAMES]


class _Found:
    """What was named so far, and what the lines that follow depend on."""

    def __init__(self) -> None:
        self.sure: dict[str, None] = {}
        self._marked: list[str] = []
        self._files: list[str] = []
        self._headers: list[str] | None = None  # pytest's, once it has said that they come
        self._file = ""  # of the jest checks that follow
        self._at = ""  # where node's next mark is
        self._go: list[str] = []  # whose package is yet to be named
        self._subtests: dict[int, str] = {}  # TAP: by indentation

    def read(self, line: str) -> None:
        if name := _first_match(line):
            self._add(name)
            return
        for pattern, take in self._rules():
            if match := pattern.match(line):
                take(match)
                return

    def names(self, output: str) -> list[str]:
        for name in self._go:
            self._add(name)
        weak = self._marked or _listed(output) or self._files or self._headers or []
        return list(self.sure or dict.fromkeys(map(bounded, weak)))

    def _rules(self) -> tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], None]], ...]:
        return (
            (_CARGO, lambda match: self._add_one_more(match[1] or match[2])),
            (_TAP, self._tap),
            (_SUBTEST, self._subtest),
            (_GO, lambda match: self._go.append(match[1])),
            (_GO_PACKAGE, self._go_package),
            (_GO_JSON, self._go_json),
            (_JEST, self._jest),
            (_SUITE_BROKEN, lambda _: self._add(self._file)),
            (_FILE, self._enter),
            (_PASS, self._leave),
            (_NODE, self._node),
            (_SUREFIRE, lambda match: self._marked.append(match[1])),
            (_MARK, self._mark),
            (_SECTION, self._section),
            (_HEADER, self._header),
        )

    def _add(self, name: str) -> None:
        if name:
            self.sure[bounded(name)] = None

    def _add_one_more(self, name: str) -> None:
        name = bounded(name)
        if name in self.sure:
            name = next(more for n in range(2, MAX_NAMES + 2) if (more := f"{name} ({n})") not in self.sure)
        self.sure[name] = None

    def _subtest(self, match: re.Match[str]) -> None:
        self._subtests[len(match[1])] = match[2]

    def _tap(self, match: re.Match[str]) -> None:
        above = [name for at, name in self._subtests.items() if at < len(match[1])]
        self._add_one_more(" > ".join([*above, match[2]]))

    def _go_package(self, match: re.Match[str]) -> None:
        for name in self._go:
            self._add(f"{match[1]}.{name}")
        self._go = []

    def _go_json(self, match: re.Match[str]) -> None:
        try:
            found = mapping(json.loads(match.string))
        except (ValueError, RecursionError):
            return
        package, test = string(found.get("Package")), string(found.get("Test"))
        if found.get("Action") != "fail" or not package:
            return
        if test:
            self._add(f"{package}.{test}")
        elif not any(name.startswith(f"{package}.") for name in self.sure):
            self._add(f"{package} [build failed]" if found.get("FailedBuild") else package)

    def _jest(self, match: re.Match[str]) -> None:
        if self._file:
            self._add(f"{self._file} > {match[1]}")
        elif " \u203a " in match[1]:
            self._add(match[1])

    def _enter(self, match: re.Match[str]) -> None:
        self._file = match[1]
        self._files.append(match[1])

    def _leave(self, _: re.Match[str]) -> None:
        self._file = ""

    def _node(self, match: re.Match[str]) -> None:
        self._at = match[1]

    def _mark(self, match: re.Match[str]) -> None:
        if self._at:
            self._add_one_more(match[1] if self._at in match[1] else f"{self._at} > {match[1]}")
            self._at = ""
        else:
            self._marked.append(match[1])

    def _section(self, _: re.Match[str]) -> None:
        self._headers = self._headers or []

    def _header(self, match: re.Match[str]) -> None:
        if self._headers is not None:
            self._headers.append(match[1])


def _candidates(output: str) -> Iterator[str]:
    """Lines that may name a check: without colours, cut to a length that is safe to match."""
    output = f"\n{output}"
    at = 0  # a line's end
    while hint := _HINT.search(output, at):
        start = output.rfind("\n", at, hint.start() + 1) + 1
        end = output.find("\n", start)
        at = len(output) if end < 0 else end
        line = output[start : min(at, start + _MAX_LINE)].rstrip("\r")
        yield _ANSI.sub("", line) if "\x1b" in line else line


def _first_match(line: str) -> str:
    return next((match[1] for pattern in _patterns() if (match := pattern.match(line))), "")


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(map(re.compile, _SURE))  # ~3 ms: only for a check that fails


def _listed(output: str) -> list[str]:
    """What mocha lists after its count, each with the suites around it; before it are only titles."""
    if not (count := _FAILING.search(output)):
        return []
    blocks = [match[1] for match in _LISTED.finditer(output, count.end())]
    if names := [" > ".join(part.strip() for part in block.split("\n") if part.strip()) for block in blocks]:
        return [name.removesuffix(":") for name in names]
    return [match[1] for match in _NUMBERED.finditer(output, 0, count.start())]
