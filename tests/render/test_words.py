from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.render import words
from glm_agent.render.sanitize import clean_line
from glm_agent.types import Json, Result, Retrying, ToolCall, ToolResult, Verified


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall("call_1", name, json.dumps(arguments))


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (call("read", path="src/a.py", offset=3), "read src/a.py"),
        (call("read", file_path="src/a.py"), "read src/a.py"),
        (call("bash", command="pytest -q"), "bash pytest -q"),
        (call("bash", command="\ncat <<X\nhello\nX"), "bash cat <<X …"),
        (call("search", pattern=r"f\(", path="src", glob="*.py"), r'search "f\(" in src files *.py'),
        (call("search", pattern="", path=".", glob="*.py"), "search files *.py"),
        (call("patch", patch="--- a/x.py\n+++ b/x.py\n@@\n--- a/y\n+++ /dev/null\n"), "patch x.py, y"),
        (call("strange", what="ever"), "strange ever"),
        (call("read", path="a\x1b[2J\tb"), "read a␛[2J b"),
        (ToolCall("c", "read", '{"path": "a'), "read (arguments are not a JSON object)"),
        (ToolCall("c", "read", json.dumps(json.dumps({"path": "a"}))), "read a"),
        (ToolCall("c", "read", ""), "read"),
    ],
)
def test_a_call_is_described_in_one_line(asked: ToolCall, line: str) -> None:
    assert words.describe(asked) == line


@pytest.mark.parametrize(
    ("name", "content", "ok", "details", "line"),
    [
        ("bash", "boom\n[exit=1 time=0.8s]", True, {"exit_code": 1, "seconds": 0.8}, "exit=1 0.8s"),
        ("bash", "…", False, {"exit_code": None, "seconds": 120.0}, "killed 2m00s"),
        ("read", "…", True, {"path": "a", "first": 1, "last": 40, "total": 400}, "lines 1-40 of 400"),
        ("edit", "a.py: replaced\n 3 x", True, {}, "a.py: replaced …"),
        ("patch", "done", True, {"added": 3, "removed": 1}, "+3 -1"),
        (
            "patch",
            "a\nb",
            True,
            {"changes": [{"added": 3, "removed": 1}, {"added": 1, "removed": 0}]},
            "+4 -1",
        ),
        ("patch", "a\nb", True, {"changes": [{"added": None, "removed": 1}]}, "a …"),
        ("search", "a\nb\n", True, {"shown": 100, "more": 7}, "100 lines, and more"),
        ("search", "a\nb\n", True, {"shown": 1, "more": 0}, "1 line"),
        ("search", "a\nb\n", True, {}, "2 lines"),
        ("search", "a", True, {}, "1 line"),
        ("edit", "error: no such file\nuse search", False, {}, "no such file …"),
    ],
)
def test_what_came_of_a_call_is_one_line(name: str, content: str, ok: bool, details: Json, line: str) -> None:
    result = ToolResult("call_1", content, ok, details)
    assert words.effect(ToolCall("call_1", name, "{}"), result) == line


def test_retries_and_verification_read_as_sentences() -> None:
    assert words.retrying(Retrying(2, 30.0, "rate limited", 429, "1305")) == (
        "waiting 30s: rate limited (429, 1305), attempt 2"
    )
    assert words.retrying(Retrying(1, 0, "empty answer")) == "asking again: empty answer, attempt 1"
    assert words.verified(Verified("before", "pytest -q", 1, ["a", "b", "c"], 812)) == (
        "verify before: pytest -q -> exit 1, 3 failing, 0.8s"
    )
    assert words.verified(Verified("after", "make", None, ["make"], 65_000)) == (
        "verify after: make -> timed out, 1m05s"
    )


def test_numbers_are_short() -> None:
    numbers = (0, 999, 1200, 9_949, 9_950, 12_345, 999_499, 999_500, 2_500_000)
    assert [words.count(number) for number in numbers] == [
        "0", "999", "1.2k", "9.9k", "10k", "12k", "999k", "1.0M", "2.5M",
    ]  # fmt: skip
    assert [words.duration(seconds) for seconds in (0, 0.84, 9.94, 9.96, 59.4, 59.6, 65, 3599.7, 3720)] == [
        "0.0s", "0.8s", "9.9s", "10s", "59s", "1m00s", "1m05s", "1h00m", "1h02m",
    ]  # fmt: skip
    assert [words.money(dollars) for dollars in (None, 0.0, 0.0004, 0.031, 1.5)] == [
        "cost unknown", "$0.000", "less than $0.001", "$0.031", "$1.50",
    ]  # fmt: skip


def test_the_summary_says_everything_once() -> None:
    counts = {
        "input_tokens": 4000,
        "cache_read_input_tokens": 8000,
        "output_tokens": 1200,
        "reasoning_tokens": 0,
    }
    changes: list[Json] = [
        {"path": "a.py", "kind": "update", "added": 3, "removed": 1},
        {"path": "b\n\x1b.png", "kind": "delete", "added": None, "removed": None},
        {"path": "new.py", "kind": "rename", "from": "old.py", "added": 0, "removed": 0},
    ]
    ended = Result("success", False, 0, "x", "s1", 9, 65_000, 0, 0.031, usage=counts, changes=changes)
    assert words.summary(ended) == (
        "done; 9 turns; 12k tokens in (67% cached), 1.2k out; $0.031; 1m05s; "
        "a.py +3 -1, b␊␛.png binary (delete), old.py -> new.py +0 -0; session s1"
    )
    guess = {**counts, "cache_read_input_tokens": 0, "estimated": True}
    assert words.summary(Result("success", False, 0, "x", None, 1, 0, 0, 0.031, usage=guess)) == (
        "done; 1 turn; about 4.0k tokens in, 1.2k out; about $0.031; 0.0s"
    )
    assert words.summary(Result("error_auth", True, 41, "")) == (
        "error_auth; 0 turns; 0 tokens in, 0 out; cost unknown; 0.0s"
    )


def test_checks_are_listed_by_what_became_of_them_and_bounded() -> None:
    names = [f"t{number}" for number in range(25)]
    late = {"timed_out": ["make"], "after": [{"command": "make", "duration_ms": 65_000}]}
    assert words.checks(Result("error_verify", True, 10, "", verification=late)) == [
        (False, "timed out after 65 s: make")
    ]
    ended = Result("error_verify", True, 10, "", verification={"fixed": ["a"], "still_failing": names})
    found = words.checks(ended)
    assert found[:2] == [words.Check(True, "fixed: a"), words.Check(False, "still failing: t0")]
    assert found[-1] == words.Check(False, "still failing: 5 more")
    assert words.checks(Result("success", False, 0, "")) == []


@given(st.text(alphabet=st.characters()), st.integers(5, 200))
def test_clip_is_one_line_of_bounded_length(text: str, width: int) -> None:
    shown = words.clip(text, width)
    assert "\n" not in shown
    assert len(shown) <= width + 2
    assert shown == clean_line(shown)


@given(st.text(alphabet=st.characters()), st.text(alphabet=st.characters()))
def test_any_call_has_one_line(name: str, arguments: str) -> None:
    assert "\n" not in words.describe(ToolCall("c", name, arguments))


def test_the_rows_of_a_change_are_those_that_differ_and_bounded() -> None:
    edit = call("edit", path="a", old_string="a\nb\nc\n", newText="a\nB\nb\nc\n")
    assert words.rows(edit, ToolResult("c", ""), 5) == [words.Row("+", "B")]
    patch = call("patch", patch="--- a/x\n+++ b/x\n@@ -1 +1 @@ f\n a\n--- b\n+c\n--- a/y\n+++ b/y\n@@\n-d\n")
    every = [
        words.Row("@", "-1 +1 @@ f"),
        words.Row(" ", "a"),
        words.Row("-", "-- b"),
        words.Row("+", "c"),
        words.Row("@", ""),
        words.Row("-", "d"),
    ]
    assert words.rows(patch, ToolResult("c", ""), 6) == every
    assert words.rows(patch, ToolResult("c", ""), 5) == [*every[:5], words.Row("…", "1 more")]
    write = call("write", path="a", content="x\n")
    assert words.rows(write, ToolResult("c", ""), 5) == [words.Row("+", "x")]
    assert words.rows(write, ToolResult("c", "", details={"diff": "@@\n-o\n"}), 5) == [
        words.Row("@", ""),
        words.Row("-", "o"),
    ]
    assert words.rows(call("bash", command="x"), ToolResult("c", ""), 5) == []


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_the_rows_of_an_edit_account_for_every_line(old: list[str], new: list[str]) -> None:
    edit = call("edit", old="\n".join(old), new="\n".join(new))
    found = words.rows(edit, ToolResult("c", ""), 10_000)
    gone, come = ([row.text for row in found if row.kind == kind] for kind in "-+")
    assert len(old) - len(gone) == len(new) - len(come)
    assert not (gone and come and (gone[0] == come[0] or gone[-1] == come[-1]))
