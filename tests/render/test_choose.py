from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from glm_agent.render import View, Wanted, choose, writer
from glm_agent.render.github import Annotations
from glm_agent.render.heartbeat import Heartbeat
from glm_agent.render.jsonl import JsonLines
from glm_agent.render.live import Live
from glm_agent.render.plain import Plain
from glm_agent.types import Event, Finished, Notice, Result

TERMINAL = {"TERM": "xterm-256color"}


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def views(
    wanted: Wanted, out: io.StringIO, err: io.StringIO, environ: dict[str, str] | None = None
) -> list[View]:
    environ = TERMINAL if environ is None else environ
    return choose(wanted, out, err, environ=environ, redact=lambda text: text.replace("sk-secret", "[key]"))


def play(wanted: Wanted, out: io.StringIO, err: io.StringIO, environ: dict[str, str] | None = None) -> None:
    events: list[Event] = [
        Notice("a notice"),
        Finished(Result("error_verify", True, 10, "the *answer* sk-secret", "s1", errors=["it fails"])),
    ]
    every = views(wanted, out, err, environ)
    for event in events:
        for view in every:
            view(event)
    for view in every:
        view.close()


@pytest.mark.parametrize(
    ("wanted", "err", "environ", "kinds"),
    [
        (Wanted(), Screen(), TERMINAL, [Live]),
        (Wanted(level=1), Screen(), TERMINAL, [Live]),
        (Wanted(color="never"), Screen(), TERMINAL, [Live]),
        (Wanted(), Screen(), {"TERM": "dumb"}, [Plain]),
        (Wanted(), Screen(), {}, [Plain]),
        (Wanted(level=-1), Screen(), TERMINAL, [Plain]),
        (Wanted(), io.StringIO(), TERMINAL, [Plain, Heartbeat]),
        (Wanted(level=-1), io.StringIO(), TERMINAL, [Plain]),
        (Wanted(), io.StringIO(), {"GITHUB_ACTIONS": "true"}, [Plain, Annotations, Heartbeat]),
        (Wanted("json"), Screen(), TERMINAL, [JsonLines, Plain]),
        (Wanted("stream-json"), io.StringIO(), TERMINAL, [JsonLines, Plain, Heartbeat]),
    ],
)
def test_live_only_for_a_person_at_a_capable_terminal(
    wanted: Wanted, err: io.StringIO, environ: dict[str, str], kinds: list[type]
) -> None:
    assert [type(view) for view in views(wanted, io.StringIO(), err, environ)] == kinds


def test_text_puts_the_answer_alone_on_stdout() -> None:
    out, err = io.StringIO(), io.StringIO()
    play(Wanted(), out, err)
    assert out.getvalue() == "the *answer* [key]\n"
    assert err.getvalue().startswith("a notice\nglm-agent: it fails\nerror_verify; ")


def test_json_puts_one_object_on_stdout_and_errors_on_stderr() -> None:
    out, err = io.StringIO(), io.StringIO()
    play(Wanted("json"), out, err)
    assert json.loads(out.getvalue())["result"] == "the *answer* [key]"
    assert out.getvalue().count("\n") == 1
    assert err.getvalue() == "glm-agent: it fails\n"


def test_stream_json_says_everything_on_stdout() -> None:
    out, err = io.StringIO(), io.StringIO()
    play(Wanted("stream-json"), out, err)
    kinds = [json.loads(line)["type"] for line in out.getvalue().split("\n")[:-1]]
    assert kinds == ["system", "result"]
    assert err.getvalue() == "glm-agent: it fails\n"


def test_at_a_terminal_the_answer_is_markdown_only_if_stdout_is_one_too() -> None:
    piped, screen = io.StringIO(), Screen()
    play(Wanted(), piped, Screen())
    play(Wanted(), screen, Screen(), {**TERMINAL, "NO_COLOR": "1"})
    assert piped.getvalue() == "the *answer* [key]\n"
    assert "*answer*" not in screen.getvalue()
    assert "answer" in screen.getvalue()


def test_colour_follows_the_flag_then_no_color_then_the_terminal() -> None:
    def coloured(wanted: Wanted, err: io.StringIO, environ: dict[str, str]) -> bool:
        play(wanted, io.StringIO(), err, environ)
        return "31m" in err.getvalue()

    assert coloured(Wanted(color="always"), io.StringIO(), {})
    assert not coloured(Wanted(), io.StringIO(), TERMINAL)
    assert coloured(Wanted(level=-1), Screen(), TERMINAL)
    assert not coloured(Wanted(level=-1), Screen(), {**TERMINAL, "NO_COLOR": "1"})
    assert not coloured(Wanted(level=-1, color="never"), Screen(), TERMINAL)
    assert coloured(Wanted(level=-1, color="always"), Screen(), {"NO_COLOR": "1"})


def test_a_stream_that_lacks_a_character_gets_its_escape() -> None:
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, encoding="ascii")
    writer(stream)("é → \udcff\n")
    assert data.getvalue() == b"\\xe9 \\u2192 \\udcff\n"


def test_piped_output_loads_no_rich() -> None:
    code = (
        "import io, sys\n"
        "from glm_agent.render import Wanted, choose\n"
        "for kind in ('text', 'json'):\n"
        "    choose(Wanted(kind), io.StringIO(), io.StringIO(), environ={'TERM': 'xterm'}, redact=str)\n"
        "heavy = {'rich', 'typer', 'openai', 'difflib', 'tempfile', 'logging', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
