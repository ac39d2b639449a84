"""The file names in a patch's header lines, as they may have been meant."""

from __future__ import annotations

import re

from ..errors import ToolError
from ..paths import normalise
from .refusal import PatchRefused

DEV_NULL = "/dev/null"
GIT_PREFIXES = ("a/", "b/", "i/", "w/")
_NO_NAMES = ("dev/null", "a/dev/null", "b/dev/null")

_LETTERS_OF_GIT = (("a", "b"), ("i", "w"), ("c", "i"), ("c", "w"), ("o", "w"), ("1", "2"))
_WORDS = (("old", "new"), ("orig", "new"), ("original", "modified"), ("before", "after"))
_PREFIXES = tuple((f"{old}/", f"{new}/") for old, new in (*_LETTERS_OF_GIT, *_WORDS))
_WINDOWS = re.compile(r"[ab]\\[^/]+$")
_STAMP = re.compile(r"\t.*$|(?<!\s)\s+(?:\d{4}-\d\d-\d\d[ T]\d\d:.*$|\((?:revision \d+|working copy)\)$)")
_EPOCH = re.compile(r"\t(1970-01-01|1969-12-31) (\d\d):(\d\d):00(?:\.0+)?(?: ([-+])(\d\d):?(\d\d))?\s*$")
_DAY = 24 * 60  # minutes
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def name(field: str) -> str:
    """The file name in `field`, what follows `--- `: without timestamp, quotes and `./`."""
    field = _STAMP.sub("", field.strip("\r ")).strip()
    if len(field) > 1 and field[0] == field[-1] == '"':
        field = _unquoted(field[1:-1])
    elif len(field) > 1 and field[0] == field[-1] == "`":
        field = field[1:-1]
    return _plain(field)


def is_absent(field: str) -> bool:
    """Whether the timestamp in `field` is how `diff` says that there is no such file: the epoch, in UTC."""
    match = _EPOCH.search(field)
    if not match:
        return False
    zone = int(match[5] or 0) * 60 + int(match[6] or 0)
    minutes = int(match[2]) * 60 + int(match[3]) - (_DAY if match[1] == "1969-12-31" else 0)
    return minutes == (-zone if match[4] == "-" else zone)


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
        bare = given[2:] if given.startswith(GIT_PREFIXES) else given
        return (bare, given) if bare != given else (given,)
    for before, after in _PREFIXES:
        if old.startswith(before) and new.startswith(after):
            bare_old, bare_new = old.removeprefix(before), new.removeprefix(after)
            if len(before) == 2 or bare_old == bare_new:
                old, new = bare_old, bare_new
                break
    return (old,) if old == new else (old, new)


def folded(path: str) -> str:
    """What a file system that ignores case and Unicode forms takes `path` for."""
    if path.isascii():
        return path.casefold()
    from unicodedata import normalize

    return normalize("NFC", normalize("NFKC", path).casefold())


def check(path: str) -> None:
    """Refuses a path that is not below the root of the tree, git's own, or no path at all."""
    try:
        if normalise(path, ()) != path:
            raise PatchRefused(
                "its path is written in a roundabout way", path, None, "write it without . and .."
            )
    except PatchRefused:
        raise
    except ToolError as error:
        raise PatchRefused(str(error), path) from error


def _plain(path: str) -> str:
    if _WINDOWS.match(path):
        path = path.replace("\\", "/")
    if path in _NO_NAMES:
        return DEV_NULL
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return re.sub(r"(?<!^)/{2,}", "/", path)


def _unquoted(text: str) -> str:
    def byte(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8) & 255]) if len(code) == 3 else _LETTERS.get(code, code)

    return _ESCAPE.sub(byte, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
