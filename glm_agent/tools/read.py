"""The tool `read`: part of a file, or a directory's listing."""

from __future__ import annotations

import threading

from ..errors import ToolError
from ..paths import shown
from ..truncate import clip_line
from ..types import Arguments, Tool, ToolOutput
from ..workspace import MAX_ENTRIES, Entry, Workspace
from . import prompt
from .seen import Seen
from .spill import Spill, is_name

_BYTES = 16 * 1024
_FOOTER = 200  # bytes kept free for header and footer beside the path
_LINE = 2000  # characters
_LISTED = 200

_PARAMETERS = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "description": "relative to the repository root, or output:N"},
        "offset": {"type": "integer", "default": 1, "minimum": 0, "description": "first line"},
        "limit": {"type": "integer", "default": 400, "minimum": 1, "description": "lines"},
    },
    "required": ["path"],
}


def tool(workspace: Workspace, seen: Seen, spill: Spill) -> Tool:
    """`read`, which notes in `seen` what it showed."""
    mask = workspace.secrets.mask  # of the whole file: a private key has many lines

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        path, offset, limit = arguments["path"], max(1, arguments["offset"]), arguments["limit"]
        if is_name(path):
            return _page(path, mask(spill.text(path)), offset, limit, seen)
        path = workspace.locate(path)
        if workspace.kind(path) == "directory":
            return _listing(path, workspace.entries(path))
        text = workspace.read(path).text
        seen.note(path, text)
        return _page(path, mask(text), offset, limit, seen)

    return Tool("read", prompt("read"), _PARAMETERS, run, reads_only=True)


def _page(path: str, text: str, offset: int, limit: int, seen: Seen) -> ToolOutput:
    """Lines from `offset` on, as many as fit; a line where the same were shown before."""
    name = shown(path)
    if not text:
        return ToolOutput(f"{name} is empty", details=_details(path, 0, 0, 0))
    lines = text.removesuffix("\n").split("\n")
    if offset > len(lines):
        raise ToolError(f"{name} has {len(lines)} lines; offset={offset} is beyond its end")
    taken = _fit(lines[offset - 1 : offset - 1 + limit], _BYTES - _FOOTER - len(name.encode()))
    last = offset - 1 + len(taken)
    details = _details(path, offset, last, len(lines))
    if seen.repeated(path, text, (offset, limit)):
        return ToolOutput(f"unchanged since your read above ({name} lines {offset}-{last})", details=details)
    body = "\n".join([f"{name} (lines {offset}-{last} of {len(lines)})", *taken])
    rest = len(lines) - last
    footer = f"\n[{rest} more lines: offset={last + 1}]" if rest else ""
    return ToolOutput(body + footer, details=details)


def _fit(lines: list[str], budget: int) -> list[str]:
    """The first of `lines`, clipped, that have at most `budget` bytes; at least one."""
    taken: list[str] = []
    for line in lines:
        clipped = clip_line(line.removesuffix("\r"), _LINE)
        budget -= len(clipped.encode("utf-8", "surrogatepass")) + 1
        if budget < 0 and taken:
            break
        taken.append(clipped)
    return taken


def _listing(path: str, entries: list[Entry]) -> ToolOutput:
    name = shown(path)
    if not entries:
        return ToolOutput(f"{name}/ is an empty directory", details=_details(path, 0, 0, 0))
    marks = {"directory": "/", "link": " (link)", "other": " (no regular file)", "file": ""}
    names = _fit(
        [shown(entry.name) + marks[entry.kind] for entry in entries[:_LISTED]], _BYTES - _FOOTER - len(name)
    )
    rest = len(entries) - len(names)
    total = f"{'at least ' if len(entries) == MAX_ENTRIES else ''}{len(entries)} entries"
    footer = [f"[{rest} more entries: search with an empty pattern and a glob]"] if rest else []
    details = _details(path, 1, len(names), len(entries))
    return ToolOutput("\n".join([f"{name}/ ({total})", *names, *footer]), details=details)


def _details(path: str, first: int, last: int, total: int) -> dict[str, str | int]:
    return {"path": path, "first": first, "last": last, "total": total}
