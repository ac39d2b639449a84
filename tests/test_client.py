from __future__ import annotations

from typing import NamedTuple, cast

import pytest
from fakes import Answer, Wire, answer, chunk, fragment, stream
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.client import Client, Step
from glm_agent.context import Fitter
from glm_agent.dialects import Wish, dialect, encode, find_model, find_provider
from glm_agent.errors import AgentError, AuthError, BudgetError, ProviderError, UsageError
from glm_agent.retry import Failure
from glm_agent.types import (
    Assistant,
    Discarded,
    Message,
    Notice,
    Retrying,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolResult,
    User,
)

ROW = find_provider("zai")
DIALECT, _ = dialect(ROW, find_model(ROW, "glm-4.7"), "Be good.", [], Wish())
GOOD = answer("Yes")
SAID = [TextDelta("Yes")]
YES = Assistant("Yes", finish="stop")


class Played(NamedTuple):
    """What came of asking: `steps` with the random waits set to 0, `end` the turn or the error.

    Estimates of usage are left out.
    """

    steps: list[Step]
    end: Assistant | AgentError
    waits: list[float]
    wire: Wire


def play(*answers: Answer, history: list[Message] | None = None, may_raise_limit: bool = True) -> Played:
    wire, waits = Wire(*answers), list[float]()
    client = Client(
        DIALECT, "host", wire, Fitter(200_000, 16_384), may_raise_limit=may_raise_limit, sleep=waits.append
    )
    asked: list[Message] = [User("Go")] if history is None else history
    before = list(asked)
    steps: list[Step] = []
    run = client.complete(asked)
    end: Assistant | AgentError
    try:
        while True:
            steps.append(next(run))
    except StopIteration as stop:
        end = cast("Assistant", stop.value)
    except AgentError as error:
        end = error
    assert asked == before, "history belongs to the loop"
    assert wire.open == 0, "an answer was left open"
    assert [step.delay for step in steps if isinstance(step, Retrying)] == waits
    for step in steps:
        if isinstance(step, Retrying):
            step.delay = 0
    for turn in (end, *(step.turn for step in steps if isinstance(step, Discarded))):
        if isinstance(turn, Assistant) and turn.usage.get("estimated"):
            turn.usage = {}
    return Played(steps, end, waits, wire)


def failed(played: Played) -> tuple[type[AgentError], str]:
    assert isinstance(played.end, AgentError)
    return type(played.end), str(played.end)


def test_a_whole_turn_is_the_answer() -> None:
    played = play(GOOD)
    assert played == (SAID, YES, [], played.wire)
    assert played.wire.bodies == [encode([User("Go")], DIALECT)]


NO_FINISH = "the stream ended without a finish_reason"
A_PAGE = "the answer is a web page, not an event stream (of a proxy or a login?)"
NO_CALL = "finish_reason is tool_calls, but no call came"
CALL = chunk({"tool_calls": [fragment(0, "c1", name="read", arguments='{"a":1}')]})
CALLED = Assistant(calls=[ToolCall("c1", "read", '{"a":1}')])
CUT_FRAME = b'data: {"choices":[{"delta":{"con'
SPLICED = "a frame was cut and another completion began inside it"

FLAWED: dict[str, tuple[bytes, str, Assistant]] = {
    "no finish": (stream(chunk({"content": "Y"}), done=False), NO_FINISH, Assistant("Y")),
    "no finish, but an end": (stream(chunk({"content": "Y"})), NO_FINISH, Assistant("Y")),
    "a whole call without a finish": (stream(CALL), NO_FINISH, CALLED),
    "only an end": (stream(), NO_FINISH, Assistant()),
    "nothing": (b"", "the answer is empty", Assistant()),
    "a login page": (b"<html>Log in", A_PAGE, Assistant()),
    "calls without a call": (
        stream(chunk({"content": "Y"}, "tool_calls")),
        NO_CALL,
        Assistant("Y", finish="tool_calls"),
    ),
    "empty": (
        stream(chunk({"content": " \n"}, "stop")),
        "the reply is empty",
        Assistant(" \n", finish="stop"),
    ),
    "reasoning only": (
        stream(chunk({"reasoning_content": "Hm"}, "stop")),
        "the reply is empty but for reasoning",
        Assistant("", "Hm", finish="stop"),
    ),
    "network_error": (
        stream(chunk({"content": "Y"}, "network_error")),
        "the provider broke off with finish_reason network_error",
        Assistant("Y", finish="network_error"),
    ),
    "error": (
        stream(CALL, chunk(finish="error")),
        "the provider broke off with finish_reason error",
        Assistant(calls=CALLED.calls, finish="error"),
    ),
    "a cut frame before the finish": (
        CUT_FRAME + b"\n\n" + GOOD,
        'a frame is not a JSON object: {"choices":[{"delta":{"con',
        YES,
    ),
    "a splice, and then all of it": (CUT_FRAME + GOOD, SPLICED, YES),
    "a bad frame and a filter": (
        CUT_FRAME + b"\n\n" + answer("Y", "sensitive"),
        'a frame is not a JSON object: {"choices":[{"delta":{"con',
        Assistant("Y", finish="sensitive"),
    ),
    "a bad frame and a cut": (
        CUT_FRAME + b"\n\n" + answer("Y", "length"),
        'a frame is not a JSON object: {"choices":[{"delta":{"con',
        Assistant("Y", finish="length"),
    ),
}


@pytest.mark.parametrize("name", FLAWED)
def test_a_flawed_turn_is_discarded_and_asked_for_again(name: str) -> None:
    body, flaw, message = FLAWED[name]
    played = play(body, GOOD)
    steps = [step for step in played.steps if not isinstance(step, TextDelta | ThoughtDelta)]
    assert [step for step in steps if isinstance(step, Discarded | Retrying)] == [
        Discarded(flaw, message),
        Retrying(1, 0, flaw),
    ]
    assert (played.steps[-1:], played.end) == (SAID, YES)
    assert played.wire.bodies[0] == played.wire.bodies[1]


@pytest.mark.parametrize("name", FLAWED)
def test_the_third_flawed_turn_in_a_row_ends_the_run(name: str) -> None:
    body, flaw, _ = FLAWED[name]
    played = play(*[body] * 3)
    assert failed(played) == (ProviderError, f"host: 3 answers in a row were unusable, the last: {flaw}")
    assert len(played.waits) == 2


@pytest.mark.parametrize("finish", ["stop", "end_turn"])
def test_a_text_with_a_finish_counts_with_or_without_an_end(finish: str) -> None:
    for done in (True, False):
        assert play(stream(chunk({"content": "Y"}, finish), done=done)).end == Assistant("Y", finish=finish)


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
def test_a_call_with_a_finish_counts(finish: str) -> None:
    assert play(stream(CALL, chunk(finish=finish))).end == Assistant(calls=CALLED.calls, finish=finish)


def test_a_reply_cut_at_its_limit_is_asked_for_once_more_with_twice_the_tokens() -> None:
    played = play(answer("Y", "length"), GOOD)
    cut = Discarded("the reply was cut at its token limit", Assistant("Y", finish="length"))
    assert played == ([TextDelta("Y"), cut, *SAID], YES, [], played.wire)
    first, second = played.wire.bodies
    assert (first["max_tokens"], second) == (16_384, {**first, "max_tokens": 32_768})


def test_a_reply_cut_twice_ends_the_run() -> None:
    played = play(answer("Y", "length"), answer("Y", "length"))
    assert failed(played) == (
        BudgetError,
        "the reply was cut at 32768 tokens; raise --max-tokens or lower --effort",
    )
    assert len([step for step in played.steps if isinstance(step, Discarded)]) == 2


def test_a_limit_of_the_users_own_is_not_raised() -> None:
    played = play(answer("Y", "length"), may_raise_limit=False)
    assert failed(played)[1] == "the reply was cut at 16384 tokens; raise --max-tokens or lower --effort"


def test_a_limit_that_cannot_be_raised_is_not_tried_again() -> None:
    most = DIALECT._replace(options={**DIALECT.options, "max_tokens": DIALECT.model.output})
    wire = Wire(answer("Y", "length"))
    with pytest.raises(BudgetError, match="was cut at 131072 tokens"):
        list(Client(most, "host", wire, Fitter(200_000, 16_384)).complete([User("Go")]))


@pytest.mark.parametrize(
    ("finish", "error", "line"),
    [
        ("sensitive", AgentError, "host: the provider's content filter stopped the answer"),
        ("content_filter", AgentError, "host: the provider's content filter stopped the answer"),
        (
            "model_context_window_exceeded",
            BudgetError,
            "host: the conversation no longer fits the model's context window; split the task",
        ),
    ],
)
def test_some_ends_are_final(finish: str, error: type[AgentError], line: str) -> None:
    played = play(answer("Y", finish))
    flaw = line.partition(": ")[2].partition("; ")[0]
    assert played.steps == [TextDelta("Y"), Discarded(flaw, Assistant("Y", finish=finish))]
    assert failed(played) == (error, line)


def test_a_passing_failure_is_tried_again() -> None:
    busy, gone = Failure("busy", 429, "1305"), Failure("cannot reach host: refused")
    played = play(busy, gone, GOOD)
    steps = [Retrying(1, 0, "busy", 429, "1305"), Retrying(2, 0, "cannot reach host: refused"), *SAID]
    assert (played.steps, played.end) == (steps, YES)


def test_what_came_before_a_stream_broke_off_is_discarded() -> None:
    part = stream(CALL, done=False)
    played = play((part, Failure("the stream broke off: reset")), GOOD)
    assert played.steps[1:] == [
        Discarded("the stream broke off: reset", CALLED),
        Retrying(1, 0, "the stream broke off: reset"),
        *SAID,
    ]
    assert played.end == YES


def test_the_eighth_failure_in_a_row_ends_the_run() -> None:
    played = play(*[Failure("busy", 503)] * 8)
    assert failed(played) == (ProviderError, "host: busy (HTTP 503, 8 tries); try again later")
    assert (len(played.wire.bodies), len(played.waits)) == (8, 7)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure("no", 401), AuthError),
        (Failure("no money", 429, "1113"), AuthError),
        (Failure("what", 400, "1214"), AgentError),
        (Failure("long", 400, "1261"), BudgetError),
        (Failure("limit", 429, "1308"), ProviderError),
        (Failure("where", 404), UsageError),
        (Failure("moved", 307), AgentError),
    ],
)
def test_a_lasting_failure_ends_the_run_after_one_request(failure: Failure, error: type[AgentError]) -> None:
    played = play(failure)
    assert (type(played.end), played.steps, len(played.wire.bodies)) == (error, [], 1)


def test_an_unknown_model_is_named_with_names_near_it() -> None:
    said = failed(play(Failure("no such model", 400, "1211")))[1]
    assert "; it was asked for glm-4.7; did you mean glm-4.6 or " in said


def test_a_key_that_is_refused_is_named_by_where_it_is() -> None:
    assert failed(play(Failure("no", 401)))[1].endswith(" (none was sent; set GLM_AGENT_API_KEY)")
    client = Client(DIALECT, "h", Wire(Failure("no", 401)), Fitter(200_000, 16_384), key_name="ZAI_API_KEY")
    with pytest.raises(AuthError, match=r"\(HTTP 401\); check the key, .* \(it is in ZAI_API_KEY\)"):
        list(client.complete([User("Go")]))


def test_a_wait_that_the_host_asks_for_is_obeyed() -> None:
    assert play(Failure("busy", 429, "1302", 12.5), GOOD).waits == [12.5]


def test_a_wait_that_is_too_long_ends_the_run_at_once() -> None:
    played = play(Failure("busy", 429, "1302", 901.0))
    assert failed(played)[1].startswith("host: busy (HTTP 429, code 1302); it asks to wait 901 s")
    assert played.waits == []


def error_frame(code: object) -> bytes:
    return stream(chunk({"content": "Y"}), {"error": {"code": code, "message": "oh\nno"}}, done=False)


@pytest.mark.parametrize(("code", "status"), [("1305", None), (502, 502), ("overloaded", None), (None, None)])
def test_an_error_inside_a_stream_that_may_pass_is_tried_again(code: object, status: int | None) -> None:
    played = play(error_frame(code), GOOD)
    assert played.steps == [
        TextDelta("Y"),
        Discarded("oh no", Assistant("Y")),
        Retrying(1, 0, "oh no", status, str(code) if code else None),
        *SAID,
    ]


@pytest.mark.parametrize(("code", "error"), [("1113", AuthError), ("1261", BudgetError), (401, AuthError)])
def test_an_error_inside_a_stream_that_will_not_pass_ends_the_run(
    code: object, error: type[AgentError]
) -> None:
    played = play(error_frame(code))
    assert (type(played.end), len(played.wire.bodies)) == (error, 1)


def test_an_error_body_with_status_200_counts_as_an_error() -> None:
    assert failed(play(b'{"error":{"code":"1214","message":"messages"}}')) == (
        AgentError,
        "host: messages (code 1214); the provider refused the request as it stands",
    )


def made(*ids: str | None) -> bytes:
    fragments = [fragment(n, call_id, name="read", arguments="{}") for n, call_id in enumerate(ids)]
    return stream(chunk({"tool_calls": fragments}, "tool_calls"))


def ids(played: Played) -> list[str]:
    assert isinstance(played.end, Assistant)
    return [call.id for call in played.end.calls]


def test_ids_of_the_hosts_own_are_kept() -> None:
    assert ids(play(made("a", "b"))) == ["a", "b"]


def test_missing_and_repeated_ids_are_filled() -> None:
    assert ids(play(made(None, "a", "a", ""))) == ["call_1_0", "a", "call_1_1", "call_1_2"]


def test_an_id_of_an_earlier_turn_is_not_used_twice() -> None:
    history: list[Message] = [
        User("Go"),
        Assistant(calls=[ToolCall("a", "read", "{}")]),
        ToolResult("a", "x"),
    ]
    assert ids(play(made("a", "b"), history=history)) == ["call_3_0", "b"]


@given(st.lists(st.sampled_from(["", "a", "b", "call_1_0", "call_1_1"]), max_size=6))
def test_ids_are_always_unique(given_ids: list[str]) -> None:
    found = ids(play(made(*given_ids))) if given_ids else []
    assert len(set(found)) == len(given_ids) and "" not in found


def test_leaving_in_the_middle_closes_the_answer() -> None:
    wire = Wire(GOOD)
    run = Client(DIALECT, "host", wire, Fitter(200_000, 16_384)).complete([User("Go")])
    assert (next(run), wire.open) == (SAID[0], 1)
    run.close()
    assert wire.open == 0


def test_time_spent_asking_is_counted_but_not_waits() -> None:
    client = Client(
        DIALECT,
        "host",
        Wire(Failure("busy", 503, retry_after=50), GOOD),
        Fitter(200_000, 16_384),
        sleep=lambda _: None,
    )
    list(client.complete([User("Go")]))
    assert 0 < client.seconds < 1


PATH = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}

# What a host turns out to refuse, and how much it takes.

LONG_HISTORY: list[Message] = [
    User("Go"),
    *(
        message
        for number in range(20)
        for message in (
            Assistant(calls=[ToolCall(f"c{number}", "read", '{"path":"a"}')], finish="tool_calls"),
            ToolResult(f"c{number}", "x" * 4000),
        )
    ),
]


def test_a_field_that_is_refused_is_left_out_from_then_on() -> None:
    refused = Failure("Unrecognized request argument supplied: tool_stream", 400, "1210")
    wire = Wire(refused, GOOD, GOOD)
    options = {**DIALECT.options, "tool_stream": True}
    client = Client(DIALECT._replace(options=options), "host", wire, Fitter(200_000, 16_384))
    steps = list(client.complete([User("Go")]))
    list(client.complete([User("Go")]))
    assert steps == [Notice("host refuses the field tool_stream, which is not sent any more"), *SAID]
    assert [body.get("tool_stream") for body in wire.bodies] == [True, None, None]


def test_a_conversation_that_is_too_long_is_cleared_and_asked_again() -> None:
    played = play(Failure("Prompt exceeds max length", 400, "1261"), GOOD, history=LONG_HISTORY)
    assert played.end == YES
    first, second = (len(str(body)) for body in played.wire.bodies)
    assert second < first / 2


def test_a_call_that_was_written_as_text_is_made() -> None:
    text = "Reading.\n<tool_call>read\n<arg_key>path</arg_key>\n<arg_value>a.py</arg_value>\n</tool_call>"
    function = {"name": "read", "description": "", "parameters": PATH}
    options = {**DIALECT.options, "tools": [{"type": "function", "function": function}]}
    client = Client(
        DIALECT._replace(options=options), "host", Wire(answer(text, "stop")), Fitter(200_000, 16_384)
    )
    steps: list[Step] = []
    run = client.complete([User("Go")])
    try:
        while True:
            steps.append(next(run))
    except StopIteration as end:
        turn = cast("Assistant", end.value)
    assert (turn.text, turn.calls) == ("Reading.", [ToolCall("call_1_0", "read", '{"path": "a.py"}')])
    assert isinstance(steps[-1], Notice)


def test_a_turn_that_is_whole_counts_though_the_connection_broke_then() -> None:
    played = play((GOOD, Failure("the stream broke off: reset")))
    assert (played.end, len(played.wire.bodies)) == (YES, 1)


def test_a_call_that_was_cut_after_another_one_was_finished_makes_the_turn_void() -> None:
    first = chunk({"tool_calls": [fragment(0, "a", name="write", arguments='{"path":"a"}')]}, "tool_calls")
    half = chunk({"tool_calls": [fragment(1, "b", name="write", arguments='{"path":"b')]})
    for broken in (stream(first, half, done=False), (stream(first, half, done=False), Failure("reset"))):
        played = play(broken, GOOD)
        assert (played.end, len(played.wire.bodies)) == (YES, 2)


@pytest.mark.parametrize("finish", ["abort", "insufficient_system_resource"])
def test_a_finish_that_is_not_known_is_no_success(finish: str) -> None:
    played = play(answer("half", finish), GOOD)
    flaw = f"the provider broke off with finish_reason {finish}"
    assert (played.end, played.steps[1]) == (YES, Discarded(flaw, Assistant("half", finish=finish)))
