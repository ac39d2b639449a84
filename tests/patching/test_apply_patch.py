"""The engine's own promises: what is read, what is found, what is returned, beyond the scenario folders."""

from __future__ import annotations

import time

import pytest

from glm_agent.patching import FileChange, PatchRefused, apply_patch, paths, plan
from glm_agent.patching.change import Placed

HEAD = "--- a/f\n+++ b/f\n"
_ABOVE = "{} leads above the repository root; paths are relative to it"
_GITS = "{} is git's own; use `git` commands to look at history, never its files"
_OUTSIDE = "{} is outside the repository; paths are relative to its root"
_TWO_LINES = "the path 'a\\nb' holds '\\n'; give one path, without it"
_NO_OPERATION = "line 1 of the patch is no operation: '*** Frobnicate File: f'"


def test_only_what_changes_is_returned() -> None:
    patch = (
        HEAD
        + "@@ -1 +1 @@\n-a\n+b\n--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        + "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+n\n"
    )
    assert apply_patch(patch, {"f": "a\n", "old": "x\n", "other": "o\n"}) == {
        "f": "b\n",
        "old": None,
        "new": "n\n",
    }


def test_a_rename_is_one_file_gone_and_one_made() -> None:
    patch = (
        "diff --git a/f b/g\nold mode 100644\nnew mode 100755\nrename from f\nrename to g\n"
        + HEAD.replace("b/f", "b/g")
    )
    change = plan(patch + "@@ -1 +1 @@\n-a\n+b\n", {"f": "a\n"})
    assert change == [FileChange("f", "rename", "b\n", "g", 0o755, 1, 1, [Placed(1, "")])]
    assert apply_patch(patch + "@@ -1 +1 @@\n-a\n+b\n", {"f": "a\n"}) == {"f": None, "g": "b\n"}


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("--- a/x y.py\n+++ b/x y.py\n", ["x y.py"]),
        ("--- x.py\n+++ x.py\n", ["x.py"]),
        ("--- i/x.py\n+++ w/x.py\n", ["x.py"]),
        ("--- a/a/x.py\n+++ b/a/x.py\n", ["a/x.py"]),
        ("--- ./x.py\n+++ ./x.py\n", ["x.py"]),
        ("--- a/x.py\t2024-01-01 10:00:00\n+++ b/x.py\t2024-01-01 10:00:01\n", ["x.py"]),
        ('--- "a/caf\\303\\251.py"\n+++ "b/caf\\303\\251.py"\n', ["café.py"]),
        ("+++ b/x.py\n", ["x.py", "b/x.py"]),
        ("diff --git a/x.py b/x.py\nindex 1..2 100644\n", ["x.py"]),
        ("Index: x.py\n====\n--- x.py\t(revision 1)\n+++ x.py\t(working copy)\n", ["x.py"]),
        ("*** Begin Patch\n--- a/x.py\n+++ b/x.py\n", ["x.py"]),
    ],
)
def test_names_are_read_from_any_header(header: str, names: list[str]) -> None:
    assert paths(header + "@@ -1 +1 @@\n-a\n+b\n") == names


def test_context_keeps_the_bytes_of_the_file() -> None:
    text = "a\x0c\u2028b  \n\tc\t\nd\x85\n"
    assert apply_patch(HEAD + "@@\n a\x0c\u2028b\n \tc\n-d\x85\n+e\n", {"f": text}) == {
        "f": "a\x0c\u2028b  \n\tc\t\ne\n"
    }


@pytest.mark.parametrize(
    ("start", "expected"),
    [(100, "refused"), (51, 50), (48, 50), (50, 50), (56, "refused"), (90, "refused"), (120, 120)],
)
def test_a_number_decides_only_near_one_place_and_far_from_the_others(
    start: int, expected: int | str
) -> None:
    lines = [f"line {n}" for n in range(1, 151)]
    lines[49] = lines[119] = "same"
    patch = HEAD + f"@@ -{start},1 +{start},1 @@\n-same\n+changed\n"
    try:
        found: int | str = plan(patch, {"f": "\n".join(lines)})[0].hunks[0].line
    except PatchRefused as refusal:
        assert refusal.hint.startswith("it fits at lines 50, 120:")
        found = "refused"
    assert found == expected


@pytest.mark.parametrize("between", [1, 10, 38])
def test_a_number_decides_nothing_between_close_neighbours(between: int) -> None:
    text = "a\nx\n" + "b\n" * between + "x\n"
    with pytest.raises(PatchRefused, match="more than one place"):
        apply_patch(HEAD + "@@ -3 +3 @@\n-x\n+y\n", {"f": text})


@pytest.mark.parametrize(
    ("before", "body", "after"),
    [
        ("a\r\nb", "@@\n-b\n+c\n+d\n", "a\r\nc\r\nd"),
        ("a\r\nb", "@@\n b\n+c\n", "a\r\nb\r\nc"),
        ("a\r\nb\r\nc\n", "@@\n a\n+x\n b\n", "a\r\nx\r\nb\r\nc\n"),
        ("a\nb\n", "@@\n a\n-b\n+c\n\\ No newline at end of file\n", "a\nc"),
        ("a\nb", "@@ -1,2 +1 @@\n a\n-b\n", "a"),
        ("", "@@ -0,0 +1 @@\n+a\n", "a\n"),
        ("a\n", "@@ -1 +0,0 @@\n-a\n", ""),
    ],
)
def test_line_ends_and_the_end_of_the_file(before: str, body: str, after: str) -> None:
    assert apply_patch(HEAD + body, {"f": before}) == {"f": after}


@pytest.mark.parametrize(
    ("before", "body", "after"),
    [
        ("    a\n    b\n", "@@\n a\n-b\n+c\n+  d\n", "    a\n    c\n      d\n"),
        ("a\nb\n", "@@\n     a\n-    b\n+    c\n", "a\nc\n"),
        ("\ta\n\tb\n", "@@\na\n-\tb\n+\tc\n", "\ta\n\tc\n"),
        ("  a\n    b\n  d\n", "@@\n  a\n b\n+    c\n   d\n", "  a\n    b\n    c\n  d\n"),
    ],
    ids=["out", "in", "context lost its column", "context drifted, added lines did not"],
)
def test_added_lines_follow_the_indentation_that_was_seen(before: str, body: str, after: str) -> None:
    assert apply_patch(HEAD + body, {"f": before}) == {"f": after}


@pytest.mark.parametrize(
    ("patch", "before", "reason"),
    [
        (
            HEAD + "@@\n   if b:\n+    x\n     c\n",
            {"f": "if a:\n    if b:\n        c\n    d\n"},
            "its indentation differs from the file's in no single way",
        ),
        (HEAD + "@@ -1 +1 @@\n-a\n+a\n", {"f": "a\n"}, "the patch changes nothing"),
        (HEAD + "@@ -1 +1 @@\n a\n", {"f": "a\n"}, "the patch changes nothing"),
        (HEAD + "@@\n \n+x\n", {"f": "a\n\nb\n"}, "only blank lines say where it belongs"),
        (HEAD + "@@ -1 +1 @@\n", {"f": "a\n"}, "the hunk at line 3 of the patch is empty"),
        ("+++ b/f\n@@\n-a\n+b\n", {"f": "a\n", "b/f": "a\n"}, "it may be f or b/f"),
        ("--- a/f\n+++ b/g\n@@\n-a\n+b\n", {"f": "a\n"}, "it is headed f and g"),
        (
            HEAD + "@@\n-a\n+b\n--- /dev/null\n+++ b/f\n@@\n+c\n",
            {"f": "a\n"},
            "the patch makes, deletes or renames it and names it again",
        ),
        (
            "diff --git a/f b/g\nrename from f\nrename to g\ndiff --git a/g b/g\nnew file mode 100644\n",
            {"f": "a\n"},
            "two parts of the patch make or take away the same file",
        ),
        ("diff --git a/l b/l\nnew file mode 120000\n", {}, "symbolic links and submodules cannot be patched"),
        (
            "diff --git a/f b/g\ncopy from f\ncopy to g\n",
            {"f": "a\n", "g": "b\n"},
            "f cannot be copied to it: it exists",
        ),
        ("diff --git a/f b/g\ncopy from f\ncopy to g\n", {}, "there is no such file"),
        ("*** Begin Patch\n*** Add File: ../f\n+a\n*** End Patch\n", {}, _ABOVE.format("../f")),
        ("--- /dev/null\n+++ b/.GIT/hooks/x\n@@ -0,0 +1 @@\n+a\n", {}, _GITS.format(".GIT/hooks/x")),
        ("*** Delete File: /etc/passwd\n", {"/etc/passwd": "x\n"}, _OUTSIDE.format("/etc/passwd")),
        ('--- /dev/null\n+++ "b/a\\nb"\n@@ -0,0 +1 @@\n+a\n', {}, _TWO_LINES),
        ("--- /dev/null\n+++ b/a/./b\n@@ -0,0 +1 @@\n+a\n", {}, "its path is written in a roundabout way"),
        (
            "--- /dev/null\n+++ b/caf\u00e9\n@@ -0,0 +1 @@\n+a\n",
            {"cafe\u0301": "b\n"},
            "some file systems take it for cafe\u0301",
        ),
        ("*** Update File: f\n@@ nowhere\n+b\n", {"f": "a\n"}, "nothing says where it belongs"),
        ("*** Frobnicate File: f\n+b\n" + HEAD + "@@\n-a\n+b\n", {"f": "a\n"}, _NO_OPERATION),
        ("@@ -1 +1 @@\n-a\n+b\n", {"f": "a\n"}, "a hunk without a file name above it"),
    ],
)
def test_the_patch_is_refused(patch: str, before: dict[str, str | None], reason: str) -> None:
    with pytest.raises(PatchRefused) as refusal:
        apply_patch(patch, before)
    assert refusal.value.reason == reason


def test_a_refusal_says_where_and_what_the_file_has() -> None:
    with pytest.raises(PatchRefused) as refusal:
        apply_patch(
            HEAD + "@@ -1 +1 @@\n-one\n+1\n@@ -9,2 +9,2 @@\n two\n-thre\n+3\n",
            {"f": "one\ntwo\nthree\nfour\n"},
        )
    assert str(refusal.value) == (
        "f, hunk 2: these lines are not in the file\n"
        "first difference at line 3: the file has 'three', you sent 'thre'\n"
        "nearest lines of the file:\n2: two\n3: three\n4: four\ncopy them exactly and send it again\n"
        "of this file's 2 hunks 1 would have applied"
    )


@pytest.mark.parametrize("counts", ["-1,9 +1,9", "-1,1 +1,1", "-1,3 +1,3", "-7,30 +9,2", "-0,0 +0,0"])
def test_counts_that_lie_do_not_move_the_end_of_a_hunk(counts: str) -> None:
    body = (
        f"@@ {counts} @@\n a\n-b\n+B\n c\n@@ {counts} @@\n d\n+e\n--- a/g\n+++ b/g\n@@ {counts} @@\n-x\n+y\n"
    )
    assert apply_patch(HEAD + body, {"f": "a\nb\nc\nd\n", "g": "x\n"}) == {"f": "a\nB\nc\nd\ne\n", "g": "y\n"}


def test_a_count_one_too_large_does_not_swallow_the_next_file() -> None:
    patch = HEAD + "@@ -1,2 +1,2 @@\n-a\n+b\n--- a/g\n+++ b/g\n@@ -1 +1 @@\n-x\n+y\n"
    assert apply_patch(patch, {"f": "a\n", "g": "x\n"}) == {"f": "b\n", "g": "y\n"}


def test_text_after_the_last_hunk_is_no_part_of_it() -> None:
    patch = HEAD + "@@\n-a\n+b\n \n\n**Explanation:**\n\n1. It was wrong.\n"
    assert apply_patch(patch, {"f": "a\n\nc\n"}) == {"f": "b\n\nc\n"}


@pytest.mark.parametrize(
    ("patch", "before", "after"),
    [
        (HEAD + "@@ -1 +1 @@\n-a\n+b\n", {"f": "b\n"}, {"f": "a\n"}),
        ("--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+a\n", {"f": "a\n"}, {"f": None}),
        ("--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", {}, {"f": "a\n"}),
        ("diff --git a/f b/g\nrename from f\nrename to g\n", {"g": "a\n"}, {"g": None, "f": "a\n"}),
        (HEAD + "@@\n a\n-b\n+c\n\\ No newline at end of file\n", {"f": "a\nc"}, {"f": "a\nb\n"}),
        (HEAD + "@@ -1 +1 @@\n-a\n+b\n", {"f": "a\n"}, {}),
    ],
    ids=["update", "create", "delete", "rename", "last newline", "already taken back"],
)
def test_a_patch_is_taken_back(
    patch: str, before: dict[str, str | None], after: dict[str, str | None]
) -> None:
    assert apply_patch(patch, before, reverse=True) == after


@pytest.mark.parametrize(
    "patch",
    [
        "diff --git a/f b/g\ncopy from f\ncopy to g\n",
        "diff --git a/f b/f\ndeleted file mode 100644\n",
        "*** Begin Patch\n*** Delete File: f\n*** End Patch\n",
    ],
)
def test_what_a_patch_does_not_hold_cannot_be_taken_back(patch: str) -> None:
    with pytest.raises(PatchRefused, match="cannot be taken back from the patch alone"):
        apply_patch(patch, {"f": "a\n", "g": "a\n"}, reverse=True)


def test_a_copy_is_a_new_file_and_leaves_the_other() -> None:
    patch = "diff --git a/f b/g\ncopy from f\ncopy to g\n--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n"
    assert paths(patch) == ["f", "g"]
    assert apply_patch(patch, {"f": "a\n"}) == {"g": "b\n"}


def test_a_patch_that_is_there_already_changes_nothing_and_says_so() -> None:
    patch = HEAD + "@@ -1 +1 @@\n-a\n+b\n--- /dev/null\n+++ b/g\n@@ -0,0 +1 @@\n+n\n"
    assert plan(patch, {"f": "b\n", "g": "n\n"}) == [
        FileChange("f", "same", "b\n"),
        FileChange("g", "same", "n\n"),
    ]


@pytest.mark.parametrize(
    "before",
    [
        {"f": "b\n"},
        {"f": "a\n", "g": "n\n"},
        {"f": "b\n", "g": "other\n"},
    ],
    ids=["one file is not made", "one hunk is not there", "one file differs"],
)
def test_a_patch_that_is_there_only_in_part_is_refused(before: dict[str, str | None]) -> None:
    with pytest.raises(PatchRefused):
        apply_patch(HEAD + "@@ -1 +1 @@\n-a\n+b\n--- /dev/null\n+++ b/g\n@@ -0,0 +1 @@\n+n\n", before)


def test_lines_that_are_merely_gone_do_not_prove_that_a_patch_was_applied() -> None:
    with pytest.raises(PatchRefused, match="already applied"):
        apply_patch(HEAD + "@@ -1,3 +1,2 @@\n a\n-b\n c\n", {"f": "a\nc\n"})


def test_a_hunk_without_a_header_is_never_taken_for_prose() -> None:
    patch = HEAD + "\n a\n-b\n+B\n@@\n-d\n+D\n"
    with pytest.raises(PatchRefused, match="these lines are not in the file"):
        apply_patch(patch, {"f": "a\nb\nc\nd\n"})
    assert apply_patch(patch.replace("\n\n a", "\n a"), {"f": "a\nb\nc\nd\n"}) == {"f": "a\nB\nc\nD\n"}


def test_a_blank_line_below_a_hunk_whose_counts_lie_is_not_added() -> None:
    patch = HEAD + "@@ -1,3 +1,3 @@\n a\n-b\n c\n\n"
    assert apply_patch(patch, {"f": "a\nb\nc\n\nd\n"}) == {"f": "a\nc\n\nd\n"}


@pytest.mark.parametrize(
    "header",
    [
        "*** Begin Patch\n*** Add File: new\n",
        "--- /dev/null\n+++ b/new\n",
        "diff --git a/new b/new\nnew file mode 100644\nindex 0000000..abc1234\n",
    ],
    ids=["envelope", "pair", "git"],
)
def test_content_without_marks_does_not_make_an_empty_file(header: str) -> None:
    with pytest.raises(PatchRefused, match="has no \\+ before it: 'hello'"):
        apply_patch(header + "hello\nworld\n", {})
    assert apply_patch(header + "\nThat is an empty file.\n", {}) == {"new": ""}


def test_a_header_without_a_hunk_is_not_passed_over() -> None:
    with pytest.raises(PatchRefused, match="no hunk below its header"):
        apply_patch(HEAD + "@@ -1 +1 @@\n-a\n+b\n--- a/g\n+++ b/g\n", {"f": "a\n", "g": "a\n"})


@pytest.mark.parametrize("lines", ["new file mode 100755\n", "old mode 100644\nnew mode 100755\n"])
def test_a_mode_without_a_file_is_not_passed_over(lines: str) -> None:
    with pytest.raises(PatchRefused, match="no file name"):
        apply_patch(HEAD + "@@ -1 +1 @@\n-a\n+b\n" + lines, {"f": "a\n"})


def test_a_header_may_lack_its_first_line() -> None:
    head, body = "new file mode 100755\n", "@@ -0,0 +1 @@\n+a\n"
    for patch in (
        f"{head}--- /dev/null\n+++ b/g\n{body}",
        f"--- /dev/null\n+++ b/g\n{head}{body}",
        f"diff --git a/g b/g\n{head}--- /dev/null\n+++ b/g\n{body}",
    ):
        assert plan(patch, {}) == [FileChange("g", "create", "a\n", None, 0o755, 1)]
    assert apply_patch("rename from f\nrename to g\n", {"f": "a\n"}) == {"f": None, "g": "a\n"}


@pytest.mark.parametrize(
    ("stamp", "after"),
    [
        ("1970-01-01 00:00:00.000000000 +0000", None),
        ("1969-12-31 16:00:00.000000000 -0800", None),
        ("1970-01-01 05:30:00 +0530", None),
        ("1970-01-01 00:00:00 +0530", ""),
        ("1982-09-16 07:00:00.000000000 +0000", ""),
    ],
)
def test_a_timestamp_of_the_epoch_says_that_the_file_goes(stamp: str, after: str | None) -> None:
    patch = f"--- old/f\t2024-01-01 00:00:00 +0000\n+++ new/f\t{stamp}\n@@ -1 +0,0 @@\n-a\n"
    assert apply_patch(patch, {"f": "a\n"}) == {"f": after}


def test_a_made_up_timestamp_deletes_nothing() -> None:
    stamp = "1970-01-01 00:00:00"
    patch = f"--- a/f\t{stamp}\n+++ b/f\t{stamp}\n@@ -1,2 +1 @@\n-a\n b\n"
    assert apply_patch(patch, {"f": "a\nb\n"}) == {"f": "b\n"}


@pytest.mark.parametrize("name", ["dev/null", "a/dev/null"])
def test_dev_null_is_known_without_its_slash(name: str) -> None:
    assert apply_patch(f"--- {name}\n+++ b/g\n@@ -0,0 +1 @@\n+a\n", {}) == {"g": "a\n"}


def test_the_end_of_an_envelope_may_be_padded() -> None:
    patch = " *** Begin Patch\n*** Update File: f\n@@\n-a\n+b\n  *** End Patch  \n"
    assert apply_patch(patch, {"f": "a\nc\n"}) == {"f": "b\nc\n"}


def test_a_comment_at_the_margin_does_not_end_the_block_that_decides() -> None:
    text = "def a():\n  q\n  r\n# more\n  q\n  r\ndef b():\n  z\n"
    patch = HEAD + "@@ def a():\n   q\n-  r\n+  s\n"
    with pytest.raises(PatchRefused, match="more than one place"):
        apply_patch(patch, {"f": text})
    assert apply_patch(patch, {"f": text.replace("# more", "def m():")}) == {
        "f": "def a():\n  q\n  s\ndef m():\n  q\n  r\ndef b():\n  z\n"
    }


def test_a_place_of_other_indentation_is_not_taken_where_another_is_all_but_right() -> None:
    twin = "if one:\n    first\n    second\n    third\n    fourth\n"
    nearly = "".join(f"    {line}\n" for line in twin.replace("first", "first now").rstrip().split("\n"))
    patch = HEAD + "@@\n         first\n         second\n-        third\n         fourth\n"
    with pytest.raises(PatchRefused, match="more than one place"):
        apply_patch(patch, {"f": twin + nearly})
    assert apply_patch(patch, {"f": twin}) == {"f": twin.replace("    third\n", "")}


def test_the_cost_of_a_shift_does_not_grow_with_the_square_of_the_hunks() -> None:
    lines = [f"    line {number}" for number in range(9000)]
    hunks = [f"@@\n-{line[4:]}\n+{line[4:]} now\n" for line in lines[::9]]
    start = time.process_time()
    after = apply_patch(HEAD + "".join(hunks), {"f": "\n".join(lines) + "\n"})
    assert after["f"] is not None and after["f"].count("now\n") == len(hunks)
    assert time.process_time() - start < 1
