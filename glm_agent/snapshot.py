"""The whole working state as git trees, so that a run's diff comes from git and never from the model.

It works in a git folder of its own: a copy of the user's index (for its cache of file states), an object
store that only borrows from the user's, and none of the user's configuration, so that there is no filter,
hook or driver that could run. Nothing below the user's `.git` is ever written.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePath

from . import byproducts, changes, git, makeshift
from .gitdir import is_special
from .repository import places
from .shape import sequence, string
from .types import Json

_BIG = 32 * 1024 * 1024  # bytes of an untracked file: data, and nothing for a patch
_SECONDS = 300.0  # for looking at the whole work tree
_IGNORE_FILES = ":(top,glob)**/.gitignore"


class Snapshot:
    """Takes trees of the work tree at `root`, kept in `folder`, and compares them.

    `problems` says what the last tree is without: files that cannot be read or are very large, repositories
    inside this one. What is ignored is judged by the rules of the first tree, whatever they become.
    Raises RepositoryError where git cannot read the repository.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._own = folder / "git"
        self.folder = folder
        self.problems: list[str] = []
        self.large: list[str] = []  # files that the last tree is without
        self._first = ""  # tree
        self._first_at = 0  # nanoseconds
        self._completed: set[str] = set()
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
            makeshift.make(self._own, root, where)
            self._prepare_index()
            prepared.touch()
        self._absent = [path for state, path in self._notable() if state[:1] in b"Ss"]  # of a sparse checkout

    def take(self, also: Collection[str] = ()) -> str:
        """The id of a tree of everything there is now: untracked files too, ignored ones and `.git` not.

        The paths `also` count even if they are ignored.
        """
        self.problems = []
        self._first_at = self._first_at or time.time_ns()
        self._clear()
        try:
            self._see_present()
            self._add(self._exclude_untracked())
            named = self._add_named({*also, *self._completed})
            tree = self._write_tree()
            if self._first and self._git("diff-tree", "-r", self._first, tree, "--", _IGNORE_FILES):
                self._judge_as_at_first(tree, named)
                tree = self._write_tree()
        except BaseException:
            self._clear()
            raise
        self._first = self._first or tree
        return tree

    def memory(self) -> Json:
        """What `go_on` needs in another process."""
        return {"first": self._first, "at": self._first_at, "completed": sorted(self._completed)}

    def go_on(self, memory: Json) -> None:
        """From here on it is as if this had taken the trees that the one with this `memory` took."""
        self._first, self._first_at = string(memory.get("first")), int(memory.get("at") or 0)
        self._completed.update(map(string, sequence(memory.get("completed"))))

    def complete(self, tree: str, paths: Collection[str]) -> str:
        """`tree` with those files at `paths` which it is without, but which were there as they are now.

        That is what was ignored when the first tree was taken, and has not been changed since.
        """
        old = [os.fsencode(path) for path in paths if self._is_as_at_first(path)]
        lacking = [path for path in old if not self._git("ls-tree", tree, "--", _literal(path))]
        if not lacking:
            return tree
        self._completed.update(map(os.fsdecode, lacking))
        return self.edited(tree, "--add", lacking)

    def carry(self, base: str, before: str, after: str) -> str:
        """`base` with what changed from `before` to `after`, but not from `base` to `before` already."""
        ours = {path for path, *_ in self.differences(base, before)}
        rows = self.differences(before, after)
        others = [entry + b"\t" + path for path, _, entry in rows if path not in ours]
        return self.edited(base, "--index-info", others) if others else base

    def untracked(self) -> set[str]:
        """What is there that no tree has taken, at first no index, and that git does not ignore."""
        return set(map(os.fsdecode, self._list("ls-files", "--others", "--exclude-standard")))

    def is_elsewhere(self, path: str) -> bool:
        """Whether `path` lies in a repository inside this one, of which no tree here can tell."""
        folders = list(PurePath(path).parents)[:-1]
        return any(os.path.lexists(self._root / folder / ".git") for folder in folders)

    def diff(self, before: str, after: str) -> bytes:
        """From one tree to the other as `git apply` takes it: any bytes, renames found, binaries whole."""
        form = ("--patch", "--binary", "--no-color", "--src-prefix=a/", "--dst-prefix=b/")
        return self._compare(before, after, *form)

    def changes(self, before: str, after: str) -> list[Json]:
        """What differs between two trees, as rows of `changes.read`."""
        return changes.read(self._compare(before, after, *changes.FORM))

    @property
    def root(self) -> Path:
        """The work tree."""
        return self._root

    def ask(self, *args: str, stdin: bytes = b"") -> bytes:
        """What git prints about the trees that are kept here."""
        return self._git(*args, stdin=stdin)

    def _compare(self, before: str, after: str, *form: str) -> bytes:
        options = ("-r", "--find-renames", "--no-ext-diff", "--no-textconv")
        return self._git("diff-tree", *options, *form, "--end-of-options", before, after)

    def _prepare_index(self) -> None:
        """Forget what would hide changes, and submodules: they are not ours to look into."""
        links: list[bytes] = []
        assumed: list[bytes] = []
        for state, path in self._notable():
            if state[2:8] == b"160000":
                links.append(path)
            elif state[:1].islower():
                assumed.append(path)
        self._update_index("--no-assume-unchanged", assumed)
        self._update_index("--force-remove", links)
        self._exclude(links)
        self._exclude(list(byproducts.built(self._list("ls-files", "--", *byproducts.PATHSPECS))))

    def _notable(self) -> Iterator[tuple[bytes, bytes]]:
        """State and path of the entries of the index that are no plain files as git expects them."""
        for entry in self._git("ls-files", "-v", "--stage", "-z").split(b"\0"):
            if entry and not entry.startswith((b"H 1006", b"H 1007", b"H 12")):
                state, _, path = entry.partition(b"\t")
                yield state, path

    def _see_present(self) -> None:
        """What a sparse checkout leaves out, but is there, counts like any other file."""
        present = {path for path in self._absent if os.path.lexists(self._place(path))}
        self._update_index("--no-skip-worktree", list(present))
        self._absent = [path for path in self._absent if path not in present]

    def _place(self, path: bytes) -> bytes:
        return os.fsencode(self._root) + b"/" + path

    def _update_index(self, option: str, paths: Collection[bytes]) -> None:
        if paths:
            self._git("update-index", option, "-z", "--stdin", stdin=b"\0".join(paths))

    def _exclude_untracked(self) -> list[bytes]:
        """Files that are too large; and repositories, which are excluded from here on.

        A repository inside this one stops `git add` if it has no commit, and else becomes a submodule.
        """
        untracked = self._list("ls-files", "--others", "--exclude-standard")
        inner = [path.removesuffix(b"/") for path in untracked if path.endswith(b"/")]
        self._exclude(inner)
        self.problems += [f"{os.fsdecode(path)} is a repository of its own: left out" for path in inner]
        big = [path for path in untracked if self._is_big(path)]
        self.large = [os.fsdecode(path) for path in big]
        limit = f"{_BIG >> 20} MiB and is not tracked: left out"
        self.problems += [f"{os.fsdecode(path)} has more than {limit}" for path in big]
        return big

    def _is_big(self, path: bytes) -> bool:
        try:
            status = os.lstat(self._place(path))
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size > _BIG

    def _exclude(self, paths: list[bytes]) -> None:
        with (self._own / "info" / "exclude").open("ab") as file:
            file.writelines(_pattern(path) for path in paths)

    def _add(self, without: list[bytes]) -> None:
        options = ["--pathspec-from-file=-", "--pathspec-file-nul"] if without else []
        specs = [b".", *(b":(exclude,literal)" + path for path in without)]
        try:
            self._git("add", "--all", "--ignore-errors", *options, stdin=b"\0".join(specs))
        except git.GitError as error:
            if error.exit_code != 1:
                raise
            if not self._forget_special(self._list("ls-files")):
                self.problems.append(str(error))

    def _add_named(self, paths: Collection[str]) -> list[bytes]:
        """Takes `paths`, ignored or not; those that no tree can tell of are problems."""
        for path in filter(self.is_elsewhere, sorted(paths)):
            self.problems.append(f"{path} is in a repository of its own, of which no diff here can tell")
        named = [os.fsencode(path) for path in sorted(paths) if self._is_own_file(path)]
        special = self._forget_special(named)
        named = [path for path in named if path not in special]
        self._update_index_for(named)
        return named

    def _forget_special(self, paths: Collection[bytes]) -> list[bytes]:
        """Those of `paths` where a FIFO or the like is now: no tree can hold it, and git stops there."""
        special = [path for path in paths if is_special(self._place(path))]
        self._update_index("--force-remove", special)
        self.problems += [f"{os.fsdecode(path)} is no regular file, and counts as gone" for path in special]
        return special

    def _is_own_file(self, path: str) -> bool:
        """Whether git takes `path` for a file of this repository, there or gone."""
        place = self._root / path
        linked = any((self._root / folder).is_symlink() for folder in PurePath(path).parents)
        is_folder = place.is_dir() and not place.is_symlink()
        return not (linked or is_folder or self.is_elsewhere(path))

    def _update_index_for(self, paths: list[bytes]) -> None:
        if paths:
            options = ("--add", "--remove", "--replace")
            self._git("update-index", *options, "-z", "--stdin", stdin=b"\0".join(paths))

    def _judge_as_at_first(self, tree: str, named: list[bytes]) -> None:
        """Put right what ignore files say that have changed since the first tree."""
        hidden = self._list("ls-files", "--others", "--ignored", "--exclude-standard")
        caches = tuple(path.removesuffix(b".gitignore") for path in hidden if self._hides_all(path))
        hidden = [path for path in hidden if not path.startswith(caches) and not path.endswith(b"/")]
        hidden = [path for path in hidden if not self._is_big(path)]
        shown = self._list("diff-tree", "-r", "--name-only", "--diff-filter=A", self._first, tree)
        ignored = self._ignored_at_first([*hidden, *shown])
        self._update_index("--add", [path for path in hidden if path not in ignored])
        self._update_index(
            "--force-remove", [path for path in shown if path in ignored and path not in named]
        )

    def _hides_all(self, path: bytes) -> bool:
        """Whether this is the new `.gitignore` of a directory that ignores itself, as caches do."""
        place = Path(os.fsdecode(self._place(path)))
        if place.name != ".gitignore" or place.parent == self._root or self._is_big(path):
            return False
        return _rules(place) == [b"*"]

    def _ignored_at_first(self, paths: list[bytes]) -> set[bytes]:
        """Those of `paths` that the ignore files of the first tree mean, which are laid out by themselves."""
        folder = self._own / "ignore-files"
        folder.mkdir(exist_ok=True)
        env = {"GIT_INDEX_FILE": str(self._own / "ignore-index"), "GIT_WORK_TREE": str(folder)}
        self._git("read-tree", self._first, env=env)
        files = self._git("ls-files", "-z", "--", _IGNORE_FILES, env=env)
        self._git("checkout-index", "--force", "-z", "--stdin", stdin=files, env=env)
        asked = b"\0".join(paths)
        found = self._git("check-ignore", "--no-index", "-z", "--stdin", stdin=asked, env=env, ok=(0, 1))
        return set(found.split(b"\0"))

    def _is_as_at_first(self, path: str) -> bool:
        try:
            changed = (self._root / path).lstat().st_ctime_ns
        except (OSError, ValueError):
            return False
        return changed < self._first_at and self._is_own_file(path)

    def differences(self, before: str, after: str) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Each path that differs, with mode and blob as they are in both; mode 0 where it is not there."""
        if before == after:
            return
        fields = iter(self._list("diff-tree", "-r", "--raw", "--no-renames", before, after))
        for field in fields:
            old_mode, mode, old, blob, _ = field.removeprefix(b":").split(b" ")
            yield next(fields), old_mode + b" " + old, mode + b" " + blob

    def differing(self, before: str, after: str) -> set[str]:
        """The paths alone."""
        return {os.fsdecode(path) for path, *_ in self.differences(before, after)}

    def edited(self, tree: str, option: str, lines: list[bytes]) -> str:
        """`tree` after `git update-index OPTION` with `lines`, without a look at our own index."""
        env = {"GIT_INDEX_FILE": str(self._own / "other-index")}
        self._git("read-tree", tree, env=env)
        stdin = b"".join(line + b"\0" for line in lines)
        words = ("-z", option) if option == "--index-info" else (option, "-z", "--stdin")
        self._git("update-index", *words, stdin=stdin, env=env)
        return self._write_tree(env)

    def _write_tree(self, env: Mapping[str, str] | None = None) -> str:
        return self._git("write-tree", "--missing-ok", env=env).decode().strip()

    def _clear(self) -> None:
        """Away with what a git that was killed left half-done: only we write here."""
        objects = Path(self._env["GIT_OBJECT_DIRECTORY"])
        for left in (*self._own.glob("*.lock"), *objects.glob("*/tmp_*"), *objects.glob("tmp_*")):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def _list(self, *args: str) -> list[bytes]:
        """What a git command lists that ends each name with NUL."""
        return self._git(args[0], "-z", *args[1:]).split(b"\0")[:-1]

    def conversions(self) -> bytes:
        """What may make git convert files, besides `.gitattributes` in the tree; b"" if nothing does."""
        return makeshift.conversions(self._own)

    def _git(
        self,
        *args: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        ok: tuple[int, ...] = (0,),
    ) -> bytes:
        known = {**self._env, **(env or {})}
        return git.run(self._root, *args, stdin=stdin, env=known, ok=ok, timeout=_SECONDS)


def _rules(path: Path) -> list[bytes]:
    """The lines of an ignore file that say something; none of one that cannot be read."""
    try:
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
    except OSError:
        return []
    return [line for line in map(bytes.strip, lines) if line and not line.startswith(b"#")]


def _quoted(path: Path) -> str:
    """As an entry of a list that is separated by colons."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _literal(path: bytes) -> str:
    return f":(literal){os.fsdecode(path)}"


def _pattern(path: bytes) -> bytes:
    """The line of an exclude file that means this directory; `?` is as close as one gets to a line break."""
    special = b"\\*?[ "
    escaped = b"".join(b"\\" + byte if byte in special else byte for byte in map(_byte, path))
    return b"/" + escaped.replace(b"\n", b"?").replace(b"\r", b"?") + b"/\n"


def _byte(value: int) -> bytes:
    return bytes((value,))
