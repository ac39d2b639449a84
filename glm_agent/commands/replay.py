"""`replay`: a recorded session once more, offline and without a key: where does it go another way now?"""

from __future__ import annotations

from pathlib import Path

from .. import config, outcome
from ..errors import UsageError
from ..git import find_root
from ..render.sanitize import clean
from ..replay import recording
from ..replay.recording import Recorded
from ..types import Json
from .plain import as_json, print_text
from .rerun import Verdict, rerun

_DIFFERS = outcome.decide(["error_during_execution"]).exit_code


def run(file: str, cd: str | None, as_data: bool) -> int:
    """The exit code: 1 if it goes another way, 2 if FILE is no recording that can be played."""
    found: list[Verdict] = []

    def text() -> str:
        folder = config.working_folder(cd)
        config.load({}, folder, find_root(folder))  # the user's own providers and models
        recorded = _read(file)
        found.append(verdict := _play(file, recorded))
        return as_json(_record(verdict, recorded)) if as_data else _told(verdict, recorded)

    code = print_text(text)
    return _DIFFERS if code == 0 and found[0].difference else code


def _read(file: str) -> Recorded:
    try:
        return recording.read(Path(file))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error


def _play(file: str, recorded: Recorded) -> Verdict:
    import tempfile  # 14 ms

    with tempfile.TemporaryDirectory(prefix="glm-agent-") as folder:
        try:
            return rerun(recorded, Path(folder))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            why = f"{type(error).__name__}: {error}"
            raise UsageError(f"{file}: cannot be played; it was edited, or is damaged ({why})") from error


def _told(verdict: Verdict, recorded: Recorded) -> str:
    said = f"{_count(verdict.requests, 'request')} and {_count(verdict.results, 'tool result')} replayed"
    if found := verdict.difference:
        head = f"request {verdict.request}: {found.part} is not as recorded"
        return "".join(clean(line) + "\n" for line in (head, *found.lines))
    early = f" ({verdict.early})" if verdict.early else ""
    return clean(f"no divergence: {said}{early}") + "\n"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _record(verdict: Verdict, recorded: Recorded) -> Json:
    found = verdict.difference
    return {
        "diverged": found is not None,
        "divergence": {"request": verdict.request, "part": found.part, "diff": found.lines}
        if found
        else None,
        "requests": verdict.requests,
        "tool_results": verdict.results,
        "recorded": {
            "version": str(recorded.start.get("version")),
            "session": str(recorded.start.get("session")),
            "command": str(recorded.start.get("command")),
            "outcome": recorded.end,
            "requests": len(recorded.asked),
        },
        "note": verdict.early or None,
    }
