"""Diffs as programs write them: what fits to the byte goes in as it is, unless it may mean another thing."""

from __future__ import annotations

from hashlib import sha1

import pytest

from glm_agent.patching import FileChange, PatchRefused, apply_patch, paths, plan
from glm_agent.patching.change import Placed

HEAD = "--- a/f\n+++ b/f\n"
_RENAMES = "diff --git a/{0} b/{1}\nsimilarity index 100%\nrename from {0}\nrename to {1}\n"
_TABS = "all:\n\tmake\n\nend:\n\n"
_CRLF = "a\r\nb\r\nc\r\n"


def _index(text: str) -> str:
    data = text.encode()
    name = sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return f"index 0000000..{name[:7]} 100644\n"


@pytest.mark.parametrize(
    ("patch", "before", "after"),
    [
        (HEAD + "@@ -1,2 +1,2 @@\n-a\r\n+a\n b\r\n", "a\r\nb\r\n", "a\nb\r\n"),
        (HEAD + "@@ -1,2 +1,2 @@\n a\n-b\n+b\r\n", "a\nb\n", "a\nb\r\n"),
        (HEAD + "@@ -1 +1 @@\n-a\r\n+a\r\n\\ No newline at end of file\n", "a\r\n", "a\r"),
        (HEAD + "@@ -1 +1 @@\n-a\n+a &gt; <b>\n", "a\n", "a &gt; <b>\n"),
        (HEAD + '@@ -1 +1 @@\n-a\n+"a" &quot;\n', "a\n", '"a" &quot;\n'),
        (HEAD + "@@ -1,3 +1,4 @@\n \n+    x\n \n \n", "\n\n\n\n\n", "\n    x\n\n\n\n\n"),
        (HEAD + "@@ -2,0 +3 @@\n+c\n", "a\nb\n", "a\nb\nc\n"),
        (HEAD + "@@ -1 +0,0 @@\n-a\n@@ -2,0 +2 @@\n+c\n", "a\nb\n}\n", "b\nc\n}\n"),
        (HEAD + "@@ -0,0 +1 @@\n+&amp;\n", "", "&amp;\n"),
        (HEAD + "@@ -1,2 +1 @@\n a\n-\x85\n", "a\n\x85\n", "a\n"),
    ],
    ids=[
        *("crlf to lf", "lf to crlf", "a bare cr", "entities", "quotes", "only blank lines", "at the end"),
        *("vouched for", "empty", "next line"),
    ],
)
def test_what_fits_is_put_in_as_it_is(patch: str, before: str, after: str) -> None:
    assert apply_patch(patch, {"f": before}) == {"f": after}
    assert apply_patch(patch, {"f": after}, reverse=True) == {"f": before}


@pytest.mark.parametrize(
    ("body", "before", "after", "without"),
    [
        ("@@ -1 +1 @@\n-a\n+&gt;\n", "a\n", "&gt;\n", "its added lines look like escaped HTML"),
        (
            "@@ -3,3 +3,4 @@\n \n+    make\n end:\n \n",
            _TABS,
            "all:\n\tmake\n\n    make\nend:\n\n",
            "no line of the file is indented as the added lines are",
        ),
        ("@@ -1,0 +2 @@\n+x\n", "a\nb\n", "a\nx\nb\n", "nothing says where it belongs"),
        ("@@ -2 +2 @@\n-\n+x\n", "a\n\n}\n\n", "a\nx\n}\n\n", None),
        ("@@ -1,2 +1,2 @@\n\n-a\n+&gt;\n", "\na\n", "\n&gt;\n", "its added lines look like escaped HTML"),
        ("@@ -1,0 +2 @@\n+x\n", _CRLF, "a\r\nx\nb\r\nc\r\n", "nothing says where it belongs"),
    ],
    ids=[
        "entities",
        "indentation",
        "a place by number",
        "a blank line by number",
        "a lost space",
        "line ends",
    ],
)
def test_what_fits_and_may_be_meant_otherwise_takes_the_name_of_the_new_content(
    body: str, before: str, after: str, without: str | None
) -> None:
    git = "diff --git a/f b/f\n"
    assert apply_patch(git + _index(after) + HEAD + body, {"f": before}) == {"f": after}
    for patch in (HEAD + body, git + _index(after + "\n") + HEAD + body):
        if without is None:
            assert apply_patch(patch, {"f": before}) == {"f": after}
            continue
        with pytest.raises(PatchRefused) as refusal:
            apply_patch(patch, {"f": before})
        assert refusal.value.reason == without


@pytest.mark.parametrize(
    ("patch", "before", "after"),
    [
        (_RENAMES.format("a", "b") + _RENAMES.format("b", "c"), "ab", {"a": None, "b": "a\n", "c": "b\n"}),
        (_RENAMES.format("a", "b") + _RENAMES.format("b", "a"), "ab", {"a": "b\n", "b": "a\n"}),
        (_RENAMES.format("a", "A"), "a", {"a": None, "A": "a\n"}),
        (
            "diff --git a/a b/a\ndeleted file mode 100644\nindex 7898192..0000000\n--- a/a\n+++ /dev/null\n"
            "@@ -1 +0,0 @@\n-a\n"
            "diff --git a/a b/a\nnew file mode 100755\nindex 0000000..587be6b\n--- /dev/null\n+++ b/a\n"
            "@@ -0,0 +1 @@\n+x\n",
            "a",
            {"a": "x\n"},
        ),
        (
            _RENAMES.format("a", "b") + "--- a/a\n+++ b/b\n@@ -1 +1 @@\n-a\n+x\n" + _RENAMES.format("b", "a"),
            "ab",
            {"a": "b\n", "b": "x\n"},
        ),
    ],
    ids=["a chain", "a swap", "only the case", "deleted and made", "a swap with a change"],
)  # fmt: skip
def test_files_change_places_in_one_patch(patch: str, before: str, after: dict[str, str | None]) -> None:
    files = {name: f"{name}\n" for name in before}
    assert apply_patch(patch, files) == after
    then = {path: text for path, text in (files | after).items() if text is not None}
    back = {path: files.get(path) for path in after}
    assert apply_patch(patch, then, reverse=True) == back


def test_a_name_is_not_taken_twice() -> None:
    for patch in (
        _RENAMES.format("a", "c") + _RENAMES.format("b", "c"),
        _RENAMES.format("a", "c") + _RENAMES.format("a", "d"),
        _RENAMES.format("a", "c") + _RENAMES.format("b", "C"),
        _RENAMES.format("a", "b"),
        _RENAMES.format("a", "B"),
    ):
        with pytest.raises(PatchRefused):
            apply_patch(patch, {"a": "a\n", "b": "b\n"})


def test_the_plan_names_modes_and_places() -> None:
    patch = "diff --git a/f b/f\nold mode 100644\nnew mode 100755\n" + HEAD + "@@ -2,2 +2,2 @@\n b\n-c\n+x\n"
    change = FileChange("f", "update", "a\nb\nx\n", None, 0o755, 1, 1, [Placed(2, "")])
    assert plan(patch, {"f": "a\nb\nc\n"}) == [change]
    gone = "diff --git a/f b/f\ndeleted file mode 100755\nindex e69de29..0000000\n"
    assert plan(gone, {"f": ""}) == [FileChange("f", "delete", None)]
    assert plan(gone, {}, reverse=True) == [FileChange("f", "create", "", None, 0o755)]


def test_odd_names_are_read_as_git_writes_them() -> None:
    head = 'diff --git "a/\\303\\251\\t" "b/\\303\\251\\t"\n--- "a/\\303\\251\\t"\n+++ "b/\\303\\251\\t"\n'
    assert paths(head + "@@ -1 +1 @@\n-a\n+b\n") == ["é\t"]
    trailing = "--- a/f \t\n+++ b/f \t\n@@ -1 +1 @@\n-a\n+b\n"
    assert apply_patch(trailing, {"f ": "a\n"}) == {"f ": "b\n"}


@pytest.mark.parametrize(
    "patch",
    [
        HEAD + "@@ -1,3 +1,4 @@\n a\n+x\n b\n c\n",  # the number is that of a twin
        HEAD + "@@ -5,3 +6,4 @@\n a\n+x\n b\n c\n",
        HEAD + "@@ -5,3 +5,4 @@ f\n a\n+x\n b\n c",
        "Here it is:\n" + HEAD + "@@ -5,3 +5,4 @@\n a\n+x\n b\n c\n",
        HEAD + "@@ -5,3 +5,9 @@\n a\n+x\n b\n c\n",
        HEAD + "@@ -5,2 +5,3 @@\n a\n+x\n b\n",  # git would take no such end of a hunk
    ],
)
def test_what_a_program_would_not_write_is_left_to_the_tolerant_reader(patch: str) -> None:
    text = "1\n2\n3\n4\na\nb\nc\nd\n"
    assert apply_patch(patch, {"f": text}) == {"f": "1\n2\n3\n4\na\nx\nb\nc\nd\n"}


def test_a_diff_without_context_or_its_last_newline_keeps_the_line_ends_of_the_file() -> None:
    last = "@@ -2 +2 @@\n-b\n\\ No newline at end of file\n+c\n"
    assert apply_patch(HEAD + last, {"f": "a\r\nb"}) == {"f": "a\r\nc\r\n"}
    assert apply_patch(HEAD + last, {"f": "a\nb"}) == {"f": "a\nc\n"}
    assert apply_patch(HEAD + "@@ -1 +1 @@\n-a\n+bc", {"f": "a\n"}) == {"f": "bc\n"}


@pytest.mark.parametrize(
    ("body", "before"),
    [
        ("@@ -2,2 +5,3 @@\n \n+x\n \n", "\n\n\n\n\n"),
        ("@@ -2,0 +3 @@\n+c\n", "a\nb"),
    ],
    ids=["numbers that contradict each other", "below a line that has no end"],
)
def test_a_place_that_the_numbers_do_not_give_is_not_taken(body: str, before: str) -> None:
    with pytest.raises(PatchRefused):
        apply_patch(HEAD + body, {"f": before})
