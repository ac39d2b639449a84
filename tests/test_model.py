from __future__ import annotations

import time
from typing import cast

import pytest
from fakes import chunk, fragment
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.model import Turn, read_turn
from glm_agent.sse import DONE, Fault, Item
from glm_agent.types import Assistant, CallDelta, Delta, Json, TextDelta, ThoughtDelta, ToolCall

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def play(*items: Item) -> tuple[list[Delta], Turn]:
    deltas: list[Delta] = []
    steps = read_turn(items)
    while True:
        try:
            deltas.append(next(steps))
        except StopIteration as end:
            return deltas, cast("Turn", end.value)


def said(*items: Item) -> Assistant:
    return play(*items)[1].message


def made(*fragments: Json) -> list[tuple[str, str, str]]:
    """The calls that come of `fragments`, each in a delta of its own."""
    message = said(*(chunk({"tool_calls": [each]}) for each in fragments))
    return [(call.id, call.name, call.arguments) for call in message.calls]


def test_a_turn_streams_and_is_assembled() -> None:
    usage = {"prompt_tokens": 3}
    deltas, turn = play(
        chunk({"role": "assistant", "reasoning_content": "Hm"}),
        chunk({"role": "assistant", "content": "Let me "}),
        chunk({"content": "see", "reasoning_content": ""}),
        chunk({"tool_calls": [fragment(0, "c1", name="read", arguments='{"p":')]}),
        chunk({"tool_calls": [fragment(0, arguments='"a"}')]}),
        chunk({"content": ""}, "tool_calls", usage=usage),
        DONE,
    )
    assert deltas == [
        ThoughtDelta("Hm"),
        TextDelta("Let me "),
        TextDelta("see"),
        CallDelta(0, "read", '{"p":'),
        CallDelta(0, "", '"a"}'),
    ]
    call = ToolCall("c1", "read", '{"p":"a"}')
    assert turn == Turn(Assistant("Let me see", "Hm", [call], "tool_calls", usage), [], done=True)


def test_nothing_said_is_an_empty_turn() -> None:
    assert play() == ([], Turn(Assistant(), []))


def test_an_empty_thought_is_kept_apart_from_none() -> None:
    assert said(chunk({"reasoning_content": ""})).thought == ""
    assert said(chunk({"reasoning_content": None})).thought is None


@pytest.mark.parametrize(
    ("delta", "thought"),
    [
        ({"reasoning": "Hm"}, "Hm"),
        ({"reasoning": "Hm", "reasoning_content": "Hm"}, "Hm"),
        ({"reasoning": "Hm", "reasoning_content": ""}, "Hm"),
        ({"reasoning": "Hm", "reasoning_content": None}, "Hm"),
        ({"reasoning": "", "reasoning_content": "Hm"}, "Hm"),
        ({"reasoning": "Hm", "reasoning_details": [{"text": "Hm"}]}, "Hm"),
        ({"reasoning": "", "reasoning_details": [{"text": "H"}, {"text": "m"}]}, "Hm"),
        ({"reasoning": None, "reasoning_details": [{"summary": "Hm"}]}, ""),
        ({"reasoning": {"text": "Hm"}}, None),
    ],
)
def test_reasoning_comes_under_two_names_and_is_never_doubled(delta: Json, thought: str | None) -> None:
    assert said(chunk(delta)).thought == thought


def test_details_repeat_reasoning_also_in_chunks_of_their_own() -> None:
    plain, details = chunk({"reasoning": "Hm"}), chunk({"reasoning_details": [{"text": "Hm"}]})
    both = chunk({"reasoning": "m", "reasoning_details": [{"text": "m"}]})
    assert said(plain, details).thought == "Hm"
    assert said(details, both).thought == "Hmm"
    assert said(plain, both, details).thought == "Hmm"


def test_content_may_be_parts() -> None:
    assert said(chunk({"content": [{"type": "text", "text": "a"}, 3, {"text": "b"}]})).text == "ab"


def test_the_last_finish_and_the_last_usage_count() -> None:
    message = said(
        chunk(finish="tool_calls", usage={"prompt_tokens": 1}),
        chunk(finish="stop", usage=None),
        {"choices": [], "usage": {"prompt_tokens": 2}},
        chunk(usage={}),
    )
    assert message == Assistant(finish="stop", usage={"prompt_tokens": 2})


def test_words_for_no_finish_are_none_and_case_means_nothing() -> None:
    assert [said(chunk(finish=word)).finish for word in ("null", "None", "", "Stop", " LENGTH")] == [
        *("", "", "", "stop", "length"),
    ]
    assert said(chunk(finish="stop"), chunk(finish="null")).finish == "stop"


@pytest.mark.parametrize(
    ("more", "finish"),
    [
        ({"content": "b"}, ""),
        ({"tool_calls": [fragment(0, "c", name="x")]}, ""),
        ({"function_call": {"name": "x"}}, ""),
        ({"content": "\n"}, "stop"),
        ({"reasoning": "b"}, "stop"),
        ({"role": "assistant"}, "stop"),
    ],
)
def test_what_goes_on_after_its_finish_is_not_whole(more: Json, finish: str) -> None:
    assert said(chunk({"content": "a"}, "stop"), chunk(more)).finish == finish
    assert said(chunk({"content": "a"}, "stop"), chunk(more, "length")).finish == "length"


def test_only_the_first_of_several_answers_counts() -> None:
    def choice(index: object, text: str, finish: str | None = None) -> Json:
        return {"index": index, "delta": {"content": text}, "finish_reason": finish}

    assert said(
        {"choices": [choice(1, "B"), choice(0, "a")]},
        {"choices": [choice(1, "B", "length")]},
        {"choices": [choice(-1, "b")]},
        {"choices": [choice(None, "c", "stop")]},
        {"choices": [choice(2, "B", "length"), {"index": 3}]},
    ) == Assistant("abc", finish="stop")


def test_a_chunk_may_call_its_delta_a_message_but_not_say_all_again() -> None:
    whole: Json = {"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}
    half: Json = {"choices": [{"message": {"content": "a"}}]}
    assert said(whole) == Assistant("ab", finish="stop")
    assert said(half, half).text == "aa"
    assert said(chunk({"content": "a"}), chunk({"content": "b"}), whole) == Assistant("ab", finish="stop")


def test_a_function_call_is_a_call() -> None:
    message = said(
        chunk({"content": "See", "function_call": {"name": "read", "arguments": '{"p":'}}),
        chunk({"function_call": {"arguments": '"a"}'}}),
        chunk(finish="function_call"),
    )
    assert message == Assistant("See", calls=[ToolCall("", "read", '{"p":"a"}')], finish="function_call")


def test_one_call_may_come_without_a_list() -> None:
    assert said(chunk({"tool_calls": fragment(0, "a", name="add")})).calls == [ToolCall("a", "add", "")]


def of(name: str | None, created: int | None = None, finish: str | None = None, **delta: object) -> Json:
    """A chunk of the completion `name`."""
    found = chunk({"role": "assistant", "content": "x", **delta}, finish)
    return {**found, "id": name, "created": created}


NO_ROLE: Json = {"role": None}
SPLICES: dict[str, list[Json]] = {
    "ids held, then another": [of("a"), of("a"), of("b"), of("b")],
    "the same second": [of("a", 5), of("a", 5), of("b", 5)],
    "a whole answer at once": [of("a"), of("a"), of("b", finish="stop")],
    "only a role": [of("a"), of("a"), of("b", content="")],
    "a thought": [of("a", content=None, reasoning="x"), of("a"), of("b", content=None, reasoning="x")],
    "younger": [of("a", 5), of("b", 75)],
    "after a finish": [of("a"), of("a", finish="stop"), of("b")],
    "twice": [of("a"), of("a"), of("b"), of("b"), of("c")],
    "held and younger without a role": [of("a", 5), of("a", 5), of("b", 75, **NO_ROLE)],
    "usage in every chunk": [
        {**of("a", 5), "usage": {"prompt_tokens": 1}},
        {**of("b", 75, content=""), "usage": {"prompt_tokens": 1}},
        {**of("b", 75), "usage": {"prompt_tokens": 1}},
    ],
}
NO_SPLICES: dict[str, list[Json]] = {
    "one id": [of("a", 1), of("a", 99), of("a", 200)],
    "no ids": [of(None, 1), of(None, 99), of("", 200)],
    "an id at times": [of("a"), of(None), of("a"), of(None)],
    "ids of their own": [of("a", 1), of("b", 1), of("c", 2), of("d", 4)],
    "a gateway's first": [of("a", 1, content=""), of("a", 1, content=""), of("b", 99), of("b", 99)],
    "a gateway's last": [of("a"), of("a"), of("b", finish="stop", content="")],
    "usage under another name": [of("a"), of("a"), {**of("b", content=""), "usage": {"prompt_tokens": 1}}],
    "usage without choices": [of("a"), of("a"), {"id": "b", "choices": [], "usage": {"prompt_tokens": 1}}],
    "no role": [of("a"), of("a"), of("b", **NO_ROLE), of("b", **NO_ROLE)],
    "two that were made by turns": [of("a"), of("b"), of("a"), of("b")],
}


@pytest.mark.parametrize("name", SPLICES)
def test_another_completion_between_two_frames_is_a_splice(name: str) -> None:
    turn = play(*SPLICES[name])[1]
    assert [fault.kind for fault in turn.faults] == ["splice"] * (2 if name == "twice" else 1)
    assert turn.message.finish == ("stop" if name == "a whole answer at once" else "")


def test_what_was_said_before_a_splice_is_no_part_of_the_message() -> None:
    first = [of("a", tool_calls=[fragment(0, "1", name="add", arguments="{")]), of("a", reasoning="x")]
    second = [of("b", content="new"), of("b", tool_calls=[fragment(0, "2", name="mul", arguments="{}")])]
    assert said(*first, *second) == Assistant("newx", calls=[ToolCall("2", "mul", "{}")])


def test_a_call_of_an_answer_that_was_given_up_is_not_made() -> None:
    first = [of("a", 5), of("a", 5, **NO_ROLE, content=None, tool_calls=[fragment(0, "1", name="add")])]
    second = of("b", 75, **NO_ROLE, content=None, tool_calls=[fragment(0, "2", name="mul", arguments="{}")])
    assert said(*first, second) == Assistant(calls=[ToolCall("2", "mul", "{}")])


def test_another_answer_is_told_by_its_index_however_that_is_written() -> None:
    indexes: list[object] = ["0", "1", 1.0, 0]
    frames: list[Json] = [
        {"choices": [{"index": index, "delta": {"content": f"{index} "}}]} for index in indexes
    ]
    assert said(*frames).text == "0 0 "


@pytest.mark.parametrize("name", NO_SPLICES)
def test_ids_that_mean_nothing_are_no_splice(name: str) -> None:
    assert play(*NO_SPLICES[name])[1].faults == []


def test_a_splice_starts_the_message_over() -> None:
    splice = Fault("splice", "cut")
    first = [
        chunk({"content": "old", "reasoning": "old"}),
        chunk({"tool_calls": [fragment(0, "c", name="x")]}),
    ]
    assert play(*first, splice, chunk({"content": "new"}))[1] == Turn(Assistant("new"), [splice])


def test_other_faults_are_collected_and_the_rest_is_kept() -> None:
    faults = [Fault("bad_frame", "a"), Fault("error", "b", {"code": "1"})]
    assert play(chunk({"content": "a"}), *faults, chunk({"content": "b"}))[1] == Turn(Assistant("ab"), faults)


A, B = ("a", "add", '{"x":1}'), ("b", "mul", '{"y":2}')

CALLS: dict[str, tuple[list[Json], list[tuple[str, str, str]]]] = {
    "one after the other": (
        [
            fragment(0, "a", name="add", arguments='{"x"'),
            fragment(0, arguments=":1}"),
            fragment(1, "b", name="mul", arguments=""),
            fragment(1, arguments='{"y":2}'),
        ],
        [A, B],
    ),
    "interleaved": (
        [
            fragment(0, "a", name="add", arguments=""),
            fragment(1, "b", name="mul", arguments=""),
            fragment(1, arguments='{"y"'),
            fragment(0, arguments='{"x"'),
            fragment(1, arguments=":2}"),
            fragment(0, arguments=":1}"),
        ],
        [A, B],
    ),
    "no index": (
        [
            fragment(None, "a", name="add", arguments='{"x"'),
            fragment(arguments=":1}"),
            fragment(None, "b", name="mul", arguments='{"y"'),
            fragment(arguments=":2}"),
        ],
        [A, B],
    ),
    "no index, interleaved by id": (
        [
            fragment(None, "a", name="add", arguments='{"x"'),
            fragment(None, "b", name="mul", arguments='{"y"'),
            fragment(None, "a", arguments=":1}"),
            fragment(None, "b", arguments=":2}"),
        ],
        [A, B],
    ),
    "index always 0": (
        [
            fragment(0, "a", name="add", arguments='{"x"'),
            fragment(0, arguments=":1}"),
            fragment(0, "b", name="mul", arguments='{"y"'),
            fragment(0, arguments=":2}"),
        ],
        [A, B],
    ),
    "index always 0, interleaved by id": (
        [
            fragment(0, "a", name="add", arguments='{"x"'),
            fragment(0, "b", name="mul", arguments='{"y"'),
            fragment(0, "a", arguments=":1}"),
            fragment(0, "b", arguments=":2}"),
        ],
        [A, B],
    ),
    "index -1": (
        [
            fragment(-1, "a", name="add", arguments='{"x":1}'),
            fragment(-1, "b", name="mul", arguments='{"y"'),
            fragment(-1, arguments=":2}"),
        ],
        [A, B],
    ),
    "an index of the wrong type": (
        [fragment("0", "a", name="add", arguments='{"x"'), fragment([1], arguments=":1}")],
        [A],
    ),
    "the index comes late": (
        [
            fragment(None, "a", name="add", arguments='{"x"'),
            fragment(0, arguments=":1"),
            fragment(0, "a", arguments="}"),
        ],
        [A],
    ),
    "ids come late": (
        [
            fragment(0, name="add", arguments='{"x"'),
            fragment(0, "a", arguments=":1}"),
            fragment(1, name="mul", arguments='{"y"'),
            fragment(1, "b", arguments=":2}"),
        ],
        [A, B],
    ),
    "an id comes late, no index": (
        [fragment(name="add", arguments='{"x"'), fragment(None, "a", arguments=":1}")],
        [A],
    ),
    "no ids": (
        [fragment(0, name="add", arguments='{"x":1}'), fragment(1, name="mul", arguments='{"y":2}')],
        [("", *A[1:]), ("", *B[1:])],
    ),
    "no ids, index always 0": (
        [
            fragment(0, name="add", arguments='{"x"'),
            fragment(0, arguments=":1}"),
            fragment(0, name="mul", arguments=""),
            fragment(0, arguments='{"y":2}'),
        ],
        [("", *A[1:]), ("", *B[1:])],
    ),
    "no ids, no index, the same tool": (
        [fragment(name="add", arguments='{"x":1}'), fragment(name="add", arguments='{"x":1}')],
        [("", *A[1:]), ("", *A[1:])],
    ),
    "two calls of one id": (
        [
            fragment(0, "a", name="add", arguments='{"x":1}'),
            fragment(1, "a", name="mul", arguments='{"y":2}'),
        ],
        [A, ("a", *B[1:])],
    ),
    "the id in every fragment": (
        [fragment(0, "a", name="add", arguments='{"x"'), fragment(0, "a", name="", arguments=":1}")],
        [A],
    ),
    "the name in every fragment": (
        [
            fragment(0, name="add", arguments='{"x"'),
            fragment(0, name="add", arguments=":1}"),
            fragment(0, name="add", arguments=""),
        ],
        [("", *A[1:])],
    ),
    "the name comes late": (
        [fragment(0, "a", arguments=""), fragment(0, name="add", arguments='{"x":1}')],
        [A],
    ),
    "arguments that are missing, null, or an object": (
        [
            fragment(0, "a", name="add"),
            fragment(1, "b", name="mul", arguments=None),
            fragment(2, "c", name="add", arguments={"x": "ü"}),
        ],
        [("a", "add", ""), ("b", "mul", ""), ("c", "add", '{"x": "ü"}')],
    ),
    "arguments as they came": (
        [
            fragment(0, "a", name="add", arguments='"{\\"x\\":1}"'),
            fragment(1, "b", name="mul", arguments="{}"),
            fragment(1, arguments="{}"),
        ],
        [("a", "add", '"{\\"x\\":1}"'), ("b", "mul", "{}{}")],
    ),
    "an index of another type": (
        [
            {"index": "0", "id": "a", "function": {"name": "add"}},
            {"index": 1.0, "id": "b", "function": {"name": "mul"}},
            {"index": "0", "function": {"arguments": '{"x":1}'}},
            {"index": 1.0, "function": {"arguments": '{"y":2}'}},
        ],
        [A, B],
    ),
    "no function around it": (
        [{"index": 0, "id": "a", "name": "add", "arguments": '{"x"'}, {"index": 0, "arguments": ":1}"}],
        [A],
    ),
    "fields of the wrong type": (
        [{"index": 0, "id": 7, "function": {"name": ["x"], "arguments": 5}}, {"index": 1, "function": None}],
        [("", "", "5")],
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_fragments_come_together(name: str) -> None:
    fragments, expected = CALLS[name]
    assert made(*fragments) == expected
    together = said(chunk({"tool_calls": fragments}))
    assert [(call.id, call.name, call.arguments) for call in together.calls] == expected


def test_a_fragment_says_which_call_it_belongs_to() -> None:
    first, second = fragment(3, "a", name="add", arguments="1"), fragment(5, "b", name="mul", arguments="2")
    deltas, _ = play(
        chunk({"tool_calls": [first, second]}), chunk({"tool_calls": [fragment(3, arguments="3")]})
    )
    assert deltas == [CallDelta(0, "add", "1"), CallDelta(1, "mul", "2"), CallDelta(0, "", "3")]


def test_surrogate_halves_in_two_deltas_are_one_character() -> None:
    deltas, turn = play(
        chunk({"content": "a\ud83d"}), chunk({"content": "\ude00b"}), chunk({"content": "\ud83d"})
    )
    assert deltas == [TextDelta("a"), TextDelta("😀b")]
    assert turn.message.text == "a😀b\ufffd"


def test_a_lone_surrogate_is_a_replacement_character_wherever_it_is() -> None:
    lone = "\ud83d"
    deltas, turn = play(
        chunk({"content": f"{lone}a", "reasoning": f"\ude00{lone}"}),
        chunk({"tool_calls": [fragment(0, f"i{lone}", name=f"n{lone}", arguments=f'"{lone}"')]}),
    )
    assert deltas[:2] == [ThoughtDelta("\ufffd"), TextDelta("\ufffda")]
    call = ToolCall("i\ufffd", "n\ufffd", '"\ufffd"')
    assert turn.message == Assistant("\ufffda", "\ufffd\ufffd", [call])


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": {"0": {}}},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": "text", "finish_reason": 7}]},
        {"choices": [{"delta": {"content": 5, "reasoning_content": [1], "tool_calls": "x"}}]},
        {"choices": [], "usage": "many"},
    ],
)
def test_a_chunk_of_the_wrong_shape_says_nothing(odd: Json) -> None:
    assert play(odd) == ([], Turn(Assistant(), []))


@given(st.dictionaries(st.text(), JSON_VALUES), JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_no_json_value_raises_anywhere(top: Json, delta: object, inner: object, deep: object) -> None:
    function = {"name": deep, "arguments": inner}
    play(
        top,
        {"choices": delta, "usage": inner},
        {"choices": [delta]},
        {"choices": [{"delta": delta, "finish_reason": inner}]},
        {"choices": [{"delta": {"content": inner, "reasoning": deep, "tool_calls": delta}}]},
        {"choices": [{"delta": {"tool_calls": [delta, {"index": inner, "id": deep, "function": delta}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": delta, "id": inner, "function": function}]}}]},
    )


def test_many_calls_cost_linear_time() -> None:
    def cost(count: int) -> float:
        started = time.process_time()
        assert len(made(*(fragment(number, f"c{number}", name="x") for number in range(count)))) == count
        return time.process_time() - started

    small, large = (min(cost(count) for _ in range(3)) for count in (1000, 8000))
    assert large < 30 * small  # 64 times as much if each one looked at all the others


def test_deep_arguments_do_not_raise() -> None:
    deep: object = []
    for _ in range(100_000):  # some Pythons go 10 000 deep
        deep = [deep]
    assert made(fragment(0, "a", name="add", arguments=deep)) == [("a", "add", "")]


@given(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=40))
def test_interleaved_calls_never_mix(order: list[int]) -> None:
    seen: set[int] = set()
    fragments: list[Json] = []
    for index in order:
        opening = (None,) if index in seen else (f"id{index}",)
        name = {} if index in seen else {"name": f"tool{index}"}
        fragments.append(fragment(index, *opening, **name, arguments=str(index)))
        seen.add(index)
    expected = {(f"id{index}", f"tool{index}", str(index) * order.count(index)) for index in seen}
    assert set(made(*fragments)) == expected
