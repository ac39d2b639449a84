"""Caps on tokens and money, through the command line: what was sent, what came of it, how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import DONE, FIX, READ, RIGHT, Ran, Run, refused, to

from glm_agent.replay import Server
from glm_agent.types import Json

PRICED = '[models."glm-4.7".price]\ncustom = [1.0, 0.1, 10.0]\n'  # a reply of 1000 tokens is a cent


def spends(turn: Json, prompt: int, reply: int, **more: object) -> Json:
    return {**turn, "usage": {"prompt_tokens": prompt, "completion_tokens": reply, **more}}


def capped(glm: Run, turns: list[Json], *words: str) -> tuple[Ran, list[Json]]:
    """What came of it, and the bodies that were sent."""
    with Server(turns, strict=True) as server:
        ran = glm("fix", "Add.", *words, *to(server.url), "--json")
    return ran, [request.body for request in server.requests]


def results(body: Json) -> list[str]:
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ("--max-total-tokens", "20000"),
            "stopped after 18000 tokens; --max-total-tokens raises the cap",
        ),
        (("--max-budget-usd", "0.028"), "stopped after $0.027000; --max-budget-usd raises the cap"),
    ],
)
def test_a_cap_stops_before_the_request_that_would_pass_it(
    glm: Run, config_file: Path, tmp_path: Path, words: tuple[str, ...], error: str
) -> None:
    config_file.write_text(PRICED)
    turns = [spends(FIX, 8000, 500), spends(READ, 9000, 500), DONE]
    ran, bodies = capped(glm, turns, *words, "--patch", str(tmp_path / "p"), "--verify", "true")
    result = ran.result
    assert (ran.code, result["subtype"], result["errors"]) == (55, "error_max_budget", [error])
    assert (len(bodies), result["num_turns"], result["result"]) == (2, 2, "")
    assert RIGHT in (tmp_path / "p").read_text()
    assert [check["exit_code"] for check in result["verification"]["after"]] == [0]
    assert "[note: this run nears its cap on" in str(ran.events)
    assert ran.events[0]["caps"] == {
        "max_turns": 150,
        "max_tool_calls": 1000,
        words[0][2:].replace("-", "_"): float(words[1]),
    }


def test_near_the_cap_replies_become_shorter_and_the_model_is_told(glm: Run) -> None:
    turns = [spends(READ, 2000, 500), spends(READ, 3000, 500), DONE]
    ran, bodies = capped(glm, turns, "--max-total-tokens", "11000", "--allow-empty")
    assert ran.code == 0
    usual, second, last = [body["max_tokens"] for body in bodies]
    assert (usual > 8500 > second > last) and last < 11000 - 6000
    assert "[note: this run nears its cap on tokens." in results(bodies[2])[-1]
    assert "[note:" not in results(bodies[1])[-1]


@pytest.mark.slow
def test_once_it_is_used_up_open_calls_are_answered_but_not_run(glm: Run, repo: Path) -> None:
    ran, bodies = capped(glm, [spends(FIX, 5000, 6000)], "--max-total-tokens", "9000")
    assert (ran.code, ran.result["subtype"], len(bodies)) == (55, "error_max_budget", 1)
    told = [event for event in ran.events if event["type"] == "user"]
    assert "error: not run: the cap on tokens is reached" in str(told)
    assert RIGHT not in (repo / "calc.py").read_text() and ran.result["changes"] == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--max-tokens", "9000")])
def test_a_turn_that_does_not_count_costs_all_the_same(glm: Run, words: tuple[str, ...]) -> None:
    broken = spends({**READ, "finish": "length"}, 5000, 3000)
    ran, bodies = capped(glm, [broken], "--max-total-tokens", "9000", *words)
    assert (ran.code, len(bodies)) == (55, 1)
    assert ran.result["errors"] == ["stopped after 8000 tokens; --max-total-tokens raises the cap"]


@pytest.mark.slow
def test_what_the_provider_charges_is_what_counts(glm: Run, config_file: Path) -> None:
    config_file.write_text(PRICED)
    ran, bodies = capped(glm, [spends(FIX, 100, 10, cost=0.3)], "--max-budget-usd", "0.3")
    assert (ran.code, len(bodies), ran.result["total_cost_usd"]) == (55, 1, 0.3)


def test_where_no_price_is_known_a_cap_on_money_makes_no_sense(glm: Run) -> None:
    for command in ("fix", "ask"):
        refused(
            *(glm, command, "Add.", "--max-budget-usd", "1", *to("http://127.0.0.1:9/v1")),
            code=2,
            says='[models."glm-4.7".price] custom = [INPUT, CACHED, OUTPUT]',
        )


@pytest.mark.slow
def test_ask_has_the_same_caps(glm: Run) -> None:
    with Server([spends(READ, 5000, 500), DONE], strict=True) as server:
        ran = glm("ask", "Why?", "--max-total-tokens", "7000", *to(server.url), "--json")
    assert (ran.code, ran.result["subtype"], len(server.requests)) == (55, "error_max_budget", 1)


@pytest.mark.slow
def test_a_repository_lowers_them_and_never_raises_them(glm: Run, repo: Path, config_file: Path) -> None:
    config_file.write_text("max_total_tokens = 5000\n")
    for lines, most in (("max_total_tokens = 4000", 4000), ("max_total_tokens = 9000", 5000)):
        (repo / ".glm-agent.toml").write_text(lines + "\n")
        ran, _ = capped(glm, [DONE], "--allow-empty")
        assert ran.events[0]["caps"]["max_total_tokens"] == most
