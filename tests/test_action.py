"""action.yml as the runner takes it: each step in a shell of its own, inputs in the environment only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from running import CHECK, DONE, FIX, ROOT, environment

from glm_agent.replay import Server
from glm_agent.types import Json

ACTION = ROOT / "action.yml"
EVIL = "Add. $(touch pwned) `touch pwned` \"'; touch pwned; #\nEOF"
SWITCH = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"


# The little of YAML that the file uses


def read_yaml(text: str) -> Json:
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("# ")]
    found, rest = _block([line for line in lines if line.strip()], 0)
    assert rest == []
    assert isinstance(found, dict)
    return found


def _block(lines: list[str], depth: int) -> tuple[Json | list[Json], list[str]]:
    items: list[Json] = []
    while lines and lines[0].startswith(" " * depth + "- "):
        lines = [" " * (depth + 2) + lines[0][depth + 2 :], *lines[1:]]
        item, lines = _block(lines, depth + 2)
        assert isinstance(item, dict)
        items.append(item)
    if items:
        return items, lines
    found: Json = {}
    while lines and _depth(lines[0]) == depth:
        name, value = re.fullmatch(r" *([\w-]+):(?: (.+))?", lines[0]).groups()  # pyright: ignore[reportOptionalMemberAccess]
        lines = lines[1:]
        assert name not in found
        if value == "|":
            size = next((i for i, line in enumerate(lines) if _depth(line) <= depth), len(lines))
            found[name] = "".join(line[depth + 2 :] + "\n" for line in lines[:size])
            lines = lines[size:]
        elif value is None:
            found[name], lines = _block(lines, depth + 2)
        else:
            assert ": " not in value, value
            assert " #" not in value, value
            found[name] = value.strip('"')
    return found, lines


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


# A runner


class Runner:
    """Runs the steps in turn until one fails; unless it `installs`, `python3` only says what it would."""

    def __init__(self, folder: Path, repo: Path, *, installs: bool = False) -> None:
        self.installs = installs
        self.repo = repo
        self.temp = folder / "temp"
        self.bin = folder / "bin"
        self.output = folder / "output"
        self.summary = folder / "summary"
        self.said = folder / "said"
        self.log = ""
        for made in (self.temp, self.bin):
            made.mkdir()
        for file in (self.output, self.summary, self.said):
            file.touch()
        python = sys.executable
        note = f'echo "$0 $@" >> {self.said}'
        self._program("sudo", note)
        if installs:
            (self.bin / "python3").symlink_to(Path(python).resolve())
            return
        self._program("python", f'case "$*" in *" pip "*) {note};; *) exec {python} "$@";; esac')
        self._program("glm-agent", f'exec {python} -m glm_agent "$@"')
        copy = f'mkdir -p "$3/bin" && cp {self.bin}/python {self.bin}/glm-agent "$3/bin"'
        self._program("python3", f'case "$*" in "-m venv "*) {copy};; *) exec {python} "$@";; esac')

    def _program(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def run(self, inputs: Mapping[str, str], edits: Mapping[str, str] | None = None) -> int:
        """The exit code of the step that ends the action."""
        action = read_yaml(ACTION.read_text("utf-8"))
        assert inputs.keys() <= action["inputs"].keys()
        for step in action["runs"]["steps"]:
            assert step["shell"] == "bash"
            given = {name: self._value(value, inputs) for name, value in step.get("env", {}).items()}
            script = self.temp / "script.sh"
            script.write_text(_edited(step["run"], edits or {}))
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
                cwd=self.repo,
                env={**self._environment(), **given},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=120 if self.installs else 25,
                check=False,
            )
            self.log += done.stdout.decode()
            if done.returncode:
                return done.returncode
        return 0

    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.output.read_text().split("\n")[:-1])

    def _value(self, value: str, inputs: Mapping[str, str]) -> str:
        name = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", value)
        assert name
        return inputs.get(name[1], "")

    def _environment(self) -> dict[str, str]:
        start = environment(
            GITHUB_ACTIONS="true",
            GITHUB_ACTION_PATH=str(ROOT),
            GITHUB_OUTPUT=str(self.output),
            GITHUB_STEP_SUMMARY=str(self.summary),
            GITHUB_ENV=str(self.temp / "env"),
            GITHUB_WORKSPACE=str(self.repo),
            RUNNER_TEMP=str(self.temp),
        )
        if self.installs:
            del start["PYTHONPATH"]  # what is run must be what was installed
            start |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
            start["PIP_NO_COMPILE"] = "1"  # half of the time
        return {**start, "PATH": f"{self.bin}{os.pathsep}{start['PATH']}"}


def _edited(script: str, edits: Mapping[str, str]) -> str:
    for old, new in edits.items():
        script = script.replace(old, new)
    return script


def test_no_script_has_an_input_in_its_text() -> None:
    steps = read_yaml(ACTION.read_text("utf-8"))["runs"]["steps"]
    assert [step["run"] for step in steps if "${{" in step["run"]] == []
    assert [len(step["run"]) > 100 for step in steps] == [True] * 3


def test_each_output_is_one_that_the_last_step_sets() -> None:
    action = read_yaml(ACTION.read_text("utf-8"))
    values = {name: row["value"] for name, row in action["outputs"].items()}
    assert values == {name: f"${{{{ steps.run.outputs.{name} }}}}" for name in values}
    script = action["runs"]["steps"][-1]["run"]
    assert set(re.findall(r'echo "([\w-]+)=', script)) == set(values)


@pytest.mark.slow
def test_a_run_of_the_action_fixes_and_says_so(tmp_path: Path, repo: Path) -> None:
    runner = Runner(tmp_path, repo)
    with Server([FIX, DONE]) as server:
        inputs = {
            "task": EVIL,
            "verify": f"{CHECK}\n\ntrue\n",
            "provider": "custom",
            "model": "glm-4.7",
            "api-key": "sk-of-the-provider",
            "args": f"--base-url={server.url}\n--max-turns=9\n",
        }
        code = runner.run(inputs)
        (request, *_) = server.requests
    assert code == 0, runner.log
    outputs = runner.outputs()
    assert (outputs["exit-code"], outputs["subtype"]) == ("0", "success")
    result = json.loads(Path(outputs["result"]).read_text())
    assert [row["command"] for row in result["verification"]["after"]] == [CHECK, "true"]
    assert Path(outputs["patch-file"]).read_text().startswith("diff --git a/calc.py")
    assert runner.summary.read_text().startswith("## ✅ success")
    assert EVIL in json.dumps(request.body, ensure_ascii=False).encode().decode("unicode_escape")
    assert not [*repo.glob("pwned*")]
    said = runner.said.read_text()
    assert "--require-hashes --only-binary :all: -r " in said
    assert "sk-of-the-provider" not in said + runner.log


@pytest.mark.slow
def test_the_step_fails_as_the_run_did_and_its_outputs_are_there(tmp_path: Path, repo: Path) -> None:
    runner = Runner(tmp_path, repo)
    with Server([DONE, DONE, DONE]) as server:
        code = runner.run({"task": "Add.", "provider": "custom", "args": f"--base-url={server.url}"})
    outputs = runner.outputs()
    assert (code, outputs["exit-code"], outputs["subtype"]) == (11, "11", "error_no_changes")
    assert "::error title=glm-agent::nothing was changed" in runner.log


@pytest.mark.slow
def test_user_namespaces_are_allowed_only_where_they_are_forbidden(tmp_path: Path, repo: Path) -> None:
    runner = Runner(tmp_path, repo)
    switch = tmp_path / "switch"
    for value, asked in (("0", 0), ("1", 1)):
        switch.write_text(f"{value}\n")
        runner.run({}, {SWITCH: str(switch)})
        assert runner.said.read_text().count("sudo -n sysctl -q -w kernel.apparmor_restrict") == asked


@pytest.mark.slow
def test_what_the_action_installs_is_what_runs(tmp_path: Path, repo: Path) -> None:
    runner = Runner(tmp_path, repo, installs=True)
    with Server([FIX, DONE]) as server:
        args = f"--base-url={server.url}\n--verify-rounds=1"
        code = runner.run({"task": "Add.", "provider": "custom", "args": args})
    if re.search("No matching distribution|Failed to establish|ConnectionError", runner.log):
        pytest.skip("no registry to install from")
    assert (code, runner.outputs().get("subtype")) == (0, "success"), runner.log
    assert runner.summary.read_text().startswith("## \u2705 success")
    (installed,) = (runner.temp / "glm-agent/lib").glob("python3*/site-packages/glm_agent/cli.py")
    assert installed.read_bytes() == (ROOT / "glm_agent/cli.py").read_bytes()
