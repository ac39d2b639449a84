from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.dialects import Dialect, Wish, dialect, encode, find_model, find_provider
from glm_agent.parameters import Refusal, refused_parameter, without
from glm_agent.types import Assistant, Json, User

EVERYTHING: Json = {
    "model": "m",
    "messages": [],
    "tools": [],
    "tool_choice": "auto",
    "stream": True,
    "max_tokens": 16_384,
    "thinking": {"type": "enabled", "clear_thinking": False},
    "stream_options": {"include_usage": True},
    "tool_stream": True,
    "temperature": 1.5,
}
EFFORT: Json = {**EVERYTHING, "reasoning_effort": "max"}
OFF: Json = {**EVERYTHING, "thinking": {"type": "disabled"}}
OPENROUTER: Json = {**EVERYTHING, "reasoning": {"enabled": True}}
TEMPLATE: Json = {"chat_template_kwargs": {"enable_thinking": True}, "max_tokens": 16_384}
OLLAMA: Json = {"reasoning_effort": "none"}

ALWAYS_THINKS = "This model always engages in thinking and cannot be disabled; please use low, high, or max"
PYDANTIC = "[{'type': 'extra_forbidden', 'loc': ('body', '%s'), 'msg': 'Extra inputs are not permitted'}]"
TOO_LARGE = (
    "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context length is "
    "8192 tokens and your request has %d input tokens (16384 > 8192 - %d)."
)

REFUSED: list[tuple[str, str, Json, Refusal]] = [
    ("1210", ALWAYS_THINKS, OFF, Refusal("thinking")),
    ("1210", ALWAYS_THINKS, EFFORT, Refusal("reasoning_effort")),
    ("1210", "Invalid API parameter: tool_stream", EVERYTHING, Refusal("tool_stream")),
    ("1210", "API 调用参数有误：不支持 tool_stream 参数", EVERYTHING, Refusal("tool_stream")),  # noqa: RUF001 - as sent
    ("1210", "temperature 参数非法。取值范围[0,1]", EVERYTHING, Refusal("temperature")),
    ("1210", "thinking.clear_thinking is not supported", EVERYTHING, Refusal("clear_thinking")),
    ("1210", "thinking.type 参数非法", EVERYTHING, Refusal("thinking")),
    ("1210", "max_tokens参数非法。限制数值范围[1,8192]", EVERYTHING, Refusal("max_tokens", 8192)),
    ("1210", "限制数值范围[1,8192]", EVERYTHING, Refusal("max_tokens", 8192)),
    (
        "1210",
        "Invalid API parameter, please check the documentation.",
        EVERYTHING,
        Refusal("tool_stream", sure=False),
    ),
    ("1210", "API 调用参数有误，请检查文档。", TEMPLATE | EFFORT, Refusal("tool_stream", sure=False)),  # noqa: RUF001 - as sent
    ("1210", "API 调用参数有误，请检查文档。", OLLAMA, Refusal("reasoning_effort", sure=False)),  # noqa: RUF001 - as sent
    ("", "Unrecognized request argument supplied: thinking", EVERYTHING, Refusal("thinking")),
    ("", "Unrecognized request arguments supplied: stream_options", EVERYTHING, Refusal("stream_options")),
    ("unknown_parameter", "Unknown parameter: 'tool_stream'.", EVERYTHING, Refusal("tool_stream")),
    (
        "unsupported_parameter",
        "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
        EFFORT,
        Refusal("reasoning_effort"),
    ),
    ("unsupported_value", "Unsupported value: 'temperature' must be 1", EVERYTHING, Refusal("temperature")),
    ("400", PYDANTIC % "chat_template_kwargs", TEMPLATE, Refusal("chat_template_kwargs")),
    ("400", PYDANTIC % "reasoning", OPENROUTER, Refusal("reasoning")),
    ("400", PYDANTIC % "enable_thinking", TEMPLATE, Refusal("enable_thinking")),
    ("1210", "bad stream_options", EVERYTHING, Refusal("stream_options")),
    ("", "body.stream_options: extra fields not permitted", EVERYTHING, Refusal("stream_options")),
    ("", "include_usage: unexpected field", EVERYTHING, Refusal("stream_options")),
    ("", "tool_choice is not supported by this server", EVERYTHING, Refusal("tool_choice")),
    ("", '"glm-4-9b" does not support thinking', OLLAMA, Refusal("reasoning_effort")),
    ("", "Thinking is not supported by this model", TEMPLATE, Refusal("chat_template_kwargs")),
    ("", "max_tokens must be less than or equal to 4096", EVERYTHING, Refusal("max_tokens", 4096)),
    (
        "",
        "max_tokens is too large: 16384. This model supports at most 8000 completion tokens",
        EVERYTHING,
        Refusal("max_tokens", 8000),
    ),
    ("400", TOO_LARGE % (500, 500), EVERYTHING, Refusal("max_tokens", 7692)),
    (
        "",
        "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
        EVERYTHING,
        Refusal("max_tokens"),
    ),
    (
        "",
        "messages.1.assistant.reasoning_content: Extra inputs are not permitted",
        EVERYTHING,
        Refusal("messages.reasoning_content"),
    ),
    (
        "",
        "[{'loc': ('body', 'messages', 0, 'reasoning_content'), 'msg': 'Extra inputs are not permitted'}]",
        EVERYTHING,
        Refusal("messages.reasoning_content"),
    ),
    (
        "",
        "'messages.2' : property 'reasoning' is unsupported",
        OPENROUTER,
        Refusal("messages.reasoning"),
    ),
    ("", "Error in messages: reasoning is not supported", OPENROUTER, Refusal("reasoning")),
]


@pytest.mark.parametrize(("code", "message", "sent", "refusal"), REFUSED)
def test_the_field_that_was_refused_is_found(code: str, message: str, sent: Json, refusal: Refusal) -> None:
    assert refused_parameter(code, message, sent) == refusal


@pytest.mark.parametrize(
    ("code", "message", "sent"),
    [
        ("1214", "The messages parameter is illegal. Please check the documentation.", EVERYTHING),
        ("1214", "messages 参数非法。请检查文档。", EVERYTHING),
        ("1261", "Prompt exceeds max length; thinking is not supported", EVERYTHING),
        ("1301", "系统检测到输入或生成内容可能包含不安全或敏感内容", EVERYTHING),
        ("1302", "Thinking requests: rate limit is invalid", EVERYTHING),
        ("", "Unrecognized request argument supplied: num_keep", EVERYTHING),
        ("", "Unrecognized request argument supplied: thinking", {"max_tokens": 9}),
        ("", "Unrecognized request argument supplied: reasoning_format", OPENROUTER),
        ("", "Unrecognized request argument supplied: thinking_budget", EVERYTHING),
        ("", "Invalid value for tools.0.function.name", EVERYTHING),
        ("", "messages.0.user.name: Extra inputs are not permitted", EVERYTHING),
        (
            "",
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
            {"reasoning_effort": "max", "max_tokens": 9},
        ),
        ("1210", "Invalid API parameter, please check the documentation.", {"max_tokens": 9}),
        ("1210", "tools[0].function.parameters 参数有误", EVERYTHING),
        ("", "max_tokens must be at most 32768", EVERYTHING),  # it was
        ("400", TOO_LARGE % (8000, 8000), EVERYTHING),  # the conversation is too long
        ("", "This model's maximum context length is 8192 tokens. However, you requested 9000", EVERYTHING),
        ("", "I was thinking of a reasoning effort", EVERYTHING),
        ("", "", EVERYTHING),
    ],
)
def test_an_error_about_something_else_refuses_no_field(code: str, message: str, sent: Json) -> None:
    assert refused_parameter(code, message, sent) is None


def asked(provider: str, wish: Wish = Wish(effort="max", temperature=0.5)) -> Dialect:  # noqa: B008
    row = find_provider(provider)
    return dialect(row, find_model(row, "glm-5.2"), "", [], wish)[0]


@pytest.mark.parametrize(
    ("provider", "field", "left"),
    [
        ("zai", "thinking", {"reasoning_effort": "max", "temperature": 0.5}),
        (
            "zai",
            "clear_thinking",
            {"thinking": {"type": "enabled"}, "reasoning_effort": "max", "temperature": 0.5},
        ),
        (
            "zai",
            "reasoning_effort",
            {"thinking": {"type": "enabled", "clear_thinking": False}, "temperature": 0.5},
        ),
        ("openrouter", "reasoning", {"temperature": 0.5}),
        ("cerebras", "clear_thinking", {"reasoning_effort": "max", "temperature": 0.5}),
        ("vllm", "chat_template_kwargs", {"reasoning_effort": "max", "temperature": 0.5}),
        ("zai", "tool_stream", None),
    ],
)
def test_a_refused_field_is_left_out_and_nothing_else(provider: str, field: str, left: Json | None) -> None:
    before = asked(provider)
    body = encode([User("Go")], without(before, Refusal(field)))
    usual = encode([User("Go")], before)
    kept = {name: usual[name] for name in ("model", "messages", "stream", "max_tokens")}
    if "stream_options" in usual:
        kept["stream_options"] = usual["stream_options"]
    assert body == (usual if left is None else {**kept, **left})
    assert encode([User("Go")], before) == usual


def test_a_limit_that_was_too_large_becomes_the_hosts_own_also_for_a_raised_one() -> None:
    found = without(asked("zai"), Refusal("max_tokens", 8000))
    assert [encode([], found, limit)["max_tokens"] for limit in (None, 32_768, 10)] == [8000, 8000, 10]


def test_a_limit_of_the_old_name_gets_the_new_one() -> None:
    body = encode([], without(asked("custom"), Refusal("max_tokens")))
    assert body["max_completion_tokens"] == 16_384 and "max_tokens" not in body


@pytest.mark.parametrize(("provider", "field"), [("zai", "reasoning_content"), ("openrouter", "reasoning")])
def test_reasoning_that_is_refused_in_messages_is_not_sent_back(provider: str, field: str) -> None:
    history = [User("Go"), Assistant("Yes", "Hm")]
    assert field in encode(history, asked(provider))["messages"][-1]
    usual = encode(history, asked(provider))
    body = encode(history, without(asked(provider), Refusal(f"messages.{field}")))
    said = [*usual["messages"][:-1], {"role": "assistant", "content": "Yes"}]
    assert body == {**usual, "messages": said}


def test_a_notice_says_what_is_not_sent_any_more() -> None:
    assert [str(each) for each in (Refusal("x"), Refusal("x", 5), Refusal("x", sure=False))] == [
        "refuses the field x, which is not sent any more",
        "takes no more than 5 as x",
        "refuses a field without naming it; x is not sent any more",
    ]


WORDS = st.sampled_from(
    [
        *EFFORT,
        "clear_thinking",
        "reasoning_content",
        "not supported",
        "非法",
        "[1,5]",
        "> 9 - 5",
        "at most 7",
        "use",
    ]
)


@given(
    st.sampled_from(["", "1210", "1214", "400"]),
    st.lists(WORDS | st.text(max_size=3), max_size=6),
    st.sampled_from(["zai", "openrouter", "vllm", "cerebras", "custom"]),
)
def test_whatever_is_said_asking_again_without_it_comes_to_an_end(
    code: str, words: list[str], provider: str
) -> None:
    found = asked(provider)
    for _ in range(12):
        refusal = refused_parameter(code, " ".join(words), encode([User("Go")], found))
        if refusal is None:
            return
        before, found = found, without(found, refusal)
        if before == found:
            return  # which the client takes as an end
    pytest.fail(f"{words} goes on for ever")
