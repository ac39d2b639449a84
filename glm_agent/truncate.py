"""Pure cutting of long text, with honest counts of what was cut; shared by all tools."""

from __future__ import annotations

HEAD = 4096  # bytes of UTF-8
TAIL = 12288


def head_tail(text: str, head: int = HEAD, tail: int = TAIL) -> str:
    """`text` if it has at most `head` + `tail` bytes, else that much of its two ends."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= head + tail:
        return text
    first = _back_to_line(data, head)
    last = _on_to_line(data, len(data) - tail)
    lines = data.count(b"\n", first, last)
    cut = f"{lines:,} lines, {last - first:,} bytes" if lines else f"{last - first:,} bytes"
    start, end = (part.decode("utf-8", "surrogatepass") for part in (data[:first], data[last:]))
    gap = "" if not start or start.endswith("\n") else "\n"
    return f"{start}{gap}[... {cut} omitted ...]\n{end}"


def clip_line(line: str, limit: int, around: int = 0) -> str:
    """`line` if it has at most `limit` characters, else so many near index `around`, the cuts marked."""
    if len(line) <= limit:
        return line
    start = min(max(0, around - limit // 4), len(line) - limit)
    before = f"[{start:,} characters] …" if start else ""
    rest = len(line) - start - limit
    after = f"… [{rest:,} more characters]" if rest else ""
    return f"{before}{line[start : start + limit]}{after}"


def _back_to_line(data: bytes, at: int) -> int:
    """The end of the line before `at`, if it is near; else the character boundary before."""
    if newline := data.rfind(b"\n", at // 2, at) + 1:
        return newline
    while at and _inside(data, at):
        at -= 1
    return at


def _on_to_line(data: bytes, at: int) -> int:
    """The start of the line after `at`, if it is near; else the character boundary after."""
    if newline := data.find(b"\n", at - 1, at + (len(data) - at) // 2) + 1:
        return newline
    while at < len(data) and _inside(data, at):
        at += 1
    return at


def _inside(data: bytes, at: int) -> bool:
    """Whether a character of UTF-8 goes on at `at`."""
    return data[at] & 0xC0 == 0x80
