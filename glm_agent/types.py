"""Everything that travels: messages, what happens while they are made (events), and tools."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]

# Messages: the history sent to the model.


@dataclass(slots=True)
class ToolCall:
    """One request of the model to run a tool; `arguments` is its raw JSON, decoded once, at dispatch."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class User:
    text: str


@dataclass(slots=True)
class Assistant:
    """One turn of the model. `thought` None means that no reasoning field came; "" that an empty one did.

    `finish` is the last finish_reason, "" if the stream never gave one. `usage` is as the provider sent
    it, with what it left out estimated; `estimated` then says so.
    """

    text: str = ""
    thought: str | None = None
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    finish: str = ""
    usage: Json = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class ToolResult:
    """The one answer to a call: `content` for the model, `details` for people and never sent.

    `note` is what we tell the model besides; what a tool returned cannot pass for it.
    """

    call_id: str
    content: str
    ok: bool = True
    details: Json = field(default_factory=dict[str, Any])
    note: str = ""


Message = User | Assistant | ToolResult

Cap = Literal["max_turns", "max_tool_calls", "max_wall_time", "max_total_tokens", "max_budget_usd"]

# Events: what the loop and the commands yield. Nothing else leaves them.


@dataclass(slots=True)
class TextDelta:
    text: str


@dataclass(slots=True)
class ThoughtDelta:
    text: str


@dataclass(slots=True)
class CallDelta:
    """A fragment of the arguments of the turn's call number `slot` (from 0)."""

    slot: int
    name: str
    arguments: str


@dataclass(slots=True)
class Retrying:
    """The same request will be sent again after `delay` seconds."""

    attempt: int
    delay: float
    reason: str
    status: int | None = None
    code: str | None = None


@dataclass(slots=True)
class Discarded:
    """A turn that broke or was empty: kept for the record, never part of the history."""

    reason: str
    turn: Assistant


@dataclass(slots=True)
class Said:
    """`message` is now part of the history."""

    message: Message


@dataclass(slots=True)
class ToolStarted:
    call: ToolCall


@dataclass(slots=True)
class Stopped:
    """The loop ended: the model finished, or a cap was reached."""

    reason: Literal["done"] | Cap
    turns: int


@dataclass(slots=True)
class Notice:
    """One line for the user that is neither answer nor failure."""

    text: str


@dataclass(slots=True)
class Checking:
    """A `--verify` command is about to run."""

    command: str


@dataclass(slots=True)
class Verified:
    """A `--verify` command: the checks that fail each time it runs; `exit_code` None means killed.

    flaky    failed in one run and passed in another: then `exit_code` is 0 if any of the runs passed whole
    passed   of the checks that failed earlier, those that a report says pass
    junit    whether a report named the checks
    partial  more may fail than `failed` names
    """

    phase: Literal["before", "after"]
    command: str
    exit_code: int | None
    failed: list[str]
    duration_ms: int
    output: str = ""
    flaky: list[str] = field(default_factory=list[str])
    passed: list[str] = field(default_factory=list[str])
    junit: bool = False
    partial: bool = False


@dataclass(slots=True)
class Started:
    """The session's `init` record, field by field as in the output."""

    session_id: str
    cwd: str
    command: str
    model: str
    provider: str
    base_url_host: str
    tools: list[str]
    sandbox: Json
    git: Json | None
    caps: Json
    stdin: Literal["read", "skipped", "none"]
    instructions: list[Json]
    version: str
    workdir: Literal["in-place", "worktree", "dry-run"] = "in-place"


@dataclass(slots=True)
class Result:
    """How a run ended, field by field as in the output. Only `outcome.py` decides the first three."""

    subtype: str
    is_error: bool
    exit_code: int
    result: str
    session_id: str | None = None
    num_turns: int = 0
    duration_ms: int = 0
    duration_api_ms: int = 0
    total_cost_usd: float | None = None
    cost_source: str = "unknown"
    usage: Json = field(default_factory=dict[str, Any])
    permission_denials: list[Json] = field(default_factory=list[Json])
    changes: list[Json] = field(default_factory=list[Json])
    runs_later: list[str] = field(default_factory=list[str])
    patch_file: str | None = None
    base_commit: str | None = None
    verification: Json | None = None
    structured_output: Any = None
    policy: list[Json] = field(default_factory=list[Json])
    notices: list[str] = field(default_factory=list[str])
    errors: list[str] = field(default_factory=list[str])
    attempts: list[Json] = field(default_factory=list[Json])
    commit: Json | None = None
    citations: list[Json] = field(default_factory=list[Json])


@dataclass(slots=True)
class Finished:
    result: Result


@dataclass(slots=True)
class Memo:
    """What the session needs to go on after an interruption, by name: for the journal, and nobody's eyes."""

    values: Json


Delta = TextDelta | ThoughtDelta | CallDelta
Event = (
    Delta
    | Retrying
    | Discarded
    | Said
    | ToolStarted
    | Stopped
    | Notice
    | Checking
    | Verified
    | Started
    | Memo
    | Finished
)

# Tools and the provider seam.

Arguments = Mapping[str, Any]


class ToolOutput(NamedTuple):
    content: str
    ok: bool = True
    details: Json = {}  # noqa: RUF012 - never mutated: a NamedTuple default
    note: str = ""  # from the user or us, and no part of what the tool says


class Tool(NamedTuple):
    """A tool is data plus one function; `run` gets arguments that fit `parameters`, and raises ToolError.

    With `takes_raw` it gets the call's own text instead, as the argument "raw". `details["final"]` in its
    output ends the loop.
    """

    name: str
    description: str
    parameters: Json
    run: Callable[[Arguments, threading.Event], ToolOutput]
    reads_only: bool
    takes_raw: bool = False


Asking = Delta | Retrying | Discarded | Notice | Memo
Complete = Callable[[list[Message]], Generator[Asking, None, Assistant]]
