from __future__ import annotations

import time

import pytest
from fakes import call, calls, says
from hypothesis import given
from hypothesis import strategies as st
from test_context import MAX_TOKENS, TASK, WINDOW, bodies, histories, is_valid, result, step, steps

from glm_agent import context
from glm_agent.context import Fitter, Gauge, estimate
from glm_agent.types import Assistant, Json, Message, User


def a_fitter(window: int = WINDOW, fixed: int = 0) -> tuple[Fitter, list[str]]:
    forgotten: list[str] = []
    return Fitter(window, MAX_TOKENS, fixed, lambda: forgotten.append("forget")), forgotten


def test_what_was_sent_stays_as_it_was_until_much_can_be_freed() -> None:
    """200 turns: what is sent either goes on from what was sent before, or was cleared in one batch."""
    fitter, forgotten = a_fitter()
    history: list[Message] = [User(TASK)]
    sent: list[Message] = []
    for number in range(200):
        history += step(number, 6_000)
        now = fitter.fit(history)
        assert fitter.fit(history) == now
        assert is_valid(now)
        if now[: len(sent)] != sent:
            forgotten.append(f"{number}")
        sent = now
    marks = [mark for mark in forgotten if mark != "forget"]
    assert len(marks) == forgotten.count("forget") == 6
    assert marks[:2] == ["41", "71"]
    assert bodies(history) == ["x" * 6_000] * 200


def test_a_providers_count_corrects_ours() -> None:
    fitter, forgotten = a_fitter(fixed=4_000)
    history = steps(20, 8_000)
    sent = fitter.fit(history)
    assert not fitter.tell(2 * estimate(sent, Gauge(4_000)))
    assert fitter.scale == 2.0
    fitter.fit(history)
    assert forgotten == ["forget"]


def test_the_prompt_and_the_tools_count() -> None:
    fitter, forgotten = a_fitter(fixed=52_000)
    fitter.fit(steps(20, 10_000))
    assert forgotten == ["forget"]


@pytest.mark.parametrize(("count", "scale"), [(0, 1.0), (-5, 1.0), (1, 0.25), (10**12, 4.0)])
def test_a_count_that_cannot_be_is_not_believed(count: int, scale: float) -> None:
    fitter, _ = a_fitter()
    fitter.fit(steps(2, 10))
    fitter.tell(count)
    assert fitter.scale == scale


def test_a_conversation_is_summed_up_whenever_it_has_grown() -> None:
    fitter, forgotten = a_fitter()
    history: list[Message] = [User(TASK), *step(1_000, 10)]
    history[2] = result(1_000, 10, path="a.py", kind="update")
    sizes: list[int] = []
    for number in range(400):
        history += [calls(call(number, "read", path="a"), text="t" * 6_000), result(number, 100)]
        sent = fitter.fit(history)
        if (request := fitter.summary_request()) is not None:
            assert request == [*sent, User(context.summary_prompt())]
            fitter.summarised(f"Summary {len(sizes)}")
            assert fitter.summary_request() is None
            sent = fitter.fit(history)
            assert sent[-20:] == history[-20:]
            sizes.append(estimate(sent))
            assert "\n\nFiles changed until now: a.py" in str(sent[1]).replace("\\n", "\n")
        assert is_valid(sent)
    assert sizes == [15_859] * 3 and len(forgotten) == 3


def test_a_model_that_sums_up_nothing_is_asked_again_once_there_is_more() -> None:
    fitter, forgotten = a_fitter()
    history: list[Message] = [User("t" * 720_000)]
    asked: list[int] = []
    for number in range(40):
        sent = fitter.fit(history)
        while fitter.summary_request():
            fitter.summarised(" ")
            asked.append(number)
        assert sent == history
        history.append(says("t" * 10_000))
    assert (asked, forgotten) == ([0, 11, 22, 33], [])


def test_a_small_window_keeps_fewer_results_in_the_summary() -> None:
    fitter, _ = a_fitter(32_768)
    history = steps(10, 16_000)
    fitter.fit(history)
    assert fitter.summary_request() is not None
    fitter.summarised("So far.")
    sent = fitter.fit(history)
    assert bodies(sent) == ["x" * 16_000] * 1
    assert is_valid(sent)


def test_a_refused_request_is_compacted_while_that_helps_and_then_given_up() -> None:
    fitter, forgotten = a_fitter()
    history = steps(12, 16_000)
    before = estimate(fitter.fit(history))
    assert fitter.overflowed()
    sent = fitter.fit(history)
    assert bodies(sent)[-3:] == [
        "[cleared: read src/9.py 1-400, 16000 bytes; call again if needed]",
        *["x" * 16_000] * 2,
    ]
    assert (fitter.window, fitter.limit, forgotten) == (WINDOW, before, ["forget"])
    sizes = [estimate(sent)]
    while fitter.overflowed():
        sizes.append(estimate(fitter.fit(history)))
    assert sizes == [8_914, 4_185, 129]
    assert is_valid(fitter.fit(history))


def test_after_a_good_turn_another_refusal_is_compacted_again() -> None:
    fitter, _ = a_fitter()
    history = steps(12, 16_000)
    fitter.fit(history)
    assert fitter.overflowed()
    fitter.tell(estimate(fitter.fit(history)))
    history += steps(40, 4_000)[3:]
    fitter.fit(history)
    assert fitter.overflowed()
    assert is_valid(fitter.fit(history))


@pytest.mark.parametrize("count", [0, 20_000])
def test_a_turn_is_good_whether_its_tokens_were_counted_or_not(count: int) -> None:
    fitter, _ = a_fitter()
    history = steps(12, 16_000)
    fitter.fit(history)
    assert fitter.overflowed()
    fitter.fit(history)
    assert not fitter.tell(count)
    history += steps(40, 4_000)[3:]
    fitter.fit(history)
    assert fitter.overflowed()


def test_a_refusal_makes_the_window_smaller_and_a_longer_prompt_that_passes_larger() -> None:
    fitter, _ = a_fitter()
    fitter.fit(steps(12, 16_000))
    assert fitter.overflowed()
    assert fitter.limit == 48_751
    assert not fitter.tell(90_000)
    assert fitter.limit == 90_000
    small, _ = a_fitter()
    small.fit([User("go")])
    assert not small.overflowed()
    assert small.limit == 8_192


def test_after_a_refusal_all_happens_earlier() -> None:
    fitter, forgotten = a_fitter()
    history = steps(12, 16_000)
    fitter.fit(history)
    assert fitter.overflowed()
    history += steps(22, 6_000)[-24:]
    fitter.fit(history)
    assert (forgotten, fitter.summary_request()) == (["forget"] * 2, None)
    fitter.fit([*history, says("t" * 40_000), User("And now?")])
    assert fitter.summary_request() is not None


def test_what_the_history_gains_after_a_fit_is_not_lost() -> None:
    fitter, _ = a_fitter()
    history = steps(12, 16_000)
    fitter.fit(history)
    history.append(says("Done."))
    assert fitter.overflowed()
    history.append(User("And now?"))
    assert fitter.fit(history)[-2:] == history[-2:]


def test_a_silent_overflow_is_told_and_does_not_count_as_a_good_turn() -> None:
    fitter, _ = a_fitter(131_072)
    history = steps(12, 16_000)
    fitter.fit(history)
    assert fitter.tell(131_073)
    assert fitter.overflowed()
    for helps in (True, True, False):
        fitter.fit(history)
        assert fitter.tell(131_073)
        assert fitter.overflowed() is helps


def test_what_cannot_be_cleared_is_dropped_when_the_provider_refuses_it() -> None:
    """Long turns of the model: the task, the last summary and the newest results remain."""
    fitter, _ = a_fitter()
    history: list[Message] = [User(TASK)]
    for number in range(80):
        history += [calls(call(number, "read", path="a"), text="t" * 6_000), result(number, 100)]
        if number == 40:
            fitter.fit(history)
            fitter.summarised("We began.")
    fitter.fit(history)
    assert fitter.overflowed()
    task, summary, *rest = fitter.fit(history)
    assert [task, *rest] == [User(TASK), *history[-4:]]
    assert isinstance(summary, User)
    assert "We began.\n\n(It no longer fitted" in summary.text


def test_a_dropped_part_is_said_to_be_dropped() -> None:
    fitter, _ = a_fitter()
    history: list[Message] = [User(TASK), says("t" * 400_000), User("And?"), *steps(3, 10)[1:]]
    history[4] = result(0, 10, path="a.py", kind="create")
    fitter.fit(history)
    assert fitter.overflowed()
    head, *rest = fitter.fit(history)
    assert head == User(TASK)
    assert rest == [
        User(
            "[The earlier part of this conversation was replaced by this summary of it.]\n\n"
            "(It no longer fitted and could not be summarised. Read again what you need before you go on.)"
            "\n\nFiles changed until now: a.py"
        ),
        User("And?"),
        *history[-4:],
    ]


def test_a_task_too_long_for_the_window_is_given_up_at_once() -> None:
    fitter, forgotten = a_fitter()
    history: list[Message] = [User("t" * 900_000)]
    assert fitter.fit(history) == history
    assert not fitter.overflowed()
    assert (fitter.fit(history), forgotten) == (history, [])


@given(
    histories(), st.lists(st.sampled_from(["tell", "overflow", "summary", "empty"])), st.integers(1, 150_000)
)
def test_whatever_happens_what_is_sent_is_valid(
    history: list[Message], events: list[str], window: int
) -> None:
    fitter, _ = a_fitter(window)
    for place, last in enumerate(history):
        if isinstance(last, Assistant) or not is_valid(history[: place + 1]):
            continue
        sent = fitter.fit(history[: place + 1])
        assert is_valid(sent)
        assert sent[0] == history[0]
        event = events.pop() if events else ""
        if event == "tell":
            fitter.tell(2 * estimate(sent))
        elif event == "overflow":
            fitter.overflowed()
        elif event and (request := fitter.summary_request()):
            assert is_valid(request)
            fitter.summarised("So far." if event == "summary" else "")
        assert is_valid(fitter.fit(history[: place + 1]))


def test_a_long_session_is_fitted_fast() -> None:
    history = steps(1_000, 4_000)
    fitter, _ = a_fitter()
    fitter.fit(history)
    started = time.process_time()
    for _ in range(10):
        fitter.fit(history)
        fitter.tell(50_000)
    per_turn = (time.process_time() - started) / 10
    assert per_turn < 0.05, f"{per_turn * 1000:.1f} ms"


def test_another_goes_on_as_this_one_would() -> None:
    """At any turn, with bodies cleared, a summary made, and a request refused for its length before."""
    fitter, _ = a_fitter()
    history: list[Message] = [User(TASK)]
    kept: list[Json] = []
    prompt = 0
    for number in range(120):
        before = list(kept)
        sent = list(fitter.fit(history))
        kept += fitter.steps()
        for known in {len(before): before, len(kept): kept}.values():  # killed before the request, or after
            other, _ = a_fitter()
            other.go_on(history, known, prompt)
            assert other.fit(history) == sent
            assert (other.limit, other.scale) == (fitter.limit, fitter.scale)
        if number == 50:
            fitter.summarised("It is long.")
        if number == 70:
            assert fitter.overflowed()
        sent = fitter.fit(history)
        kept += fitter.steps()
        prompt = int(estimate(sent) * (1.2 if number % 2 else 0.9))
        fitter.tell(prompt)
        history += step(number, 6_000)
    assert {entry["do"] for entry in kept} == {"fit", "summarised", "overflowed"}
