"""What a run changes: the tree at its start and the one after its work, without what others wrote between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .. import patching
from ..errors import ToolError
from ..shape import mapping, string
from ..snapshot import Snapshot
from ..tools.arguments import decode
from ..types import Event, Json, Notice, Said, Tool, ToolCall, ToolResult, ToolStarted
from ..workspace import Workspace


class Tracking:
    """A sink that takes note of what tools write, and takes trees when it is told to.

    What the user's checks write is none of the run's: `begin` comes after the baseline, `end` before the
    checks that follow the work, and `disown` before more work. `keep` takes what `go_on` needs after an
    interruption, each time that it changes.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        workspace: Workspace,
        tool: Callable[[str], Tool | None],
        keep: Callable[[Json], None] = lambda values: None,
    ) -> None:
        self._snapshot = snapshot
        self._workspace = workspace
        self._tool = tool
        self._keep = keep
        self._start: str | None = None  # tree
        self._end: str | None = None
        self._writes: dict[str, list[str]] = {}  # paths by call
        self._touched: set[str] = set()
        self._told: set[str] = set()

    def __call__(self, event: Event) -> None:
        """What the tools write counts even where git ignores it."""
        match event:
            case ToolStarted(call):
                self._take(event)
                if self._start:
                    self._begin_at(self._snapshot.complete(self._start, self._writes[call.id]))
            case _:
                self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case ToolStarted(call):
                self._writes[call.id] = list(self._paths(call))
            case Said(ToolResult(call_id=call_id, ok=True)):
                self._touched.update(self._writes.get(call_id, ()))
            case _:
                pass

    def begin(self) -> Iterator[Notice]:
        self._begin_at(self._snapshot.take())
        return self._problems()

    def go_on(self, kept: Json, events: Iterable[Event]) -> bool:
        """Whether work had begun; if so, it goes on with what was `kept` last, after `events`."""
        tree = string(mapping(kept.get("start")).get("tree"))
        if not tree:
            return False
        self._start = tree
        self._snapshot.go_on(mapping(kept["start"]))
        for event in events:
            self._take(event)
        return True

    def resume(self) -> None:
        """Work goes on: if it is interrupted, the tree as it is then counts."""
        self._end = None

    def end(self) -> Iterator[Notice]:
        self._end = self._snapshot.take(self._touched)
        return self._problems()

    def disown(self) -> None:
        """What was written since the last `end` was there before what follows."""
        if self._start and self._end:
            now = self._snapshot.take(self._touched)
            self._begin_at(self._snapshot.carry(self._start, self._end, now))

    def has_changes(self) -> bool:
        """Whether the work changed anything, be it where no diff can tell."""
        return self._end is not None and (
            self._end != self._start or any(map(self._snapshot.is_elsewhere, self._touched))
        )

    def collect(self) -> tuple[list[Json], bytes, Iterator[Notice]]:
        """The changes as rows and as a patch, of all work; of the tree as it is now if it was interrupted."""
        if self._start is None:
            return [], b"", iter(())
        notices = self.end() if self._end is None else iter(())
        end = self._end or self._start
        changes = self._snapshot.changes(self._start, end)
        return changes, self._snapshot.diff(self._start, end), notices

    def _begin_at(self, tree: str) -> None:
        if tree != self._start:
            self._start = tree
            self._keep({"start": {"tree": tree, **self._snapshot.memory()}})

    def _problems(self) -> Iterator[Notice]:
        """What the last tree is without, each said once."""
        new = [problem for problem in self._snapshot.problems if problem not in self._told]
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
