"""Nothing is imported from the repository that the program is run in, however it is started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from running import DONE, READ, ROOT, Run, environment, first_fast, make_repository, to

from glm_agent.replay import Server
from glm_agent.sandbox import probe

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
    files |= {f"{folder}/__init__.py": told for folder in ("commands", "tools", "confined", "encodings")}
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
# what is kept is searched by a program of ours, not by git
_HELPED = (
    {"tool_calls": [{"name": "bash", "arguments": {"command": "seq 1 9999"}}]},
    {"tool_calls": [{"name": "search", "arguments": {"pattern": "^7777$", "path": "output:1"}}]},
    DONE,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "program", first_fast((("-m", "glm_agent"),), (("-c", _SCRIPT),)), ids=["module", "script"]
)
def test_a_run_imports_nothing_from_the_repository(program: tuple[str, ...], trapped: Path) -> None:
    with Server([READ, _SEARCH, DONE], strict=True) as server:
        ran = start(trapped, *program, "ask", "Why?", *to(server.url), "--json")
    assert (ran.returncode, imported(trapped)) == (0, []), ran.stderr


@pytest.mark.slow
def test_a_package_of_our_name_in_the_repository_is_not_ours(trapped: Path) -> None:
    (trapped / "glm_agent").mkdir()
    for name in ("__init__", "__main__", "cli"):
        (trapped / f"glm_agent/{name}.py").write_text((trapped / "json.py").read_text())
    with Server([READ, _SEARCH, DONE]) as server:
        ran = start(trapped, "-c", _SCRIPT, "ask", "Why?", *to(server.url), "--json")
    assert (ran.returncode, imported(trapped)) == (0, []), ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(probe().tier is None, reason="no commands here")
@pytest.mark.parametrize("path", ["", ".", "{repo}"])
def test_where_the_users_own_environment_leads_into_it_the_helpers_do_not_follow(
    path: str, tmp_path: Path
) -> None:
    """What Python itself loads before us is the user's affair, and `doctor` warns of it."""
    told = f"import sys\nopen({str(tmp_path / 'imported')!r}, 'a').write(sys.orig_argv[-1] + '\\n')\n"
    files = {f"{name}.py": told for name in ("sitecustomize", "usercustomize", "startup")}
    repo = make_repository(tmp_path / "repo", {**files, "calc.py": "a\n"})
    env = environment(PYTHONSTARTUP="startup.py")
    env["PYTHONPATH"] = f"{path.format(repo=repo)}:{ROOT}"
    with Server([*_HELPED]) as server:
        words = [sys.executable, "-m", "glm_agent", "ask", "Why?", *to(server.url), "--json", "--stdin"]
        ran = subprocess.run(words, cwd=repo, env=env, input="", capture_output=True, text=True, check=False)
    assert (ran.returncode, "output:1:7777: 7777" in ran.stdout) == (0, True), ran.stderr
    assert set(imported(repo)) == {"--stdin"}, "only the program itself"


@pytest.mark.slow
@pytest.mark.skipif(probe().tier is None, reason="no commands here")
def test_helpers_have_a_python_even_where_the_environment_says_it_is_nowhere(
    glm: Run, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE"):
        monkeypatch.setenv(name, "/nowhere")
    with Server([*_HELPED]) as server:
        ran = glm("ask", "Why?", *to(server.url), "--json")
    assert (ran.code, "output:1:7777: 7777" in ran.out) == (0, True), ran.err


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
