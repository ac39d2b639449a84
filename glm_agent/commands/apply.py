"""`apply`: any patch, however sloppy, by the agent's own engine: all of it, or nothing and the reason."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .. import config, outcome, policy
from ..errors import AgentError, Cancelled, RepositoryError, ToolError, UsageError
from ..git import find_root
from ..lock import hold
from ..outcome import Outcome
from ..patching import PatchRefused
from ..paths import shown
from ..render import expendable, writer
from ..render.sanitize import clean
from ..secrets import Secrets
from ..text import decode
from ..tools import syntax
from ..tools.patch import Prepared, prepare
from ..types import Json
from ..workspace import Workspace
from . import mending, stores
from .plain import as_json, print_text
from .signals import Signals

_UNKNOWN = "latin-1"  # what bytes are read as that are no UTF-8
_CONVERT = "convert the patch to UTF-8, or send this file's part by itself"
_LIMIT = 16 * 1024 * 1024  # bytes of patch: beyond what the engine takes in any encoding
_FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class Asked(NamedTuple):
    """The command line; `source` None or "-" is stdin."""

    source: str | None
    cd: str | None = None
    check: bool = False
    reverse: bool = False
    as_data: bool = False


def run(asked: Asked) -> int:
    """The exit code; a patch that is refused is told on stderr, and with `as_data` on stdout as well."""
    signals = Signals()
    lines: list[str] = []
    changes: list[Json] = []
    problem, signum = None, None
    with signals.installed(None):
        try:
            prepared, lines = _apply(asked, signals)
            changes = prepared.details()
        except Cancelled as stop:
            problem, signum = AgentError("cancelled; nothing was changed"), stop.signum
        except AgentError as error:
            problem = error
        subtypes = [] if problem is None else [problem.subtype if signum is None else "error_cancelled"]
        return _tell(asked, outcome.decide(subtypes, signum), lines, changes, problem)


def _apply(asked: Asked, signals: Signals) -> tuple[Prepared, list[str]]:
    """What was done, and what is said of it. Raises AgentError."""
    patch, encoding = decode(_read(asked.source))
    folder = config.working_folder(asked.cd)
    # what the user asks for may change whatever the user may, but never what is git's own
    root = find_root(folder)
    stores.require_own(root)
    top = root or folder
    workspace = Workspace(top, Secrets(("*",)), lambda path: None, intents=stores.intents(top))
    lock = None if asked.check else hold(top, config.state_home())
    try:
        mended = [] if asked.check else mending.recover(top, alone=True)
        prepared = prepare(workspace, patch, asked.reverse)
        if encoding == _UNKNOWN:
            _refuse_letters(prepared)
        steps = prepared.steps()
        if asked.check or not steps:
            return prepared, [*mended, *prepared.lines()]
        signals.close()  # it is short, and what was done is said
        workspace.apply(steps)
    except ToolError as error:
        raise _refusal(error) from error
    finally:
        if lock:
            lock.release()
    notes = (syntax.check(*text) for text in prepared.texts())
    later = _run_later(prepared.details())
    told = [f"run later, by a build, a test or a hook: {', '.join(map(shown, later))}"] if later else []
    return prepared, [*mended, *prepared.lines(), *filter(None, notes), *told]


def _refuse_letters(prepared: Prepared) -> None:
    """Refuses new letters that a patch of unknown encoding would bring into a file of a known one."""
    for change in prepared.changes:
        file = prepared.files.get(change.path)
        if change.text is None or (file and file.encoding == _UNKNOWN):
            continue
        old = set(file.text.split("\n")) if file else set[str]()
        if not all(line.isascii() or line in old for line in change.text.split("\n")):
            raise PatchRefused("the patch is not UTF-8, but this file would be", change.path, None, _CONVERT)


def _run_later(changes: list[Json]) -> list[str]:
    """The files that are there then, and are run or obeyed by what else the user starts."""
    paths = [row["new_path"] or row["path"] for row in changes if row["kind"] not in ("delete", "same")]
    return [path for path in paths if policy.runs_later(path)]


def _read(source: str | None) -> bytes:
    if source in (None, "-"):
        if source is None and sys.stdin.isatty():
            raise UsageError("no patch: name its file, or - and give it on stdin")
        return _bounded(sys.stdin.buffer)
    try:
        with Path(source or "").open("rb") as file:
            return _bounded(file)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"the patch {source} cannot be read: {why}") from error


def _bounded(file: BinaryIO) -> bytes:
    data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise AgentError(f"the patch has more than {_LIMIT} bytes; apply it in parts")
    return data


def _refusal(error: ToolError) -> AgentError:
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in _FULL_OR_FORBIDDEN:
        return RepositoryError(str(error))
    return AgentError(f"patch refused, nothing was changed: {error}")


def _tell(
    asked: Asked, end: Outcome, lines: list[str], changes: list[Json], problem: AgentError | None
) -> int:
    if problem is not None:
        writer(expendable(sys.stderr))(clean(f"glm-agent: {problem}") + "\n")
    said = "".join(f"{'would be ' * asked.check}{clean(line)}\n" for line in lines)
    if asked.as_data:
        said = as_json(
            {
                "subtype": end.subtype,
                "is_error": end.is_error,
                "exit_code": end.exit_code,
                "written": problem is None and not asked.check,
                "changes": changes,
                "notes": lines,
                "runs_later": _run_later(changes),
                "errors": [str(problem)] if problem else [],
            }
        )
    return print_text(lambda: said) or end.exit_code
