"""What holds for every text: a diff gives the second one, and nothing but a refusal is ever raised."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import diffs
import pytest
from diffs import diff
from hypothesis import assume, given
from hypothesis import strategies as st
from running import first_fast

from glm_agent.patching import PatchRefused, apply_edit, apply_patch, paths, plan

T = TypeVar("T")

_LINES = st.sampled_from(
    [
        "",
        "a",
        "b",
        "  a",
        "\ta",
        "}",
        "--- a/f",
        "+++ b/f",
        "@@ -1 +1 @@",
        "-- x",
        "```",
        "\\ No newline",
        "a\x0cb",
        "\u2028c",
    ]
)


def _page(lines: list[str], end: str, final: bool) -> str:
    return end.join(lines) + (end if final and lines else "")


_ENDS = st.sampled_from(["\n", "\r\n"])
_PAGES = st.builds(_page, st.lists(_LINES, max_size=14), _ENDS, st.booleans())


_ANY_LINES = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(diffs.INDENTS),
        st.sampled_from(diffs.WORDS) | st.text(max_size=4),
        st.sampled_from(["\n", "\n", "\r\n"]),
    ),
    max_size=16,
)


def _ended(rows: list[str], bare: bool) -> str:
    return "".join(rows).removesuffix("\n" * bare)


_ANY = st.builds(_ended, _ANY_LINES, st.booleans())


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[str, str]:
    """Two texts without any mercy, often much alike."""
    kept = draw(_ANY_LINES)
    old, new = draw(_ANY), draw(_ANY)
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(kept)))
        old, new = ("".join([*kept[:cut], part, *kept[cut:]]) for part in (old, new))
    assume(old != new)
    return old, new


_NOISE = st.text(st.sampled_from("+-@ \\\n\r\tab1,/\"'`~*<>\u2028\x00\ud800"), max_size=200)


@given(_pairs(), st.integers(0, 5))
def test_a_diff_gives_the_second_text_and_its_reverse_the_first(pair: tuple[str, str], context: int) -> None:
    old, new = pair
    patch = diff(old, new, context)
    for before, after, reverse in ((old, new, False), (new, old, True)):
        why = diffs.doubt(patch, before, reverse)
        found = outcome(lambda before=before, reverse=reverse: apply_patch(patch, {"f": before}, reverse))
        assert why == "elsewhere" or found == {"f": after} or (why and found == "refused")


@given(st.lists(_pairs(), min_size=2, max_size=4), st.integers(1, 5))
def test_that_holds_for_several_files_at_once(pairs: list[tuple[str, str]], context: int) -> None:
    old = {f"f{number}": old for number, (old, _) in enumerate(pairs)}
    new = {f"f{number}": new for number, (_, new) in enumerate(pairs)}
    parts = [diff(old[name], new[name], context, name) for name in old]
    for before, after, reverse in ((old, new, False), (new, old, True)):
        doubts = [diffs.doubt(part, before[name], reverse) for part, name in zip(parts, old, strict=True)]
        found = outcome(lambda before=before, reverse=reverse: apply_patch("".join(parts), before, reverse))
        assert found == after or (any(doubts) and found == "refused")


@given(st.text(max_size=80), st.text(max_size=80), st.integers(1, 5))
def test_that_holds_for_any_characters(old: str, new: str, context: int) -> None:
    assume(old != new)
    assert apply_patch(diff(old, new, context), {"f": old}) == {"f": new}
    assert apply_patch(diff(old, new, context), {"f": new}, reverse=True) == {"f": old}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_diff_of_trees_by_git_gives_the_second_tree_and_its_reverse_the_first(tmp_path: Path) -> None:
    repository = diffs.Repository(tmp_path)
    for seed in range(400):
        rng = random.Random(seed)
        before, after = diffs.tree(rng)
        assume_changed = before != after
        options = (rng.choice(diffs.OPTIONS), f"-U{rng.randint(0, 5)}", rng.choice(diffs.STYLES))
        patch = repository.diff(before, after, *options)
        if assume_changed and ("-B" not in options or repository.takes(patch, before, after)):
            assert diffs.verdict(patch, before, after) == "right", (seed, patch)
            if "\ncopy from " not in patch:  # the copied text is not in it
                assert diffs.verdict(patch, before, after, reverse=True) == "right", (seed, patch)


@given(_pairs())
def test_wrong_numbers_and_counts_give_the_same_or_a_refusal(pair: tuple[str, str]) -> None:
    old, new = pair
    marred = "\n".join("@@ @@" if line.startswith("@@ -") else line for line in diff(old, new, 9).split("\n"))
    assert outcome(lambda: apply_patch(marred, {"f": old})) in ({"f": new}, "refused")


@given(_PAGES, st.integers(0, 14), st.sampled_from("+-@ \\\nx"), st.integers(0, 300))
def test_one_wrong_character_in_a_patch_never_touches_what_the_patch_does_not_name(
    old: str, at: int, character: str, place: int
) -> None:
    lines = old.split("\n")
    lines.insert(min(at, len(lines)), "added here")
    patch = diff(old, "\n".join(lines), 2)
    place = min(place, len(patch))
    marred = patch[:place] + character + patch[place + 1 :]
    after = outcome(lambda: apply_patch(marred, {"f": old, "g": "other\n"}))
    assert after == "refused" or "g" not in after


@given(_NOISE)
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    files = {"f": "a\nb\n", "a": "1\n"}
    for patch in (
        text,
        f"--- a/f\n+++ b/f\n{text}",
        f"diff --git a/f b/f\n{text}",
        f"--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n{text}",
    ):
        outcome(lambda patch=patch: apply_patch(patch, files))
        outcome(lambda patch=patch: paths(patch))


@given(_PAGES, _NOISE, _NOISE, st.booleans())
def test_no_edit_raises_anything_but_a_refusal(text: str, old: str, new: str, everywhere: bool) -> None:
    outcome(lambda: apply_edit(text, old, new, everywhere))


@given(st.integers(1, 60), st.integers(9, 30), _NOISE)
def test_an_edit_of_text_that_stands_once_replaces_just_that(at: int, length: int, new: str) -> None:
    text = "".join(f"{word} = {word}s()\n" for word in ("alpha", "beta", "gamma", "delta", "eps"))
    old = text[at : at + length]
    assume(text.count(old) == 1 and new != old)
    ends_kept = new.replace("\r\n", "\n")
    assume(old != ends_kept)
    assert apply_edit(text, old, new) == text[:at] + ends_kept + text[at + length :]


@given(_PAGES, _PAGES)
def test_a_patch_written_as_json_text_or_in_a_fence_or_with_crlf_means_the_same(old: str, new: str) -> None:
    assume(old != new and "\r" not in old + new)
    patch = diff(old, new)
    for disguised in (
        json.dumps(patch),
        patch.replace("\n", "\r\n"),
        f"Here it is:\n\n```diff\n{patch}```\nThat is all.\n",
    ):
        assert outcome(lambda disguised=disguised: apply_patch(disguised, {"f": old})) in (
            {"f": new},
            "refused",
        )


@pytest.mark.parametrize(
    ("text", "patch"),
    first_fast(
        ("x\n" * 100_000, "@@\n" + " x\n" * 10_000 + "+y\n"),
        (("a\n" * 999 + "b\n") * 100, "@@\n" + " a\n" * 1000 + "+y\n"),
        ("x" * 1_000_000 + "\n", "@@\n-" + "x" * 999_999 + "\n+y\n"),
        ("x\n" * 100_000, "".join(f"@@ -{n * 9 + 1} +1 @@\n-x\n+y\n" for n in range(10_000))),
        (
            "".join(f"line {n}\n" for n in range(100_000)),
            "@@\n" + "".join(f" lime {n}\n" for n in range(9000)) + "+y\n",
        ),
        ("(" * 100_000, "@@\n" + "\n" * 100_000 + "+y\n"),
        keep=2,
    ),
    ids=["identical lines", "almost periodic", "one long line", "many hunks", "nothing fits", "blank lines"],
)
def test_pathological_input_takes_seconds_at_most(text: str, patch: str) -> None:
    start = time.process_time()
    outcome(lambda: plan(f"--- a/f\n+++ b/f\n{patch}", {"f": text}))
    assert time.process_time() - start < 5


@pytest.mark.parametrize("old", first_fast("x\n" * 50_000, "x" * 1_000_000, "\n" * 100_000, " \\n" * 100_000))
def test_pathological_edits_take_seconds_at_most(old: str) -> None:
    start = time.process_time()
    outcome(lambda: apply_edit("x\n" * 100_000 + "x" * 999_999 + "y", old, "z"))
    assert time.process_time() - start < 5


def test_an_oversized_patch_is_refused() -> None:
    with pytest.raises(PatchRefused, match="longer than"):
        apply_patch("--- a/f\n+++ b/f\n@@\n" + "+x\n" * 2_000_000, {"f": ""})


def outcome(action: Callable[[], T]) -> T | str:
    try:
        return action()
    except PatchRefused as refusal:
        assert "\n" not in refusal.reason
        assert len(refusal.hint) < 4000
        return "refused"
