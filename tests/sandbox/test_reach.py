"""What of a machine is readable: made-up homes and PATHs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glm_agent import sandbox
from glm_agent.sandbox import Policy
from glm_agent.sandbox.reach import homes

Reach = Callable[..., set[str]]


@pytest.fixture
def at_home(tmp_path: Path) -> Path:
    home = tmp_path / "home/me"
    home.mkdir(parents=True)
    return home.resolve()


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def standard(home: Path, *path: Path | str, text: str = "", **variables: str) -> Policy:
    root = home / "code/project"
    root.mkdir(parents=True, exist_ok=True)
    start = {"PATH": os.pathsep.join(map(str, path)), "HOME": str(home), **variables}
    return sandbox.standard(root, start, home.parent / "state", home.parent / "tmp", text=text)


def reach(policy: Policy, home: Path) -> set[str]:
    """Below the home."""
    return {str(path.relative_to(home)) for path in policy.readable if path.is_relative_to(home)}


def test_a_tool_chain_is_readable_with_its_prefix_but_never_the_home(at_home: Path) -> None:
    program(at_home / ".nvm/versions/node/v20/bin/node")
    program(at_home / "bin/mine")
    program(at_home / ".local/bin/other")
    (at_home / ".ssh").mkdir()
    folders = (at_home / ".nvm/versions/node/v20/bin", at_home / "bin", at_home / ".local/bin", at_home, "/")
    found = reach(standard(at_home, *folders), at_home)
    node = {".nvm/versions", ".nvm/versions/node/v20", ".nvm/versions/node/v20/bin"}
    assert found == {*node, "bin", ".local/bin"}


def test_links_and_virtual_environments_are_followed(at_home: Path) -> None:
    program(at_home / ".share/tools/black/bin/black")
    program(at_home / "pythons/3.12/bin/python")
    (at_home / ".local/bin").mkdir(parents=True)
    (at_home / ".local/bin/black").symlink_to(at_home / ".share/tools/black/bin/black")
    (at_home / ".share/tools/black/pyvenv.cfg").write_text(f"home = {at_home}/pythons/3.12/bin\n")
    found = reach(standard(at_home, at_home / ".local/bin"), at_home)
    assert {".share/tools/black", "pythons/3.12"} <= found


def test_what_the_repository_says_of_its_python_is_not_believed(at_home: Path) -> None:
    venv = at_home / "code/project/.venv"
    program(venv / "bin/python")
    (at_home / ".ssh/bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(f"home = {at_home}/.ssh/bin\n")
    policy = standard(at_home, venv / "bin", VIRTUAL_ENV=str(venv))
    assert reach(policy, at_home) == set()
    assert policy.environment["PATH"] == str(venv / "bin")


def test_path_is_without_relative_entries_and_those_of_the_repository(at_home: Path) -> None:
    tools = at_home / "code/project/tools"
    program(tools / "git")
    assert standard(at_home, tools, ".", "", "bin", "/usr/bin").environment["PATH"] == "/usr/bin"


def test_only_listed_variables_are_passed_on(at_home: Path) -> None:
    policy = standard(
        at_home, "/usr/bin", LANG="C", ZAI_API_KEY="k", SSH_AUTH_SOCK="/s", LD_PRELOAD="/x", CI="1"
    )
    assert {"LANG", "CI", "HOME", "PATH"} <= set(policy.environment)
    assert set(policy.environment) & {"ZAI_API_KEY", "SSH_AUTH_SOCK", "LD_PRELOAD"} == set()


def test_credentials_in_a_tool_chain_are_hidden(at_home: Path) -> None:
    program(at_home / ".cargo/bin/cargo")
    (at_home / ".cargo/credentials.toml").write_text("token")
    policy = standard(at_home, at_home / ".cargo/bin")
    assert policy.hidden == (at_home / ".cargo/credentials.toml",)


@pytest.mark.parametrize("text", ["{}/data/run.sh", "sh -c '{}/data/run.sh --x'", "A={}/data/run.sh make"])
def test_absolute_paths_in_the_users_own_words_are_readable(text: str, at_home: Path) -> None:
    script = program(at_home / "data/run.sh")
    assert script in standard(at_home, "/usr/bin", text=text.format(at_home)).readable
    assert at_home not in standard(at_home, "/usr/bin", text=f"ls {at_home} / /home").readable


def test_our_own_python_is_readable(at_home: Path) -> None:
    readable = standard(at_home, "/usr/bin").readable
    assert any(Path(sys.base_prefix).is_relative_to(path) for path in (*readable, Path("/usr")))


@pytest.mark.parametrize("home", ["", "relative", "/", "/usr", "code/project"])
def test_a_home_that_is_none_is_replaced(home: str, at_home: Path) -> None:
    place = str(at_home / home) if home == "code/project" else home
    assert standard(at_home, "/usr/bin", HOME=place).home_seen == Path("/home/agent")


def test_a_home_is_never_the_prefix_of_a_folder_on_path(at_home: Path, tmp_path: Path) -> None:
    """Nor what holds homes: other people's are told by what people have."""
    data = (tmp_path / "data").resolve()
    program(data / "home/x/bin/mine")
    (data / "home/x/.ssh").mkdir()
    program(data / "bin/tool")
    program(data / "home/bin/tool")
    program(data / "sdk/bin/java")
    folders = [data / name for name in ("home/x/bin", "home/bin", "bin", "sdk/bin")]
    readable = standard(at_home, *folders, data / "home/x").readable
    assert [path for path in readable if path.is_relative_to(data)] == [*folders, data / "sdk"]
    assert standard(at_home, "/usr/bin", HOME=str(data / "home/y"), text=f"{data}/home/x/bin/mine").readable[
        -1
    ] == (data / "home/x/bin/mine")


LISTED = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
builder:x:999:999::/opt/builder:/bin/sh
me:x:1000:1000:Me,,,:/opt/me:/bin/bash
other:x:1001:1001::/data/people/other:/bin/bash
bare:x:1002:1002::/:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
broken
"""


def test_homes_are_those_of_people_and_the_users_own() -> None:
    def found(start: dict[str, str], user: int) -> list[str]:
        return [str(path) for path in homes(start, LISTED, user)]

    assert found({"HOME": "/opt/me"}, 1000) == ["/opt/me", "/data/people/other"]
    assert found({"HOME": "/elsewhere/me"}, 999) == [
        *("/elsewhere/me", "/opt/builder", "/opt/me", "/data/people/other")
    ]
    assert found({"HOME": "/usr"}, 0) == ["/root", "/opt/me", "/data/people/other"]


def test_a_home_below_the_systems_folders_is_left_out_of_them(at_home: Path) -> None:
    policy = standard(at_home, "/opt/glm-agent-test/bin", HOME="/opt/glm-agent-test")
    assert Path("/opt/glm-agent-test") in policy.homes
    assert Path("/opt/glm-agent-test") not in policy.readable
    assert policy.home_seen == Path("/home/agent")
