"""What a run may take of turns, calls, time, tokens and money, and what it has taken."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from . import usage
from .errors import CapReached
from .types import Cap, Json
from .usage import Price

_LAND = 0.85  # share of a cap after which the model is told to come to an end
_ANSWER = 512  # tokens: a reply that may have no more than that is not worth its request
_MOST = 1e9  # US dollars: more is no cost
_NAMES: dict[Cap, str] = {
    "max_tool_calls": "tool calls",
    "max_turns": "turns",
    "max_total_tokens": "tokens",
    "max_budget_usd": "money",
    "max_wall_time": "time",
}
_STEPS = ("max_tool_calls", "max_turns")


@dataclass(slots=True)
class Ledger:
    """The tokens of all requests, and what they cost: by the provider's word, else by the price row."""

    price: Price | None = None
    tokens: Json = field(default_factory=lambda: usage.normalise({}))
    last: Json = field(default_factory=lambda: usage.normalise({}))  # of the last request
    charged: float | None = None  # by the provider itself
    charged_for: Json = field(default_factory=lambda: usage.normalise({}))  # the tokens of those requests

    def charge(self, raw: Json) -> None:
        """Adds what one request took by the provider's word; without one the sum is an estimate."""
        self.last = usage.normalise(raw or {"estimated": True})
        self.tokens = usage.add(self.tokens, self.last)
        charged = raw.get("cost")
        if isinstance(charged, int | float) and not isinstance(charged, bool) and 0 <= charged < _MOST:
            self.charged = (self.charged or 0.0) + charged
            self.charged_for = usage.add(self.charged_for, self.last)

    def cost(self) -> tuple[float | None, str]:
        """What the provider charged, else what its prices make of the tokens; what is not known is not 0."""
        mark = "+estimate" if self.tokens["estimated"] else ""
        every, paid = usage.tokens(self.tokens), usage.tokens(self.charged_for)
        if self.charged is not None:
            share = every / paid if paid else 1.0
            return round(self.charged * share, 6), f"provider{mark if share == 1.0 else '+estimate'}"
        if self.price is None or (mark and not every):
            return None, "unknown"
        return usage.cost(self.tokens, self.price), f"price_table:{self.price.date}{mark}"

    def price_of(self, prompt: int) -> float:
        """US dollars for sending `prompt` tokens, of which as many are cached as were the last time."""
        if self.price is None:
            return 0.0
        cached = min(prompt, self.last["cache_read_input_tokens"])
        sent = {"input_tokens": prompt - cached, "cache_read_input_tokens": cached, "output_tokens": 0}
        return usage.cost(sent, self.price)


@dataclass(slots=True)
class Budget:
    """Caps on everything that shares it; what is not in `caps` has no end.

    `short` is the cap that made the last reply shorter than was wanted. That time is up is told by an alarm,
    not here.
    """

    ledger: Ledger = field(default_factory=Ledger)
    started: float = field(default_factory=time.monotonic)
    caps: Mapping[Cap, float] = field(default_factory=dict[Cap, float])
    turns: int = 0
    calls: int = 0
    short: Cap | None = None
    _told: bool = False

    def reached(self) -> Cap | None:
        """The cap that lets nothing more begin, if there is one."""
        used = self._used()
        return next((cap for cap in _NAMES if cap != "max_wall_time" and used[cap] >= self._most(cap)), None)

    def refusal(self, call: int) -> str | None:
        """Why the run's call number `call` is not run; None if it is."""
        used = self._used() | {"max_turns": 0, "max_wall_time": 0, "max_tool_calls": call - 1}
        full = [name for cap, name in _NAMES.items() if used[cap] >= self._most(cap)]
        return f"the cap on {full[0]} is reached" if full else None

    def grant(self, prompt: int, wanted: int) -> int:
        """How many tokens the reply to a request of about `prompt` tokens may have, at most `wanted`.

        Raises CapReached where not even a small one can be had.
        """
        self.short = None
        for cap, room in self._rooms(prompt):
            if room < min(_ANSWER, wanted):
                raise CapReached(cap, f"the next request would pass the cap on {_NAMES[cap]}")
            if room < wanted:
                wanted, self.short = int(room), cap
        return wanted

    def landing_note(self) -> str:
        """Once, near a cap: a note to the model for the tool result it reads next."""
        near = None if self._told else self._nearest()
        if near is None:
            return ""
        self._told = True
        left = min(self._most(cap) - self._used()[cap] for cap in _STEPS)
        steps, other = f"at most {max(0, left)} more steps", f"this run nears its cap on {_NAMES[near]}"
        what = steps if near in _STEPS else other
        return f"\n\n[note: {what}. Secure a working change now, check it, and report.]"

    def go_on(self, turns: int, calls: int, told: bool, started: float) -> None:
        """From what was used before; the ledger knows of tokens and money by itself."""
        self.turns, self.calls, self._told, self.started = turns, calls, told, started

    def tell_anew(self) -> None:
        """The note goes to a model that knows nothing of it."""
        self._told = False

    def _nearest(self) -> Cap | None:
        """The cap that is nearly used up, or that will not hold the next turns."""
        used, next_turns = self._used(), self._next_turns()
        for cap, most in self.caps.items():
            if used[cap] >= _LAND * most or used[cap] + next_turns[cap] >= most:
                return cap
        return None

    def _rooms(self, prompt: int) -> Iterator[tuple[Cap, float]]:
        """For each cap on replies, how many tokens of one it leaves."""
        used, price = self._used(), self.ledger.price
        yield "max_total_tokens", self._most("max_total_tokens") - used["max_total_tokens"] - prompt
        left = self._most("max_budget_usd") - used["max_budget_usd"] - self.ledger.price_of(prompt)
        per_token = price.output / 1e6 if price else 0.0
        yield "max_budget_usd", left / per_token if per_token else math.copysign(math.inf, left)

    def _used(self) -> dict[Cap, float]:
        return {
            "max_tool_calls": self.calls,
            "max_turns": self.turns,
            "max_total_tokens": usage.tokens(self.ledger.tokens),
            "max_budget_usd": self.ledger.cost()[0] or 0.0,
            "max_wall_time": time.monotonic() - self.started,
        }

    def _next_turns(self) -> dict[Cap, float]:
        """What they take: of tokens and money twice what the last did, to work in one and report in one."""
        last = self.ledger.last
        cost = usage.cost(last, self.ledger.price) if self.ledger.price else 0.0
        return {
            "max_tool_calls": 1,
            "max_turns": 1,
            "max_total_tokens": 2 * usage.tokens(last),
            "max_budget_usd": 2 * cost,
            "max_wall_time": 0,
        }

    def _most(self, cap: Cap) -> float:
        return self.caps.get(cap, math.inf)
