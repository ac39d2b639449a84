"""What the model can call: one file per tool, its description in `prompts/` beside it."""

from __future__ import annotations

from pathlib import Path

from ..types import Tool
from ..workspace import Workspace
from .seen import Seen
from .spill import Spill


def prompt(name: str) -> str:
    """The description of the tool `name`, as the model reads it."""
    return (Path(__file__).parent / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()


def build(command: str, workspace: Workspace, folder: Path, *, may_run_commands: bool) -> list[Tool]:
    """The tools of one session of `command`, always in the same order; long outputs are kept in `folder`."""
    from . import bash, edit, patch, read, repeats, search, write

    seen, spill = Seen(), Spill(folder / "outputs")
    kit = [read.tool(workspace, seen, spill), search.tool(workspace, spill)]
    if command == "fix":
        kit += [edit.tool(workspace, seen), write.tool(workspace, seen), patch.tool(workspace, seen)]
        if may_run_commands:
            kit.append(bash.tool(workspace.root, spill))
    return repeats.guard(kit)
