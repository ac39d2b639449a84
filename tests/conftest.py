"""Every test runs as a user who has nothing: an empty home, no keys, no settings."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from running import Ran, Run, call, make_repository

from glm_agent.dialects import use_rows

# how fast an example runs says nothing of us; `tools/test --all` asks for the thorough profile
settings.register_profile("quick", deadline=None, max_examples=20)
settings.register_profile("thorough", deadline=None, max_examples=60)
settings.load_profile("quick")

_FOREIGN = ("GLM_AGENT_", "XDG_", "GIT_", "OPENAI_", "ZAI_", "ZHIPU", "GITHUB_")
_FOREIGN_ENDS = ("_API_KEY", "_BASE_URL", "_PROXY", "_proxy")
_LOOKS = ("NO_COLOR", "FORCE_COLOR", "PYTHONPATH", "PYTHONIOENCODING", "COLUMNS")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty home directory; a configuration may be put into it."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.endswith(_FOREIGN_ENDS) or name in _LOOKS:
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell's background job; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return folder


@pytest.fixture
def config_file(home: Path) -> Iterator[Path]:
    """The user's config.toml, still to be written; rows that it brings are forgotten in the end."""
    file = home / ".config/glm-agent/config.toml"
    file.parent.mkdir(parents=True)
    yield file
    use_rows({}, {})


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `repo` copies: to make one costs three processes."""
    folder = make_repository(tmp_path_factory.mktemp("committed") / "repo")
    for hook in (folder / ".git/hooks").glob("*.sample"):
        hook.unlink()
    return folder


@pytest.fixture
def repo(committed: Path, tmp_path: Path) -> Path:
    """A repository with one commit: `calc.py`, whose `add` subtracts, and `check.py`, which says so."""
    return shutil.copytree(committed, tmp_path / "repo", symlinks=True)


@pytest.fixture
def glm(repo: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """`glm("fix", "task", …)`: the command line in this process, run in `repo`."""

    def run(*words: str, at: Path | None = None) -> Ran:
        return call([words[0], "-C", str(at or repo), *words[1:]], capfdbinary)

    return run
