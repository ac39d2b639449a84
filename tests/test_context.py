from __future__ import annotations

import json
from copy import deepcopy

import pytest
from fakes import call, calls, says
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import context
from glm_agent.context import Gauge, clear, estimate, summarise
from glm_agent.types import Assistant, Message, ToolCall, ToolResult, User

WINDOW, MAX_TOKENS = 200_000, 16_384
TASK = "Make the tests pass.\n\tThanks!"
NAMES = ("read", "search", "bash", "edit", "patch")


def result(number: int, size: int, ok: bool = True, **details: object) -> ToolResult:
    return ToolResult(f"call_{number}", "x" * size, ok, dict(details))


def step(number: int, size: int, ok: bool = True) -> list[Message]:
    """One turn that reads a file, and its result."""
    turn = calls(call(number, "read", path=f"src/{number}.py"), text=f"step {number}")
    turn.thought = f"I look at {number}"
    return [turn, result(number, size, ok)]


def steps(count: int, size: int) -> list[Message]:
    return [User(TASK), *(message for number in range(count) for message in step(number, size))]


def bodies(history: list[Message]) -> list[str]:
    return [message.content for message in history if isinstance(message, ToolResult)]


def is_valid(history: list[Message]) -> bool:
    """The first message is the user's, and each turn's calls are answered once, in order, right after it."""
    left: list[str] = []
    for message in history:
        if isinstance(message, ToolResult):
            if not left or message.call_id != left.pop(0):
                return False
        elif left:
            return False
        elif isinstance(message, Assistant):
            left = [made.id for made in message.calls]
    return not left and isinstance(history[0], User)


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Any valid history that ends where the model is asked; ids are unique, or repeated in every turn."""
    history: list[Message] = [User(draw(st.text(max_size=9)))]
    unique = draw(st.booleans())
    for turn in range(draw(st.integers(0, 25))):
        count = draw(st.integers(0, 4))
        made = [
            ToolCall(
                f"{turn}-{place}" if unique else f"{place}",
                draw(st.sampled_from(NAMES)),
                draw(st.sampled_from(['{"path":"a.py"}', "{", "[1]", '{"path":"\\ud800","offset":null}'])),
            )
            for place in range(count)
        ]
        history.append(Assistant(f"say {turn}", f"think {turn}", made, "stop"))
        sizes = draw(st.lists(st.sampled_from([0, 60, 499, 500, 30_000]), min_size=count, max_size=count))
        for each, size in zip(made, sizes, strict=True):
            history.append(ToolResult(each.id, f"{turn}" * (size // len(f"{turn}")), draw(st.booleans())))
        if not made:
            history.append(User(f"go on {turn}"))
    return history


# How many tokens


def test_tokens_are_a_quarter_of_the_bytes_and_something_for_each_result() -> None:
    turn = Assistant("bé", "c" * 5, [ToolCall("id", "read", "{}")], "stop", {"prompt_tokens": 9})
    history: list[Message] = [User("a" * 10), turn, ToolResult("id", "d" * 100)]
    assert estimate(history) == (10 + 3 + 5 + 4 + 2 + 100) // 4 + 45 + 80
    assert estimate(history, Gauge(400, 2.0)) == 2 * (100 + 31 + 45 + 80)
    assert estimate([]) == 80
    assert estimate([User("\ud800")]) == 80


# Clearing


def test_all_but_the_newest_ten_bodies_become_a_line_each() -> None:
    history = steps(30, 14_212)
    before = deepcopy(history)
    cleared = clear(history, WINDOW)
    assert cleared is not None
    assert cleared[1] == 20
    assert bodies(cleared[0]) == [
        *(f"[cleared: read src/{n}.py 1-400, 14212 bytes; call again if needed]" for n in range(20)),
        *["x" * 14_212] * 10,
    ]
    assert [m for m in cleared[0] if not isinstance(m, ToolResult)] == [
        m for m in before if not isinstance(m, ToolResult)
    ]
    assert history == before


@pytest.mark.parametrize(
    ("count", "size", "window", "clears"),
    [
        (18, 14_000, WINDOW, True),  # 64,310 tokens
        (18, 13_900, WINDOW, False),  # just below 64,000
        (17, 14_900, WINDOW, True),  # 26,000 tokens are freed
        (11, 30_000, WINDOW, False),  # far over, but only 7,500 would be freed
        (15, 14_500, 131_072, False),  # 18,000 would be freed
        (17, 12_500, 131_072, True),  # 40 % of the window is passed first
        (16, 4_000, 32_768, True),  # a sixth of a small window is enough
        (12, 4_000, 32_768, False),
    ],
)
def test_it_clears_late_and_only_where_it_pays(count: int, size: int, window: int, clears: bool) -> None:
    assert (clear(steps(count, size), window) is not None) == clears


def test_what_a_provider_counts_decides_when_it_clears() -> None:
    history = steps(20, 10_000)
    assert clear(history, WINDOW) is None
    assert clear(history, WINDOW, Gauge(scale=1.3)) is not None
    assert clear(history, WINDOW, Gauge(fixed=52_000)) is not None
    assert clear(steps(30, 10_000), WINDOW, Gauge(scale=0.75)) is None


def test_what_is_short_stays() -> None:
    """Errors below 500 bytes, and what its line would not shorten."""
    history = steps(40, 10_000)
    short = [result(0, 499, ok=False), result(1, 500, ok=False), result(2, 499), result(3, 60)]
    for number, each in enumerate(short):
        history[2 + 2 * number] = each
    cleared = clear(history, WINDOW)
    assert cleared is not None
    assert bodies(cleared[0])[:4] == [
        "x" * 499,
        "[cleared: read src/1.py 1-400, 500 bytes; call again if needed]",
        "[cleared: read src/2.py 1-400, 499 bytes; call again if needed]",
        "x" * 60,
    ]
    assert cleared[1] == 28


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (call(0, "read", path="a b.py", offset=401, limit=50), "read a b.py 401-450"),
        (call(0, "read", path="a.py", offset="1", limit=[2]), "read a.py 1"),
        (call(0, "search", pattern="def \\w+", path="src"), "search def \\\\w+ src"),
        (call(0, "bash", command="pytest -q\nrm x"), "bash pytest -q\\nrm x"),
        (call(0, "bash", command="y" * 70), f"bash {'y' * 60}… [10 more characters]"),
        (call(0, "write", path="a", content="\ud800]", n=True, more=1), "write a ?] True"),
        (ToolCall("call_0", "bash", '{"comm'), "bash"),
        (ToolCall("call_0", "bash", "[" * 100_000), "bash"),
        (ToolCall("call_0", "b\nc" + "d" * 99, ""), f"b\\nc{'d' * 56}… [43 more characters]"),
    ],
)
def test_the_line_names_the_call(made: ToolCall, named: str) -> None:
    history: list[Message] = [User(TASK), calls(made), result(0, 9_000), *steps(40, 10_000)[3:]]
    cleared = clear(history, WINDOW)
    assert cleared is not None
    assert bodies(cleared[0])[0] == f"[cleared: {named}, 9000 bytes; call again if needed]"


def test_the_line_names_the_latest_call_where_ids_repeat() -> None:
    made = [calls(ToolCall("call_0", "read", f'{{"path":"{number}"}}')) for number in range(40)]
    history = [User(TASK), *(message for turn in made for message in (turn, result(0, 10_000)))]
    cleared = clear(history, WINDOW)
    assert cleared is not None
    assert [body.split()[2] for body in bodies(cleared[0])[:30]] == [f"{number}" for number in range(30)]


def test_the_line_says_where_the_whole_output_is_kept() -> None:
    body = "x" * 9_000 + "\n[exit=1 time=2s; all of it in output:7: read or search it]"
    made = call(0, "bash", command="make")
    history: list[Message] = [User(TASK), calls(made), ToolResult("call_0", body), *steps(40, 10_000)[3:]]
    once = clear(history, WINDOW)
    assert once is not None
    line = f"[cleared: bash make, {len(body)} bytes; read output:7, or call again if needed]"
    assert bodies(once[0])[0] == line
    twice = clear([*once[0], *steps(60, 10_000)[81:]], WINDOW)
    assert twice is not None
    assert bodies(twice[0])[0] == line


@given(histories(), st.integers(8_192, 200_000), st.sampled_from([0.25, 1.0, 4.0]))
def test_clearing_keeps_any_history_valid_and_all_but_bodies_as_it_was(
    history: list[Message], window: int, scale: float
) -> None:
    before = deepcopy(history)
    cleared = clear(history, window, Gauge(scale=scale))
    assert history == before
    if cleared is None:
        return
    after, count = cleared
    assert is_valid(after)
    changed = [(old, new) for old, new in zip(history, after, strict=True) if old != new]
    assert len(changed) == count > 0
    for old, new in changed:
        assert isinstance(old, ToolResult)
        assert isinstance(new, ToolResult)
        assert (new.call_id, new.ok) == (old.call_id, old.ok)
        assert len(new.content.encode()) < len(old.content)
    assert after[-10:] == history[-10:]
    assert clear(after, window, Gauge(scale=scale)) is None


# The summary


def test_a_summary_keeps_the_task_the_newest_results_and_the_changed_paths() -> None:
    history = steps(30, 10)
    history[4] = result(1, 10, path="b.py", kind="update")
    history[6] = result(2, 10, changes=[{"path": "a\n.py", "kind": "rename", "new_path": "c\udcff.py"}])
    history[8] = result(3, 10, ok=False, path="no.py", kind="update")
    history[10] = result(4, 10, path="read.py", first=1)
    assert summarise(history, " All is well.\n") == [
        User(TASK),
        User(
            "[The earlier part of this conversation was replaced by this summary of it.]\n\n"
            "All is well.\n\nFiles changed until now: a\\n.py, b.py, c?.py"
        ),
        *history[-20:],
    ]


def test_a_turn_is_kept_whole() -> None:
    many = calls(*(call(100 + place, "read", path="a") for place in range(15)))
    answers = [result(100 + place, 5) for place in range(15)]
    history = [*steps(3, 10), many, *answers, *step(200, 5)]
    assert summarise(history, "So far.")[2:] == [many, *answers, *step(200, 5)]


def test_the_users_latest_words_are_kept_and_the_summary_before_is_not() -> None:
    verdict = User("pytest still fails")
    history = [*steps(3, 10), says("Done."), verdict, *steps(12, 10)[1:]]
    once = summarise(history, "One.")
    assert once[2:] == [verdict, *steps(12, 10)[-20:]]
    twice = summarise([*once, *steps(12, 10)[1:]], "Two.")
    assert [twice[0], *twice[2:]] == [User(TASK), verdict, *once[3:]]
    assert str(twice[1]) == str(once[1]).replace("One.", "Two.")


def test_the_users_older_words_are_not_kept_and_neither_is_a_summary_among_the_newest() -> None:
    older, newer = User("pytest still fails"), User("and so does ruff")
    history = [*steps(3, 10), says("Done."), older, *steps(3, 10)[1:], says("Done."), newer, *step(9, 10)]
    once = summarise(history, "One.", keep=2)
    assert once[2:] == history[-6:]
    again = summarise(once, "Two.")
    assert [again[0], *again[2:]] == [once[0], *once[2:]]


def test_a_short_history_only_loses_nothing() -> None:
    history = [*steps(2, 10), says("Done."), User("And now?")]
    assert summarise(history, "So far.") == [history[0], summarise(history, "So far.")[1], *history[1:]]


def test_a_summary_without_end_is_cut() -> None:
    assert estimate(summarise(steps(1, 10), "x" * 10**6)) < 9_000


@given(histories(), st.text(max_size=9), st.integers(0, 12))
def test_a_summary_keeps_any_history_valid(history: list[Message], text: str, keep: int) -> None:
    after = summarise(history, text, keep)
    assert is_valid(after)
    assert after[0] == history[0]
    assert min(keep, len(bodies(history))) <= len(bodies(after))
    if history[-1:] != history[:1]:
        assert (after[-1] == history[-1]) or not keep
    json.dumps([str(message) for message in after], ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("size", "window", "max_tokens", "needed"),
    [
        (170_001, 200_000, 16_384, True),
        (170_000, 200_000, 16_384, False),
        (157_233, 200_000, 32_768, True),
        (157_232, 200_000, 32_768, False),
        (104_689, 131_072, 16_384, True),
        (8_192, 16_384, 16_384, False),  # a reply as large as the window leaves half of it
        (8_193, 16_384, 16_384, True),
    ],
)
def test_when_a_summary_is_needed(size: int, window: int, max_tokens: int, needed: bool) -> None:
    assert context.needs_summary(size, window, max_tokens) == needed


def test_the_prompt_asks_for_every_section() -> None:
    prompt = context.summary_prompt()
    names = ("Objective", "Constraints", "Done", "Files changed", "Test state", "Next step")
    assert [line.split(":")[0] for line in prompt.split("\n") if line.startswith(names)] == list(names)
