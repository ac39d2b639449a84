"""Keys never reach a log, a journal or a screen: their text is replaced wherever a line is written."""

from __future__ import annotations

import json
from collections.abc import Iterable

_SHORTEST = 8  # characters: less is no secret, and would blot out ordinary words
_MASK = "[key]"


class Redactor:
    """Replaces each secret in a text, plain or as it stands inside a JSON string, also one that was cut.

    Less than the first half of one may stay.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= _SHORTEST}
        spellings = known | {json.dumps(secret)[1:-1] for secret in known}
        self._spellings = sorted(spellings, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for spelling in self._spellings:
            head = spelling[: max(_SHORTEST, len(spelling) // 2)]
            place = text.find(head)
            while place >= 0:
                end = place + _common(text[place:], spelling)
                text = text[:place] + _MASK + text[end:]
                place = text.find(head, place + len(_MASK))
        return text


def _common(text: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((place for place, (one, two) in pairs if one != two), min(len(text), len(other)))
