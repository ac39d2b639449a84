"""JUnit XML as its many writers mean it. A document type is refused, so that there are no entities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

State = Literal["passed", "failed", "skipped", "flaky"]

NOT_RUN = " [not run]"
MOST = 64 * 1024 * 1024  # bytes of one report

_LONGEST = 300  # characters of a name
_TEXT = 2000  # characters kept of what a failure says
_DEEPEST = 200  # elements in each other
_FAILED = {"failure", "error"}
_SKIPPED = {"skipped", "disabled"}
_FLAKY = {"flakyFailure", "flakyError"}  # it failed and then passed, says its runner
_STATUS: dict[str, State] = {
    **dict.fromkeys(("notrun", "disabled"), "skipped"),
    **dict.fromkeys(("fail", "failed"), "failed"),
}
_SUITES = {"testsuite", "testsuites"}
_NO_OWNER = {"", "test"}  # what node says for every class
_NO_SUITE = "Test suite failed to run"  # jest
_SOURCE = re.compile(r"\S+\.(?:[cm]?[jt]sx?|py)")  # a check of that name is a file that could not be loaded


class BadReport(Exception):
    """Why a report cannot be used, ready to follow its name."""


class Case(NamedTuple):
    """One run of a check; a name that ends with NOT_RUN is that of a file or class that could not run."""

    name: str
    state: State
    text: str = ""
    file: str = ""
    line: int = 0


def read(chunks: Iterable[bytes]) -> Iterator[Case]:
    """The cases of a report, in order, skipped ones too. Raises BadReport, if need be after some of them."""
    from xml.parsers import expat  # 2 ms

    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        for chunk in _clean(chunks):
            parser.Parse(chunk)
            yield from reader.take()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise BadReport(f"is no well-formed XML ({error})") from error
    except (ValueError, LookupError) as error:  # an encoding that is none
        raise BadReport(f"cannot be decoded ({error})") from error


def _clean(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Without the controls that XML forbids: careless reports hold the colours of a terminal."""
    size, unwanted = 0, b""
    for chunk in chunks:
        if not size and not chunk.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" not in chunk[:4]:
            unwanted = bytes(byte for byte in range(32) if byte not in b"\t\n\r")
        size += len(chunk)
        if size > MOST:
            raise BadReport(f"has more than {MOST >> 20} MiB")
        yield chunk.translate(None, unwanted)


def _refuse(*_: object) -> None:
    raise BadReport("has a document type, which no JUnit report needs; it was not read")


class _Reader:
    """Handlers of the parser, and what they have seen of the case, or suite, that is open."""

    def __init__(self) -> None:
        self._cases: list[Case] = []
        self._open: list[str] = []  # elements
        self._suites: list[str] = []
        self._case: Mapping[str, str] | None = None
        self._state: State = "passed"
        self._text: list[str] = []

    def take(self) -> list[Case]:
        """The cases since the last call."""
        cases, self._cases = self._cases, []
        return cases

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        if not self._open and tag not in _SUITES:
            raise BadReport(f"is no JUnit XML: it begins with <{tag[:40]}>")
        self._open.append(tag)
        if len(self._open) > _DEEPEST:
            raise BadReport("is nested too deeply")
        if tag in _SUITES:
            self._suites.append(attributes.get("name", ""))
        elif tag == "testcase":
            self._begin(attributes)
        elif self._open[-2] == "testcase":
            self._outcome(tag, attributes)
        elif self._open[-2] in _SUITES and tag in _FAILED:
            self._begin({})
            self._outcome(tag, attributes)

    def text(self, data: str) -> None:
        if self._open[-1] in _FAILED and sum(map(len, self._text)) < _TEXT:
            self._text.append(data[:_TEXT])

    def end(self, tag: str) -> None:
        tag = self._open.pop()
        if tag in _SUITES:
            self._suites.pop()
        elif tag == "testcase" or (tag in _FAILED and self._open[-1] in _SUITES):
            self._finish()

    def _begin(self, attributes: Mapping[str, str]) -> None:
        self._case, self._text = attributes, []
        self._state = _STATUS.get(attributes.get("status", ""), "passed")

    def _outcome(self, tag: str, attributes: Mapping[str, str]) -> None:
        message = attributes.get("message", "")
        if tag in _SKIPPED and not message.startswith("Unable to find "):  # ctest: which is a failure
            self._state = "skipped"  # whatever else is said: node marks what is yet to do as both
        elif tag in _SKIPPED or (tag in _FAILED and self._state != "skipped"):
            self._state = "failed"
            self._text.append(message[:_TEXT] + "\n")
        elif tag in _FLAKY and self._state == "passed":
            self._state = "flaky"

    def _finish(self) -> None:
        case = self._case or {}
        text = "".join(self._text)[:_TEXT].strip()
        line = case.get("line", "")
        number = int(line) if line.isdecimal() and len(line) < 8 else 0
        file = case.get("file", "")
        if not file and number and _SOURCE.fullmatch(self._suites[-1]):
            file = self._suites[-1]  # ruff
        whole = self._state == "failed" and _is_whole(case, text)
        name = bounded(self._name(case, file)) + NOT_RUN * whole
        self._cases.append(Case(name, self._state, text, file, number))
        self._case = None

    def _name(self, case: Mapping[str, str], file: str) -> str:
        """Unique as far as the report allows, and the same in each run."""
        name, owner = case.get("name", "").strip(), case.get("classname", case.get("class", "")).strip()
        if owner == _NO_SUITE:
            return name
        if owner in _NO_OWNER:
            suites = [suite for suite in self._suites if suite and suite != "pytest tests"]
            parts = [*([file] if file else []), *(suites if owner or not name else []), name]
            return " > ".join(filter(None, parts)) or "(a check without a name)"
        if not name or name == owner or name.startswith(f"{owner} "):
            return name or owner
        return f"{owner}::{name}"


def _is_whole(case: Mapping[str, str], text: str) -> bool:
    name, owner = case.get("name", ""), case.get("classname", "")
    return (
        text.startswith("collection failure")  # pytest
        or not name  # surefire, of a class
        or _SOURCE.fullmatch(name) is not None  # node, vitest
        or owner == _NO_SUITE
        or "[build failed]" in text  # gotestsum
        or "[setup failed]" in text
    )


def bounded(name: str) -> str:
    """One line of at most 300 characters."""
    name = " ".join(name.split())
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
