"""The one door to git: nothing that the repository or the environment configures may choose a program to run.

Overrides and environment follow a measurement of 41 traps (hooks, fsmonitor, filters, pagers, drivers …).
"""

from __future__ import annotations

import os
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
    f"core.excludesFile={os.devnull}",
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
    options = [word for override in _OVERRIDES for word in ("-c", override)]
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
) -> bytes:
    """What `git ARGS` prints, run in `root`. Raises GitError if its exit code is not in `ok`, or it hangs."""
    try:
        done = subprocess.run(
            argv(root, *args),
            input=stdin,
            env=environment(root, env),
            capture_output=True,
            timeout=_TIMEOUT,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {args[0]} did not answer within {_TIMEOUT:.0f} s in {root}", -1) from error
    if done.returncode not in ok:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(f"git {args[0]} failed: {said[0] if said else 'no message'}", done.returncode)
    return done.stdout


@cache
def _binary(root: Path) -> str:
    """git's absolute path, never one inside the repository. Raises RepositoryError if there is none."""
    folders = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    trusted = [str(folder) for folder in folders if folder.is_absolute() and not folder.is_relative_to(root)]
    if found := shutil.which("git", path=os.pathsep.join(trusted)):
        return found
    raise RepositoryError("git was not found on PATH; install git")
