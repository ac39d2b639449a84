"""What a run changes: the tree at its start and the one after its work, without what others wrote between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from .. import delivery, patching, restore, reversal, state
from ..delivery import Moved
from ..errors import ToolError
from ..journal import Session
from ..keeping import Keeper
from ..reversal import Reversal
from ..shape import mapping, string
from ..snapshot import Snapshot
from ..tools.arguments import decode
from ..types import Checking, Event, Json, Notice, Said, Tool, ToolCall, ToolResult, ToolStarted, Verified
from ..workspace import Workspace
from . import meanwhile
from .meanwhile import Left, Trees

_MOST_CREATED = 100


class Tracking:
    """A sink that takes note of what tools write, and takes trees when it is told to; `tree` is where.

    What the user's checks write is none of the run's: `begin` comes after the baseline, `end` before the
    checks that follow the work, and `disown` before more work. `keep` takes what `go_on` needs after an
    interruption, each time that it changes.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        keeper: Keeper,
        workspace: Workspace,
        tool: Callable[[str], Tool | None],
        remember: Callable[[Json], None] = lambda values: None,
    ) -> None:
        self.snapshot = snapshot
        self.tree = snapshot.root
        self._keeper = keeper
        self._workspace = workspace
        self._tool = tool
        self._remember = remember
        self._start: str | None = None  # tree
        self._end: str | None = None
        self._is_paused = False  # so that what is written now is none of the run's
        self._writes: dict[str, list[str]] = {}  # paths by call
        self._touched: set[str] = set()
        self._told: set[str] = set()
        self._known: set[str] | None = None  # what was there before the checks that run now
        self._created: set[str] = set()
        self._committed: Json = {}
        self.left = Left()  # of a session that goes on

    def __call__(self, event: Event) -> None:
        """What the tools write counts even where git ignores it."""
        match event:
            case ToolStarted(call):
                self._take(event)
                found = self._writes[call.id]
                if self._start and (whole := self.snapshot.complete(self._start, found)) != self._start:
                    self._begin_at(whole)
                    self._keeper.include(found)
                if found or call.name == "bash":
                    self._keeper.started(found, is_command=call.name == "bash")
            case Said(ToolResult(call_id=call_id, ok=ok)) if call_id in self._writes:
                self._take(event)
                self._keeper.ended(self._writes[call_id] if ok else [])
            case Checking() if self._known is None:
                self._known = self.snapshot.untracked()
            case Verified() if self._known is not None:
                self._created |= self.snapshot.untracked() - self._known
            case _:
                pass

    def _take(self, event: Event) -> None:
        match event:
            case ToolStarted(call):
                self._writes[call.id] = list(self._paths(call))
            case Said(ToolResult(call_id=call_id, ok=True)):
                self._touched.update(self._writes.get(call_id, ()))
            case _:
                pass

    def keep(self) -> None:
        """What there is now is what an undo brings back."""
        if not self._keeper.is_idle:
            self._keep(self.snapshot.take())

    def begin(self) -> Iterator[Notice]:
        tree = self.snapshot.take(self._touched)
        self._begin_at(tree)
        self._keep(tree)
        return self._problems()

    def go_on(self, session: Session, base: str) -> bool:
        """Whether work had begun; if so, it goes on, and what has been written since is none of the run's.

        In a new copy `base` is what counts as its start.
        """
        start = mapping(session.kept.get("start"))
        if not (tree := string(start.get("tree"))):
            return False
        self._start, self._is_paused = tree, "paused" in session.kept
        self.snapshot.go_on(start)
        for event in session.events:
            self._take(event)
        if base:
            self._begin_at(base)
        else:
            self._committed = mapping(session.kept.get("committed"))
        ended = self._keeper.go_on()
        if record := self._keeper.record:
            now = self.snapshot.take(self._touched)
            end = string(session.kept.get("paused")) or (ended and ended.tree)
            self.left = left = meanwhile.find(self.snapshot, record, session, Trees(tree, end, now))
            self._begin_at(self.snapshot.carry(tree, left.tree, now))
            self._keeper.adopt(ended or meanwhile.state_left(self.snapshot, record, left, now), now)
        return True

    def resume(self) -> None:
        """Work goes on: if it is interrupted, the tree as it is then counts."""
        if self._is_paused:
            self._remember({"paused": None})
        self._is_paused = False
        self._end = self._known = None

    def end(self) -> Iterator[Notice]:
        self._end = self.snapshot.take(self._touched)
        self._remember({"paused": self._end})
        self._is_paused = True
        return self._problems()

    def disown(self) -> None:
        """What was written since the last `end` was there before what follows."""
        if self._start and self._end:
            now = self.snapshot.take(self._touched)
            self._begin_at(self.snapshot.carry(self._start, self._end, now))

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

    def committed(self, commit: str) -> None:
        """All that has changed is in that commit now: so is it for a session that goes on."""
        self._remember({"committed": {"id": commit, "start": self._start, "end": self._end}})

    def to_commit(self) -> list[Moved]:
        """The changes, without what an earlier run of the session has committed and HEAD still holds."""
        rows, made = self.moved(), self._committed
        if not made or not delivery.is_part(self.tree, string(made.get("id"))):
            return rows
        done = delivery.moved(self.snapshot, string(made.get("start")), string(made.get("end")))
        return delivery.remaining(rows, done)

    def created(self) -> list[str]:
        """Some of the files that the checks created; what git ignores is not among them."""
        return sorted(self._created)[:_MOST_CREATED]

    def _keep(self, tree: str) -> None:
        if self._keeper.record is None:
            self._keeper.begin(tree)

    def settle(self) -> None:
        """The session writes no more: what there is now is what it left."""
        if self._start is not None:
            self._keeper.end(self.snapshot.take(self._touched), self._touched)

    def put_back(self, records: Path) -> list[str]:
        """The tree as it was before the work, with what the user's checks wrote; what could not be put back.

        It is on record in the folder `records` until that is done. Raises RepositoryError, with nothing put
        back, where a file has been changed meanwhile.
        """
        record = self._keeper.record
        if record is None or self._start is None or self._end is None:
            return []
        changed = self.snapshot.differing(self._start, self._end)
        files = self.snapshot.carry(record.start.files, record.start.tree, self._start)
        now = state.take(self.snapshot, self.snapshot.take(self._touched))
        wanted = record.start._replace(files=files)
        # permission bits that no tree tells of: whoever changed them
        changed |= {step.path for step in restore.plan(self.snapshot, now, wanted) if not step.is_content}
        store, memory = self.snapshot.folder, self.snapshot.memory()
        plan = Reversal(store, now, wanted, sorted(changed), store, memory, sorted(self._touched))
        problems = reversal.carry_out(plan, self.snapshot, records, self.settle)
        self._end = self._start
        return problems

    def _begin_at(self, tree: str) -> None:
        if tree != self._start:
            self._start = tree
            self._remember({"start": {"tree": tree, **self.snapshot.memory()}, "paused": None})

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
