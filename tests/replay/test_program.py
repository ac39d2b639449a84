"""The server as a program, and the material of the demo."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from glm_agent.replay import demo
from glm_agent.types import Json

ASK: Json = {"model": "glm-4.7", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_prints_its_url_and_serves_until_a_signal(tmp_path: Path, number: int) -> None:
    script, log = tmp_path / "turns.jsonl", tmp_path / "log.jsonl"
    script.write_text(json.dumps({"content": "Hello, you.", "fault": "stall", "after": 20}))
    argv = [
        sys.executable,
        "-m",
        "glm_agent.replay",
        "--turns",
        str(script),
        "--log",
        str(log),
        "--chunk",
        "1",
    ]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(argv, env=buffered, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        host, _, _ = url.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=5)
        connection.request("POST", "/v1/chat/completions", json.dumps(ASK))
        assert connection.getresponse().read(20).startswith(b"data: {")
        start = time.monotonic()
        process.send_signal(number)
        assert process.wait(5) == 0
        assert time.monotonic() - start < 0.5
        connection.close()
    assert json.loads(log.read_text())["body"] == ASK


def test_the_program_says_what_is_wrong_with_its_script(tmp_path: Path) -> None:
    script = tmp_path / "turns.jsonl"
    script.write_text("{}\n{")
    argv = [sys.executable, "-m", "glm_agent.replay", "--turns", str(script)]
    run = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"replay: {script}: line 2: ")


def test_the_demo_has_two_failing_tests_which_its_own_edit_fixes(tmp_path: Path) -> None:
    demo.unpack(tmp_path)
    assert failing(tmp_path) == 2
    calls: list[dict[str, Any]] = [call for turn in demo.turns() for call in turn["tool_calls"]]
    assert [call["name"] for call in calls] == ["search", "read", "read", "edit", "bash"]
    edit: dict[str, str] = next(call["arguments"] for call in calls if call["name"] == "edit")
    target = tmp_path / edit["path"]
    before = target.read_text()
    assert before.count(edit["old"]) == 1
    target.write_text(before.replace(edit["old"], edit["new"]))
    assert failing(tmp_path) == 0


def failing(folder: Path) -> int:
    argv = [sys.executable, "-B", "-m", "unittest", "-q"]
    run = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert "Ran 7 tests" in run.stderr
    assert (run.returncode == 0) == ("FAIL:" not in run.stderr)
    return run.stderr.count("FAIL:")


def test_the_demo_runs_its_tests_with_the_python_it_is_given() -> None:
    calls = [call for turn in demo.turns("/a b/python") for call in turn["tool_calls"]]
    assert calls[-1]["arguments"] == {"command": "'/a b/python' -m unittest -q"}
    assert "2.5 hours" in demo.task()
