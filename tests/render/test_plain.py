from __future__ import annotations

import pytest

from glm_agent.render.plain import Level, Look, Plain
from glm_agent.types import (
    Assistant,
    Discarded,
    Event,
    Finished,
    Notice,
    Result,
    Retrying,
    Said,
    TextDelta,
    ToolCall,
    ToolResult,
    ToolStarted,
    User,
    Verified,
)

READ = ToolCall("call_1", "read", '{"path": "a.py"}')
BASH = ToolCall("call_2", "bash", '{"command": "pytest -q"}')
RUN: list[Event] = [
    Verified("before", "pytest -q", 1, ["t::a", "t::b"], 812),
    Said(User("fix it")),
    TextDelta("Let me look."),
    Said(Assistant("Let me look.", "Where is it?\nIn a.py.", [READ, BASH], "tool_calls")),
    ToolStarted(READ),
    ToolStarted(BASH),
    Said(ToolResult("call_1", "a.py (lines 1-2 of 2)\nx = 1\n", True, {"first": 1, "last": 2, "total": 2})),
    Said(ToolResult("call_2", "boom", True, {"exit_code": 1, "seconds": 0.8})),
    Retrying(2, 30, "rate limited", 429, "1305"),
    Discarded("empty answer", Assistant()),
    Notice("no sandbox here"),
    Said(Assistant("Done.\n", None, [], "stop")),
    Verified("after", "pytest -q", 1, ["t::b"], 800),
    Finished(
        Result(
            "error_verify",
            True,
            10,
            "Done.\n",
            "s1",
            2,
            verification={"fixed": ["t::a"], "still_failing": ["t::b"], "newly_broken": []},
            errors=["pytest -q still fails"],
        )
    ),
]


def redact(line: str) -> str:
    return line.replace("sk-secret", "[key]")


def play(events: list[Event], level: Level = 0, colour: bool = False) -> tuple[str, str]:
    out: list[str] = []
    err: list[str] = []
    look = Look(level, colour, redact)
    view = Plain(out.append, err.append, look)
    for event in events:
        view(event)
    view.close()
    return "".join(out), "".join(err)


def test_a_run_is_the_answer_on_one_stream_and_a_line_for_each_thing_on_the_other() -> None:
    assert play(RUN) == (
        "Done.\n",
        "verify before: pytest -q -> exit 1, 2 failing, 0.8s\n"
        "| Let me look.\n"
        "read a.py  -> lines 1-2 of 2\n"
        "bash pytest -q  -> exit=1 0.8s\n"
        "waiting 30s: rate limited (429, 1305), attempt 2\n"
        "answer discarded: empty answer\n"
        "no sandbox here\n"
        "verify after: pytest -q -> exit 1, 1 failing, 0.8s\n"
        "fixed: t::a\n"
        "still failing: t::b\n"
        "glm-agent: pytest -q still fails\n"
        "error_verify; 2 turns; 0 tokens in, 0 out; cost unknown; 0.0s; session s1\n",
    )


def test_quiet_is_the_answer_and_errors_alone() -> None:
    assert play(RUN, level=-1) == ("Done.\n", "glm-agent: pytest -q still fails\n")


def test_verbose_adds_reasoning_and_the_first_lines_of_results() -> None:
    numbers = "".join(f"{number}\n" for number in range(12))
    events: list[Event] = [RUN[3], Said(ToolResult("call_1", numbers + "x" * 300, True))]
    assert play(events, level=1) == (
        "",
        "| Where is it?\n| In a.py.\n| Let me look.\nread a.py  -> 13 lines\n"
        + "".join(f"| {number}\n" for number in range(10))
        + "| … 3 more\n",
    )


def test_an_answer_that_was_not_the_last_goes_to_the_log() -> None:
    events: list[Event] = [
        Said(Assistant("I think it works.", finish="stop")),
        Said(User("it does not")),
        Said(Assistant("Now it does.", finish="stop")),
        Finished(Result("success", False, 0, "Now it does.", "s1")),
    ]
    out, err = play(events)
    assert out == "Now it does.\n"
    assert err.startswith("| I think it works.\ndone; ")
    assert "Now it does" not in err


def test_text_that_did_not_become_the_answer_is_not_lost() -> None:
    events: list[Event] = [
        Said(Assistant("Half an answer", finish="stop")),
        Finished(Result("error_cancelled", True, 130, "", "s1")),
    ]
    out, err = play(events)
    assert out == ""
    assert err.startswith("| Half an answer\nglm-agent: error_cancelled (exit 130)\nerror_cancelled; ")


def test_a_failed_tool_says_why_and_an_unknown_answer_is_shown() -> None:
    events: list[Event] = [
        RUN[3],
        Said(ToolResult("call_1", "error: no such file\nuse search", False)),
        Said(ToolResult("stray", "x", True)),
    ]
    assert play(events)[1] == "| Let me look.\nread a.py  -> no such file …\ntool  -> 1 line\n"


def test_nothing_foreign_steers_the_terminal_or_passes_for_a_line_of_ours() -> None:
    evil = "\x1b]0;owned\x07\r\n::add-mask::x\nglm-agent: all is well\u202e"
    call = ToolCall("call_1", "bash", '{"command": "printf \\"\\\\u001b[31m\\""}')
    events: list[Event] = [
        Said(Assistant(evil, evil, [call])),
        Said(ToolResult("call_1", evil, True)),
        Notice("\x9b31m"),
        Finished(Result("error_verify", True, 10, evil, errors=["\x1b[2J"])),
    ]
    for text in play(events, level=1):
        assert not set(text) & {"\x1b", "\x07", "\r", "\x9b", "\u202e"}
    lines = play(events, level=1)[1].split("\n")
    assert not [line for line in lines if line.startswith(("::", "glm-agent: all"))]


def test_the_key_is_redacted_on_both_streams() -> None:
    events: list[Event] = [Notice("key sk-secret"), Finished(Result("success", False, 0, "it is sk-secret"))]
    out, err = play(events)
    assert out == "it is [key]\n"
    assert err.startswith("key [key]\n")


def test_a_key_is_found_before_the_line_is_cut() -> None:
    for pad in range(100, 121):
        long = "x" * pad + " sk-secret"
        events: list[Event] = [
            Said(Assistant(calls=[ToolCall("c", "bash", f'{{"command": "{long}"}}')])),
            Said(ToolResult("c", f"{long}\n{'x' * 190} sk-secret", False)),
        ]
        assert "sk-" not in play(events, level=1)[1]


@pytest.mark.parametrize("answer", ["a", "a\n", "a\r\n", "a\n\n\n"])
def test_the_answer_ends_with_one_newline_and_comes_once(answer: str) -> None:
    ended = Finished(Result("success", False, 0, answer))
    assert play([ended, ended])[0] == "a\n"


def test_colour_only_where_asked() -> None:
    failed: list[Event] = [RUN[3], Said(ToolResult("call_1", "error: no", False))]
    assert play(failed, colour=True)[1].endswith("\x1b[31mread a.py  -> no\x1b[0m\n")
    assert "\x1b" not in "".join(play(RUN, level=1))


def test_what_never_began_is_not_summed_up() -> None:
    failed: list[Event] = [Finished(Result("error_usage", True, 2, "", errors=["no task"]))]
    assert play(failed) == ("", "glm-agent: no task\n")
