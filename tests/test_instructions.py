from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path

import pytest
from running import DONE, FIX, Run, to

from glm_agent import instructions, tools
from glm_agent.instructions import Instruction
from glm_agent.replay import Server
from glm_agent.sandbox import unconfined
from glm_agent.types import Json, Tool
from glm_agent.workspace import Workspace

FACTS = ["Root: /repo (git branch main)", "System: Linux x86_64, /bin/sh", "Date: 2026-11-20"]


def kit(command: str, folder: Path, *, commands: bool) -> list[Tool]:
    return tools.build(
        command, Workspace(folder), folder / "kept", unconfined(folder) if commands else None
    ).tools


def prompt(command: str, folder: Path, *, commands: bool = False) -> str:
    return instructions.system_prompt(command, kit(command, folder, commands=commands), FACTS, [], [])


def schemas(found: list[Tool]) -> str:
    rows: list[Json] = [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in found
    ]
    return json.dumps(rows)


def test_what_every_request_carries_is_small(tmp_path: Path) -> None:
    every = kit("fix", tmp_path, commands=True)
    assert len(every) == 6
    size = len(schemas(every).encode())
    assert size <= 4096
    assert size + len(prompt("fix", tmp_path, commands=True).encode()) <= 10_000


@pytest.mark.parametrize("command", ["fix", "ask"])
def test_commands_are_not_spoken_of_where_none_can_be_run(command: str, tmp_path: Path) -> None:
    text = prompt(command, tmp_path)
    assert re.findall(r"(?i)\b(?:bash|commands?|shell|reproduce|run the|exit code|&&)\b", text) == []
    assert "{" not in text
    assert "bash" in prompt("fix", tmp_path, commands=True)


def test_ask_is_not_told_of_tools_that_change_anything(tmp_path: Path) -> None:
    assert re.findall(r"\b(?:edit|write|patch)\b", prompt("ask", tmp_path)) == []
    assert "- edit:" in prompt("fix", tmp_path)


def test_the_prompt_is_the_same_all_day_and_says_where_it_is(tmp_path: Path) -> None:
    text = prompt("fix", tmp_path)
    assert text == prompt("fix", tmp_path)
    assert re.findall(r"\d\d?:\d\d", text) == []
    assert text.endswith("Environment\n- " + "\n- ".join(FACTS))
    numbers = re.findall(r"^(\d)\.", prompt("fix", tmp_path, commands=True), re.MULTILINE)
    assert numbers == re.findall(r"^(\d)\.", text, re.MULTILINE) == list("123456")


def test_project_instructions_and_the_users_own_text_come_last(tmp_path: Path) -> None:
    told = [Instruction("AGENTS.md", "Use tabs.\n"), Instruction("a/AGENTS.md", "Use spaces.\n")]
    text = instructions.system_prompt("ask", kit("ask", tmp_path, commands=False), FACTS, told, ["Be kind."])
    first, second = text.index("from AGENTS.md in"), text.index("from a/AGENTS.md in")
    assert text.index("Environment") < first < text.index("Use tabs.") < second < text.index("Use spaces.")
    assert text.endswith("Use spaces.\n\nBe kind.")


# Where project instructions are found


def written(folder: Path, files: dict[str, str]) -> Workspace:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return Workspace(folder)


def test_they_are_read_from_the_root_down_and_agents_md_comes_before_claude_md(tmp_path: Path) -> None:
    workspace = written(
        tmp_path,
        {
            "AGENTS.md": "1",
            "CLAUDE.md": "no",
            "a/CLAUDE.md": "2",
            "a/b/AGENTS.md": "3",
            "a/c/AGENTS.md": "no",
        },
    )
    found = instructions.find(workspace, "a/b")
    assert found == [
        Instruction("AGENTS.md", "1"),
        Instruction("a/CLAUDE.md", "2"),
        Instruction("a/b/AGENTS.md", "3"),
    ]
    assert instructions.find(workspace, ".") == found[:1]


def test_all_of_them_together_have_32_kib(tmp_path: Path) -> None:
    workspace = written(
        tmp_path, {"AGENTS.md": "a" * 20_000, "x/AGENTS.md": "é" * 20_000, "x/y/AGENTS.md": "never"}
    )
    found = instructions.find(workspace, "x/y")
    assert [len(item.text.encode()) for item in found] == [20_000, 12_768]
    assert found[1].text == "é" * 6384


def test_what_is_no_file_is_passed_over_at_once(tmp_path: Path) -> None:
    workspace = written(tmp_path, {"CLAUDE.md": "mine", "a/CLAUDE.md": "inner"})
    os.mkfifo(tmp_path / "AGENTS.md")
    (tmp_path / "a" / "AGENTS.md").mkdir()
    found = [Instruction("CLAUDE.md", "mine"), Instruction("a/CLAUDE.md", "inner")]
    assert instructions.find(workspace, "a") == found


def test_links_and_empty_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    inner = tmp_path / "repo"
    workspace = written(inner, {"CLAUDE.md": "mine", "a/AGENTS.md": ""})
    (inner / "AGENTS.md").symlink_to(tmp_path / "secret")
    assert instructions.find(workspace, "a") == [Instruction("CLAUDE.md", "mine")]


@pytest.mark.slow
def test_init_records_what_was_told_and_it_can_be_left_out(glm: Run, repo: Path) -> None:
    (repo / "AGENTS.md").write_text("Use tabs.\n")
    digest = hashlib.sha256(b"Use tabs.\n").hexdigest()
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", *to(server.url), "--json")
        assert ran.events[0]["instructions"] == [{"path": "AGENTS.md", "bytes": 10, "sha256": digest}]
        for flag in ("--no-agents-md", "--bare"):
            without = glm("fix", "Add.", "--allow-empty", flag, *to(server.url), "--json")
            assert without.events[0]["instructions"] == []
        appended = glm("ask", "Why?", "--append-system-prompt", "Be kind.", *to(server.url))
    assert appended.code == 0
    systems = [request.body["messages"][0]["content"] for request in server.requests]
    assert ["Use tabs." in text for text in systems] == [True, True, False, False, True]
    assert systems[-1].endswith("\n\nBe kind.")
    assert f"Date: {time.strftime('%Y-%m-%d')}" in systems[0]
    assert f"Root: {repo} (git branch main)" in systems[0]
