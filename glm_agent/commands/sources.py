"""The places in files that an answer cites: checked, sent back once, and listed in the result."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import cast

from .. import citations
from ..citations import Checked, Citation, Status
from ..errors import AgentError, ToolError
from ..types import Event, Notice, Stopped
from ..workspace import Workspace
from .conduct import Stage
from .session import Session, work

_MOST = 100  # citations that are checked
_NAMED = 5
_WHY: dict[Status, str] = {
    "no_such_file": "there is no such file",
    "no_such_line": "the file has no such line",
    "unreadable": "the file cannot be read",
}
_AGAIN = (
    "These places that your answer cites do not hold:\n{}\n"
    "Look again with the tools, then give your whole answer once more, with paths relative to the root and "
    "line numbers that you have seen. Leave out what you cannot support."
)


def check(stage: Stage, session: Session) -> Generator[Event]:
    """The finished answer's citations into the result; what does not hold goes back to the model once.

    The first answer stands if the model cannot give another that is as good.
    """
    sources = _Sources(stage, session)
    stage.endings.append(sources.record)  # after the answer is taken, however the run ends
    if sources.is_answered and (wrong := _unverified(sources.checked())):
        yield from sources.send_back(_AGAIN.format("\n".join(map(_line, wrong))))
    if wrong := _unverified(sources.checked()):
        names = ", ".join(f"{one.citation} ({_WHY[one.status]})" for one in wrong[:_NAMED])
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        notice = f"not verified: {names}{more}"
        stage.tally.notices.append(notice)
        yield Notice(notice)


class _Sources:
    def __init__(self, stage: Stage, session: Session) -> None:
        self._stage = stage
        self._session = session

    @property
    def is_answered(self) -> bool:
        answer = self._session.answer
        return self._stage.tally.is_done and (answer is None or answer.found)

    def checked(self) -> list[Checked]:
        workspace = self._session.workspace
        found = (_relative(workspace, citation) for citation in citations.find(self._text())[:_MOST])
        return citations.check(list(dict.fromkeys(found)), lambda path: _lines(workspace, path))

    def record(self) -> None:
        self._stage.tally.citations = [
            {"path": path, "line": line, "end_line": end, "status": status}
            for (path, line, end, _), status in self.checked()
        ]

    def send_back(self, prompt: str) -> Generator[Event]:
        """Another round, whose failure is none of the run's."""
        tally, answer = self._stage.tally, self._session.answer
        first, value = tally.answer, answer and answer.value
        problem = "a cap was reached"
        try:
            for event in work(self._stage, self._session, prompt):
                if not isinstance(event, Stopped) or event.reason == "done":
                    yield event
        except AgentError as error:
            problem = str(error)
        finally:
            problem = answer.complaint if answer and tally.is_done else problem
            if has_failed := not self.is_answered:
                tally.answer, tally.is_done = first, True
                if answer:
                    answer.value, answer.found = value, True
        if has_failed:
            yield Notice(f"the answer was not looked at again: {problem}")

    def _text(self) -> str:
        answer = self._session.answer
        if answer and answer.found:
            return "\n".join(_strings(answer.value))
        return self._stage.tally.answer


def _unverified(checked: list[Checked]) -> list[Checked]:
    return [one for one in checked if one.status != "verified"]


def _line(one: Checked) -> str:
    return f"- {one.citation}: {_WHY[one.status]}"


def _relative(workspace: Workspace, citation: Citation) -> Citation:
    """With its path as every other is written; one that leads elsewhere stays as it is."""
    try:
        return citation._replace(path=workspace.locate(citation.path))
    except ToolError:
        return citation


def _lines(workspace: Workspace, path: str) -> int | Status:
    try:
        workspace.locate(path)
    except ToolError:
        return "no_such_file"  # among those that can be cited
    try:
        if workspace.kind(path) != "file":
            return "no_such_file"
        text = workspace.read(path).text
    except ToolError:  # secret, binary, huge
        return "unreadable"
    return text.count("\n") + (not text.endswith("\n") and text != "")


def _strings(value: object) -> Iterator[str]:
    """The texts in a value of JSON, without recursion: it may be nested deep."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            todo += reversed(cast("list[object]", value))
        elif isinstance(value, dict):
            todo += reversed(list(cast("dict[str, object]", value).values()))
