from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import reported
from glm_agent.reported import BadReport, Finding
from glm_agent.types import Json

OUTPUTS = Path(__file__).parent / "outputs"
UNSORTED = ("Import block is un-sorted or un-formatted", "I001")
UNUSED = ("`os` imported but unused", "F401")
RECORDED = {
    "ruff.json": ("ruff", [Finding("/w/src/app.py", 1, *UNSORTED), Finding("/w/src/app.py", 1, *UNUSED)]),
    "ruff.sarif": ("SARIF", [Finding("/w/src/app.py", 1, *UNSORTED), Finding("/w/src/app.py", 1, *UNUSED)]),
    "mypy.json": (
        "mypy",
        [
            Finding("src/app.py", 4, 'Unsupported operand types for + ("str" and "int")', "operator"),
            Finding(
                "src/app.py", 6, 'Argument 1 to "add" has incompatible type "str"; expected "int"', "arg-type"
            ),
        ],
    ),
    "eslint.json": (
        "eslint",
        [
            Finding("/w/src/app.js", 1, "'unused' is assigned a value but never used.", "no-unused-vars"),
            Finding("/w/src/app.js", 2, "'x' is not defined.", "no-undef"),
            Finding("/w/src/app.js", 2, "Expected '===' and instead saw '=='.", "eqeqeq"),
            Finding("/w/src/app.js", 2, "'undefinedCall' is not defined.", "no-undef"),
        ],
    ),
}


def read(value: object) -> list[Finding]:
    return reported.read(json.dumps(value).encode())[1]


@pytest.mark.parametrize("name", RECORDED)
def test_what_linters_wrote_is_read(name: str) -> None:
    assert reported.read((OUTPUTS / name).read_bytes()) == RECORDED[name]


def test_lines_of_pyright_are_counted_from_one() -> None:
    program, found = reported.read((OUTPUTS / "pyright.json").read_bytes())
    assert (program, [(one.path, one.line, one.rule) for one in found]) == (
        "pyright",
        [("/w/src/app.py", 4, "reportOperatorIssue"), ("/w/src/app.py", 6, "reportArgumentType")],
    )


@pytest.mark.parametrize(
    ("name", "places"),
    [
        (
            "ruff.xml",
            [("/w/src/app.py", 1), ("/w/src/app.py", 1), ("/w/src/app.py", 2), ("/w/src/app.py", 2)],
        ),
        ("pytest.xml", [("test_b.py", 1), *(("test_a.py", line) for line in (3, 6, 8, 13))]),
        ("vitest.xml", [*(("v/a.test.ts", line) for line in (2, 2, 3)), ("", 0)]),
    ],
)
def test_failing_checks_are_findings_where_they_say(name: str, places: list[tuple[str, int]]) -> None:
    program, found = reported.read((OUTPUTS / name).read_bytes())
    assert (program, [(one.path, one.line) for one in found]) == ("JUnit", places)


def test_the_text_of_a_failing_check_begins_with_its_name() -> None:
    _, found = reported.read((OUTPUTS / "surefire.xml").read_bytes())
    assert found[0].text.startswith("x.SumTest::adds failed: expected: <1> but was: <2>\n")


def sarif(**result: object) -> Json:
    return {"version": "2.1.0", "runs": [{"results": [{"ruleId": "R1", "message": {"text": "m"}, **result}]}]}


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ({}, [Finding("", 0, "m", "R1")]),
        ({"level": "none"}, []),
        ({"kind": "pass"}, []),
        ({"suppressions": [{"kind": "inSource"}]}, []),
        ({"baselineState": "absent"}, []),
        ({"baselineState": "unchanged"}, [Finding("", 0, "m", "R1")]),
        (
            {
                "locations": [
                    {
                        "physicalLocation": {
                            "artifactLocation": {"uri": "file:///w/a%20b.c", "uriBaseId": "SRC"},
                            "region": {"startLine": 7},
                        }
                    }
                ]
            },
            [Finding("/w/a b.c", 7, "m", "R1")],
        ),
    ],
)
def test_results_of_sarif_count_unless_they_are_withdrawn(result: Json, found: list[Finding]) -> None:
    assert read(sarif(**result)) == found


def test_one_object_of_mypy_and_none_of_ruff_are_reports_too() -> None:
    row = {"file": "a.py", "line": 3, "message": "m", "hint": "h", "code": "c", "severity": "error"}
    assert reported.read(json.dumps(row).encode()) == ("mypy", [Finding("a.py", 3, "m h", "c")])
    assert read([row, {**row, "severity": "note"}]) == [Finding("a.py", 3, "m h", "c")]
    assert reported.read(b"[]\n") == ("ruff", [])


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b" \n", b"error: no", b"{", b"{}", b'{"a": 1}', b"[1, 2]", b'[{"a": 1}]', b"\xff{}"),
        *(b"[" * 100_000, b'{"version": "3", "runs": 4}', b"<html/>", b"<!DOCTYPE a><testsuite/>"),
    ],
    ids=lambda data: data[:12],
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(BadReport):
        reported.read(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("runs", "results", "message", "text", "locations", "physicalLocation", "region"),
                    *("startLine", "file", "line", "filename", "filePath", "messages", "generalDiagnostics"),
                    *("range", "start", "tool", "driver", "rules", "id", "suppressions"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        found = read(value)
    except BadReport as error:
        assert "accepted are" in str(error)
        return
    assert all(isinstance(field, str) for one in found for field in (one.path, one.text, one.rule))
    assert all(one.line >= 0 for one in found)
