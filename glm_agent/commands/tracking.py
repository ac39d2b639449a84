"""What a run changes: the tree at its start and the one after its work, without what others wrote between."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .. import delivery, patching
from ..delivery import Moved
from ..errors import ToolError
from ..snapshot import Snapshot
from ..tools.arguments import decode
from ..types import Event, Json, Notice, Said, Tool, ToolCall, ToolResult, ToolStarted
from ..workspace import Workspace


class Tracking:
    """A sink that takes note of what tools write, and takes trees when it is told to; `tree` is where.

    What the user's checks write is none of the run's: `begin` comes after the baseline, `end` before the
    checks that follow the work, and `disown` before more work.
    """

    def __init__(self, snapshot: Snapshot, workspace: Workspace, tool: Callable[[str], Tool | None]) -> None:
        self.snapshot = snapshot
        self.tree = snapshot.root
        self._workspace = workspace
        self._tool = tool
        self._start: str | None = None  # tree
        self._end: str | None = None
        self._writes: dict[str, list[str]] = {}  # paths by call
        self._touched: set[str] = set()
        self._told: set[str] = set()

    def __call__(self, event: Event) -> None:
        """What the tools write counts even where git ignores it."""
        match event:
            case ToolStarted(call):
                found = self._writes[call.id] = list(self._paths(call))
                if self._start:
                    self._start = self.snapshot.complete(self._start, found)
            case Said(ToolResult(call_id=call_id, ok=True)):
                self._touched.update(self._writes.get(call_id, ()))
            case _:
                pass

    def begin(self) -> Iterator[Notice]:
        self._start = self.snapshot.take()
        return self._problems()

    def resume(self) -> None:
        """Work goes on: if it is interrupted, the tree as it is then counts."""
        self._end = None

    def end(self) -> Iterator[Notice]:
        self._end = self.snapshot.take(self._touched)
        return self._problems()

    def disown(self) -> None:
        """What was written since the last `end` was there before what follows."""
        if self._start and self._end:
            self._start = self.snapshot.carry(self._start, self._end, self.snapshot.take(self._touched))

    def has_changes(self) -> bool:
        """Whether the work changed anything, be it where no diff can tell."""
        return self._end is not None and (
            self._end != self._start or any(map(self.snapshot.is_elsewhere, self._touched))
        )

    def collect(self) -> tuple[list[Json], bytes, Iterator[Notice]]:
        """The changes as rows and as a patch, of all work; of the tree as it is now if it was interrupted."""
        if self._start is None:
            return [], b"", iter(())
        notices = self.end() if self._end is None else iter(())
        end = self._end or self._start
        changes = self.snapshot.changes(self._start, end)
        return changes, self.snapshot.diff(self._start, end), notices

    def moved(self) -> list[Moved]:
        """The same changes, path by path, with the blobs that `snapshot` keeps."""
        end = self._end or self._start
        return delivery.moved(self.snapshot, self._start, end) if self._start and end else []

    def _problems(self) -> Iterator[Notice]:
        """What the last tree is without, each said once."""
        new = [problem for problem in self.snapshot.problems if problem not in self._told]
        self._told.update(new)
        return map(Notice, new)

    def _paths(self, call: ToolCall) -> Iterator[str]:
        """What a call may write, relative to the root, as far as it says so."""
        tool = self._tool(call.name)
        if tool is None or tool.reads_only:
            return
        try:
            arguments = decode(tool, call.arguments)
            named = patching.paths(arguments["patch"]) if tool.name == "patch" else [arguments.get("path")]
            for name in filter(None, named):
                yield self._workspace.locate(name)
        except ToolError:  # the tool will say so
            return
