"""The bundled demo: a small repository with a bug, the task, and the recorded session that fixes it."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..types import Json
from .script import read_turns

_FOLDER = Path(__file__).parent / "demo"


def unpack(folder: Path) -> None:
    """Writes the files of the repository into `folder`, which may exist."""
    source = _FOLDER / "repo"
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":  # an installer compiles what it finds
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (folder / ".gitignore").write_text("__pycache__/\n", "utf-8")


def turns(python: str = "python3") -> list[Json]:
    """What the model says, turn by turn; its command runs the tests with `python`."""
    script = read_turns((_FOLDER / "session.jsonl").read_text("utf-8"))
    for turn in script:
        for call in turn["tool_calls"]:
            if call["name"] == "bash":
                command: str = call["arguments"]["command"]
                call["arguments"]["command"] = command.replace("PYTHON", shlex.quote(python))
    return script


def task() -> str:
    return (_FOLDER / "task.md").read_text("utf-8")
