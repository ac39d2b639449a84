"""Control tokens of chat templates in foreign text, shown so that no server takes them for its own.

A dot goes in before the closing bracket, `<|user·|>`; where there are dots already, one more. So every text
has one veiled form, every veiled form comes from one text, and what a model copies can be turned back.
"""

from __future__ import annotations

import re

_DOT = "·"
_HINTS = ("<|", "<\\|", "MASK", "think", "tool_", "arg_", "sop", "eop", "observation")
# Tags that GLM's templates and its kin are made of, also as they stand in patterns and in JavaScript.
_TOKEN = re.compile(
    r"(<\\?\|/?[A-Za-z0-9_]{1,40})(·*)(\\?\|>)"
    r"|(<\\?/?(?:think|tool_calls?|tool_response|tool_result|arg_key|arg_value|observation|sop|eop))(·*)(>)"
    r"|(\\?\[[gs]?MASK)(·*)(\\?\])"
)


def cover(text: str) -> str:
    """`text` from outside with one more dot in each control token."""
    return _TOKEN.sub(_one_more, text) if _may_have(text) else text


def cover_own(text: str) -> str:
    """The model's own words, in which a token has its dot already if it was copied."""
    return _TOKEN.sub(_at_least_one, text) if _may_have(text) else text


def uncover(text: str) -> str:
    """What the model wrote, as it is meant: the inverse of `cover`."""
    return _TOKEN.sub(_one_less, text) if _DOT in text else text


def _may_have(text: str) -> bool:
    return any(hint in text for hint in _HINTS)  # a pattern costs ten times as much, and few texts need it


def _one_more(found: re.Match[str]) -> str:
    last = found.lastindex or 0
    return f"{found[last - 2]}{found[last - 1]}{_DOT}{found[last]}"


def _at_least_one(found: re.Match[str]) -> str:
    return found[0] if _DOT in found[0] else _one_more(found)


def _one_less(found: re.Match[str]) -> str:
    last = found.lastindex or 0
    return f"{found[last - 2]}{found[last - 1].removesuffix(_DOT)}{found[last]}"
