from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from running import (
    CHECK,
    DONE,
    FILES,
    FIX,
    READ,
    RIGHT,
    STALL,
    WRONG,
    Ran,
    Run,
    contents,
    edit,
    first_fast,
    git,
    run,
    to,
)

from glm_agent.replay import Server, read_turns
from glm_agent.types import Json

CASE = Path(__file__).parents[1] / "real/marshmallow-1867"
NAMES = [f"verify.py::milliseconds[{number}]" for number in (344, 345, 1001)]


def unpack(folder: Path) -> Path:
    subprocess.run(["tar", "xzf", str(CASE / "repo.tar.gz"), "-C", str(folder)], check=True)
    found = [entry for entry in folder.iterdir() if entry.is_dir()]
    root = found[0] if len(found) == 1 and not (folder / "src").exists() else folder
    (root / "verify.py").write_bytes((CASE / "verify.py").read_bytes())
    if sys.version_info >= (3, 12):  # which has no distutils, of which this old tree wants one class
        (root / "src/distutils").mkdir()
        shim = "class LooseVersion:\n    version = 3, 13\n    def __init__(self, text): pass\n"
        (root / "src/distutils/version.py").write_text(shim)
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "x")):
        git(root, *words)
    return root


def turns() -> list[Json]:
    return read_turns((CASE / "turns.jsonl").read_text("utf-8"))


def words(url: str, *more: str) -> tuple[str, ...]:
    task = (CASE / "task.md").read_text("utf-8")
    return ("fix", task, "--verify", "python verify.py", *to(url), "-y", *more)


def says(*found: Json) -> list[str]:
    """What the user said in a request."""
    return [message["content"] for message in found[-1]["messages"] if message["role"] == "user"]


# A real repository, end to end


def test_a_real_bug_is_fixed_and_everything_about_it_is_reported(tmp_path: Path) -> None:
    root = unpack(tmp_path)
    with Server(turns(), strict=True) as server:
        ran = run(root, *words(server.url, "--json", "--patch", str(tmp_path / "run.patch")))
    result = ran.result
    assert (ran.code, result["subtype"], result["errors"]) == (0, "success", [])
    verification = result["verification"]
    assert [verification[name] for name in ("fixed", "still_failing", "newly_broken")] == [NAMES, [], []]
    assert [check["exit_code"] for check in verification["before"] + verification["after"]] == [1, 0]
    assert result["changes"] == [
        {"path": "src/marshmallow/fields.py", "kind": "update", "added": 1, "removed": 1}
    ]
    lines = (tmp_path / "run.patch").read_text("utf-8").split("\n")
    body = [line for line in lines if not line.startswith(("diff --git ", "index "))]
    assert "\n".join(body) == (CASE / "expected.patch").read_text("utf-8")
    init = ran.events[0]
    assert init["tools"] == ["read", "search", "edit", "write", "patch", "bash"]
    confined = {"mode": "workspace-write", "mechanism": "namespaces+landlock+seccomp", "network": False}
    assert init["sandbox"] == {**confined, "tier": "A", "gaps": []}
    asked_as_they_must_be([request.body for request in server.requests], turns())


def asked_as_they_must_be(bodies: list[Json], script: list[Json]) -> None:
    """Append-only, reasoning echoed, tools and everything else byte for byte the same."""
    assert len(bodies) == len(script)
    for before, after in pairwise(bodies):
        assert after["messages"][: len(before["messages"])] == before["messages"]
        assert {**after, "messages": 0} == {**before, "messages": 0}
    spoken = [message for message in bodies[-1]["messages"] if message["role"] == "assistant"]
    assert [message.get("reasoning_content") for message in spoken] == [
        turn["reasoning"] for turn in script[:-1]
    ]
    calls = [call["id"] for message in spoken for call in message["tool_calls"]]
    answers = [message["tool_call_id"] for message in bodies[-1]["messages"] if message["role"] == "tool"]
    assert answers == calls


@pytest.mark.slow
def test_as_text_only_the_answer_is_on_stdout(tmp_path: Path) -> None:
    with Server(turns(), strict=True) as server:
        ran = run(unpack(tmp_path), *words(server.url))
    assert (ran.code, ran.out) == (0, turns()[-1]["content"] + "\n")
    assert "fields.py" in ran.err and "Traceback" not in ran.err


@pytest.mark.slow  # in a small repository it is among the rounds below
def test_a_wrong_edit_ends_with_10_and_names_what_still_fails(tmp_path: Path) -> None:
    script = turns()
    wrong = "        return int(value.total_seconds() / base_unit.total_seconds()) + 0"
    script[2]["tool_calls"][0]["arguments"]["new"] = wrong
    with Server(script) as server:
        ran = run(unpack(tmp_path), *words(server.url, "--json", "--verify-rounds", "1"))
    assert (ran.code, ran.result["subtype"]) == (10, "error_verify")
    assert ran.result["verification"]["still_failing"] == NAMES
    assert ran.result["verification"]["fixed"] == []
    assert all(name in ran.result["errors"][0] for name in NAMES)


# What the model is told, and what happens when it is done


def test_without_a_task_a_command_that_passes_needs_no_model(repo: Path, glm: Run) -> None:
    with Server([DONE]) as server:
        ran = glm("fix", "--verify", "true", *to(server.url), "--json")
    assert (ran.code, server.requests) == (0, [])
    assert ran.result["result"] == "Nothing to fix: every --verify command passes already."


def test_without_a_task_the_failing_output_is_the_task(glm: Run) -> None:
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "--verify", CHECK, *to(server.url), "--json")
    assert ran.code == 0
    assert "FAILED check.py::add[1-2] - got -1" in says(server.requests[0].body)[0]


def test_output_that_still_fails_goes_back_to_the_model_and_a_second_round_may_fix_it(glm: Run) -> None:
    half = edit(WRONG, "    0\n")
    rest = edit("    0\n", RIGHT)
    with Server([half, DONE, rest, DONE]) as server:
        ran = glm("fix", "Add.", "--verify", CHECK, *to(server.url), "--json")
    assert ran.code == 0
    first, second = says(server.requests[2].body)
    assert first == "Add."
    assert "got None" in second
    assert ran.result["verification"]["fixed"] == [f"check.py::add[{pair}]" for pair in ("1-2", "3-4")]


@pytest.mark.slow
def test_after_the_last_round_the_run_ends_with_10_and_its_changes_stay(repo: Path, glm: Run) -> None:
    half = edit(WRONG, "    0\n")
    with Server([half, DONE]) as server:
        ran = glm("fix", "Add.", "--verify", CHECK, "--verify-rounds", "2", *to(server.url), "--json")
    assert (ran.code, len(server.requests)) == (10, 3)
    assert (repo / "calc.py").read_text() == "def add(a, b):\n    0\n"
    assert [event["phase"] for event in ran.events if event.get("subtype") == "verify"] == [
        *("before", "after", "after")
    ]


def test_an_empty_diff_is_reminded_of_twice_and_then_is_11(repo: Path, glm: Run) -> None:
    with Server([{"content": "All is well."}]) as server:
        ran = glm("fix", "Add.", *to(server.url), "--json")
    assert (ran.code, ran.result["subtype"]) == (11, "error_no_changes")
    task, *reminders = says(server.requests[-1].body)
    assert (task, len(reminders), len(set(reminders))) == ("Add.", 2, 1)
    assert reminders[0].startswith("The working tree is unchanged.")


@pytest.mark.slow
def test_a_model_that_was_reminded_may_still_do_it(repo: Path, glm: Run) -> None:
    with Server([{"content": "I shall."}, FIX, DONE], strict=True) as server:
        ran = glm("fix", "Add.", *to(server.url), "--json")
    assert (ran.code, (repo / "calc.py").read_text()) == (0, FILES["calc.py"].replace(WRONG, RIGHT))


def test_changing_nothing_can_be_allowed(glm: Run) -> None:
    with Server([{"content": "All is well."}]) as server:
        ran = glm("fix", "Add.", "--allow-empty", *to(server.url), "--json")
    assert (ran.code, len(server.requests), ran.result["changes"]) == (0, 1, [])


def test_a_check_that_cannot_run_is_found_out_before_any_request(glm: Run) -> None:
    with Server([DONE]) as server:
        ran = glm("fix", "Add.", "--verify", "no-such-command --fast", *to(server.url), "--json")
    assert (ran.code, server.requests) == (2, [])
    assert "no-such-command" in ran.result["errors"][0] and "not found" in ran.result["errors"][0]


# Caps


@pytest.mark.parametrize(
    ("flag", "code", "subtype"),
    [("--max-turns", 53, "error_max_turns"), ("--max-tool-calls", 55, "error_max_budget")],
)
def test_a_cap_ends_the_run_and_the_patch_is_written(
    glm: Run, tmp_path: Path, flag: str, code: int, subtype: str
) -> None:
    with Server([FIX, {**READ, "content": "I am looking."}, READ], strict=True) as server:
        ran = glm("fix", "Add.", flag, "2", "--patch", str(tmp_path / "p"), *to(server.url), "--json")
    assert (ran.code, ran.result["subtype"], len(server.requests)) == (code, subtype, 2)
    assert (flag in ran.result["errors"][0], ran.result["result"]) == (True, "")
    assert RIGHT in (tmp_path / "p").read_text()
    assert ran.result["patch_file"] == str(tmp_path / "p")


@pytest.mark.slow
def test_the_clock_ends_a_stalled_run_and_the_patch_is_written(glm: Run, tmp_path: Path) -> None:
    with Server([FIX, STALL], strict=True) as server:
        ran = glm(
            *("fix", "Add.", "--max-wall-time", "1s", "--patch", str(tmp_path / "p")),
            *(*to(server.url), "--json"),
        )
    assert (ran.code, ran.result["subtype"]) == (55, "error_max_budget")
    assert ran.result["errors"] == ["stopped after 1 s; --max-wall-time raises the cap"]
    assert ran.result["duration_ms"] < 2000
    assert RIGHT in (tmp_path / "p").read_text()


# What it leaves behind


def test_the_diff_is_the_runs_alone_and_the_users_index_and_head_are_untouched(repo: Path, glm: Run) -> None:
    (repo / "staged.txt").write_text("staged\n")
    git(repo, "add", "staged.txt")
    (repo / "check.py").write_text("# dirty\n" + FILES["check.py"])
    (repo / "untracked.txt").write_text("mine\n")
    before = {name: data for name, data in contents(repo).items() if name != "calc.py"}
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--patch", "-", *to(server.url))
    assert ran.code == 0
    assert [line for line in ran.out.split("\n") if line.startswith(("diff", "-", "+"))] == [
        "diff --git a/calc.py b/calc.py",
        "--- a/calc.py",
        "+++ b/calc.py",
        f"-{WRONG}".rstrip(),
        f"+{RIGHT}".rstrip(),
    ]
    assert DONE["content"] in ran.err
    after = {name: data for name, data in contents(repo).items() if name != "calc.py"}
    assert after == before
    git(repo, "apply", "--reverse", str(write(repo.parent / "p", ran)))
    assert (repo / "calc.py").read_text() == FILES["calc.py"]


def write(file: Path, ran: Ran) -> Path:
    file.write_text(ran.out)
    return file


def test_the_answer_and_the_patch_go_to_files(repo: Path, glm: Run, tmp_path: Path) -> None:
    answer, patch = tmp_path / "answer", tmp_path / "patch"
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", "-o", str(answer), "--patch", str(patch), *to(server.url))
    assert (ran.code, ran.out, answer.read_text()) == (0, "Done: it adds now.\n", "Done: it adds now.\n")
    assert patch.read_text().startswith("diff --git a/calc.py b/calc.py\n")


def test_an_answer_that_holds_the_key_is_kept_without_it(
    glm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "sk-0123456789")
    with Server([FIX, {"content": "It is sk-0123456789."}]) as server:
        ran = glm("fix", "Add.", "-o", str(tmp_path / "answer"), *to(server.url))
    assert (ran.out, (tmp_path / "answer").read_text()) == ("It is [key].\n", "It is [key].\n")


def test_a_check_that_passed_before_is_newly_broken(glm: Run, repo: Path) -> None:
    (repo / "calc.py").write_text(f"def add(a, b):\n{RIGHT}")
    with Server([edit(RIGHT, WRONG), DONE]) as server:
        ran = glm("fix", "Break it.", "--verify", CHECK, "--verify-rounds", "1", *to(server.url), "--json")
    names = [f"check.py::add[{pair}]" for pair in ("1-2", "3-4")]
    assert (ran.code, ran.result["verification"]["newly_broken"]) == (10, names)
    assert ran.result["errors"] == [f"--verify {CHECK!r} is newly broken: {', '.join(names)}"]


def test_a_check_may_fail_for_old_and_for_new_reasons(glm: Run, repo: Path) -> None:
    half = "    return a + b if a == 1 else 7\n"
    (repo / "calc.py").write_text(f"def add(a, b):\n{half}")
    with Server([edit(half, "    return 7\n"), DONE]) as server:
        ran = glm("fix", "Work.", "--verify", CHECK, "--verify-rounds", "1", *to(server.url), "--json")
    still, broken = "check.py::add[5-0]", "check.py::add[1-2]"
    assert ran.result["errors"] == [f"--verify {CHECK!r} still fails: {still}; is newly broken: {broken}"]


def test_nothing_is_kept_of_an_ephemeral_session(
    glm: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--ephemeral", *to(server.url), "--json")
    assert (ran.code, ran.result["patch_file"], list(temporary.iterdir())) == (0, None, [])
    assert list(home.rglob("*")) == []


def test_a_repository_inside_is_named(repo: Path, glm: Run) -> None:
    (repo / "inner").mkdir()
    git(repo / "inner", "init", "--quiet")
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", *to(server.url))
    assert ran.code == 0
    assert "inner is a repository of its own: left out" in ran.err


# Where it runs


@pytest.mark.slow
def test_it_runs_from_elsewhere_and_from_a_subdirectory(repo: Path, tmp_path: Path) -> None:
    (repo / "deep").mkdir()
    with Server([FIX, DONE]) as server:
        ran = run(
            tmp_path, "fix", "Add.", "-C", str(repo / "deep"), "--verify", CHECK, *to(server.url), "--json"
        )
    assert (ran.code, ran.events[0]["cwd"]) == (0, str(repo / "deep"))
    assert (repo / "calc.py").read_text() == FILES["calc.py"].replace(WRONG, RIGHT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    first_fast(
        {"LANG": "C", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb", "COLUMNS": "20"},
    ),
    ids=["ascii", "no-utf8"],
)
def test_no_locale_and_no_terminal_keep_it_from_working(repo: Path, env: dict[str, str]) -> None:
    (repo / "naïve.txt").write_text("ä\n")
    answer = {"content": "Fertig: Übermaß — 修好了"}
    with Server([FIX, answer]) as server:
        ran = run(repo, "fix", "Übermaß 修", *to(server.url), env=env)
    assert ran.code == 0, ran.err
    assert says(server.requests[0].body) == ["Übermaß 修"]
    assert ran.out.encode("ascii", "strict").startswith(b"Fertig: \\xdcberma\\xdf")
    assert "\x1b" not in ran.err


@pytest.mark.slow
def test_colour_is_only_there_when_asked_for(glm: Run) -> None:
    with Server([FIX, DONE, DONE]) as server:
        plain = glm("fix", "Add.", *to(server.url))
        coloured = glm("fix", "Add.", "--color", "always", "--verify", "false", *to(server.url))
    assert ("\x1b" in plain.err, "\x1b[31m" in coloured.err) == (False, True)


def test_settings_from_the_environment_do_what_flags_do(glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server([READ]) as server:
        for name, value in (("PROVIDER", "custom"), ("BASE_URL", server.url), ("MAX_TURNS", "1")):
            monkeypatch.setenv(f"GLM_AGENT_{name}", value)
        monkeypatch.setenv("GLM_AGENT_OUTPUT_FORMAT", "stream-json")
        assert glm("fix", "Add.").result["subtype"] == "error_max_turns"
