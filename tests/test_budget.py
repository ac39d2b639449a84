"""Caps: what lets nothing more begin, what a reply may still have, and when the model is told to land."""

from __future__ import annotations

import time

import pytest

from glm_agent.budget import Budget, Ledger
from glm_agent.errors import CapReached
from glm_agent.types import Cap, Json
from glm_agent.usage import Price

PRICE = Price(1.0, 0.1, 10.0, "2026-11")  # a reply of 1000 tokens is a cent


def budget(caps: dict[Cap, float], *requests: Json, price: Price | None = PRICE) -> Budget:
    found = Budget(Ledger(price), caps=caps)
    for raw in requests:
        found.ledger.charge(raw)
    return found


def counted(prompt: int, reply: int = 0, cached: int = 0) -> Json:
    details = {"cached_tokens": cached}
    return {"prompt_tokens": prompt, "completion_tokens": reply, "prompt_tokens_details": details}


def test_without_caps_nothing_ends() -> None:
    free = budget({}, counted(10**9, 10**9))
    free.turns = free.calls = 10**6
    assert (free.reached(), free.refusal(10**6), free.grant(10**6, 999), free.landing_note()) == (
        *(None, None),
        *(999, ""),
    )


@pytest.mark.parametrize(
    ("caps", "turns", "calls", "reached"),
    [
        ({"max_turns": 3}, 2, 9, None),
        ({"max_turns": 3}, 3, 9, "max_turns"),
        ({"max_tool_calls": 4}, 9, 4, "max_tool_calls"),
        ({"max_turns": 3, "max_tool_calls": 4}, 3, 4, "max_tool_calls"),
        ({"max_total_tokens": 1500}, 0, 0, "max_total_tokens"),
        ({"max_total_tokens": 1501}, 0, 0, None),
        ({"max_budget_usd": 0.006}, 0, 0, "max_budget_usd"),
        ({"max_budget_usd": 0.0061}, 0, 0, None),
        ({"max_wall_time": 1e-9}, 0, 0, None),  # an alarm tells that
    ],
)
def test_what_is_used_up_lets_nothing_more_begin(
    caps: dict[Cap, float], turns: int, calls: int, reached: Cap | None
) -> None:
    found = budget(caps, counted(1000, 500))
    found.turns, found.calls = turns, calls
    assert found.reached() == reached


def test_a_call_is_not_run_once_money_or_tokens_are_used_up_but_in_the_last_turn_it_is() -> None:
    last = budget({"max_turns": 1, "max_tool_calls": 2}, counted(1000, 500))
    last.turns = 1
    assert [last.refusal(number) for number in (1, 2, 3)] == [
        *(None, None),
        "the cap on tool calls is reached",
    ]
    assert budget({"max_total_tokens": 1500}, counted(1000, 500)).refusal(1) == "the cap on tokens is reached"
    assert budget({"max_budget_usd": 0.006}, counted(1000, 500)).refusal(1) == "the cap on money is reached"


@pytest.mark.parametrize(
    ("caps", "prompt", "granted", "short"),
    [
        ({"max_total_tokens": 99_000}, 1000, 8000, None),
        ({"max_total_tokens": 9000}, 1000, 6500, "max_total_tokens"),
        ({"max_total_tokens": 3012}, 1000, 512, "max_total_tokens"),
        ({"max_budget_usd": 0.05}, 1000, 4300, "max_budget_usd"),  # 5 cents less 0.6 and 0.1
        ({"max_budget_usd": 0.05, "max_total_tokens": 6000}, 1000, 3500, "max_total_tokens"),
    ],
)
def test_a_reply_may_have_what_the_caps_leave(
    caps: dict[Cap, float], prompt: int, granted: int, short: Cap | None
) -> None:
    found = budget(caps, counted(1000, 500))
    assert (found.grant(prompt, 8000), found.short) == (granted, short)
    found.caps = {}
    assert (found.grant(prompt, 8000), found.short) == (8000, None)


@pytest.mark.parametrize(
    ("caps", "cap"),
    [({"max_total_tokens": 3011}, "max_total_tokens"), ({"max_budget_usd": 0.012}, "max_budget_usd")],
)
def test_a_request_that_leaves_room_for_no_reply_is_not_sent(caps: dict[Cap, float], cap: Cap) -> None:
    with pytest.raises(CapReached) as reached:
        budget(caps, counted(1000, 500)).grant(1000, 8000)
    assert reached.value.cap == cap
    assert budget(caps, counted(1000, 500)).grant(1000, 100) == 100, "the user wants no more than that"


def test_of_the_next_prompt_as_much_is_cached_as_was_of_the_last() -> None:
    caps: dict[Cap, float] = {"max_budget_usd": 1.0}
    fresh, cached = counted(100_000), counted(100_000, 0, 90_000)
    assert budget(caps, fresh).ledger.price_of(110_000) == 0.11
    assert budget(caps, cached).ledger.price_of(110_000) == 0.029
    assert budget(caps, cached).ledger.price_of(50_000) == 0.005


def test_the_providers_own_charge_goes_before_the_table() -> None:
    charged = {**counted(1000, 500), "cost": 0.5}
    assert budget({"max_budget_usd": 0.5}, charged).reached() == "max_budget_usd"
    assert budget({"max_budget_usd": 0.51}, charged).reached() is None


def test_where_nothing_costs_money_never_ends() -> None:
    free = budget({"max_budget_usd": 0.01}, counted(10**6, 10**6), price=Price(0.0, 0.0, 0.0, "2026-11"))
    assert (free.reached(), free.grant(10**6, 8000)) == (None, 8000)


@pytest.mark.parametrize(
    ("caps", "what"),
    [
        ({"max_total_tokens": 1700}, "this run nears its cap on tokens"),
        ({"max_total_tokens": 4500}, "this run nears its cap on tokens"),  # two more turns like the last
        ({"max_total_tokens": 4501}, None),
        ({"max_budget_usd": 0.007}, "this run nears its cap on money"),
        ({"max_budget_usd": 0.02}, None),
        ({"max_wall_time": 10.0}, "this run nears its cap on time"),
        ({"max_wall_time": 11.0}, None),
        ({"max_turns": 3, "max_wall_time": 99.0}, "at most 1 more steps"),
    ],
)
def test_near_a_cap_the_model_is_told_once(caps: dict[Cap, float], what: str | None) -> None:
    found = budget(caps, counted(1000, 500))
    found.started, found.turns = time.monotonic() - 9.0, 2
    note = f"\n\n[note: {what}. Secure a working change now, check it, and report.]" if what else ""
    assert [found.landing_note(), found.landing_note()] == [note, ""]
