"""What CI is told of a run: files it can show, and a log whose every command is ours."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from running import CHECK, DONE, FIX, HERE, STALL, Run, edit, refused, run, shell, to

from glm_agent.replay import Server

EVIL = "::add-mask::e\n \t::error::x\n##[add-matcher]a"


def reports(folder: Path) -> tuple[str, ...]:
    kinds = ("md", "junit", "sarif")
    return tuple(word for kind in kinds for word in ("--report", f"{kind}={folder / kind}"))


def run_case(folder: Path) -> str:
    """What the JUnit file says of the run itself."""
    case = ElementTree.fromstring((folder / "junit").read_text())[0][-1]
    return next((str(part.get("type")) for part in case if part.tag in ("failure", "error")), "success")


def test_the_reports_say_how_the_run_ended(glm: Run, tmp_path: Path) -> None:
    with Server([edit("a - b", "a * b"), DONE]) as server:
        words = ("Add.", "--verify", CHECK, "--verify-rounds", "1", *reports(tmp_path), "--json")
        ran = glm("fix", *words, *to(server.url))
    assert ran.code == 10
    assert (tmp_path / "md").read_text().startswith("## ❌ `error_verify` (glm-agent, exit 10)\n")
    suite = ElementTree.fromstring((tmp_path / "junit").read_text())[0]
    cases = {case.get("name"): [part.tag for part in case][:1] for case in suite}
    names = {
        name: ["failure"]
        for kind in ("still_failing", "newly_broken")
        for name in ran.result["verification"][kind]
    }
    assert cases == {**names, "run": ["failure"]}
    (invocation,) = json.loads((tmp_path / "sarif").read_text())["runs"][0]["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (10, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "subtype"),
    [
        (("fix", "Add.", "--max-wall-time", "1s"), "error_max_budget"),
        (("fix", "Add.", "--provider", "zai"), "error_auth"),
        (("ask", "What?", "--provider", "zai"), "error_auth"),
    ],
)
def test_they_are_written_whatever_happened(
    glm: Run, tmp_path: Path, words: tuple[str, ...], subtype: str
) -> None:
    with Server([STALL]) as server:
        host = () if "--provider" in words else to(server.url)
        glm(*words, *host, *reports(tmp_path))
    assert run_case(tmp_path) == subtype


def test_a_report_that_cannot_be_written_fails_the_run_and_the_others_say_so(
    glm: Run, tmp_path: Path
) -> None:
    with Server([FIX, DONE]) as server:
        words = ("--report", "md=/dev/full", "--report", f"junit={tmp_path / 'junit'}", "--json")
        ran = glm("fix", "Add.", *words, *to(server.url))
    assert (ran.code, ran.result["errors"]) == (1, ["cannot write /dev/full: No space left on device"])
    assert run_case(tmp_path) == "error_during_execution"


def test_a_report_is_checked_before_anything_is_asked(glm: Run, tmp_path: Path) -> None:
    for value, says in (
        ("html=a", "expected md=FILE"),
        ("md=", "expected md=FILE"),
        (f"md={tmp_path}", "not a file in an existing directory"),
        (f"md={tmp_path}/missing/a", "not a file in an existing directory"),
    ):
        refused(glm, "fix", "Add.", "--report", value, *HERE, code=2, says=says)
    same = ("--report", f"md={tmp_path}/a", "--report", f"junit={tmp_path}/a")
    refused(glm, "fix", "Add.", *same, *HERE, code=2, says="give two files")


# On GitHub


@pytest.mark.slow
def test_on_github_nothing_the_model_says_is_a_command(repo: Path, tmp_path: Path) -> None:
    page = tmp_path / "summary"
    page.write_text("# before\n")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(page)}
    turn = {"content": EVIL, "tool_calls": [{"name": "read", "arguments": {"path": EVIL}}]}
    with Server([turn, {"content": EVIL}]) as server:
        ran = run(repo, "ask", "What?", "-v", "--report", f"md={tmp_path}/md", *to(server.url), env=github)
    assert ran.out == "\\::add-mask::e\n \t\\::error::x\n##\\[add-matcher]a\n"
    assert [line for line in ran.err.split("\n") if line.lstrip().startswith("::") or "##[" in line] == []
    assert "still" not in ran.err
    assert page.read_text() == "# before\n" + (tmp_path / "md").read_text()


@pytest.mark.slow
def test_on_github_json_holds_no_command_and_stderr_has_the_annotations(repo: Path, tmp_path: Path) -> None:
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "missing/summary")}
    with Server([{"content": EVIL}, {"content": EVIL}, {"content": EVIL}]) as server:
        ran = run(repo, "fix", "Add.", "--json", *to(server.url), env=github)
    assert (ran.code, ran.result["result"], "##[" in ran.out) == (11, EVIL, False)
    lines = ran.err.split("\n")
    assert lines[0] == "::error title=glm-agent::nothing was changed; --allow-empty accepts that"
    assert "glm-agent: cannot write GITHUB_STEP_SUMMARY" in ran.err


@pytest.mark.slow
def test_on_github_a_patch_goes_to_a_file_and_never_to_the_log(repo: Path, tmp_path: Path) -> None:
    with Server([FIX, DONE]) as server:
        command = f"$GLM fix Add. --patch - {' '.join(to(server.url))}"
        into_log = shell(repo, command, GITHUB_ACTIONS="true")
        into_file = shell(repo, f"{command} > {tmp_path}/patch", GITHUB_ACTIONS="true")
    assert (into_log.code, "give a file" in into_log.err, into_file.code) == (2, True, 0)
    assert (tmp_path / "patch").read_text().startswith("diff --git")


@pytest.mark.slow
def test_a_full_page_stays_as_it_is(repo: Path, tmp_path: Path) -> None:
    page = tmp_path / "summary"
    page.write_bytes(b"x" * (1 << 20))
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(page)}
    assert run(repo, "fix", "", *HERE, env=github).code == 2
    assert page.stat().st_size == 1 << 20
