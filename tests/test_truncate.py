from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from glm_agent.truncate import clip_line, head_tail

MARKER = re.compile(r"\n?\[\.\.\. (?:([\d,]+) lines, )?([\d,]+) bytes omitted \.\.\.\]\n")


def test_text_within_the_limit_is_untouched() -> None:
    assert head_tail("a\n" * 8, head=10, tail=6) == "a\n" * 8


def test_the_cut_is_between_lines_and_counted() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    assert head_tail(text, 20, 30) == (
        "line 0\nline 1\n[... 995 lines, 8,849 bytes omitted ...]\nline 997\nline 998\nline 999\n"
    )


def test_one_long_line_is_cut_at_characters() -> None:
    assert head_tail("é" * 100, 5, 7) == "éé\n[... 190 bytes omitted ...]\nééé"


@given(st.text(max_size=400), st.integers(1, 60), st.integers(1, 60))
@example("0\n0", 1, 1)
@example("a\n\U0001f600\n" * 50, 7, 9)
@example("\ud800" * 100, 7, 9)
def test_counts_are_honest_and_sizes_bounded(text: str, head: int, tail: int) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    cut = head_tail(text, head, tail)
    if size <= head + tail:
        assert cut == text
        return
    data = text.encode("utf-8", "surrogatepass")
    for found in MARKER.finditer(cut):
        start, end = (cut[: found.start()] + "\n" * found[0].startswith("\n"), cut[found.end() :])
        told = [int((count or "0").replace(",", "")) for count in found.groups()]
        for own in (start, start.removesuffix("\n")):  # the line end before the marker may be the text's own
            first, last = (len(part.encode("utf-8", "surrogatepass")) for part in (own, end))
            dropped = data[first : size - last]
            is_honest = told == [dropped.count(b"\n"), len(dropped)]
            if is_honest and text.startswith(own) and text.endswith(end) and first <= head and last <= tail:
                return
    raise AssertionError(f"no honest marker in {cut!r}")


def test_a_long_line_is_clipped_and_says_so() -> None:
    assert clip_line("short", 5) == "short"
    assert clip_line("abcdefgh", 5) == "abcde… [3 more characters]"


def test_a_line_is_clipped_around_what_matters() -> None:
    line = "a" * 1000 + "NEEDLE" + "b" * 1000
    clipped = clip_line(line, 40, around=1000)
    assert clipped == f"[990 characters] …{'a' * 10}NEEDLE{'b' * 24}… [976 more characters]"
    assert clip_line("x" * 95 + "NEEDL", 40, around=95) == f"[60 characters] …{'x' * 35}NEEDL"
