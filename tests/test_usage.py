from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.types import Json
from glm_agent.usage import Price, add, cached_share, complete, cost, normalise, tokens

NONE = {
    "input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
    "reasoning_tokens": 0,
    "estimated": False,
}
SOME = {
    "input_tokens": 211,
    "cache_read_input_tokens": 64,
    "output_tokens": 112,
    "reasoning_tokens": 60,
    "estimated": False,
}
GUESS = {**NONE, "input_tokens": 9, "output_tokens": 5, "reasoning_tokens": 2, "estimated": True}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, NONE),
        (
            {
                "prompt_tokens": 275,
                "completion_tokens": 112,
                "total_tokens": 387,
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 60},
            },
            SOME,
        ),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, {**NONE, "input_tokens": 5}),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}},
            {**NONE, "cache_read_input_tokens": 5},
        ),
        ({"prompt_tokens": "5", "completion_tokens": -3}, NONE),
        ({"prompt_tokens": True, "completion_tokens": 1.5}, NONE),
        ({"completion_tokens_details": [1]}, NONE),
        ({"estimated": "yes"}, NONE),
    ],
)
def test_usage_is_counted_in_one_shape(raw: Json, expected: Json) -> None:
    assert normalise(raw) == expected


@given(st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), st.integers() | st.text()))
def test_counts_are_never_negative(raw: Json) -> None:
    assert min(normalise(raw).values()) >= 0


def test_counts_stay_numbers_of_every_parser() -> None:
    most = normalise({"prompt_tokens": 10**400, "completion_tokens": 2**53 + 1})
    assert most == {**NONE, "input_tokens": 2**53, "output_tokens": 2**53}
    assert add(most, most) == most


def test_usages_add_up() -> None:
    assert add(NONE, SOME) == SOME
    assert add(SOME, SOME) == {**{name: 2 * count for name, count in SOME.items()}, "estimated": False}
    assert add(GUESS, NONE) == add(NONE, GUESS) == GUESS


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, GUESS),
        ({"prompt_tokens": 0, "completion_tokens": None}, GUESS),
        ({"prompt_tokens": 7}, {**GUESS, "input_tokens": 7}),
        ({"completion_tokens": 6}, {**GUESS, "output_tokens": 6}),
        (
            {"prompt_tokens": 7, "completion_tokens": 6},
            {**NONE, "input_tokens": 7, "output_tokens": 6},
        ),
    ],
)
def test_what_a_provider_leaves_out_is_estimated_and_marked(raw: Json, expected: Json) -> None:
    assert normalise(complete(raw, 9, 5, 2)) == expected


def test_what_was_charged_stays_where_counts_are_estimated() -> None:
    assert complete({"cost": 0.5}, 9, 5, 2)["cost"] == 0.5


def test_a_reply_without_a_word_needs_no_count_of_it() -> None:
    raw: Json = {"prompt_tokens": 7, "completion_tokens": 0}
    assert complete(raw, 9, 0, 0) is raw


def test_the_cached_share_is_of_all_that_was_asked() -> None:
    assert (tokens(SOME), cached_share(SOME), cached_share(NONE)) == (387, 0.2327, None)


def test_cached_tokens_cost_their_own_price_and_reasoning_nothing_extra() -> None:
    used = {"input_tokens": 1_000_000, "cache_read_input_tokens": 2_000_000, "output_tokens": 3_000_000}
    assert cost({**used, "reasoning_tokens": 9}, Price(0.6, 0.11, 2.2, "2026-11")) == pytest.approx(7.42)
    assert cost(NONE, Price(0.6, 0.11, 2.2, "2026-11")) == 0
