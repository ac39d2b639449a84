"""A command from its flags to its exit code: whatever happens, every view gets exactly one result, last."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .. import config, outcome
from ..budget import Budget
from ..dialects import providers
from ..errors import AgentError, Cancelled
from ..failpoints import failpoint
from ..git import find_root
from ..redact import Redactor
from ..render import View, Wanted, choose, discard, expendable, writer
from ..render.sanitize import clean
from ..settings import Settings
from ..types import Event, Finished, Json, Memo, Started
from . import artefacts, stores
from .notes import Notes, can_ask
from .signals import TIME_IS_UP, Signals
from .tally import Tally

if TYPE_CHECKING:
    from ..replica import Replica
    from ..sandbox import Fence
    from .reserve import Reserve

Sink = Callable[[Event], None]


class Stage:
    """What every run has: settings, where it runs, who watches, what it adds up to.

    `first` are sinks that take an event before the views do; `endings` run once, before the result is made,
    `closers` at the very end.
    """

    def __init__(self, settings: Settings, folder: Path, root: Path | None) -> None:
        self.settings = settings
        self.folder = folder
        self.root = root
        self.tally = Tally()
        self.budget = Budget(self.tally.ledger, self.tally.started)
        self.signals = Signals()
        self.notes = Notes()
        self.cancel = threading.Event()  # set when whatever runs must end
        self.redact = Redactor(_keys(settings.environment))
        self.views = _views(settings, self.redact)
        self.first: list[Sink] = []
        self.endings: list[Callable[[], None]] = []
        self.closers: list[Callable[[], None]] = []
        self.reserve: Reserve | None = None
        self.replica: Replica | None = None
        self.fence: Fence | None = None
        self._has_begun = False

    @property
    def tree(self) -> Path:
        """Where the run's files are: the repository's root, unless it works in a private copy."""
        return self.replica.tree if self.replica else self.top

    @property
    def top(self) -> Path:
        """The repository's root, or the folder itself outside of one."""
        return self.root or self.folder

    def play(self, events: Generator[Event]) -> None:
        """Each event to every sink before the next is made: the journal has it before anything acts."""
        with closing(events):
            for event in events:
                if isinstance(event, Started):
                    self._begin()
                self.show(event)

    def show(self, event: Event) -> None:
        with self.signals.deferred():
            failpoint("event")
            for sink in (*self.first, self.tally, *self.views):
                sink(event)
            failpoint("seen")

    def keep(self, values: Json) -> None:
        """For the session to go on with, if it is interrupted."""
        self.show(Memo(values))

    def finish(self) -> int:
        """The exit code, once the result is made and shown."""
        if not self._has_begun:
            self.guard(self._refuse)
        while self.endings:
            self.guard(self.endings.pop(0))
        self.signals.close()
        failed = len(self.tally.subtypes)
        self.guard(self._report)
        finished = self._made()
        for view in reversed(self.views):  # the machine's last: what is in its result holds
            try:
                view(finished)
            except AgentError as error:
                self._complain(error)
                self.tally.fail(error)
                finished = self._made()
            except BrokenPipeError:
                raise  # conduct's
            except Exception as error:  # noqa: BLE001 - how the result looks does not change what it is
                self._complain(f"internal error: {type(error).__name__}: {error}")
                if view is self.views[0] and self.settings.output_format != "text":
                    self._crashed(error)  # but there is none
                    finished = self._made()
        if len(self.tally.subtypes) > failed:
            self.guard(self._report)  # it is not what it was
        self._summarise(finished)
        return finished.result.exit_code

    def abandon(self) -> int:
        """The exit code when the reader of stdout is gone: the same end, with nobody to tell."""
        discard(sys.stdout)
        self.views = []
        self.tally.signum = signal.SIGPIPE
        self.tally.note("error_cancelled", "stdout was closed by its reader")
        self.finish()
        return outcome.STDOUT_CLOSED

    def close(self) -> None:
        for closer in (*(view.close for view in self.views), *self.closers):
            with suppress(OSError):
                closer()

    def _begin(self) -> None:
        """The files that the run will write do not show what an earlier one wrote."""
        self._has_begun = True
        if can_ask():
            self.signals.offer = lambda: self.notes.ask(self._pause)
        artefacts.empty(self.settings)

    def _pause(self) -> None:
        """The terminal is somebody else's until the next event."""
        for view in self.views:
            with suppress(OSError):
                view.close()

    def _refuse(self) -> None:
        """A command that made no sense leaves all files alone; any other is a run that wrote nothing."""
        if "error_usage" in self.tally.subtypes:
            self.endings.clear()
        else:
            artefacts.empty(self.settings)

    def _made(self) -> Finished:
        finished = self.tally.finish()
        for sink in self.first:
            with suppress(AgentError):  # a full disk has been reported already
                sink(finished)
        return finished

    def _report(self) -> None:
        if "error_usage" not in self.tally.subtypes:
            artefacts.report(self.settings.report, self.tally.finish().result, self.redact)

    def _summarise(self, finished: Finished) -> None:
        try:
            artefacts.summarise(finished.result, self.redact)
        except AgentError as error:
            self._complain(error)

    def _complain(self, problem: object) -> None:
        writer(expendable(sys.stderr))(self.redact(clean(f"glm-agent: {problem}")) + "\n")

    def guard(self, work: Callable[[], None]) -> None:
        """Runs `work`; an error becomes part of the result."""
        try:
            work()
        except Cancelled as cancelled:
            self._cancelled(cancelled.signum)
        except KeyboardInterrupt:
            self._cancelled(signal.SIGINT)
        except BrokenPipeError:
            raise  # conduct's
        except AgentError as error:
            self.tally.fail(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours still ends in a result, not in a traceback
            if cancelled := _cancelled_in(error):
                self._cancelled(cancelled.signum)
            else:
                self._crashed(error)

    def _cancelled(self, signum: int) -> None:
        if signum == TIME_IS_UP:
            limit = self.settings.max_wall_time or 0
            self.tally.note("error_max_budget", f"stopped after {limit:g} s; --max-wall-time raises the cap")
            return
        self.tally.signum = signum
        self.tally.note("error_cancelled", f"cancelled by {signal.Signals(signum).name}")

    def _crashed(self, error: Exception) -> None:
        hint = "run again with --debug-file FILE for the details"
        if file := self.settings.debug_file:
            import traceback

            with suppress(OSError):
                text = self.redact("".join(traceback.format_exception(error)))
                Path(file).write_text(text, encoding="utf-8", errors="backslashreplace")
                hint = f"details are in {file}"
        self.tally.note("error_during_execution", f"internal error: {type(error).__name__}: {error}; {hint}")


def conduct(
    flags: Mapping[str, object],
    events_of: Callable[[Stage], Generator[Event]],
    start: Mapping[str, str] | None = None,
    implied: Callable[[Settings], Settings] = lambda settings: settings,
) -> int:
    """The exit code of the command whose events `events_of` yields; `start` replaces the environment.

    `implied` adds what the command takes its settings to mean.
    """
    given = {name: value for name, value in flags.items() if name != "cd"}
    problem: Exception | None = None
    root: Path | None = None
    folder = Path()
    try:
        folder = config.working_folder(flags.get("cd"), start)
        root = find_root(folder)
        stores.require_own(root)
        settings = config.load(given, folder, root, start)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told in a result
        problem = error
        settings = config.fallback(given, start)
    stage = Stage(implied(settings), folder, root)
    with stage.signals.installed(settings.max_wall_time):
        try:
            stage.guard(lambda: _perform(stage, problem, events_of))
            return stage.finish()
        except BrokenPipeError:
            return stage.abandon()
        finally:
            stage.close()


def _cancelled_in(error: BaseException | None) -> Cancelled | None:
    """The signal behind an error: one that comes inside a lock of the library's breaks the lock as well."""
    while error is not None and not isinstance(error, Cancelled):
        error = error.__context__
    return error


def _perform(stage: Stage, problem: Exception | None, events_of: Callable[[Stage], Generator[Event]]) -> None:
    if problem:
        raise problem
    stage.play(events_of(stage))


def _views(settings: Settings, redact: Redactor) -> list[View]:
    level = -1 if settings.quiet else 1 if settings.verbose else 0
    wanted = Wanted(settings.output_format, settings.include_partial_messages, level, settings.color)
    # with --patch -, stdout is the patch, and the answer goes where everything else goes
    out = sys.stderr if settings.patch == "-" and settings.output_format == "text" else sys.stdout
    return choose(wanted, out, sys.stderr, environ=config.environment(), redact=redact)


def _keys(environment: Mapping[str, str]) -> list[str]:
    names = {name for row in providers().values() for name in row.key_env} | {config.KEY}
    # a word of our own format is no secret, and a line without it would be no line of that format
    ours = (Path(__file__).parents[1] / "schemas" / "events.json").read_text("utf-8")
    return [key for name in names if (key := environment.get(name, "").strip()) and key not in ours]
