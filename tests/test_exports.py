"""Sessions as documents: whatever was said in them, a page runs and loads nothing, and data are valid."""

from __future__ import annotations

import json
import re
import time
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt
from running import validator

from glm_agent.errors import UsageError
from glm_agent.exports import Format, export
from glm_agent.exports.steps import Done, Step, steps
from glm_agent.journal import Session
from glm_agent.types import Assistant, Json, Message, ToolCall, ToolResult, User

READ = ToolCall("c1", "read", '{"path": "a.py"}')
BROKEN = ToolCall("c1", "bash", '{"command": "pyt')
SAID: list[Message] = [
    User("Make it add."),
    Assistant(
        text="I look.",
        thought="Where is it?",
        calls=[READ, BROKEN],
        finish="tool_calls",
        usage={"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 60}},
    ),
    ToolResult("c1", "a.py (lines 1-1 of 1)\nx", details={"first": 1, "last": 1, "total": 1}),
    ToolResult("c1", "error: not JSON", ok=False),
    Assistant(text="Use `<|user·|>`.", finish="stop", usage={"prompt_tokens": 150, "completion_tokens": 5}),
]
STARTED: Json = {
    "at": 1763755200.5,
    "type": "Started",
    "session_id": "s1",
    "cwd": "/r",
    "command": "fix",
    "model": "glm-4.7",
    "provider": "zai",
    "base_url_host": "h",
    "tools": ["read"],
    "sandbox": {"mode": "read-only", "mechanism": "none", "network": False, "tier": None, "gaps": []},
    "git": None,
    "caps": {},
    "stdin": "none",
    "workdir": "in-place",
    "instructions": [],
    "version": "1.0",
}
RESULT: Json = {"subtype": "success", "total_cost_usd": 0.031, "duration_ms": 900, "changes": [{}]}


def session(messages: list[Message], *, started: Json = STARTED, result: Json | None = RESULT) -> Session:
    return Session("s1", Path("/s1"), started, messages, result)


def test_a_step_is_a_turn_with_what_its_calls_gave() -> None:
    lost = ToolResult("nobody", "x")
    turn = Assistant(calls=[READ])
    assert list(steps([lost, *SAID, turn])) == [
        Step(SAID[0], []),  # type: ignore[arg-type]
        Step(SAID[1], [Done(READ, SAID[2]), Done(BROKEN, SAID[3])]),  # type: ignore[arg-type]
        Step(SAID[4], []),  # type: ignore[arg-type]
        Step(turn, [Done(READ, None)]),
    ]


# ATIF, by its specification


def an_object(required: dict[str, Json], **optional: Json) -> Json:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
ANY: Json = {"type": "object"}
CALL = an_object({"tool_call_id": TEXT, "function_name": TEXT, "arguments": ANY}, extra=ANY)
ANSWER = an_object({}, source_call_id=TEXT, content=TEXT, extra=ANY)
METRICS = an_object(
    {},
    prompt_tokens=COUNT,
    completion_tokens=COUNT,
    cached_tokens=COUNT,
    cost_usd={"type": "number"},
    extra=ANY,
)
COMMON: dict[str, Json] = {"step_id": COUNT, "message": TEXT}
MORE: Json = {"timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$"}, "extra": ANY}
BY_USER = an_object({**COMMON, "source": {"enum": ["user", "system"]}}, **MORE)
BY_AGENT = an_object(
    {**COMMON, "source": {"const": "agent"}},
    **MORE,
    reasoning_content=TEXT,
    llm_call_count=COUNT,
    metrics=METRICS,
    tool_calls={"type": "array", "items": CALL},
    observation=an_object({"results": {"type": "array", "items": ANSWER}}),
)
ATIF = an_object(
    {
        "schema_version": {"const": "ATIF-v1.8"},
        "agent": an_object({"name": TEXT, "version": TEXT}, model_name=TEXT, extra=ANY),
        "steps": {"type": "array", "minItems": 1, "items": {"anyOf": [BY_USER, BY_AGENT]}},
    },
    session_id=TEXT,
    final_metrics=an_object(
        {},
        total_prompt_tokens=COUNT,
        total_completion_tokens=COUNT,
        total_cached_tokens=COUNT,
        total_cost_usd={"type": "number"},
        total_steps=COUNT,
        extra=ANY,
    ),
    extra=ANY,
)


@cache
def atif() -> Any:  # noqa: ANN401 - the library has no types
    return Draft202012Validator(ATIF)


def trajectory(given: Session) -> Json:
    """The document, once it is known to be one."""
    document = json.loads(export(given, "atif"))
    atif().validate(document)
    assert [step["step_id"] for step in document["steps"]] == list(range(1, len(document["steps"]) + 1))
    for step in document["steps"]:
        calls = {call["tool_call_id"] for call in step.get("tool_calls", [])}
        assert {one["source_call_id"] for one in step.get("observation", {"results": []})["results"]} <= calls
    return document


def test_a_trajectory_says_what_happened() -> None:
    found = trajectory(session(SAID))
    usage = {"reasoning_tokens": 0, "estimated": False}
    assert found["steps"] == [
        {
            "step_id": 1,
            "source": "user",
            "message": "Make it add.",
            "timestamp": "2025-11-21T20:00:00.500000+00:00",
        },
        {
            "step_id": 2,
            "source": "agent",
            "message": "I look.",
            "reasoning_content": "Where is it?",
            "llm_call_count": 1,
            "metrics": {"prompt_tokens": 100, "completion_tokens": 20, "cached_tokens": 60, "extra": usage},
            "extra": {"finish_reason": "tool_calls"},
            "tool_calls": [
                {"tool_call_id": "c1", "function_name": "read", "arguments": {"path": "a.py"}},
                {
                    "tool_call_id": "c1",
                    "function_name": "bash",
                    "arguments": {},
                    "extra": {"raw_arguments": BROKEN.arguments},
                },
            ],
            "observation": {
                "results": [
                    {"source_call_id": "c1", "content": "a.py (lines 1-1 of 1)\nx"},
                    {"source_call_id": "c1", "content": "error: not JSON", "extra": {"is_error": True}},
                ]
            },
        },
        {
            "step_id": 3,
            "source": "agent",
            "message": "Use `<|user·|>`.",
            "llm_call_count": 1,
            "metrics": {"prompt_tokens": 150, "completion_tokens": 5, "cached_tokens": 0, "extra": usage},
            "extra": {"finish_reason": "stop"},
        },
    ]
    assert (found["agent"]["name"], found["agent"]["model_name"]) == ("glm-agent", "glm-4.7")
    assert found["final_metrics"] == {
        "total_prompt_tokens": 250,
        "total_completion_tokens": 25,
        "total_cached_tokens": 60,
        "total_cost_usd": 0.031,
        "total_steps": 3,
    }
    assert found["extra"] == {"outcome": "success", "result": RESULT}


def test_a_trajectory_needs_a_step() -> None:
    with pytest.raises(UsageError, match="another format"):
        export(session([]), "atif")


# Whatever is in it

HOSTILE = (
    "</pre></details><script>alert(1)</script><img src=x onerror=alert(1)>",
    '"><a href="javascript:alert(1)">x</a>\' style=\'background:url(http://h/x)',
    "<!--", "]]>", "&lt;script&gt;", "```\n</details>\n<script>", "````", "# head", "![x](http://h/x)",
    "\x1b[31m\x00\x07\u202e\u2028", "\udcff\ud800", "</style></title></textarea>", "\r\n", "",
)  # fmt: skip
TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=20)
CALLS = st.builds(ToolCall, st.sampled_from(["c1", "c2"]), TEXTS, TEXTS | st.just('{"path": "<b>\\u001b"}'))
MESSAGES = st.one_of(
    st.builds(User, TEXTS),
    st.builds(
        Assistant, TEXTS, st.none() | TEXTS, st.lists(CALLS, max_size=3), st.sampled_from(["", "stop"])
    ),
    st.builds(ToolResult, st.sampled_from(["c1", "c2"]), TEXTS, st.booleans()),
)
TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "dl", "dt", "dd", "section", "pre"}
ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "class"}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@given(st.lists(MESSAGES, max_size=6), TEXTS)
@example([User(text) for text in HOSTILE], HOSTILE[0])
def test_a_page_holds_nothing_but_text(messages: list[Message], model: str) -> None:
    text = export(session(messages, started={"model": model, "cwd": model}), "html")
    page = Page(text)
    assert (page.tags - TAGS - {"details", "summary"}, page.attributes - ATTRIBUTES) == (set(), set())
    assert "<script" not in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)


@given(
    st.lists(MESSAGES, min_size=1, max_size=6).filter(
        lambda all_: not all(isinstance(m, ToolResult) for m in all_)
    )
)
@example([Assistant(text=text, thought=text, calls=[ToolCall("c1", text, text)]) for text in HOSTILE])
def test_data_are_valid(messages: list[Message]) -> None:
    trajectory(session(messages))
    for wanted in get_args(Format):
        export(session(messages, started={}, result=None), wanted).encode()
    text = export(session(messages), "json")
    assert re.search(r"[^\x20-\x7e\n]", text) is None
    document = json.loads(text)
    validator().validate(document["init"])
    for message in document["messages"]:
        role = {"assistant": "assistant", "user": "user"}[message["role"]]
        if role == "assistant" or message["content"][0]["type"] == "tool_result":
            validator().validate({"type": role, "session_id": "s1", "message": message})


def test_a_page_is_made_for_a_phone_and_allows_nothing() -> None:
    page = export(session(SAID), "html")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "default-src 'none'; style-src 'sha256-" in page
    assert "pre-wrap" in page and "overflow-wrap: anywhere" in page
    text = " ".join(Page(page).text)
    for part in (
        "Make it add.",
        "Where is it?",
        "lines 1-1 of 1",
        "error: not JSON",
        "Use `<|user|>`.",
        "$0.031",
    ):
        assert part in text


def test_markdown_cannot_be_broken_out_of() -> None:
    result = ToolResult("c1", "```\n</details>\n\x1b# Not ours\n````")
    thought = Assistant(text="It is\n```\nnot closed", thought="<b>", calls=[READ])
    found = export(session([User("# Do <i>\nit"), thought, result]), "md")
    assert found.split("## User\n", 1)[1] == (
        "\n> &#35; Do &#60;i>\n> it\n\n## Model\n\n"
        "<details><summary>Thought</summary>\n\n```text\n<b>\n```\n\n</details>\n\n"
        "> It is\n> ```text\n> not closed\n> ```\n\n"
        "<details><summary>read a.py \u2192 4 lines</summary>\n\n"
        "`````text\n```\n</details>\n\u241b# Not ours\n````\n`````\n\n</details>\n"
    )


def test_markdown_keeps_what_a_quote_may_have() -> None:
    said = "- a *b* `List<T>` ``a`b<c>``\n1. see [x](y)\n| a | b |\n|---|---|\n~~~html\n<p>```\n~~~\nend"
    found = export(session([User(said)]), "md").partition("## User\n\n")[2]
    fence = "> ````text\n> <p>```\n> ````\n> end\n"
    assert found == "> " + said.partition("~~~")[0].replace("\n", "\n> ")[:-2] + fence


STRUCTURE = st.sampled_from(
    [
        *"`~<>!#|=-*_[]()\\&\t \n.1",
        "```",
        "~~~~",
        "<b>",
        "</details>",
        "![x](y)",
        "\n    ",
        "- ",
        "\n\n",
        "<!--",
    ]
)
SPOKEN = st.lists(STRUCTURE | st.text(max_size=3), max_size=25).map("".join)


@given(SPOKEN, SPOKEN)
@example("| `a | <b> ` |\n|---|---|\n| `a | <b> ` |", "\\`<b>`")
@example("- ~~~\n  <b>\n# x", "x\n===")
def test_all_headings_and_html_of_markdown_are_ours(said: str, gave: str) -> None:
    turn = Assistant(text=said, thought=gave, calls=[READ])
    found = export(session([User(gave), turn, ToolResult("c1", said)]), "md")
    tokens = MarkdownIt("commonmark").enable("table").parse(found)
    every = [inner for token in tokens for inner in (token, *(token.children or ()))]
    titles = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    assert titles == ["Session s1", "User", "Model"]
    assert {token.level for token in tokens if token.type == "heading_open"} == {0}
    html = [token.content for token in every if token.type.startswith("html")]
    assert all(re.fullmatch(r"<details><summary>[^<]*</summary>\n|</details>\n", part) for part in html)
    assert [token for token in every if token.type == "image"] == []


@pytest.mark.slow
@pytest.mark.parametrize("wanted", get_args(Format))
def test_a_thousand_turns_cost_what_ten_hundreds_do(wanted: Format) -> None:
    def seconds(turns: int) -> float:
        given = session([SAID[0], *SAID[1:4] * turns])
        start = time.process_time()
        export(given, wanted)
        return time.process_time() - start

    seconds(10)
    assert seconds(2000) < 40 * max(seconds(200), 0.005)
