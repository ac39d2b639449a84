"""What a command needs of the machine: tool chains, caches, an environment. Never a whole home."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .policy import Policy

_OWN = {
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",  # it is not readable
    "GIT_OPTIONAL_LOCKS": "0",  # .git is read-only
    "DEBIAN_FRONTEND": "noninteractive",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
_KEPT = (
    *("USER", "LOGNAME", "SHELL", "TZ", "CI", "LANG", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES"),
    *("LC_MONETARY", "LC_NUMERIC", "LC_TIME", "PYTHONPATH", "CONDA_DEFAULT_ENV", "PYENV_VERSION", "GOFLAGS"),
    *("RUSTUP_TOOLCHAIN", "NODE_PATH", "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "LD_LIBRARY_PATH"),
    *("PKG_CONFIG_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
# Kept, and what they name is readable.
_TOOL_HOMES = (
    *("VIRTUAL_ENV", "CONDA_PREFIX", "PYENV_ROOT", "JAVA_HOME", "ANDROID_HOME", "DOTNET_ROOT", "GOROOT"),
    *("GOMODCACHE", "CARGO_HOME", "RUSTUP_HOME", "NVM_DIR", "GEM_HOME", "BUNDLE_PATH"),
)
# Below the home: tool chains that no link on PATH leads to, and caches. None of them keeps credentials.
_IN_HOME = (
    *(".pyenv", ".rustup", ".nvm/versions", ".volta/tools", ".sdkman/candidates", ".asdf/installs"),
    *(".local/share/uv/python", ".local/share/mise/installs", ".local/lib", ".cargo/bin", ".cargo/registry"),
    *(
        ".cargo/git",
        ".cargo/env",
        "go/pkg/mod",
        ".m2/repository",
        ".m2/wrapper",
        ".npm/_cacache",
        ".cache/pip",
    ),
)
# What a tool chain's folder may hold, if it is one that was found by way of PATH.
CREDENTIALS = (
    *("credentials", "credentials.toml", ".credentials", "config.toml", ".npmrc", ".netrc", ".pypirc"),
    *("settings.xml", "settings-security.xml", "auth.json", "etc/npmrc", "etc/pip.conf"),
)
TOO_MUCH = ("/", "/root", "/home", "/tmp", "/var", "/etc", "/run", "/proc", "/sys", "/dev", "/mnt", "/srv")
_BIN = ("bin", "sbin", "shims", "condabin", "Scripts")


def standard(
    root: Path, start: Mapping[str, str], state: Path, tmp: Path, *, text: str = "", read: Iterable[Path] = ()
) -> Policy:
    """What is usual for the work tree `root` and a user whose environment is `start`: no network, no secrets.

    `state`, kept for this repository, and `tmp`, for this run, are folders of ours, made if need be. `text`
    is the user's own, such as a command to verify with; `read` are further paths to be readable.
    """
    root = root.resolve()
    home = Path(start.get("HOME", "/"))
    seen = home if _is_a_home(home, root) else Path("/home/agent")
    places = [state / "home", tmp, state / "guard"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    own_home, tmp, store = (place.resolve() for place in places)
    found = (*tool_chains(start, root, home, text), *read)
    hidden = tuple(path / name for path in found for name in CREDENTIALS if os.access(path / name, os.F_OK))
    return Policy(root, own_home, seen, tmp, store, environment(start, root, seen), found, hidden=hidden)


def _is_a_home(home: Path, root: Path) -> bool:
    return home.is_absolute() and len(home.parts) > 1 and not _is_in(home, root) and not _is_system(home)


def environment(start: Mapping[str, str], root: Path, home: Path) -> dict[str, str]:
    """What a command gets of the user's environment `start`: listed names, none of them a key's."""
    kept = {name: start[name] for name in (*_KEPT, *_TOOL_HOMES) if name in start}
    path = os.pathsep.join(map(str, _path(start, root)))
    return {**kept, **_OWN, "PATH": path or os.defpath, "HOME": str(home)}


def _path(start: Mapping[str, str], root: Path) -> Iterator[Path]:
    """Of PATH what is absolute and not in the tree, except the virtual environment that is active."""
    active = start.get("VIRTUAL_ENV")
    for entry in start.get("PATH", os.defpath).split(os.pathsep):
        folder = Path(entry)
        if not folder.is_absolute():
            continue
        if not _is_in(folder, root) or (active and folder == Path(active, "bin")):
            yield folder


def tool_chains(start: Mapping[str, str], root: Path, home: Path, text: str = "") -> tuple[Path, ...]:
    """Folders and files to be readable besides the system's own.

    They follow from PATH, from variables that name tool chains, from our own Python, from what is usual below
    `home`, and from absolute paths in `text`, words of the user's own such as a command to verify with.
    """
    found: dict[Path, None] = {}
    for folder in _path(start, root):
        _follow(folder, root, home, found)
    for place in (sys.prefix, sys.base_prefix, *(start[name] for name in _TOOL_HOMES if name in start)):
        if Path(place).is_absolute():
            _add(Path(place), root, home, found)
    for place in (*(home / name for name in _IN_HOME), *_paths_in(text)):
        _add(place, root, home, found)
    return tuple(path for path in found if os.access(path, os.F_OK))


def installation(program: Path, root: Path, home: Path) -> tuple[Path, ...]:
    """What `program` is a part of: its folder, and where the links there lead."""
    found: dict[Path, None] = {}
    _follow(program.parent, root, home, found)
    return tuple(found)


def _paths_in(text: str) -> Iterable[Path]:
    return [Path(word) for word in re.findall(r"(?:^|(?<=[\s=:'\"(]))/[^\s:;'\"|&<>()$`*?]+", text)]


def _follow(folder: Path, root: Path, home: Path, found: dict[Path, None]) -> None:
    """A folder of PATH, the installation it belongs to, and those that its links lead to."""
    if folder in found or not os.access(folder, os.R_OK | os.X_OK):
        return
    if _is_in(folder, root) or _is_in(folder.resolve(), root):
        return  # what the repository's own links and settings say is not to be believed
    _add(folder, root, home, found)
    if _is_system(folder.resolve()):
        return
    _add(_prefix(folder), root, home, found)
    _add(_prefix(folder.resolve()), root, home, found)
    _add_base(folder.parent, root, home, found)
    for entry in _links(folder):
        target = entry.resolve()
        if os.access(target, os.F_OK) and not _is_system(target) and not _is_in(target, root):
            _add(target, root, home, found)
            if target.parent.name in _BIN:
                _add(_prefix(target.parent), root, home, found)
                _add_base(target.parent.parent, root, home, found)


def _add_base(prefix: Path, root: Path, home: Path, found: dict[Path, None]) -> None:
    """The Python that a virtual environment at `prefix` was made from."""
    try:
        lines = (prefix / "pyvenv.cfg").read_text("utf-8").split("\n")
    except (OSError, ValueError):
        return
    for line in lines:
        key, _, value = line.partition("=")
        base = Path(value.strip())
        if key.strip() == "home" and base.is_absolute():
            _add(_prefix(base), root, home, found)
            _add(_prefix(base.resolve()), root, home, found)


def _links(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if entry.is_symlink()]
    except OSError:
        return []


def _prefix(folder: Path) -> Path:
    return folder.parent if folder.name in _BIN else folder


def _add(path: Path, root: Path, home: Path, found: dict[Path, None]) -> None:
    """Unless it is the tree's own, or so much that it would hold a home."""
    path = Path(os.path.normpath(path))
    for place in (path, path.resolve()):
        too_much = {
            home,
            home.resolve(),
            home / ".local",
            home / ".config",
            home / ".local/share",
            home / ".cache",
        }
        holds_a_home = _is_in(home, place) or place.parent == Path("/home") or str(place) in TOO_MUCH
        if (holds_a_home and not _is_system(place)) or place in too_much or _is_in(place, root):
            return
    found[path] = None


def _is_system(path: Path) -> bool:
    return _is_in(path, Path("/usr")) or path.parts[:2] in {
        ("/", "bin"),
        ("/", "sbin"),
        ("/", "opt"),
        ("/", "nix"),
    }


def _is_in(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder)
