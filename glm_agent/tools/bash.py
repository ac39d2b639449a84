"""The tool `bash`: any command, from the repository root, with an end."""

from __future__ import annotations

import threading

from .. import process
from ..errors import SandboxError, ToolError
from ..sandbox import Ran, Runner
from ..truncate import head_tail
from ..types import Arguments, Tool, ToolOutput
from . import prompt
from .spill import Spill

_PARAMETERS = {
    "type": "object",
    "properties": {
        "command": {"type": "string"},
        "timeout": {
            "type": "integer",
            "description": "seconds",
            "default": 120,
            "minimum": 1,
            "maximum": 600,
        },
    },
    "required": ["command"],
}


def tool(start: Runner, spill: Spill) -> Tool:
    """`bash`, by way of `start`; outputs that are too long for the model go to `spill`."""

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        command, timeout = arguments["command"], arguments.get("timeout", 120)
        if not command.strip():
            raise ToolError("the command is empty; give a shell command")
        try:
            ran = start(command, timeout, cancel)
        except SandboxError as error:
            raise ToolError(f"the command was not run: {error}") from error
        except (OSError, ValueError) as error:
            raise ToolError(f"the command cannot be started: {error}; put long input in a file") from error
        done = ran.done
        details = {"command": command, "exit_code": done.exit_code, "seconds": round(done.seconds, 1)}
        denied = [
            {"path": one.path, "reason": f"{one.what} after a command: it runs later"} for one in ran.undone
        ]
        details |= {"denied": denied} if denied else {}
        return ToolOutput(_shown(done, spill) + _footer(ran), done.exit_code is not None, details)

    return Tool("bash", prompt("bash"), _PARAMETERS, run, reads_only=False)


def _shown(done: process.Completed, spill: Spill) -> str:
    """What fits of the output, ending with a line break, and where the whole of it is."""
    text = done.output.decode("utf-8", "backslashreplace")
    shown = head_tail(text)
    end = "" if not shown or shown.endswith("\n") else "\n"
    return shown + end if shown == text else f"{shown}{end}{_kept(done, spill)}\n"


def _kept(done: process.Completed, spill: Spill) -> str:
    try:
        name = spill.save(done.output)
    except OSError as error:
        return f"[the whole output was not kept: {error.strerror}]"
    what = "the ends of the output are" if done.omitted else "the whole output is"
    return f"[{what} in {name}: read or search it]"


def _footer(ran: Ran) -> str:
    return "\n".join([_end(ran.done), *ran.notes()])


def _end(done: process.Completed) -> str:
    if done.cancelled:
        return f"[cancelled after {done.seconds:.1f}s]"
    if done.timed_out:
        return f"[killed after {done.seconds:.0f}s; raise timeout or run less]"
    return f"[exit={done.exit_code} time={done.seconds:.1f}s]"
