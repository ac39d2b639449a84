from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import settings
from glm_agent.settings import OPTIONS, Settings


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    ours = {"origins", "environment", "ignored", "demands"}
    assert {field.name for field in fields(Settings)} - ours == set(OPTIONS)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h", 3600), (" 2m5 ", 125), (7, 7)],
)
def test_durations(text: object, seconds: float) -> None:
    assert settings.duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "1.5", "m", "10m1h", "1w", "nan", True, None, [], "1h 30m", "999999999h", "\u0661\u0660"],
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration like 90s, 10m or 1h30m"):
        settings.duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0.5", 0.5), ("2.5s", 2.5), (0.25, 0.25), ("90", 90), ("1h30m", 5400), (7, 7)]
)
def test_a_timeout_may_be_a_part_of_a_second(text: object, seconds: float) -> None:
    assert settings.timeout(text) == seconds


@pytest.mark.parametrize("text", ["0.0", "0", ".5", "1.5m", "-0.5", "1e3", "nan", "", None])
def test_what_is_no_timeout(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        settings.timeout(text)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_a_duration_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int) -> None:
    assert settings.duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())))
def test_no_value_gets_through_that_is_of_another_kind(value: object) -> None:
    kinds = {"max_turns": int, "temperature": float, "max_wall_time": float, "thinking": bool, "effort": str}
    for name, kind in kinds.items():
        try:
            parsed = OPTIONS[name].parse(value)
        except ValueError as error:
            assert str(error).startswith("expected ")
        else:
            assert type(parsed) is kind


@pytest.mark.parametrize(("value", "parsed"), [("YES", True), ("on", True), ("0", False), (False, False)])
def test_flags(value: object, parsed: bool) -> None:
    assert settings.flag(value) is parsed


def test_one_text_is_a_list_of_one() -> None:
    assert settings.texts("make") == settings.texts(["make"]) == ("make",)
    with pytest.raises(ValueError, match="expected a text"):
        settings.texts(["make", ""])


def test_what_a_repository_may_set_is_short() -> None:
    assert {name: option.repository for name, option in OPTIONS.items() if option.repository != "no"} == {
        "model": "yes",
        "verify": "yes",
        "verify_junit": "yes",
        "max_turns": "lower",
        "max_wall_time": "lower",
        "max_tool_calls": "lower",
        "max_total_tokens": "lower",
        "only": "add",
        "protect": "add",
        "max_diff_lines": "lower",
        "max_budget_usd": "lower",
    }
