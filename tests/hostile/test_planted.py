"""A repository that is taken for the home brings folders of ours along, with what we would believe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from running import DONE, FIX, Run, first_fast, git, to

from glm_agent.commands import stores
from glm_agent.journal import Journal
from glm_agent.replay import Server
from glm_agent.types import Json, Memo, Said, Started, User

STATE = ".local/state/glm-agent"
CONFIG = ".config/glm-agent"
KEY = "sk-9Zq7Lm3Xc5Vb8Nd1Kf6Jh2Gs4Pw0Rt"


def commit(repo: Path) -> None:
    git(repo, "add", "--force", "--all")
    git(repo, "commit", "--quiet", "-m", "planted")


def plant_session(repo: Path, home: Path, url: str) -> None:
    """One that was begun, by its own word, with flags that widen everything."""
    journal = Journal(home / STATE / "sessions/20990101-000000-000000", lambda text: text)
    started = dict.fromkeys(("model", "provider", "base_url_host", "version"), "")
    more: Json = {"tools": [], "sandbox": {}, "git": None, "caps": {}, "stdin": "none", "instructions": []}
    journal(Started(session_id="", cwd=str(repo), command="fix", **started, **more))
    flags = {"base_url": url, "provider": "custom", "sandbox": "danger-full-access", "allow_secrets": ["*"]}
    journal(Memo({"task": "Add.", "top": str(repo), "flags": flags, "system": "", "end": "", "tools": []}))
    journal(Said(User("Add.")))
    journal.close()


def plant_record(repo: Path, home: Path, _: str) -> None:
    """A change that was cut short: what finishes it moves the record to where it says."""
    folder = home / STATE / "writes" / stores.key(repo)
    folder.mkdir(parents=True)
    files = [["calc.py", None, None, "", ""]]
    record = {"writing": 1, "call": "", "keep": str(repo.parent / "outside"), "made": [], "files": files}
    (folder / "open-00.json").write_text(json.dumps(record))


def plant_guard(repo: Path, home: Path, _: str) -> None:
    """What a command changed: what puts it right removes it, wherever."""
    folder = home / STATE / "commands" / stores.key(repo) / "guard"
    folder.mkdir(parents=True)
    before: Json = {"dear": ["", 0, "", []]}
    note: Json = {"root": str(repo.parent), "inside": False, "protected": ["dear"], "before": before}
    (folder / "record-4194305.json").write_text(json.dumps(note))


def plant_link(repo: Path, home: Path, url: str) -> None:
    """The same behind a link that is what git knows of it."""
    plant_guard(repo, home, url)
    (home / ".local").rename(home / "elsewhere")
    (home / ".local").symlink_to("elsewhere")


@pytest.fixture
def at_home(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(repo))
    monkeypatch.setenv("GLM_AGENT_API_KEY", KEY)
    (repo.parent / "dear").write_text("mine\n")
    return repo


Plant = Callable[[Path, Path, str], None]
WORDS = (("fix", "Add."), ("fix", "-c"), ("ask", "Why?"), ("undo",), ("apply", "{repo}/calc.py"))


@pytest.mark.parametrize("plant", first_fast(plant_session, plant_record, plant_guard, plant_link))
def test_state_that_the_repository_brings_is_not_believed(plant: Plant, at_home: Path, glm: Run) -> None:
    with Server([FIX, DONE]) as server:
        plant(at_home, at_home, server.url)
        commit(at_home)
        for words in WORDS:
            ran = glm(*(word.format(repo=at_home) for word in words))
            assert (ran.code, ran.out) == (45, ""), ran.err
            assert "is part of the repository, and so not ours; remove it, or set XDG_STATE_HOME" in ran.err
        assert server.requests == []
    assert (at_home.parent / "dear").read_text() == "mine\n"
    assert not (at_home.parent / "outside").exists()


@pytest.mark.slow
def test_settings_that_the_repository_brings_are_not_believed(at_home: Path, glm: Run) -> None:
    (at_home / CONFIG).mkdir(parents=True)
    with Server([DONE]) as thief:
        (at_home / CONFIG / "config.toml").write_text(f'provider = "custom"\nbase_url = "{thief.url}"\n')
        commit(at_home)
        ran = glm("ask", "Why?", "--json")
        assert (ran.code, thief.requests) == (52, [])
        (error,) = ran.result["errors"]
        assert error.startswith(f"{CONFIG}/config.toml is part of the repository, and so not yours; ")
        assert glm("ask", "Why?", "--bare", *to(thief.url), "--json").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", [f"{CONFIG}/config.toml", f"{STATE}/commands/x"])
def test_what_is_only_there_is_the_users_own(path: str, at_home: Path, glm: Run) -> None:
    """A home that is a repository, with our folders in it, which git does not know."""
    (at_home / path).parent.mkdir(parents=True)
    (at_home / path).write_text("max_turns = 9\n")
    with Server([FIX, DONE]) as server:
        assert glm("fix", "Add.", *to(server.url), "--json").code == 0


@pytest.mark.slow
def test_state_in_a_folder_that_is_open_to_all_is_not_believed(home: Path, glm: Run) -> None:
    (home / STATE).mkdir(parents=True)
    (home / STATE).chmod(0o777)
    for words in (("fix", "Add."), ("resume",), ("undo",)):
        ran = glm(*words)
        assert (ran.code, "is another user's, or open to all; set XDG_STATE_HOME" in ran.err) == (45, True)


@pytest.mark.parametrize(("mode", "owner", "user", "is_so"), [
    (0o40700, 1000, 1000, False), (0o40755, 0, 1000, False), (0o40700, 1000, 0, False),
    (0o40700, 1001, 1000, True), (0o41777, 1000, 1000, True), (0o40702, 0, 0, True),
])  # fmt: skip
def test_whose_a_folder_is(
    mode: int, owner: int, user: int, is_so: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    status = os.stat_result((mode, 1, 1, 1, owner, owner, 0, 0, 0, 0))
    assert stores.is_foreign(status) is is_so


@pytest.mark.parametrize("name", ["config.toml", ".env"])
def test_settings_that_anybody_can_change_are_not_believed(name: str, home: Path, glm: Run) -> None:
    file = home / CONFIG / name
    file.parent.mkdir(parents=True)
    file.write_text("")
    assert glm("ask", "Why?", "--provider", "custom").code == 2
    file.chmod(0o646)
    ran = glm("ask", "Why?", "--provider", "custom")
    assert (ran.code, ran.err.split("\n")[0]) == (
        52,
        f"glm-agent: {file}: anybody can change it: chmod 600 {file}",
    )
