from __future__ import annotations

import pytest

from glm_agent.shape import mapping, sequence, string

VALUES: list[object] = [{"a": 1}, [1], "a", 1, True, None, 1.5]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_of_the_wrong_shape_is_the_empty_one(value: object) -> None:
    kind = type(value)
    assert mapping(value) == (value if kind is dict else {})
    assert sequence(value) == (value if kind is list else [])
    assert string(value) == (value if kind is str else "")
