from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.spelling import near


@pytest.mark.parametrize(
    ("name", "names", "said"),
    [
        ("base_ulr", ["title", "base_url", "base_url_env"], "; did you mean base_url?"),
        ("glm-4.7-flas", ["glm-4.7", "glm-4.7-flashx", "glm-4.7-flash"], "glm-4.7-flash or glm-4.7-flashx?"),
        ("zia", ["zai", "vllm"], "; did you mean zai?"),
        ("zai", ["zai", "zia"], "; did you mean zia?"),  # not the name that did not do
        ("llama", ["glm-4.7", "zai"], ""),
        ("", ["zai"], ""),
        ("zai", [], ""),
    ],
)
def test_the_nearest_names_are_offered_best_first(name: str, names: list[str], said: str) -> None:
    assert near(name, names).removeprefix("; did you mean " if " or " in said else "") == said


@given(st.text(), st.lists(st.text(), max_size=5))
def test_any_name_gets_at_most_three_of_those_that_there_are(name: str, names: list[str]) -> None:
    said = near(name, names)
    assert said == "" or (
        said.startswith("; did you mean ") and said.count(" or ") <= 2 + "".join(names).count(" or ")
    )


def test_a_name_without_end_is_no_work() -> None:
    assert near("x" * 1_000_000, ["x" * 90, "zai"]) == "; did you mean " + "x" * 90 + "?"
