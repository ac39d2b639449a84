"""What the views for people say: one line for each thing that happens, and the rows of a small diff.

Pure; every line is a single one without control characters, whatever the model or a file name says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

from .. import usage
from ..shape import mapping, sequence
from ..types import Json, Result, Retrying, ToolCall, ToolResult, Verified
from .sanitize import clean_line

_WIDTH = 120  # characters of foreign text in one line
_NAMES = 20  # names in one list


def describe(call: ToolCall, width: int = _WIDTH) -> str:
    """What a call does: `read src/a.py`, `bash pytest -q`, `search "def f" in src`."""
    values = arguments(call)
    if not values and call.arguments.strip() not in {"", "{}"}:
        return clip(f"{call.name} (arguments are not a JSON object)", width)
    return clip(f"{call.name} {_subject(call.name, values).strip()}".rstrip(), width)


def arguments(call: ToolCall) -> Json:
    """The arguments of a call as an object; `{}` if they are not one, even when decoded twice."""
    value: object = call.arguments
    for _ in range(2):
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return {}
    return cast(Json, value) if isinstance(value, dict) else {}


def text_argument(values: Json, *names: str) -> str:
    """The first of `names` that is a string: models spell the names of arguments in several ways; else ""."""
    return next((values[name] for name in names if isinstance(values.get(name), str)), "")


def effect(call: ToolCall, result: ToolResult) -> str:
    """What came of a call: `exit=1 0.8s`, `lines 1-40 of 400`, `+3 -1`, why it failed, or a size."""
    found = result.details
    if "exit_code" in found:
        return _ending(found)
    if not result.ok:
        return clip(result.content.removeprefix("error: "))
    if call.name == "read" and {"first", "last", "total"} <= found.keys():
        return clip(f"lines {found['first']}-{found['last']} of {found['total']}")
    if call.name == "search" and isinstance(shown := found.get("shown"), int):
        return f"{plural(shown, 'line')}{', and more' if found.get('more') else ''}"
    return _added_and_removed(found) or _said(call, result)


def retrying(event: Retrying) -> str:
    """`waiting 30s: rate limited (429, 1305), attempt 2`."""
    codes = ", ".join(str(code) for code in (event.status, event.code) if code is not None)
    what = f"waiting {duration(event.delay)}" if event.delay > 0 else "asking again"
    return clip(f"{what}: {event.reason}{f' ({codes})' if codes else ''}, attempt {event.attempt}", 300)


def verified(event: Verified) -> str:
    """`verify before: pytest -q -> exit 1, 3 failing, 0.8s`."""
    exit_text = "timed out" if event.exit_code is None else f"exit {event.exit_code}"
    known = event.failed and event.exit_code is not None
    failing = f", {count(len(event.failed))} failing" if known else ""
    failing += f", {count(len(event.flaky))} flaky" if event.flaky else ""
    took = duration(event.duration_ms / 1000)
    return f"verify {event.phase}: {clip(event.command)} -> {exit_text}{failing}, {took}"


class Check(NamedTuple):
    """One check by name, and whether it passes now."""

    passes: bool
    text: str


def checks(result: Result) -> list[Check]:
    """What verification found out: each check that was fixed, still fails, newly broke …; bounded."""
    kinds = (
        ("fixed", True),
        ("still_failing", False),
        ("newly_broken", False),
        ("timed_out", False),
        ("flaky", False),
        ("not_run", False),
    )
    found: list[Check] = []
    for kind, passes in kinds:
        names = _strings((result.verification or {}).get(kind))
        for name in names[:_NAMES]:
            found.append(Check(passes, f"{became(result, kind, name)}: {clip(name, 300)}"))
        if len(names) > _NAMES:
            found.append(Check(passes, f"{kind.replace('_', ' ')}: {len(names) - _NAMES} more"))
    return found


def became(result: Result, kind: str, name: str) -> str:
    """What a check of that kind is said to be: `still failing`, `timed out after 600 s`."""
    said = kind.replace("_", " ")
    if kind != "timed_out":
        return said
    rows = map(mapping, sequence((result.verification or {}).get("after")))
    taken = [row.get("duration_ms") for row in rows if row.get("command") == name]
    return f"{said} after {taken[0] / 1000:.0f} s" if taken and isinstance(taken[0], int) else said


def summary(result: Result) -> str:
    """The last line: outcome, turns, tokens, cost, time, changed files, session."""
    counts = usage.normalise({}) | result.usage
    read = counts["input_tokens"] + counts["cache_read_input_tokens"]
    about = "about " * counts["estimated"]
    cached = f" ({usage.cached_share(counts) or 0:.0%} cached)" * bool(counts["cache_read_input_tokens"])
    parts = [
        result.subtype if result.is_error else "done",
        plural(result.num_turns, "turn"),
        f"{about}{count(read)} tokens in{cached}, {count(counts['output_tokens'])} out",
        f"{about if result.total_cost_usd else ''}{money(result.total_cost_usd)}",
        duration(result.duration_ms / 1000),
        changed(result.changes),
        _attempt(result.attempts),
        f"commit {result.commit['id'][:12]} on {clip(result.commit['branch'])}" if result.commit else "",
        f"session {clip(result.session_id)}" if result.session_id else "",
    ]
    return "; ".join(part for part in parts if part)


class Row(NamedTuple):
    """One line of a diff; `@` is the head of a hunk, `…` counts what was left out. Not cleaned yet."""

    kind: Literal["+", "-", "@", " ", "…"]
    text: str


def rows(call: ToolCall, result: ToolResult, limit: int) -> list[Row]:
    """What a call changed, at most `limit` rows and one that counts the rest; none if it changes no file."""
    every = _rows(call, result)
    if len(every) <= limit:
        return every
    return [*every[:limit], Row("…", f"{len(every) - limit} more")]


def _attempt(attempts: list[Json]) -> str:
    chosen = next((row["number"] for row in attempts if row["chosen"]), 0)
    return f"attempt {chosen} of {len(attempts)} counts" if chosen else ""


def changed(changes: Iterable[Json]) -> str:
    """`a.py +3 -1, b.py +0 -7 (delete)`, or "" without changes; bounded."""
    every = [_change(change) for change in changes]
    rest = f", {len(every) - _NAMES} more" if len(every) > _NAMES else ""
    return ", ".join(every[:_NAMES]) + rest


def clip(text: str, width: int = _WIDTH) -> str:
    """The first line of `text` that says anything, made visible, cut to `width` characters."""
    head = text[: 16 * width].lstrip()
    line, newline, rest = head.partition("\n")
    more = len(text) > 16 * width or (newline != "" and rest.strip() != "")
    shown = clean_line(line[:width].rstrip().replace("\t", " "))
    if len(shown) <= width and len(line.rstrip()) <= width:
        return f"{shown} …" if more else shown
    return shown[: width - 1] + "…"


def plural(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def count(number: int) -> str:
    """`999`, `1.2k`, `12k`, `1.2M`."""
    if number < 1000:
        return str(number)
    for unit, size in (("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)):
        if number < 9_950 * size // 1000:
            return f"{number / size:.1f}{unit}"
        if number < 999_500 * size // 1000:
            return f"{number / size:.0f}{unit}"
    return f"{number / 1e9:.0f}G"


def money(dollars: float | None) -> str:
    if dollars is None:
        return "cost unknown"
    if 0 < dollars < 0.001:
        return "less than $0.001"
    return f"${dollars:.2f}" if dollars >= 1 else f"${dollars:.3f}"


def duration(seconds: float) -> str:
    """`0.8s`, `12s`, `1m05s`, `1h02m`."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def _subject(name: str, values: Json) -> str:
    """The argument that says most."""
    if name == "search":
        return _search(values)
    if name == "patch":
        return ", ".join(_patched(text_argument(values, "patch", "diff", "input")))
    return text_argument(values, "path", "file_path", "command", "cmd") or _any(values)


def _search(values: Json) -> str:
    pattern, where, glob = (
        text_argument(values, "pattern"),
        text_argument(values, "path"),
        text_argument(values, "glob"),
    )
    parts = [
        f'"{clip(pattern, 60)}"' if pattern else "",
        f"in {where}" if where not in {"", "."} else "",
        f"files {glob}" if glob else "",
    ]
    return " ".join(part for part in parts if part)


def _patched(patch: str) -> list[str]:
    """The files a patch names, cheaply: what stands after `+++` (or `---` where a file goes away)."""
    names: list[str] = []
    old = ""
    for line in patch[: 1 << 16].split("\n"):
        kind, _, rest = line.partition(" ")
        name = rest.partition("\t")[0].strip()
        if kind == "---":
            old = name.removeprefix("a/")
        elif kind == "+++" and len(names) < _NAMES:
            names.append(old if name == "/dev/null" else name.removeprefix("b/"))
    return list(dict.fromkeys(names))


def _any(values: Json) -> str:
    return next((value for value in values.values() if isinstance(value, str)), "")


def _ending(details: Json) -> str:
    code, seconds = details["exit_code"], details.get("seconds")
    ending = "killed" if code is None else f"exit={code}"
    return clip(f"{ending} {duration(seconds)}" if isinstance(seconds, int | float) else ending)


def _added_and_removed(details: Json) -> str:
    """`+3 -1`, summed over the files that a call changed; "" if it does not say."""
    changes: object = details.get("changes", [details])
    added = removed = 0
    for change in cast("list[object]", changes) if isinstance(changes, list) else []:
        counts = cast(Json, change) if isinstance(change, dict) else {}
        more, less = counts.get("added"), counts.get("removed")
        if not isinstance(more, int) or not isinstance(less, int):
            return ""
        added, removed = added + more, removed + less
    return f"+{added} -{removed}" if changes else ""


def _said(call: ToolCall, result: ToolResult) -> str:
    if call.name in {"edit", "write", "patch"}:
        return clip(result.content)
    return plural(result.content.count("\n") + (not result.content.endswith("\n")), "line")


def _change(change: Json) -> str:
    kind = str(change.get("kind", ""))
    name = _name(str(change.get("path", "")))
    old = f"{_name(str(change['from']))} -> " if change.get("from") else ""
    added, removed = change.get("added"), change.get("removed")
    lines = "binary" if added is None or removed is None else f"+{added} -{removed}"
    return f"{old}{name} {lines}" + (f" ({clip(kind)})" if kind in {"create", "delete"} else "")


def _name(path: str) -> str:
    return clip(clean_line(path[:1000]), 200)


def _strings(value: object) -> list[str]:
    return [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def _rows(call: ToolCall, result: ToolResult) -> list[Row]:
    if isinstance(diff := result.details.get("diff"), str):
        return _unified(diff)
    if call.name == "patch":
        return _unified(text_argument(arguments(call), "patch", "diff", "input"))
    if call.name == "edit":
        return _replacement(arguments(call))
    if call.name == "write":
        return [Row("+", line) for line in _lines(text_argument(arguments(call), "content"))]
    return []


def _unified(diff: str) -> list[Row]:
    """The hunks of a diff; the names of its files stand in the line above."""
    found: list[Row] = []
    inside = False
    every = _lines(diff)
    for line, following in zip(every, [*every[1:], ""], strict=True):
        if line.startswith("@@"):
            inside = True
            found.append(Row("@", line.strip("@ ")))
        elif line.startswith("diff ") or (line.startswith("--- ") and following.startswith("+++ ")):
            inside = False
        elif inside:
            sign, rest = line[:1], line[1:]
            found.append(Row("+" if sign == "+" else "-" if sign == "-" else " ", rest))
    return found


def _replacement(values: Json) -> list[Row]:
    """The lines that an edit takes out and puts in, without those that both begin or end with."""
    old = _lines(text_argument(values, "old", "old_string", "oldText"))
    new = _lines(text_argument(values, "new", "new_string", "newText"))
    shorter = min(len(old), len(new))
    head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
    gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
    return [Row("-", line) for line in gone] + [Row("+", line) for line in come]


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []
