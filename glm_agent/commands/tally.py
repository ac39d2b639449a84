"""What a run adds up to: a sink that counts, and the result made of the counts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .. import outcome, policy, usage
from ..budget import Ledger
from ..errors import AgentError
from ..types import (
    Assistant,
    Discarded,
    Event,
    Finished,
    Json,
    Message,
    Result,
    Said,
    Started,
    Stopped,
    ToolResult,
    Verified,
)
from ..veil import uncover

_CAPS = {
    "max_turns": ("error_max_turns", "stopped after {} turns; --max-turns raises the cap"),
    "max_tool_calls": ("error_max_budget", "stopped at the cap on tool calls; --max-tool-calls raises it"),
    "max_total_tokens": ("error_max_budget", "stopped after {1} tokens; --max-total-tokens raises the cap"),
    "max_budget_usd": ("error_max_budget", "stopped after ${2:.6f}; --max-budget-usd raises the cap"),
}


@dataclass(slots=True)
class Tally:
    """Counts events; commands add what only they know, then `finish` makes the result."""

    ledger: Ledger = field(default_factory=Ledger)
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    session_id: str | None = None
    base_commit: str | None = None
    may_be_unchanged: bool = False
    answer: str = ""
    structured_output: object = None
    is_done: bool = False  # whether the model ended its work, rather than a cap or an error
    turns: int = 0
    api_seconds: float = 0.0
    before: list[Verified] = field(default_factory=list[Verified])
    after: list[Verified] = field(default_factory=list[Verified])
    verification: Json | None = None
    changes: list[Json] = field(default_factory=list[Json])
    denials: list[Json] = field(default_factory=list[Json])
    patch_file: str | None = None
    subtypes: list[str] = field(default_factory=list[str])
    policy: list[Json] = field(default_factory=list[Json])
    notices: list[str] = field(default_factory=list[str])
    errors: list[str] = field(default_factory=list[str])
    citations: list[Json] = field(default_factory=list[Json])
    signum: int | None = None
    attempts: list[Json] = field(default_factory=list[Json])
    commit: Json | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self.session_id = event.session_id
                self.base_commit = self.base_commit or (event.git or {}).get("head")
            case Said(message):
                self.is_done = False
                self._said(message)
            case Stopped(reason="done"):
                self.is_done = True
            case Discarded():
                self.ledger.charge(event.turn.usage)
            case Verified():
                (self.before if event.phase == "before" else self.after).append(event)
            case Stopped(reason=reason, turns=turns) if reason in _CAPS:
                subtype, text = _CAPS[reason]
                spent = usage.tokens(self.ledger.tokens), self.ledger.cost()[0] or 0.0
                self.note(subtype, text.format(turns, *spent))
            case _:
                pass

    def note(self, subtype: str, error: str) -> None:
        """One more thing that keeps the run from being a success, and the line that says so."""
        self.subtypes.append(subtype)
        self.errors.append(error)

    def fail(self, error: AgentError) -> None:
        self.note(error.subtype, str(error))

    def finish(self) -> Finished:
        self.ended = self.ended or time.monotonic()  # once: all that is written says the same
        cost, source = self.ledger.cost()
        tokens = self.ledger.tokens
        end = outcome.decide(self.subtypes, self.signum)
        return Finished(
            Result(
                subtype=end.subtype,
                is_error=end.is_error,
                exit_code=end.exit_code,
                result=self.answer,
                session_id=self.session_id,
                num_turns=self.turns,
                duration_ms=round((self.ended - self.started) * 1000),
                duration_api_ms=round(self.api_seconds * 1000),
                total_cost_usd=cost,
                cost_source=source,
                usage={**tokens, "cache_hit_share": usage.cached_share(tokens)},
                permission_denials=self.denials,
                changes=self.changes,
                runs_later=[row["path"] for row in self.changes if policy.runs_later(row["path"])],
                patch_file=self.patch_file,
                base_commit=self.base_commit,
                verification=self.verification,
                structured_output=self.structured_output,
                policy=self.policy,
                notices=self.notices,
                errors=self.errors,
                attempts=self.attempts,
                commit=self.commit,
                citations=self.citations,
            )
        )

    def _said(self, message: Message) -> None:
        if isinstance(message, Assistant):
            self.turns += 1
            self.ledger.charge(message.usage)
            self.answer = "" if message.calls else uncover(message.text.strip())
        elif isinstance(message, ToolResult):
            self.denials += message.details.get("denied", [])
