"""What a run changes: the tree at its start and the one after its work, without what others wrote between."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .. import patching
from ..errors import ToolError
from ..restore import restore
from ..snapshot import Snapshot
from ..tools.arguments import decode
from ..types import Event, Json, Notice, Said, Tool, ToolCall, ToolResult, ToolStarted, Verified
from ..workspace import Workspace

_MOST_CREATED = 100


class Tracking:
    """A sink that takes note of what tools write, and takes trees when it is told to.

    What the user's checks write is none of the run's: `begin` comes after the baseline, `end` before the
    checks that follow the work, and `disown` before more work.
    """

    def __init__(self, snapshot: Snapshot, workspace: Workspace, tool: Callable[[str], Tool | None]) -> None:
        self._snapshot = snapshot
        self._workspace = workspace
        self._tool = tool
        self._start: str | None = None  # tree
        self._end: str | None = None
        self._writes: dict[str, list[str]] = {}  # paths by call
        self._touched: set[str] = set()
        self._told: set[str] = set()
        self._known: set[str] | None = None  # what is there besides what trees have taken
        self._created: set[str] = set()

    def __call__(self, event: Event) -> None:
        """What the tools write counts even where git ignores it."""
        match event:
            case ToolStarted(call):
                found = self._writes[call.id] = list(self._paths(call))
                if self._start:
                    self._start = self._snapshot.complete(self._start, found)
            case Said(ToolResult(call_id=call_id, ok=True)):
                self._touched.update(self._writes.get(call_id, ()))
            case Verified() if self._known is not None:
                self._created |= self._snapshot.untracked() - self._known
            case _:
                pass

    def begin(self) -> Iterator[Notice]:
        self._start = self._taken()
        return self._problems()

    def resume(self) -> None:
        """Work goes on: if it is interrupted, the tree as it is then counts."""
        self._end = None

    def end(self) -> Iterator[Notice]:
        self._end = self._taken()
        return self._problems()

    def disown(self) -> None:
        """What was written since the last `end` was there before what follows."""
        if self._start and self._end:
            self._start = self._snapshot.carry(self._start, self._end, self._snapshot.take(self._touched))

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

    def watch(self) -> None:
        """From here on, what appears while checks run is what they create."""
        self._known = self._snapshot.untracked()

    def created(self) -> list[str]:
        """Some of the files that the checks created; what git ignores is not among them."""
        return sorted(self._created)[:_MOST_CREATED]

    def put_back(self) -> list[str]:
        """The files that the work changed are as they were at its start; what is not quite, in words.

        Raises RepositoryError, with all as it is, where that cannot be done.
        """
        if self._start is None or self._end is None:
            return []
        changed = self._snapshot.changes(self._start, self._end)
        paths = {row[name] for row in changed for name in ("path", "from") if name in row}
        now = self._snapshot.take({*self._touched, *paths})
        problems = restore(self._snapshot, self._snapshot.root, now, self._start, only=paths)
        self._end = self._start
        return problems

    def _taken(self) -> str:
        tree = self._snapshot.take(self._touched)
        if self._known is not None:
            self.watch()
        return tree

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
