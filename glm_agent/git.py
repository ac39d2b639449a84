"""The one door to git: it runs nothing that the repository or the environment chose, and never hangs."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from . import gitdir, gitrules
from .errors import RepositoryError
from .gitdir import find_root

_TIMEOUT = 15.0  # seconds
_SCAN = 5.0  # seconds for reading the configuration
_PATIENCE = 1.0  # seconds until we look whether git waits for what is no file
_STILL = 10.0  # seconds in which a git that works uses some of the processor
_MOST_DRIVERS = 4000  # settings that are overridden one by one

__all__ = [
    "GitError",
    "argv",
    "binary",
    "elsewhere",
    "environment",
    "find_root",
    "hook",
    "identity",
    "ignored",
    "obstacle",
    "refer",
    "run",
    "stamp",
]


class GitError(RepositoryError):
    """git ran and failed; `exit_code` is its own."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def argv(root: Path, *args: str, more: Collection[str] = ()) -> list[str]:
    """The whole command line for `git ARGS` in `root`, with every override; `more` verbs may be used."""
    verb = next(iter(args[_options(args) :]), "")
    if args and verb not in gitrules.VERBS and verb not in more:
        raise ValueError(f"git {verb} is not among gitrules.VERBS, the words that stay on this machine")
    overrides = [*gitrules.OVERRIDES, f"core.excludesFile={_own_ignore_file(root)}"]
    if (place := os.path.realpath(root)) in _trusted:
        overrides.append(f"safe.directory={place}")
    options = [word for override in overrides for word in ("-c", override)]
    return [binary(root), "--no-pager", *options, "-C", str(root), *args]


def environment(root: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Built from nothing: no GIT_* of the caller, no key. Git may not look above `root` for a repository.

    Raises RepositoryError for a repository that git would hang on, or be led away by.
    """
    return {**_surroundings(root), **_without_drivers(root), **(extra or {})}


def binary(root: Path) -> str:
    """git's absolute path, never one inside the repository. Raises RepositoryError if there is none."""
    path = _path(root)
    found = shutil.which("git", path=path)
    if found and not _is_theirs(found, root):
        return found
    raise RepositoryError("git was not found on PATH; install git")


def ignored() -> list[str]:
    """Variables of the caller's that would have led git elsewhere, and that it is not given."""
    return [name for name in gitrules.LEADING if name in os.environ]


def run(
    root: Path,
    *args: str,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    ok: tuple[int, ...] = (0,),
    timeout: float = _TIMEOUT,
) -> bytes:
    """What `git ARGS` prints, run in `root`. Raises GitError if its exit code is not in `ok`, or it hangs."""
    done = _done(root, argv(root, *args), environment(root, env), stdin, timeout)
    if _is_refused(done):
        _trust(root)
        done = _done(root, argv(root, *args), environment(root, env), stdin, timeout)
    if done.code not in ok:
        raise GitError(f"git {args[0]} failed: {_first_line(done)}", done.code)
    return done.stdout


def elsewhere(root: Path) -> list[Path]:
    """Files and folders outside of `root` that git reads there. Raises RepositoryError, as `environment`."""
    found = [Path(_own_ignore_file(root))]
    if os.path.lexists(root / ".git"):
        places = gitdir.locate(root)
        named = _scan(root, stamp(root)).files
        found += [*places, *gitdir.lenders(places), *(root / name for name in named)]
    return found


def refer(root: Path, *args: str, env: Mapping[str, str], ok: tuple[int, ...] = (0,)) -> bytes:
    """What a git command that may move references prints. Raises GitError as `run` does."""
    done = _done(root, argv(root, *args, more=gitrules.REFERENCES), environment(root, env), b"", _TIMEOUT)
    if done.code not in ok:
        raise GitError(f"git {args[0]} failed: {_first_line(done)}", done.code)
    return done.stdout


def identity(root: Path) -> dict[str, str] | None:
    """Who the user is in `root`, as variables for git: by their own configuration too. None if unknown."""
    own = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG", "EMAIL", "XDG_CONFIG_HOME", "HOME")
    env = {name: value for name, value in os.environ.items() if name.startswith(own)}
    env |= {"PATH": _path(root), "LC_ALL": "C.UTF-8", "GIT_DIR": str(gitdir.locate(root).folder)}
    found: dict[str, str] = {}
    for who in ("AUTHOR", "COMMITTER"):
        words = ("-c", "user.useConfigOnly=true", "var", f"GIT_{who}_IDENT")
        done = _done(root, [binary(root), "-C", str(root), *words], env, b"", _SCAN)
        name, _, rest = done.stdout.decode("utf-8", "surrogateescape").rpartition("> ")[0].partition(" <")
        if done.code or not name:
            return None
        found |= {f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": rest}
    return found


def hook(root: Path, name: str, *args: str, index: Path) -> tuple[list[str], dict[str, str]]:
    """Command line and environment for a hook of the user's, run as they would run it; none is no failure."""
    env = {key: value for key, value in os.environ.items() if key not in gitrules.LEADING}
    env |= {"GIT_INDEX_FILE": str(index), "GIT_EDITOR": ":", "GIT_TERMINAL_PROMPT": "0"}
    return [binary(root), "-C", str(root), "hook", "run", "--ignore-missing", name, "--", *args], env


def stamp(root: Path) -> tuple[int, ...]:
    """What changes with the repository's configuration. Raises RepositoryError, as `gitdir.locate` does."""
    places = gitdir.locate(root)
    found: list[int] = []
    for file in (places.common / "config", places.folder / "config.worktree"):
        with suppress(OSError):
            status = file.stat()
            found += (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return tuple(found)


def obstacle(root: Path, give_up: Callable[[], bool] = lambda: False) -> Path | None:
    """What git would wait for for ever: somewhere in the tree, in git's folders, or a file to be included."""
    if (found := gitdir.obstacle(root, give_up)) or find_root(root) != root:
        return found
    places = gitdir.locate(root)
    todo = [places.common / "config", places.folder / "config.worktree"]
    for file in todo:  # it grows
        if len(todo) > 100 or not file.is_file():
            continue
        for name in _included(root, file):
            place = file.parent / os.path.expanduser(name)  # noqa: PTH111 - there may be no home
            if place.exists() and not place.is_file():
                return place
            todo.append(place)
    return None


def _options(args: tuple[str, ...]) -> int:
    """How many words `-c NAME=VALUE` take before the verb."""
    at = 0
    while args[at : at + 1] == ("-c",):
        at += 2
    return at


def _surroundings(root: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": _path(root), **gitrules.ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(root.parent)}


def _without_drivers(root: Path) -> dict[str, str]:
    """Variables that make every driver run nothing: their names may hold `=`, which `-c` cannot say."""
    return dict(_scan(root, stamp(root)).overrides) if os.path.lexists(root / ".git") else {}


class _Scan(NamedTuple):
    overrides: tuple[tuple[str, str], ...]  # variables that make every configured program nothing
    files: frozenset[str]  # that the configuration is in


@cache
def _scan(root: Path, _: tuple[int, ...]) -> _Scan:
    """One look at the configuration, with all that it includes."""
    env = _surroundings(root) | gitrules.counted([(gitrules.MARKER, "1")])
    env["GIT_DIR"] = str(gitdir.locate(root).folder)  # whoever owns it: it is only read
    options = ("--includes", "--show-origin", "--name-only", "-z", "--list")
    done = _done(root, [binary(root), "-C", str(root), "config", *options], env, b"", _SCAN)
    if done.code:
        raise GitError(f"git cannot read the configuration of {root}: {_first_line(done)}", done.code)
    said = os.fsdecode(done.stdout).split("\0")
    names, origins = set(said[1::2]), set(said[::2])
    if gitrules.MARKER not in names:
        raise RepositoryError("this git is too old to be told what not to run; install git 2.31 or newer")
    pairs = gitrules.harmless(names)
    if len(pairs) > _MOST_DRIVERS:
        raise RepositoryError(f"{root} configures more than {_MOST_DRIVERS} programs for git; remove some")
    files = frozenset(origin[5:] for origin in origins if origin.startswith("file:"))
    return _Scan(tuple(gitrules.counted(pairs).items()), files)


def _included(root: Path, file: Path) -> list[str]:
    options = ("--no-includes", "-z", "--file", str(file), "--get-regexp", r"^include.*path$")
    words = [binary(root), "config", *options]
    done = subprocess.run(words, env=_surroundings(root), capture_output=True, timeout=_SCAN, check=False)
    entries = done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return [entry.partition("\n")[2] for entry in entries]


class _Done(NamedTuple):
    code: int
    stdout: bytes
    stderr: bytes


def _first_line(done: _Done) -> str:
    return done.stderr.decode(errors="replace").strip().split("\n")[0] or "no message"


def _done(root: Path, words: list[str], env: Mapping[str, str], stdin: bytes, timeout: float) -> _Done:
    """git to its end. Raises RepositoryError if it does not come, and names what git waits for."""
    try:
        process = subprocess.Popen(
            words,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except OSError as error:
        raise RepositoryError(f"git cannot be started: {error.strerror}") from error
    with process:
        try:
            stdout, stderr = _talk(root, process, stdin, timeout)
        except subprocess.TimeoutExpired as error:
            said = shlex.join(words[-4:])
            raise GitError(f"git did not answer within {timeout:.0f} s: {said}", -1) from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return _Done(process.returncode, stdout, stderr)


def _talk(root: Path, git: subprocess.Popen[bytes], stdin: bytes, timeout: float) -> tuple[bytes, bytes]:
    """What git says. Raises TimeoutExpired also if it has come to a standstill."""
    end = time.monotonic() + timeout
    with suppress(subprocess.TimeoutExpired):
        return git.communicate(stdin, min(timeout, _PATIENCE))
    if place := obstacle(root, lambda: git.poll() is not None):
        raise GitError(f"{place} is not a regular file, and git waits for it; remove it", -1)
    used = math.nan
    while (left := end - time.monotonic()) > 0 and used != (used := _processor_time(git.pid)):
        with suppress(subprocess.TimeoutExpired):
            return git.communicate(timeout=min(left, _STILL))
    raise subprocess.TimeoutExpired(git.args, timeout)


def _processor_time(pid: int) -> float:
    """In some unit; unlike every other, where it cannot be known, and while it waits for the disk."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return math.nan
    return math.nan if fields[0] == b"D" else float(fields[11]) + float(fields[12])


_trusted: set[str] = set()  # work trees that belong to somebody else, and that the user calls safe


def _is_refused(done: _Done) -> bool:
    """Whether git did not look because the repository belongs to another user."""
    return done.code == 128 and b"safe.directory" in done.stderr


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
    env |= {"HOME": os.environ["HOME"]} if "HOME" in os.environ else {}
    words = [binary(root), "-C", "/", "config", "-z", "--type=path", "--get-all", name]
    done = _done(root, words, env | {"PATH": _path(root)}, b"", _SCAN)
    values = done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
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


_repositories: set[str] = set()  # that git has been asked about


def _path(root: Path) -> str:
    """The entries of PATH that are absolute and lead neither into `root` nor into one of these repositories.

    A private copy holds no programs, but those of its original are on PATH still.
    """
    if os.path.lexists(root / ".git"):
        _repositories.add(os.path.realpath(root))
    return _without_theirs(root, len(_repositories), os.environ.get("PATH", os.defpath))


@cache
def _without_theirs(root: Path, _: int, path: str) -> str:
    entries = [entry for entry in path.split(os.pathsep) if Path(entry).is_absolute()]
    return os.pathsep.join(entry for entry in entries if not _is_theirs(entry, root))


def _is_theirs(place: str, root: Path) -> bool:
    real = Path(os.path.realpath(place))
    above = {str(folder) for folder in (real, *real.parents)}
    return os.path.realpath(root) in above or not _repositories.isdisjoint(above)
