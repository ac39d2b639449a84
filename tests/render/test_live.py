from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from running import first_fast, wait_for

from glm_agent.render.live import Live, markdown
from glm_agent.render.plain import Level, Look
from glm_agent.types import (
    Assistant,
    CallDelta,
    Discarded,
    Event,
    Finished,
    Notice,
    Result,
    Retrying,
    Said,
    Started,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolResult,
    ToolStarted,
    User,
    Verified,
)

EDIT = ToolCall("call_1", "edit", '{"path": "a.py", "old": "a\\nb\\nc", "new": "a\\nB\\nc"}')
BASH = ToolCall("call_2", "bash", '{"command": "pytest -q"}')
STARTED = Started(
    "s1",
    "/w",
    "fix",
    "glm-4.7",
    "zai",
    "api.z.ai",
    [],
    {"mode": "workspace-write", "mechanism": "none"},
    None,
    {},
    "none",
    [],
    "0.1.0",
)
RUN: list[Event] = [
    STARTED,
    Verified("before", "pytest -q", 1, ["t::a"], 812),
    Said(User("Fix the rounding\nplease")),
    ThoughtDelta("Where is"),
    ThoughtDelta(" it?\nIn a.py."),
    TextDelta("Let me "),
    TextDelta("look."),
    CallDelta(0, "edit", "{"),
    Said(Assistant("Let me look.", "Where is it?\nIn a.py.", [EDIT, BASH], "tool_calls")),
    ToolStarted(EDIT),
    Said(ToolResult("call_1", "a.py line 2: 1 line replaced")),
    ToolStarted(BASH),
    Said(ToolResult("call_2", "boom", True, {"exit_code": 1, "seconds": 0.8})),
    TextDelta("Do"),
    Retrying(2, 30, "rate limited", 429, "1305"),
    Discarded("cut off", Assistant()),
    Notice("no sandbox"),
    TextDelta("Done."),
    Said(Assistant("Done.", finish="stop")),
    Verified("after", "pytest -q", 0, [], 800),
    Finished(Result("success", False, 0, "Done.", "s1", 2, 3000, verification={"fixed": ["t::a"]})),
]
SHOWN = """\
glm-agent fix · glm-4.7 at api.z.ai · sandbox workspace-write (none) · session s1
✗ verify before: pytest -q -> exit 1, 1 failing, 0.8s
> Fix the rounding …
Where is it?
In a.py.
Let me look.
● edit a.py  a.py line 2: 1 line replaced
  - b
  + B
● bash pytest -q  exit=1 0.8s
waiting 30s: rate limited (429, 1305), attempt 2
answer discarded: cut off
no sandbox
✓ verify after: pytest -q -> exit 0, 0.8s
✓ fixed: t::a
✓ done; 2 turns; 0 tokens in, 0 out; cost unknown; 3.0s; session s1
"""


def play(
    events: list[Event], console: Console, *, apart: bool = False, level: Level = 0
) -> tuple[list[str], str]:
    """The answers, and what is on the console when all is over."""
    answers: list[str] = []
    view = Live(console, answers.append, Look(level), apart=apart)
    try:
        for event in events:
            view(event)
    finally:
        view.close()
        view.close()
    assert isinstance(console.file, StringIO)
    return answers, console.file.getvalue()


def page(width: int = 100) -> Console:
    return Console(file=StringIO(), width=width)


def screen(width: int = 100, no_color: bool = False) -> Console:
    return Console(
        file=StringIO(),
        force_terminal=True,
        width=width,
        height=24,
        color_system="standard",
        no_color=no_color,
        _environ={"TERM": "xterm"},
    )


def test_a_run_reads_as_a_story_and_the_answer_comes_once() -> None:
    assert play(RUN, page()) == (["Done."], SHOWN)


def test_a_wait_counts_down() -> None:
    console = screen()
    shown = console.file
    assert isinstance(shown, StringIO)

    def left() -> list[str]:
        return list(dict.fromkeys(re.findall(r"busy \((\d\.\d)s\)", shown.getvalue())))

    view = Live(console, print, Look())
    view(Retrying(1, 5, "busy", 503))
    wait_for(lambda: len(left()) > 2)
    view.close()
    assert left() == sorted(left(), reverse=True)


def test_when_a_wait_is_over_the_model_is_waited_for() -> None:
    console = screen()
    shown = console.file
    assert isinstance(shown, StringIO)
    view = Live(console, print, Look())
    view(Retrying(1, 0.05, "busy", 503))
    wait_for(lambda: "waiting for the model" in shown.getvalue())
    view.close()


def test_an_answer_that_goes_elsewhere_is_shown_here_too() -> None:
    answers, text = play(RUN, page(), apart=True)
    assert answers == ["Done."]
    assert text == SHOWN.replace("waiting 30s", "Do\nwaiting 30s").replace("✓ verify", "Done.\n✓ verify")


def test_verbose_shows_the_first_lines_of_results() -> None:
    events = [RUN[8], Said(ToolResult("call_2", "one\ntwo", True))]
    assert play(events, page(), level=1)[1].endswith("● bash pytest -q  2 lines\n    one\n    two\n")


def test_text_that_did_not_become_the_answer_is_not_lost() -> None:
    events: list[Event] = [
        Said(Assistant("Half.", finish="stop")),
        Finished(Result("error_cancelled", True, 130, "", "s1")),
    ]
    answers, text = play(events, page())
    assert answers == []
    assert text.startswith("Half.\nglm-agent: error_cancelled (exit 130)\n✗ error_cancelled; ")


def test_what_was_streaming_when_it_broke_off_stays_on_the_screen() -> None:
    assert play([ThoughtDelta("I was just")], page())[1] == "I was just\n"


@pytest.mark.parametrize("width", [20, 5])
def test_a_narrow_terminal_is_enough(width: int) -> None:
    text = play(RUN, page(width))[1]
    assert max(cell_len(line) for line in text.split("\n")) <= width
    play(RUN, screen(width))


def test_the_moving_part_leaves_nothing_behind_but_a_visible_cursor() -> None:
    before = set(threading.enumerate())
    text = play(RUN, screen())[1]
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(2)
    assert [thread for thread in left if thread.is_alive()] == []
    assert text.count("\x1b[?25l") == 1
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert emulate(text) == SHOWN


def emulate(text: str) -> str:
    """What a terminal shows in the end, by the few sequences that rich uses."""
    rows, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row += 1
            rows += [""] * (row == len(rows))
        elif part.endswith("A") and part.startswith("\x1b"):
            row = max(0, row - int(part[2:-1]))
        elif part == "\x1b[2K":
            rows[row] = ""
        elif not part.startswith(("\x1b", "\r")):
            rows[row] += part
    return "\n".join(rows).rstrip("\n") + "\n"


def test_without_colour_there_is_none() -> None:
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")
    assert coloured.search(play(RUN, screen())[1])
    assert not coloured.search(play(RUN, screen(no_color=True))[1])


def test_an_ascii_terminal_gets_ascii_signs() -> None:
    class Ascii(StringIO):
        encoding = "ascii"

    console = Console(file=Ascii(), width=100)
    assert play([RUN[1], *RUN[8:11]], console)[1].isascii()


def test_the_picture_of_a_run_can_be_exported() -> None:
    console = Console(record=True, file=StringIO(), width=80)
    play(RUN, console)
    picture = console.export_svg(title="glm-agent")
    assert picture.startswith("<svg")
    assert picture.count("attempt&#160;2") == 1


EVIL = "\x1b]0;owned\x07\x9b31m\u202e[bold]&#x202e;&#13;&#x1b;[link](http://x/\x1b[2J)"


def test_nothing_foreign_steers_the_terminal_or_is_read_as_markup() -> None:
    call = ToolCall(EVIL, EVIL, '{"old": "\\u001b[2J", "command": "\\u009b"}')
    events: list[Event] = [
        Said(User(EVIL)),
        ThoughtDelta("\x1b"),
        ThoughtDelta("[2J\r"),
        CallDelta(0, EVIL, "{"),
        Said(Assistant(EVIL, EVIL, [call])),
        ToolStarted(call),
        Said(ToolResult(EVIL, EVIL, True, {"diff": f"@@ {EVIL}\n+{EVIL}\n"})),
        Notice(EVIL),
        Retrying(1, 0, EVIL),
        Verified("after", EVIL, 1, [EVIL], 1),
        Finished(Result("error_verify", True, 10, EVIL, EVIL, verification={"fixed": [EVIL]}, errors=[EVIL])),
    ]
    answers, text = play(events, page(), level=1)
    for shown in (*answers, text):
        assert not set(shown) & {"\x1b", "\x07", "\r", "\x9b", "\u202e"}
        assert "[bold]" in shown


def test_an_entity_in_markdown_is_no_way_to_the_terminal() -> None:
    for console in (page(40), screen(40)):
        markdown(console)(f"**bold** &#x202e;&#13;&#x9b;&#x200b; [there](http://host/%1b)\n\n`{EVIL[-20:]}`")
        assert isinstance(console.file, StringIO)
        text = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
        assert not set(text) & {"\x1b", "\x07", "\r", "\x9b", "\u202e", "\u200b"}
        assert "bold \\u202e" in text
        assert "(http://host/%1b)" in text


def test_the_key_is_redacted_wherever_it_appears() -> None:
    console = page()
    answers: list[str] = []
    view = Live(console, answers.append, Look(redact=hide))
    call = ToolCall("c", "edit", '{"path": "sk-secret", "new": "sk-secret"}')
    failed = ToolCall("d", "bash", '{"command": "sk-secret"}')
    events: list[Event] = [
        Said(User("sk-secret")),
        ThoughtDelta("sk-sec"),
        ThoughtDelta("ret"),
        Said(Assistant("sk-secret", None, [call, failed])),
        Said(ToolResult("c", "sk-secret")),
        Said(ToolResult("d", "sk-secret", False)),
        Finished(Result("error_verify", True, 10, "sk-secret", errors=["sk-secret"])),
    ]
    for event in events:
        view(event)
    assert isinstance(console.file, StringIO)
    assert answers == ["[key]"]
    assert "sk-secret" not in console.file.getvalue()
    assert console.file.getvalue().count("[key]") == 9


def hide(line: str) -> str:
    return line.replace("sk-secret", "[key]")


class Counting(StringIO):
    writes = 0

    def write(self, text: str, /) -> int:
        self.writes += 1
        return super().write(text)


@pytest.mark.parametrize("fragment", first_fast("line\n", "x", "word ", "字", keep=2))
def test_streaming_draws_at_most_a_few_times_a_second(fragment: str) -> None:
    """Twenty thousand fragments, whole lines or one endless line: the work does not grow with the text."""
    counting = Counting()
    console = Console(file=counting, force_terminal=True, width=80, height=24, _environ={"TERM": "xterm"})
    view = Live(console, print, Look(), apart=True)
    began = time.monotonic()
    for _ in range(20_000):
        view(TextDelta(fragment))
    seconds = time.monotonic() - began
    drawn = counting.writes
    time.sleep(0.11)
    view(TextDelta(fragment))
    printed = counting.getvalue().count(fragment.strip())
    view.close()
    assert drawn <= 10 + 30 * seconds
    assert printed > 19_000
    assert counting.getvalue().count(fragment.strip()) >= 20_000


def test_what_is_printed_is_at_once_gone_from_the_moving_part() -> None:
    counting = Counting()
    console = Console(file=counting, force_terminal=True, width=80, height=24, _environ={"TERM": "xterm"})
    view = Live(console, print, Look())
    view(ThoughtDelta("Where is it added up?"))
    time.sleep(0.15)  # until it has been drawn
    drawn = counting.getvalue()
    view(Said(User("look again")))
    printed = counting.getvalue().removeprefix(drawn)
    view.close()
    assert (drawn.count("Where is it") > 0, printed.count("Where is it"), printed.count("look again")) == (
        True,
        1,
        1,
    )


CHILD = """
import os, sys, time
from glm_agent.render import Wanted, choose
from glm_agent.types import ThoughtDelta

(view,) = choose(Wanted(), sys.stdout, sys.stderr, environ=os.environ, redact=str)
try:
    while True:
        view(ThoughtDelta("still thinking "))
        time.sleep(0.01)
except KeyboardInterrupt:
    sys.exit(130)
finally:
    view.close()
"""


def test_ctrl_c_at_a_real_terminal_leaves_the_cursor_visible(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "40", "LINES": "10"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    try:
        while b"still thinking" not in seen:
            seen += receive(ours)
        child.send_signal(signal.SIGINT)
        while more := receive(ours):
            seen += more
        assert child.wait(5) == 130
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    assert b"Traceback" not in seen


def receive(fd: int) -> bytes:
    if not select.select([fd], [], [], 10)[0]:
        raise TimeoutError("the terminal stayed silent")
    try:
        return os.read(fd, 65536)
    except OSError:  # the other side was closed: how a pty says end of file
        return b""
