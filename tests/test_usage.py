from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.types import Json
from glm_agent.usage import Price, add, cost, normalise

NONE = {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0, "reasoning_tokens": 0}
SOME = {"input_tokens": 211, "cache_read_input_tokens": 64, "output_tokens": 112, "reasoning_tokens": 60}


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
    assert add(SOME, SOME) == {name: 2 * count for name, count in SOME.items()}


def test_cached_tokens_cost_their_own_price_and_reasoning_nothing_extra() -> None:
    used = {"input_tokens": 1_000_000, "cache_read_input_tokens": 2_000_000, "output_tokens": 3_000_000}
    assert cost({**used, "reasoning_tokens": 9}, Price(0.6, 0.11, 2.2, "2026-11")) == pytest.approx(7.42)
    assert cost(NONE, Price(0.6, 0.11, 2.2, "2026-11")) == 0
