"""What a patch travels in, what is glued to it, and the hunks that are read in another way than written."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest

from glm_agent.patching import PatchRefused, apply_patch

TEXT = "def f():\n    a = 1\n    b = 2\n    return a + b\n"
TWICE = "def f():\n    a = 1\n    return a\n\ndef g():\n    a = 1\n    return a\n"
BODY = "@@\n def f():\n     a = 1\n-    b = 2\n+    b = 3\n     return a + b\n"
DIFF = "--- a/f.py\n+++ b/f.py\n" + BODY
ENVELOPE = f"*** Begin Patch\n*** Update File: f.py\n{BODY}*** End Patch\n"
BEFORE = {"f.py": TEXT}
AFTER = {"f.py": TEXT.replace("2", "3")}
IN_SHELL = f"apply_patch <<'EOF'\n{ENVELOPE}EOF\n"
ADDS = "--- a/f.py\n+++ b/f.py\n@@ -4 +4,2 @@\n     return a + b\n+# end"
ADDED = {"f.py": TEXT + "# end\n"}


@pytest.mark.parametrize(
    "sent",
    [
        {"path": "f.py", "patch": DIFF},
        {"path": "f.py", "patch": BODY},
        {"command": ["apply_patch", ENVELOPE]},
        {"command": ["bash", "-lc", IN_SHELL], "workdir": "."},
        {"name": "patch", "arguments": json.dumps({"patch": DIFF})},
        {"input": ENVELOPE, "explanation": "mends b"},
        ["apply_patch", ENVELOPE],
    ],
)
def test_a_patch_is_taken_out_of_a_call(sent: object) -> None:
    assert apply_patch(json.dumps(sent), BEFORE) == AFTER


@pytest.mark.parametrize(
    "sent",
    [
        {"path": "g.py", "patch": DIFF},
        {"patch": DIFF, "other": DIFF.replace("3", "4")},
        {"command": ["apply_patch", ENVELOPE], "workdir": "sub"},
        {"content": "no patch"},
        [[[[[[DIFF]]]]]],
    ],
)
def test_a_call_that_may_mean_another_is_refused(sent: object) -> None:
    with pytest.raises(PatchRefused, match="there is no hunk in the patch"):
        apply_patch(json.dumps(sent), BEFORE | {"g.py": TEXT})


@pytest.mark.parametrize(
    "command",
    [
        "apply_patch <<EOF",
        "cat <<'EOF' | git apply",
        'cd /repo && patch -p1 << "EOF"',
        "$ git apply - <<-EOF",
    ],
)
def test_a_here_document_ends_where_its_word_stands(command: str) -> None:
    assert apply_patch(f"{command}\n{ADDS}\nEOF\nls\n", BEFORE) == ADDED


def test_the_word_of_a_here_document_may_stand_in_the_file() -> None:
    patch = "apply_patch <<'EOF'\n--- a/f\n+++ b/f\n@@\n cat <<EOF\n-x\n+y\n EOF\nEOF\n"
    assert apply_patch(patch, {"f": "cat <<EOF\nx\nEOF\n"}) == {"f": "cat <<EOF\ny\nEOF\n"}


@pytest.mark.parametrize(
    "command", ["cd sub && git apply <<'EOF'", "patch -R -p1 <<'EOF'", "git apply --directory=sub <<'EOF'"]
)
def test_a_shell_that_applies_it_otherwise_is_refused(command: str) -> None:
    with pytest.raises(PatchRefused, match="a shell command around it says where or how"):
        apply_patch(f"{command}\n{DIFF}EOF\n", BEFORE)


def test_backslashes_that_the_file_has_are_its_own() -> None:
    patch = "git apply <<EOF\n--- a/f\n+++ b/f\n@@\n \\$a\n+\\$b\nEOF\n"
    assert apply_patch(patch, {"f": "\\$a\n"}) == {"f": "\\$a\n\\$b\n"}
    with pytest.raises(PatchRefused, match="a shell may take the backslashes"):
        apply_patch(patch.replace(" \\$a", " a"), {"f": "a\n"})


@pytest.mark.parametrize("tail", ["</arg_value>", " </tool_call>", "</parameter>\n</invoke>\n", "<|user|>"])
def test_what_closes_a_call_is_no_text(tail: str) -> None:
    assert apply_patch(ADDS + tail, BEFORE) == ADDED
    assert apply_patch(DIFF.rstrip() + tail, BEFORE) == AFTER
    assert apply_patch("```diff\n" + ADDS + "```", BEFORE) == ADDED


def test_a_tag_that_the_file_or_the_patch_opens_is_text() -> None:
    patch = "--- a/f\n+++ b/f\n@@\n old\n+new</code>"
    assert apply_patch(patch, {"f": "<code>\nold\n"}) == {"f": "<code>\nold\nnew</code>\n"}
    patch = "--- a/f\n+++ b/f\n@@\n old\n+<parameter>\n+new</parameter>"
    assert apply_patch(patch, {"f": "old\n"}) == {"f": "old\n<parameter>\nnew</parameter>\n"}


@pytest.mark.parametrize(
    ("tail", "text"), [("</patch>", TEXT), ("```", TEXT), ("</tool_call>", TEXT + "<tool_call>\n")]
)
def test_a_tag_that_may_be_text_is_refused(tail: str, text: str) -> None:
    with pytest.raises(PatchRefused, match="its last line may end with"):
        apply_patch(ADDS + tail, {"f.py": text})


@pytest.mark.parametrize("mark", ["{:6}\t", "{}: ", "{:4} | ", "{:6}→"])
@pytest.mark.parametrize("added", ["    c = 3", "{}    c = 3"])
def test_line_numbers_before_old_lines_are_taken_off(mark: str, added: str) -> None:
    old = [f" {mark.format(number)}{line}" for number, line in enumerate(TEXT.split("\n")[1:3], 2)]
    patch = "\n".join(["--- a/f.py", "+++ b/f.py", "@@", *old, "+" + added.format(mark.format(4)), ""])
    assert apply_patch(patch, BEFORE) == {"f.py": TEXT.replace("2\n", "2\n    c = 3\n")}


def test_the_numbers_before_lines_say_which_of_two_places_it_is() -> None:
    patch = "--- a/f\n+++ b/f\n@@\n {}:     a = 1\n-{}:     return a\n+    return b\n"
    after = TWICE.replace("return a\n\n", "return b\n\n")
    assert apply_patch(patch.format(2, 3), {"f": TWICE}) == {"f": after}
    for numbers in ((3, 4), (2, 4)):
        with pytest.raises(PatchRefused):
            apply_patch(patch.format(*numbers), {"f": TWICE})
    with pytest.raises(PatchRefused, match="these lines are not in the file"):
        apply_patch(patch.format(2, 3).replace("@@", "@@ -6,2 +6,2 @@"), {"f": TWICE})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (" 1: a\n 2: b\n+80: c\n", "a\nb\n"),
        (" 1: a\n 2: b\n+3: c\n+d\n", "a\nb\n"),
        (" 1: 1: a\n 2: 2: b\n+3: c\n", "1: a\n2: b\n"),
        (" 1: a\n-2: b\n+c\n", "  a\n  b\n"),
        (" 1| a\n+| c\n", "a\nb\n"),
        (" 1: a\n+2| c\n", "a\nb\n"),
        (" 1: a\n-2: b\n+2: B\n@@\n-3: c\n+C\n", "a\nb\nc\n"),
    ],
)
def test_numbers_that_lines_may_really_have_are_refused(body: str, text: str) -> None:
    with pytest.raises(PatchRefused, match="these lines are not in the file"):
        apply_patch(f"--- a/f\n+++ b/f\n@@\n{body}", {"f": text})


def test_a_number_against_the_section_is_refused() -> None:
    patch = "--- a/f\n+++ b/f\n@@ def g():\n-3:     return a\n+    return b\n"
    with pytest.raises(PatchRefused, match="these lines are not in the file"):
        apply_patch(patch, {"f": TWICE})


def test_two_marks_behind_the_numbers_that_both_fit_are_refused() -> None:
    with pytest.raises(PatchRefused, match="these lines are not in the file"):
        apply_patch(
            "--- a/f\n+++ b/f\n@@ -9 +9 @@\n 1| a\n-2| b\n+c\n", {"f": " a\n b\n" + "z\n" * 9 + "a\nb\n"}
        )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("x\n++i;\ny\n", "x\n++i;\ny\n"),  # context
        ("x\ny\n+i\n", "x\ny\n+i\n"),  # context too
        ("x\n+ i\ny\n", "x\ny\n"),  # one space too many
        ("def f():\n    a = 1\n+   b = 2\n", "def f():\n    a = 1\n"),  # its first space is the mark
        ("x\n    a\n+        b\n", "x\n    a\nx\n   a\n"),  # with and without a space for the mark
        ("    a = 1\n+    b = 2\n    return a\nx\n", TWICE + "x\n" + TWICE + "x\n"),
    ],
)
def test_context_without_prefixes_in_doubt_is_refused(body: str, text: str) -> None:
    with pytest.raises(PatchRefused):
        apply_patch(f"--- a/f\n+++ b/f\n@@\n{body}", {"f": text})


def test_context_without_prefixes_stands_in_the_file_once() -> None:
    patch = "--- a/f.py\n+++ b/f.py\n@@\ndef f():\n    a = 1\n+    c = 3\n    b = 2\n"
    assert apply_patch(patch, BEFORE) == {"f.py": TEXT.replace("    b", "    c = 3\n    b")}


def test_a_hunk_sent_twice_may_have_its_prefixes_but_once() -> None:
    patch = "--- a/f\n+++ b/f\n@@\n x\n-y\n+z\n@@\nx\n-y\n+z\n"
    assert apply_patch(patch, {"f": "x\ny\n"}) == {"f": "x\nz\n"}


def test_the_end_of_the_file_is_a_place() -> None:
    patch = "*** Begin Patch\n*** Update File: f\n@@\n{}+z\n*** End of File\n*** End Patch\n"
    assert apply_patch(patch.format(""), {"f": "x\n"}) == {"f": "x\nz\n"}
    assert apply_patch(patch.format("-x\n"), {"f": "x\nx\n"}) == {"f": "x\nz\n"}
    for removed, text in (("", "x"), ("-x\n", "x\nx\ny\n")):
        with pytest.raises(PatchRefused):
            apply_patch(patch.format(removed), {"f": text})


def test_a_prefix_of_an_envelope_is_a_directory_where_there_is_one() -> None:
    patch = ENVELOPE.replace(": f.py", ": a/f.py")
    assert apply_patch(patch, BEFORE) == AFTER
    assert apply_patch(patch, BEFORE | {"a/f.py": TEXT}) == {"a/f.py": AFTER["f.py"]}


def test_removed_lines_may_look_like_names_without_a_space() -> None:
    patch = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n---a/q\n+++b/q\n x\n"
    assert apply_patch(patch, {"f": "--a/q\nx\n"}) == {"f": "++b/q\nx\n"}
    patch = "--- a/f\n+++ b/f\n@@\n x\n---a/f\n+++b/f\n@@\n-q\n+r\n"
    assert apply_patch(patch, {"f": "x\n--a/f\nq\n"}) == {"f": "x\n++b/f\nr\n"}
    with pytest.raises(PatchRefused, match="a hunk without a file name"):
        apply_patch("---a/f\n+++b/g\n@@\n-x\n+y\n", {"g": "x\n"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("@@\n" + "\n" * 1_000_000 + "-a\n+b\n", "a\n"),
        ("".join(f"@@ -{2 * at + 1} +{2 * at + 1} @@\n a\n+x\n" for at in range(10_000)), "a\n" * 20_000),
        ("@@\n" + "".join(f" {at}: q\n" for at in range(90_000)) + "+x\n", "q\n"),
    ],
    ids=["blank lines", "hunks of one line", "line numbers"],
)
def test_long_patches_take_no_seconds(body: str, text: str) -> None:
    start = time.process_time()
    with suppress(PatchRefused):
        apply_patch("--- a/f\n+++ b/f\n" + body, {"f": text})
    assert time.process_time() - start < 5
