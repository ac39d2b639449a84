"""What a client does about hosts that lack something: tools, counts, a switch, room, time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from fakes import Wire, answer, chunk, echo, fragment, stream, tool

from glm_agent.client import Client, Step
from glm_agent.context import Fitter, estimate, summary_prompt
from glm_agent.dialects import Dialect, Wish, dialect, encode, find_model, find_provider
from glm_agent.errors import AgentError, BudgetError, ConfigError, UsageError
from glm_agent.retry import Failure
from glm_agent.slots import Slots
from glm_agent.types import Assistant, Discarded, Json, Message, Notice, Retrying, ToolCall, ToolResult, User

ROW = find_provider("zai")
GOOD = answer("Yes")
NO_TOOLS = Failure("registry/glm4:9b does not support tools", 400)
WITH_TOOLS, _ = dialect(ROW, find_model(ROW, "glm-4.7"), "Be good.", [tool("read", echo)], Wish())


def in_json(before: Dialect) -> Dialect:
    kept = {name: value for name, value in before.options.items() if not name.startswith("tool")}
    options = {**kept, "response_format": {"type": "json_object"}}
    return before._replace(system="Reply in JSON.", options=options)


class Asked(NamedTuple):
    steps: list[Step]
    end: Assistant | AgentError


def ask(client: Client, *history: Message) -> Asked:
    steps: list[Step] = []
    run = client.complete([*(history or (User("Go"),))])
    try:
        while True:
            steps.append(next(run))
    except StopIteration as end:
        return Asked(steps, cast("Assistant", end.value))
    except AgentError as error:
        return Asked(steps, error)


def a_client(wire: Wire, window: int = 200_000, spoken: Dialect = WITH_TOOLS) -> Client:
    return Client(spoken, "host", wire, Fitter(window, 16_384), sleep=lambda _: None)


# Tools


def test_a_host_without_tools_is_asked_for_json_and_that_is_said_once() -> None:
    wire = Wire(NO_TOOLS, answer("{}"), answer("{}"))
    client = a_client(wire)
    client.without_tools = in_json
    first, second = ask(client), ask(client)
    assert [step for step in first.steps if isinstance(step, Notice)] == [
        Notice("host takes no tools for glm-4.7: it is asked for JSON, and cannot look at the files")
    ]
    assert not [step for step in second.steps if isinstance(step, Notice | Retrying)]
    plain = encode([User("Go")], in_json(WITH_TOOLS))
    assert wire.bodies == [encode([User("Go")], WITH_TOOLS), plain, plain]


@pytest.mark.parametrize(
    "no_json",
    [
        Failure("response_format is not supported", 400),
        Failure("output as json_object is not supported", 400),
        Failure("Invalid API parameter, please check the documentation.", 400, "1210"),
    ],
)
def test_a_host_that_has_no_json_either_is_asked_for_text(no_json: Failure) -> None:
    wire = Wire(NO_TOOLS, no_json, answer("{}"))
    client = a_client(wire)
    client.without_tools = in_json
    asked = ask(client)
    notices = [step.text for step in asked.steps if isinstance(step, Notice)]
    assert "response_format" in notices[1] and notices[1].endswith("not sent any more")
    sent = encode([User("Go")], in_json(WITH_TOOLS))
    assert wire.bodies[1:] == [sent, {name: sent[name] for name in sent if name != "response_format"}]


def test_what_a_host_refused_before_stays_left_out_without_tools() -> None:
    wire = Wire(Failure("Unknown parameter: 'thinking'.", 400), NO_TOOLS, answer("{}"))
    client = a_client(wire)
    client.without_tools = in_json
    ask(client)
    assert "thinking" not in wire.bodies[-1]


@pytest.mark.parametrize("used", [False, True])
def test_where_tools_are_needed_or_were_used_their_refusal_ends_the_run(used: bool) -> None:
    client = a_client(Wire(NO_TOOLS))
    history: list[Message] = [User("Go")]
    if used:
        client.without_tools = in_json
        history += [Assistant(calls=[ToolCall("c", "read", "{}")]), ToolResult("c", "x")]
    end = ask(client, *history).end
    assert type(end) is UsageError
    assert str(end) == (
        "host: registry/glm4:9b does not support tools (HTTP 400); this work needs tools; "
        "choose another model with -m, or another --provider"
    )


# Counts


def test_usage_that_no_host_sent_is_estimated_and_marked() -> None:
    called = chunk({"tool_calls": [fragment(0, "c", name="read", arguments='{"text":"é"}')]})
    said = stream(
        chunk({"reasoning_content": "Hmm, hm.", "content": "Yes"}), called, chunk(finish="tool_calls")
    )
    client = a_client(Wire(said))
    end = ask(client).end
    assert isinstance(end, Assistant)
    assert end.usage == {
        "prompt_tokens": estimate([User("Go")]),
        "completion_tokens": 2 + 5,  # 8 bytes of reasoning, 20 of text and call
        "completion_tokens_details": {"reasoning_tokens": 2},
        "estimated": True,
    }
    assert client.fitter.scale == 1.0


def test_a_hosts_own_count_is_left_as_it_came() -> None:
    sent = {"prompt_tokens": 90, "completion_tokens": 1}
    client = a_client(Wire(stream(chunk({"content": "Yes"}), chunk(finish="stop", usage=sent))))
    end = ask(client).end
    assert isinstance(end, Assistant) and end.usage == sent


def test_what_broke_off_is_estimated_too_and_what_never_began_is_not() -> None:
    part = stream(chunk({"content": "Half"}), done=False)
    asked = ask(a_client(Wire(Failure("busy", 503), (part, Failure("reset")), GOOD)))
    (broken,) = [step.turn.usage for step in asked.steps if isinstance(step, Discarded)]
    assert (broken["prompt_tokens"], broken["completion_tokens"]) == (estimate([User("Go")]), 1)


def test_the_request_under_way_is_known_by_its_size() -> None:
    client = a_client(Wire(GOOD))
    run = client.complete([User("Go")])
    next(run)
    assert client.asking == estimate([User("Go")])
    for _ in run:
        pass
    assert client.asking == 0


def test_a_request_that_could_not_be_sent_took_nothing() -> None:
    def send(body: Json) -> Iterator[bytes]:
        raise ConfigError("no such proxy")

    client = Client(WITH_TOOLS, "host", send, Fitter(200_000, 16_384))
    assert type(ask(client).end) is ConfigError
    assert client.asking == 0


# Thinking


def long_ago(results: int) -> list[Message]:
    history: list[Message] = [User("Go")]
    for number in range(results):
        name = f"c{number}"
        history += [Assistant("t" * 6000, calls=[ToolCall(name, "read", "{}")]), ToolResult(name, "x")]
    return history


def summed_up(client: Client) -> Asked:
    return ask(client, *long_ago(30))


def test_a_summary_is_asked_for_without_thinking_and_nothing_before_its_end_changes() -> None:
    wire = Wire(answer("We began."), GOOD)
    client = a_client(wire, 50_000)
    client.lean = True
    assert isinstance(summed_up(client).end, Assistant)
    summary, work = wire.bodies
    assert summary["messages"] == encode([*long_ago(30), User(summary_prompt())], WITH_TOOLS)["messages"]
    assert summary["thinking"] == {"type": "disabled", "clear_thinking": False}
    assert work["thinking"] == {"type": "enabled", "clear_thinking": False}
    assert {**summary, "thinking": 0, "messages": 0} == {**work, "thinking": 0, "messages": 0}


@pytest.mark.parametrize("model", ["glm-4.6", "glm-5.3"])
def test_where_the_switch_would_cost_the_cache_or_is_refused_a_summary_thinks(model: str) -> None:
    spoken, _ = dialect(ROW, find_model(ROW, model)._replace(window=50_000), "", [], Wish())
    wire = Wire(answer("We began."), GOOD)
    client = a_client(wire, 50_000, spoken)
    client.lean = True
    summed_up(client)
    assert wire.bodies[0]["thinking"] == wire.bodies[1]["thinking"] == spoken.options["thinking"]


def test_a_host_that_refuses_the_switch_is_asked_as_usual_from_then_on() -> None:
    wire = Wire(Failure("thinking.type 参数非法", 400, "1210"), answer("We began."), GOOD)
    client = a_client(wire, 50_000)
    client.lean = True
    asked = summed_up(client)
    assert isinstance(asked.end, Assistant)
    assert [body["thinking"]["type"] for body in wire.bodies] == ["disabled", "enabled", "enabled"]
    assert (client.lean, client.drops) == (False, 0)


# Room


def test_only_a_refusal_that_dropped_something_counts() -> None:
    refused = Failure("Unknown parameter: 'thinking'.", 400)
    client = a_client(Wire(Failure("messages 参数非法。", 400, "1214"), refused, GOOD, refused))
    assert isinstance(ask(client).end, AgentError)
    assert client.drops == 0
    assert isinstance(ask(client).end, Assistant)
    assert client.drops == 1
    assert isinstance(ask(client).end, AgentError)  # what is not sent cannot be left out
    assert client.drops == 1


def test_a_host_with_a_far_smaller_window_is_asked_with_less_and_less() -> None:
    too_long = Failure("Prompt exceeds max length", 400, "1261")
    asked = ask(a_client(Wire(too_long, too_long, GOOD), 400_000), *long_ago(40))
    assert isinstance(asked.end, Assistant)
    wire = Wire(*[too_long] * 9)
    asked = ask(a_client(wire, 400_000), *long_ago(40))
    assert isinstance(asked.end, BudgetError)
    sizes = [len(str(body["messages"])) for body in wire.bodies]
    assert len(sizes) < 6 and sizes == sorted(sizes, reverse=True)


def test_a_request_for_a_summary_that_is_too_long_is_not_sent_twice() -> None:
    wire = Wire(Failure("Prompt exceeds max length", 400, "1261"), GOOD)
    assert isinstance(summed_up(a_client(wire, 50_000)).end, Assistant)
    assert [body["messages"][-1]["content"] == summary_prompt() for body in wire.bodies] == [True, False]


# Time and slots


def test_a_wait_that_would_outlast_the_run_ends_it_at_once_as_its_cap() -> None:
    client = a_client(Wire(Failure("busy", 503, retry_after=30.0)))
    client.end = time.monotonic() + 10
    asked = ask(client)
    assert asked.steps == []
    assert type(asked.end) is BudgetError
    assert str(asked.end) == (
        "host: busy; the next try, in 30 s, would come after the end of --max-wall-time"
    )


def test_a_wait_that_is_over_before_the_run_is_waited() -> None:
    client = a_client(Wire(Failure("busy", 503, retry_after=5.0), GOOD))
    client.end = time.monotonic() + 10
    assert isinstance(ask(client).end, Assistant)


def test_why_slots_cannot_be_counted_is_said_once(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    client = a_client(Wire(GOOD, GOOD))
    client.slots = Slots(blocked / "slots", 1)
    said = [step for _ in range(2) for step in ask(client).steps if isinstance(step, Notice)]
    assert [notice.text for notice in said] == [
        f"requests in flight are not limited: {blocked / 'slots'}: Not a directory"
    ]
