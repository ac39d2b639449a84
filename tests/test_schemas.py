from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import glm_agent
from glm_agent import outcome
from glm_agent.render.jsonl import JsonLines
from glm_agent.types import (
    Assistant,
    CallDelta,
    Discarded,
    Event,
    Finished,
    Json,
    Notice,
    Result,
    Retrying,
    Said,
    Started,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolResult,
    Verified,
)

FOLDER = Path(glm_agent.__file__).parent / "schemas"


def load(name: str) -> Json:
    return json.loads((FOLDER / name).read_text("utf-8"))


SANDBOX: Json = {"mode": "read-only", "mechanism": "none", "network": False, "tier": None, "gaps": []}
EVENTS, RESULT = load("events.json"), load("result.json")
GOOD = Result(
    "success",
    False,
    0,
    "final",
    "s1",
    9,
    10,
    5,
    0.031,
    "price_table:2026-11",
    {
        "input_tokens": 1,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
        "reasoning_tokens": 0,
        "estimated": True,
        "cache_hit_share": 0.0,
    },
    [{"tool_name": "write", "path": ".git/x"}],
    [
        {"path": "a.py", "kind": "update", "added": 3, "removed": 1},
        {"path": "b.png", "kind": "rename", "from": "c.png", "added": None, "removed": None},
    ],
    ["a.py"],
    "/s/patch.diff",
    "abc",
    {
        "before": [{"command": "t", "exit_code": 1, "failed": ["x"], "flaky": [], "duration_ms": 1}],
        "after": [{"command": "t", "exit_code": None, "failed": [], "flaky": ["y"], "duration_ms": 1}],
        "fixed": ["x"],
        "still_failing": [],
        "newly_broken": [],
        "flaky": ["y"],
        "not_run": ["z"],
    },
)
EVERY: dict[str, Event] = {
    "init": Started(
        "s1",
        "/w",
        "ask",
        "glm-4.7",
        "custom",
        "localhost",
        ["read", "search"],
        SANDBOX,
        None,
        {"max_turns": 150, "max_budget_usd": None},
        "skipped",
        [{"path": "AGENTS.md", "sha256": "0"}],
        "0.1.0",
    ),
    "assistant": Said(Assistant("a", "b", [ToolCall("c1", "read", '{"path": "a"}')], "tool_calls")),
    "bare assistant": Said(Assistant()),
    "tool result": Said(ToolResult("c1", "x")),
    "text": TextDelta("a"),
    "thought": ThoughtDelta("a"),
    "arguments": CallDelta(0, "read", "{"),
    "retry": Retrying(1, 0.5, "cut"),
    "retry with codes": Retrying(1, 30, "busy", 429, "1305"),
    "discarded": Discarded("empty", Assistant()),
    "verify": Verified("after", "pytest", None, ["a"], 5),
    "notice": Notice("hello"),
    "result": Finished(GOOD),
    "early result": Finished(Result("error_usage", True, 2, "", errors=["no task"])),
}


def line(event: Event) -> Json:
    written: list[str] = []
    JsonLines(written.append, partial=True)(event)
    return json.loads(written[0])


def fits(schema: Json, record: object) -> bool:
    validator: Any = Draft202012Validator(schema)
    return bool(validator.is_valid(record))


def test_the_schemas_are_schemas_and_the_result_is_the_same_in_both() -> None:
    check: Callable[[Json], None] = Draft202012Validator.check_schema
    check(EVENTS)
    check(RESULT)
    assert EVENTS["$defs"]["result"] == RESULT
    for name in ("usage", "count"):
        assert EVENTS["$defs"][name] == RESULT["$defs"][name]


@pytest.mark.parametrize("name", EVERY)
def test_every_line_fits_and_a_stray_or_missing_field_does_not(name: str) -> None:
    record = line(EVERY[name])
    assert fits(EVENTS, record)
    assert not fits(EVENTS, {**record, "stray": 1})
    for field in record:
        assert not fits(EVENTS, {key: value for key, value in record.items() if key != field}), field


def test_a_broken_line_does_not_fit() -> None:
    assistant = line(EVERY["assistant"])
    every: list[Json] = [
        {"type": "strange"},
        {},
        {**assistant, "message": {**assistant["message"], "role": "user"}},
        {**assistant, "message": {**assistant["message"], "content": [{"type": "text"}]}},
        {**line(EVERY["retry"]), "delay_s": -1},
        {**line(EVERY["verify"]), "phase": "between"},
    ]
    for broken in every:
        assert not fits(EVENTS, broken)


def rows() -> list[outcome.Outcome]:
    subtypes = RESULT["properties"]["subtype"]["enum"]
    cancelled = [outcome.decide({"error_cancelled"}, signum) for signum in (1, 2, 15)]
    return [outcome.decide({name}) for name in subtypes if name != "error_cancelled"] + cancelled


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.subtype} {row.exit_code}")
def test_each_outcome_has_its_one_row(row: outcome.Outcome) -> None:
    record = line(Finished(Result(row.subtype, row.is_error, row.exit_code, "")))
    for schema in (RESULT, EVENTS):
        assert fits(schema, record)
        assert not fits(schema, {**record, "is_error": not row.is_error})
        assert not fits(schema, {**record, "exit_code": 0 if row.exit_code else 1})
        assert not fits(schema, {**record, "subtype": "success" if row.is_error else "error_verify"})


def test_a_result_that_lies_does_not_fit() -> None:
    record = line(Finished(GOOD))
    assert fits(RESULT, record)
    for path, value in (
        (("usage", "input_tokens"), -1),
        (("usage", "cache_hit_share"), 1.1),
        (("usage", "estimated"), 1),
        (("cost_source",), "guess"),
        (("cost_source",), "unknown+estimate"),
        (("changes", 0, "kind"), "strange"),
        (("verification", "fixed"), None),
        (("session_id",), 7),
        (("subtype",), "error_new"),
    ):
        broken: Any = deepcopy(record)
        inner: Any = broken
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        assert not fits(RESULT, broken), path
