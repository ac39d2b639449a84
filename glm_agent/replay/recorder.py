"""Writes a recording while the run goes on: each line is out before the next thing happens."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, cast

from .. import sse
from ..errors import AgentError, UsageError
from ..failpoints import failpoint
from ..model import read_turn
from ..retry import Failure
from ..types import Assistant, Event, Finished, Json, Message, Said, ToolResult, User
from .recording import VERSION, Chain, scrub

_HEADERS = (
    *("content-type", "date", "x-request-id"),
    *("retry-after", "retry-after-ms", "llm_provider-retry-after"),
)
_FAILED = ("message", "status", "code", "retry_after", "tries")


class Seen(NamedTuple):
    """What a connection knows of its last answer; `refusal` is the body of one that was no success."""

    status: int | None
    headers: Mapping[str, str]
    refusal: bytes


class Recorder:
    """`hide` takes keys and live tokens out of a text, and changes nothing in what it returned."""

    def __init__(self, path: Path, hide: Callable[[str], str]) -> None:
        """Empties the file, or makes it (0600). Raises UsageError if it is not one for a recording."""
        self._path = path
        self._hide = hide
        self._descriptor = _open(path)
        self._chain = Chain()
        self._raw: list[object] = []  # the messages of the last request
        self._head: Json | None = None

    def start(self, start: Json) -> None:
        self._write({"recording": VERSION, **self._scrub(start)})

    def tap(
        self, send: Callable[[Json], Iterable[bytes]], seen: Callable[[], Seen]
    ) -> Callable[[Json], Generator[bytes]]:
        """`send`, whose requests and answers are written down."""

        def record(body: Json) -> Generator[bytes]:
            self._ask(body)
            writes: list[bytes] = []
            failure: Failure | None = None
            answer = send(body)
            try:
                for data in answer:
                    writes.append(data)
                    yield data
            except Failure as error:
                failure = error
                raise
            finally:
                if isinstance(answer, Generator):
                    cast("Generator[bytes]", answer).close()
                self._write(self._answer(writes, failure, seen()))

        return record

    def take(self, event: Event) -> None:
        """A sink: of all events, what became history and how it ended."""
        if isinstance(event, Said):
            self._write({"said": self._scrub(_said(event.message))})
        elif isinstance(event, Finished):
            self._write({"end": {"subtype": event.result.subtype}})

    def close(self) -> None:
        os.close(self._descriptor)

    def _ask(self, body: Json) -> None:
        messages = cast("list[object]", body["messages"])
        same = next(
            (k for k, pair in enumerate(zip(self._raw, messages, strict=False)) if pair[0] != pair[1]),
            min(len(self._raw), len(messages)),
        )
        self._raw = messages
        head = self._scrub({name: value for name, value in body.items() if name != "messages"})
        news = cast("list[Json]", scrub(messages[same:], self._hide))
        request: Json = {"same": same, "messages": news}
        if head != self._head:
            request["head"] = self._head = head
        self._write({"request": request, "hash": self._chain.add(same, news, request.get("head"))})

    def _answer(self, writes: list[bytes], failure: Failure | None, seen: Seen) -> Json:
        refused = failure is not None and seen.status is not None and seen.status >= 400
        kept = [seen.refusal] if refused else writes
        headers = {name: seen.headers[name] for name in _HEADERS if name in seen.headers}
        entry: Json = {"status": seen.status or 200, "headers": self._scrub(headers), **self._hidden(kept)}
        if failure is None or (refused and failure.status == seen.status):
            return entry
        entry |= {"fault": "cut"} if seen.status or writes else {"fault": "cut", "after": -1}
        failed = {name: getattr(failure, name) for name in _FAILED}
        return {**entry, "failed": self._scrub(failed)}

    def _hidden(self, writes: list[bytes]) -> Json:
        """The bytes as they came; where a secret is in them as one, and in pieces as the turn they make."""
        whole = b"".join(writes).decode("utf-8", "surrogateescape")
        shown = self._hide(whole)
        texts = [shown] if shown != whole else [data.decode("utf-8", "surrogateescape") for data in writes]
        turn = _decode(shown.encode("utf-8", "surrogateescape"))
        said: Json = {
            "reasoning": turn.thought,
            "content": turn.text,
            "tool_calls": [asdict(call) for call in turn.calls],
        }
        if (clean := self._scrub(said)) == said:
            return {"writes": texts}
        return {**clean, "finish": turn.finish, "usage": turn.usage}

    def _scrub(self, value: Json) -> Json:
        return cast("Json", scrub(value, self._hide))

    def _write(self, record: Json) -> None:
        line = (json.dumps(record) + "\n").encode()
        try:
            failpoint("record")
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            raise AgentError(f"--record {self._path}: cannot be written: {error.strerror}") from error


def _open(path: Path) -> int:
    problem = UsageError(f"--record {path}: a file that is no recording is in the way; name another")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise UsageError(f"--record {path}: cannot be written: {error.strerror}") from error
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not is_file or os.pread(descriptor, 14, 0) not in (b"", b'{"recording": '):
            raise problem
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
    except OSError as error:
        os.close(descriptor)
        raise UsageError(f"--record {path}: cannot be written: {error.strerror}") from error
    except UsageError:
        os.close(descriptor)
        raise
    return descriptor


def _said(message: Message) -> Json:
    match message:
        case User(text):
            return {"role": "user", "text": text}
        case ToolResult(call_id=call_id, content=content, ok=ok, details=details, note=note):
            more: Json = {"final": True} if "final" in details else {}
            more |= {"note": note} if note else {}
            return {"role": "tool", "call_id": call_id, "content": content, "ok": ok, **more}
        case Assistant(text=text, calls=calls):
            return {"role": "assistant", "text": text, "calls": [asdict(call) for call in calls]}


def _decode(body: bytes) -> Assistant:
    """What an answer says, whole or not."""
    steps = read_turn(sse.read([body]))
    with suppress(AgentError):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value.message
    return Assistant()
