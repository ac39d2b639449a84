"""What can be set, and how a value given as text or TOML is read: one row an option."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .globs import check

Parse = Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Settings:
    """Every option of a run, after all layers; `origins` says where each that is no default came from.

    `environment` is what keys and base URLs are looked up in: the starting environment and the user's own
    env files, never a repository's; `ignored` names what an env file may not set. `demands` are the globs
    of the repository's file, by option, which hold besides the user's.
    """

    provider: str | None = None
    model: str | None = None
    base_url: str | None = None
    thinking: bool | None = None
    lean_thinking: bool = True
    effort: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    insecure_http: bool = False
    output_format: Literal["text", "json", "stream-json"] = "text"
    include_partial_messages: bool = False
    output_last_message: str | None = None
    patch: str | None = None
    report: tuple[str, ...] = ()
    max_turns: int | None = None
    max_wall_time: float | None = None
    max_tool_calls: int | None = None
    max_total_tokens: int | None = None
    max_budget_usd: float | None = None
    timeout_connect: float | None = None
    timeout_headers: float | None = None
    timeout_first: float | None = None
    timeout_idle: float | None = None
    timeout_turn: float | None = None
    sandbox: str | None = None
    sandbox_tier: str | None = None
    sandbox_read: tuple[str, ...] = ()
    network: bool = False
    allow_secrets: tuple[str, ...] = ()
    allow_path: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    protect: tuple[str, ...] = ()
    max_diff_lines: int | None = None
    allow_binary: bool = False
    keep: bool = False
    yolo: bool = False
    verify: tuple[str, ...] = ()
    verify_timeout: float = 600.0
    verify_rounds: int = 3
    allow_empty: bool = False
    verify_junit: tuple[str, ...] = ()
    known_failures: bool = False
    flaky_runs: int = 0
    from_report: tuple[str, ...] = ()
    allow_merge: bool = False
    allow_fork: bool = False
    dry_run: bool = False
    worktree: bool = False
    attempts: int | None = None
    commit: bool = False
    branch: str | None = None
    run_hooks: bool = False
    json_schema: str | None = None
    agents_md: bool = True
    append_system_prompt: str | None = None
    bare: bool = False
    env_file: str | None = None
    prompt_file: str | None = None
    stdin: bool | None = None
    ephemeral: bool = False
    quiet: bool = False
    verbose: bool = False
    debug_file: str | None = None
    record: str | None = None
    color: Literal["auto", "always", "never"] = "auto"
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    ignored: tuple[str, ...] = ()
    demands: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


class Option(NamedTuple):
    """`parse` raises ValueError with what was expected.

    repository  no: a repository's file may not set it; yes: it may; lower: it may only make it smaller;
                add: what it says holds besides what the user says
    file        whether the user's own config.toml may set it
    """

    parse: Parse
    repository: str = "no"
    file: bool = True


def text(value: object) -> str:
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return value
    raise ValueError("expected a text")


def flag(value: object) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("expected true or false")


def integer(least: int) -> Parse:
    def parse(value: object) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value) else value
        if isinstance(number, int) and not isinstance(number, bool) and least <= number < 10**9:
            return number
        raise ValueError(f"expected a whole number, {least} or more")

    return parse


def number(least: float, most: float) -> Parse:
    def parse(value: object) -> float:
        try:
            found = float(value) if isinstance(value, str | int | float) else least - 1
        except (ValueError, OverflowError):
            found = least - 1
        if least <= found <= most:
            return found
        raise ValueError(f"expected a number from {least:g} to {most:g}")

    return parse


def duration(value: object) -> float:
    """Seconds from `90`, `90s`, `10m`, `1h30m`, `30d`."""
    units = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
    form = "".join(f"(?:([0-9]{{1,9}}){unit}{'?' * (unit == 's')})?" for unit in units)
    found = re.fullmatch(form, str(value).strip())
    parts = found.groups() if found else ()
    seconds = sum(int(part or 0) * unit for part, unit in zip(parts, units.values(), strict=False))
    if 0 < seconds < 10**9:
        return float(seconds)
    raise ValueError("expected a duration like 90s, 10m or 1h30m")


def timeout(value: object) -> float:
    """Seconds from a duration, or from a part of a minute such as `0.5` or `2.5s`."""
    if re.fullmatch(r"[0-9]{1,2}\.[0-9]{1,3}s?", given := str(value).strip()) and float(given.rstrip("s")):
        return float(given.rstrip("s"))
    return duration(value)


def choice(*words: str) -> Parse:
    def parse(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise ValueError(f"expected {', '.join(words[:-1])} or {words[-1]}")

    return parse


def texts(value: object) -> tuple[str, ...]:
    """A list of texts; one text is a list of one."""
    items: list[object] = [*value] if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType]
    return tuple(text(item) for item in items)


def reports(value: object) -> tuple[str, ...]:
    found = texts(value)
    if all(re.match("(?:md|junit|sarif)=.", item) for item in found):
        return found
    raise ValueError("expected md=FILE, junit=FILE or sarif=FILE")


def globs(value: object) -> tuple[str, ...]:
    return tuple(map(check, texts(value)))


OPTIONS: dict[str, Option] = {
    "provider": Option(text),
    "model": Option(text, repository="yes"),
    "base_url": Option(text),
    "thinking": Option(flag),
    "lean_thinking": Option(flag),
    "effort": Option(choice("low", "high", "max")),
    "temperature": Option(number(0, 2)),
    "max_tokens": Option(integer(1)),
    "insecure_http": Option(flag),
    "output_format": Option(choice("text", "json", "stream-json")),
    "include_partial_messages": Option(flag),
    "output_last_message": Option(text, file=False),
    "patch": Option(text, file=False),
    "report": Option(reports, file=False),
    "max_turns": Option(integer(1), repository="lower"),
    "max_wall_time": Option(duration, repository="lower"),
    "max_tool_calls": Option(integer(1), repository="lower"),
    "max_total_tokens": Option(integer(1), repository="lower"),
    "max_budget_usd": Option(number(0.0001, 1e6), repository="lower"),
    "timeout_connect": Option(timeout),
    "timeout_headers": Option(timeout),
    "timeout_first": Option(timeout),
    "timeout_idle": Option(timeout),
    "timeout_turn": Option(timeout),
    "sandbox": Option(choice("read-only", "workspace-write", "danger-full-access")),
    "sandbox_tier": Option(choice("A", "B")),
    "sandbox_read": Option(texts),
    "network": Option(flag),
    "allow_secrets": Option(texts),
    "allow_path": Option(texts),
    "only": Option(globs, repository="add"),
    "protect": Option(globs, repository="add"),
    "max_diff_lines": Option(integer(0), repository="lower"),
    "allow_binary": Option(flag),
    "keep": Option(flag),
    "yolo": Option(flag),
    "verify": Option(texts, repository="yes"),
    "verify_timeout": Option(duration),
    "verify_rounds": Option(integer(1)),
    "allow_empty": Option(flag),
    "verify_junit": Option(texts, repository="yes"),
    "known_failures": Option(flag),
    "flaky_runs": Option(integer(0)),
    "from_report": Option(texts, file=False),
    "allow_merge": Option(flag),
    "allow_fork": Option(flag),
    "dry_run": Option(flag),
    "worktree": Option(flag),
    "attempts": Option(integer(1)),
    "commit": Option(flag),
    "branch": Option(text, file=False),
    "run_hooks": Option(flag),
    "json_schema": Option(text, file=False),
    "agents_md": Option(flag),
    "append_system_prompt": Option(text),
    "bare": Option(flag, file=False),
    "env_file": Option(text, file=False),
    "prompt_file": Option(text, file=False),
    "stdin": Option(flag, file=False),
    "ephemeral": Option(flag),
    "quiet": Option(flag),
    "verbose": Option(flag),
    "debug_file": Option(text, file=False),
    "record": Option(text, file=False),
    "color": Option(choice("auto", "always", "never")),
}
