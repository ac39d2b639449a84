from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from glm_agent.errors import ToolError
from glm_agent.tools.repeats import Memory, guard
from glm_agent.types import Arguments, Json, Tool, ToolOutput

NOT_RUN = (
    "not run: this very call gave the same result 2 times, and nothing was changed since; "
    "use what it said, or do something else"
)


class Desk:
    """Guarded tools whose results are set by the test, and a record of what really ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.result: Callable[[], ToolOutput] = lambda: ToolOutput("same")
        kit = [
            self.make("read", "path"),
            self.make("write", "path", False),
            self.make("bash", "command", False),
        ]
        self.tools = {tool.name: tool for tool in guard(kit, Memory())}

    def make(self, name: str, parameter: str, reads_only: bool = True) -> Tool:
        def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
            self.ran.append(f"{name} {arguments[parameter]}")
            return self.result()

        parameters: Json = {"type": "object", "properties": {parameter: {"type": "string"}}}
        return Tool(name, f"does {name}", parameters, run, reads_only)

    def call(self, name: str, value: str) -> str:
        arguments = {"command" if name == "bash" else "path": value}
        try:
            return self.tools[name].run(arguments, threading.Event()).content
        except ToolError as error:
            return str(error)

    def calls(self, *made: str) -> list[str]:
        return [self.call(*each.split(" ")) for each in made]


def test_the_third_identical_call_with_an_identical_result_is_not_run() -> None:
    desk = Desk()
    assert desk.calls("read a", "read a", "read a", "read a") == ["same", "same", NOT_RUN, NOT_RUN]
    assert desk.ran == ["read a", "read a"]


def test_other_calls_that_only_read_do_not_matter() -> None:
    desk = Desk()
    assert desk.calls("read a", "read b", "read a", "read b", "read a") == [*["same"] * 4, NOT_RUN]


def test_a_result_that_changes_is_always_asked_for_again() -> None:
    desk = Desk()
    desk.result = lambda: ToolOutput(str(len(desk.ran)))
    assert desk.calls(*["read a"] * 4) == ["1", "2", "3", "4"]


def test_two_of_the_same_after_another_settle_it() -> None:
    desk = Desk()
    desk.result = lambda: ToolOutput("whole" if len(desk.ran) == 1 else "unchanged")
    assert desk.calls(*["read a"] * 4) == ["whole", "unchanged", "unchanged", NOT_RUN]


def test_after_a_write_everything_is_run_again() -> None:
    desk = Desk()
    desk.calls("read a", "read a", "bash ls", "bash ls", "read a", "read a", "write b")
    assert desk.calls("read a", "read a", "bash ls", "read a") == ["same"] * 4


def test_after_another_command_everything_is_run_again() -> None:
    desk = Desk()
    assert desk.calls("read a", "read a", "bash ls", "read a") == ["same"] * 4
    assert desk.calls("bash ls", "bash id", "bash ls", "bash ls", "bash ls") == [*["same"] * 4, NOT_RUN]


def test_a_write_that_succeeds_may_be_repeated() -> None:
    assert Desk().calls(*["write a"] * 4) == ["same"] * 4


def test_a_write_that_fails_changes_nothing_and_is_a_result_too() -> None:
    desk = Desk()
    desk.calls("read a", "read a")

    def fail() -> ToolOutput:
        raise ToolError("no such place")

    desk.result = fail
    assert desk.calls("write b", "write b", "write b") == ["no such place", "no such place", NOT_RUN]
    assert desk.calls("read a") == [NOT_RUN]


def test_a_failure_and_a_success_are_different_results() -> None:
    desk = Desk()
    desk.result = lambda: ToolOutput("same", ok=len(desk.ran) != 2)
    assert desk.calls(*["read a"] * 5) == [*["same"] * 4, NOT_RUN]


def test_the_time_of_a_command_and_where_its_output_is_kept_are_no_difference() -> None:
    desk = Desk()

    def result() -> ToolOutput:
        kept = f"[the whole output is in output:{len(desk.ran)}: read or search it]"
        return ToolOutput(f"FAILED\n{kept}\n[exit=1 time={len(desk.ran)}.0s]")

    desk.result = result
    assert desk.calls(*["bash test"] * 3)[2] == NOT_RUN
    assert desk.calls(*["read test"] * 3)[2] != NOT_RUN


def test_a_different_exit_is_a_difference() -> None:
    desk = Desk()
    desk.result = lambda: ToolOutput(f"[exit={len(desk.ran)} time=1.0s]")
    assert NOT_RUN not in desk.calls(*["bash test"] * 4)


def test_the_order_of_arguments_is_no_difference() -> None:
    tool = guard([Desk().make("read", "path")], Memory())[0]
    for arguments in ({"path": "a", "limit": 1}, {"limit": 1, "path": "a"}):
        tool.run(arguments, threading.Event())
    with pytest.raises(ToolError, match=r"^not run: "):
        tool.run({"path": "a", "limit": 1}, threading.Event())


def test_a_guarded_tool_looks_like_itself() -> None:
    tool = Desk().make("read", "path")
    assert guard([tool], Memory())[0]._replace(run=tool.run) == tool
