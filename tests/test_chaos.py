"""Nothing is lost, whenever a session is killed; `tests/chaos.py` has what is done, and what has to be so.

That program does at random times, and at every failpoint, what these do as far as their time goes.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from chaos import Breach, Chaos, Kill, Pendulum

WRITER = ("intend", "stage", "sync", "swap", "moved", "swapped", "clean", "conclude")
OUTCOMES = {"resume": "resumed", "doctor": "put right", "undo": "undone at once"}
SECONDS = 8.0  # each


@pytest.mark.slow
@pytest.mark.parametrize("only", [WRITER, ("event", "seen")], ids=["writer", "events"])
@pytest.mark.parametrize("then", ["resume", "doctor", "undo"])
def test_a_kill_loses_nothing(only: tuple[str, ...], then: str, home: Path, tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, home, with_command="event" in only)
    with chaos.killer:
        places = list(range(1, chaos.count(only) + 1))
        random.Random(7).shuffle(places)  # the same each time
        counts: Counter[str] = Counter()
        end = time.monotonic() + SECONDS
        while places and time.monotonic() < end:
            counts[chaos.trial(Kill(places.pop(), only), then)] += 1
    assert not counts["not reached"]
    assert counts[OUTCOMES[then]]


@pytest.mark.slow
def test_what_comes_out_of_a_copy_comes_whole_and_can_be_undone(home: Path, tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, home, more=("--worktree", "--sandbox", "workspace-write"))
    with chaos.killer:
        places = list(range(1, chaos.count(WRITER) + 1))[-18:]  # before that, it is the copy
        ends = {chaos.trial(Kill(place, WRITER), "doctor") for place in places[::4]}
    assert ends == {"put right"}


@pytest.mark.slow
def test_an_undo_that_is_killed_is_finished_and_can_be_undone(home: Path, tmp_path: Path) -> None:
    pendulum = Pendulum(tmp_path)
    with pendulum.killer:
        places = list(range(1, pendulum.count() + 1))
        pendulum.count()
        random.Random(7).shuffle(places)
        counts: Counter[str] = Counter()
        for place, then in zip(places[:4], ("doctor", "undo") * 2, strict=True):
            counts[pendulum.swing(Kill(place), then)] += 1
    assert counts["half-way, and finished"] > 1
    assert not counts["not reached"]


@pytest.mark.slow
def test_a_put_back_that_is_killed_is_finished(home: Path, tmp_path: Path) -> None:
    breach = Breach(tmp_path)
    with breach.killer:
        last = breach.count()
        ends = [breach.trial(Kill(place), "doctor") for place in (1, last // 2)]
        assert ends == ["not begun, and undone", "half-way, and put back"]


@pytest.mark.slow
def test_a_write_that_fails_is_said_and_leaves_all_whole(home: Path, tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    chaos = Chaos(tmp_path, home, more=("--record", str(recording)))
    with chaos.killer:
        ends = {
            only: chaos.fail(Kill(at, (only,)), how)
            for only, at, how in (
                ("journal", 9, "ENOSPC"),
                ("written", 2, "EROFS"),
                ("record", 5, "EACCES"),
                ("artefact", 1, "ENOSPC"),
                ("spill", 1, "ENOSPC"),
            )
        }
    sessions = str(home / ".local/state/glm-agent/sessions")
    shown = {
        only: (code, re.sub(f"{sessions}/[^/:]*", "SESSION", said)) for only, (code, said) in ends.items()
    }
    assert shown == {
        "journal": (45, "cannot write the session's journal: No space left on device"),
        "written": (45, "cannot write the session to SESSION: Read-only file system"),
        "record": (1, f"--record {recording}: cannot be written: Permission denied"),
        "artefact": (1, "cannot write SESSION/patch.diff: No space left on device"),
        "spill": (0, ""),
    }
