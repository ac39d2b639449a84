"""Sessions that go on: after a kill at any moment, with a new task, or as one of their own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from killing import KILLED, NOT_REACHED, Killer
from running import CHECK, DONE, RIGHT, WRONG, Run, git, to, turn

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


SCRIPT = [
    turn(1, ("read", {"path": "calc.py"}), ("read", {"path": "check.py"}), text="Let me look."),
    turn(2, ("patch", {"patch": PATCH}), ("read", {"path": "calc.py"})),
    turn(
        3,
        ("write", {"path": "new.py", "content": "x = 1\n"}),
        ("edit", {"path": "new.py", "old": "x", "new": "y"}),
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
    with Server([turn(1, ("read", {"path": "calc.py"})), DONE]) as server:
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
    with Server([turn(1, ("read", {"path": "calc.py"})), DONE, DONE, DONE]) as server:
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
def test_c_goes_on_with_the_session_that_worked_last(glm: Run) -> None:
    with Server([DONE] * 4) as server:
        first = glm("ask", "What?", *to(server.url), "--json").result["session_id"]
        second = glm("ask", "Which?", *to(server.url), "--json").result["session_id"]
        assert glm("ask", "-c", "And?", "--json").result["session_id"] == second
        glm("ask", "-r", first, "Why?", "--json")
    with Server([DONE]) as server:
        ran = glm("ask", "-c", "And then?", *to(server.url), "--json")
    assert (ran.code, ran.result["session_id"]) == (0, first)


@pytest.mark.slow
def test_a_running_session_is_not_gone_on_with(glm: Run, home: Path) -> None:
    with Server([DONE]) as server:
        first = glm("ask", "What?", *to(server.url), "--json").result["session_id"]
    running = journal.Journal(kept(home)[0], str, again=True)
    for more in ((), ("--fork-session",)):
        ran = glm("ask", "-c", "And?", *more, "--json")
        assert (ran.code, ran.result["errors"][0].startswith(f"session {first} is running")) == (45, True)
    running.close()


def _unmarked(body: Json) -> object:
    """Without what differs from session to session: the mark of the line that ends a result."""
    return json.loads(re.sub(r"\[end [0-9a-f]{8}\]", "[end]", json.dumps(body)))


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
            assert _unmarked(body) == _unmarked(expected[number]), at


@pytest.mark.slow
def test_a_command_is_never_run_twice(tree: Path, home: Path, tmp_path: Path) -> None:
    script = [turn(1, ("bash", {"command": "echo ran >> log"}), ("read", {"path": "calc.py"})), DONE]
    (tmp_path / "scratch").mkdir()
    with Killer(tree, tmp_path / "scratch") as killer, Server(script) as server:
        for at in range(1, 60):
            shutil.rmtree(home / ".local", ignore_errors=True)
            server.requests.clear()
            killer.run("fix", "Go.", *to(server.url), at=at, only=("event",))
            if (tree / "log").exists():
                break
        with Server(script[1:]) as second:
            ended = killer.run("fix", "-c", "--json", *to(second.url))
            (body,) = [request.body for request in second.requests]
    assert ended.code == 0, ended
    assert (tree / "log").read_text() == "ran\n"
    answers = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    assert answers[0].startswith("outcome unknown: the run was interrupted while this command ran")
    assert answers[1].startswith("calc.py (lines 1-2 of 2)")


@pytest.mark.slow
def test_a_change_that_was_made_is_not_made_again_and_others_since_are_told(
    tree: Path, home: Path, tmp_path: Path
) -> None:
    look = turn(1, ("read", {"path": "check.py"}))
    script = [look, turn(2, ("patch", {"patch": PATCH}), ("read", {"path": "calc.py"})), DONE]
    (tmp_path / "scratch").mkdir()
    with Killer(tree, tmp_path / "scratch") as killer:
        for at in range(1, 60):
            shutil.rmtree(home / ".local", ignore_errors=True)
            with Server(script) as server:
                killer.run("fix", "Go.", *to(server.url), at=at, only=("event",))
            if (tree / "docs/note.md").exists():
                break
        (tree / "check.py").write_text("raise SystemExit(0)\n")
        with Server(script[2:]) as second:
            ended = killer.run("fix", "-c", "--json", *to(second.url))
            (body,) = [request.body for request in second.requests]
    assert ended.code == 0, ended
    answers = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    assert answers[1].startswith("patch done: calc.py, docs/note.md, old.txt (the run was interrupted just")
    note = "[note: the run was interrupted; meanwhile check.py changed on disk: read again what you need]"
    assert note in answers[1]
    assert "return a + b" in answers[2]
    result = json.loads(ended.out.rstrip().rpartition("\n")[2])
    assert {change["path"] for change in result["changes"]} == {"calc.py", "docs/note.md", "old.txt"}


@pytest.mark.slow
def test_what_was_spent_counts(tree: Path, home: Path, tmp_path: Path) -> None:
    script = [turn(number, ("read", {"path": f"{name}.py"})) for number, name in enumerate("abc")]
    (tmp_path / "scratch").mkdir()
    with Killer(tree, tmp_path / "scratch") as killer, Server(script) as server:
        stopped = killer.run("ask", "What?", "--max-turns", "2", "--json", *to(server.url))
        again = killer.run("resume", "--json")
        further = killer.run("resume", "--json", "--max-turns", "3")
    results = [json.loads(ended.out.rstrip().rpartition("\n")[2]) for ended in (stopped, again, further)]
    assert [(result["exit_code"], result["num_turns"]) for result in results] == [(53, 2), (53, 2), (53, 3)]
    assert len(server.requests) == 3
    assert results[2]["usage"]["input_tokens"] > 1.4 * results[0]["usage"]["input_tokens"]
    assert len({result["session_id"] for result in results}) == 1


@pytest.mark.slow
def test_a_session_of_a_thousand_turns_goes_on_in_two_seconds(tree: Path, home: Path, tmp_path: Path) -> None:
    script = [
        turn(number, ("read", {"path": "calc.py", "offset": 1, "limit": number})) for number in range(1, 1001)
    ]
    (tmp_path / "scratch").mkdir()
    with Killer(tree, tmp_path / "scratch") as killer:
        with Server([*script, DONE]) as server:
            caps = ("--max-turns", "1000", "--max-tool-calls", "2000")
            stopped = killer.run("ask", "What?", *caps, *to(server.url))
            assert stopped.code == 53, stopped
        data = (kept(home)[0] / "journal.jsonl").read_bytes()
        half = len(b"\n".join(data.split(b"\n")[: data.count(b"\n") // 2]))
        assert 0.4 < half / len(data) < 0.6  # as much for the first turns as for the last
        with Server([DONE]) as server:
            ended = killer.run("ask", "-c", "--max-turns", "1001", "--json", *to(server.url))
            (body,) = [request.body for request in server.requests]
    assert ended.code == 0, ended
    assert len(body["messages"]) > 1000
    assert ended.seconds < 2


def test_what_a_session_may_do_beyond_the_usual_is_said_when_it_goes_on(glm: Run) -> None:
    wider = ("--allow-secrets", "*.pem", "--network", "--allow-secrets", "my keys", "--sandbox", "read-only")
    with Server([DONE] * 3) as server:
        glm("ask", "What?", *wider, *to(server.url), "--json")
        ran = glm("ask", "-c", "Why?", "--json")
        less = glm("ask", "-c", "Why?", "--no-network", "--allow-secrets", ".env", "--json")
    said = "the session goes on with what it was begun with: "
    notices = [event["text"] for event in ran.events if event.get("subtype") == "notice"]
    assert [text for text in notices if said in text] == [
        f"{said}--network --allow-secrets '*.pem' --allow-secrets 'my keys'"
    ]
    assert said not in less.out
