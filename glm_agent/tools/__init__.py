"""What the model can call: one file per tool, its description in `prompts/` beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import ToolError
from ..sandbox import Runner
from ..types import Arguments, Tool, ToolOutput
from ..workspace import Workspace
from . import moves, repeats
from .seen import Seen
from .spill import Spill


def prompt(name: str) -> str:
    """The description of the tool `name`, as the model reads it."""
    return (Path(__file__).parent / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()


class Kit(NamedTuple):
    """`forget` is to be called when what tools have said is no longer before the model, which has `seen`."""

    tools: list[Tool]
    forget: Callable[[], None]
    seen: Seen


def outputs(folder: Path) -> Path:
    """Where the session whose folder this is keeps long outputs."""
    return folder / "outputs"


def build(
    command: str,
    workspace: Workspace,
    folder: Path,
    run: Runner | None,
    fence: Callable[[], None] = lambda: None,
) -> Kit:
    """The tools of one session of `command`, always in the same order; long outputs are kept in `folder`.

    `run` runs commands; None where none may be run. `fence` is called first in each thread of any other tool.
    """
    from . import bash, read, search

    seen, spill, memory = Seen(), Spill(outputs(folder)), repeats.Memory()
    found = [read.tool(workspace, seen, spill), search.tool(workspace, spill)]
    if command == "fix":
        from . import edit, patch, write  # which nothing else pays for

        found += [edit.tool(workspace, seen), write.tool(workspace, seen), patch.tool(workspace, seen)]
    found = [_fenced(tool, fence) for tool in found]
    if run is not None:
        found.append(bash.tool(run, spill))

    def forget() -> None:
        seen.forget()
        memory.forget()

    head = moves.Head(workspace.root)
    found = [moves.watch(tool, head) for tool in found]
    masked = [_noted(_masked(tool, workspace.secrets.mask), seen) for tool in found]
    return Kit(repeats.guard(masked, memory), forget, seen)


def _fenced(tool: Tool, fence: Callable[[], None]) -> Tool:
    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        fence()
        return tool.run(arguments, cancel)

    return tool._replace(run=run)


def _masked(tool: Tool, mask: Callable[[str], str]) -> Tool:
    """`tool` without live tokens in what it says, whatever it read or ran."""

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        try:
            output = tool.run(arguments, cancel)
        except ToolError as error:
            error.args = (mask(str(error)),)
            raise
        return output._replace(content=mask(output.content))

    return tool._replace(run=run)


def _noted(tool: Tool, seen: Seen) -> Tool:
    """`tool` whose details say which texts the model has seen by it, so that the journal knows."""

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        output = tool.run(arguments, cancel)
        news = seen.news()
        return output._replace(details={**output.details, "seen": news}) if news else output

    return tool._replace(run=run)
