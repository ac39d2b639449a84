"""`demo`: a recorded session against a bundled repository, in a temporary directory: no key, no network."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path

from .. import git, sandbox
from ..errors import AgentError
from ..replay import demo
from ..replay.script import Pace
from ..replay.server import Server
from ..types import Event
from . import fix
from .conduct import conduct

_IDENTITY = (
    *("-c", "user.name=glm-agent demo"),
    *("-c", "user.email=demo@localhost"),
    *("-c", "init.defaultBranch=main"),
)
_PAUSE = 0.02  # seconds between the chunks of the recording, for a person who watches


def run(flags: Mapping[str, object]) -> int:
    """The exit code of the run, which a user's settings and keys have no part in."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="glm-agent-demo-")).resolve()
    except OSError as error:
        problem = AgentError(f"no temporary directory: {error.strerror}")
        return conduct(flags, lambda _: _refuse(problem), start={})
    try:
        _set_up(folder)
        return _play(folder, flags)
    except AgentError as error:
        reason = error
        return conduct(flags, lambda _: _refuse(reason), start={})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse(problem: AgentError) -> Generator[Event]:
    raise problem
    yield


def _set_up(folder: Path) -> None:
    demo.unpack(folder)
    for arguments in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "A small time sheet")):
        git.run(folder, *_IDENTITY, *arguments)


def _play(folder: Path, flags: Mapping[str, object]) -> int:
    watched = sys.stderr.isatty()
    with Server(demo.turns(sys.executable), pace=Pace(gap=_PAUSE if watched else 0)) as server:
        settings = {
            "cd": str(folder),
            "provider": "custom",
            "base_url": server.url,
            "verify": (f"{shlex.quote(sys.executable)} -m unittest -q",),
            "sandbox": None if sandbox.probe().tier else "danger-full-access",  # it is our own code
            "stdin": False,
            "bare": True,
            "ephemeral": True,
            **flags,
        }
        return fix.run(demo.task(), settings, start={})
