from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from fakes import Script, call, calls, echo, says, tool

from glm_agent.agent import Agent
from glm_agent.budget import Budget
from glm_agent.errors import ProviderError, ToolError
from glm_agent.types import (
    Arguments,
    Assistant,
    Cap,
    Complete,
    Discarded,
    Event,
    Message,
    Retrying,
    Said,
    Stopped,
    TextDelta,
    Tool,
    ToolCall,
    ToolOutput,
    ToolResult,
    ToolStarted,
    User,
)

READ = tool("read", echo)
WRITE = tool("write", echo, reads_only=False)


def agent(complete: Complete, *tools: Tool, turns: int = 100, tool_calls: int = 100) -> Agent:
    caps: dict[Cap, float] = {"max_turns": turns, "max_tool_calls": tool_calls}
    return Agent(complete, {each.name: each for each in tools}, Budget(caps=caps))


def run(script: Script, *tools: Tool) -> list[Event]:
    return list(agent(script, *tools).run([], "Go"))


def results(events: list[Event]) -> list[ToolResult]:
    said = [event.message for event in events if isinstance(event, Said)]
    return [message for message in said if isinstance(message, ToolResult)]


def test_an_answer_without_calls_is_the_end() -> None:
    deltas = [TextDelta("Hi"), Retrying(1, 0.5, "busy"), Discarded("broken", Assistant("H"))]
    script = Script(says("Hi"), steps=deltas)
    assert run(script) == [Said(User("Go")), *deltas, Said(says("Hi")), Stopped("done", 1)]
    assert script.asked == [[User("Go")]]


def test_results_go_back_until_the_model_answers() -> None:
    first, second = call(1, "read", text="a"), call(2, "write", text="b")
    script = Script(calls(first, text="Let me see"), calls(second), says("Done"))
    history: list[Message] = []
    events = list(agent(script, READ, WRITE).run(history, "Go"))
    assert events == [
        Said(User("Go")),
        Said(calls(first, text="Let me see")),
        ToolStarted(first),
        Said(ToolResult("call_1", "echo a")),
        Said(calls(second)),
        ToolStarted(second),
        Said(ToolResult("call_2", "echo b")),
        Said(says("Done")),
        Stopped("done", 3),
    ]
    assert history == [event.message for event in events if isinstance(event, Said)]
    assert script.asked == [history[:1], history[:3], history[:5]]


def test_readers_run_together_and_results_keep_the_models_order() -> None:
    meeting = threading.Barrier(3, timeout=5)

    def meet(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        meeting.wait()
        time.sleep(0.05 if arguments["text"] == "a" else 0)  # the first is the last to end
        return ToolOutput(arguments["text"])

    made = [call(number, "meet", text=text) for number, text in enumerate("abc")]
    events = run(Script(calls(*made), says("Done")), tool("meet", meet))
    assert events[2:-2] == [
        *map(ToolStarted, made),
        *(Said(ToolResult(f"call_{number}", text)) for number, text in enumerate("abc")),
    ]


def test_a_writer_runs_alone_in_its_place() -> None:
    running: list[str] = []
    seen: list[tuple[str, list[str]]] = []

    def note(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        running.append(arguments["text"])
        time.sleep(0.02)
        seen.append((arguments["text"], sorted(running)))
        running.remove(arguments["text"])
        return ToolOutput(arguments["text"])

    kit = tool("look", note), tool("change", note, reads_only=False)
    names = ["look", "change", "change", "look"]
    made = [call(number, name, text=str(number)) for number, name in enumerate(names)]
    events = run(Script(calls(*made), says("Done")), *kit)
    assert seen == [(str(number), [str(number)]) for number in range(4)]
    assert [result.content for result in results(events)] == ["0", "1", "2", "3"]


def test_no_more_than_eight_readers_run_at_once() -> None:
    running: set[int] = set()
    most: list[int] = []
    full = threading.Event()

    def count(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        running.add(threading.get_ident())
        if len(running) == 8:
            full.set()
        full.wait(5)
        time.sleep(0.02)  # a ninth would come now
        most.append(len(running))
        running.discard(threading.get_ident())
        return ToolOutput("")

    made = [call(number, "count") for number in range(16)]
    events = run(Script(calls(*made), says("Done")), tool("count", count))
    assert (max(most), len(results(events))) == (8, 16)


def test_of_two_hundred_calls_in_a_turn_sixteen_are_run_and_all_are_answered() -> None:
    made = [call(number, "read" if number % 5 else "write", text=str(number)) for number in range(200)]
    script = Script(calls(*made), calls(call(200, "read", text="on")), says("Done"))
    one = agent(script, READ, WRITE)
    events = list(one.run([], "Go"))
    too_many = "error: not run: only 16 calls are run in one turn; ask for fewer at once"
    assert [event.call for event in events if isinstance(event, ToolStarted)] == [
        *made[:16],
        call(200, "read", text="on"),
    ]
    assert results(events) == [
        *(ToolResult(f"call_{number}", f"echo {number}") for number in range(16)),
        *(ToolResult(f"call_{number}", too_many, ok=False) for number in range(16, 200)),
        ToolResult("call_200", "echo on"),
    ]
    assert one.budget.calls == 17, "what is not run counts against no cap"


def test_every_call_gets_exactly_one_answer_whatever_happens() -> None:
    def refuse(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        raise ToolError("no such file; list the folder")

    def crash(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        raise KeyError("bug")

    def leave(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        raise SystemExit

    kit = READ, tool("refuse", refuse), tool("crash", crash), tool("leave", leave)
    made = [
        call(1, "read", text="a"),
        call(2, "grep"),
        ToolCall("call_3", "read", '{"text": "cut'),
        ToolCall("call_4", "read", "[1]"),
        call(5, "refuse"),
        call(6, "crash"),
        call(7, "leave"),
        ToolCall("call_8", "", ""),
        ToolCall("call_9", "read", ""),
    ]
    here = "use one of read, refuse, crash, leave"
    assert results(run(Script(calls(*made), says("Done")), *kit)) == [
        ToolResult("call_1", "echo a"),
        ToolResult("call_2", f"error: there is no tool 'grep' here; {here}", ok=False),
        ToolResult(
            "call_3",
            "error: arguments are not one JSON object: Unterminated string starting at at character 10 of 13"
            "; nothing was run, send the whole call again",
            ok=False,
        ),
        ToolResult("call_4", "error: arguments must be one JSON object, not a list", ok=False),
        ToolResult("call_5", "error: no such file; list the folder", ok=False),
        ToolResult("call_6", "error: crash crashed: KeyError('bug')", ok=False),
        ToolResult("call_7", "error: leave crashed: SystemExit()", ok=False),
        ToolResult("call_8", f"error: there is no tool '' here; {here}", ok=False),
        ToolResult("call_9", "echo "),
    ]


def test_a_result_has_its_details() -> None:
    counted = tool("count", lambda arguments, cancel: ToolOutput("3", False, {"lines": 3}))
    events = run(Script(calls(call(1, "count")), says("Done")), counted)
    assert results(events) == [ToolResult("call_1", "3", False, {"lines": 3})]


def reads() -> Iterator[Assistant]:
    number = 0
    while True:
        number += 1
        yield calls(call(number, "read"))


def looping(length: int) -> Script:
    turns = reads()
    return Script(*(next(turns) for _ in range(length)))


def test_the_cap_on_turns_counts_over_all_runs() -> None:
    turns = reads()
    one = agent(Script(next(turns), says("Half"), next(turns), next(turns)), READ, turns=4)
    history: list[Message] = []
    assert list(one.run(history, "Go"))[-1] == Stopped("done", 2)
    assert list(one.run(history, "On"))[-1] == Stopped("max_turns", 4)
    assert isinstance(history[-1], ToolResult), "the last call is still answered"
    assert list(one.run(history, "On")) == [Said(User("On")), Stopped("max_turns", 4)]


def test_calls_beyond_the_cap_are_answered_but_not_run() -> None:
    ran: list[str] = []

    def note(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        ran.append(arguments["text"])
        return ToolOutput("done")

    made = [call(number, "note", text=str(number)) for number in range(3)]
    events = list(agent(Script(calls(*made)), tool("note", note), tool_calls=2).run([], "Go"))
    note_to_land = "\n\n[note: at most 0 more steps. Secure a working change now, check it, and report.]"
    assert results(events) == [
        ToolResult("call_0", "done"),
        ToolResult("call_1", "done"),
        ToolResult("call_2", "error: not run: the cap on tool calls is reached", ok=False, note=note_to_land),
    ]
    assert (sorted(ran), events[-1]) == (["0", "1"], Stopped("max_tool_calls", 1))


def test_the_cap_on_calls_counts_over_all_runs() -> None:
    turns = reads()
    one = agent(Script(next(turns), says("Half"), next(turns)), READ, tool_calls=2)
    history: list[Message] = []
    assert list(one.run(history, "Go"))[-1] == Stopped("done", 2)
    assert list(one.run(history, "On"))[-1] == Stopped("max_tool_calls", 3)


def notes(events: list[Event]) -> list[tuple[int, str]]:
    """The results that carry a note, by the number of their turn."""
    return [(number, result.note) for number, result in enumerate(results(events), 1) if result.note]


@pytest.mark.parametrize("caps", [{"turns": 10}, {"tool_calls": 10}])
def test_near_a_cap_the_model_is_told_once_in_the_result_it_reads_next(caps: dict[str, int]) -> None:
    events = list(agent(looping(10), READ, **caps).run([], "Go"))
    told = "\n\n[note: at most 1 more steps. Secure a working change now, check it, and report.]"
    assert notes(events) == [(9, told)]


def test_the_note_is_in_the_last_result_of_its_turn() -> None:
    made = [call(number, "read") for number in range(3)]
    events = list(agent(Script(calls(*made), says("Done")), READ, tool_calls=3).run([], "Go"))
    assert [number for number, _ in notes(events)] == [3]


def test_an_error_of_the_provider_passes_through_and_leaves_a_sound_history() -> None:
    def fail(history: list[Message]) -> Iterator[TextDelta]:
        yield TextDelta("H")
        raise ProviderError("busy")

    history: list[Message] = []
    events: list[Event] = []
    with pytest.raises(ProviderError, match="busy"):
        events.extend(agent(fail, READ).run(history, "Go"))  # pyright: ignore[reportArgumentType]
    assert (events, history) == ([Said(User("Go")), TextDelta("H")], [User("Go")])


def test_an_interrupt_sets_cancel_and_waits_for_the_tools() -> None:
    ended: list[str] = []
    meeting = threading.Barrier(3, timeout=5)

    def wait(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        meeting.wait()
        if arguments["text"] == "a":
            os.kill(os.getpid(), signal.SIGINT)
        assert cancel.wait(5)
        time.sleep(0.05)  # ends what it started
        ended.append(arguments["text"])
        return ToolOutput("cancelled")

    made = [call(number, "wait", text=text) for number, text in enumerate("abc")]
    one = agent(Script(calls(*made)), tool("wait", wait))
    with pytest.raises(KeyboardInterrupt):
        list(one.run([], "Go"))
    assert (sorted(ended), one.cancel.is_set()) == (["a", "b", "c"], True)


def test_an_interrupt_does_not_wait_for_ever() -> None:
    release = threading.Event()
    meeting = threading.Barrier(4, timeout=5)

    def hang(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        meeting.wait()
        if arguments["text"] == "a":
            os.kill(os.getpid(), signal.SIGINT)
        release.wait(10)
        return ToolOutput("")

    made = [call(number, "hang", text=text) for number, text in enumerate("abcd")]
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(agent(Script(calls(*made)), tool("hang", hang)).run([], "Go"))
    took = time.monotonic() - started
    release.set()
    assert took < 2
