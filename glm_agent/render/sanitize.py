"""Foreign text for the terminal: what is invisible, or would be obeyed, is shown instead.

C0 controls and DEL become their control picture (ESC is `␛`); C1 and bidirectional controls, zero-width, tag
and other invisible characters become `\\x9b`, `\\u202e`, `\\U000e0041`; a byte that was no valid
UTF-8 (surrogateescape) becomes `\\xff`. Each character is judged alone, so a sequence that is split between
two calls slips through neither, and cleaning twice changes nothing.
"""

from __future__ import annotations

import re
from functools import cache

# Everything of category Cc, Cf, Cs, Zl and Zp that draws no glyph of its own, and the letters and marks that
# draw nothing. U+FE0E and U+FE0F stay: they only choose how an emoji looks.
_INVISIBLE = (
    "\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)


def clean(text: str) -> str:
    """`text` with everything that a terminal could obey or hide made visible; newline and tab stay."""
    return _pattern(f"[\x00-\x08\x0b-\x1f{_INVISIBLE}]").sub(_visible, text)


def clean_line(text: str) -> str:
    """As `clean`, with newline and tab made visible too: the answer is always one line."""
    return _pattern(f"[\x00-\x1f{_INVISIBLE}]").sub(_visible, text)


def disarm(text: str) -> str:
    """`text`, cleaned, for a log of GitHub's: with a backslash in what its runner would obey.

    That is a line that begins with `::`, spaces aside, and `##[` anywhere. Disarming twice changes nothing.
    """
    found = _pattern(r"(?m)^(\s*)(?=::)|(?<=##)(?=\[)")
    return found.sub(lambda match: (match[1] or "") + "\\", text)


@cache
def _pattern(characters: str) -> re.Pattern[str]:
    return re.compile(characters)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
