"""What other programs report about code: checks that passed or failed, and what a linter found where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..shape import mapping, sequence, string
from ..types import Json
from . import junit
from .junit import BadReport

__all__ = ["BadReport", "Finding", "read"]

_KNOWN = "JUnit XML, SARIF 2.1.0, or the JSON of ruff, mypy, pyright or eslint"
_PLACE = re.compile(r"^\s*([^\s:()]+\.\w+):(\d{1,7})\b", re.MULTILINE)  # Python: the last counts
_FRAME = re.compile(r"(?:\(|\bat |\u276f )([^\s:()]*/[^\s:()]+\.\w+):(\d{1,7})\b")  # JavaScript: the first
_SILENT = {"pass", "notApplicable", "informational"}


class Finding(NamedTuple):
    """`path` is as the report has it; `line` 0 means not known."""

    path: str
    line: int
    text: str
    rule: str = ""


def read(data: bytes) -> tuple[str, list[Finding]]:
    """Which program reports, and what, in its order. Raises BadReport, ready to follow the file's name."""
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        raise BadReport(f"is empty; accepted are {_KNOWN}")
    if text.startswith(b"<") or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "JUnit", [_failed(case) for case in junit.read([data]) if case.state == "failed"]
    found = _decoded(text)
    for name, fits, findings in _FORMATS:
        if fits(found):
            return name, list(findings(found))
    raise BadReport(f"is no report that is known; accepted are {_KNOWN}")


def _decoded(data: bytes) -> object:
    """The JSON value; of several lines, each a value, the list of them."""
    try:
        text = data.decode()
        try:
            found: object = json.loads(text)
        except ValueError:
            return [json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError) as error:
        raise BadReport(f"is no report that is known; accepted are {_KNOWN}") from error
    return [found] if {"file", "line", "message"} <= mapping(found).keys() else found  # mypy, with one error


def _failed(case: junit.Case) -> Finding:
    """A check that failed, where it says so, else where its text leads."""
    path, line = case.file, case.line
    places = _PLACE.findall(case.text)[-1:] or _FRAME.findall(case.text)[:1]
    if places and (not line or "." not in path):  # mypy calls all files together "mypy"
        path, line = places[0][0], int(places[0][1])
    return Finding(path, line, f"{case.name} failed: {case.text}" if case.text else f"{case.name} failed")


def _rows(found: object, *names: str) -> list[Json]:
    """The objects of a list, if each has the fields `names`."""
    rows = [mapping(row) for row in sequence(found)]
    return rows if all(set(names) <= row.keys() for row in rows) else []


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 10**7 else 0


def _ruff(found: object) -> Iterator[Finding]:
    for row in _rows(found):
        line = _number(mapping(row.get("location")).get("row"))
        yield Finding(string(row.get("filename")), line, string(row.get("message")), string(row.get("code")))


def _eslint(found: object) -> Iterator[Finding]:
    for row in _rows(found):
        path = string(row.get("filePath"))
        for one in map(mapping, sequence(row.get("messages"))):
            line, rule = _number(one.get("line")), string(one.get("ruleId"))
            yield Finding(path, line, string(one.get("message")), rule)


def _mypy(found: object) -> Iterator[Finding]:
    for row in _rows(found):
        if row.get("severity") != "note":
            text = " ".join(filter(None, (string(row.get("message")), string(row.get("hint")))))
            yield Finding(string(row.get("file")), _number(row.get("line")), text, string(row.get("code")))


def _pyright(found: object) -> Iterator[Finding]:
    for row in map(mapping, sequence(mapping(found).get("generalDiagnostics"))):
        start = mapping(mapping(row.get("range")).get("start"))
        line = _number(start.get("line")) + 1 if "line" in start else 0
        if row.get("severity") != "information":
            yield Finding(string(row.get("file")), line, string(row.get("message")), string(row.get("rule")))


def _sarif(found: object) -> Iterator[Finding]:
    for run in map(mapping, sequence(mapping(found).get("runs"))):
        rules = {string(rule.get("id")): rule for rule in _rules(run)}
        for result in map(mapping, sequence(run.get("results"))):
            if not _is_silent(result):
                yield _sarif_finding(result, rules)


def _sarif_finding(result: Json, rules: dict[str, Json]) -> Finding:
    rule = string(result.get("ruleId")) or string(mapping(result.get("rule")).get("id"))
    said = mapping(result.get("message"))
    about = mapping(mapping(rules.get(rule)).get("shortDescription"))
    text = string(said.get("text")) or string(said.get("markdown")) or string(about.get("text"))
    first = next(iter(sequence(result.get("locations"))), None)
    place = mapping(mapping(first).get("physicalLocation"))
    path = string(mapping(place.get("artifactLocation")).get("uri"))
    return Finding(_unquoted(path), _number(mapping(place.get("region")).get("startLine")), text, rule)


def _rules(run: Json) -> list[Json]:
    driver = mapping(mapping(run.get("tool")).get("driver"))
    return [mapping(rule) for rule in sequence(driver.get("rules"))]


def _is_silent(result: Json) -> bool:
    return (
        string(result.get("kind")) in _SILENT
        or result.get("level") == "none"
        or result.get("baselineState") == "absent"
        or bool(sequence(result.get("suppressions")))
    )


def _unquoted(uri: str) -> str:
    from urllib.parse import unquote  # 3 ms

    return unquote(re.sub(r"^file://(?:localhost)?(?=/)", "", uri))


_FORMATS: tuple[tuple[str, Callable[[object], object], Callable[[object], Iterator[Finding]]], ...] = (
    ("SARIF", lambda found: isinstance(mapping(found).get("runs"), list), _sarif),
    ("pyright", lambda found: isinstance(mapping(found).get("generalDiagnostics"), list), _pyright),
    ("mypy", lambda found: _rows(found, "file", "line", "message"), _mypy),
    ("eslint", lambda found: _rows(found, "filePath", "messages"), _eslint),
    ("ruff", lambda found: _rows(found, "filename", "message") or found == [], _ruff),
)
