"""Keys never reach a log, a journal or a screen: their text is replaced wherever a line is written."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Iterable

_SHORTEST = 8  # characters: less is no secret, and would blot out ordinary words
_MASK = "[key]"
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_FOR_URLS = str.maketrans("+/", "-_")


class Redactor:
    """Replaces each secret in a text, also one that was cut: plain, or as JSON, URLs, hex or base64 spell it.

    Less than the first half of one may stay.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if len(secret) >= _SHORTEST}
        spellings = known.union(*map(_encodings, known))
        self._spellings = sorted(spellings, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for spelling in self._spellings:
            head = spelling[: max(_SHORTEST, len(spelling) // 2)]
            place = text.find(head)
            while place >= 0:
                rest = text[place:]  # two spellings may begin alike
                end = place + max(_common(rest, one) for one in self._spellings)
                text = text[:place] + _MASK + text[end:]
                place = text.find(head, place + len(_MASK))
        return text


def _encodings(secret: str) -> set[str]:
    data = secret.encode("utf-8", "surrogateescape")
    percent = "".join(chr(one) if chr(one) in _UNRESERVED else f"%{one:02X}" for one in data)
    found = {json.dumps(secret)[1:-1], percent, data.hex(), data.hex().upper()}
    for before in range(3):  # bytes: the secret may stand within something longer
        start, end = (before * 8 + 5) // 6, (before + len(data)) * 8 // 6  # what it alone decides
        text = base64.b64encode(bytes(before) + data).decode()[start:end]
        found |= {text, text.translate(_FOR_URLS)}
    return {spelling for spelling in found if len(spelling) >= _SHORTEST}


def _common(text: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((place for place, (one, two) in pairs if one != two), min(len(text), len(other)))
