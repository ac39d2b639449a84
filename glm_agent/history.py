"""Where a conversation stands: what in it waits for an answer."""

from __future__ import annotations

from collections.abc import Sequence

from .types import Assistant, Message, ToolCall, ToolResult


def open_calls(history: Sequence[Message]) -> list[ToolCall]:
    """The calls of the last turn that are not answered yet, in its order."""
    answered: set[str] = set()
    for message in reversed(history):
        if isinstance(message, Assistant):
            return [call for call in message.calls if call.id not in answered]
        if not isinstance(message, ToolResult):
            break
        answered.add(message.call_id)
    return []


def is_over(history: Sequence[Message]) -> bool:
    """Whether the last word is the model's, and calls for nothing."""
    last = history[-1] if history else None
    return isinstance(last, Assistant) and not last.calls
