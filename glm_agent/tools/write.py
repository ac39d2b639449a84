"""The tool `write`: a whole file, new or in place of one that was read."""

from __future__ import annotations

import threading

from ..errors import ToolError
from ..paths import shown
from ..text import encode
from ..types import Arguments, Tool, ToolOutput
from ..workspace import Change, TextFile, Workspace, text_change
from . import prompt, syntax
from .seen import Seen

_PARAMETERS = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
    "required": ["path", "content"],
}


def tool(workspace: Workspace, seen: Seen) -> Tool:
    """`write`, which replaces only what `seen` knows, as it knows it."""

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        path, content = workspace.locate(arguments["path"]), arguments["content"]
        old = _old(workspace, seen, path)
        change = text_change(old, content) if old else Change(path, encode(content, "utf-8"))
        workspace.apply([change])
        seen.note(path, content)
        note = syntax.check(path, old.text if old else None, content)
        return _report(path, content, len(change.content or b""), old is None, note)

    return Tool("write", prompt("write"), _PARAMETERS, run, reads_only=False)


def _old(workspace: Workspace, seen: Seen, path: str) -> TextFile | None:
    """The file to be replaced, if there is one; refused unless the model knows what it replaces."""
    kind = workspace.kind(path)
    if kind == "missing":
        return None
    if kind == "directory":
        raise ToolError(f"{shown(path)} is a directory; write to a file in it")
    if not seen.knows(path):
        raise ToolError(
            f"{shown(path)} exists already; read it first, or change parts of it with edit or patch"
        )
    old = workspace.read(path)
    if not seen.unchanged(path, old.text):
        raise ToolError(f"{shown(path)} changed on disk since it was read; read it again")
    return old


def _report(path: str, content: str, size: int, created: bool, note: str) -> ToolOutput:
    verb = "created" if created else "updated"
    lines = content.count("\n") + (bool(content) and not content.endswith("\n"))
    text = f"{verb} {shown(path)} ({lines} lines, {size} bytes)"
    details = {"path": path, "kind": "create" if created else "update", "lines": lines, "bytes": size}
    return ToolOutput(f"{text}\n{note}" if note else text, details=details)
