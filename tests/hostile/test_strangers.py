"""A fork's code in a job that has the owner's secrets is not worked on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import DONE, HERE, git, run, to

from glm_agent.commands.strangers import require_none
from glm_agent.errors import SandboxError
from glm_agent.replay import Server
from glm_agent.types import Json

OURS, THEIRS = {"full_name": "us/it"}, {"full_name": "them/it"}


def event(folder: Path, name: str, content: Json | str, sha: str = "base") -> dict[str, str]:
    file = folder / "event.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": name,
        "GITHUB_EVENT_PATH": str(file),
        "GITHUB_SHA": sha,
    }


def pull(head: object) -> Json:
    return {"repository": OURS, "pull_request": {"head": {"repo": head}}}


@pytest.mark.parametrize(
    ("name", "content", "whose"),
    [
        ("pull_request_target", pull(THEIRS), "them/it"),
        ("pull_request_target", pull(None), "a fork"),  # which is deleted
        ("pull_request_target", "{", "a fork"),
        ("pull_request_target", {}, "a fork"),
        ("pull_request_target", pull({"full_name": "a\x1b]0;b"}), r"'a\x1b]0;b'"),
        ("workflow_run", {"repository": OURS, "workflow_run": {"head_repository": THEIRS}}, "them/it"),
    ],
)
def test_a_fork_s_checkout_is_refused(tmp_path: Path, name: str, content: Json | str, whose: str) -> None:
    with pytest.raises(SandboxError) as caught:
        require_none(event(tmp_path, name, content), "head")
    assert f"the checkout is that of {whose}: " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "head"),
    [
        ("pull_request_target", pull(THEIRS), "base"),  # the repository's own code
        ("pull_request_target", pull(OURS), "head"),
        ("pull_request", pull(THEIRS), "head"),  # which has no secrets
        ("push", {}, "head"),
        ("workflow_run", {"repository": OURS, "workflow_run": {"head_repository": OURS}}, "head"),
    ],
)
def test_all_else_is_not(tmp_path: Path, name: str, content: Json, head: str) -> None:
    require_none(event(tmp_path, name, content), head)


def test_outside_of_github_nothing_is_looked_at(tmp_path: Path) -> None:
    environ = event(tmp_path, "pull_request_target", pull(THEIRS))
    require_none({**environ, "GITHUB_ACTIONS": ""}, "head")


@pytest.mark.slow
def test_a_run_ends_with_44_unless_it_is_allowed(repo: Path, tmp_path: Path) -> None:
    environ = event(tmp_path, "pull_request_target", pull(THEIRS))
    ran = run(repo, "ask", "Why?", *HERE, "--json", env=environ)
    assert (ran.code, "the checkout is that of them/it" in ran.result["errors"][0]) == (44, True)
    ours = event(tmp_path, "pull_request_target", pull(THEIRS), git(repo, "rev-parse", "HEAD").strip())
    with Server([DONE, DONE]) as server:
        codes = [
            run(repo, "ask", "Why?", *to(server.url), "--json", env=ours).code,
            run(repo, "ask", "Why?", *to(server.url), "--json", "--allow-fork", env=environ).code,
        ]
    assert codes == [0, 0]
