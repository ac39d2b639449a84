"""What a diff takes out of tests."""

from __future__ import annotations

import pytest

from glm_agent.sections import Section
from glm_agent.weakening import find

TEST = "def test_b():\n    assert b"
GONE = "1 assertion removed"
SKIPS = "1 mark added that skips tests, or all others"


def changed(path: str, removed: str = "", added: str = "") -> Section:
    return Section(path, [], [*filter(None, added.split("\n"))], [*filter(None, removed.split("\n"))])


@pytest.mark.parametrize(
    ("path", "removed", "added", "said"),
    [
        ("tests/test_a.py", "def test_b():\n    assert b == 1", "", f"1 test removed (test_b); {GONE}"),
        ("test_a.py", "    async def test_b(self):", "", "1 test removed (test_b)"),
        ("t_test.py", "        self.assertEqual(a, 1)", "", GONE),
        ("tests/a.py", "    with pytest.raises(ValueError):", "", GONE),
        ("tests/a.py", "    assert a == 1", "    assert a", "1 assertion changed"),
        ("tests/a.py", "    assert a\n    assert b", "    assert c", f"{GONE}; 1 assertion changed"),
        ("tests/a.py", "", "@pytest.mark.xfail", SKIPS),
        ("tests/a.py", "", "    pytest.skip('x')", SKIPS),
        ("tests/a.py", "", "    @unittest.skipIf(x, 'y')", SKIPS),
        ("a.test.ts", "it('adds', () => {\n  expect(1)", "", f"1 test removed ('adds'); {GONE}"),
        ("a.spec.js", "", "  it.only('adds', () => {", SKIPS),
        ("a.spec.js", "", "xdescribe('adds', () => {", SKIPS),
        ("a_test.go", "func TestA(t *testing.T) {\n\tt.Errorf(x)", "", f"1 test removed (TestA); {GONE}"),
        ("a_test.go", "", "\tt.Skip()", SKIPS),
        ("src/a.rs", "    #[test]\n    assert_eq!(a, 1);", "", f"1 test removed; {GONE}"),
        ("src/a.rs", "", "    #[ignore]", SKIPS),
        ("src/test/ATest.java", "    @Test\n    assertEquals(1, a);", "", f"1 test removed; {GONE}"),
        ("src/test/ATest.java", "", "    @Disabled", SKIPS),
    ],
)
def test_what_a_test_file_loses_is_said(path: str, removed: str, added: str, said: str) -> None:
    assert find([changed(path, removed, added)]) == [f"{path}: {said}"]


@pytest.mark.parametrize(
    "files",
    [
        [changed("src/a.py", "    assert a", "")],
        [changed("tests/a.py", "", "def test_b():\n    assert b")],
        [changed("tests/a.py", "    assert a\n", "        assert a")],
        [changed("tests/a.py", TEST), changed("tests/c.py", "", TEST)],
        [changed("tests/a.py", "@pytest.mark.skip", "@pytest.mark.skip")],
        [changed("tests/a.py", "@pytest.mark.skip", "")],
        [changed("docs/latest/a.md", "assert it", "")],
        [changed("tests/a.py", "a = assertion", "b = skipped")],
    ],
)
def test_what_is_moved_or_new_or_no_test_is_not(files: list[Section]) -> None:
    assert find(files) == []


def test_many_files_are_few_lines() -> None:
    lines = find([changed(f"tests/{number}.py", "    assert a") for number in range(13)])
    assert (len(lines), lines[-1]) == (11, "and 3 more test files like these")
