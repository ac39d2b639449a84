"""How a run ended: the one table of `subtype`, `is_error` and exit code. Nothing else sets an exit code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Outcome(NamedTuple):
    subtype: str
    exit_code: int

    @property
    def is_error(self) -> bool:
        return self.exit_code != 0


SUCCESS = Outcome("success", 0)
STDOUT_CLOSED = 141  # the reader went away, so there is nobody left to tell a subtype

# In order of precedence: where several apply, the first one is the outcome.
_TABLE = (
    Outcome("error_cancelled", 130),
    Outcome("error_auth", 41),
    Outcome("error_sandbox", 44),
    Outcome("error_repository", 45),
    Outcome("error_config", 52),
    Outcome("error_provider", 75),
    Outcome("error_during_execution", 1),
    Outcome("error_usage", 2),
    Outcome("error_max_turns", 53),
    Outcome("error_max_budget", 55),
    Outcome("error_policy", 12),
    Outcome("error_schema", 13),
    Outcome("error_verify", 10),
    Outcome("error_no_changes", 11),
    SUCCESS,
)


def decide(subtypes: Iterable[str], signum: int | None = None) -> Outcome:
    """The outcome of a run to which all of `subtypes` apply; none of them means success.

    `signum` is the number of the signal that cancelled the run (exit code 128 + signum).
    """
    found = set(subtypes)
    if unknown := found - {row.subtype for row in _TABLE}:
        raise ValueError(f"no such outcome: {', '.join(sorted(unknown))}")
    outcome = next((row for row in _TABLE if row.subtype in found), SUCCESS)
    if outcome.subtype == "error_cancelled" and signum is not None:
        return Outcome(outcome.subtype, 128 + signum)
    return outcome
