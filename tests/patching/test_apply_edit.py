"""One replacement: each rung of the ladder, and each reason to refuse."""

from __future__ import annotations

import pytest

from glm_agent.patching import PatchRefused, apply_edit, edit


@pytest.mark.parametrize(
    ("text", "old", "new", "after", "tolerance"),
    [
        ("a = 1\nb = 2\n", "a = 1", "a = 3", "a = 3\nb = 2\n", ""),
        ("one two three\n", "two", "2", "one 2 three\n", ""),
        ("a\r\nb\r\nc\r\n", "a\nb", "A\nB\nB2", "A\r\nB\r\nB2\r\nc\r\n", "line endings"),
        ("a\r\nb\r\n", "b", "b\nc", "a\r\nb\r\nc\r\n", ""),
        ("a\nb\n", "a\r\nb", "A\r\nB", "A\nB\n", "line endings"),
        ("a  \nb\t\nc\n", "a\nb\nc", "a\nB\nc", "a  \nB\nc\n", "trailing space"),
        (
            "  if a:\n    b()\n  c()\n",
            "if a:\n  b()\n",
            "if a:\n  b()\n\n  d()\n",
            "  if a:\n    b()\n\n    d()\n  c()\n",
            "indentation",
        ),
        ("\ta\n\tb\n", "\t\ta\n\t\tb\n", "\t\tb\n", "\tb\n", "indentation"),
        ('s = "a\tb"\n', 's = \\"a\\tb\\"', 's = \\"a\\"', 's = "a"\n', "one level of backslashes"),
        ("if a:\n\tb()\n", "if a:\\n\\tb()", "if c:\\n\\td()", "if c:\n\td()\n", "one level of backslashes"),
        ("a\nb", "a\nb\n", "a\nc\n", "a\nc", ""),
    ],
)
def test_the_place_is_found(text: str, old: str, new: str, after: str, tolerance: str) -> None:
    assert edit(text, old, new) == (after, tolerance)


def test_lines_that_drifted_are_replaced_by_what_already_has_the_files_indentation() -> None:
    text = "f(\n\ta,\n\tb,\n)\n"
    assert apply_edit(text, "f(\n\t\ta,\n\tb,\n)", "f(\n\ta,\n\tc,\n)") == "f(\n\ta,\n\tc,\n)\n"


def test_all_exact_places_are_replaced_on_demand() -> None:
    assert apply_edit("x x\nx\n", "x", "y", replace_all=True) == "y y\ny\n"


@pytest.mark.parametrize(
    ("text", "old", "new", "reason", "hint"),
    [
        ("a\n", "", "b", "`old` is empty", "to make a file use `write`"),
        ("a\n", "a", "a", "`old` and `new` are the same: nothing to do", ""),
        ("a\nb\na\n", "a", "c", "`old` fits at more than one place", "it fits at lines 1, 3:\n1: a\n3: a"),
        ("aaa\n", "aa", "b", "`old` fits at more than one place", "it fits at lines 1, 1:"),
        (" a \nb\n a\t\n", " a\n", "c\n", "it fits at more than one place", "it fits at lines 1, 3:"),
        ("a\nb\nc\n", "a\n...\nc", "d", "`old` is not in the file", "the file has 'b', you sent '...'"),
        ("v = 1\n", "v = 2", "v = 3", "`old` is not in the file", "the file has 'v = 1', you sent 'v = 2'"),
        (
            "\t\tfoo\n",
            "\tfoo",
            "bar",
            "`old` is in the file only with another indentation",
            "the file has:\n'\\t\\tfoo'\ncopy it exactly",
        ),
        (
            "if a:\n    if b:\n        c()\n",
            "  if b:\n    c()",
            "      if b:\n        d()",
            "`old` is in the file only with another indentation",
            "the file has:\n'    if b:'",
        ),
        ('x = "a"\n', 'x = \\"a\\"', 'x = "b\\n"', "`old` is not in the file", ""),
    ],
)
def test_the_edit_is_refused(text: str, old: str, new: str, reason: str, hint: str) -> None:
    with pytest.raises(PatchRefused) as refusal:
        apply_edit(text, old, new)
    assert refusal.value.reason == reason
    assert hint in refusal.value.hint


def test_replace_all_takes_only_exact_places() -> None:
    with pytest.raises(PatchRefused, match="not in the file exactly"):
        apply_edit("a  \nb\n", "a\nb", "c", replace_all=True)


def test_a_region_shown_is_short_whatever_the_file() -> None:
    text = "".join(f"{'x' * 5000} {n}\n" for n in range(50))
    with pytest.raises(PatchRefused) as refusal:
        apply_edit(text, "x" * 5000 + " 7\nno such line", "y")
    assert len(str(refusal.value)) < 1800
