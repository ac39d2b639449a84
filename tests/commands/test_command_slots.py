"""Two runs with one key, as a person with a Coding Plan would start them."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import DONE, finish, start, to

from glm_agent.replay import Pace, Server

KEY = {"GLM_AGENT_API_KEY": "sk-0123456789abcdef"}
ONE_AT_A_TIME = "[providers.custom]\nin_flight = 1\n"


@pytest.mark.slow
def test_two_runs_with_one_key_never_have_two_requests_in_flight(repo: Path, home: Path) -> None:
    config = home / ".config" / "glm-agent"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(ONE_AT_A_TIME)
    with Server([DONE] * 4, pace=Pace(delay=0.2)) as server:
        runs = [start(repo, "ask", "What?", *to(server.url), env=KEY) for _ in range(3)]
        codes = [finish(run).code for run in runs]
        assert (codes, server.most_in_flight) == ([0, 0, 0], 1)


@pytest.mark.slow
def test_runs_without_a_key_share_nothing(repo: Path, home: Path) -> None:
    with Server([DONE]) as server:
        assert finish(start(repo, "ask", "What?", *to(server.url), "--ephemeral")).code == 0
    assert not (home / ".local" / "state" / "glm-agent" / "slots").exists()
