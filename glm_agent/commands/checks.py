"""What a run needs of this machine, looked at piece by piece; nothing is changed and nothing is sent."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from .. import __version__, config, git, repository, sandbox
from ..dialects import Model, Provider
from ..errors import AgentError, AuthError, ConfigError, RepositoryError
from ..settings import Settings
from ..transport import check_base_url
from . import mending

_LIBRARIES = ("jsonschema", "openai", "rich", "typer", "unidiff")
_LEAST_GIT = (2, 38)  # knows safe.bareRepository
_PROXY = re.compile(r"(?i:https?|all|no)_proxy", re.IGNORECASE)
_SCHEMES = ("http://", "https://", "socks4://", "socks5://", "socks5h://")
_LITTLE, _NOTHING = 200 << 20, 1 << 20  # bytes of free space: worth a word; a run would end for it


class Check(NamedTuple):
    """`next` says what to do; `subtype` is the outcome of a run that meets what failed here."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    next: str = ""
    subtype: str = ""


def guard(name: str, look: Callable[[], Check], next: str) -> Check:
    """What `look` finds; an error that a run would end with is a check that failed.

    `next` is what to do about an error that does not say so itself.
    """
    try:
        return look()
    except AgentError as error:
        found, _, advice = str(error).partition("; ")
        return Check(name, "fail", found, advice or next, error.subtype)


def check_python(folder: Path) -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    found = f"glm-agent {__version__}, Python {version} at {sys.executable}"
    inside = [entry or "the current folder" for entry in sys.path if _is_in(entry, folder)]
    if inside:
        advice = "start it as `glm-agent`, or with python -P, and leave such folders out of PYTHONPATH"
        return Check("python", "warn", f"{found}; imports from {', '.join(inside)}", advice)
    return Check("python", "ok", f"{found}; imports nothing from {folder}")


def check_libraries() -> Check:
    from importlib.metadata import PackageNotFoundError, version  # 30 ms

    found: list[str] = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            advice = "install glm-agent again"
            return Check("libraries", "fail", f"{name} is not installed", advice, AgentError.subtype)
    return Check("libraries", "ok", ", ".join(found))


def check_git(folder: Path) -> Check:
    binary = git.argv(folder, "version")[0]
    version = os.fsdecode(git.run(folder, "version")).strip().removeprefix("git version ")
    found = f"{version} at {binary}"
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < _LEAST_GIT:
        said = f"{found}, which obeys a bare repository hidden in a work tree (no safe.bareRepository)"
        return Check("git", "warn", said, "install git 2.38 or newer")
    return Check("git", "ok", found)


def check_repository(folder: Path, root: Path | None) -> Check:
    if root is None:
        try:
            repository.require_repository(folder)
        except RepositoryError as error:
            found, _, advice = str(error).partition("; ")
            return Check("repository", "warn", found, f"{advice}; `ask` works without one")
    top = root or folder
    repository.require_repository(top)
    mended = mending.recover(top)
    git_has = repository.describe(top) or {}
    commit = str(git_has.get("head") or "no commit yet")[:12]
    changes = "with changes that are not committed" if git_has.get("dirty") else "clean"
    found = f"{top}: {git_has.get('branch') or 'no branch'} at {commit}, {changes}"
    if mended:
        return Check("repository", "warn", f"{found}; {'; '.join(mended)}", "look at these files")
    return Check("repository", "ok", found)


def check_sandbox() -> Check:
    offer = sandbox.probe()
    kept = f"{f'Landlock ABI {offer.landlock_abi}' if offer.landlock_abi else 'no Landlock'}, seccomp"
    gaps = f"; not kept: {'; '.join(offer.gaps)}" if offer.gaps else ""
    gaps += f"; file tools are {'' if offer.landlock_abi else 'not '}kept to the repository by the kernel too"
    if offer.tier == "A":
        return Check("sandbox", "ok", f"tier A: namespaces with a root of their own, {kept}{gaps}")
    advice = "enable user namespaces, or use a container that has them, for tier A"
    if offer.tier == "B":
        return Check("sandbox", "warn", f"tier B, in place: {offer.reason}; {kept}{gaps}", advice)
    said = f"commands cannot be confined here, so none are offered: {offer.reason}{gaps}"
    return Check("sandbox", "warn", said, advice)


def check_terminal(start: Mapping[str, str]) -> Check:
    kinds = [
        f"{name} {'is a terminal' if stream.isatty() else 'goes elsewhere'}"
        for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr))
    ]
    size = shutil.get_terminal_size()
    term = start.get("TERM", "")
    colour = "off by NO_COLOR" if start.get("NO_COLOR") else f"by TERM={term or '(not set)'}"
    encoding = sys.stdout.encoding or "unknown"
    found = f"{', '.join(kinds)}; {size.columns}x{size.lines}; colour {colour}; encoding {encoding}"
    if encoding.replace("-", "").lower() != "utf8":
        advice = "set LANG=C.UTF-8 or PYTHONUTF8=1: other characters are escaped"
        return Check("terminal", "warn", found, advice)
    return Check("terminal", "ok", found)


def check_config(settings: Settings) -> Check:
    by_origin: dict[str, list[str]] = {}
    for name, origin in settings.origins.items():
        by_origin.setdefault(origin.partition(" ")[0] if origin.startswith("env") else origin, []).append(
            name
        )
    said = [f"{origin}: {', '.join(names)}" for origin, names in by_origin.items()]
    own = config.config_home() / "config.toml"
    if not own.exists():
        said.append(f"{own} is not there, and need not be")
    found = "; ".join(said) or f"{own} says nothing of a run"
    if settings.ignored:
        advice = "say it as a flag, in the environment or in config.toml"
        return Check(
            "config", "warn", f"{found}; {', '.join(settings.ignored)} in an env file is ignored", advice
        )
    return Check("config", "ok", found)


def check_provider(settings: Settings, provider: Provider, model: Model) -> Check:
    url, origin = config.find_base_url(settings, provider)
    check_base_url(url)
    unknown = "" if model.known else f", of which nothing is known: a window of {model.window} is assumed"
    found = f"{provider.name} at {url} ({origin}), model {model.id}{unknown}"
    config.require_privacy(settings, url, origin)
    if not config.is_private(url):
        return Check(
            "provider", "warn", f"{found}; code and key go there unencrypted", "use https, or a tunnel"
        )
    return Check("provider", "ok", found)


def check_key(settings: Settings, provider: Provider, start: Mapping[str, str]) -> Check:
    try:
        found = config.find_key(settings, provider)
    except AuthError as error:
        said, _, advice = str(error).partition(": ")
        return Check("key", "fail", said, advice or "set it anew", error.subtype)
    if found is None:
        return Check("key", "ok", f"{provider.name} needs none")
    variable = found[1]
    if start.get(variable, "").strip():
        return Check("key", "ok", f"in {variable}, from the environment")
    file = Path(settings.env_file or config.config_home() / ".env")
    if file.is_file() and (mode := file.stat().st_mode & 0o077):
        said = f"in {variable}, from {file}, which others may read (mode {mode | 0o600:o})"
        return Check("key", "warn", said, f"chmod 600 {shlex.quote(str(file))}")
    return Check("key", "ok", f"in {variable}, from {file}")


def check_state() -> Check:
    folder = config.state_home()
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    what = str(folder) if there == folder else f"{folder} (to be made in {there})"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        advice = "make it writable, set XDG_STATE_HOME, or use --ephemeral"
        return Check("state", "fail", f"{what} cannot be written", advice, RepositoryError.subtype)
    free = shutil.disk_usage(there).free
    found = f"{what}, {free >> 20} MiB free"
    if free < _NOTHING:
        return Check("state", "fail", found, "make room on that disk", RepositoryError.subtype)
    if there == folder and (mode := stat.S_IMODE(folder.stat().st_mode)) & 0o077:
        return Check("state", "warn", f"{found}, mode {mode:o}", f"chmod 700 {shlex.quote(str(folder))}")
    if free < _LITTLE:
        return Check("state", "warn", found, "make room: sessions, patches and outputs are kept there")
    return Check("state", "ok", found)


def check_network(start: Mapping[str, str]) -> Check:
    """Proxies and certificates that the environment names. Raises ConfigError for what cannot work."""
    proxies = {name: value for name, value in start.items() if _PROXY.fullmatch(name) and value}
    said = [f"{name}={_without_password(value)}" for name, value in sorted(proxies.items())]
    for name, value in proxies.items():
        if name.lower() != "no_proxy" and "://" in value and not value.lower().startswith(_SCHEMES):
            raise ConfigError(f"{name} is no proxy that can be used; say http://HOST:PORT")
    for name, is_there in (("SSL_CERT_FILE", os.path.isfile), ("SSL_CERT_DIR", os.path.isdir)):
        if value := start.get(name):
            if not is_there(value):
                raise ConfigError(f"{name}={value} is not there; correct or unset it")
            said.append(f"{name}={value}")
    if file := start.get("SSLKEYLOGFILE"):
        found = "; ".join([*said, f"SSLKEYLOGFILE={file}: who reads that file can decrypt what is sent"])
        return Check("network", "warn", found, "unset SSLKEYLOGFILE")
    return Check("network", "ok", "; ".join(said) or "no proxy and no certificates named")


def check_clock(date: float | None = None) -> Check:
    """`date` is the time that a host says it is, since the epoch."""
    now = time.time()
    here = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    if date is None:
        return Check("clock", "ok", f"{here}, not compared")
    skew = round(now - date)
    found = f"{here}, {abs(skew)} s {'ahead of' if skew > 0 else 'behind'} the host's"
    if abs(skew) > 60:
        return Check("clock", "warn", found, "set the clock: certificates and waits depend on it")
    return Check("clock", "ok", f"{here}, as the host's")


def subtypes(checks: Iterable[Check]) -> list[str]:
    return [check.subtype for check in checks if check.status == "fail"]


def _is_in(entry: str, folder: Path) -> bool:
    """Whether modules are looked for in `folder`; a virtual environment may well lie there."""
    if not entry or not Path(entry).is_absolute():
        return True
    return Path(entry).resolve() == folder.resolve()


def _without_password(url: str) -> str:
    return re.sub(r"^((?:[A-Za-z0-9+.-]+://)?)[^/]*@", r"\1***@", url)
