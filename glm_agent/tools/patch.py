"""The tool `patch`: a unified diff over any number of files, whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..errors import ToolError
from ..patching import NO_FILE, FileChange, PatchRefused, paths, plan
from ..paths import shown
from ..text import encode
from ..types import Arguments, Json, Tool, ToolOutput
from ..workspace import Change, TextFile, Workspace, text_change
from . import prompt, syntax
from .seen import Seen

_PARAMETERS = {"type": "object", "properties": {"patch": {"type": "string"}}, "required": ["patch"]}
_VERBS = {"create": "created", "update": "updated", "delete": "deleted", "rename": "renamed"}
_SHOWN = 20  # hunks whose lines are named


def tool(workspace: Workspace, seen: Seen) -> Tool:
    """`patch`, which notes in `seen` what the files hold then."""

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        try:
            return _run(workspace, seen, arguments["patch"])
        except ToolError as error:
            raise ToolError(f"patch refused, nothing was changed: {error}") from error

    return Tool("patch", prompt("patch"), _PARAMETERS, run, reads_only=False)


class Prepared(NamedTuple):
    """A plan, with the place in the workspace of every name in it, and the files that exist."""

    changes: list[FileChange]
    places: dict[str, str]
    files: dict[str, TextFile]

    def steps(self) -> list[Change]:
        return _joined([step for change in self.changes for step in _steps(change, self.places, self.files)])

    def lines(self) -> list[str]:
        """What is said of each file."""
        return [_line(change, self.places) for change in self.changes]

    def details(self) -> list[Json]:
        return [_details(change, self.places) for change in self.changes]

    def texts(self) -> Iterator[tuple[str, str | None, str]]:
        """(place, text before or None, text after) of each file that there is then."""
        for change in self.changes:
            if change.text is not None:
                file = self.files.get(change.path)
                yield self.places[change.new_path or change.path], file.text if file else None, change.text


def prepare(workspace: Workspace, patch: str, reverse: bool = False) -> Prepared:
    """What `patch` (or taking it back) does to the files of `workspace`. Raises ToolError."""
    places = {name: workspace.locate(name) for name in paths(patch)}
    files = {name: workspace.read(place) for name, place in places.items() if workspace.kind(place) == "file"}
    try:
        planned = plan(patch, {name: file.text for name, file in files.items()}, reverse)
    except PatchRefused as refusal:
        if refusal.reason == NO_FILE:
            workspace.read(places[refusal.path])  # says which names are near
        raise
    return Prepared(planned, places, files)


def _run(workspace: Workspace, seen: Seen, patch: str) -> ToolOutput:
    prepared = prepare(workspace, patch)
    workspace.apply(prepared.steps())
    notes: list[str] = []
    for place, before, after in prepared.texts():
        seen.note(place, after)
        notes.append(syntax.check(place, before, after))
    report = "\n".join(filter(None, [*prepared.lines(), *notes]))
    return ToolOutput(report, details={"changes": prepared.details()})


def _steps(change: FileChange, places: Mapping[str, str], files: Mapping[str, TextFile]) -> list[Change]:
    """What the workspace is to do for one file of the plan; a rename is a new file and one less."""
    if change.kind == "same":
        return []
    if change.kind == "create":
        original = files.get(change.source, TextFile("", "", "utf-8", 0, 0))
        step = text_change(original, change.text or "")._replace(path=places[change.path], expect=None)
        return [step._replace(mode=_mode(original.mode, change.mode) if change.source else change.mode)]
    file = files[change.path]
    gone = Change(file.path, None, expect=encode(file.text, file.encoding))
    if change.text is None:
        return [gone]
    mode = _mode(file.mode, change.mode)
    step = text_change(file, change.text)._replace(mode=mode)
    if change.new_path is None:
        return [step]
    return [step._replace(path=places[change.new_path], expect=None), gone]


def _joined(steps: Sequence[Change]) -> list[Change]:
    """The steps, where a file takes the place of one that goes, as one step for both."""
    gone = {step.path: step.expect for step in steps if step.content is None}
    new = {step.path for step in steps if step.content is not None and step.expect is None}
    return [
        step._replace(expect=gone.get(step.path)) if step.path in new else step
        for step in steps
        if step.content is not None or step.path not in new
    ]


def _mode(present: int, wanted: int | None) -> int:
    """`present` with or without the right to execute, for whoever may read."""
    if wanted is None:
        return present
    return present | (present & 0o444) >> 2 if wanted & 0o100 else present & ~0o111


def _line(change: FileChange, places: Mapping[str, str]) -> str:
    name = shown(places[change.path])
    if change.kind == "same":
        return f"{name} has all of it already: nothing was changed, go on"
    if change.new_path is not None:
        name += f" to {shown(places[change.new_path])}"
    line = f"{_VERBS[change.kind]} {name} +{change.added} -{change.removed}"
    if change.mode is not None:
        line += f", mode {change.mode:o}"
    at = [str(hunk.line) for hunk in change.hunks]
    if at:
        more = ", …" if len(at) > _SHOWN else ""
        line += f", hunk{'s' * (len(at) > 1)} at line {', '.join(at[:_SHOWN])}{more}"
    if loose := sorted({hunk.tolerance for hunk in change.hunks if hunk.tolerance}):
        line += f" (matched ignoring {', '.join(loose)})"
    return line


def _details(change: FileChange, places: Mapping[str, str]) -> Json:
    new_path = places[change.new_path] if change.new_path else None
    return {
        "path": places[change.path],
        "kind": change.kind,
        "new_path": new_path,
        "added": change.added,
        "removed": change.removed,
    }
