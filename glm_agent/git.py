"""The one door to git: nothing that the repository or the environment configures may choose a program to run.

Overrides and environment follow a measurement of 41 traps (hooks, fsmonitor, filters, pagers, drivers …).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from .errors import RepositoryError

_TIMEOUT = 20.0  # seconds; a FIFO in place of a configuration file would hang git for ever

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
    "GIT_SEQUENCE_EDITOR": "false",
    "GIT_ASKPASS": "false",
    "SSH_ASKPASS": "false",
    "GIT_ALLOW_PROTOCOL": "https",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C.UTF-8",
}

_OVERRIDES = (
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "core.pager=cat",
    "core.editor=false",
    "core.askPass=",
    "core.sshCommand=false",
    "core.gitProxy=",
    "core.alternateRefsCommand=true",
    f"core.attributesFile={os.devnull}",
    "core.quotePath=false",
    "core.protectNTFS=true",
    "core.protectHFS=true",
    "credential.helper=",
    "diff.external=",
    "diff.ignoreSubmodules=all",
    "interactive.diffFilter=cat",
    "gpg.program=false",
    "gpg.openpgp.program=false",
    "gpg.x509.program=false",
    "gpg.ssh.program=false",
    "gpg.ssh.defaultKeyCommand=",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "log.showSignature=false",
    "merge.verifySignatures=false",
    "protocol.allow=never",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "gc.recentObjectsHook=",
    "maintenance.auto=false",
    "safe.bareRepository=explicit",
    "uploadpack.packObjectsHook=",
    "commit.template=",
    "blame.ignoreRevsFile=",
    "init.templateDir=",
    "color.ui=false",
)


class GitError(RepositoryError):
    """git ran and failed; `exit_code` is its own."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def find_root(start: Path) -> Path | None:
    """The nearest directory at or above `start` that holds `.git`, found without asking git."""
    return next((folder for folder in (start, *start.parents) if os.path.lexists(folder / ".git")), None)


def argv(root: Path, *args: str) -> list[str]:
    """The whole command line for `git ARGS` in `root`, with every override."""
    overrides = [*_OVERRIDES, f"core.excludesFile={_own_ignore_file(root)}"]
    if (place := os.path.realpath(root)) in _trusted:
        overrides.append(f"safe.directory={place}")
    options = [word for override in overrides for word in ("-c", override)]
    return [_binary(root), "--no-pager", *options, "-C", str(root), *args]


def environment(root: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Built from nothing: no GIT_* of the caller, no key. Git may not look above `root` for a repository."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, **_ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(root.parent), **(extra or {})}


def run(
    root: Path,
    *args: str,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    ok: tuple[int, ...] = (0,),
    timeout: float = _TIMEOUT,
) -> bytes:
    """What `git ARGS` prints, run in `root`. Raises GitError if its exit code is not in `ok`, or it hangs."""
    done = _done(argv(root, *args), environment(root, env), stdin, timeout)
    if _is_refused(done):
        _trust(root)
        done = _done(argv(root, *args), environment(root, env), stdin, timeout)
    if done.returncode not in ok:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(f"git {args[0]} failed: {said[0] if said else 'no message'}", done.returncode)
    return done.stdout


def _done(
    argv: list[str], env: Mapping[str, str], stdin: bytes, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            argv,
            input=stdin,
            env=env,
            capture_output=True,
            timeout=timeout,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git did not answer within {timeout:.0f} s: {shlex.join(argv[-4:])}", -1) from error


_trusted: set[str] = set()  # work trees that belong to somebody else, and that the user calls safe


def _is_refused(done: subprocess.CompletedProcess[bytes]) -> bool:
    """Whether git did not look because the repository belongs to another user."""
    return done.returncode == 128 and b"safe.directory" in done.stderr


def _trust(root: Path) -> None:
    """Raises GitError unless the user's own configuration says that the work tree at `root` is safe."""
    place = os.path.realpath(root)
    if place in _trusted or not any(_means(value, place) for value in _own_values(root, "safe.directory")):
        command = f"git config --global --add safe.directory {shlex.quote(place)}"
        raise GitError(f"{root} belongs to another user; if you trust what is in it: {command}", 128)
    _trusted.add(place)


def _means(value: str, place: str) -> bool:
    if value.endswith("/*"):
        return place.startswith(value[:-1])
    return value == "*" or (bool(value) and os.path.realpath(value) == place)


def _own_values(root: Path, name: str) -> list[str]:
    """What the user's own and the machine's configuration say, read outside of any repository."""
    env = {
        key: value for key, value in os.environ.items() if key.startswith(("GIT_CONFIG", "XDG_CONFIG_HOME"))
    }
    env |= {"GIT_DIR": os.devnull, "LC_ALL": "C.UTF-8"}
    env |= {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    words = [_binary(root), "-C", "/", "config", "-z", "--type=path", "--get-all", name]
    values = _done(words, env, b"", _TIMEOUT).stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    last = max((at for at, value in enumerate(values) if not value), default=-1)
    return values[last + 1 :]  # an empty value takes back all before it


@cache
def _own_ignore_file(root: Path) -> str:
    """The list of what the user ignores everywhere: it is only data, unlike the rest of a configuration."""
    home = Path(os.environ.get("HOME") or "/nonexistent")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git"
    named = [str(folder / "ignore")]
    if _mentions(home / ".gitconfig", b"excludesfile") or _mentions(folder / "config", b"excludesfile"):
        named += _own_values(root, "core.excludesFile")
    file = Path(named[-1])
    return str(file) if file.is_absolute() and file.is_file() else os.devnull


def _mentions(file: Path, word: bytes) -> bool:
    try:
        return file.is_file() and word in file.read_bytes().lower()
    except OSError:  # not readable: as if it were not there
        return False


@cache
def _binary(root: Path) -> str:
    """git's absolute path, never one inside the repository. Raises RepositoryError if there is none."""
    folders = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    trusted = [str(folder) for folder in folders if folder.is_absolute() and not folder.is_relative_to(root)]
    if found := shutil.which("git", path=os.pathsep.join(trusted)):
        return found
    raise RepositoryError("git was not found on PATH; install git")
