from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from glm_agent.render.jsonl import JsonLines, encode
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
    Stopped,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolResult,
    ToolStarted,
    User,
    Verified,
)

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
COUNTS = {
    "input_tokens": 6,
    "cache_read_input_tokens": 4,
    "output_tokens": 5,
    "reasoning_tokens": 3,
    "estimated": False,
}
ZERO = {**dict.fromkeys(COUNTS, 0), "estimated": False, "cache_hit_share": None}
STARTED = Started(
    "s1",
    "/w",
    "fix",
    "glm-4.7",
    "zai",
    "api.z.ai",
    ["read"],
    {"mode": "workspace-write", "mechanism": "none", "network": False, "tier": None, "gaps": []},
    {"head": "abc", "dirty": False},
    {"max_turns": 150},
    "none",
    [],
    "0.1.0",
)


def play(*events: Event, partial: bool = False, only_result: bool = False) -> list[Json]:
    written: list[str] = []
    view = JsonLines(written.append, partial, only_result=only_result)
    for event in events:
        view(event)
    view.close()
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in written)
    return [json.loads(line) for line in written]


def test_the_session_begins_with_init() -> None:
    assert play(STARTED) == [
        {
            "type": "system",
            "subtype": "init",
            "schema": "glm-agent/1",
            "session_id": "s1",
            "cwd": "/w",
            "command": "fix",
            "model": "glm-4.7",
            "provider": "zai",
            "base_url_host": "api.z.ai",
            "tools": ["read"],
            "sandbox": STARTED.sandbox,
            "git": {"head": "abc", "dirty": False},
            "caps": {"max_turns": 150},
            "stdin": "none",
            "instructions": [],
            "version": "0.1.0",
            "workdir": "in-place",
        }
    ]


def test_a_turn_and_its_results_are_messages_of_the_session() -> None:
    calls = [ToolCall("c1", "read", '{"path": "a"}'), ToolCall("c2", "read", '{"path": ')]
    turn = Assistant("Look.", "Hm.", calls, "tool_calls", USAGE)
    answer = Said(ToolResult("c2", "error: bad arguments", False, {"secret": "details"}))
    assert play(STARTED, Said(User("go")), Said(turn), ToolStarted(calls[0]), answer)[1:] == [
        {
            "type": "assistant",
            "session_id": "s1",
            "message": {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm."},
                    {"type": "text", "text": "Look."},
                    {"type": "tool_use", "id": "c1", "name": "read", "input": {"path": "a"}},
                    {"type": "tool_use", "id": "c2", "name": "read", "input": {}},
                ],
                "stop_reason": "tool_use",
                "usage": COUNTS,
            },
        },
        {
            "type": "user",
            "session_id": "s1",
            "message": {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c2",
                        "is_error": True,
                        "content": "error: bad arguments",
                    }
                ],
            },
        },
    ]


def test_stop_reasons_are_those_of_the_envelope_or_the_providers_own() -> None:
    finishes = ("stop", "length", "sensitive", "")
    lines = play(*(Said(Assistant("x", finish=finish)) for finish in finishes))
    assert [line["message"]["stop_reason"] for line in lines] == ["end_turn", "max_tokens", "sensitive", None]


def test_only_an_object_is_shown_as_input() -> None:
    texts = ["", "null", "[1]", '"{\\"a\\": 1}"', '{"a": NaN}', "{}", "1" * 5000, "[" * 100_000]
    calls = [ToolCall(str(number), "read", text) for number, text in enumerate(texts)]
    (line,) = play(Said(Assistant(calls=calls)))
    shown = [block["input"] for block in line["message"]["content"]]
    assert shown == [{}, {}, {}, {"a": 1}, {"a": None}, {}, {}, {}]


def test_a_deep_input_is_cut_where_parsers_would_give_up() -> None:
    text = '{"a":' * 300 + "1" + "}" * 300
    (line,) = play(Said(Assistant(calls=[ToolCall("c", "read", text)])))
    value: Any = line["message"]["content"][0]["input"]
    depth = 0
    while value != "…":
        value, depth = value["a"], depth + 1
    assert depth == 64


def test_system_lines() -> None:
    assert play(
        Retrying(2, 30, "rate limited", 429, "1305"),
        Discarded("empty", Assistant(usage=USAGE)),
        Verified("before", "pytest -q", 1, ["t::a"], 812, "long output"),
        Notice("no sandbox"),
        Stopped("done", 3),
    ) == [
        {
            "type": "system",
            "subtype": "retry",
            "attempt": 2,
            "delay_s": 30,
            "http_status": 429,
            "provider_code": "1305",
            "reason": "rate limited",
        },
        {"type": "system", "subtype": "discarded", "reason": "empty", "usage": COUNTS},
        {
            "type": "system",
            "subtype": "verify",
            "phase": "before",
            "command": "pytest -q",
            "exit_code": 1,
            "failed": ["t::a"],
            "flaky": [],
            "duration_ms": 812,
        },
        {"type": "system", "subtype": "notice", "text": "no sandbox"},
    ]


DELTAS: list[Event] = [
    ThoughtDelta("Hm"),
    ThoughtDelta("."),
    TextDelta("Look"),
    CallDelta(0, "read", ""),
    CallDelta(0, "read", '{"pa'),
    CallDelta(1, "read", "{}"),
    CallDelta(0, "read", 'th": 1}'),
]


def test_fragments_carry_the_index_of_their_content_block() -> None:
    lines = play(*DELTAS, Said(Assistant("x")), TextDelta("next"), partial=True)
    events = [line["event"] for line in lines if line["type"] == "stream_event"]
    assert {event["type"] for event in events} == {"content_block_delta"}
    assert [(event["index"], event["delta"]) for event in events] == [
        (0, {"type": "thinking_delta", "thinking": "Hm"}),
        (0, {"type": "thinking_delta", "thinking": "."}),
        (1, {"type": "text_delta", "text": "Look"}),
        (2, {"type": "input_json_delta", "partial_json": '{"pa'}),
        (3, {"type": "input_json_delta", "partial_json": "{}"}),
        (2, {"type": "input_json_delta", "partial_json": 'th": 1}'}),
        (0, {"type": "text_delta", "text": "next"}),
    ]


def test_fragments_only_where_asked() -> None:
    assert play(*DELTAS) == []


def test_a_broken_turn_starts_the_indices_again() -> None:
    for event in (Retrying(1, 0, "cut"), Discarded("cut", Assistant())):
        lines = play(ThoughtDelta("a"), event, TextDelta("b"), partial=True)
        assert lines[-1]["event"]["index"] == 0


RESULT = Result(
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
    {**COUNTS, "cache_hit_share": 0.4},
    changes=[{"path": "a.py", "kind": "update", "added": 3, "removed": 1}],
)
RESULT_LINE: Json = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "exit_code": 0,
    "result": "final",
    "structured_output": None,
    "session_id": "s1",
    "num_turns": 9,
    "duration_ms": 10,
    "duration_api_ms": 5,
    "total_cost_usd": 0.031,
    "cost_source": "price_table:2026-11",
    "usage": {**COUNTS, "cache_hit_share": 0.4},
    "permission_denials": [],
    "changes": [{"path": "a.py", "kind": "update", "added": 3, "removed": 1}],
    "runs_later": [],
    "patch_file": None,
    "base_commit": None,
    "verification": None,
    "policy": [],
    "notices": [],
    "errors": [],
    "attempts": [],
    "commit": None,
    "citations": [],
}


def test_the_result_is_last_and_comes_once() -> None:
    assert play(Notice("a"), Finished(RESULT), Notice("b"), Finished(RESULT))[1:] == [RESULT_LINE]


def test_json_is_the_result_alone() -> None:
    assert play(STARTED, *DELTAS, Notice("a"), Finished(RESULT), partial=True, only_result=True) == [
        RESULT_LINE
    ]


def test_a_result_without_usage_counts_zero() -> None:
    (line,) = play(Finished(Result("error_auth", True, 41, "")))
    assert line["usage"] == ZERO


def test_every_line_is_redacted_before_it_is_written() -> None:
    written: list[str] = []
    view = JsonLines(written.append, redact=lambda line: line.replace("sk-secret", "[key]"))
    view(Notice("sk-secret"))
    assert written == ['{"type": "system", "subtype": "notice", "text": "[key]"}\n']


def test_a_name_that_is_no_utf8_is_its_escape_as_text() -> None:
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x98\x80")
    assert encode({"path": name, "x": "\\udc80"}) == (
        '{"path": "caf\\\\udce9 \\ud83d\\ude00", "x": "\\\\udc80"}'
    )


def test_lines_are_ascii_without_control_characters() -> None:
    line = encode({"text": "\x00\x1b\x7f\x9b\u2028\u202e\n你"})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"text": "\x00\x1b\x7f\x9b\u2028\u202e\n你"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet=st.characters()), inner),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(alphabet=st.characters()), VALUES))
def test_any_record_is_one_line_of_strict_json(record: Json) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    line = encode(record)
    assert line.isascii()
    assert line.isprintable()
    json.dumps(json.loads(line, parse_constant=refuse), ensure_ascii=False).encode()
