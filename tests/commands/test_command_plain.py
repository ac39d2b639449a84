"""The commands that only print: models, schema, sessions, and the program's own help."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from running import DONE, FIX, ROOT, Ran, Run, call, finish, run, shell, start, to

from glm_agent import __version__
from glm_agent.dialects import models, providers
from glm_agent.journal import Journal
from glm_agent.replay import Server


def test_models_lists_every_row_and_provider(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ran = call(["models"], capfdbinary)
    rows = {line.split()[0] for line in ran.out.split("\n") if line}
    assert ran.code == 0
    assert {name.removesuffix("*") for name in rows} >= {*models(), *providers()}
    assert "glm-4.7*" in rows


def test_models_as_json(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = json.loads(call(["models", "--json", "--provider", "openrouter"], capfdbinary).out)
    assert [row["name"] for row in found["models"]] == list(models())
    assert [row["name"] for row in found["providers"]] == list(providers())
    assert [row["name"] for row in found["models"] if row["default"]] == ["glm-4.7"]


def test_models_of_an_unknown_provider_names_near_ones(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ran = call(["models", "--provider", "openruter"], capfdbinary)
    assert (ran.code, ran.out, "did you mean openrouter?" in ran.err) == (2, "", True)


@pytest.mark.parametrize("name", ["events", "result"])
def test_schema_prints_the_file(name: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ran = call(["schema", name], capfdbinary)
    assert ran.out == (ROOT / f"glm_agent/schemas/{name}.json").read_text("utf-8")


# Sessions


def test_sessions_are_listed_newest_first_and_shown(
    glm: Run, home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def sessions(*words: str) -> Ran:
        return call(["sessions", *words], capfdbinary)

    assert sessions("list").out == "no sessions yet\n"
    with Server([FIX, DONE, DONE]) as server:
        glm("fix", "Make it\nadd.", *to(server.url))
        glm("ask", "What \x1b[31m is it?", *to(server.url))
    rows = json.loads(sessions("list", "--json").out)
    found = [(row["command"], row["outcome"], row["turns"], row["task"]) for row in rows]
    assert sorted(found) == [
        ("ask", "success", 1, "What \x1b[31m is it?"),
        ("fix", "success", 2, "Make it add."),
    ]
    assert "Make it add." in sessions("list").out and "\x1b" not in sessions("list").out
    fixed = next(row["id"] for row in rows if row["command"] == "fix")
    shown = sessions("show", fixed)
    assert (shown.code, shown.out.split("\n")[0]) == (0, f"id: {fixed}")
    assert "> Make it\nadd." in shown.out and "calc.py" in shown.out and DONE["content"] in shown.out
    data = json.loads(sessions("show", fixed, "--json").out)
    assert (data["result"]["exit_code"], data["started"]["command"]) == (0, "fix")
    ambiguous = sessions("show", "20")
    assert (ambiguous.code, "2 sessions begin with '20'" in ambiguous.err) == (2, True)


def test_session_files_are_the_users_alone(glm: Run, home: Path) -> None:
    with Server([FIX, DONE]) as server:
        glm("fix", "Add.", *to(server.url))
    (folder,) = (home / ".local/state/glm-agent/sessions").iterdir()
    ours = (folder, folder.parent, folder.parent.parent)
    assert [part.stat().st_mode & 0o777 for part in ours] == [0o700] * 3
    assert (folder / "journal.jsonl").stat().st_mode & 0o777 == 0o600
    assert {"journal.jsonl", "patch.diff"} <= {path.name for path in folder.iterdir()}


def test_a_damaged_session_is_still_listed(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for name, text in (("1-a", ""), ("2-b", "{}\nnonsense\n"), ("3-c", '{"type":"Finished","result":{}}\n')):
        folder = home / ".local/state/glm-agent/sessions" / name
        folder.mkdir(parents=True)
        (folder / "journal.jsonl").write_text(text)
    (home / ".local/state/glm-agent/sessions/4-d").mkdir()
    rows = json.loads(call(["sessions", "list", "--json"], capfdbinary).out)
    assert [row["id"] for row in rows] == ["4-d", "3-c", "2-b", "1-a"]
    assert {row["turns"] for row in rows} == {0}


def test_sessions_are_removed_by_name_or_by_age_but_never_while_they_run(
    home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    kept = home / ".local/state/glm-agent/sessions"
    for name, age in (("1-a", 40), ("2-b", 40), ("3-c", 1), ("4-d", 1)):
        Journal(kept / name, str).close()
        then = time.time() - age * 86400
        os.utime(kept / name / "journal.jsonl", (then, then))
    busy = Journal(kept / "1-a", str, again=True)
    os.utime(kept / "1-a/journal.jsonl", (0, 0))

    def remove(*words: str) -> tuple[int, str, list[str]]:
        ran = call(["sessions", "rm", *words], capfdbinary)
        return ran.code, ran.out + ran.err, sorted(folder.name for folder in kept.iterdir())

    said = "glm-agent: session 1-a is running; nothing was removed\n"
    assert remove("4", "1-a") == (45, said, ["1-a", "2-b", "3-c", "4-d"])
    assert remove("--older-than", "30d") == (0, "removed 1 session, 0.0 MB\n", ["1-a", "3-c", "4-d"])
    assert remove("4", "3-c", "4") == (0, "removed 2 sessions, 0.0 MB\n", ["1-a"])
    rows = json.loads(call(["sessions", "list", "--json"], capfdbinary).out)
    assert [(row["outcome"], row["bytes"] > 50) for row in rows] == [("running", True)]
    busy.close()
    for words, says in (((), "name the sessions"), (("1", "--older-than", "x"), "name"), (("2",), "no sess")):
        code, told, left = remove(*words)
        assert (code, says in told, left) == (2, True, ["1-a"])
    assert remove("--older-than", "x")[:2] == (
        2,
        "glm-agent: --older-than 'x': expected a duration like 90s, 10m or 1h30m\n",
    )


# The program


def test_the_version_is_printed_even_if_nobody_reads_it(tmp_path: Path) -> None:
    assert run(tmp_path, "--version") == Ran(0, f"glm-agent {__version__}\n", "")
    ran = shell(tmp_path, '$GLM --version | sleep 0; $GLM models | sleep 0; exit "${PIPESTATUS[0]}"')
    assert ran.err == ""
    assert ran.code in (0, 141)


COMMANDS = [
    "",
    "fix",
    "ask",
    "apply",
    "demo",
    "models",
    "config",
    "schema",
    "sessions",
    "sessions list",
    "sessions show",
    "sessions rm",
    "resume",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_reads_well_in_80_columns(
    command: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = call([*command.split(), "--help"], capfdbinary)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: glm-agent {command}".rstrip())
    assert max(map(len, ran.out.split("\n"))) <= 80
    for ugly in ("None", "default:", "...\n", "[["):
        assert ugly not in ran.out.replace("ARGS]...", "").replace("SESSION]...", "")


def test_no_words_at_all_are_a_call_for_help(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert call([], capfdbinary) == call(["--help"], capfdbinary)


def test_shell_completion_is_on(tmp_path: Path) -> None:
    ran = finish(
        start(
            tmp_path,
            env={
                "_GLM_AGENT_COMPLETE": "complete_bash",
                "COMP_WORDS": "glm-agent fix --ver",
                "COMP_CWORD": "2",
            },
        )
    )
    names = ["--verify", "--verify-timeout", "--verify-rounds", "--verify-junit", "--verbose"]
    assert ran.out.split() == names


# The demo


def test_the_demo_finds_fixes_and_verifies_a_bug_and_leaves_nothing(tmp_path: Path, home: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {
        "TMPDIR": str(temporary),
        "GLM_AGENT_BASE_URL": "http://thief.example",
        "ZAI_API_KEY": "sk-01234567",
    }
    ran = run(tmp_path, "demo", "--json", env=env)
    assert (ran.code, ran.result["subtype"]) == (0, "success")
    assert len(ran.result["verification"]["fixed"]) > 0
    assert ran.result["verification"]["still_failing"] == []
    assert (len(ran.result["changes"]), list(temporary.iterdir())) == (1, [])
    assert list(home.rglob("*")) == []


def test_the_demo_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    ran = run(tmp_path, "demo", "--json", env={"PATH": str(tmp_path / "bin")})
    assert (ran.code, ran.result["errors"]) == (45, ["git was not found on PATH; install git"])
