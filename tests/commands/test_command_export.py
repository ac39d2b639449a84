"""`sessions export`, and `sessions show`, which has the same words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import DONE, FIX, READ, Ran, Run, call, to, validator

from glm_agent.replay import Server

WORDS = ["sessions", "export", "2"]


@pytest.fixture
def kept(glm: Run) -> None:
    """One session of `fix`."""
    with Server([{**READ, "reasoning": "Where?"}, FIX, DONE]) as server:
        glm("fix", "Make it <b>add</b>.", *to(server.url))


@pytest.mark.usefixtures("kept")
def test_a_session_is_exported_in_each_format(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def export(wanted: str, *more: str) -> Ran:
        return call([*WORDS, "--format", wanted, *more], capfdbinary)

    data = json.loads(export("json").out)
    assert [message["role"] for message in data["messages"]] == ["user", "assistant"] * 3
    validator().validate(data["init"])
    validator().validate(data["result"])
    assert (data["result"]["result"], data["init"]["session_id"]) == (DONE["content"], data["session_id"])

    trajectory = json.loads(export("atif").out)
    assert [step["source"] for step in trajectory["steps"]] == ["user", "agent", "agent", "agent"]
    assert trajectory["steps"][1]["reasoning_content"] == "Where?"
    assert trajectory["steps"][2]["tool_calls"][0]["function_name"] == "edit"

    assert "> Make it &#60;b>add&#60;/b>." in export("md").out and "> Done: it adds now." in export("md").out

    file = tmp_path / "page.html"
    assert export("html", "-o", str(file)) == Ran(0, "", "")
    page = file.read_text("utf-8")
    assert page.startswith("<!doctype html>") and "Make it &lt;b&gt;add&lt;/b&gt;." in page

    missing = export("html", "-o", str(tmp_path / "no" / "page.html"))
    assert (missing.code, missing.out, "cannot write" in missing.err) == (1, "", True)
    shown = call(["sessions", "show", "2"], capfdbinary).out
    assert "* read calc.py  -> lines 1-2 of 2\n" in shown and "* edit calc.py  -> +1 -1\n" in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sessions", "export", "2"], "'--format'"),
        (["sessions", "export", "2", "--format", "pdf"], "'pdf' is not one of 'json', 'md', 'html', 'atif'"),
        (["sessions", "export", "2", "--format", "md"], "no session '2'"),
    ],
)
def test_what_cannot_be_exported_is_a_usage_error(
    words: list[str], says: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    ran = call(words, capfdbinary)
    assert (ran.code, ran.out, says in ran.err) == (2, "", True), ran.err


def test_help_reads_well_in_80_columns(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = call(["sessions", "export", "--help"], capfdbinary)
    assert (ran.code, max(map(len, ran.out.split("\n"))) <= 80) == (0, True)
