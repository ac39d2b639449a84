"""`doctor`: what a run would meet here; with `--live`, what the endpoint really does.

Nothing is sent without `--live`, and nothing is written without `--save`, but that changes of files which a
kill cut short are finished or taken back.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from .. import config, dialects, outcome
from ..errors import AgentError, ConfigError, UsageError
from ..git import find_root
from ..redact import Redactor
from ..render import expendable, writer
from ..render.sanitize import clean_line
from ..retry import Failure
from ..rows import BadRow, Model, Provider
from ..settings import Settings
from ..transport import Transport
from ..types import Json
from ..watchdog import Limits, watch
from . import checks, findings
from .checks import Check, guard
from .connection import choose_model, connect
from .interview import MOST, Answer, Facts, interview, listen
from .plain import as_json, print_text

_ALL = 180.0  # seconds for all questions
_LIMITS = Limits(headers=30.0, event=45.0, idle=20.0, settle=2.0, total=60.0)
_ROW = "mine"  # the name of a row that is only printed


class Live(NamedTuple):
    """What the endpoint showed; `row` is a table for config.toml, "" if nothing answered."""

    checks: list[Check]
    bill: str
    row: str = ""


def run(as_data: bool, live: bool, save: str | None, flags: Mapping[str, object]) -> int:
    """The exit code of a run that would meet what was found."""
    found: list[Check] = []
    code = print_text(lambda: _text(as_data, live, save, flags, found))
    return code or outcome.decide(checks.subtypes(found)).exit_code


def _text(
    as_data: bool, live: bool, save: str | None, flags: Mapping[str, object], found: list[Check]
) -> str:
    if save is not None and not live:
        raise UsageError("--save keeps what --live finds out; give both")
    settings = _look(flags, found)
    if save is not None:
        config.require_new_provider(save)
    if not live:
        found.append(checks.check_clock())
    heard = _ask(settings, save or _ROW, found) if live else Live([], "")
    found += heard.checks
    saved = ""
    if save is not None and heard.row:
        try:
            saved = str(config.add_provider(save, heard.row))
        except ConfigError as error:
            advice = "put the row there by hand"
            found.append(Check("save", "fail", str(error), advice, error.subtype))
    names = {config.KEY, *(name for row in dialects.providers().values() for name in row.key_env)}
    redact = Redactor(settings.environment.get(name, "") for name in names)
    return redact(_as_json(found, heard, saved) if as_data else _as_text(found, heard, saved, save))


def _look(flags: Mapping[str, object], found: list[Check]) -> Settings:
    """Adds what this machine shows to `found`; the settings of a run, as far as they can be read."""
    start = config.environment()
    given = {name: value for name, value in flags.items() if name != "cd"}
    folder = Path("/")
    try:
        folder = config.working_folder(flags.get("cd"))
    except AgentError as error:
        found.append(Check("folder", "fail", str(error), "give another folder with -C", error.subtype))
    root = find_root(folder)
    found += [
        checks.check_python(root or folder),
        checks.check_libraries(),
        guard("git", lambda: checks.check_git(root or folder), "install git, or mend it"),
        guard("repository", lambda: checks.check_repository(folder, root), "mend it; `git fsck` may help"),
        checks.check_sandbox(),
        checks.check_terminal(start),
    ]
    try:
        settings = config.load(given, folder, root)
        found.append(checks.check_config(settings))
    except ConfigError as error:
        settings = replace(config.fallback(given), environment=start)
        found.append(Check("config", "fail", str(error), "correct it, or run with --bare", error.subtype))
    found += _ways_out(settings, start)
    return settings


def _ways_out(settings: Settings, start: Mapping[str, str]) -> Iterator[Check]:
    """What lies between a run and its model, and where it keeps things."""
    try:
        provider, model = choose_model(settings)
    except AgentError as error:
        yield Check("provider", "fail", str(error), "`glm-agent models` lists what is known", error.subtype)
    else:
        yield guard(
            "provider",
            lambda: checks.check_provider(settings, provider, model),
            "correct it with --base-url, or in config.toml",
        )
        yield guard("key", lambda: checks.check_key(settings, provider, start), "set it anew")
    yield guard("state", checks.check_state, "set HOME or XDG_STATE_HOME")
    yield guard("network", lambda: checks.check_network(start), "correct or unset it")


def _ask(settings: Settings, name: str, found: list[Check]) -> Live:
    """Asks the endpoint, unless it is known already that it cannot be."""
    stuck = [
        check.name
        for check in found
        if check.status == "fail" and check.name in ("provider", "key", "network")
    ]
    if stuck:
        return Live([], f"nothing was sent: {', '.join(stuck)} failed")
    provider, model = choose_model(settings)
    transport = connect(settings, provider)
    facts, headers = Facts(), dict[str, str]()
    with closing(transport):
        _converse(transport, provider, model, facts, headers)
    said = findings.describe(facts, provider, transport.host)
    said += _by_headers(headers)
    bill = findings.bill(facts, dialects.price(provider, model))
    if facts.failure is not None:
        return Live(said, bill)
    url, _ = config.find_base_url(settings, provider)
    at_home = provider._replace(base_url=url, base_url_env=(), key_needed=transport.key is not None)
    try:
        return Live(said, bill, findings.as_toml(findings.learned(facts, at_home, model), name))
    except BadRow as error:
        said.append(Check("row", "warn", f"none for {url}: {error}", "use a plain URL"))
        return Live(said, bill)


def _converse(
    transport: Transport, provider: Provider, model: Model, facts: Facts, headers: dict[str, str]
) -> None:
    """Sends each question and hands back its answer, until there are no more or the time is up."""
    end = time.monotonic() + _ALL
    say = writer(expendable(sys.stderr))
    with closing(interview(provider, model, facts)) as questions:
        body = next(questions, None)
        while body is not None and (left := end - time.monotonic()) > 0:
            if sys.stderr.isatty():
                say(f"question {facts.requests} of at most {MOST}\n")
            answer = _put(transport, body, min(left, _LIMITS.total), headers)
            try:
                body = questions.send(answer)
            except StopIteration:
                return


def _put(transport: Transport, body: Json, seconds: float, headers: dict[str, str]) -> Answer:
    exchange = transport.ask(body)
    try:
        with closing(watch(exchange, _LIMITS._replace(total=seconds), threading.Event())) as answer:
            return listen(answer)
    except Failure as error:
        return Answer(failure=error)
    finally:
        headers.update(transport.headers)


def _by_headers(headers: Mapping[str, str]) -> Iterator[Check]:
    from email.utils import parsedate_to_datetime  # 14 ms

    try:
        yield checks.check_clock(parsedate_to_datetime(headers.get("date", "")).timestamp())
    except (ValueError, TypeError, OverflowError):
        yield checks.check_clock()
    rates = [f"{name}: {value}" for name, value in headers.items() if "ratelimit" in name.replace("-", "")]
    yield Check("limits", "ok", ", ".join(rates[:6]) or "the host says nothing of its limits")


def _as_text(found: list[Check], heard: Live, saved: str, save: str | None) -> str:
    width = max(len(check.name) for check in found)
    lines: list[str] = []
    for check in found:
        lines.append(f"{check.status:<4}  {check.name:<{width}}  {clean_line(check.found)}")
        if check.next:
            lines.append(f"{'':<{width + 6}}  -> {clean_line(check.next)}")
    if heard.bill:
        lines += ["", heard.bill]
    if saved:
        lines += ["", f"saved in {saved}; use it with --provider {save}"]
    elif heard.row:
        lines += ["", "# for your config.toml, or let --save NAME write it there", heard.row.rstrip("\n")]
    return "\n".join(lines) + "\n"


def _as_json(found: list[Check], heard: Live, saved: str) -> str:
    end = outcome.decide(checks.subtypes(found))
    rows = [{name: value for name, value in check._asdict().items() if value} for check in found]
    live = {"cost": heard.bill, "row": heard.row or None, "saved": saved or None} if heard.bill else None
    return as_json({"subtype": end.subtype, "exit_code": end.exit_code, "checks": rows, "live": live})
