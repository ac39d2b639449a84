from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from glm_agent.errors import ToolError
from glm_agent.tools import read
from glm_agent.tools.arguments import decode
from glm_agent.tools.seen import Seen
from glm_agent.tools.spill import Spill
from glm_agent.types import Tool, ToolOutput
from glm_agent.workspace import Workspace


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def spill(tmp_path: Path) -> Spill:
    return Spill(tmp_path / "outputs")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    (root / "ten.txt").write_text("".join(f"line {number}\n" for number in range(1, 11)))
    return root


@pytest.fixture
def tool(root: Path, seen: Seen, spill: Spill) -> Tool:
    return read.tool(Workspace(root), seen, spill)


def call(tool: Tool, **arguments: str | int) -> ToolOutput:
    return tool.run(decode(tool, json.dumps(arguments)), threading.Event())


def test_a_file_comes_with_its_range_and_nothing_is_numbered(tool: Tool) -> None:
    assert call(tool, path="./ten.txt", limit=2) == ToolOutput(
        "ten.txt (lines 1-2 of 10)\nline 1\nline 2\n[8 more lines: offset=3]",
        details={"path": "ten.txt", "first": 1, "last": 2, "total": 10},
    )
    assert call(tool, path="ten.txt", offset=9).content == "ten.txt (lines 9-10 of 10)\nline 9\nline 10"


def test_offset_zero_is_the_first_line(tool: Tool) -> None:
    assert call(tool, path="ten.txt", offset=0, limit=1).content.startswith(
        "ten.txt (lines 1-1 of 10)\nline 1\n"
    )


def test_an_offset_beyond_the_end_says_where_the_end_is(tool: Tool) -> None:
    with pytest.raises(ToolError, match=r"^ten\.txt has 10 lines; offset=11 is beyond its end$"):
        call(tool, path="ten.txt", offset=11)


def test_an_empty_file_is_said_to_be_empty(tool: Tool, root: Path) -> None:
    (root / "empty").touch()
    assert call(tool, path="empty").content == "empty is empty"


def test_only_a_newline_ends_a_line(tool: Tool, root: Path) -> None:
    (root / "odd").write_bytes("a\u2028b\x0cc\x85\r\nd\n\n".encode())
    assert call(tool, path="odd").content == "odd (lines 1-3 of 3)\na\u2028b\x0cc\x85\nd\n"


def test_a_page_has_at_most_16_kb_and_its_lines_2000_characters(tool: Tool, root: Path) -> None:
    lines = ["é" * 5000, *("x" * 999 for _ in range(100))]
    (root / "big").write_text("\n".join(lines))
    page = call(tool, path="big")
    header, first, *rest, footer = page.content.split("\n")
    assert header == f"big (lines 1-{len(rest) + 1} of 101)"
    assert first == "é" * 2000 + "… [3,000 more characters]"
    assert set(rest) == {"x" * 999}
    assert footer == f"[{100 - len(rest)} more lines: offset={len(rest) + 2}]"
    assert 15 * 1024 < len(page.content.encode()) <= 16 * 1024


def test_pages_put_together_are_the_file(tool: Tool, root: Path) -> None:
    text = "\n".join(f"{number} {'y' * (number % 97)}" for number in range(3000))
    (root / "long").write_text(text)
    offset, found = 1, list[str]()
    while offset <= 3000:
        page = call(tool, path="long", offset=offset)
        found += page.content.split("\n")[1 : 2 + page.details["last"] - page.details["first"]]
        offset = page.details["last"] + 1
    assert "\n".join(found) == text


def test_the_same_view_of_an_unchanged_file_is_a_stub(tool: Tool, root: Path, seen: Seen) -> None:
    first = call(tool, path="ten.txt").content
    assert call(tool, path="./ten.txt").content == "unchanged since your read above (ten.txt lines 1-10)"
    assert call(tool, path="ten.txt", limit=3).content.startswith("ten.txt (lines 1-3 of 10)\n")
    (root / "ten.txt").write_text("other\n")
    assert call(tool, path="ten.txt").content == "ten.txt (lines 1-1 of 1)\nother"
    (root / "ten.txt").write_text("".join(f"line {number}\n" for number in range(1, 11)))
    assert call(tool, path="ten.txt").content == first
    seen.forget()
    assert call(tool, path="ten.txt").content == first


def test_a_read_is_no_stub_of_a_later_one_that_ran_beside_it(tool: Tool) -> None:
    """The first thread is started first, but the second reads first."""
    begin, contents = threading.Event(), dict[str, str]()

    def read(name: str) -> None:
        if name == "first":
            begin.wait(5)
        contents[name] = call(tool, path="ten.txt").content

    first = threading.Thread(target=read, args=("first",))
    first.start()
    for name in ("second", "third"):
        later = threading.Thread(target=read, args=(name,))
        later.start()
        later.join()
    begin.set()
    first.join()
    assert contents["first"] == contents["second"] != contents["third"]
    assert contents["third"].startswith("unchanged since your read above")


def test_a_directory_gives_its_listing(tool: Tool, root: Path) -> None:
    (root / "sub/.git").mkdir(parents=True)
    (root / "link").symlink_to("ten.txt")
    (root / "new\nline").touch()
    assert call(tool, path=".").content == "./ (4 entries)\nlink (link)\n'new\\nline'\nsub/\nten.txt"
    assert call(tool, path="sub").content == "sub/ is an empty directory"


def test_a_long_listing_is_cut_and_counted(tool: Tool, root: Path) -> None:
    (root / "many").mkdir()
    for number in range(250):
        (root / f"many/{number:03}").touch()
    lines = call(tool, path="many").content.split("\n")
    assert lines[0] == "many/ (250 entries)"
    assert lines[1:201] == [f"{number:03}" for number in range(200)]
    assert lines[201:] == ["[50 more entries: search with an empty pattern and a glob]"]


def test_a_kept_output_is_read_by_its_name(tool: Tool, spill: Spill) -> None:
    spill.save(b"one\ntwo\n")
    assert call(tool, path="output:1", offset=2).content == "output:1 (lines 2-2 of 2)\ntwo"
    with pytest.raises(ToolError, match="there is no output:2"):
        call(tool, path="output:2")


@pytest.mark.parametrize(
    ("path", "says"),
    [("gone", "does not exist"), ("../x", "above"), (".git/config", "git's own"), ("blob", "is binary")],
)
def test_what_cannot_be_read_is_refused(tool: Tool, root: Path, path: str, says: str) -> None:
    (root / "blob").write_bytes(b"\0")
    with pytest.raises(ToolError, match=says):
        call(tool, path=path)


def test_what_was_read_is_noted(tool: Tool, root: Path, seen: Seen) -> None:
    call(tool, path="ten.txt", limit=1)
    text = (root / "ten.txt").read_text()
    assert (seen.knows("ten.txt"), seen.unchanged("ten.txt", text), seen.unchanged("ten.txt", "x")) == (
        True,
        True,
        False,
    )
