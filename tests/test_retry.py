from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.retry import Failure, Patience, classify, delay, final, refusal, reset_time, retry_after

NOW = 1_790_000_000.0  # Mon, 21 Sep 2026 14:13:20 GMT


class Clock:
    """A clock that only waiting moves; takes the longest pause of those it may choose from."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.choices: list[tuple[float, float]] = []

    def __call__(self) -> float:
        return self.time

    def longest(self, least: float, most: float) -> float:
        self.choices.append((least, most))
        return most


def waits(failure: Failure, took: float = 0.0, seconds: float = 900.0) -> list[float]:
    """What is waited for a failure that comes again and again, `took` seconds after each request."""
    clock = Clock()
    patience = Patience(seconds=seconds, clock=clock, spread=clock.longest)
    found: list[float] = []
    while (wait := patience.wait(failure)) is not None:
        found.append(wait)
        clock.time += wait + took
    assert patience.failed == len(found) + 1
    return found


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure("", 503), [1, 2, 4, 8, 16, 32, 60]),
        (Failure("", 429), [5, 10, 20, 40, 60, 60, 60]),
        (Failure("", 429, "1302"), [3, 6, 10, 15, 15, 15, 15]),
        (Failure("", 429, "1305"), [30, 60, 90, 120, 120, 120, 120]),
        (Failure("", 429, "1302", 12.5), [12.5] * 7),
        (Failure("", 503, "", 0.0), [1, 2, 4, 8, 16, 32, 60]),
        (Failure("", 401), []),
        (Failure("", 400, "1261"), []),
        (Failure("", 429, "1308"), []),
    ],
)
def test_pauses_grow_and_end_after_eight_tries(failure: Failure, expected: list[float]) -> None:
    assert waits(failure) == expected


def test_no_wait_goes_beyond_fifteen_minutes_from_the_first_failure() -> None:
    assert waits(Failure("", 429, "1305"), took=60.0) == [30, 60, 90, 120, 120, 120]
    assert waits(Failure("", 503, "", 900.0)) == [900.0]
    assert waits(Failure("", 503, "", 901.0)) == []


def test_a_run_that_must_end_sooner_waits_less() -> None:
    assert waits(Failure("", 503), seconds=10.0) == [1, 2, 4]


def test_some_failures_are_too_dear_to_be_tried_often() -> None:
    assert waits(Failure("", tries=2)) == [1]


def test_a_pause_is_anything_up_to_its_step_but_not_less_than_its_least() -> None:
    for code, least, most in (("1302", 1, 3), ("1305", 15, 30), ("500", 0, 1)):
        found = [Patience().wait(Failure("", 429, code)) or 0.0 for _ in range(100)]
        assert least <= min(found) and max(found) <= most
        assert max(found) - min(found) > (most - least) / 4


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (86_400, "86400 s"), (86_401, "longer than a day"), (1e300, "longer than a day")],
)
def test_a_long_wait_is_told_in_few_words(seconds: float, said: str) -> None:
    line = str(final(Failure("busy", 429, "1302", seconds), "h"))
    assert f"; it asks to wait {said}; " in line and len(line) < 200


def test_a_named_time_is_waited_for_even_where_a_limit_is_used_up() -> None:
    assert classify(Failure("", 429, "1308", 30.0)).kind == "timed"
    assert waits(Failure("", 429, "1308", 30.0))[:2] == [30.0, 30.0]
    assert classify(Failure("", 503, "", 30.0)).kind == "timed"
    assert classify(Failure("", 429, "1302", 30.0)).kind == "slot"  # the slots shrink as well
    assert classify(Failure("", 429, "1113", 30.0)).kind == "balance"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": ""}, None),
        ({"llm_provider-retry-after": "30"}, 30.0),
        ({"llm_provider-retry-after": "30", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "300"}, 0.3),
        ({"retry-after-ms": "300", "retry-after": "9"}, 0.3),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after": "Mon, 21 Sep 2026 14:14:20 GMT"}, 60.0),
        ({"retry-after": "Mon, 21 Sep 2026 14:12:20 GMT"}, 0.0),
        (
            {"retry-after": "Mon, 21 Sep 2026 14:14:20 GMT", "date": "Mon, 21 Sep 2026 14:14:10 GMT"},
            10.0,
        ),
        ({"retry-after": "Mon, 99 Sep 99999999999999 14:14:20 GMT"}, None),
        ({"retry-after": "Mon, 21 Sep 2026 14:14:20 GMT" * 9}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_in_milliseconds_seconds_or_as_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, NOW) == seconds
    assert refusal(429, {}, headers, NOW).retry_after == seconds


@given(st.text(max_size=120))
def test_no_header_breaks_it(text: str) -> None:
    wait = retry_after({"retry-after": text, "retry-after-ms": text, "date": text}, NOW)
    assert wait is None or wait >= 0


@given(st.integers(400, 599) | st.none(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "metadata", "raw"]), inner),
    max_leaves=8,
))  # fmt: skip
def test_no_body_breaks_it(status: int | None, body: object) -> None:
    failure = refusal(status, body)
    assert failure.message and "\n" not in failure.message
    assert str(final(failure, "h")).endswith(classify(failure).advice) or "--provider" in str(
        final(failure, "h")
    )


@pytest.mark.parametrize(
    ("message", "when"),
    [
        (
            "Usage limit reached for 5 hour. Your limit will reset at 2026-09-04 19:01:25",
            "2026-09-04 19:01:25 (its time zone is not given)",
        ),
        (
            "已达到 5\n小时的使用上限。您的限额将在 2026-08-25\n07:41:44 重置。",
            "2026-08-25 07:41:44 (its time zone is not given)",
        ),
        ("Your limit will reset at 2026-09-04T19:01:25+08:00", "2026-09-04 19:01:25 +08:00"),
        ("Your limit will reset at 2026-09-04 19:01:25Z.", "2026-09-04 19:01:25 Z"),
        ("Your limit will reset at 2026-09-04 19:01", "2026-09-04 19:01 (its time zone is not given)"),
        ("It is 2026-09-04 19:01:25", None),
        ("Your limit will reset soon", None),
    ],
)
def test_a_reset_is_told_as_it_was_written_and_never_waited_for(message: str, when: str | None) -> None:
    assert reset_time(message) == when
    failure = refusal(429, {"error": {"code": "1308", "message": message}}, {}, NOW)
    assert failure.retry_after is None and waits(failure) == []
    advice = f"try again after the reset{f' at {when}' if when else ''}"
    assert str(final(failure, "h")).endswith(f"; {advice}")


@pytest.mark.parametrize(
    ("failure", "tries", "line"),
    [
        (
            Failure("No money", 429, "1113"),
            1,
            "h: No money (HTTP 429, code 1113); recharge the account; a Coding Plan key works with "
            "--provider zai-coding only",
        ),
        (Failure("cannot reach h: refused"), 1, "cannot reach h: refused; try again later"),
        (Failure("bad", 502, "502"), 8, "h: bad (HTTP 502, 8 tries); try again later"),
        (
            Failure("slow down", 429, "1303", 3599.2),
            1,
            "h: slow down (HTTP 429, code 1303); it asks to wait 3600 s; try again later",
        ),
    ],
)
def test_the_last_word_says_what_happened_and_what_to_do(failure: Failure, tries: int, line: str) -> None:
    assert str(final(failure, "h", tries=tries)) == line


def test_waits_without_a_table_grow_up_to_a_limit_and_differ() -> None:
    for attempt, most in ((1, 1.0), (3, 4.0), (100, 30.0)):
        found = [delay(attempt) for _ in range(100)]
        assert min(found) >= 0 and max(found) <= most
        assert max(found) - min(found) > most / 4
