from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glm_agent.citations import Citation, check, find


def cited(text: str) -> list[str]:
    """What `text` certainly cites."""
    return [str(citation) for citation in find(text) if citation.certain]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("It subtracts (calc.py:2).", ["calc.py:2"]),
        ("`src/a.py:3-7`, **b.ts:1**: and 'c.go:5'", ["src/a.py:3-7", "b.ts:1", "c.go:5"]),
        ("a.py:10:5 and b.py:10:5-12:8", ["a.py:10", "b.py:10-12"]),
        ("a.py:L5, b.py:L5-L9, c.py:3\u20134", ["a.py:5", "b.py:5-9", "c.py:3-4"]),
        ("[x](a/b.py#L10) [y](c.py#L10-L20) d.rs#L1C2-L3C4", ["a/b.py:10", "c.py:10-20", "d.rs:1-3"]),
        ("[`a.py:3`](https://x.example/blob/main/b.py#L9)", ["a.py:3"]),
        ("`a.py`, line 10; b.py (lines 3\u20135). See c.py at line 4", ["a.py:10", "b.py:3-5", "c.py:4"]),
        ("In **d.py** lines 1 to 2, e.py: line 7.", ["d.py:1-2", "e.py:7"]),
        ("./a.py:1 /abs/a.py:1 ../a.py:1", ["./a.py:1", "/abs/a.py:1", "../a.py:1"]),
        (".gitignore:2, .github/workflows/ci.yml:3", [".gitignore:2", ".github/workflows/ci.yml:3"]),
        ("a.py:2—it; a.py:2's; once more a.py:2", ["a.py:2"]),
        ("naïve/größe.py:2 and 日本.py:3", ["naïve/größe.py:2", "日本.py:3"]),
    ],
)
def test_places_are_found_however_they_are_written(text: str, places: list[str]) -> None:
    assert cited(text) == places


@pytest.mark.parametrize(
    "text",
    [
        "at 12:30 or 2026-11-21T12:30:45",
        "localhost:8080, 127.0.0.1:8080, [::1]:80, example.com:443, db.internal:5432",
        "https://host.example:8080/a/b.py:10, http://h/a.py#L3 and www.example.com/a.py:3",
        "https://en.example.org/wiki/X_(y)/a.py:10",
        "python:3.11, v1.2.3:4, 1.2.3:4, node:18, a.py:3.5",
        "tests/test_a.py::test_b, and/or:5, std::vec:3",
        "see line 10, on line 3",
        "a.py:x, a.py:, a.py:12345678901, C:\\a.py:3",
    ],
)
def test_what_only_looks_like_one_is_none(text: str) -> None:
    assert cited(text) == []


def test_what_may_be_one_counts_if_there_is_such_a_file() -> None:
    lines = {"Makefile": 9, "a.py": 2}
    found = find("Makefile:3, Makefile:10, host:8080, a.py:3, b.py:1, a.py:2-1, a.py:0, a.py:1-2")
    checked = check(found, lambda path: lines.get(path, "no_such_file"))
    assert [(str(one.citation), one.status) for one in checked] == [
        ("Makefile:3", "verified"),
        ("Makefile:10", "no_such_line"),
        ("a.py:3", "no_such_line"),
        ("b.py:1", "no_such_file"),
        ("a.py:2-1", "no_such_line"),
        ("a.py:0", "no_such_line"),
        ("a.py:1-2", "verified"),
    ]


def test_a_file_is_looked_at_once() -> None:
    looked: list[str] = []

    def lines_of(path: str) -> int:
        looked.append(path)
        return 5

    check(find("a.py:1 b.py:1 a.py:2 a.py:3-4"), lines_of)
    assert looked == ["a.py", "b.py"]


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}(/[a-z]{1,8}){0,2}\.(py|ts|rs|md)", fullmatch=True)
LINES = st.integers(1, 10**6)
SHAPES = (
    "{}:{}",
    "`{}:{}`",
    "({}:{})",
    "**{}:{}**",
    "[x]({}#L{})",
    "`{}`, line {}",
    "{} (line {})",
    "{}:{}:4",
)


@given(
    st.lists(st.tuples(NAMES, LINES, st.sampled_from(SHAPES)), max_size=6), st.sampled_from([" ", ", ", "\n"])
)
def test_what_is_written_is_what_is_found(written: list[tuple[str, int, str]], between: str) -> None:
    text = between.join(shape.format(path, line) for path, line, shape in written)
    assert find(text) == list(dict.fromkeys(Citation(path, line, line) for path, line, _ in written))


@given(st.text() | st.text("a.py:10#L-\u2013, line`[]()/w", max_size=60))
@example("x.y:1" + "\udcff")
def test_any_text_is_read_and_each_place_stands_in_it(text: str) -> None:
    for citation in find(text):
        assert citation.path in text
        assert {str(citation.line), str(citation.end_line)} <= {
            number.lstrip("0") or "0" for number in digits(text)
        }


def digits(text: str) -> list[str]:
    return re.findall(r"[0-9]+", text)


@given(
    st.from_regex(
        r"(https?|ssh|file)://[a-z.]{1,9}(:[0-9]{2})?/[a-z/()#.]{0,9}a\.py(:[0-9]{1,3}|#L[0-9])",
        fullmatch=True,
    )
)
def test_nothing_in_a_url_is_a_place(url: str) -> None:
    assert find(f"see {url} and <{url}>, [x]({url})") == []


@pytest.mark.parametrize(
    "part", ["a", "a.py:1", "a.py:", ":1", "://", "a://", "(a.py, ", "a.py, line ", "x.", "1-"]
)
def test_a_long_text_costs_its_length(part: str) -> None:
    def seconds(size: int) -> float:
        text = part * (size // len(part))
        start = time.process_time()
        find(text)
        return time.process_time() - start

    assert seconds(100_000) < 1.0  # of the order of 0.05; were it quadratic, minutes
