from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest

from glm_agent.errors import ToolError
from glm_agent.sandbox import unconfined
from glm_agent.tools import bash
from glm_agent.tools.spill import Spill
from glm_agent.types import Tool, ToolOutput


@pytest.fixture
def spill(tmp_path: Path) -> Spill:
    return Spill(tmp_path / "outputs")


@pytest.fixture
def tool(tmp_path: Path, spill: Spill) -> Tool:
    (tmp_path / "root" / "dir").mkdir(parents=True)
    return bash.tool(unconfined(tmp_path / "root"), spill)


def call(tool: Tool, command: str, **arguments: object) -> ToolOutput:
    return tool.run({"command": command, **arguments}, threading.Event())


def timeless(content: str) -> str:
    return re.sub(r"\d+\.\ds\]", "0.0s]", content)


def test_the_answer_is_the_output_and_how_it_ended(tool: Tool) -> None:
    done = call(tool, "echo out; echo err >&2")
    assert timeless(done.content) == "out\nerr\n[exit=0 time=0.0s]"
    assert done.ok
    assert {**done.details, "seconds": 0} == {
        "command": "echo out; echo err >&2",
        "exit_code": 0,
        "seconds": 0,
    }


def test_a_failing_command_is_an_ordinary_answer(tool: Tool) -> None:
    done = call(tool, "printf half; exit 7")
    assert (timeless(done.content), done.ok) == ("half\n[exit=7 time=0.0s]", True)


def test_a_command_that_says_nothing_has_only_a_footer(tool: Tool) -> None:
    assert timeless(call(tool, "true").content) == "[exit=0 time=0.0s]"


def test_every_command_starts_in_the_root(tool: Tool, tmp_path: Path) -> None:
    call(tool, "cd dir && touch there")
    assert call(tool, "pwd -P; ls dir").content.startswith(f"{(tmp_path / 'root').resolve()}\nthere\n")


def test_at_the_deadline_the_output_so_far_comes_back(tool: Tool) -> None:
    done = call(tool, "echo begun; sleep 60", timeout=0.2)
    assert done.content == "begun\n[killed after 0s; raise timeout or run less]"
    assert (done.ok, done.details["exit_code"]) == (False, None)


def test_cancel_ends_it(tool: Tool) -> None:
    cancel = threading.Event()
    threading.Timer(0.05, cancel.set).start()
    done = tool.run({"command": "echo begun; sleep 60"}, cancel)
    assert (timeless(done.content), done.ok) == ("begun\n[cancelled after 0.0s]", False)


def test_odd_bytes_are_shown_escaped(tool: Tool) -> None:
    assert call(tool, r"printf 'a\377b\n'").content.startswith("a\\xffb\n[exit=0")


def test_a_long_output_keeps_both_ends_and_the_whole_of_it_is_named(tool: Tool, spill: Spill) -> None:
    done = call(tool, "seq 1 20000")
    whole = "".join(f"{number}\n" for number in range(1, 20001))
    assert done.content.startswith("1\n2\n3\n")
    start, _, rest = done.content.partition("\n[... ")
    assert 3900 < len(start) <= 4096
    end = "20000\n[the whole output is in output:1: read or search it]\n[exit=0 time="
    assert end in rest
    assert len(done.content) < 16_600
    assert spill.text("output:1") == whole


def test_an_output_that_just_fits_is_not_kept(tool: Tool, tmp_path: Path) -> None:
    done = call(tool, "head -c 16384 /dev/zero | tr '\\0' x")
    assert timeless(done.content) == "x" * 16384 + "\n[exit=0 time=0.0s]"
    assert not (tmp_path / "outputs").exists()


def test_where_an_output_cannot_be_kept_the_answer_still_comes(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = call(bash.tool(unconfined(tmp_path), Spill(tmp_path / "file" / "outputs")), "seq 1 20000")
    assert "\n20000\n[the whole output was not kept: Not a directory]\n[exit=0 " in done.content


@pytest.mark.parametrize(
    ("command", "said"),
    [("  \n", "the command is empty"), ("echo \0", "null byte"), ("x" * 300_000, "put long input in a file")],
)
def test_what_cannot_be_started_is_explained(command: str, said: str, tool: Tool) -> None:
    with pytest.raises(ToolError, match=said):
        call(tool, command)


def test_commands_get_no_key_no_input_and_no_pager(tool: Tool) -> None:
    assert call(tool, "cat; echo $PAGER$GIT_PAGER$TERM").content.startswith("catcatdumb\n")


def test_the_model_s_view_of_it_is_small(tool: Tool) -> None:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    assert len(json.dumps({"type": "function", "function": function})) <= 600
    assert not tool.reads_only
    assert tool.parameters["properties"]["timeout"] == {
        "type": "integer",
        "description": "seconds",
        "default": 120,
        "minimum": 1,
        "maximum": 600,
    }
