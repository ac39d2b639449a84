from __future__ import annotations

import pytest
from fakes import echo, tool
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import dialects
from glm_agent.dialects import Model, Wish, dialect, encode, find_model, find_provider
from glm_agent.errors import UsageError
from glm_agent.transport import serialise
from glm_agent.types import Assistant, Json, Message, ToolCall, ToolResult, User
from glm_agent.usage import Price

NOTHING = Wish()
READ = tool("read", echo)
TOOLS: list[Json] = [
    {
        "type": "function",
        "function": {
            "name": "read",
            "description": "does read",
            "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": []},
        },
    }
]


def body(
    provider: str,
    model: str,
    wish: Wish = NOTHING,
    history: list[Message] | None = None,
) -> Json:
    row = find_provider(provider)
    found, notices = dialect(row, find_model(row, model), "Be good.", [READ], wish)
    assert notices == []
    return encode(history or [User("Go")], found)


def request(model: str, **fields: object) -> Json:
    """A first request; `fields` are what a provider adds to what all get."""
    return {
        "model": model,
        "messages": [{"role": "system", "content": "Be good."}, {"role": "user", "content": "Go"}],
        "tools": TOOLS,
        "tool_choice": "auto",
        "stream": True,
        "max_tokens": 16_384,
        **fields,
    }


ON, OFF, MAX = Wish(thinking=True), Wish(thinking=False), Wish(effort="max")
KEPT, DISABLED = {"type": "enabled", "clear_thinking": False}, {"type": "disabled"}
USAGE = {"stream_options": {"include_usage": True}}

BODIES: list[tuple[str, str, Wish, Json]] = [
    *(
        row
        for host in ("zai", "zai-coding", "bigmodel")
        for row in [
            (host, "glm-4.7", NOTHING, request("glm-4.7", thinking=KEPT, tool_stream=True)),
            (host, "glm-4.7", ON, request("glm-4.7", thinking=KEPT, tool_stream=True)),
            (host, "glm-4.7", OFF, request("glm-4.7", thinking=DISABLED, tool_stream=True)),
            (
                host,
                "glm-5.3",
                MAX,
                request("glm-5.3", thinking=KEPT, reasoning_effort="max", tool_stream=True),
            ),
        ]
    ),
    ("zai", "glm-5.3", NOTHING, request("glm-5.3", thinking=KEPT, tool_stream=True)),
    ("zai", "glm-5.2", MAX._replace(thinking=False), request("glm-5.2", thinking=DISABLED, tool_stream=True)),
    ("zai", "glm-4.6", ON, request("glm-4.6", thinking={"type": "enabled"}, tool_stream=True)),
    ("zai", "glm-4.5-air", NOTHING, request("glm-4.5-air", thinking={"type": "enabled"})),
    ("zai", "glm-4.5v", OFF, request("glm-4.5v", thinking=DISABLED)),
    ("zai", "glm-4-32b-0414-128k", ON, request("glm-4-32b-0414-128k")),
    (
        "zai",
        "glm-9",
        Wish(effort="low"),
        request("glm-9", thinking={"type": "enabled"}, reasoning_effort="low"),
    ),
    ("openrouter", "glm-4.7", NOTHING, request("z-ai/glm-4.7", reasoning={"enabled": True})),
    ("openrouter", "z-ai/glm-4.7", ON, request("z-ai/glm-4.7", reasoning={"enabled": True})),
    ("openrouter", "glm-4.7", OFF, request("z-ai/glm-4.7", reasoning={"enabled": False})),
    ("openrouter", "glm-5.3", MAX, request("z-ai/glm-5.3", reasoning={"enabled": True, "effort": "max"})),
    ("custom", "glm-4.7", NOTHING, request("glm-4.7", **USAGE)),
    ("custom", "glm-4.7", ON, request("glm-4.7", thinking=KEPT, **USAGE)),
    ("custom", "qwen", OFF, request("qwen", thinking=DISABLED, **USAGE)),
    ("custom", "glm-5.3", MAX, request("glm-5.3", thinking=KEPT, reasoning_effort="max", **USAGE)),
    (
        "custom",
        "glm-4.7",
        Wish(temperature=0.0, max_tokens=99),
        {**request("glm-4.7", **USAGE, temperature=0.0), "max_tokens": 99},
    ),
]


@pytest.mark.parametrize(("provider", "model", "wish", "expected"), BODIES)
def test_a_request_is_what_the_host_wants(provider: str, model: str, wish: Wish, expected: Json) -> None:
    assert body(provider, model, wish) == expected


def test_every_provider_has_its_bodies_here() -> None:
    assert {row[0] for row in BODIES} == set(dialects.providers())


SECOND: list[Message] = [
    User("Go"),
    Assistant("", "Hm", [ToolCall("c1", "read", '{"text": "ü"}')], "tool_calls"),
    ToolResult("c1", "echo ü", details={"secret": 1}),
    Assistant("Done", "", finish="stop"),
    User("More"),
    Assistant("Yes", None, finish="stop"),
]


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        ("zai", "reasoning_content"),
        ("zai-coding", "reasoning_content"),
        ("bigmodel", "reasoning_content"),
        ("custom", "reasoning_content"),
        ("openrouter", "reasoning"),
    ],
)
def test_reasoning_goes_back_with_its_calls_in_the_hosts_field(provider: str, field: str) -> None:
    function = {"name": "read", "arguments": '{"text": "ü"}'}
    called = [{"id": "c1", "type": "function", "function": function}]
    assert body(provider, "glm-4.7", history=SECOND)["messages"] == [
        {"role": "system", "content": "Be good."},
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": "", field: "Hm", "tool_calls": called},
        {"role": "tool", "tool_call_id": "c1", "content": "echo ü"},
        {"role": "assistant", "content": "Done", field: ""},
        {"role": "user", "content": "More"},
        {"role": "assistant", "content": "Yes"},
    ]


def echoed(name: str, arguments: str) -> Json:
    turn = Assistant(calls=[ToolCall("c1", name, arguments)])
    return body("zai", "glm-4.7", history=[User("Go"), turn])["messages"][-1]["tool_calls"][0]["function"]


@pytest.mark.parametrize("raw", ["", '{"a', "{}{}", "[]", "null", '"{}"', "[" * 100_000])
def test_arguments_that_are_no_object_go_back_as_an_empty_one(raw: str) -> None:
    assert echoed("read", raw) == {"name": "read", "arguments": "{}"}


@pytest.mark.parametrize(
    ("name", "sent"),
    [("read-1_b", "read-1_b"), ("", "_"), ("read<arg_key>é", "read_arg_key__"), ("x" * 80, "x" * 64)],
)
def test_a_name_that_hosts_refuse_goes_back_as_one_they_take(name: str, sent: str) -> None:
    assert echoed(name, "{}") == {"name": sent, "arguments": "{}"}


def test_without_tools_there_are_no_fields_for_them() -> None:
    row = find_provider("zai")
    found, _ = dialect(row, find_model(row, "glm-4.7"), "Be good.", [], Wish())
    assert set(encode([User("Go")], found)) == {"model", "messages", "stream", "max_tokens", "thinking"}


def test_a_limit_for_one_request_replaces_the_sessions_own_in_its_place() -> None:
    row = find_provider("zai")
    found, _ = dialect(row, find_model(row, "glm-4.7"), "Be good.", [READ], Wish(max_tokens=10))
    usual, raised = encode([User("Go")], found), encode([User("Go")], found, 20)
    assert raised == {**usual, "max_tokens": 20}
    assert list(raised) == list(usual)


def test_no_more_tokens_are_asked_for_than_the_model_can_give() -> None:
    small = Model("tiny", output=1000)
    found, _ = dialect(find_provider("custom"), small, "", [], Wish())
    assert found.options["max_tokens"] == 1000


@pytest.mark.parametrize(
    ("model", "wish", "notice"),
    [
        ("glm-5.3", OFF, "glm-5.3 always thinks; --no-thinking was not sent"),
        ("glm-5.3", Wish(effort="medium"), "glm-5.3 has no effort 'medium'; --effort was not sent"),
        ("glm-4.7", Wish(effort="low"), "glm-4.7 has no effort 'low'; --effort was not sent"),
    ],
)
def test_what_cannot_be_asked_for_is_said_and_not_sent(model: str, wish: Wish, notice: str) -> None:
    row = find_provider("zai")
    found, notices = dialect(row, find_model(row, model), "Be good.", [READ], wish)
    assert notices == [notice]
    assert encode([User("Go")], found) == body("zai", model)


MESSAGES = st.one_of(
    st.builds(User, st.text()),
    st.builds(
        Assistant,
        st.text(),
        st.none() | st.text(),
        st.lists(st.builds(ToolCall, st.text(), st.text(), st.text()), max_size=2),
    ),
    st.builds(ToolResult, st.text(), st.text()),
)


@given(st.lists(MESSAGES, max_size=4), st.lists(MESSAGES, max_size=4), st.sampled_from(["zai", "openrouter"]))
def test_history_only_grows_at_its_end_to_the_byte(
    before: list[Message], more: list[Message], provider: str
) -> None:
    first, second = (
        body(provider, "glm-4.7", history=[User("Go"), *each]) for each in (before, before + more)
    )
    assert second["messages"][: len(first["messages"])] == first["messages"]
    rest = {name: value for name, value in first.items() if name not in ("model", "messages")}
    start = serialise(first)[: -len(serialise(rest)) - 1]  # up to the end of the messages, without their ]
    assert start.startswith(b'{"model":') and start.endswith(b"}")
    assert serialise(second).startswith(start)
    assert {name: second[name] for name in rest} == rest


def test_rows_have_what_every_reader_of_them_needs() -> None:
    assert [row.name for row in dialects.providers().values()] == [
        "zai",
        "zai-coding",
        "bigmodel",
        "openrouter",
        "custom",
    ]
    assert (dialects.default_provider().name, dialects.default_model().name) == ("zai", "glm-4.7")
    assert sum(row.default for row in dialects.providers().values()) == 1
    assert sum(row.default for row in dialects.models().values()) == 1
    for row in dialects.providers().values():
        assert row.thinking in ("thinking", "reasoning")
        assert row.thinking_sent in ("always", "asked")
        assert row.base_url.startswith("https://") or row.name == "custom"
    for model in dialects.models().values():
        assert model.thinking in ("switch", "always", "none")
        assert 0 < model.output <= model.window
        assert all(len(prices) == 3 and min(prices) >= 0 for prices in model.price.values())
        assert set(model.price) <= set(dialects.providers())


def test_an_unknown_provider_is_refused_with_near_ones() -> None:
    with pytest.raises(
        UsageError, match=r"^unknown provider 'zia'; did you mean zai.*; one of zai, zai-coding"
    ):
        find_provider("zia")


def test_an_unknown_model_of_a_host_of_its_own_is_refused_with_near_ones() -> None:
    with pytest.raises(UsageError, match=r"^zai has no model 'gpt-4\.7'; did you mean glm-4\.7"):
        find_model(find_provider("zai"), "gpt-4.7")


def test_a_model_newer_than_the_rows_gets_cautious_defaults() -> None:
    for provider, name in (("zai", "glm-6"), ("openrouter", "z-ai/glm-6"), ("custom", "llama")):
        own = name.removeprefix("z-ai/")
        assert find_model(find_provider(provider), name) == Model(own, known=False)


def test_a_price_belongs_to_a_pair_of_host_and_model() -> None:
    model = dialects.models()["glm-4.7"]
    assert dialects.price(find_provider("zai"), model) == Price(0.6, 0.11, 2.2, "2026-11")
    assert dialects.price(find_provider("openrouter"), model) is None


def test_near_models_are_named() -> None:
    assert dialects.near_models("glm-4.7-flas").startswith("; did you mean glm-4.7-flash or ")
    assert dialects.near_models("llama") == ""
