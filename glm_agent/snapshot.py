"""The whole working state as git trees, so that a run's diff comes from git and never from the model.

It works in a git folder of its own: a copy of the user's index (for its cache of file states), an object
store that only borrows from the user's, and none of the user's configuration, so that there is no filter,
hook or driver that could run. Nothing below the user's `.git` is ever written.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from . import git
from .errors import RepositoryError
from .repository import Places, places
from .types import Json

# What tools leave behind. Untracked, it is never a change that the run made.
_BY_PRODUCTS = (
    *("__pycache__/", "*.py[cod]", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".hypothesis/"),
    *(".tox/", ".nox/", ".venv/", "*.egg-info/", ".coverage", ".coverage.*", "node_modules/", ".gradle/"),
    *(".DS_Store", "Thumbs.db", "*.swp", "*.swo", "*~", ".nfs*"),
)
# What decides how a file becomes a blob, and is only data.
_CARRIED = r"^(core\.(filemode|symlinks|ignorecase|precomposeunicode|autocrlf|eol)|extensions\.objectformat)$"
_KINDS = {b"A": "create", b"D": "delete", b"R": "rename"}


class Snapshot:
    """Takes trees of the work tree at `root`, kept in `folder`, and compares them.

    `problems` says what the last tree is without: files that cannot be read, repositories inside this one.
    Raises RepositoryError where git cannot read the repository.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._own = folder / "git"
        self.problems: list[str] = []
        where = places(root)
        self._env = {
            "GIT_DIR": str(self._own),
            "GIT_WORK_TREE": str(root),
            "GIT_OBJECT_DIRECTORY": str(folder / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(where.common / "objects"),
        }
        prepared = self._own / "prepared"
        if not prepared.exists():
            (folder / "objects").mkdir(parents=True, exist_ok=True)
            _copy_state(root, where, self._own)
            self._prepare_index()
            prepared.touch()

    def take(self) -> str:
        """The id of a tree of everything there is now: untracked files too, ignored ones and `.git` not."""
        self.problems = []
        (self._own / "index.lock").unlink(missing_ok=True)  # of a git that was killed: only we write here
        self._exclude_repositories()
        try:
            self._git("add", "--all", "--ignore-errors")
        except git.GitError as error:
            if error.exit_code != 1:
                raise
            self.problems.append(str(error))
        return self._git("write-tree", "--missing-ok").decode().strip()

    def diff(self, before: str, after: str) -> bytes:
        """From one tree to the other as `git apply` takes it: any bytes, renames found, binaries whole."""
        form = ("--patch", "--binary", "--no-color", "--src-prefix=a/", "--dst-prefix=b/")
        return self._compare(before, after, *form)

    def changes(self, before: str, after: str) -> list[Json]:
        """`{"path", "kind": create|update|delete|rename, "added", "removed"}` by path, renames with "from".

        Lines of binary files are not counted: None.
        """
        kinds, counts = _split_records(self._compare(before, after, "-z", "--raw", "--numstat"))
        rows = [_row(kind, paths, counts[paths[-1]]) for kind, paths in kinds]
        return sorted(rows, key=lambda row: row["path"])

    def _compare(self, before: str, after: str, *form: str) -> bytes:
        options = ("-r", "--find-renames", "--no-ext-diff", "--no-textconv")
        return self._git("diff-tree", *options, *form, "--end-of-options", before, after)

    def _prepare_index(self) -> None:
        """Forget what would hide changes, and submodules: they are not ours to look into."""
        assumed: list[bytes] = []
        skipped: list[bytes] = []
        links: list[bytes] = []
        for entry in self._git("ls-files", "-v", "--stage", "-z").split(b"\0"):
            if entry.startswith((b"H 1006", b"H 1007", b"H 12")) or not entry:
                continue
            state, _, path = entry.partition(b"\t")
            if state[2:8] == b"160000":
                links.append(path)
                continue
            if state[:1].islower():
                assumed.append(path)
            if state[:1] in b"Ss" and os.path.lexists(os.fsencode(self._root) + b"/" + path):
                skipped.append(path)
        self._update_index("--no-assume-unchanged", assumed)
        self._update_index("--no-skip-worktree", skipped)
        self._update_index("--force-remove", links)
        self._exclude(links)

    def _update_index(self, option: str, paths: list[bytes]) -> None:
        if paths:
            self._git("update-index", option, "-z", "--stdin", stdin=b"\0".join(paths))

    def _exclude_repositories(self) -> None:
        """A repository inside this one stops `git add` if it has no commit, and else becomes a submodule."""
        untracked = self._git("ls-files", "--others", "--exclude-standard", "-z").split(b"\0")
        inner = [path.removesuffix(b"/") for path in untracked if path.endswith(b"/")]
        self._exclude(inner)
        self.problems += [f"{os.fsdecode(path)} is a repository of its own: left out" for path in inner]

    def _exclude(self, paths: list[bytes]) -> None:
        with (self._own / "info" / "exclude").open("ab") as file:
            file.writelines(_pattern(path) for path in paths)

    def _git(self, *args: str, stdin: bytes = b"") -> bytes:
        return git.run(self._root, *args, stdin=stdin, env=self._env)


def _copy_state(root: Path, where: Places, own: Path) -> None:
    info = where.common / "info"
    (own / "refs").mkdir(parents=True, exist_ok=True)
    (own / "info").mkdir(exist_ok=True)
    (own / "HEAD").write_text("ref: refs/heads/none\n")
    (own / "config").write_bytes(_carried_configuration(root))
    excludes = "\n".join(_BY_PRODUCTS).encode() + b"\n" + _content(info / "exclude")
    (own / "info" / "exclude").write_bytes(excludes.removesuffix(b"\n") + b"\n")
    (own / "info" / "attributes").write_bytes(_content(info / "attributes"))
    for index in (where.folder / "index", *where.folder.glob("sharedindex.*")):
        if _is_file(index):
            shutil.copy2(index, own)  # with its time: git trusts entries that are older than the index


def _carried_configuration(root: Path) -> bytes:
    lines = [b"[core]\n\tbare = false\n\tsafecrlf = false\n"]
    for entry in git.run(root, "config", "-z", "--get-regexp", _CARRIED, ok=(0, 1)).split(b"\0"):
        key, _, value = entry.partition(b"\n")
        section, _, name = key.partition(b".")
        if value.isalnum():
            lines.append(b"[%s]\n\t%s = %s\n" % (section, name, value))
            if section == b"extensions":
                lines.append(b"[core]\n\trepositoryFormatVersion = 1\n")
    return b"".join(lines)


def _content(path: Path) -> bytes:
    return path.read_bytes() if _is_file(path) else b""


def _is_file(path: Path) -> bool:
    """Raises RepositoryError for what is there, but not a regular file: a FIFO would never end."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise RepositoryError(f"{path} is not a regular file; the repository is broken")
    return True


def _quoted(path: Path) -> str:
    """As an entry of a list that is separated by colons."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _pattern(path: bytes) -> bytes:
    """The line of an exclude file that means this directory; `?` is as close as one gets to a line break."""
    special = b"\\*?[ "
    escaped = b"".join(b"\\" + byte if byte in special else byte for byte in map(_byte, path))
    return b"/" + escaped.replace(b"\n", b"?").replace(b"\r", b"?") + b"/\n"


def _byte(value: int) -> bytes:
    return bytes((value,))


_Counts = tuple[int | None, int | None]


def _split_records(output: bytes) -> tuple[list[tuple[bytes, list[bytes]]], dict[bytes, _Counts]]:
    """The two halves of `--raw --numstat -z`: kinds with their paths, and lines added and removed by path."""
    kinds: list[tuple[bytes, list[bytes]]] = []
    counts: dict[bytes, _Counts] = {}
    fields = iter(output.split(b"\0"))
    for field in fields:
        if field.startswith(b":"):
            kind = field.rpartition(b" ")[2][:1]
            kinds.append((kind, [next(fields) for _ in range(2 if kind == b"R" else 1)]))
        elif field:
            added, removed, path = field.split(b"\t", 2)
            if not path:  # a rename: both names follow
                next(fields)
                path = next(fields)
            counts[path] = (_number(added), _number(removed))
    return kinds, counts


def _number(text: bytes) -> int | None:
    return None if text == b"-" else int(text)


def _row(kind: bytes, paths: list[bytes], lines: _Counts) -> Json:
    row: Json = {"path": os.fsdecode(paths[-1]), "kind": _KINDS.get(kind, "update")}
    row |= {"added": lines[0], "removed": lines[1]}
    if kind == b"R":
        row["from"] = os.fsdecode(paths[0])
    return row
