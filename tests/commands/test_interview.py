"""Questions and answers without a connection: what is concluded, and what is written down of it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import pytest
from hosts import DEAF, STRICT, VLLM, ZAI, Habits, respond
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.commands.findings import as_toml, bill, describe, learned
from glm_agent.commands.interview import MOST, Answer, Facts, interview, listen
from glm_agent.dialects import find_model, find_provider, providers
from glm_agent.retry import Failure, refusal
from glm_agent.rows import Model, Provider, read_provider
from glm_agent.types import Assistant, Json
from glm_agent.usage import Price

CUSTOM = find_provider("custom")._replace(base_url="http://h/v1")
LAB = find_model(CUSTOM, "lab-1")


def ask(habits: Habits, provider: Provider = CUSTOM, model: Model = LAB) -> tuple[Facts, list[Json]]:
    """What is known in the end, and what was asked for it."""
    facts, bodies = Facts(), list[Json]()
    questions = interview(provider, model, facts)
    body = next(questions)
    while True:
        reply = respond(habits, body, bodies)
        bodies.append(body)
        if reply.status == 200:
            answer = listen(reply.writes)
        else:
            answer = Answer(failure=refusal(reply.status, json.loads(b"".join(reply.writes))))
        try:
            body = questions.send(answer)
        except StopIteration:
            assert facts.requests == len(bodies) <= MOST
            return facts, bodies


SWITCHES = ["thinking", "chat_template_kwargs", "enable_thinking", "reasoning_effort"]


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("thinks", [True, False])
@pytest.mark.parametrize("own", SWITCHES)
def test_a_switch_is_found_either_way(name: str, thinks: bool, own: str) -> None:
    facts, _ = ask(replace(ZAI, switch=name, thinks=thinks), CUSTOM._replace(thinking=own))
    assert facts.switch == name or name in [*facts.others, *facts.untried]
    assert facts.switch == name or own != "thinking"
    assert name not in facts.tried


def test_a_switch_beside_fields_that_are_refused_is_found_all_the_same() -> None:
    strict = {name: f"Unknown field: {name}" for name in ("thinking", "chat_template_kwargs")}
    facts, _ = ask(replace(ZAI, switch="enable_thinking", strict=strict))
    assert (facts.switch, facts.refused) == ("enable_thinking", ["thinking", "chat_template_kwargs"])
    assert learned(facts, CUSTOM, LAB).thinking == "enable_thinking"


def test_a_refusal_that_names_nothing_is_blamed_on_all_that_were_tried() -> None:
    strict = dict.fromkeys((*SWITCHES, "reasoning"), "computer says no")
    facts, _ = ask(replace(ZAI, switch="", strict=strict))
    assert (facts.switch, facts.untried) == ("", ["reasoning"])
    assert learned(facts, CUSTOM, LAB)[:3] == CUSTOM[:3]
    row = learned(facts, CUSTOM, LAB)
    assert (row.thinking, row.effort) == ("none", "none")


def test_a_model_that_always_thinks_is_not_asked_to_stop() -> None:
    facts, bodies = ask(ZAI, find_provider("zai"), find_model(find_provider("zai"), "glm-5.3"))
    assert (facts.switch, facts.tried, facts.requests) == ("", [], 5)
    assert not any("thinking" in body for body in bodies)
    assert learned(facts, find_provider("zai"), LAB).thinking == "thinking"


def test_reasoning_that_is_refused_is_not_sent_back() -> None:
    strict = {"reasoning_content": "messages[2]: Extra inputs are not permitted: reasoning_content"}
    facts, _ = ask(replace(ZAI, strict=strict))
    assert (facts.echo, facts.tool_stream) == ("refused", "streams")
    assert learned(facts, CUSTOM, LAB).thought_field == "none"


def test_reasoning_in_the_text_goes_back_in_the_text() -> None:
    answer = listen(
        [b'{"choices": [{"message": {"content": "<think>Hm</think>Yes"}, "finish_reason": "stop"}]}']
    )
    assert (answer.fields, answer.failure) == (("content",), None)
    _, bodies = ask(VLLM, CUSTOM._replace(name="cerebras", thought_field="content"))
    echo = next(body["messages"][2] for body in bodies if body["messages"][-1]["role"] == "tool")
    assert echo["content"].startswith("<think>I think of a fruit") and "reasoning" not in echo


def test_the_few_tokens_that_are_always_reported_as_cached_are_no_cache() -> None:
    assert [ask(replace(ZAI, caches=caches))[0].cached for caches in (True, False)] == [1000, 0]


def test_usage_is_asked_for_once_it_is_known_how() -> None:
    _, bodies = ask(VLLM)
    assert [("stream_options" in body) for body in bodies] == [False, *[True] * (len(bodies) - 1)]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the answer is empty"),
        (b"<html>Log in</html>", "the answer is a web page, not an event stream (of a proxy or a login?)"),
        (b'data: {"error": {"code": "1302", "message": "busy"}}\n\n', "busy"),
        (b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', "the stream ended without a finish_reason"),
        (b'data: {"choices": [null, 3], "usage": 7}\n\n', "the stream ended without a finish_reason"),
    ],
)
def test_an_answer_that_is_none_says_why(body: bytes, says: str) -> None:
    failure = listen([body]).failure
    assert failure is not None and failure.message == says


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"{}", b'{"choices":[{"delta":{', b"\n\n"]))
)
def test_any_bytes_are_an_answer_or_a_failure(parts: list[bytes]) -> None:
    assert listen(parts).failure is not None


def test_a_connection_that_breaks_off_is_a_failure() -> None:
    def body() -> object:
        yield b"data: {}\n\n"
        raise Failure("it broke")

    assert listen(body()).failure.message == "it broke"  # pyright: ignore[reportArgumentType, reportOptionalMemberAccess]


ANSWERS = st.builds(
    Answer,
    st.builds(Assistant, st.text(max_size=5), st.none() | st.text(max_size=5), finish=st.just("stop")),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([(), ("reasoning",), ("content",)]),
    st.none()
    | st.builds(
        Failure, st.sampled_from(["no", "unknown: thinking"]), st.sampled_from([None, 400, 429, 500])
    ),
)


@given(st.lists(ANSWERS, min_size=MOST, max_size=MOST), st.sampled_from([*providers()]))
def test_whatever_is_answered_it_ends_with_a_row_that_can_be_read(answers: list[Answer], host: str) -> None:
    facts, row = Facts(), find_provider(host)._replace(base_url="http://h/v1", base_url_env=())
    questions = interview(row, LAB, facts)
    next(questions)
    for answer in answers:
        try:
            questions.send(answer)
        except StopIteration:
            break
    else:
        pytest.fail("it asks for more than it may")
    assert all(check.found and (check.next or check.status == "ok") for check in describe(facts, row, "h"))
    found = learned(facts, row, LAB)
    table = tomllib.loads(as_toml(found, "lab"))["providers"]["lab"]
    assert read_provider("lab", table, CUSTOM) == found._replace(name="lab", title="lab", default=False)


def test_what_it_cost_is_never_said_to_be_less_than_known() -> None:
    assert bill(ask(ZAI)[0], Price(1, 0.5, 2, "")).startswith("6 requests, 6600 tokens in, 300 out, $0.00")
    assert (
        bill(ask(VLLM)[0], None)
        == "8 requests, at least 7700 tokens in, 350 out, at a price that is not known here"
    )
    assert bill(ask(DEAF)[0], None).endswith("so what they cost is not known")
    assert ask(STRICT)[0].max_field == "max_completion_tokens"


@pytest.mark.parametrize("name", providers())
def test_every_row_survives_being_written_down(name: str) -> None:
    known = find_provider(name)._replace(base_url="http://h/v1", default=False, base_url_env=("A_URL",))
    table = tomllib.loads(as_toml(known, "lab"))["providers"]["lab"]
    title = "lab"
    assert read_provider("lab", table, find_provider("custom")) == known._replace(name="lab", title=title)


@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.dictionaries(st.text('ab."\\\x7f\n'), st.just("x"))
)
def test_any_texts_of_a_row_survive_too(title: str, ids: dict[str, str]) -> None:
    known = Provider("lab", title, "http://h/v1", model_ids=ids)
    table = tomllib.loads(as_toml(known, "lab"))["providers"]["lab"]
    assert (table["title"], table.get("model_ids", {})) == (title, ids)
