from __future__ import annotations

import math

import pytest

from glm_agent.commands.tally import Tally
from glm_agent.types import Assistant, Said


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
