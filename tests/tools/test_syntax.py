from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.tools.syntax import check


@pytest.mark.parametrize(
    ("path", "before", "after", "note"),
    [
        ("a.py", None, "x = (\n", "note: a.py does not parse now: line 1: '(' was never closed"),
        (
            "src/a.py",
            "x = 1\n",
            "x = 1\nreturn\n",
            "note: src/a.py does not parse now: line 2: 'return' outside function",
        ),
        ("a.json", "{}", '{\n"a": }', "note: a.json does not parse now: line 2: Expecting value"),
        ("a.toml", None, "a = 1\nb = \n", "note: a.toml does not parse now: line 2: Invalid value"),
        (
            "a.toml",
            None,
            "[a]\n[a]\n",
            "note: a.toml does not parse now: line 2: Cannot declare ('a',) twice",
        ),
        ("a.py", "x = (\n", "x = [\n", ""),
        ("a.py", "x = (\n", "x = 1\n", ""),
        ("a.py", None, 'x = "\\d" is 1\n', ""),
        ("a.txt", None, "x = (", ""),
        ("Makefile", None, "x = (", ""),
        ("a.json", None, "1" * 5000, ""),
        ("a.json", None, "[" * 100_000, ""),
        ("a.py", None, "(" * 100_000, "note: a.py does not parse now: line 1: too many nested parentheses"),
        ("a.py", None, "-" * 100_000 + "1", ""),
        ("a.py", None, "x = (" + " " * 2**20, ""),
    ],
)
def test_only_a_new_error_is_reported(path: str, before: str | None, after: str, note: str) -> None:
    assert check(path, before, after) == note


@given(
    st.text(max_size=80) | st.text("()[]{}'\"\\\n #=:\0", max_size=40),
    st.sampled_from(["py", "json", "toml"]),
)
def test_any_text_gives_one_line_or_none(text: str, suffix: str) -> None:
    note = check(f"a.{suffix}", None, text)
    assert note == "" or (note.startswith(f"note: a.{suffix} does not parse now: line ") and "\n" not in note)
