"""What a repository may hide, link, nest or name to get at a secret, or into what runs later: all stopped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from running import DONE, FIX, Ran, Run, git, to

from glm_agent import hiding, policy, sandbox
from glm_agent.replay import Server
from glm_agent.secrets import Secrets
from glm_agent.types import Json
from tests.commands.test_command_sandbox import bash, play, results, write

pytestmark = pytest.mark.skipif(sandbox.probe().tier != "A", reason=f"no tier A: {sandbox.probe().reason}")


def call(name: str, **arguments: str) -> Json:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def denied(ran: Ran) -> list[str]:
    return [denial["path"] for denial in ran.result["permission_denials"]]


def test_a_secret_by_another_of_its_names_is_one(repo: Path, glm: Run) -> None:
    (repo / ".env").write_text("PASSWORD=hunter22\n")
    (repo / "node_modules").mkdir()
    for name in ("notes.txt", "node_modules/index.js"):
        os.link(repo / ".env", repo / name)
    looks = (call("read", path="notes.txt"), call("search", pattern="hunter"), bash("cat notes.txt no*/*"))
    ran = play(glm, *looks)
    said = results(ran)[:3]
    assert [text.partition(":")[0] for text in said[:2]] == [
        "error",
        "no match for hunter (ignored and binary files are not searched)\n[3 files withheld",
    ]
    assert said[2].startswith("[exit=0")
    assert "hunter22" not in str(ran.events)


@pytest.mark.slow
def test_what_is_no_secret_or_is_allowed_is_read_by_all_of_its_names(repo: Path, glm: Run) -> None:
    (repo / ".env").write_text("PASSWORD=hunter22\n")
    os.link(repo / "calc.py", repo / "copy.py")
    os.link(repo / ".env", repo / "notes.txt")
    assert "return a - b" in results(play(glm, call("read", path="copy.py")))[0]
    looks = (call("read", path="notes.txt"), bash("cat notes.txt"))
    with Server([*looks, FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--allow-secrets", "*", *to(server.url), "--json")
    assert all("hunter22" in text for text in results(ran)[:2])


NESTED = ("sub/.github/workflows/ci.yml", "sub/.claude/settings.json", "sub/deep/.envrc")


def test_what_runs_later_is_read_only_to_commands_at_any_depth(repo: Path, glm: Run) -> None:
    for name in NESTED:
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text("own\n")
    tries = "; ".join(f"echo evil > {name}; rm -f {name}; mv {name} x" for name in NESTED)
    adds = "touch sub/.claude/new; mv sub/.claude sub/.other; echo fine > sub/deep/other"
    ran = play(glm, bash(f"{tries}; {adds}; exit 1"))
    assert [(repo / name).read_text() for name in NESTED] == ["own\n"] * 3
    assert list((repo / "sub/.claude").iterdir()) == [repo / "sub/.claude/settings.json"]
    assert (repo / "sub/deep/other").read_text() == "fine\n"
    assert "sub/.claude, sub/deep/.envrc, sub/.github/workflows]" in results(ran)[0]


@pytest.mark.slow
def test_a_folder_that_is_moved_around_what_runs_later_takes_its_protection_along(
    repo: Path, glm: Run
) -> None:
    (repo / "sub/.claude").mkdir(parents=True)
    (repo / "sub/.claude/settings.json").write_text("own\n")
    move = "mv sub other && mkdir -p sub/.claude && touch sub/.claude/settings.json"
    evil = "echo evil > other/.claude/settings.json"
    ran = play(glm, bash(f"{move}; {evil}"), bash(evil))
    assert (repo / "other/.claude/settings.json").read_text() == "own\n"
    assert "Read-only file system" in results(ran)[1]


@pytest.mark.slow
def test_a_private_copy_hides_what_is_hidden_in_place(repo: Path, glm: Run) -> None:
    """There, links are files of their own, all is tracked, and tools do not reach the original."""
    (repo / ".gitignore").write_text("local/\n")
    (repo / ".env").write_text("PASSWORD=hunter22\n")
    (repo / "local").mkdir()
    (repo / "local/.env").write_text("PASSWORD=hunter33\n")
    os.link(repo / ".env", repo / "notes.txt")
    os.link(repo / "local/.env", repo / "more.txt")
    (repo / "theirs.pem").write_text("a certificate\n")
    git(repo, "add", "theirs.pem")
    (repo / "own.pem").write_text("hunter44\n")
    paths = ("notes.txt", "more.txt", "own.pem", "theirs.pem")
    looks = [*(call("read", path=path) for path in paths), call("search", pattern="hunter")]
    with Server([*looks, bash("cat .env *.txt own.pem local/.env"), FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--dry-run", *to(server.url), "--json")
    said = results(ran)
    assert denied(ran) == [*paths[:3]]
    assert "a certificate" in said[3] and "4 files withheld" in said[4]
    assert not any(f"hunter{number}" in str(ran.events) for number in (22, 33, 44))


@pytest.mark.slow
def test_in_a_private_copy_too_protection_moves_along(repo: Path, glm: Run) -> None:
    (repo / "sub/.husky").mkdir(parents=True)
    (repo / "sub/.husky/pre-commit").write_text("own\n")
    evil = bash("echo evil > other/.husky/pre-commit")
    with Server([bash("mv sub other"), evil, bash("mv other sub"), FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--worktree", *to(server.url), "--json")
    assert (ran.code, (repo / "sub/.husky/pre-commit").read_text()) == (0, "own\n")
    assert "Read-only file system" in results(ran)[1]


@pytest.mark.slow
def test_what_the_user_opens_is_open_to_commands_at_any_depth(repo: Path, glm: Run) -> None:
    (repo / "sub/.github/workflows").mkdir(parents=True)
    (repo / "sub/.claude").mkdir()
    tries = "touch sub/.github/workflows/a.yml; touch sub/.claude/x"
    with Server([bash(tries), FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--allow-path", "sub/.github/workflows/*", *to(server.url), "--json")
    assert (repo / "sub/.github/workflows/a.yml").exists()
    assert list((repo / "sub/.claude").iterdir()) == []
    assert ran.result["runs_later"] == ["sub/.github/workflows/a.yml"]


@pytest.mark.slow
def test_a_hooks_folder_from_the_users_own_settings_is_protected_in_the_tree(
    repo: Path, glm: Run, home: Path
) -> None:
    (home / ".gitconfig").write_text("[core]\n\thooksPath = my-hooks\n")
    (repo / "my-hooks").mkdir()
    git(repo, "commit", "-q", "--allow-empty", "-m", "no hook yet")
    hook = "#!/bin/sh\\ntouch fired\\n"
    tries = f"printf '{hook}' > my-hooks/pre-commit; chmod +x my-hooks/pre-commit"
    ran = play(glm, bash(tries), write("my-hooks/pre-commit", "x"))
    assert denied(ran) == ["my-hooks/pre-commit"]
    assert list((repo / "my-hooks").iterdir()) == []
    (repo / "my-hooks/pre-commit").write_text("#!/bin/sh\ntouch fired\n")
    (repo / "my-hooks/pre-commit").chmod(0o755)
    git(repo, "commit", "-q", "--allow-empty", "-m", "the trap is one")
    assert (repo / "fired").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param("xdg/git/config", "{repo}/tools", id="absolute, in the XDG folder"),
        pytest.param("own", "tools", id="named by GIT_CONFIG_GLOBAL"),
        pytest.param(".gitconfig", "tools/../tools", id="roundabout"),
        pytest.param(".gitconfig", "{home}/way/tools", id="through a link"),
    ],
)
def test_hooks_are_found_wherever_the_user_names_them(
    place: str, value: str, repo: Path, glm: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    if place == "own":
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "own"))
    (home / "way").symlink_to(repo)
    (home / place).parent.mkdir(parents=True, exist_ok=True)
    (home / place).write_text(f"[core]\n\thooksPath = {value.format(repo=repo, home=home)}\n")
    assert denied(play(glm, write("tools/pre-push"))) == ["tools/pre-push"]


@pytest.mark.slow
def test_hooks_at_the_top_are_told_from_other_files(repo: Path, glm: Run) -> None:
    git(repo, "config", "core.hooksPath", ".")
    ran = play(glm, bash("touch pre-push pre-push.txt"), write("post-checkout"), write("pre-commit.py"))
    assert denied(ran) == ["pre-push", "post-checkout"]
    assert not (repo / "pre-push").exists() and (repo / "pre-push.txt").exists()


def test_a_tree_too_large_to_be_looked_through_is_said_to_be_one(repo: Path) -> None:
    (repo / ".env").write_text("x")
    found = hiding.survey(repo, Secrets(), policy.is_kept)
    assert (found.whole, found.secrets) == (True, (repo / ".env",))
    assert hiding.survey(repo, Secrets(), policy.is_kept, most=2).whole is False


@pytest.mark.slow
def test_no_command_is_run_where_secrets_cannot_be_looked_for(repo: Path, glm: Run) -> None:
    for number in range(1001):  # a thousand places that are mounts are the most
        (repo / f"d/{number}").mkdir(parents=True)
        (repo / f"d/{number}/.envrc").touch()
    ran = play(glm, bash("touch made"))
    assert "has too many files" in results(ran)[0] and "--allow-secrets '*'" in results(ran)[0]
    assert not (repo / "made").exists()
    with Server([bash("touch made"), FIX, DONE]) as server:
        glm("fix", "Add.", "--allow-secrets", "*", *to(server.url), "--json")
    assert (repo / "made").exists()
