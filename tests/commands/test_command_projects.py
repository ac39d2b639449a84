"""Real projects with a seeded bug, and their own tests: right claims about what was fixed and what broke."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import DONE, Ran, git, run, to

from glm_agent.replay import Server
from glm_agent.types import Json

REAL = Path(__file__).parents[1] / "real"
CLAIMS = ("fixed", "still_failing", "newly_broken", "flaky", "not_run")
PYTEST = f"{sys.executable} -m pytest -q -o addopts= -p no:cacheprovider tests"
UNITTEST = f"{sys.executable} -m unittest shortuuid.test_shortuuid"

pytestmark = pytest.mark.slow


def unpack(case: str, folder: Path) -> Path:
    subprocess.run(["tar", "xzf", str(REAL / case / "repo.tar.gz"), "-C", str(folder)], check=True)
    return committed(folder)


def committed(folder: Path) -> Path:
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "x")):
        git(folder, *words)
    return folder


def edits(path: str, *pairs: tuple[str, str]) -> list[Json]:
    return [
        {"tool_calls": [{"name": "edit", "arguments": {"path": path, "old": old, "new": new}}]}
        for old, new in pairs
    ]


def fixed(folder: Path, turns: list[Json], *words: str) -> Ran:
    with Server([*turns, DONE], strict=True) as server:
        return run(folder, "fix", *words, "--verify-rounds", "1", *to(server.url), "--json")


def claims(ran: Ran) -> Json:
    found = ran.result["verification"]
    return {name: sorted(found[name]) for name in CLAIMS if found[name]}  # luck also says what fails how


PERCENT = ("/ 10.0", "/ 100.0")
BREAK = ("return name in self.named", "return name in self.fixed")


@pytest.mark.parametrize(
    ("words", "right", "broken"),
    [
        ((PYTEST,), "tests/test_parse.py::test_numbers", "tests/test_result.py::test_contains"),
        ((f"{PYTEST} -rN",), "test_numbers", "test_contains"),
        (
            (f"{PYTEST} --junitxml=out.xml", "--verify-junit", "out.xml"),
            *("tests.test_parse::test_numbers", "tests.test_result::test_contains"),
        ),
    ],
    ids=["summary", "no summary", "junit"],
)
def test_pytest(tmp_path: Path, words: tuple[str, ...], right: str, broken: str) -> None:
    root = unpack("parse-percent", tmp_path)
    ran = fixed(root, edits("parse/__init__.py", PERCENT), "--verify", *words)
    assert (ran.code, claims(ran)) == (0, {"fixed": [right]})
    git(root, "checkout", "--quiet", ".")
    ran = fixed(root, edits("parse/__init__.py", PERCENT, BREAK), "--verify", *words)
    assert (ran.code, claims(ran)) == (10, {"fixed": [right], "newly_broken": [broken]})


ORDER = ("    return output\n", "    return output[::-1]\n")
SHORT = ("for _ in range(length))", "for _ in range(length - 1))")
LUCK = "test_random (shortuuid.test_shortuuid.{}ShortUUIDTest.test_random)"


def test_unittest(tmp_path: Path) -> None:
    root = unpack("shortuuid-order", tmp_path)
    ran = fixed(root, edits("shortuuid/main.py", ORDER), "--verify", UNITTEST)
    names = claims(ran)["fixed"]
    assert (ran.code, len(names), list(claims(ran)), LUCK.format("Legacy") in names) == (
        0,
        10,
        ["fixed"],
        True,
    )
    git(root, "checkout", "--quiet", ".")
    ran = fixed(root, edits("shortuuid/main.py", ORDER, SHORT), "--verify", UNITTEST, "--known-failures")
    assert (ran.code, claims(ran)) == (
        10,
        {
            "fixed": [name for name in names if name != LUCK.format("Legacy")],
            "still_failing": [LUCK.format("Legacy")],
            "newly_broken": [LUCK.format("Class")],
        },
    )
    assert ran.result["errors"] == [f"--verify {UNITTEST!r} is newly broken: {LUCK.format('Class')}"]


NODE = {
    "calc.js": "exports.add = (a, b) => a - b;\nexports.twice = (a) => a + a;\n",
    "calc.test.js": (
        "const { test, describe } = require('node:test');\nconst { equal } = require('node:assert');\n"
        "const { add, twice } = require('./calc');\n"
        "describe('sum', () => {\n"
        "  test('adds', () => equal(add(1, 2), 3));\n  test('zero', () => equal(add(0, 0), 0));\n});\n"
        "test('twice', () => equal(twice(2), 4));\n"
    ),
}


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("node --test --test-reporter=tap",), (["sum", "sum > adds"], ["twice"])),
        (("node --test --test-reporter=spec",), (["calc.test.js > adds"], ["calc.test.js > twice"])),
        (
            ("node --test --test-reporter=junit > out.xml", "--verify-junit", "out.xml"),
            (["sum > adds"], ["twice"]),
        ),
    ],
    ids=["tap", "spec", "junit"],
)
def test_node(tmp_path: Path, words: tuple[str, ...], names: tuple[list[str], list[str]]) -> None:
    for name, text in NODE.items():
        (tmp_path / name).write_text(text)
    root = committed(tmp_path)
    right, wrong = ("=> a - b", "=> a + b"), ("=> a + a", "=> a")
    ran = fixed(root, edits("calc.js", right), "--verify", *words)
    assert (ran.code, claims(ran)) == (0, {"fixed": names[0]})
    git(root, "checkout", "--quiet", ".")
    ran = fixed(root, edits("calc.js", right, wrong), "--verify", *words)
    assert (ran.code, claims(ran)) == (10, {"fixed": names[0], "newly_broken": names[1]})
