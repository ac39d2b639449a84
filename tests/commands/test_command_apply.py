"""`apply`: what it writes and says, and that a refusal, a check or a signal leaves everything as it was."""

from __future__ import annotations

import codecs
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import Run, call, environment, finish, start

CHANGE = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
SLOPPY = (
    "Here:\n\n```diff\n--- calc.py\n+++ calc.py\n@@ … @@\n def add(a, b):\n"
    "-    return a - b\n+    return a + b\n```\nThat is all.\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """No repository: one file."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/f").write_text("a\n")
    return tmp_path / "work"


def give(patch: str | bytes, folder: Path) -> str:
    """The path of a file that holds `patch`."""
    path = folder.parent / "given.patch"
    path.write_bytes(patch if isinstance(patch, bytes) else patch.encode())
    return str(path)


def test_a_sloppy_patch_is_applied_and_taken_back(glm: Run, repo: Path) -> None:
    before = (repo / "calc.py").read_text()
    patch = give(SLOPPY, repo)
    assert glm("apply", patch) == (0, "updated calc.py +1 -1, hunk at line 1\n", "")
    assert (repo / "calc.py").read_text() == before.replace("a - b", "a + b")
    assert glm("apply", "--reverse", patch).code == 0
    assert (repo / "calc.py").read_text() == before


def test_paths_are_relative_to_the_root_of_the_repository(glm: Run, repo: Path) -> None:
    (repo / "deep").mkdir()
    assert glm("apply", give(SLOPPY, repo), at=repo / "deep").code == 0
    assert "a + b" in (repo / "calc.py").read_text()


def test_no_repository_is_needed(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ran = call(["apply", "-C", str(folder), give(CHANGE, folder)], capfdbinary)
    assert ran == (0, "updated f +1 -1, hunk at line 1\n", "")
    assert (folder / "f").read_text() == "b\n"


def test_what_is_there_already_is_a_success_that_says_so(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (folder / "f").write_text("b\n")
    ran = call(["apply", "-C", str(folder), give(CHANGE, folder)], capfdbinary)
    assert ran == (0, "f has all of it already: nothing was changed, go on\n", "")


def test_a_check_says_what_would_be_done(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    words = ["apply", "-C", str(folder), "--check", give(CHANGE, folder)]
    assert call(words, capfdbinary) == (0, "would be updated f +1 -1, hunk at line 1\n", "")
    assert (folder / "f").read_text() == "a\n"
    ran = call([*words[:4], give(CHANGE.replace("-a", "-z"), folder)], capfdbinary)
    assert (ran.code, ran.out) == (1, "")


def test_a_refusal_teaches_on_stderr_and_changes_nothing(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (folder / "g").write_text("one\ntwo\n")
    both = CHANGE + "--- a/g\n+++ b/g\n@@ -1,2 +1,2 @@\n one\n-twa\n+three\n"
    ran = call(["apply", "-C", str(folder), give(both, folder)], capfdbinary)
    assert (ran.code, ran.out) == (1, "")
    head = "glm-agent: patch refused, nothing was changed: g, hunk 1: these lines are not in the file\n"
    assert ran.err.startswith(head)
    assert "first difference at line 2: the file has 'two', you sent 'twa'" in ran.err
    assert ((folder / "f").read_text(), (folder / "g").read_text()) == ("a\n", "one\ntwo\n")


def test_as_json_it_gives_one_object(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    words = ["apply", "-C", str(folder), "--json", give(CHANGE, folder)]
    change = {"path": "f", "kind": "update", "new_path": None, "added": 1, "removed": 1}
    assert json.loads(call(words, capfdbinary).out) == {
        "subtype": "success",
        "is_error": False,
        "exit_code": 0,
        "written": True,
        "changes": [change],
        "notes": ["updated f +1 -1, hunk at line 1"],
        "runs_later": [],
        "errors": [],
    }
    (folder / "f").write_text("other\n")
    ran = call(words, capfdbinary)
    found = json.loads(ran.out)
    assert (ran.code, found["subtype"], found["written"]) == (1, "error_during_execution", False)
    assert found["errors"][0].startswith("patch refused, nothing was changed: f, hunk 1: ")


def test_what_it_wrote_and_something_runs_later_is_named(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    names = ("Makefile", ".github/workflows/ci.yml", "notes")
    patch = give("".join(f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+x\n" for name in names), folder)
    said = call(["apply", "-C", str(folder), patch], capfdbinary).out
    told = "run later, by a build, a test or a hook: Makefile, .github/workflows/ci.yml"
    assert said.split("\n")[-2] == told
    back = json.loads(call(["apply", "-C", str(folder), "--json", "--reverse", patch], capfdbinary).out)
    assert back["runs_later"] == []
    again = json.loads(call(["apply", "-C", str(folder), "--json", patch], capfdbinary).out)
    assert again["runs_later"] == list(names[:2])


@pytest.mark.parametrize("words", [["-"], []])
def test_a_patch_is_read_from_stdin(words: list[str], folder: Path) -> None:
    with start(folder, "apply", *words, stdin=subprocess.PIPE) as process:
        out, _ = process.communicate(CHANGE.encode(), timeout=20)
    assert (process.returncode, out) == (0, b"updated f +1 -1, hunk at line 1\n")
    assert (folder / "f").read_text() == "b\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["missing.patch"], 2, "the patch missing.patch cannot be read: No such file"),
        (["."], 2, "the patch . cannot be read: Is a directory"),
        (["a\0b"], 2, "cannot be read"),
        (["-C", "/no/such/place", "PATCH"], 45, "/no/such/place: cannot be entered"),
        (["PATCH", "--check", "--nonsense"], 2, "No such option"),
    ],
)
def test_a_command_that_makes_no_sense(
    words: list[str], code: int, says: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    given = [give(CHANGE, folder) if word == "PATCH" else word for word in words]
    ran = call(["apply", *given], capfdbinary)
    assert (ran.code, ran.out, says in ran.err) == (code, "", True), ran.err


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        (CHANGE.replace("b/f", "b/../f").replace("a/f", "a/../f"), "../f leads above the repository root"),
        (CHANGE.replace("/f", "/.git/config"), ".git/config is git's own"),
        (CHANGE.replace("/f", "/link"), "link"),
        (CHANGE.replace("/f", "/bin"), "bin is binary"),
        ("diff --git a/f b/f\nindex 1..2 160000\nGIT binary patch\nliteral 0\n", "binary patches"),
        (
            "diff --git a/s b/s\nnew file mode 160000\n--- /dev/null\n+++ b/s\n@@ -0,0 +1 @@\n+x\n",
            "submodules",
        ),
        ("no patch at all\n", "there is no hunk in the patch"),
        ("", "there is no hunk in the patch"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+" + "b" * 5_000_000 + "\n", "longer than"),
        (CHANGE + "x" * 17_000_000, "the patch has more than 16777216 bytes; apply it in parts"),
    ],
    ids=["above", "git", "link", "binary", "binary patch", "submodule", "prose", "empty", "long", "huge"],
)
def test_what_cannot_be_patched_is_refused_with_the_reason(
    patch: str, says: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (folder / "bin").write_bytes(b"\0\1\2a\n")
    (folder / "link").symlink_to("f")
    ran = call(["apply", "-C", str(folder), give(patch, folder)], capfdbinary)
    assert (ran.code, ran.out, says in ran.err) == (1, "", True), ran.err[:500]
    assert len(ran.err) < 4000
    assert sorted(path.name for path in folder.iterdir()) == ["bin", "f", "link"]
    assert (folder / "f").read_text() == "a\n"


@pytest.mark.parametrize(
    ("before", "after", "encoding"),
    [
        (b"\xef\xbb\xbfa\r\nx\r\n", b"\xef\xbb\xbfb\r\nx\r\n", "utf-8"),
        (
            codecs.BOM_UTF16_LE + "a\nx".encode("utf-16-le"),
            codecs.BOM_UTF16_LE + "b\nx".encode("utf-16-le"),
            "utf-8",
        ),
        (b"a\ncaf\xe9", b"b\ncaf\xe9", "utf-8"),
        (b"a\nx\n", b"b\nx\n", "utf-16"),
    ],
)
def test_encoding_line_ends_and_mode_stay(
    before: bytes, after: bytes, encoding: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (folder / "f").write_bytes(before)
    (folder / "f").chmod(0o750)
    assert call(["apply", "-C", str(folder), give(CHANGE.encode(encoding), folder)], capfdbinary).code == 0
    assert ((folder / "f").read_bytes(), (folder / "f").stat().st_mode & 0o777) == (after, 0o750)


def test_a_patch_and_a_file_in_latin_1(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (folder / "f").write_bytes(b"caf\xe9\n")
    patch = CHANGE.replace("-a", "-caf\xe9").replace("+b", "+th\xe9").encode("latin-1")
    assert call(["apply", "-C", str(folder), give(patch, folder)], capfdbinary).code == 0
    assert (folder / "f").read_bytes() == b"th\xe9\n"


@pytest.mark.parametrize("other", [b"a\n", None])
def test_letters_of_unknown_encoding_do_not_come_into_a_file_of_utf_8(
    other: bytes | None, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    if other is None:
        (folder / "f").unlink()
    (folder / "g").write_bytes(b"caf\xe9\n")
    patch = (CHANGE if other else CHANGE.replace("--- a/f", "--- /dev/null").replace("-1 ", "-0,0 ")).encode()
    patch = patch.replace(b"+b", "+é".encode()) if other else patch.replace(b"-a\n+b", "+é".encode())
    patch += CHANGE.replace("/f", "/g").encode().replace(b"-a", b"-caf\xe9")
    ran = call(["apply", "-C", str(folder), give(patch, folder)], capfdbinary)
    assert ran.code == 1 and "not UTF-8" in ran[2]
    assert (folder / "g").read_bytes() == b"caf\xe9\n"
    assert ((folder / "f").read_bytes() if other else None) == other


def test_files_are_made_renamed_and_removed(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (folder / "gone").write_text("g\n")
    patch = (
        "diff --git a/f b/deep/moved.sh\nold mode 100644\nnew mode 100755\n"
        "rename from f\nrename to deep/moved.sh\n"
        "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-g\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = (\n"
    )
    ran = call(["apply", "-C", str(folder), give(patch, folder)], capfdbinary)
    assert ran.code == 0, ran.err
    assert ran.out.endswith("\nnote: new.py does not parse now: line 1: '(' was never closed\n")
    tree = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert tree == {"deep/moved.sh": "a\n", "new.py": "x = (\n"}
    assert os.access(folder / "deep/moved.sh", os.X_OK)


def test_what_a_file_is_called_cannot_command_the_terminal(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    patch = CHANGE.replace("a/f", '"a/\\033[2J"').replace("b/f", '"b/\\033[2J"')
    ran = call(["apply", "-C", str(folder), give(patch, folder)], capfdbinary)
    assert (ran.code, "\x1b" in ran.err) == (1, False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_the_repositorys_fault(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder.chmod(0o500)
    ran = call(["apply", "-C", str(folder), give(CHANGE, folder)], capfdbinary)
    folder.chmod(0o700)
    assert (ran.code, (folder / "f").read_text()) == (45, "a\n")


def test_a_signal_while_it_waits_ends_it_in_order(folder: Path) -> None:
    os.mkfifo(folder / "patch")
    with start(folder, "apply", "--json", "patch") as process, (folder / "patch").open("wb"):
        process.send_signal(signal.SIGTERM)
        ran = finish(process)
    found = json.loads(ran.out)
    assert (ran.code, found["subtype"], found["exit_code"]) == (143, "error_cancelled", 143)
    assert ran.err == "glm-agent: cancelled; nothing was changed\n"


def test_a_reader_that_goes_away_is_no_failure_of_ours(folder: Path) -> None:
    reader, end = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "glm_agent", "apply", give(CHANGE, folder)]
    with subprocess.Popen(
        words, cwd=folder, env=environment(), stdout=end, stderr=subprocess.PIPE
    ) as process:
        os.close(end)
        assert (process.communicate(timeout=20)[1], process.returncode) == (b"", 141)
    assert (folder / "f").read_text() == "b\n"


@pytest.mark.parametrize("path", [".env", ".github/workflows/ci.yml", ".vscode/settings.json"])
def test_what_a_model_may_not_touch_is_the_user_s_to_patch(
    path: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text("a\n")
    words = ["apply", "-C", str(folder), give(CHANGE.replace("/f", f"/{path}"), folder)]
    assert call(words, capfdbinary).code == 0
    assert (folder / path).read_text() == "b\n"
