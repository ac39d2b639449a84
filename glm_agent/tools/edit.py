"""The tool `edit`: one piece of text in one file replaced by another."""

from __future__ import annotations

import threading

from ..errors import ToolError
from ..patching import PatchRefused, edit
from ..paths import shown
from ..secrets import marks
from ..truncate import clip_line
from ..types import Arguments, Tool, ToolOutput
from ..workspace import Workspace, text_change
from . import prompt, syntax
from .seen import Seen

_SHOWN = 10  # changed lines
_WIDTH = 160  # characters of one

_PARAMETERS = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "old": {"type": "string"},
        "new": {"type": "string"},
        "replace_all": {"type": "boolean", "default": False},
    },
    "required": ["path", "old", "new"],
}


def tool(workspace: Workspace, seen: Seen) -> Tool:
    """`edit`, which notes in `seen` what the file holds then."""

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        try:
            return _run(workspace, seen, arguments)
        except ToolError as error:
            raise ToolError(f"edit refused, nothing was changed: {error}") from error

    return Tool("edit", prompt("edit"), _PARAMETERS, run, reads_only=False)


def _run(workspace: Workspace, seen: Seen, arguments: Arguments) -> ToolOutput:
    file = workspace.read(arguments["path"])
    try:
        old, new = arguments["old"], arguments["new"]
        edited = edit(file.text, old, new, arguments["replace_all"], file.path)
    except PatchRefused as refusal:
        if marks(arguments["old"]):
            raise ToolError(
                f"{shown(file.path)}: [secret: …] in `old` stands for a value that you were not shown; "
                "leave that line out of `old` and of `new`"
            ) from None
        raise PatchRefused(refusal.reason, file.path, None, refusal.hint) from None
    workspace.apply([text_change(file, edited.text)])
    seen.note(file.path, edited.text)
    first, removed, added = _difference(file.text, edited.text)
    report = [f"edited {shown(file.path)} at line {first + 1}: +{len(added)} -{removed} lines"]
    if edited.places > 1:
        report[0] += f" in {edited.places} places"
    if edited.tolerance:
        report[0] += f" (matched ignoring {edited.tolerance})"
    report += [f"{first + 1 + at}: {clip_line(line, _WIDTH)}" for at, line in enumerate(added[:_SHOWN])]
    if len(added) > _SHOWN:
        report.append(f"[{len(added) - _SHOWN} more lines]")
    report.append(syntax.check(file.path, file.text, edited.text))
    details = {"path": file.path, "kind": "update", "added": len(added), "removed": removed}
    return ToolOutput("\n".join(filter(None, report)), details=details)


def _difference(before: str, after: str) -> tuple[int, int, list[str]]:
    """The first line that differs (from 0), the number of lines gone there, and those there now."""
    old, new = before.split("\n"), after.split("\n")
    shorter = min(len(old), len(new))
    first = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    room = shorter - first
    same = next((at for at in range(room) if old[-1 - at] != new[-1 - at]), room)
    return first, len(old) - first - same, [line.removesuffix("\r") for line in new[first : len(new) - same]]
