"""What a run may not write, and what it may, but not unnoticed."""

from __future__ import annotations

import pytest

from glm_agent import policy

AGENTS = "it tells agents or editors what they may do"
AUTOMATIC = "it is run automatically, by a server, a hook or an editor"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (".glm-agent.toml", AGENTS),
        (".Claude/settings.json", AGENTS),
        ("sub/.claude/hooks/pre.sh", AGENTS),
        (".vscode/settings.json", AGENTS),
        (".github/workflows/ci.yml", AUTOMATIC),
        (".GitHub/Workflows/ci.yml", AUTOMATIC),
        ("packages/a/.husky/pre-commit", AUTOMATIC),
        ("Jenkinsfile", AUTOMATIC),
        (".envrc", AUTOMATIC),
        (".vscode/tasks.json", AUTOMATIC),
        (".github/ISSUE_TEMPLATE/bug.md", None),
        ("docs/Jenkinsfile.md", None),
        ("src/claude/client.py", None),
        ("conftest.py", None),
        ("Makefile", None),
    ],
)
def test_what_runs_by_itself_is_not_written(path: str, why: str | None) -> None:
    assert policy.forbidden(path) == why


def test_the_user_may_open_what_is_automatic_but_not_what_steers_agents() -> None:
    allowed = (".github/workflows/*", ".claude/*")
    paths = (".github/workflows/ci.yml", ".gitlab-ci.yml", ".claude/settings.json")
    assert [policy.forbidden(path, allowed) for path in paths] == [None, AUTOMATIC, AGENTS]


def test_a_command_may_not_make_what_a_tool_may_not_write() -> None:
    also = policy.Also(ours=(".config/glm-agent",), hooks=("tools/hooks",))
    every, some = policy.protected(also=also), policy.protected(("*",), also)
    assert every[0] == some[0] == ".git"
    assert {"Jenkinsfile", ".claude", ".mcp.json", ".github/workflows", "tools/hooks"} < set(every)
    assert all(policy.forbidden(f"{name}/file", (), also) or policy.forbidden(name) for name in every[1:])
    assert {".claude", ".glm-agent.toml", ".config/glm-agent"} < set(some)
    assert not {"Jenkinsfile", ".github/workflows", "tools/hooks"} & set(some)


def test_the_users_own_special_folders_are_as_shut_as_the_usual_ones() -> None:
    also = policy.Also(ours=(".config/glm-agent",), hooks=("Tools/hooks",))
    paths = (".config/glm-agent/config.toml", ".Config/GLM-agent", "tools/hooks/pre-push", "tools/hooksmith")
    assert [policy.forbidden(path, ("*",), also) for path in paths] == [AGENTS, AGENTS, None, None]
    assert policy.forbidden("tools/hooks/pre-push", (), also) == AUTOMATIC


@pytest.mark.parametrize(
    "path",
    [
        *("conftest.py", "tests/conftest.py", "setup.py", "Makefile", "lib/site.pth", "package.json"),
        *("pyproject.toml", ".gitattributes", "AGENTS.md", "Dockerfile", "docker/Dockerfile.dev"),
        *(".bashrc", ".ssh/authorized_keys", ".gitconfig", "dotfiles/.zshenv", ".pdbrc", "pyvenv.cfg"),
        *(
            "a.code-workspace",
            "rust-toolchain.toml",
            "CLAUDE.local.md",
            ".clinerules",
            ".kiro/settings/mcp.json",
        ),
        *("vite.config.ts", "jest.config.js", "build.rs", "CMakeLists.txt", ".github/workflows/ci.yml"),
    ],
)
def test_what_is_run_later_is_known(path: str) -> None:
    assert policy.runs_later(path)


@pytest.mark.parametrize(
    "path", ["src/app.py", "tests/test_conf.py", "README.md", "my_setup.py", "makefile.py"]
)
def test_ordinary_files_are_not(path: str) -> None:
    assert not policy.runs_later(path)
