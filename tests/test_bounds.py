"""What breaks which bound, and how that is said."""

from __future__ import annotations

import pytest

from glm_agent.bounds import Bounds, breaches, said
from glm_agent.types import Json


def row(path: str, kind: str = "update", added: int | None = 1, removed: int | None = 1, **more: str) -> Json:
    return {"path": path, "kind": kind, "added": added, "removed": removed, **more}


def broken(bounds: Bounds, *rows: Json) -> list[tuple[str, str | None]]:
    return [(breach["rule"], breach["path"]) for breach in breaches(rows, bounds, {})]


MOVED = row("src/b.py", "rename", 0, 0, **{"from": "tests/a.py"})


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        (Bounds(), []),
        (Bounds(only=(("src/**", "tests/**"),)), []),
        (Bounds(only=(("src/**",),)), [("only", "tests/a.py")]),
        (Bounds(only=(("src/**", "tests"), ("*.py",))), []),
        (Bounds(only=(("src/**", "tests"), ("*.js",))), [("only", "tests/a.py"), ("only", "src/b.py")]),
        (Bounds(protect=("tests",)), [("protect", "tests/a.py")]),
        (Bounds(protect=("src/b.py", "src")), [("protect", "src/b.py")]),
        (Bounds(max_diff_lines=0), []),
    ],
)
def test_both_names_of_what_moved_count(bounds: Bounds, found: list[tuple[str, str]]) -> None:
    assert broken(bounds, MOVED) == found


def test_a_new_binary_file_is_a_breach_unless_it_is_allowed() -> None:
    new, changed = row("a.bin", "create", None, None), row("b.bin", "update", None, None)
    assert broken(Bounds(), new, changed) == [("binary", "a.bin")]
    assert broken(Bounds(allow_binary=True), new, changed) == []


def test_lines_count_that_were_added_or_removed() -> None:
    rows = [row("a.py", added=3, removed=2), row("b.bin", "update", None, None)]
    assert broken(Bounds(max_diff_lines=5), *rows) == []
    assert breaches(rows, Bounds(max_diff_lines=4), {}) == [
        {
            "rule": "max_diff_lines",
            "path": None,
            "detail": "5 lines were added or removed, 4 are allowed",
        }
    ]


def test_a_breach_says_where_in_the_file() -> None:
    marks = {"tests/a.py": ["old mode 100644", "new mode 100755", "@@ -1 +1 @@"]}
    assert breaches([row("tests/a.py")], Bounds(protect=("tests", "*.py")), marks) == [
        {
            "rule": "protect",
            "path": "tests/a.py",
            "detail": "updated, old mode 100644, new mode 100755, @@ -1 +1 @@; fits tests or *.py",
        }
    ]
    long = breaches([row("a")], Bounds(protect=("a",)), {"a": ["@@ -1 +1 @@ " + "x" * 99] * 20})[0]["detail"]
    assert len(long) < 400 and long.endswith(" …; fits a")


def test_many_breaches_are_said_in_few_lines_and_each_in_one() -> None:
    found = breaches([row(f"a\n{number}") for number in range(12)], Bounds(protect=("**",)), {})
    lines = said(found)
    assert (len(lines), lines[-1]) == (11, "and 2 more breaches of the bounds")
    assert lines[0] == "against --protect: 'a\\n0': updated; fits **"


def test_the_model_is_told_only_what_somebody_asked_for() -> None:
    assert Bounds().told() is None and Bounds(allow_binary=True).told() is None
    text = Bounds(only=(("a", "b"), ("c",)), protect=("d",), max_diff_lines=9).told() or ""
    assert text.split("\n")[1:] == [
        "- only files that fit a or b may change",
        "- only files that fit c may change",
        "- no file that fits d may change, appear, move or go",
        "- at most 9 lines may be added or removed in all",
        "- no new binary file may appear",
    ]
