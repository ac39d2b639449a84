from __future__ import annotations

import pytest

from glm_agent.errors import AgentError, AuthError, BudgetError, ProviderError, UsageError
from glm_agent.retry import Failure, classify, delay, final

STOPS: dict[tuple[str, ...], tuple[type[AgentError], str]] = {
    ("1000", "1001", "1002", "1003", "1004", "1005", "1110", "1111", "1112"): (AuthError, "check the key"),
    ("1120", "1121", "1220"): (AuthError, "check the key"),
    ("1113",): (AuthError, "recharge the account; a Coding Plan key works with --provider zai-coding only"),
    ("1309", "1311", "1313", "1314", "1315"): (AuthError, "the account's plan does not allow this"),
    ("1304", "1308", "1310", "1316", "1317", "1318", "1319", "1320", "1321"): (
        ProviderError,
        "after the reset",
    ),
    ("1211", "1212", "1221", "1222"): (UsageError, "check -m and --base-url"),
    ("1261",): (BudgetError, "no longer fits the model's window"),
    ("1210", "1213", "1214", "1215"): (AgentError, "refused the request as it stands"),
    ("1300", "1301"): (AgentError, "content policy"),
}
PASSES = ("500", "1200", "1230", "1231", "1234", "1302", "1303", "1305", "1312")
BY_STATUS: dict[int, type[AgentError]] = {
    400: AgentError,
    401: AuthError,
    402: AuthError,
    403: AuthError,
    404: UsageError,
    413: BudgetError,
    422: AgentError,
    302: AgentError,
}


@pytest.mark.parametrize(
    ("code", "error", "advice"), [(code, *row) for codes, row in STOPS.items() for code in codes]
)
def test_a_code_that_will_not_pass_stops(code: str, error: type[AgentError], advice: str) -> None:
    for status in (400, 401, 429, 500, None):  # the code knows better than the status
        row = classify(Failure("", status, code))
        assert (row.error, row.again) == (error, False)
        assert advice in row.advice


@pytest.mark.parametrize("code", PASSES)
def test_a_code_that_may_pass_is_tried_again(code: str) -> None:
    assert classify(Failure("", 400, code)) == (ProviderError, "try again later", True)


@pytest.mark.parametrize("status", [None, 408, 409, 425, 429, 500, 502, 503, 504, 520, 529])
def test_a_status_that_may_pass_is_tried_again(status: int | None) -> None:
    for code in ("", "never_heard_of"):
        assert classify(Failure("", status, code)) == (ProviderError, "try again later", True)


@pytest.mark.parametrize("status", BY_STATUS)
def test_a_status_that_will_not_pass_stops(status: int) -> None:
    row = classify(Failure("", status))
    assert (row.error, row.again) == (BY_STATUS[status], False)


def test_waits_grow_up_to_a_limit_and_differ() -> None:
    for attempt, most in ((1, 1.0), (2, 2.0), (3, 4.0), (10, 30.0), (100, 30.0)):
        found = [delay(attempt) for _ in range(100)]
        assert min(found) >= 0 and max(found) <= most
        assert max(found) - min(found) > most / 4


@pytest.mark.parametrize("wanted", [0.0, 7.5, 60.0])
def test_a_host_that_names_a_wait_gets_it(wanted: float) -> None:
    assert delay(3, wanted) == wanted


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (
            Failure("No money", 429, "1113"),
            "h: No money (HTTP 429, code 1113); recharge the account; a Coding Plan key works with "
            "--provider zai-coding only",
        ),
        (Failure("cannot reach h: refused"), "cannot reach h: refused; try again later"),
        (Failure("busy", None, "1305"), "h: busy (code 1305); try again later"),
        (
            Failure("slow down", 429, "1302", 3600),
            "h: slow down (HTTP 429, code 1302); it asks to wait 3600 s; try again later",
        ),
    ],
)
def test_the_last_word_says_what_happened_and_what_to_do(failure: Failure, line: str) -> None:
    assert str(final(failure, "h")) == line
