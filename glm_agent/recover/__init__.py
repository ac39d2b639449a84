"""What a turn means where a host's parser let the model's own markup through: thoughts and calls as text.

A model writes thoughts as `<think>` blocks and calls as XML; hosts are to make fields of both, and sometimes
do not, or do it badly. Nothing is guessed: a call counts only if it is whole, its tool is known and its
arguments fit; markup in code spans and fences is what an answer is about, and stays. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ..types import Assistant, Json
from .calls import TEXT_CALL, Fits, extract
from .markup import Tools
from .native import mend
from .schema import fits_schema
from .thoughts import move_thoughts

__all__ = ["Fits", "Recovered", "Tools", "recover"]


class Recovered(NamedTuple):
    """`message` as it was meant; `notes` say what was mended; `flaw` why the turn should be asked again."""

    message: Assistant
    notes: list[str]
    flaw: str | None


def recover(message: Assistant, tools: Tools, fits: Fits | None = None) -> Recovered:
    """The turn with thoughts and calls in their fields. `message` stays as it is, and nothing is raised.

    `fits` decides about the arguments of a call that was written as text, instead of the tool's schema.
    """
    notes: list[str] = []
    message = move_thoughts(message, tools, notes)
    if message.calls:
        calls, mended, flaw = mend(message.calls, tools)
        return Recovered(replace(message, calls=calls), notes + mended, flaw)

    def fits_its_schema(name: str, arguments: Json) -> bool:
        return fits_schema(arguments, tools[name])

    accepts = fits or fits_its_schema
    found = extract(message.text, tools, accepts)
    if found.calls:
        message = replace(message, text=found.rest, calls=found.calls)
    elif not found.flaw and message.thought and _acts_in_thought(message):
        found = extract(message.thought, tools, accepts)
        if found.calls:
            message = replace(message, thought=found.rest, calls=found.calls)
    if message.calls:
        notes.append(f"{TEXT_CALL}: {', '.join(call.name for call in message.calls)}")
        message = move_thoughts(message, tools, notes)
    return Recovered(message, notes, found.flaw)


def _acts_in_thought(message: Assistant) -> bool:
    """Whether a call in the thought is meant: beside an answer it is but a draft."""
    return message.finish == "tool_calls" or not message.text.strip()
