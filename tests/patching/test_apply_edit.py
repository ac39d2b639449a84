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
        ('x = "a"\n', 'x = \\"a\\"', 'x = "b\\n"', 'x = "b\\n"\n', "one level of backslashes"),
        ("p('a')\n", "p(\u2018a\u2019)", "p('b')", "p('b')\n", "look-alike characters"),
        ("p('a')\n", "p(\u2019a\u2019)", "p(\u2019b\u2019)", "p('b')\n", "look-alike characters"),
        (
            "It\u2019s \u201cso\u201d here\n",
            'It\'s "so" here',
            'It\'s "no" here',
            "It\u2019s \u201cno\u201d here\n",
            "look-alike characters",
        ),
        (
            "f(a, b)\n",
            "f\uff08a\uff0cb\uff09".replace("\uff0c", "\uff0c "),
            "g()",
            "g()\n",
            "look-alike characters",
        ),
        ("if a:\n\tb\n", "if a:\n    b", "if a:\n    b\n    c", "if a:\n\tb\n\tc\n", "indentation"),
        ("if a:\n    b\n", "if a:\n\tb", "if a:\n\tb\n\t\tc", "if a:\n    b\n        c\n", "indentation"),
        (
            "a:\n    b:\n        c\n",
            "a:\n  b:\n    c",
            "a:\n  b:\n    d",
            "a:\n    b:\n        d\n",
            "indentation",
        ),
        ("\ta(1,\n\t  2)\n", "    a(1,\n      2)", "    a(1,\n      3)", "\ta(1,\n\t  3)\n", "indentation"),
        ("a\nb\nc\n", "    2\tb\n    3\tc", "B\nc", "a\nB\nc\n", "line numbers"),
        ("a\n\tb\n", "1: a\n2: \tb", "1: a\n2: \tB", "a\n\tB\n", "line numbers"),
        ("a\nb\n", "```py\na\nb\n```", "```py\na\nc\n```", "a\nc\n", "a code fence"),
        ("a -> b\n", "a -&gt; b", "a -&gt; c", "a -> c\n", "HTML entities"),
        ("a\nb\n", "\n\nb\n\n", "\n\nc\n\n", "a\nc\n", "blank lines around it"),
    ],
)
def test_the_place_is_found(text: str, old: str, new: str, after: str, tolerance: str) -> None:
    assert edit(text, old, new) == (after, tolerance, 1)


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
        (" a \nb\n a\t\n", " a\n", "c\n", "`old` fits at more than one place", "it fits at lines 1, 3:"),
        ("a\nb\nc\n", "a\n...\nc", "d", "`old` leaves out lines", "it has '...'"),
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
        ('x = "a"\n', 'x = \\"a\\"', 'x = "b" \\"', "`old` is not in the file", ""),
        (
            "a\nb\n",
            "a",
            "a\n# ... existing code ...\nc",
            "`new` leaves out code",
            "it has '# ... existing code ...'",
        ),
        (
            "a\nfirst second third\n",
            "b",
            "first second third",
            "already applied: `new` stands at line 2",
            "go on",
        ),
        (
            "def f():\n    return call_it(argument)\n",
            "def f():",
            "def f():\n    return call_it(argument)",
            "already applied: `new` stands at line 1",
            "go on",
        ),
        ("a \u2019\nb\na \u2018\n", "a '", "c", "`old` fits at more than one place", "it fits at lines 1, 3"),
        ("a\n\nx\nb\nc\n", "a\n\n\nb\n", "a\n\n\nd\n", "`old` is not in the file", "nearest lines"),
        ("\n\nx\nb\nc\n", "\n\nb\n", "\n\nd\n", "`old` is not in the file", "nearest lines"),
        ("```\na\nb\n```\n", "```\na\n```", "```\nc\n```", "`old` is not in the file", "nearest lines"),
        (
            "It\u2019s a\n",
            "It's a",
            "It's a\nb = 'c'",
            "`old` is in the file only with other characters",
            "the file has:\n'It\u2019s a'",
        ),
        ("x\n\n\ty\n\n", "\n", "z", "`old` fits at more than one place", "it fits at lines 1, 2, 3, 4"),
        (
            "\t\tfoo = 1\n",
            "foo = 1",
            "foo = 1\n\tbar = 2",
            "`old` begins inside the indentation of its line",
            "whole lines",
        ),
        (
            "a:\n        }\n    }\nb\n",
            "        }\nb",
            "        }\nc",
            "`old` seems to leave out a line",
            "copy both",
        ),
    ],
)
def test_the_edit_is_refused(text: str, old: str, new: str, reason: str, hint: str) -> None:
    with pytest.raises(PatchRefused) as refusal:
        apply_edit(text, old, new)
    assert refusal.value.reason == reason
    assert hint in refusal.value.hint


def test_replace_all_takes_one_loose_place_but_not_several() -> None:
    assert apply_edit("a  \nb\n", "a\nb", "c", replace_all=True) == "c\n"
    with pytest.raises(PatchRefused, match="fits at more than one place"):
        apply_edit("a  \nb\na\t\nb\n", "a\nb", "c", replace_all=True)


def test_replace_all_takes_places_with_either_line_end() -> None:
    assert edit("a\r\nb\r\na\nb\n", "a\nb", "c\nd", True) == ("c\r\nd\r\nc\nd\n", "line endings", 2)


def test_one_line_gets_the_line_end_of_its_place() -> None:
    assert apply_edit("a\r\nb\nc\r\n", "b", "x\ny") == "a\r\nx\ny\nc\r\n"
    assert apply_edit("a\r\nb\nc\r\n", "c", "x\r\ny") == "a\r\nb\nx\r\ny\r\n"


def test_a_region_shown_is_short_whatever_the_file() -> None:
    text = "".join(f"{'x' * 5000} {n}\n" for n in range(50))
    with pytest.raises(PatchRefused) as refusal:
        apply_edit(text, "x" * 5000 + " 7\nno such line", "y")
    assert len(str(refusal.value)) < 1800


def test_line_numbers_in_the_new_lines_alone_are_not_written() -> None:
    with pytest.raises(PatchRefused, match="has line numbers"):
        apply_edit("def f():\n    a\n    b\n", "    a\n    b", "2\t    c\n3\t    b")
    assert apply_edit("a\nb\n", "a\nb", "1. a\n2. b") == "1. a\n2. b\n"


@pytest.mark.parametrize("new", ["```py\nb = 2\n```", "```\nb = 2\n```\n", "b = 2\n```", "```python\nb = 2"])
def test_a_code_fence_round_new_alone_comes_into_files_that_have_fences_only(new: str) -> None:
    with pytest.raises(PatchRefused, match="`new` is in a code fence, `old` is not"):
        apply_edit("a = 1\nb = 1\n", "b = 1", new, path="src/f.py")
    assert apply_edit("a = 1\nb = 1\n", "b = 1", new, path="docs/F.MD") == f"a = 1\n{new}\n"
    assert apply_edit('"""\n```\na\n```\n"""\nb = 1\n', "b = 1", new) == f'"""\n```\na\n```\n"""\n{new}\n'
