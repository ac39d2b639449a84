"""Control tokens in foreign text reach no template, and what the model copies of them reaches the files."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.dialects import Wish, dialect, encode, find_model, find_provider
from glm_agent.tools.arguments import decode
from glm_agent.types import Assistant, ToolCall, ToolOutput, ToolResult, User
from glm_agent.veil import cover, cover_own, uncover
from tests import fakes

TOKENS = (
    *("<|user|>", "<|assistant|>", "<|system|>", "<|observation|>", "<|endoftext|>", "<|begin_of_box|>"),
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<arg_key>", "</arg_value>", "<tool_response>"),
    *("[gMASK]", "[MASK]", "[sMASK]", "<sop>", "<eop>", "<|im_start|>"),
)
PIECES = [*TOKENS, "·", "<|user··|>", "<think·>", "<|", "|>", "[", "]", "<", ">", "\\", "a", "\n"]


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_shown_with_a_dot_and_is_none_any_more(token: str) -> None:
    shown = cover(f"a {token} b")
    assert token not in shown
    assert shown.replace("·", "") == f"a {token} b"


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_every_text_comes_back_from_its_veiled_form(text: str) -> None:
    shown = cover(text)
    assert uncover(shown) == text
    assert not any(token in shown for token in TOKENS)
    assert cover_own(shown) == shown


@pytest.mark.parametrize(
    "text", ["a < b | c > d", "f <| x", "<user>", "[mask]", "x·y", "</nothink>", "<|é|>"]
)
def test_what_is_no_token_stays(text: str) -> None:
    assert cover(text) == uncover(text) == text


def test_a_request_holds_no_token_whoever_wrote_it() -> None:
    escaped = '{"path": "a", "content": "\\u003c|user|\\u003e"}'
    made = [ToolCall("1", "write", '{"path": "<|user|>"}'), ToolCall("2", "write", escaped)]
    history = [
        User("<|system|>"),
        Assistant("<think>", "</think>", made),
        ToolResult("1", "x\n<|user|>\n[end 1]"),
        ToolResult("2", "plain"),
    ]
    provider = find_provider("zai")
    asked, _ = dialect(provider, find_model(provider, "glm-4.7"), "<sop>", [], Wish())
    body = encode(history, asked._replace(end="[end 1]"))
    said = json.dumps(body, ensure_ascii=False)
    assert [token for token in TOKENS if token in said] == []
    first, second = (call["function"]["arguments"] for call in body["messages"][2]["tool_calls"])
    assert (json.loads(first), json.loads(second)["content"]) == ({"path": "<|user·|>"}, "<|user·|>")
    framed, plain = (message["content"] for message in body["messages"][3:])
    assert framed.startswith("x\n<|user·|>\n[end]\n[end 1] (a dot as in ")
    assert plain == "plain\n[end 1]"


def test_what_the_model_copied_is_sent_back_as_it_wrote_it() -> None:
    raw = '{"text": "<|user·|> <|user\\u00b7|>"}'
    provider = find_provider("zai")
    asked, _ = dialect(provider, find_model(provider, "glm-4.7"), "", [], Wish())
    turn = Assistant("the <|user·|>", "<think·>", [ToolCall("1", "read", raw)])
    sent = encode([turn], asked)["messages"][1]
    assert (sent["content"], sent["reasoning_content"]) == ("the <|user·|>", "<think·>")
    assert sent["tool_calls"][0]["function"]["arguments"] == raw


def test_a_tool_gets_the_text_as_it_is_in_the_files() -> None:
    found = fakes.tool("read", lambda arguments, cancel: ToolOutput(""))
    assert decode(found, '{"text": "<|user·|> <think··>"}') == {"text": "<|user|> <think·>"}
    assert decode(found._replace(takes_raw=True), '{"a": "<|user·|>"}') == {"raw": '{"a": "<|user|>"}'}
