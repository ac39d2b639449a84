"""Tokens and money: what providers report, in one shape, and what it costs by a price row."""

from __future__ import annotations

from typing import NamedTuple

from .shape import mapping
from .types import Json

_COUNTS = ("input_tokens", "cache_read_input_tokens", "output_tokens", "reasoning_tokens")
_MOST = 2**53  # tokens: more is no count, and no number of every JSON parser


class Price(NamedTuple):
    """US dollars per million tokens, and the month the row was checked."""

    input: float
    cached: float
    output: float
    date: str


def normalise(raw: Json) -> Json:
    """A provider's usage object as the four counts of our own output; absent or odd fields count as 0.

    `estimated` says that some of it is not the provider's count but ours.
    """
    prompt = _count(raw, "prompt_tokens")
    cached = min(_count(raw, "prompt_tokens_details", "cached_tokens"), prompt)
    return {
        "input_tokens": prompt - cached,
        "cache_read_input_tokens": cached,
        "output_tokens": _count(raw, "completion_tokens"),
        "reasoning_tokens": _count(raw, "completion_tokens_details", "reasoning_tokens"),
        "estimated": raw.get("estimated") is True,
    }


def complete(raw: Json, prompt: int, output: int, reasoning: int) -> Json:
    """A provider's usage object with our own estimates in place of what it leaves out, and marked so."""
    asked, said = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    if asked and (said or not output):
        return raw
    counts: Json = {"prompt_tokens": asked or prompt, "completion_tokens": said or output, "estimated": True}
    return {"completion_tokens_details": {"reasoning_tokens": reasoning}, **raw, **counts}


def prompt(raw: Json) -> int:
    """The tokens of the whole request, cached or not, as the provider counted them."""
    return _count(raw, "prompt_tokens")


def add(total: Json, part: Json) -> Json:
    """The sum of two normalised usages, estimated if either is."""
    counts = {name: min(total[name] + part[name], _MOST) for name in _COUNTS}
    return {**counts, "estimated": total["estimated"] or part["estimated"]}


def tokens(usage: Json) -> int:
    """All tokens of a normalised usage; reasoning tokens are part of the output tokens."""
    return usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["output_tokens"]


def cached_share(usage: Json) -> float | None:
    """How much of all prompts the provider had cached, 0 to 1; None if there were none."""
    cached = usage["cache_read_input_tokens"]
    asked = usage["input_tokens"] + cached
    return round(cached / asked, 4) if asked else None


def cost(usage: Json, price: Price) -> float:
    """US dollars for a normalised usage; reasoning tokens are part of the output tokens."""
    dollars = (
        usage["input_tokens"] * price.input
        + usage["cache_read_input_tokens"] * price.cached
        + usage["output_tokens"] * price.output
    )
    return round(dollars / 1e6, 6)


def _count(raw: object, *path: str) -> int:
    for name in path:
        raw = mapping(raw).get(name)
    return min(raw, _MOST) if isinstance(raw, int) and not isinstance(raw, bool) and raw > 0 else 0
