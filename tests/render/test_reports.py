"""How a run ended, for other programs to show; whatever foreign text says, it shapes nothing of it."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from glm_agent import __version__
from glm_agent.render.faults import Fault, faults, place
from glm_agent.render.github import Annotations
from glm_agent.render.junit import junit
from glm_agent.render.markdown import code, markdown
from glm_agent.render.sanitize import clean, disarm
from glm_agent.render.sarif import sarif
from glm_agent.types import Finished, Json, Result

EVIL = "::error::x\n| <img src=x> @octocat [a](http://b) `c`` ##[add-mask]d \x1b[2J \ufffe \udcff {0}"


def result(**more: Any) -> Result:  # noqa: ANN401 - any field
    values: Json = {
        "subtype": "error_verify",
        "is_error": True,
        "exit_code": 10,
        "result": "It adds now.",
        "session_id": "s1",
        "duration_ms": 1500,
        "total_cost_usd": 0.25,
        "base_commit": "abc",
        "changes": [
            {"path": "a.py", "kind": "update", "added": 3, "removed": 1},
            {"path": "b|c.py", "from": "b.py", "kind": "rename", "added": None, "removed": None},
        ],
        "verification": {
            "fixed": ["t.py::a"],
            "still_failing": ["t.py::b", "TestGo"],
            "newly_broken": ["d/t.py:12"],
            "timed_out": ["make"],
            "after": [{"command": "make", "exit_code": None, "duration_ms": 65_000}],
            "flaky": ["t.py::f"],
        },
        "policy": [{"rule": "protect", "path": "x y%.py", "detail": "update; fits x*"}],
        "permission_denials": [{"path": ".git/config", "reason": "not here"}],
        "runs_later": ["Makefile"],
        "notices": ["tests are weaker: t.py"],
        "errors": ["--verify 'pytest' still fails", "against --protect: x y%.py: update; fits x*"],
    }
    return Result(**{**values, **more})


FAULTS = [
    Fault("error", "newly_broken", "newly broken: d/t.py:12", "d/t.py", 12),
    Fault("error", "still_failing", "still failing: t.py::b", "t.py"),
    Fault("error", "still_failing", "still failing: TestGo"),
    Fault("error", "timed_out", "timed out after 65 s: make"),
    Fault("warning", "flaky", "flaky: t.py::f", "t.py"),
    Fault("error", "policy", "out of bounds: protect, x y%.py, update; fits x*", "x y%.py"),
    Fault("error", "run", "--verify 'pytest' still fails"),
    Fault("warning", "denied", ".git/config: not here"),
    Fault("notice", "runs_later", "runs later: Makefile", "Makefile"),
    Fault("notice", "notice", "tests are weaker: t.py"),
]


def test_each_thing_that_is_wrong_is_said_once_with_its_place() -> None:
    assert list(faults(result())) == FAULTS


def test_a_result_that_says_little_has_no_faults() -> None:
    assert list(faults(Result("success", False, 0, "ok", verification={"fixed": None}))) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("tests/test_a.py::T::test_b[1:2]", ("tests/test_a.py", 0)),
        ("src/a.test.ts:7 adds", ("src/a.test.ts", 7)),
        ("src/a.test.ts:7", ("src/a.test.ts", 7)),
        ("a/../b.py::x", ("", 0)),
        ("/etc/a.py::x", ("", 0)),
        ("pkg.Class.test", ("", 0)),
        ("TestGo/sub", ("", 0)),
        ("", ("", 0)),
    ],
)
def test_the_place_is_taken_from_names_that_begin_with_a_file(name: str, found: tuple[str, int]) -> None:
    assert place(name) == found


# Markdown


def test_the_page() -> None:
    assert (
        markdown(result(policy=[], permission_denials=[], notices=[], errors=["it fails"]))
        == """## ❌ `error_verify` (glm-agent, exit 10)

### What went wrong (1)

- `it fails`

### ✅ Fixed (1)

- `t.py::a`

### ❌ Newly broken (1)

- `d/t.py:12`

### ❌ Still failing (2)

- `t.py::b`
- `TestGo`

### ❌ Timed out (1)

- `make`

### Flaky (1)

- `t.py::f`

### Changed files (2)

| file | change | added | removed |
|---|---|---:|---:|
| `a.py` | `update` | 3 | 1 |
| `b.py -> b¦c.py` | `rename` | - | - |

### Run or obeyed by other programs later: read these first (1)

- `Makefile`

### Answer

```text
It adds now.
```

`error_verify; 0 turns; 0 tokens in, 0 out; $0.250; 1.5s; a.py +3 -1, b.py -> b|c.py binary; session s1`
"""
    )


def test_a_page_of_a_large_run_is_bounded() -> None:
    many = [f"{number}{'x' * 5000}" for number in range(3000)]
    changes = [{"path": name, "kind": "create", "added": 1, "removed": 0} for name in many]
    kinds = ("fixed", "newly_broken", "still_failing", "flaky", "not_run")
    page = markdown(
        result(
            result="y" * 10**6,
            changes=changes,
            verification=dict.fromkeys(kinds, many),
            runs_later=many,
            errors=many,
            notices=many,
            permission_denials=[{"path": name, "reason": name} for name in many],
        )
    )
    assert "- and 2900 more" in page
    assert len(page.encode()) < 400_000


texts = st.one_of(st.text(), st.text("`|<>@:[]()\\ \n#*_~{}0a\x00\u2028\ufffe"), st.just(EVIL))


@given(texts)
def test_a_code_span_holds_all_of_its_text(text: str) -> None:
    shown = code(text)
    fence = re.match("`+", shown)
    assert fence
    inside = shown[len(fence[0]) : -len(fence[0])]
    assert "\n" not in shown
    assert len(fence[0]) not in map(len, re.findall("`+", inside))


@given(texts)
def test_nothing_foreign_stands_outside_of_code(text: str) -> None:
    change = {"path": text, "from": text, "kind": text, "added": 1, "removed": 0}
    plain = result(
        result=text,
        session_id=text or None,
        changes=[change],
        verification={"fixed": [text], "still_failing": [text]},
        policy=[],
        permission_denials=[{"path": text, "reason": text}],
        runs_later=[text],
        notices=[text],
        errors=[text],
    )
    page = re.sub(r"(?ms)^(`{3,})text\n.*?^\1$", "", markdown(plain))
    rest = re.sub(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)", "", page)
    assert set(re.sub(r"[A-Za-z0-9 ,:()#✅❌\n-]", "", rest)) <= {"|"}
    rows = [line for line in page.split("\n") if line.startswith("|")]
    assert [row.count("|") for row in rows] == [5, 5, 5]


# JUnit


def test_the_junit_file_has_a_case_for_each_check_and_one_for_the_run() -> None:
    root = ElementTree.fromstring(junit(result(errors=["one", "two"])))
    suite = root[0]
    found = [(case.get("classname"), case.get("name"), [part.tag for part in case]) for case in suite]
    assert found == [
        ("glm-agent.verify", "d/t.py:12", ["failure"]),
        ("glm-agent.verify", "t.py::b", ["failure"]),
        ("glm-agent.verify", "TestGo", ["failure"]),
        ("glm-agent.verify", "make", ["failure"]),
        ("glm-agent.verify", "t.py::f", ["skipped"]),
        ("glm-agent.verify", "t.py::a", []),
        ("glm-agent", "run", ["failure", "system-out"]),
    ]
    assert suite.attrib == {
        "name": "glm-agent",
        "tests": "7",
        "failures": "5",
        "errors": "0",
        "skipped": "1",
        "time": "1.500",
    }
    assert suite[3][0].attrib == {"message": "timed out after 65 s", "type": "timed_out"}
    assert suite[6][0].attrib == {"message": "one", "type": "error_verify"}
    assert suite[6][0].text == "one\ntwo"


def test_trouble_that_is_not_the_works_is_an_error_and_success_is_neither() -> None:
    trouble = ElementTree.fromstring(junit(result(subtype="error_provider", exit_code=75)))
    assert [part.tag for part in trouble[0][-1]] == ["error", "system-out"]
    good = ElementTree.fromstring(junit(Result("success", False, 0, "ok")))
    assert (good.get("tests"), good.get("failures"), len(good[0][0])) == ("1", "0", 1)


@given(texts)
def test_any_text_makes_xml_that_can_be_read(text: str) -> None:
    more = result(verification={"still_failing": [text, text], "fixed": [text]}, errors=[text])
    root = ElementTree.fromstring(junit(more))
    assert [case.get("classname") for case in root[0]] == ["glm-agent.verify", "glm-agent"]


# SARIF: the part of the format that is used, by what the standard demands of each object


def _object(needed: tuple[str, ...], **properties: Json) -> Json:
    return {
        "type": "object",
        "required": list(needed),
        "properties": properties,
        "additionalProperties": False,
    }


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer", "minimum": 0}
LEVEL: Json = {"enum": ["none", "note", "warning", "error"]}
MESSAGE = _object(("text",), text={"type": "string", "minLength": 1})
RULE = {name: MESSAGE for name in ("shortDescription", "fullDescription", "help")}
RULES = {**_list(_object(("id", *RULE), id=TEXT, **RULE)), "uniqueItems": True}
LOCATION = _object(
    ("physicalLocation",),
    physicalLocation=_object(
        ("artifactLocation",),
        artifactLocation=_object(
            ("uri",), uri={"type": "string", "pattern": r"^([\w.~/-]|%[0-9A-F]{2})+$"}, uriBaseId=TEXT
        ),
        region=_object(("startLine",), startLine={"type": "integer", "minimum": 1}),
    ),
)
INVOCATION = _object(
    ("executionSuccessful",),
    executionSuccessful={"type": "boolean"},
    exitCode={"type": "integer"},
    exitCodeDescription=TEXT,
    toolExecutionNotifications=_list(
        _object(("message",), descriptor=_object((), id=TEXT), level=LEVEL, message=MESSAGE)
    ),
)
RUN = _object(
    ("tool",),
    tool=_object(("driver",), driver=_object(("name",), name=TEXT, version=TEXT, rules=RULES)),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    invocations=_list(INVOCATION),
    results=_list(
        _object(
            ("message", "locations"),
            ruleId=TEXT,
            ruleIndex=NUMBER,
            level=LEVEL,
            message=MESSAGE,
            locations={**_list(LOCATION), "minItems": 1},
        )
    ),
    properties={"type": "object"},
)
SARIF = _object(
    ("version", "runs"),
    **{"$schema": {"type": "string", "format": "uri"}, "version": {"const": "2.1.0"}, "runs": _list(RUN)},
)


def read_sarif(text: str) -> Json:
    log: Json = json.loads(text)
    validator: Any = Draft202012Validator(SARIF)  # the library has no types
    validator.validate(log)
    return log["runs"][0]


def test_the_sarif_file_has_what_has_a_place_as_results_and_the_rest_as_notifications() -> None:
    run = read_sarif(sarif(result()))
    assert run["tool"]["driver"]["version"] == __version__
    found = [
        (
            one["level"],
            run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"],
            one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
        )
        for one in run["results"]
    ]
    assert found == [
        ("error", "newly_broken", "d/t.py"),
        ("error", "still_failing", "t.py"),
        ("warning", "flaky", "t.py"),
        ("error", "policy", "x%20y%25.py"),
        ("note", "runs_later", "Makefile"),
    ]
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 12}
    (invocation,) = run["invocations"]
    said = [one["message"]["text"] for one in invocation["toolExecutionNotifications"]]
    assert said == [fault.text for fault in FAULTS if not fault.path]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 10)


@given(texts)
def test_any_text_makes_sarif_that_is_valid(text: str) -> None:
    read_sarif(sarif(result(runs_later=[text], notices=[text], verification={"flaky": [text]})))


def test_a_message_of_sarif_is_no_template_and_no_link() -> None:
    (one,) = read_sarif(sarif(result(verification={"flaky": ["a.py::[x](http://y) {0}"]}, runs_later=[])))[
        "results"
    ][:1]
    assert one["message"] == {"text": "flaky: a.py::\\[x\\](http://y) {{0}}"}


# GitHub's log


def annotated(ended: Result, levels: int = 3) -> list[str]:
    written: list[str] = []
    Annotations(written.append, lambda text: text.replace("sk-1", "[key]"), levels)(Finished(ended))
    return "".join(written).split("\n")[:-1]


def test_annotations_say_what_is_wrong_and_where() -> None:
    assert annotated(result()) == [
        "::error file=d/t.py,line=12,title=glm-agent::newly broken: d/t.py:12",
        "::error file=t.py,title=glm-agent::still failing: t.py::b",
        "::error title=glm-agent::still failing: TestGo",
        "::error title=glm-agent::timed out after 65 s: make",
        "::error file=x y%25.py,title=glm-agent::out of bounds: protect, x y%25.py, update; fits x*",
        "::error title=glm-agent::--verify 'pytest' still fails",
        "::warning file=t.py,title=glm-agent::flaky: t.py::f",
        "::warning title=glm-agent::.git/config: not here",
        "::notice file=Makefile,title=glm-agent::runs later: Makefile",
        "::notice title=glm-agent::tests are weaker: t.py",
    ]
    assert {line.split(" ")[0] for line in annotated(result(), 1)} == {"::error"}


def test_at_most_ten_annotations_of_a_level_and_a_key_in_none() -> None:
    found = annotated(Result("error_verify", True, 10, "", runs_later=["a:b,c%sk-1\n"] * 12))
    assert found[0] == (
        "::notice file=a%3Ab%2Cc%25[key]\u240a,title=glm-agent::runs later: a:b,c%25[key]".replace("\n", "")
    )
    assert len(found) == 10
    assert found[-1] == "::notice title=glm-agent::and 3 more; the result has them all"


@given(texts)
def test_no_text_can_add_a_line_or_a_property(text: str) -> None:
    (line,) = annotated(Result("success", False, 0, "", runs_later=[text]))
    assert re.fullmatch(r"::notice (file=[^:,\n]*,)?title=glm-agent::[^\n]*", line)


@given(texts)
def test_what_is_disarmed_holds_no_command_and_stays_so(text: str) -> None:
    shown = disarm(clean(text))
    assert not any(line.lstrip().startswith("::") for line in shown.split("\n"))
    assert "##[" not in shown
    assert disarm(shown) == shown


def test_disarmed_text_stays_readable() -> None:
    assert disarm("a::b\n \t::c\n##[d] #[e]") == "a::b\n \t\\::c\n##\\[d] #[e]"
