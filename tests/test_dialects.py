from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from fakes import echo, tool
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import dialects
from glm_agent.dialects import Model, Wish, dialect, encode, find_model, find_provider
from glm_agent.errors import UsageError
from glm_agent.options import Effort
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
    notices: Sequence[str] = (),
) -> Json:
    row = find_provider(provider)
    found, said = dialect(row, find_model(row, model), "Be good.", [READ], wish)
    assert said == [*notices]
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
STREAMS = {"tool_stream": True}


class Expected(NamedTuple):
    """What a host gets for glm-5.2 beside what all get: when nothing is asked, thinking on, off, effort max.

    `field` is where reasoning goes back; `refused` what is said of an effort that cannot be sent.
    """

    model: str
    plain: Json
    on: Json
    off: Json
    most: Json
    field: str = "reasoning_content"
    refused: str = ""


ZAI = Expected(
    "glm-5.2",
    {"thinking": KEPT, **STREAMS},
    {"thinking": KEPT, **STREAMS},
    {"thinking": DISABLED, **STREAMS},
    {"thinking": KEPT, "reasoning_effort": "max", **STREAMS},
)
ASKED_ZAI = Expected(
    "glm-5.2",
    USAGE,
    {"thinking": KEPT, **USAGE},
    {"thinking": DISABLED, **USAGE},
    {"thinking": KEPT, "reasoning_effort": "max", **USAGE},
)
OLLAMA = Expected(
    "glm-5.2",
    USAGE,
    USAGE,
    {"reasoning_effort": "none", **USAGE},
    {"reasoning_effort": "max", **USAGE},
    "reasoning",
)
THINKS, THINKS_NOT = {"enable_thinking": True}, {"enable_thinking": False}
ENABLED, NOT_ENABLED = {"reasoning": {"enabled": True}}, {"reasoning": {"enabled": False}}
BY_TEMPLATE = Expected(
    "glm-5.2",
    USAGE,
    {"chat_template_kwargs": THINKS, **USAGE},
    {"chat_template_kwargs": THINKS_NOT, **USAGE},
    USAGE,
    refused="{} takes no effort; --effort was not sent",
)
KEEPS = {"chat_template_kwargs": {**THINKS, "clear_thinking": False}}

HOSTS = {
    "zai": ZAI,
    "zai-coding": ZAI,
    "bigmodel": ZAI,
    "bigmodel-coding": ZAI,
    "openrouter": Expected(
        "z-ai/glm-5.2",
        ENABLED,
        ENABLED,
        NOT_ENABLED,
        {"reasoning": {"enabled": True, "effort": "xhigh"}},
        "reasoning",
    ),
    "deepinfra": Expected(
        "zai-org/GLM-5.2",
        USAGE,
        {**ENABLED, **USAGE},
        {**NOT_ENABLED, **USAGE},
        {**ENABLED, "reasoning_effort": "xhigh", **USAGE},
    ),
    "novita": Expected(
        "zai-org/glm-5.2",
        USAGE,
        {**THINKS, **USAGE},
        {**THINKS_NOT, **USAGE},
        USAGE,
        refused="{} takes no effort; --effort was not sent",
    ),
    "cometapi": Expected(
        "glm-5.2",
        USAGE,
        {"thinking": {"type": "enabled"}, **USAGE},
        {"thinking": DISABLED, **USAGE},
        USAGE,
        refused="{} takes no effort; --effort was not sent",
    ),
    "huggingface": ASKED_ZAI._replace(model="zai-org/GLM-5.2"),
    "together": Expected(
        "zai-org/GLM-5.2",
        USAGE,
        {**ENABLED, **USAGE},
        {**NOT_ENABLED, **USAGE},
        {**ENABLED, "reasoning_effort": "max", **USAGE},
    ),
    "cerebras": Expected(
        "zai-glm-5.2",
        {"clear_thinking": False},
        {"clear_thinking": False},
        {"reasoning_effort": "none"},
        {"clear_thinking": False, "reasoning_effort": "max"},
        "content",
    ),
    "ollama": OLLAMA,
    "ollama-cloud": OLLAMA,
    "vllm": Expected(
        "glm-5.2",
        {**KEEPS, **USAGE},
        {**KEEPS, **USAGE},
        {"chat_template_kwargs": THINKS_NOT, **USAGE},
        {**KEEPS, "reasoning_effort": "max", **USAGE},
        "reasoning",
    ),
    "sglang": BY_TEMPLATE,
    "llamacpp": BY_TEMPLATE,
    "custom": ASKED_ZAI,
}


def test_every_provider_has_its_requests_here() -> None:
    assert list(HOSTS) == list(dialects.providers())


@pytest.mark.parametrize("host", HOSTS)
def test_a_request_is_what_the_host_wants(host: str) -> None:
    expected = HOSTS[host]
    for wish, fields in ((NOTHING, expected.plain), (ON, expected.on), (OFF, expected.off)):
        assert body(host, "glm-5.2", wish) == request(expected.model, **fields)
    said = [expected.refused.format(host)] if expected.refused else []
    assert body(host, "glm-5.2", MAX, notices=said) == request(expected.model, **expected.most)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("model", ["glm-5.3", "glm-5.3-flash", "glm-5.3-flashx"])
def test_a_model_that_always_thinks_is_never_told_not_to(host: str, model: str) -> None:
    said = [f"{model} always thinks; --no-thinking was not sent"]
    off = body(host, model, OFF, notices=said)
    assert off == body(host, model, ON)
    sent = str(off)
    assert not any(
        word in sent for word in ("disabled", "'none'", "'enabled': False", "'enable_thinking': False")
    )


SECOND: list[Message] = [
    User("Go"),
    Assistant("", "Hm", [ToolCall("c1", "read", '{"text": "ü"}')], "tool_calls"),
    ToolResult("c1", "echo ü", details={"secret": 1}),
    Assistant("Done", "", finish="stop"),
    User("More"),
    Assistant("Yes", None, finish="stop"),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("wish", [NOTHING, ON, OFF, MAX], ids=["plain", "on", "off", "max"])
def test_a_second_turn_holds_the_reasoning_of_the_first_in_the_hosts_field(host: str, wish: Wish) -> None:
    expected = HOSTS[host]
    plain, on, off, most = (expected.plain, expected.on, expected.off, expected.most)
    fields = {NOTHING: plain, ON: on, OFF: off, MAX: most}[wish]
    said = [expected.refused.format(host)] if expected.refused and wish is MAX else []
    function = {"name": "read", "arguments": '{"text": "ü"}'}
    called = [{"id": "c1", "type": "function", "function": function}]
    inline = expected.field == "content"
    assert body(host, "glm-5.2", wish, SECOND, said) == {
        **request(expected.model, **fields),
        "messages": [
            {"role": "system", "content": "Be good."},
            {"role": "user", "content": "Go"},
            {
                "role": "assistant",
                "content": "<think>Hm</think>" if inline else "",
                **({} if inline else {expected.field: "Hm"}),
                "tool_calls": called,
            },
            {"role": "tool", "tool_call_id": "c1", "content": "echo ü"},
            {"role": "assistant", "content": "Done", **({} if inline else {expected.field: ""})},
            {"role": "user", "content": "More"},
            {"role": "assistant", "content": "Yes"},
        ],
    }


MODELS: list[tuple[str, str, Wish, Json]] = [
    ("zai", "glm-4.7", NOTHING, request("glm-4.7", thinking=KEPT, **STREAMS)),
    ("zai", "glm-5.3", NOTHING, request("glm-5.3", thinking=KEPT, **STREAMS)),
    ("zai", "glm-5.3", MAX, request("glm-5.3", thinking=KEPT, reasoning_effort="max", **STREAMS)),
    ("zai", "glm-5.2", MAX._replace(thinking=False), request("glm-5.2", thinking=DISABLED, **STREAMS)),
    ("zai", "glm-4.6", ON, request("glm-4.6", thinking={"type": "enabled"}, **STREAMS)),
    ("zai", "glm-4.5-air", NOTHING, request("glm-4.5-air", thinking={"type": "enabled"})),
    ("zai", "glm-4.5v", OFF, request("glm-4.5v", thinking=DISABLED)),
    ("zai", "glm-4-32b-0414-128k", ON, request("glm-4-32b-0414-128k")),
    (
        "zai",
        "glm-9",
        Wish(effort="low"),
        request("glm-9", thinking={"type": "enabled"}, reasoning_effort="low"),
    ),
    ("openrouter", "glm-4.7", OFF, request("z-ai/glm-4.7", **NOT_ENABLED)),
    ("custom", "qwen", OFF, request("qwen", thinking=DISABLED, **USAGE)),
    ("deepinfra", "glm-4.7", NOTHING, request("zai-org/GLM-4.7", **USAGE)),
    (
        "custom",
        "glm-4.7",
        Wish(temperature=0.0, max_tokens=99),
        {**request("glm-4.7", **USAGE, temperature=0.0), "max_tokens": 99},
    ),
]


@pytest.mark.parametrize(("provider", "model", "wish", "expected"), MODELS)
def test_a_request_is_what_the_model_takes(provider: str, model: str, wish: Wish, expected: Json) -> None:
    assert body(provider, model, wish) == expected


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
        ("glm-4.7", Wish(effort=Effort.low), "glm-4.7 has no effort 'low'; --effort was not sent"),
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


@given(
    st.lists(MESSAGES, max_size=4),
    st.lists(MESSAGES, max_size=4),
    st.sampled_from(["zai", "openrouter", "cerebras"]),
)
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


def test_one_provider_and_one_model_are_the_default() -> None:
    assert [row.name for row in dialects.providers().values() if row.default] == ["zai"]
    assert [row.name for row in dialects.models().values() if row.default] == ["glm-4.7"]
    assert dialects.default_provider().name == "zai"


def test_a_host_without_the_default_model_has_a_default_of_its_own() -> None:
    defaults = {row.name: dialects.default_model(row) for row in dialects.providers().values()}
    others = {name: model for name, model in defaults.items() if model != "glm-4.7"}
    assert others == {"together": "glm-5.2", "ollama": "glm-4.7-flash"}
    assert all(find_model(find_provider(name), model).known for name, model in defaults.items())


def test_a_coding_plan_allows_one_request_in_flight() -> None:
    single = [row.name for row in dialects.providers().values() if row.in_flight == 1]
    assert single == ["zai-coding", "bigmodel-coding"]


@pytest.mark.parametrize(
    ("provider", "given", "sent", "row"),
    [
        ("zai", "glm-4.7", "glm-4.7", "glm-4.7"),
        ("openrouter", "glm-4.7", "z-ai/glm-4.7", "glm-4.7"),
        ("openrouter", "z-ai/glm-4.7", "z-ai/glm-4.7", "glm-4.7"),
        ("openrouter", "z-ai/glm-4.7:free", "z-ai/glm-4.7:free", "glm-4.7"),
        ("openrouter", "glm-4.7:free", "z-ai/glm-4.7:free", "glm-4.7"),
        ("openrouter", "someone/else", "someone/else", ""),
        ("openrouter", "glm-6", "z-ai/glm-6", ""),
        ("deepinfra", "glm-4.7", "zai-org/GLM-4.7", "glm-4.7"),
        ("deepinfra", "glm-4.7-flash", "zai-org/GLM-4.7-Flash", "glm-4.7-flash"),
        ("deepinfra", "zai-org/GLM-4.7-Flash", "zai-org/GLM-4.7-Flash", "glm-4.7-flash"),
        ("deepinfra", "zai-org/GLM-4.7-FP8", "zai-org/GLM-4.7-FP8", ""),
        ("huggingface", "glm-4.5-air", "zai-org/GLM-4.5-Air", "glm-4.5-air"),
        ("huggingface", "zai-org/GLM-4.6:zai-org", "zai-org/GLM-4.6:zai-org", "glm-4.6"),
        ("together", "glm-5.3-flash", "zai-org/GLM-5.3-Flash", "glm-5.3-flash"),
        ("novita", "glm-4.7", "zai-org/glm-4.7", "glm-4.7"),
        ("cerebras", "glm-4.7", "zai-glm-4.7", "glm-4.7"),
        ("cerebras", "zai-glm-4.7", "zai-glm-4.7", "glm-4.7"),
        ("ollama", "glm-4.7-flash:q8_0", "glm-4.7-flash:q8_0", "glm-4.7-flash"),
        ("vllm", "zai-org/GLM-4.7", "zai-org/GLM-4.7", "glm-4.7"),
        ("custom", "qwen", "qwen", ""),
    ],
)
def test_a_model_is_sent_under_the_hosts_own_id(provider: str, given: str, sent: str, row: str) -> None:
    host = find_provider(provider)
    model = find_model(host, given)
    assert (encode([], dialect(host, model, "", [], NOTHING)[0])["model"], model.known) == (sent, bool(row))
    assert model.name == row or not row


def test_a_host_may_give_less_than_the_model_can() -> None:
    there = find_model(find_provider("deepinfra"), "glm-4.7")
    assert (there.window, there.output) == (202_752, 16_384)
    assert find_model(find_provider("ollama-cloud"), "glm-5.2").window == 976_000
    assert find_model(find_provider("openrouter"), "glm-5.1").window == 202_752
    assert find_model(find_provider("zai"), "glm-4.7").output == 131_072


def test_the_limit_of_a_reply_goes_into_the_hosts_field_in_its_place() -> None:
    row = find_provider("custom")._replace(max_tokens="max_completion_tokens")
    found, _ = dialect(row, find_model(row, "glm-4.7"), "Be good.", [READ], NOTHING)
    usual = request("glm-4.7", **USAGE)
    assert list(encode([User("Go")], found).items()) == [
        ("max_completion_tokens" if name == "max_tokens" else name, value) for name, value in usual.items()
    ]


def test_no_limit_is_raised_above_what_the_host_gives() -> None:
    row = find_provider("deepinfra")
    found, _ = dialect(row, find_model(row, "glm-4.7"), "Be good.", [], NOTHING)
    assert encode([User("Go")], found, 32_768)["max_tokens"] == 16_384


def test_a_host_without_a_switch_is_not_asked_to_switch() -> None:
    row = find_provider("custom")._replace(thinking="none")
    found, notices = dialect(row, find_model(row, "glm-4.7"), "Be good.", [READ], OFF)
    assert notices == ["custom has no switch for thinking; --no-thinking was not sent"]
    assert encode([User("Go")], found) == request("glm-4.7", **USAGE)


def test_reasoning_can_be_kept_from_a_host() -> None:
    row = find_provider("custom")._replace(thought_field="none")
    found, _ = dialect(row, find_model(row, "glm-4.7"), "Be good.", [], NOTHING)
    sent = encode([User("Go"), Assistant("Yes", "Hm")], found)["messages"]
    assert sent[-1] == {"role": "assistant", "content": "Yes"}


def test_an_unknown_provider_is_refused_with_near_ones() -> None:
    with pytest.raises(
        UsageError, match=r"^unknown provider 'zia'; did you mean zai.*; one of zai, zai-coding"
    ):
        find_provider("zia")


def test_an_unknown_model_of_a_host_of_its_own_is_refused_with_near_ones() -> None:
    with pytest.raises(UsageError, match=r"^zai has no model 'gpt-4\.7'; did you mean glm-4\.7"):
        find_model(find_provider("zai"), "gpt-4.7")


def test_a_model_newer_than_the_rows_gets_cautious_defaults() -> None:
    for provider, name, sent in (
        ("zai", "glm-6", "glm-6"),
        ("openrouter", "z-ai/glm-6", "z-ai/glm-6"),
        ("custom", "llama", "llama"),
    ):
        own = name.removeprefix("z-ai/")
        assert find_model(find_provider(provider), name) == Model(own, sent, known=False)


@pytest.mark.parametrize(
    ("provider", "model", "price"),
    [
        ("zai", "glm-4.7", Price(0.6, 0.11, 2.2, "2026-11")),
        ("deepinfra", "glm-4.7", Price(0.4, 0.08, 1.75, "2026-07")),
        ("deepinfra", "zai-org/GLM-5.2", Price(0.95, 0.18, 3.0, "2026-07")),
        ("openrouter", "glm-4.7", Price(0.3, 0.3, 1.4, "2026-11")),
        ("openrouter", "z-ai/glm-4.7:free", None),  # a variant has a price of its own
        ("zai-coding", "glm-4.7", None),  # a plan is not free
        ("custom", "glm-4.7", None),
        ("zai", "glm-6", None),
    ],
)
def test_a_price_belongs_to_a_pair_of_host_and_model(provider: str, model: str, price: Price | None) -> None:
    row = find_provider(provider)
    assert dialects.price(row, find_model(row, model)) == price


def test_near_models_are_named() -> None:
    assert dialects.near_models("glm-4.7-flas").startswith("; did you mean glm-4.7-flash or ")
    assert dialects.near_models("llama") == ""
    assert "glm-4.7" not in dialects.near_models("glm-4.7").split()  # which a host may not have
