from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import errors
from glm_agent.errors import AgentError
from glm_agent.outcome import STDOUT_CLOSED, SUCCESS, Outcome, decide

# Of several, the first of a group that is higher up; within a group they do not meet.
PRECEDENCE = [
    {"error_cancelled": 130},
    {
        "error_auth": 41,
        "error_sandbox": 44,
        "error_repository": 45,
        "error_config": 52,
        "error_provider": 75,
        "error_during_execution": 1,
        "error_usage": 2,
    },
    {"error_max_turns": 53, "error_max_budget": 55},
    {"error_policy": 12},
    {"error_schema": 13},
    {"error_verify": 10},
    {"error_no_changes": 11},
    {"success": 0},
]
CODES = {subtype: code for group in PRECEDENCE for subtype, code in group.items()}
SUBTYPES = st.sets(st.sampled_from(sorted(CODES)))


@pytest.mark.parametrize("subtype", CODES)
def test_each_subtype_has_its_code(subtype: str) -> None:
    assert decide([subtype]) == Outcome(subtype, CODES[subtype])


def test_nothing_wrong_is_success() -> None:
    assert decide([]) == SUCCESS == Outcome("success", 0)


@given(SUBTYPES)
def test_zero_means_success_means_no_error(found: set[str]) -> None:
    outcome = decide(found)
    assert (outcome.exit_code == 0) == (outcome.subtype == "success") == (not outcome.is_error)
    assert (outcome.exit_code == 0) == (found <= {"success"})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (high, low)
        for place, group in enumerate(PRECEDENCE)
        for high in group
        for lower in PRECEDENCE[place + 1 :]
        for low in lower
    ],
)
def test_of_two_the_graver_one_counts(first: str, second: str) -> None:
    assert decide([second, first]) == decide([first, second]) == Outcome(first, CODES[first])


@given(SUBTYPES)
def test_the_order_in_which_they_were_found_does_not_matter(found: set[str]) -> None:
    assert decide(sorted(found)) == decide(sorted(found, reverse=True) * 2)


@pytest.mark.parametrize(("signum", "code"), [(1, 129), (2, 130), (15, 143), (None, 130)])
def test_a_signal_gives_its_own_code(signum: int | None, code: int) -> None:
    assert decide(["error_verify", "error_cancelled"], signum) == Outcome("error_cancelled", code)


def test_a_signal_that_did_not_cancel_the_run_changes_nothing() -> None:
    assert decide(["error_verify"], 15) == Outcome("error_verify", 10)


def test_an_unknown_subtype_is_refused() -> None:
    with pytest.raises(ValueError, match="no such outcome: error_bad, error_odd"):
        decide(["error_verify", "error_odd", "error_bad"])


def test_every_error_for_people_has_an_outcome() -> None:
    found = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, AgentError)
    ]
    assert len(found) > 5
    assert {each.subtype for each in found} <= set(CODES)


def test_codes_are_told_apart() -> None:
    assert len(set(CODES.values())) == len(CODES)
    assert STDOUT_CLOSED == 141
