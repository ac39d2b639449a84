"""Nothing is imported from the repository that the program is run in, however it is started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from running import DONE, READ, ROOT, environment, first_fast, make_repository, to

from glm_agent.replay import Server

# Python imports `contextlib` itself, for `-m`, before anything of ours: `python -P -m` is for that.
_OURS = ("agent", "cli", "config", "git", "types_", "glm_agent_settings")
_THEIRS = ("openai", "typer", "rich", "httpx2", "pydantic", "jsonschema", "unidiff")
_STANDARD = (
    *("json", "typing", "site", "sitecustomize", "usercustomize", "dataclasses", "subprocess", "tempfile"),
    *("selectors", "fnmatch", "argparse", "http", "email", "unittest", "__future__", "hashlib", "random"),
)


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A repository full of modules that tell when they are imported."""
    told = "open({!r}, 'a').write(__name__ + '\\n')\n".format(str(tmp_path / "imported"))
    files = {f"{name}.py": told for name in (*_OURS, *_THEIRS, *_STANDARD)}
    return make_repository(tmp_path / "repo", {**files, "calc.py": "def add(a, b):\n    return a - b\n"})


def imported(repo: Path) -> list[str]:
    file = repo.parent / "imported"
    return sorted(file.read_text().split()) if file.exists() else []


def start(repo: Path, *words: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=repo,
        env=environment(PYTHONPATH=path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_plain_python_would_import_them(trapped: Path) -> None:
    start(trapped, "-m", "json.tool")
    assert imported(trapped) == ["json"]


# what the installed program is, but that it is nowhere installed
_SCRIPT = "import sys\nsys.path[0] = '/nowhere'\nfrom glm_agent.__main__ import main\nsys.exit(main())"
_SEARCH = {"tool_calls": [{"name": "search", "arguments": {"pattern": "a", "path": "calc.py"}}]}


@pytest.mark.parametrize(
    "program", first_fast((("-m", "glm_agent"),), (("-c", _SCRIPT),)), ids=["module", "script"]
)
def test_a_run_imports_nothing_from_the_repository(program: tuple[str, ...], trapped: Path) -> None:
    with Server([READ, _SEARCH, DONE], strict=True) as server:
        ran = start(trapped, *program, "ask", "Why?", *to(server.url), "--json")
    assert (ran.returncode, imported(trapped)) == (0, []), ran.stderr


@pytest.mark.slow
def test_neither_does_the_demo(trapped: Path) -> None:
    ran = start(trapped, "-m", "glm_agent", "demo", "--json")
    assert (ran.returncode, imported(trapped)) == (0, []), ran.stderr


@pytest.mark.slow
def test_nor_does_the_scripted_server(trapped: Path, tmp_path: Path) -> None:
    (tmp_path / "turns.jsonl").write_text(json.dumps(DONE))
    words = [sys.executable, "-m", "glm_agent.replay", "--turns", str(tmp_path / "turns.jsonl")]
    with subprocess.Popen(words, cwd=trapped, env=environment(), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        said = server.stdout.readline()
        server.terminate()
    assert (said.startswith("http://127.0.0.1:"), imported(trapped)) == (True, [])
