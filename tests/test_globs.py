"""One meaning of a glob, which is git's."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_agent.globs import check, fits


@pytest.mark.parametrize(
    ("glob", "path", "is_meant"),
    [
        ("tests", "tests/a.py", True),
        ("tests", "src/tests/a.py", True),
        ("tests", "src/tests.py", False),
        ("/tests", "src/tests/a.py", False),
        ("./tests", "src/tests/a.py", False),
        ("tests/", "tests", False),
        ("tests/", "pkg/tests/a.py", True),
        ("*.lock", "deep/er/poetry.lock", True),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/deep/a.py", False),
        ("src/*", "src/deep/a.py", True),  # the folder is meant, and so is all in it
        ("src/**/*.py", "src/a.py", True),
        ("src/**/*.py", "src/d/e/a.py", True),
        ("**/*.py", "a.py", True),
        ("src/**", "src/d/e", True),
        ("src/**", "src", False),
        ("**", "a", True),
        ("*", "a/b", True),
        ("a?c", "abc", True),
        ("a?c/d", "a/c/d", False),
        ("[ab].py", "b.py", True),
        ("A.py", "a.py", False),
        ("\udcff.py", "\udcff.py", True),
    ],
)
def test_a_glob_means_what_it_means_in_a_gitignore(glob: str, path: str, is_meant: bool) -> None:
    assert fits(path, [glob]) is is_meant
    assert fits(path, []) is False
    assert fits(path, ["no", glob]) is is_meant


NAMES = st.sampled_from(["a", "b", "ab", "a.py", "b.c"])
PIECES = st.sampled_from(["a", "b", "*", "**", "?", "a*", "*.py", "[ab]", "[!a]"])


@pytest.mark.slow  # a process for each
@settings(max_examples=400)
@given(
    parts=st.lists(NAMES, min_size=1, max_size=4),
    pieces=st.lists(PIECES, min_size=1, max_size=4),
    ends=st.tuples(st.booleans(), st.booleans()),
)
def test_git_is_of_the_same_opinion(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], pieces: list[str], ends: tuple[bool, bool]
) -> None:
    glob = "/" * ends[0] + "/".join(pieces) + "/" * ends[1]
    root = tmp_path_factory.getbasetemp() / "globs"
    if not root.exists():
        subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / ".gitignore").write_text(f"{glob}\n")
    path = "/".join(parts)
    asked = ["git", "-C", str(root), "check-ignore", "--no-index", "-q", path]
    assert fits(path, [glob]) is (subprocess.run(asked, check=False).returncode == 0)


def test_no_glob_is_slow() -> None:
    started = time.process_time()
    assert not fits("/".join("a" * 200), ["/".join(["**", "a"] * 100) + "/b"])
    assert not fits("a" * 4000, ["*a" * 100 + "b"])
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("glob", ["!a", "../a", "a/../b", "/", ".", "./"])
def test_what_can_mean_no_file_is_refused(glob: str) -> None:
    with pytest.raises(ValueError, match="expected a glob"):
        check(glob)


def test_the_rest_is_taken_as_it_is(tmp_path: Path) -> None:
    assert [check(glob) for glob in ("a", "a/", "**", "a..b", "/a")] == ["a", "a/", "**", "a..b", "/a"]
