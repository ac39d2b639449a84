"""Where a patch ends, what its headers cost to read, and marks that stand for something else."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from glm_agent.patching import PatchRefused, apply_patch

HEAD = "--- a/f\n+++ b/f\n"


@pytest.mark.parametrize(
    ("before", "patch"),
    [
        ("<a>\n</a>\n", HEAD + "@@ -1,2 +1,5 @@\n <a>\n+<div>\n+<p>x</p>\n</div>\n </a>\n"),
        ("<a>\n</a>\n", HEAD + "@@ @@\n <a>\n </a>\n+<div>\n+<p>x</p>\n</div>\n"),
        ("text\n", HEAD + "@@ -1 +1,5 @@\n text\n+\n+```sh\n+ls\n```\n"),
        ("text\n", "```diff\n" + HEAD + "@@ -1 +1,5 @@\n text\n+\n+```sh\n+ls\n```\n```\n"),
    ],
)
def test_a_last_line_that_lost_its_mark_is_not_taken_for_the_end(before: str, patch: str) -> None:
    with pytest.raises(PatchRefused):
        apply_patch(patch, {"f": before})


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ("<a>\n</a>\n", "<patch>\n" + HEAD + "@@ @@\n <a>\n+<p>\n </a>\n</patch>\n", "<a>\n<p>\n</a>\n"),
        (
            "```\nls\nx\n```\n",
            "```diff\n" + HEAD + "@@ @@\n-```\n+```sh\n ls\n```\nDone.",
            "```sh\nls\nx\n```\n",
        ),
        ("a\n", HEAD + "@@ @@\n-a\n+b\n</arg_value></tool_call>", "b\n"),
        ("a\n", HEAD + "@@ @@\n-a\n+b\n<|endoftext|>", "b\n"),
    ],
)
def test_what_a_patch_travelled_in_is_left_out(before: str, patch: str, after: str) -> None:
    assert apply_patch(patch, {"f": before}) == {"f": after}


def test_the_diff_of_a_merge_is_refused() -> None:
    with pytest.raises(PatchRefused, match="diff of a merge"):
        apply_patch(HEAD + "@@@ -1,2 -1,2 +1,3 @@@\n  a\n++b\n  c\n", {"f": "a\nc\n"})


@pytest.mark.parametrize(
    "patch",
    [
        HEAD + "@@" + " " * 100_000 + "-1 +1 x\n-k\n+x\n",
        "--- a/f" + " " * 100_000 + "x\n+++ b/f\n@@ @@\n-k\n+x\n",
        "".join(f"--- a/{n}\n+++ b/{n}\n@@ -1 +1 @@\n-a\n+b\n" for n in range(3000)),
    ],
    ids=["header", "name", "files"],
)
def test_headers_are_read_in_linear_time(patch: str) -> None:
    start = time.process_time()
    with suppress(PatchRefused):
        apply_patch(patch, {"f": "k\n"})
    assert time.process_time() - start < 1.5
