from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glm_agent.model import Turn, read_turn
from glm_agent.recover import Recovered, recover
from glm_agent.sse import read
from glm_agent.types import Assistant, Json, ToolCall

FOLDER = Path(__file__).parent / "streams"


def schema(*required: str, **types: str) -> Json:
    properties = {name: {"type": kind} for name, kind in types.items()}
    return {"type": "object", "properties": properties, "required": list(required)}


TOOLS: dict[str, Json] = {
    "read": schema("filePath", filePath="string", limit="integer", whole="boolean", p="string"),
    "bash": schema("command", command="string"),
    "list_filenames": schema(),
    "tool_12": schema(),
    "set": schema("values", values="array", at="object", share="number"),
    "pick": {
        "type": "object",
        "properties": {
            "mode": {"enum": ["fast", 2]},
            "both": {"type": ["integer", "string"]},
            "any": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "list": {"type": "array", "items": {"type": "string"}},
            "open": {"description": "of any type"},
        },
        "additionalProperties": False,
    },
}


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall("", name, json.dumps(arguments, ensure_ascii=False))


def xml(name: str, **arguments: str) -> str:
    pairs = [f"<arg_key>{key}</arg_key><arg_value>{value}</arg_value>" for key, value in arguments.items()]
    return f"<tool_call>{name}{''.join(pairs)}</tool_call>"


def says(text: str, thought: str | None = None, finish: str = "stop") -> Recovered:
    return recover(Assistant(text, thought, finish=finish), TOOLS)


def calls_of(text: str) -> list[ToolCall] | str:
    """The calls in `text`, of which nothing else remains; or why there are none."""
    found = says(text)
    if found.flaw:
        assert found.message == Assistant(text, finish="stop"), "a flawed turn stays as it is"
        return found.flaw
    assert found.message.text == ""
    return found.message.calls


def played(number: str) -> Recovered:
    (path,) = FOLDER.glob(f"{number}-*.sse")
    steps = read_turn(read([path.read_bytes()]))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return recover(cast("Turn", end.value).message, TOOLS)


STREAMS: dict[str, tuple[str, str | None, list[ToolCall]]] = {
    "80": ("", "I will write the file.", [call("bash", command="cat > a.md << 'EOF'\nPlan\nEOF")]),
    "81": ("Reading.", None, [call("read", filePath="/tmp/a.py", limit=20)]),
    "82": ("", None, [replace(call("read", filePath="/home/u/x"), id="call_1")]),
    "83": ("", None, [ToolCall("chatcmpl-tool-838a30ab75717374", "tool_12", "{}")]),
    "84": ("", None, [ToolCall("call_1", "list_filenames", "{}")]),
    "92": ("", None, [ToolCall("call_1", "read", '{"p": "a"}')]),
    "93": ("The answer is 4.", "Let me see.", []),
}


@pytest.mark.parametrize("number", STREAMS)
def test_a_recorded_quirk_is_seen_through(number: str) -> None:
    found = played(number)
    message = found.message
    assert (message.text, message.thought or None, message.calls) == STREAMS[number]
    assert (found.flaw, len(found.notes)) == (None, 1)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sse")), ids=lambda path: path.name[:2])
def test_a_sound_answer_stays_as_it_is(path: Path) -> None:
    if path.name[:2] in STREAMS:
        return
    steps = read_turn(read([path.read_bytes()]))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            message = cast("Turn", end.value).message
            break
    assert recover(message, TOOLS) == Recovered(message, [], None)


# Thoughts


@pytest.mark.parametrize(
    ("text", "thought", "left", "thoughts"),
    [
        ("<think>Hm.</think>Yes", None, "Yes", "Hm."),
        ("\n<think>\nHm.\n</think>\n\nYes\n", "", "Yes", "Hm."),
        ("<think>Hm.</think>Yes", "Hm.\n", "Yes", "Hm.\n"),
        ("<think>Hm. So.</think>Yes", "Hm.", "Yes", "Hm. So."),
        ("<think>So.</think>Yes", "Hm.", "Yes", "Hm.\nSo."),
        ("Hm.</think>Yes", "Hm.", "Yes", "Hm."),
        ("<think></think>Yes", None, "Yes", None),
        ("</think>Yes", None, "Yes", None),
        ("<think>Hm", None, "", "Hm"),
        ("<think>a</think>Yes<think>b</think> no", None, "Yes no", "a\nb"),
        ("a</think>b</think>Yes", None, "Yes", "a\nb"),
        ("<think>run `ls</think>Yes `it`", None, "Yes `it`", "run `ls"),
        ("Yes <think>or", None, "Yes <think>or", None),
        ("`<think>x</think>` is it", None, "`<think>x</think>` is it", None),
        ("So:\n```xml\nx</think>y\n```\nYes", None, "So:\n```xml\nx</think>y\n```\nYes", None),
        ("~~~~\n</think>\n~~~\n~~~~\nYes", None, "~~~~\n</think>\n~~~\n~~~~\nYes", None),
        ("``a ` </think>`` Yes", None, "``a ` </think>`` Yes", None),
        ("one ` tick\n\n</think>two ` ticks", None, "two ` ticks", "one ` tick"),
        ("<|begin_of_box|>4<|end_of_box|>", None, "4", None),
        ("<|begin_of_<|begin_of_box|>box|>4", None, "4", None),
        ("see `<|begin_of_box|>`", None, "see `<|begin_of_box|>`", None),
        ("Yes\n<|user|>\n", None, "Yes", None),
        ("  Yes \n", None, "  Yes \n", None),
        ("a < b", None, "a < b", None),
    ],
)
def test_thinking_in_the_text_is_moved(
    text: str, thought: str | None, left: str, thoughts: str | None
) -> None:
    assert says(text, thought).message == Assistant(left, thoughts, finish="stop")
    assert says(text, thought).flaw is None


def test_a_call_keeps_the_thinking_in_its_arguments() -> None:
    text = "Writing." + xml("bash", command="echo '</think>' > a")
    assert says(text).message == Assistant(
        "Writing.", calls=[call("bash", command="echo '</think>' > a")], finish="stop"
    )


# Calls that were written as text


WHOLE: list[tuple[str, list[ToolCall]]] = [
    ("<tool_call>tool_12</tool_call>", [call("tool_12")]),
    ("\n<tool_call>\ntool_12\n</tool_call>\n", [call("tool_12")]),
    ("<tool_call>functions.tool_12</tool_call>", [call("tool_12")]),
    (xml("read", filePath="a b", limit=" 7 "), [call("read", filePath="a b", limit=7)]),
    (xml("read", filePath="20"), [call("read", filePath="20")]),
    (xml("read", filePath="a", whole="true"), [call("read", filePath="a", whole=True)]),
    (xml("read", filePath="a", new="1"), [call("read", filePath="a", new="1")]),
    (xml("bash", command="\n a && b <c>\n"), [call("bash", command="\n a && b <c>\n")]),
    (xml("bash", command="echo `date` ```"), [call("bash", command="echo `date` ```")]),
    (xml("bash", command="ü😀\u2028"), [call("bash", command="ü😀\u2028")]),
    (
        xml("set", values='["a", 1]', at='{"x": null}', share="1"),
        [call("set", values=["a", 1], at={"x": None}, share=1)],
    ),
    (
        xml("pick", mode="fast", both="7", any="null", list='["a"]', open="[1]"),
        [call("pick", mode="fast", both=7, any=None, list=["a"], open=[1])],
    ),
    (xml("pick", mode="2", both="x", open="12"), [call("pick", mode=2, both="x", open="12")]),
    (xml("tool_12") + "\n" + xml("bash", command="ls"), [call("tool_12"), call("bash", command="ls")]),
    (
        xml("bash", command="cat <<E\n```\nE") + xml("tool_12"),
        [call("bash", command="cat <<E\n```\nE"), call("tool_12")],
    ),
    ('<invoke name="bash"><parameter name="command">ls</parameter></invoke>', [call("bash", command="ls")]),
    (
        "<function_calls>\n<invoke name='bash'>\n<parameter name='command'>ls</parameter>\n</invoke>\n"
        '<invoke name="tool_12">\n</invoke>\n</function_calls>',
        [call("bash", command="ls"), call("tool_12")],
    ),
    ('<tool_call><invoke name="tool_12"></invoke></tool_call>', [call("tool_12")]),
    (
        '<tool_call>{"name": "bash", "arguments": {"command": "ls"}}</tool_call>',
        [call("bash", command="ls")],
    ),
    ('<tool_call>bash\n{"command": "ls"}\n</tool_call>', [call("bash", command="ls")]),
    (xml("tool_12") + "<|observation|>", [call("tool_12")]),
]


@pytest.mark.parametrize(("text", "calls"), WHOLE)
def test_a_whole_call_that_was_written_as_text_is_a_call(text: str, calls: list[ToolCall]) -> None:
    assert calls_of(text) == calls


LS = xml("bash", command="ls")
BROKEN = {
    "and not whole": [
        *(LS[:size] for size in range(len("<tool_call>"), len(LS))),
        "<tool_call>",
        "<tool_call>bash<arg_key>command</arg_key></tool_call>",
        "<tool_call>bash<arg_key>command</arg_key><arg_value>ls</tool_call>",
        "<tool_call>bash<arg_key>command</arg_key><arg_value>ls" + LS,
        "<tool_call>bash ls</tool_call>",
        xml("bash", command="a</arg_value>b"),
        "<tool_call>bash<arg_key>command</arg_key><arg_value>a</arg_value>"
        "<arg_key>command</arg_key><arg_value>b</arg_value></tool_call>",
        LS + LS[:-1],
        '<invoke name="bash"><parameter name="command">ls</parameter>',
        '<tool_call>{"name": "bash", "arguments": {"command": "ls"}</tool_call>',
        '<tool_call>{"name": "bash", "arguments": {"command": NaN}}</tool_call>',
    ],
    "to a tool there is not: 'rm'": [xml("rm", path="/"), LS + xml("rm")],
    "with arguments that do not fit bash": [xml("bash"), xml("bash", cmd="ls")],
    "with arguments that do not fit read": [
        xml("read", filePath="a", limit="many"),
        xml("read", filePath="a", limit="1.5"),
        xml("read", filePath="a", whole="1"),
    ],
    "with arguments that do not fit pick": [
        xml("pick", mode="slow"),
        xml("pick", other="1"),
        xml("pick", any="x"),
        xml("pick", list="[1]"),
    ],
    "with markup astray": [LS + "</arg_value></tool_call>", "</tool_call>" + LS],
}


@pytest.mark.parametrize(("why", "text"), [(why, text) for why, texts in BROKEN.items() for text in texts])
def test_a_call_in_the_text_that_is_not_to_be_run_is_a_flaw(why: str, text: str) -> None:
    assert calls_of(text) == f"a tool call was written as text, {why}"


@pytest.mark.parametrize(
    "text",
    [
        f"The model writes `{LS}` for it.",
        f"It writes\n```xml\n{LS}\n```\nfor it.",
        f"It writes\n\n    ~~~\n{LS}\n~~~",
        f"> ```\n> {LS}\n> ```",
        f"cut in a fence\n```\n{LS}",
        f"It may\n`span\n{LS}` lines.",
        "The <tool_call> tag opens, and </tool_call> closes.",
        "an <invoke> tag, a </arg_value>",
    ],
)
def test_markup_that_an_answer_is_about_is_left_alone(text: str) -> None:
    assert says(text) == Recovered(Assistant(text, finish="stop"), [], None)


def test_text_around_calls_remains() -> None:
    text = f"First.\n{LS}\nThen `{LS}`.\n{xml('tool_12')}\n"
    assert says(text).message == Assistant(
        f"First.\n\nThen `{LS}`.", calls=[call("bash", command="ls"), call("tool_12")], finish="stop"
    )


def test_beside_calls_of_its_own_what_the_text_says_is_text() -> None:
    message = Assistant(LS, LS, [ToolCall("1", "tool_12", "{}")], "tool_calls")
    assert recover(message, TOOLS) == Recovered(message, [], None)


@pytest.mark.parametrize(
    ("text", "finish", "acts"),
    [("", "stop", True), (" \n", "stop", True), ("Done.", "stop", False), ("Now.", "tool_calls", True)],
)
def test_a_call_in_the_thought_counts_where_there_is_no_answer(text: str, finish: str, acts: bool) -> None:
    found = says(text, f"Hm.\n{LS}", finish)
    calls = [call("bash", command="ls")] if acts else []
    thought = "Hm." if acts else f"Hm.\n{LS}"
    assert found.message == Assistant(text, thought, calls, finish)
    assert (found.flaw, len(found.notes)) == (None, int(acts))


def test_a_broken_call_in_the_thought_is_a_flaw_where_there_is_no_answer() -> None:
    assert says("", LS[:-1]).flaw == "a tool call was written as text, and not whole"
    assert says("Done.", LS[:-1]).flaw is None


def test_a_call_in_a_leaked_thought_counts() -> None:
    assert says(f"<think>Hm.{LS}").message == Assistant(
        "", "Hm.", [call("bash", command="ls")], finish="stop"
    )


def test_the_caller_may_know_better_what_fits() -> None:
    def fits(name: str, arguments: Json) -> bool:
        return (name, arguments) == ("bash", {"cmd": "ls"})

    text = xml("bash", cmd="ls")
    assert recover(Assistant(text), TOOLS, fits).message.calls == [call("bash", cmd="ls")]
    assert recover(Assistant(LS), TOOLS, fits).flaw


# Calls of their own


@pytest.mark.parametrize(
    ("name", "arguments", "right_name", "right_arguments"),
    [
        (" bash\n", "{}", "bash", "{}"),
        ("functions.bash", '{"command": "ls"}', "bash", '{"command": "ls"}'),
        ("<tool_call>bash", "{}", "bash", "{}"),
        ("bash</arg_value></tool_call>\n", '{"command": "ls"}', "bash", '{"command": "ls"}'),
        ("bash\n<arg_key>command</arg_key>\n<arg_value>ls</arg_value>\n", "", "bash", '{"command": "ls"}'),
        (
            "read<arg_key>filePath</arg_key><arg_value>a</arg_value><arg_key>limit</arg_key>"
            "<arg_value>2</arg_value></tool_call>",
            "null",
            "read",
            '{"filePath": "a", "limit": 2}',
        ),
        ("bash", "{}{}", "bash", "{}"),
        ("bash", '{"command": "ls"}{}', "bash", '{"command": "ls"}'),
        ("bash", '{}\n{"command": "l\ns"} {}', "bash", '{"command": "l\ns"}'),
        ("bash", '{"command": "ls"}{"command": "ls"}', "bash", '{"command": "ls"}'),
        ("bash", "", "bash", "{}"),
        ("bash", "null", "bash", "{}"),
        ("bash", '"{\\"command\\": \\"ls\\"}"', "bash", '{"command": "ls"}'),
        ("bash", json.dumps(json.dumps('{"command": "ls"}')), "bash", '{"command": "ls"}'),
        ("bash", '"{}{}"', "bash", "{}"),
        ("nothing", "{}{}", "nothing", "{}"),
    ],
)
def test_a_call_is_mended_where_its_meaning_is_certain(
    name: str, arguments: str, right_name: str, right_arguments: str
) -> None:
    message = Assistant(calls=[ToolCall("1", name, arguments)], finish="tool_calls")
    found = recover(message, TOOLS)
    assert found.message.calls == [ToolCall("1", right_name, right_arguments)]
    assert found.flaw is None
    assert message.calls == [ToolCall("1", name, arguments)], "what came is kept for the record"
    assert bool(found.notes) == (name != right_name or bool(arguments))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bash", '{"command": "ls"'),
        ("bash", '{"command": "ls"}{'),
        ("bash", '{"command": "ls"}{}}'),
        ("bash", '{}{"command": "l'),
        ("bash", '"{\\"command\\": \\"ls\\""'),
        ("bash", '"{\\"command\\": \\"ls"'),
        ("bash", '"ls"'),
        ("bash", "[]"),
        ("bash", "{}[]"),
        ("bash", "[" * 100_000),
        ("bash", '{"command":' * 100_000),
        ("bash", ' {"command": "ls"} '),
        ("rm<arg_key>path</arg_key><arg_value>/</arg_value>", "{}"),
        ("bash<arg_key>command</arg_key><arg_value>rm -rf /", "{}"),
        ("bash<arg_key>command</arg_key><arg_value>ls</arg_value>", '{"command": "rm"}'),
        ("bash<arg_key>command</arg_key><arg_value>ls</arg_value>", '{"command": "rm'),
        ("bash<b>", "{}"),
        ("Bash", "{}"),
        ("", ""),
    ],
)
def test_a_call_is_left_alone_where_its_meaning_is_not_certain(name: str, arguments: str) -> None:
    found = recover(Assistant(calls=[ToolCall("1", name, arguments)]), TOOLS)
    kept = arguments or "{}"
    assert found == Recovered(Assistant(calls=[ToolCall("1", name, kept)]), [], None)


@pytest.mark.parametrize("arguments", ['{"command": "a"}{"command": "b"}', '"{\\"a\\": 1}{\\"b\\": 1}"'])
def test_two_sets_of_arguments_in_one_call_are_a_flaw(arguments: str) -> None:
    message = Assistant(calls=[ToolCall("1", "bash", arguments)])
    assert recover(message, TOOLS) == Recovered(message, [], "a call of 'bash' holds two sets of arguments")


def test_arguments_as_deep_as_json_goes_are_no_trouble() -> None:
    for depth in range(100, 1200, 50):
        value = "[" * depth + "]" * depth
        says(xml("set", values=value))
        says(f'<tool_call>{{"name": "set", "arguments": {{"values": {value}}}}}</tool_call>')


# Of anything at all


PIECES = [
    *("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    *("<think>", "</think>", "<|begin_of_box|>", "<|end_of_box|>", "<|user|>", "`", "```", "\n", "\n\n", " "),
    *('<invoke name="', '">', '<parameter name="', "</parameter>", "</invoke>", "<function_calls>"),
    *(
        "bash",
        "command",
        "read",
        "filePath",
        "limit",
        "tool_12",
        "20",
        "ls",
        "functions.",
        "{}",
        '"',
        "{",
        "}",
    ),
    *(LS, xml("tool_12"), '{"name": "bash", "arguments": {"command": "ls"}}', "~~~", "> ", "x", "<", "\\"),
]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.text(max_size=30))
CALLS = st.lists(st.builds(ToolCall, st.just("1"), TEXTS, TEXTS), max_size=2)
FINISHES = st.sampled_from(["stop", "tool_calls", ""])
MANY = 10 * settings().max_examples
MESSAGES = st.builds(Assistant, TEXTS, st.none() | TEXTS, CALLS | st.just(list[ToolCall]()), FINISHES)


@settings(max_examples=MANY)
@given(MESSAGES)
def test_nothing_is_raised_and_nothing_is_left_to_do(message: Assistant) -> None:
    once = recover(message, TOOLS)
    twice = recover(once.message, TOOLS)
    assert (twice.message, twice.flaw) == (once.message, once.flaw)


@settings(max_examples=MANY)
@given(MESSAGES)
def test_no_call_is_made_up(message: Assistant) -> None:
    found = recover(message, TOOLS)
    if message.calls:
        assert [made.id for made in found.message.calls] == [came.id for came in message.calls]
        return
    said = f"{message.text}\n{message.thought or ''}"
    assert not (found.flaw and found.message.calls)
    for made in found.message.calls:
        assert made.name in TOOLS
        assert f"{made.name}" in said
        for name, value in cast("dict[str, object]", json.loads(made.arguments)).items():
            assert name in said
            assert str(value) in said


@given(TEXTS)
def test_what_stands_in_a_fence_is_never_run(text: str) -> None:
    inside = text.replace("`", "").replace("~", "")
    quoted = f"See:\n~~~~~\n{inside}\n~~~~~\nDone."
    assert says(quoted) == Recovered(Assistant(quoted, finish="stop"), [], None)


@pytest.mark.parametrize(
    "piece",
    [
        "<think>",
        "x<think>",
        "</think>",
        "`",
        "` ``",
        "```\n",
        " ",
        "<tool_call>x<arg_key>a</arg_key><arg_value>",
        "<tool_call>",
        "<invoke name=",
        "> ",
        "<|user|>",
        "</tool_call>",
    ],
)
def test_the_time_it_takes_grows_with_the_text_only(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    for ending in (LS, "</think>" + LS):
        says(text + ending, text)  # a minute, were it quadratic
