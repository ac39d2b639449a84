"""A diff that fits its files byte for byte, put in as it is: what git would do, or nothing at all.

What fits can still be meant otherwise: entities may be escaped text, spaces may stand for a file's tabs, and
lines without context fit anywhere. Such a diff is believed if it names the file's new content by git's hash.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import names
from .change import FileChange, Placed, Texts
from .clean import could_be_escaped, has_entity
from .exact import Hunk, Part, read
from .indent import foreign

_HASH = 7  # hexadecimal digits of a content's name that no chance gives


def paths(patch_text: str) -> list[str]:
    """The files that the patch names if it is an exact diff."""
    return [name for part in read(patch_text) or () for name in (part.source, part.target) if name]


def plan(patch_text: str, before: Texts, reverse: bool = False) -> list[FileChange] | None:
    """What the patch does to each file if it is a diff that fits all of them exactly; None if not."""
    parts = read(patch_text)
    if not parts or (reverse and any(part.copies for part in parts)):
        return None
    if reverse:
        parts = [part.reversed() for part in parts]
    if not _agree(parts, before):
        return None
    changes: list[FileChange] = []
    for part in parts:
        text = before.get(part.source) if part.source else ""
        after = None if text is None else _fitted(text, part.hunks)
        if text is None or after is None or (part.target is None and after):
            return None
        if _doubtful(patch_text, text, part) and not _proven(after, part):
            return None
        changes.append(_change(part, after))
    return changes


def _agree(parts: Sequence[Part], before: Texts) -> bool:
    """Whether each name is taken up once, by a file that is new or in place of one that goes."""
    changed = [part.source for part in parts if part.source and not part.copies]
    made = [part.target for part in parts if part.target]
    going = {part.source for part in parts if part.source != part.target and not part.copies}
    if len(set(changed)) < len(changed) or len(set(map(names.folded, made))) < len(made):
        return False
    present = {path for path, text in before.items() if text is not None} - going
    folded = set(map(names.folded, present))
    new = [part.target for part in parts if part.target and part.source != part.target]
    return not any(names.folded(path) in folded for path in new)


def _fitted(text: str, hunks: Sequence[Hunk]) -> str | None:
    """The text with all hunks put in where they say, None if one of them does not fit there to the byte."""
    *whole, rest = text.split("\n")
    rows = [line + "\n" for line in whole] + [rest] * bool(rest)
    has_context = any(tag == " " for hunk in hunks for tag, _ in hunk.lines)
    out: list[str] = []
    done = grown = 0
    for hunk in hunks:
        old, new = hunk.texts(" -"), hunk.texts(" +")
        end = hunk.at + len(old)
        if not done <= hunk.at <= len(rows) or rows[hunk.at : end] != old or hunk.new_at != hunk.at + grown:
            return None
        if has_context and not _framed(hunk, end, len(rows)):
            return None
        out += rows[done : hunk.at] + new
        done, grown = end, grown + len(new) - len(old)
    out += rows[done:]
    return "".join(out) if all(line.endswith("\n") for line in out[:-1]) else None


def _framed(hunk: Hunk, end: int, length: int) -> bool:
    """Whether context is missing only where the file begins or ends."""
    top, bottom = hunk.lines[0][0], hunk.lines[-1][0]
    return (top == " " or hunk.at == 0) and (bottom == " " or end == length)


def _doubtful(patch_text: str, text: str, part: Part) -> bool:
    """Whether the lines that fit may yet be meant in another way, or elsewhere."""
    added = [line for hunk in part.hunks for line in hunk.texts("+")]
    kept = [line for hunk in part.hunks for line in hunk.texts(" -")]
    lines = text.split("\n")
    if any(map(has_entity, added)) and text and not has_entity(text) and could_be_escaped(patch_text):
        return True
    if foreign(lines, kept, added):
        return True
    if any(tag == " " for hunk in part.hunks for tag, _ in hunk.lines):
        return False
    ends_shown = any(line.endswith(("\r", "\r\n")) for line in added + kept)
    return _unvouched(lines, part.hunks, kept) or (not ends_shown and _among_crlf(lines, part.hunks))


def _unvouched(lines: Sequence[str], hunks: Sequence[Hunk], removed: Sequence[str]) -> bool:
    """Whether no line that says something vouches for lines put in without context, but at the very end."""
    if any(char.isalnum() for line in removed for char in line):
        return False
    length = len(lines) - (not lines[-1])
    return any(hunk.at + len(hunk.texts("-")) < length for hunk in hunks)


def _among_crlf(lines: Sequence[str], hunks: Sequence[Hunk]) -> bool:
    """Whether lines come in next to one that ends with CRLF, and none goes that ended otherwise."""
    for hunk in hunks:
        old, end = hunk.texts("-"), hunk.at + len(hunk.texts("-"))
        around = [*lines[max(0, hunk.at - 1) : hunk.at], *lines[end : end + 1]]
        ended = any(line.endswith("\n") for line in old)
        if hunk.texts("+") and not ended and any(line.endswith("\r") for line in around):
            return True
    return False


def _proven(after: str, part: Part) -> bool:
    """Whether git's name for the content that the patch leads to is the one that the patch gives."""
    if len(part.new_hash) < _HASH:
        return False
    from hashlib import sha1

    data = after.encode("utf-8", "surrogatepass")
    name = sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
    return name.hexdigest().startswith(part.new_hash)


def _change(part: Part, after: str) -> FileChange:
    added, removed = (sum(len(hunk.texts(tag)) for hunk in part.hunks) for tag in "+-")
    placed = [Placed(hunk.at + 1, "") for hunk in part.hunks]
    source, target = part.source, part.target
    if source is None or (part.copies and target):
        return FileChange(target or "", "create", after, None, part.mode, added, removed, source=source or "")
    if target is None:
        return FileChange(source, "delete", None, None, None, added, removed, placed)
    if source == target:
        return FileChange(source, "update", after, None, part.mode, added, removed, placed)
    return FileChange(source, "rename", after, target, part.mode, added, removed, placed)
