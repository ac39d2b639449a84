"""What a command needs of the machine: tool chains, caches, an environment. Never a whole home."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..durable import make_folder
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
_AT_HOME = frozenset(
    {
        *(".ssh", ".aws", ".gnupg", ".kube", ".docker", ".config", ".mozilla", ".password-store"),
        *(".bash_history", ".zsh_history", ".netrc", ".git-credentials"),
    }
)
_MOST_BELOW = 200  # folders that are looked into
_FIRST_PERSON, _NOBODY = 1000, 65534  # user ids
_FIELDS = 7  # of a line of the list of users
_NO_HOMES = {
    "/",
    "/usr",
    "/opt",
    "/bin",
    "/sbin",
    "/nix",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local",
    "/usr/local/bin",
}


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
        make_folder(place)
    own_home, tmp, store = (place.resolve() for place in places)
    read = tuple(read)
    people = [place for place in homes(start, _users(), os.getuid()) if place not in read]
    found = (*tool_chains(start, root, people, text), *read)
    hidden = tuple(path / name for path in found for name in CREDENTIALS if os.access(path / name, os.F_OK))
    spared = tuple(place for place in people if _is_system(place) and not _is_in(place, root))
    own = environment(start, root, seen)
    return Policy(root, own_home, seen, tmp, store, own, found, hidden=hidden, homes=spared)


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


def tool_chains(
    start: Mapping[str, str], root: Path, people: Iterable[Path], text: str = ""
) -> tuple[Path, ...]:
    """Folders and files to be readable besides the system's own; none that is or holds the home of `people`.

    They follow from PATH, from variables that name tool chains, from our own Python, from what is usual below
    the home, and from absolute paths in `text`, words of the user's own such as a command to verify with.
    """
    home = Path(start.get("HOME", "/"))
    search = _Search(root, home, frozenset(people))
    for folder in _path(start, root):
        search.follow(folder)
    named = (sys.prefix, sys.base_prefix, *(start[name] for name in _TOOL_HOMES if name in start))
    for place in (*map(Path, named), *(home / name for name in _IN_HOME), *_paths_in(text)):
        if place.is_absolute():
            search.add(place)
    return tuple(path for path in search.found if os.access(path, os.F_OK))


def homes(start: Mapping[str, str], listed: str, user: int) -> tuple[Path, ...]:
    """People's homes: the one in `start`, and those of `listed`, the system's list of users.

    What is no person's, a folder of the system's as most services have it, is none.
    """
    found = [start.get("HOME", "/")]
    for line in listed.split("\n"):
        fields = line.split(":")
        if len(fields) == _FIELDS and fields[2].isdecimal() and int(fields[2]) != _NOBODY:
            found += [fields[5]] * (int(fields[2]) >= _FIRST_PERSON or int(fields[2]) == user)
    places = (Path(os.path.realpath(name)) for name in found if name.startswith("/"))
    return tuple(dict.fromkeys(place for place in places if str(place) not in _NO_HOMES))


def _users() -> str:
    try:
        return Path("/etc/passwd").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def installation(program: Path, root: Path, home: Path) -> tuple[Path, ...]:
    """What `program` is a part of: its folder, and where the links there lead."""
    search = _Search(root, home, frozenset((home, home.resolve())))
    search.follow(program.parent)
    return tuple(search.found)


def _paths_in(text: str) -> Iterable[Path]:
    return [Path(word) for word in re.findall(r"(?:^|(?<=[\s=:'\"(]))/[^\s:;'\"|&<>()$`*?]+", text)]


class _Search:
    """What is to be readable for a work tree at `root`: `found` grows, and never holds a home."""

    def __init__(self, root: Path, home: Path, people: frozenset[Path]) -> None:
        self._root = root
        self._people = people
        self._above = {parent for place in people for parent in place.parents}
        own = (home, home.resolve())
        self._too_much = {
            place / name for place in own for name in ("", ".local", ".config", ".local/share", ".cache")
        }
        self.found: dict[Path, None] = {}

    def follow(self, folder: Path) -> None:
        """A folder of PATH, the installation it belongs to, and those that its links lead to."""
        if folder in self.found or not os.access(folder, os.R_OK | os.X_OK):
            return
        if _is_in(folder, self._root) or _is_in(folder.resolve(), self._root):
            return  # what the repository's own links and settings say is not to be believed
        self.add(folder)
        if self._is_open(folder.resolve()):
            return
        self.add(_prefix(folder))
        self.add(_prefix(folder.resolve()))
        self._add_base(folder.parent)
        for entry in _links(folder):
            target = entry.resolve()
            if os.access(target, os.F_OK) and not self._is_open(target) and not _is_in(target, self._root):
                self.add(target)
                if target.parent.name in _BIN:
                    self.add(_prefix(target.parent))
                    self._add_base(target.parent.parent)

    def add(self, path: Path) -> None:
        """Unless it is the tree's own, or so much that it would hold a home."""
        path = Path(os.path.normpath(path))
        for place in (path, path.resolve()):
            if _is_in(place, self._root) or place in self._too_much or self._holds_a_home(place):
                return
        self.found[path] = None

    def _add_base(self, prefix: Path) -> None:
        """The Python that a virtual environment at `prefix` was made from."""
        try:
            lines = (prefix / "pyvenv.cfg").read_text("utf-8").split("\n")
        except (OSError, ValueError):
            return
        for line in lines:
            key, _, value = line.partition("=")
            base = Path(value.strip())
            if key.strip() == "home" and base.is_absolute():
                self.add(_prefix(base))
                self.add(_prefix(base.resolve()))

    def _holds_a_home(self, place: Path) -> bool:
        if place in self._people or place.parent == Path("/home"):
            return True
        if self._is_open(place):
            return False  # without the homes that are in it
        if place in self._above or str(place) in TOO_MUCH:
            return True
        return not any(_is_in(place, home) for home in self._people) and _looks_like_homes(place)

    def _is_open(self, path: Path) -> bool:
        """Whether it is the system's, and so readable anyway."""
        return _is_system(path) and not any(_is_in(path, home) for home in self._people)


def _looks_like_homes(place: Path) -> bool:
    """Whether `place` or what is two steps below has what people have at home, and installations have not."""
    todo, looked = [(place, 2)], 0
    while todo and looked < _MOST_BELOW:
        (folder, steps), looked = todo.pop(0), looked + 1
        names = _names(folder)
        if not _AT_HOME.isdisjoint(names):
            return True
        todo += [(folder / name, steps - 1) for name in names if steps]
    return False


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []


def _links(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if entry.is_symlink()]
    except OSError:
        return []


def _prefix(folder: Path) -> Path:
    return folder.parent if folder.name in _BIN else folder


def _is_system(path: Path) -> bool:
    return _is_in(path, Path("/usr")) or path.parts[:2] in {
        ("/", "bin"),
        ("/", "sbin"),
        ("/", "opt"),
        ("/", "nix"),
    }


def _is_in(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder)
