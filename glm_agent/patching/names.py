"""The file names in a patch's header lines, as they may have been meant."""

from __future__ import annotations

import re

DEV_NULL = "/dev/null"

_PREFIXES = (("a/", "b/"), ("i/", "w/"), ("c/", "i/"), ("c/", "w/"), ("o/", "w/"), ("1/", "2/"))
_STAMP = re.compile(r"\t.*$|\s+\d{4}-\d\d-\d\d[ T]\d\d:.*$|\s+\((?:revision \d+|working copy)\)$")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def name(field: str) -> str:
    """The file name in `field`, what follows `--- `: without timestamp, quotes and `./`."""
    field = _STAMP.sub("", field.strip("\r ")).strip()
    if len(field) > 1 and field[0] == field[-1] == '"':
        field = _unquoted(field[1:-1])
    return _plain(field)


def git_names(fields: str) -> tuple[str, str]:
    """The two names of a `diff --git` line; ("", "") if they cannot be told apart."""
    fields = fields.strip()
    if quoted := re.fullmatch(r'("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|\S+)', fields):
        return name(quoted[1]), name(quoted[2])
    half = len(fields) // 2
    left, right = fields[:half], fields[half + 1 :]
    same = fields[half : half + 1] == " " and (left == right or left[1:] == right[1:])
    return (name(left), name(right)) if same else ("", "")


def candidates(old: str, new: str) -> tuple[str, ...]:
    """The names a file may have that is headed `old` and `new` ("" if not given), the likeliest first."""
    if old in ("", DEV_NULL) or new in ("", DEV_NULL):
        given = new if old in ("", DEV_NULL) else old
        bare = given[2:] if any(given.startswith(pair) for pair in _PREFIXES) else given
        return (bare, given) if bare != given else (given,)
    for before, after in _PREFIXES:
        if old.startswith(before) and new.startswith(after):
            old, new = old[2:], new[2:]
            break
    return (old,) if old == new else (old, new)


def _plain(path: str) -> str:
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return re.sub(r"(?<!^)/{2,}", "/", path)


def _unquoted(text: str) -> str:
    def byte(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8) & 255]) if len(code) == 3 else _LETTERS.get(code, code)

    return _ESCAPE.sub(byte, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
