from __future__ import annotations

import math

import pytest

from glm_agent.budget import Ledger
from glm_agent.commands.tally import Tally
from glm_agent.types import Assistant, Discarded, Json, Said
from glm_agent.usage import Price

PRICE = Price(1.0, 0.1, 10.0, "2026-11")
COUNTED: Json = {
    "prompt_tokens": 1_000_000,
    "completion_tokens": 100_000,
    "prompt_tokens_details": {"cached_tokens": 500_000},
}
GUESSED: Json = {"prompt_tokens": 100_000, "completion_tokens": 10_000, "estimated": True}


@pytest.mark.parametrize(
    "charged",
    [math.nan, math.inf, 10**400, -1, True, "0.5", {"usd": 1}],
    ids=lambda charged: repr(charged)[:9],
)
def test_a_cost_that_is_no_amount_of_money_does_not_count(charged: object) -> None:
    tally = Tally()
    tally(Said(Assistant("x", usage={"cost": charged})))
    result = tally.finish().result
    assert (result.total_cost_usd, result.cost_source) == (None, "unknown")


def test_what_the_provider_charged_goes_before_our_own_table() -> None:
    tally = Tally()
    for cost in (0.25, 0.5):
        tally(Said(Assistant("x", usage={"cost": cost})))
    result = tally.finish().result
    assert (result.total_cost_usd, result.cost_source) == (0.75, "provider")


COSTS: list[tuple[list[Json], Price | None, float | None, str]] = [
    ([], PRICE, 0.0, "price_table:2026-11"),
    ([COUNTED], PRICE, 1.55, "price_table:2026-11"),
    ([COUNTED, GUESSED], PRICE, 1.75, "price_table:2026-11+estimate"),
    ([GUESSED], None, None, "unknown"),
    ([{}], PRICE, None, "unknown"),
    ([COUNTED, {}], PRICE, 1.55, "price_table:2026-11+estimate"),
    ([{**COUNTED, "cost": 2.2}], PRICE, 2.2, "provider"),
    ([{**GUESSED, "cost": 2.2}], PRICE, 2.2, "provider+estimate"),
    ([{**COUNTED, "cost": 2.2}, GUESSED], None, 2.42, "provider+estimate"),
]


@pytest.mark.parametrize(
    ("usages", "price", "cost", "source"),
    COSTS,
)
def test_a_cost_says_where_it_comes_from_and_whether_it_is_a_guess(
    usages: list[Json], price: Price | None, cost: float | None, source: str
) -> None:
    tally = Tally(Ledger(price))
    for place, sent in enumerate(usages):
        turn = Assistant("x", usage=sent)
        tally(Discarded("cut", turn) if place else Said(turn))
    result = tally.finish().result
    assert (result.total_cost_usd, result.cost_source) == (cost, source)
    assert result.usage["estimated"] is ("estimate" in source or (source == "unknown" and bool(usages)))


def test_the_cached_share_is_of_the_whole_run() -> None:
    tally = Tally()
    for usage in (COUNTED, GUESSED):
        tally(Said(Assistant("x", usage=usage)))
    assert tally.finish().result.usage == {
        "input_tokens": 600_000,
        "cache_read_input_tokens": 500_000,
        "output_tokens": 110_000,
        "reasoning_tokens": 0,
        "estimated": True,
        "cache_hit_share": 0.4545,
    }
