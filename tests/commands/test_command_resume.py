"""Sessions that go on: after a kill at any moment, with a new task, or as one of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from killing import KILLED, NOT_REACHED, Killer
from running import CHECK, DONE, RIGHT, WRONG, Run, git, to

from glm_agent import journal
from glm_agent.replay import Server
from glm_agent.types import Assistant, Json

PATCH = f"""--- a/calc.py
+++ b/calc.py
@@ -1,2 +1,2 @@
 def add(a, b):
-{WRONG}+{RIGHT}--- /dev/null
+++ b/docs/note.md
@@ -0,0 +1 @@
+It adds.
--- a/old.txt
+++ /dev/null
@@ -1 +0,0 @@
-old
"""


def turn(*calls: tuple[str, Json], number: int, text: str = "") -> Json:
    made = [
        {"id": f"call_{number}_{place}", "name": name, "arguments": arguments}
        for place, (name, arguments) in enumerate(calls)
    ]
    return {"content": text, "tool_calls": made}


SCRIPT = [
    turn(("read", {"path": "calc.py"}), ("read", {"path": "check.py"}), number=1, text="Let me look."),
    turn(("patch", {"patch": PATCH}), ("read", {"path": "calc.py"}), number=2),
    turn(
        ("write", {"path": "new.py", "content": "x = 1\n"}),
        ("edit", {"path": "new.py", "old": "x", "new": "y"}),
        number=3,
    ),
    DONE,
]
FINAL = {"calc.py": "update", "docs/note.md": "create", "new.py": "create", "old.txt": "delete"}


@pytest.fixture
def tree(repo: Path) -> Path:
    (repo / "old.txt").write_text("old\n")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "-m", "second")
    return repo


def kept(home: Path) -> list[Path]:
    return sorted((home / ".local/state/glm-agent/sessions").iterdir())


def test_a_new_task_goes_on_in_the_same_session(glm: Run, home: Path) -> None:
    with Server([turn(("read", {"path": "calc.py"}), number=1), DONE]) as server:
        first = glm("fix", "Look.", "--allow-empty", *to(server.url), "--json").result
        bodies = [request.body for request in server.requests]
    with Server([DONE]) as server:
        ended = glm("fix", "-c")
        ran = glm("fix", "-c", "And now?", *to(server.url), "--json")
        (body,) = [request.body for request in server.requests]
    assert (ended.code, "is finished (success); give a task" in ended.err) == (2, True)
    assert (ran.code, ran.result["session_id"], ran.result["num_turns"]) == (0, first["session_id"], 3)
    answer = {"role": "assistant", "content": DONE["content"]}
    more = [answer, {"role": "user", "content": "And now?"}]
    assert body == {**bodies[-1], "messages": [*bodies[-1]["messages"], *more]}
    assert ran.result["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    assert len(kept(home)) == 1


def test_without_a_session_here_there_is_nothing_to_go_on_with(glm: Run, repo: Path) -> None:
    for words in (("fix", "-c"), ("ask", "-c", "And?"), ("resume",)):
        ran = glm(*words, "--json")
        assert (ran.code, ran.result["errors"]) == (
            2,
            [f"no session to go on with in {repo}; `glm-agent sessions list` shows all"],
        )


@pytest.mark.slow
def test_a_fork_goes_on_under_an_id_of_its_own(glm: Run, home: Path) -> None:
    with Server([turn(("read", {"path": "calc.py"}), number=1), DONE, DONE, DONE]) as server:
        first = glm("ask", "What?", *to(server.url), "--json").result["session_id"]
        before = (kept(home)[0] / "journal.jsonl").read_bytes()
        ran = glm("ask", "-r", first[:17], "--fork-session", "Why?", "--json")
        assert (ran.code, ran.result["num_turns"]) == (0, 3)
        assert ran.result["session_id"] != first
        assert (kept(home)[0] / "journal.jsonl").read_bytes() == before
        assert glm("ask", "-c", "And?", "--json").result["session_id"] == ran.result["session_id"]
        assert [message["role"] for message in server.requests[-1].body["messages"]][-3:] == [
            "user",
            "assistant",
            "user",
        ]


@pytest.mark.slow
def test_a_running_session_is_not_gone_on_with(glm: Run, home: Path) -> None:
    with Server([DONE]) as server:
        first = glm("ask", "What?", *to(server.url), "--json").result["session_id"]
    running = journal.Journal(kept(home)[0], str, again=True)
    for more in ((), ("--fork-session",)):
        ran = glm("ask", "-c", "And?", *more, "--json")
        assert (ran.code, ran.result["errors"][0].startswith(f"session {first} is running")) == (45, True)
    running.close()


@pytest.mark.slow
def test_a_kill_at_any_moment_is_gone_on_from(tree: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    pristine = shutil.copytree(tree, tmp_path / "pristine", symlinks=True)
    with Killer(tree, tmp_path / "scratch") as killer:
        with Server(SCRIPT) as server:
            words = ("fix", "Make it add.", "--verify", CHECK, "--json")
            whole = killer.run(*words, *to(server.url))
            expected = [request.body for request in server.requests]
        assert whole.code == 0
        wanted = json.loads(whole.out.rstrip().rpartition("\n")[2])
        assert {change["path"]: change["kind"] for change in wanted["changes"]} == FINAL
        diff = Path(wanted["patch_file"]).read_bytes()
        at, reached = 1, True
        while reached:
            shutil.rmtree(tree)
            shutil.copytree(pristine, tree, symlinks=True)
            shutil.rmtree(home / ".local")
            with Server(SCRIPT) as server:
                killed = killer.run(*words, *to(server.url), at=at)
            reached = killed.code == KILLED
            assert killed.code in (KILLED, NOT_REACHED), (at, killed)
            if reached:
                resumed(killer, home, at, expected, diff)
            at += STEP
    assert at > 60


STEP = 11  # 1 meets every failpoint, and takes ten minutes


def resumed(killer: Killer, home: Path, at: int, expected: list[Json], diff: bytes) -> None:
    folders = kept(home) if (home / ".local/state/glm-agent/sessions").is_dir() else []
    session = journal.load(folders[0]) if folders else None
    if session is None or "task" not in session.kept:
        return  # killed before the task was on the disk: nothing was done
    if session.result is not None:
        return
    turns = sum(isinstance(message, Assistant) for message in session.messages)
    with Server(SCRIPT[turns:]) as server:
        ran = killer.run("fix", "-c", "--json", *to(server.url))
        bodies = [request.body for request in server.requests]
    assert ran.code == 0, (at, ran)
    result = json.loads(ran.out.rstrip().rpartition("\n")[2])
    assert {change["path"]: change["kind"] for change in result["changes"]} == FINAL, at
    assert Path(result["patch_file"]).read_bytes() == diff, at
    assert result["num_turns"] == len(SCRIPT)
    for number, body in enumerate(bodies, turns):
        if "the run was interrupted" not in json.dumps(body):
            assert body == expected[number], at
