from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.errors import ToolError
from glm_agent.tools import search, walk
from glm_agent.tools.arguments import decode
from glm_agent.tools.spill import Spill
from glm_agent.types import ToolOutput
from glm_agent.workspace import Workspace

FILES = {
    ".gitignore": "*.log\nbuild/\n",
    "a.py": "import os\n\ndef find(x):\n    return x\n",
    "src/b.py": "def find(y): pass\n",
    "src/api/c.ts": "find()\n",
    "src/api/d.tsx": "  find(); // twice find\n",
    "src/e.log": "find\n",
    "build/f.py": "find\n",
    "we[i]rd*/g.py": "find me\n",
    "empty.py": "",
}


def git(root: Path, *args: str) -> bytes:
    return subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True).stdout


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository: half of it tracked, none of it committed."""
    root = plant(tmp_path / "repo", FILES)
    git(root, "init", "-q")
    git(root, "add", "a.py", "src")
    return root


@pytest.fixture
def spill(tmp_path: Path) -> Spill:
    return Spill(tmp_path / "outputs")


Search = Callable[..., ToolOutput]


@pytest.fixture
def find(repo: Path, spill: Spill) -> Search:
    return searcher(repo, spill)


def searcher(root: Path, spill: Spill) -> Search:
    tool = search.tool(Workspace(root), spill)

    def find(pattern: str, **more: str | int) -> ToolOutput:
        return tool.run(decode(tool, json.dumps({"pattern": pattern, **more})), threading.Event())

    return find


def files_of(output: ToolOutput) -> list[str]:
    return sorted({line.partition(":")[0] for line in output.content.split("\n")})


def test_matches_are_lines_with_their_place(find: Search) -> None:
    assert find(r"def \w+\((x|y)\)") == ToolOutput(
        "a.py:3: def find(x):\nsrc/b.py:1: def find(y): pass",
        details={"pattern": r"def \w+\((x|y)\)", "path": ".", "glob": "", "shown": 2, "files": 2, "more": 0},
    )


def test_untracked_files_are_searched_and_ignored_ones_are_not(find: Search, repo: Path) -> None:
    plant(repo, {"sub/.git/hooks/x": "find\n"})
    assert files_of(find("find")) == ["a.py", "src/api/c.ts", "src/api/d.tsx", "src/b.py", "we[i]rd*/g.py"]


GLOBS: list[tuple[str, str, list[str]]] = [
    ("*.py", ".", ["a.py", "src/b.py", "we[i]rd*/g.py"]),
    ("*.{ts,tsx}", ".", ["src/api/c.ts", "src/api/d.tsx"]),
    ("*.ts?", ".", ["src/api/d.tsx"]),
    ("[a-c].*", ".", ["a.py", "src/api/c.ts", "src/b.py"]),
    ("[!a-c].py", ".", ["we[i]rd*/g.py"]),
    ("src/**/*.ts", ".", ["src/api/c.ts"]),
    ("src/*.ts", ".", []),
    ("/*.py", ".", ["a.py"]),
    ("./src/b.py", ".", ["src/b.py"]),
    ("**/api/**", ".", ["src/api/c.ts", "src/api/d.tsx"]),
    ("src/", ".", ["src/api/c.ts", "src/api/d.tsx", "src/b.py"]),
    ("!*.py", ".", ["src/api/c.ts", "src/api/d.tsx"]),
    ("api/*.ts", "src", ["src/api/c.ts"]),
    ("src/api/*.ts", "src", ["src/api/c.ts"]),
    ("*.py", "src", ["src/b.py"]),
    ("*.py", "we[i]rd*", ["we[i]rd*/g.py"]),
    ("{src,we*}/{b,g}.py", ".", ["src/b.py", "we[i]rd*/g.py"]),
    ("we\\[i\\]rd\\*/*", ".", ["we[i]rd*/g.py"]),
    ("", "src/api", ["src/api/c.ts", "src/api/d.tsx"]),
    ("", "src/b.py", ["src/b.py"]),
    ("*.py", "src/b.py", []),
]


@pytest.mark.parametrize(("glob", "path", "files"), GLOBS)
def test_a_glob_means_what_ignore_files_mean_by_it(
    find: Search, glob: str, path: str, files: list[str]
) -> None:
    found = find("find", glob=glob, path=path)
    assert ([] if found.details["shown"] == 0 else files_of(found)) == files


@pytest.mark.parametrize(("glob", "path", "files"), GLOBS)
def test_a_glob_means_the_same_without_git(repo: Path, glob: str, path: str, files: list[str]) -> None:
    found = [name for name in walk.names(str(repo), path) if walk.matcher(glob, path)(name)]
    hidden = {"build/f.py", "src/e.log", ".gitignore", "empty.py"}
    assert sorted(set(found) - hidden) == files


def test_a_path_is_no_pattern(find: Search, repo: Path) -> None:
    plant(repo, {"weird-x/h.py": "find\n", "weird.py": "find\n"})
    assert files_of(find("find", path="we[i]rd*")) == ["we[i]rd*/g.py"]
    assert files_of(find("find", path="we[i]rd*", glob="*.py")) == ["we[i]rd*/g.py"]


@given(st.text("ab*?[]!{},/.\\", max_size=12), st.text("ab/", max_size=10))
def test_any_glob_can_be_compiled(glob: str, path: str) -> None:
    assert walk.matcher(glob, ".")(path) in (True, False)


def test_a_glob_of_many_stars_is_matched_at_once() -> None:
    fits = walk.matcher("*a" * 200 + "b/" + "**/" * 100 + "c", ".")
    before = time.monotonic()
    assert not fits("a" * 255 + "/" + "d/" * 100 + "d")
    assert time.monotonic() - before < 0.5


def test_files_are_listed_when_the_pattern_is_empty(find: Search, repo: Path) -> None:
    (repo / "src/b.py").unlink()
    assert sorted(find("", glob="*.py").content.split("\n")) == ["a.py", "empty.py", "we[i]rd*/g.py"]
    assert find("", path="src", max=1).content.split("\n")[1:] == ["[1 more files]"]
    assert find("", glob="*.rs").content == "no files that fit *.rs (ignored files are not listed)"


def test_no_match_is_an_answer(find: Search) -> None:
    found = find("nowhere", path="src", glob="*.py")
    expected = (
        "no match for nowhere in src in files that fit *.py (ignored and binary files are not searched)"
    )
    assert (found.content, found.ok) == (expected, True)


def test_what_was_cut_is_counted(find: Search, repo: Path) -> None:
    plant(repo, {f"many/{name}.txt": "hit\n" * 200 for name in "abc"})
    lines = find("hit").content.split("\n")
    assert lines[:100] == [f"many/a.txt:{number}: hit" for number in range(1, 101)]
    assert lines[100:] == ["[500 more matches in 3 files]"]
    assert find("hit", max=1000).details["shown"] == 600


def test_an_answer_has_at_most_16_kb(find: Search, repo: Path) -> None:
    plant(repo, {"wide.txt": "é" * 250 + "hit\n" + "é" * 250 + "hit\n" * 2000})
    content = find("hit|é", max=1000).content
    assert 15_000 < len(content.encode()) <= 16 * 1024


def test_counting_stops_somewhere(find: Search, repo: Path) -> None:
    plant(repo, {"huge.txt": "hit\n" * 50_000})
    assert find("hit", max=5).content.split("\n")[5:] == ["[at least 10000 more matches in 1 files]"]


def test_a_long_line_is_shown_around_its_match(find: Search, repo: Path) -> None:
    plant(repo, {"min.js": "ä" * 5000 + "NEEDLE" + "b" * 6_000_000 + "\nNEEDLE\n"})
    first, second = find("NEEDLE").content.split("\n")
    assert first.startswith("min.js:1: [4,925 characters] …" + "ä" * 75 + "NEEDLE" + "b" * 219 + "…")
    assert second == "min.js:2: NEEDLE"


def test_odd_names_and_bytes_are_shown_in_one_line(find: Search, repo: Path) -> None:
    (repo / os.fsdecode(b"na\nm\xff:1:e")).write_bytes(b"caf\xe9 odd\r\n")
    assert find("odd").content == "'na\\nm\\udcff:1:e':1: café odd"


@pytest.mark.parametrize("pattern", ["-e", "-E", "--help", "-f/etc/passwd", "--open-files-in-pager=touch x"])
def test_a_pattern_is_never_an_option(find: Search, repo: Path, pattern: str) -> None:
    plant(repo, {"dash.txt": f"say {pattern}\n"})
    assert find(pattern).content == f"dash.txt:1: say {pattern}"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"pattern": "("}, r"^bad pattern: .*missing closing parenthesis"),
        ({"pattern": "[z-a]"}, "^bad pattern: .*range out of order"),
        ({"pattern": "a\nb"}, "line by line"),
        ({"pattern": "x" * 1001}, "at most 1000"),
        ({"pattern": "x", "path": "gone"}, "gone does not exist"),
        ({"pattern": "x", "path": "../x"}, "above"),
        ({"pattern": "x", "path": ".git"}, "git's own"),
        ({"pattern": "x", "path": "src/.GIT/config"}, "git's own"),
        ({"pattern": "x", "glob": "../**"}, "may not hold '..'"),
        ({"pattern": "x", "glob": "{a,..}/x"}, "may not hold '..'"),
        ({"pattern": "x", "path": "out"}, "symbolic link, to /etc"),
        ({"pattern": "x", "path": "output:1"}, "there is no output:1"),
        ({"pattern": "x", "max": 0}, "'max' is 0"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    find: Search, repo: Path, arguments: dict[str, str], says: str
) -> None:
    (repo / "out").symlink_to("/etc")
    with pytest.raises(ToolError, match=says):
        find(**arguments)


@pytest.mark.parametrize("glob", ["/etc/*", "*", "**", "{" * 200, "[", "{a,b}" * 60, ".git/**"])
def test_an_odd_glob_shows_nothing_from_elsewhere(find: Search, glob: str) -> None:
    inside = {*files_of(find("find")), "a.py"}
    found = find("find", glob=glob)
    assert found.details["shown"] == 0 or set(files_of(found)) <= inside


def test_a_pattern_that_backtracks_for_ever_is_refused(find: Search, repo: Path) -> None:
    plant(repo, {"aaa": "a" * 50 + "!\n"})
    with pytest.raises(ToolError, match="backtracks too much"):
        find(r"^(a+)+$")


def test_a_cancelled_search_ends_at_once(tmp_path: Path, spill: Spill) -> None:
    name = spill.save(b"a" * 60 + b"!\n")
    tool = search.tool(Workspace(tmp_path), spill)
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    before = time.monotonic()
    with pytest.raises(ToolError, match="cancelled"):
        tool.run(decode(tool, json.dumps({"pattern": "^(a+)+$", "path": name})), cancel)
    assert time.monotonic() - before < 1


def test_a_search_that_takes_too_long_says_so(tmp_path: Path, spill: Spill) -> None:
    name = spill.save(b"start a\n" + b"a" * 60 + b"!\n")
    tool = search.tool(Workspace(tmp_path), spill, seconds=0.2)
    found = tool.run(
        decode(tool, json.dumps({"pattern": "a (?!b)|^(a+)+$", "path": name})), threading.Event()
    )
    assert found.content.split("\n")[-1].startswith("[stopped after its time, there may be more")


def test_a_kept_output_is_searched(find: Search, spill: Spill) -> None:
    name = spill.save(b"one\n\xff two\nthree" + b"x" * 2000 + b" two\n")
    lines = find("two", path=name).content.split("\n")
    assert [line[:14] for line in lines] == ["output:1:2: ÿ ", "output:1:3: [1"]
    with pytest.raises(ToolError, match="bad pattern: missing \\), unterminated subpattern"):
        find("(", path=name)


def test_a_directory_that_is_no_repository_is_searched_all_the_same(tmp_path: Path, spill: Spill) -> None:
    find = searcher(plant(tmp_path / "plain", FILES), spill)
    assert files_of(find("find")) == ["a.py", "src/api/c.ts", "src/api/d.tsx", "src/b.py", "we[i]rd*/g.py"]
    assert find("find", glob="*.ts").content == "src/api/c.ts:1: find()"
    assert find("", glob="*.{py,log}", path="src").content == "src/b.py\nsrc/e.log"


def test_a_directory_that_ignores_itself_is_not_walked(tmp_path: Path) -> None:
    for name, rules in (("cache", "# by a tool\n*\n"), ("source", "*.log\n"), (".", "*\n")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / ".gitignore").write_text(rules)
        (tmp_path / name / "f").touch()
    assert list(walk.names(str(tmp_path), ".")) == [".gitignore", "f", "source/.gitignore", "source/f"]


def test_a_broken_repository_is_searched_all_the_same(find: Search, repo: Path) -> None:
    shutil.rmtree(repo / ".git/objects")
    assert find("find", glob="*.ts").content == "src/api/c.ts:1: find()"
    assert find("", glob="*.ts").content == "src/api/c.ts"


def test_a_machine_without_git_is_served(repo: Path, spill: Spill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    find = searcher(repo, spill)
    assert find(r"find\(\w\)").content == "a.py:3: def find(x):\nsrc/b.py:1: def find(y): pass"
    assert find("find", path="src", glob="!*.log", max=1).content.split("\n")[1:] == [
        "[2 more matches in 2 files]"
    ]
    assert find("", glob="*.tsx").content == "src/api/d.tsx"
    with pytest.raises(ToolError, match="bad pattern: missing"):
        find("(")


def test_a_git_without_pcre_is_served_and_it_is_said(
    repo: Path, spill: Spill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("git")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text(
        "#!/bin/sh\nfor word; do\n"
        '[ "$word" = -P ] && echo "fatal: cannot use Perl-compatible regexes" >&2 && exit 128\n'
        f'done\nexec {real} "$@"\n'
    )
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    assert searcher(repo, spill)("def (find|lose)\\(x").content == (
        "a.py:3: def find(x):\n[this git has no PCRE: the pattern was read as POSIX extended]"
    )


def test_settings_of_the_repository_change_nothing(find: Search, repo: Path) -> None:
    expected = find("find").content
    for setting in ("grep.fullName=true", "grep.patternType=fixed", "color.grep=always", "grep.column=false"):
        git(repo, "config", *setting.split("="))
    assert find("find").content == expected


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_80_000_files_cost_little_more_than_plain_git_grep(
    tmp_path: Path, spill: Spill, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "big"
    for folder in range(400):
        (root / f"d{folder % 20}/e{folder}").mkdir(parents=True)
        for number in range(200):
            text = f"value = {number}\n" * 8
            (root / f"d{folder % 20}/e{folder}/f{number}.py").write_text(text)
    plant(root, {"d7/e7/f7.py": "needle\n"})
    git(root, "init", "-q")
    git(root, "add", "-A")
    find = searcher(root, spill)
    tasks: dict[str, Callable[[], object]] = {
        "plain git grep": lambda: git(root, "grep", "-P", "-n", "-e", "needle"),
        "search, one match": lambda: find("needle"),
        "search, 640,000 matches": lambda: find("value"),
        "search, one directory": lambda: find("value", path="d7/e7"),
        "list *7.py": lambda: find("", glob="*7.py"),
    }
    assert find("needle").content == "d7/e7/f7.py:1: needle"
    times = {name: statistics.median(timed(task) for _ in range(5)) for name, task in tasks.items()}
    with capsys.disabled():
        print(*(f"\n{name}: {1000 * seconds:.0f} ms" for name, seconds in times.items()))  # noqa: T201
    assert times["search, one match"] < 3 * times["plain git grep"] + 0.1


def timed(task: Callable[[], object]) -> float:
    before = time.perf_counter()
    task()
    return time.perf_counter() - before
