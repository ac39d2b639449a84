"""Commands in the sandbox as a user meets it: what they reach, what is said of it, and what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from running import DONE, FIX, READ, Ran, Run, git, to

from glm_agent import sandbox
from glm_agent.replay import Server
from glm_agent.types import Json

pytestmark = pytest.mark.skipif(sandbox.probe().tier != "A", reason=f"no tier A: {sandbox.probe().reason}")


def bash(command: str) -> Json:
    return {"tool_calls": [{"name": "bash", "arguments": {"command": command}}]}


def write(path: str, content: str = "x\n") -> Json:
    return {"tool_calls": [{"name": "write", "arguments": {"path": path, "content": content}}]}


def results(ran: Ran) -> list[str]:
    """What the model was told of each call."""
    said = [event["message"]["content"] for event in ran.events if event["type"] == "user"]
    return [block["content"] for blocks in said for block in blocks if block["type"] == "tool_result"]


def play(glm: Run, *turns: Json, words: tuple[str, ...] = ("fix", "Add.")) -> Ran:
    with Server([*turns, FIX, DONE] if words[0] == "fix" else [*turns, DONE]) as server:
        return glm(*words, *to(server.url), "--json")


def test_a_command_changes_the_work_tree_and_nothing_else(repo: Path, glm: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tries = (
        f"echo made > made.txt; echo x > {outside}/x; echo x > $HOME/kept; echo x > .git/hooks/pre-commit; "
        "git config core.fsmonitor evil; ls .git/hooks | wc -l"
    )
    hooks = sorted((repo / ".git" / "hooks").iterdir())
    ran = play(glm, bash(tries))
    assert (repo / "made.txt").read_text() == "made\n"
    assert list(outside.iterdir()) == []
    assert sorted((repo / ".git" / "hooks").iterdir()) == hooks
    assert "fsmonitor" not in (repo / ".git" / "config").read_text()
    assert [row["path"] for row in ran.result["changes"]] == ["calc.py", "made.txt"]


def test_no_key_is_in_reach_of_a_command(glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "sk-within-reach-0123456789")
    look = "env; cat /proc/*/environ | tr '\\0' '\\n'; ls /proc/[0-9]* | grep -c task"
    (said,) = results(play(glm, bash(look)))[:1]
    assert "within-reach" not in said
    assert "[key]" not in said


@pytest.mark.slow
def test_what_the_sandbox_withheld_is_said_where_a_command_fails(glm: Run) -> None:
    ask = "python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 80), 2)'"
    offline, read_only = results(play(glm, bash(ask), bash("git commit --allow-empty -m x")))[:2]
    assert offline.endswith("[sandbox: network is off: --network]")
    assert "read-only: .git" in read_only


def test_the_commands_of_ask_change_nothing(repo: Path, glm: Run) -> None:
    tries = bash("wc -l < calc.py; touch made; touch /tmp/scratch && echo there")
    ran = play(glm, tries, words=("ask", "What?"))
    (said,) = results(ran)
    assert said.split("\n")[0] == "2"
    assert "there" in said and "Read-only file system" in said
    assert (ran.code, git(repo, "status", "--porcelain")) == (0, "")


def test_secrets_appear_empty_to_commands_and_to_checks(repo: Path, glm: Run) -> None:
    (repo / ".env").write_text("PASSWORD=hunter22\n")
    with Server([bash("cat .env; wc -c .env"), FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--verify", "! grep -q hunter .env", *to(server.url), "--json")
    (said,) = results(ran)[:1]
    assert said.startswith("0 .env\n[exit=0")
    assert said.endswith("[sandbox: 1 file that holds secrets appears empty: --allow-secrets]")
    assert ran.code == 0
    assert (repo / ".env").read_text() == "PASSWORD=hunter22\n"
    with Server([bash("cat .env"), FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--allow-secrets", ".env", *to(server.url), "--json")
    assert results(ran)[0].startswith("PASSWORD=hunter22\n[exit=0")


def test_a_password_in_gits_settings_is_not_in_reach_of_a_command(repo: Path, glm: Run) -> None:
    password = "AUTHORIZATION: basic eC1hY2Nlc3MtdG9rZW46Z2hzXzE2QzdlNDJG"
    git(repo, "config", "http.https://github.com/.extraheader", password)
    kept = (repo / ".git/config").read_text()
    look = "base64 -w0 .git/config | base64 -d; git status --short; wc -c < .git/config"
    (said,) = results(play(glm, bash(look)))[:1]
    assert "AUTHORIZATION: basic [secret: password withheld]\n" in said
    assert said.split("\n")[-2] != str(len(kept))
    assert (repo / ".git/config").read_text() == kept


@pytest.mark.slow
def test_what_a_crash_left_undone_is_done_at_the_next_start(repo: Path, glm: Run, home: Path) -> None:
    play(glm, bash("true"))
    (store,) = home.rglob("guard")
    gone = subprocess.Popen(["true"])
    gone.wait()
    policy = sandbox.Policy(repo, repo, repo, repo, store, {})
    sandbox.record(policy, "A")
    (store / f"record-{os.getpid()}.json").rename(store / f"record-{gone.pid}.json")
    (repo / ".husky").mkdir()
    ran = play(glm, READ, words=("ask", "What?"))
    assert "removed: .husky, left by a run that was cut short" in ran.err + ran.out
    assert not (repo / ".husky").exists()
    assert list(store.glob("record-*")) == []


@pytest.mark.slow
def test_git_works_in_a_linked_work_tree_and_changes_nothing(repo: Path, glm: Run, tmp_path: Path) -> None:
    tree = tmp_path / "linked"
    git(repo, "worktree", "add", "--quiet", str(tree))
    tries = f"git status --short --branch; git log --oneline | wc -l; touch {repo}/.git/x {repo}/x"
    with Server([bash(tries), FIX, DONE]) as server:
        ran = glm("fix", "Add.", "-C", str(tree), *to(server.url), "--json")
    said = results(ran)[0].split("\n")
    assert said[:2] == ["## linked", "1"]
    assert said[2].endswith("Read-only file system")
    assert not (repo / ".git/x").exists() and not (repo / "x").exists()


def test_what_runs_later_is_removed_after_a_command_and_counted(repo: Path, glm: Run) -> None:
    tries = "mkdir -p .husky .github/workflows && echo x | tee .husky/pre-push .github/workflows/a.yml"
    ran = play(glm, bash(tries))
    (said,) = results(ran)[:1]
    assert "[removed: .husky, which a command may not make or change]" in said
    assert not (repo / ".husky").exists() and not (repo / ".github" / "workflows").exists()
    assert [denial["path"] for denial in ran.result["permission_denials"]] == [".github/workflows", ".husky"]
    assert ran.code == 0


def test_what_steers_agents_is_no_more_a_commands_to_make_than_a_tools(repo: Path, glm: Run) -> None:
    (repo / ".glm-agent.toml").write_text("")
    tries = "mkdir .claude; touch .claude/settings.json .mcp.json; echo 'verify = []' > .glm-agent.toml"
    with Server([bash(tries), FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--allow-path", "*", *to(server.url), "--json")
    assert [denial["path"] for denial in ran.result["permission_denials"]] == [".claude", ".mcp.json"]
    assert (repo / ".glm-agent.toml").read_text() == ""
    assert not (repo / ".claude").exists() and not (repo / ".mcp.json").exists()


@pytest.mark.slow
def test_the_folder_that_git_takes_its_hooks_from_is_protected_whatever_its_name(
    repo: Path, glm: Run
) -> None:
    (repo / "tools/hooks").mkdir(parents=True)
    git(repo, "config", "core.hooksPath", "tools/hooks")
    ran = play(glm, bash("echo x > tools/hooks/pre-commit"), write("tools/hooks/pre-push"))
    assert "Read-only file system" in results(ran)[0]
    assert [denial["path"] for denial in ran.result["permission_denials"]] == ["tools/hooks/pre-push"]
    assert list((repo / "tools/hooks").iterdir()) == []


def test_a_folder_with_a_secret_in_it_keeps_its_name(repo: Path, glm: Run) -> None:
    (repo / "deploy/eu").mkdir(parents=True)
    (repo / "deploy/eu/.env").write_text("PASSWORD=hunter22\n")
    moves = "mv deploy moved; mv deploy/eu moved; cd deploy/eu; touch new; mv new newer; ls"
    first, then = results(play(glm, bash(moves), bash("find . -name .env | xargs cat; cat moved/.env")))[:2]
    assert first.count("Device or resource busy") == 2 and "newer\n" in first
    assert "hunter" not in then


@pytest.mark.slow
def test_where_the_repository_is_the_home_our_own_files_stay_out_of_reach(
    repo: Path, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(repo / "set"))
    monkeypatch.setenv("XDG_STATE_HOME", str(repo / "state"))
    (repo / ".gitignore").write_text("state\n")
    tries = "mkdir -p set/glm-agent; touch set/glm-agent/config.toml; find state -type f; mv state moved"
    ran = play(glm, bash(tries), write("set/glm-agent/config.toml"), write("state/glm-agent/x"))
    assert results(ran)[0].startswith("mv: cannot move 'state' to 'moved': Device or resource busy\n[exit=1")
    assert [denial["path"] for denial in ran.result["permission_denials"]] == [
        *("set/glm-agent", "set/glm-agent/config.toml", "state/glm-agent/x")
    ]
    assert not (repo / "set/glm-agent").exists()


@pytest.mark.slow
def test_only_what_the_user_names_may_be_written_of_what_runs_by_itself(repo: Path, glm: Run) -> None:
    ran = play(glm, write(".github/workflows/ci.yml"))
    assert ran.result["permission_denials"][0]["path"] == ".github/workflows/ci.yml"
    with Server([write(".github/workflows/ci.yml"), DONE]) as server:
        ran = glm("fix", "Add.", "--allow-path", ".github/workflows/*", *to(server.url), "--json")
    assert (ran.code, ran.result["runs_later"]) == (0, [".github/workflows/ci.yml"])


def test_a_run_that_was_denied_all_it_tried_breaks_the_policy(glm: Run) -> None:
    with Server([write(".husky/pre-commit"), DONE, DONE, DONE]) as server:
        ran = glm("fix", "Add.", *to(server.url), "--json")
    assert (ran.code, ran.result["subtype"]) == (12, "error_policy")
    assert ".husky/pre-commit" in ran.result["errors"][0]


def test_checks_that_a_repository_asks_for_run_confined(repo: Path, glm: Run, tmp_path: Path) -> None:
    (repo / ".glm-agent.toml").write_text(f'verify = ["echo x > {tmp_path}/out; grep -q + calc.py"]\n')
    with Server([FIX, DONE]) as server:
        ran = glm("fix", *to(server.url), "--json")
    assert (ran.code, ran.result["verification"]["fixed"] != []) == (0, True)
    assert not (tmp_path / "out").exists()
    git(repo, "checkout", "--quiet", ".")
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--sandbox", "danger-full-access", *to(server.url), "--json")
    assert (ran.code, ran.result["verification"], (tmp_path / "out").exists()) == (0, None, False)


def test_full_access_is_said(repo: Path, glm: Run, tmp_path: Path) -> None:
    with Server([bash(f"echo x > {tmp_path}/out"), FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--sandbox", "danger-full-access", *to(server.url), "--json")
    free: Json = {
        "mode": "danger-full-access",
        "mechanism": "none",
        "network": True,
        "tier": None,
        "gaps": [],
    }
    assert ran.events[0]["sandbox"] == free
    assert ran.events[1]["text"].startswith("commands are not confined")
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("fix", "Add.", "--sandbox", "read-only"), 2, "use `glm-agent ask`"),
        (("ask", "What?", "--sandbox", "workspace-write"), 2, "ask changes nothing"),
        (("fix", "Add.", "--sandbox", "none"), 2, "Invalid value for '--sandbox'"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], code: int, says: str, glm: Run) -> None:
    ran = glm(*words, *to("http://127.0.0.1:9/v1"))
    assert (ran.code, says in ran.err) == (code, True)


def test_a_session_leaves_nothing_of_its_commands_but_their_home(
    home: Path, glm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    play(glm, bash("echo cached > $HOME/cache; echo x > /tmp/scratch"))
    kept = [path for path in home.rglob("cache") if path.is_file()]
    assert [path.read_text() for path in kept] == ["cached\n"]
    assert list(temporary.iterdir()) == []
