"""What a run changed, on its way out of where it was made: onto the user's work tree, or into a commit."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from . import git, process
from .errors import AgentError, RepositoryError, ToolError, UsageError
from .intents import Intents
from .paths import named
from .repository import places
from .secrets import Secrets
from .snapshot import Snapshot
from .workspace import Change, Workspace

_ABSENT = b"000000 "
_UNFINISHED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")
_HOOK_SECONDS = 600.0
_SUBJECT = 72  # characters


class HookError(AgentError):
    subtype = "error_verify"


class Moved(NamedTuple):
    """One path between two trees: mode and blob, b"000000 000…" where there is nothing."""

    path: bytes
    before: bytes
    after: bytes

    @property
    def name(self) -> str:
        return os.fsdecode(self.path)


class Target(NamedTuple):
    """Where a commit is to go: `branch` None is where HEAD points. `head` is the parent, "" if none."""

    root: Path
    branch: str | None
    head: str
    who: Mapping[str, str]
    run_hooks: bool
    is_key: Callable[[str], bool]  # whether a variable's value is none of a hook's business


def moved(snapshot: Snapshot, before: str, after: str) -> list[Moved]:
    """What differs between two trees of `snapshot`."""
    return [Moved(*row) for row in snapshot.differences(before, after)]


def remaining(rows: Sequence[Moved], done: Sequence[Moved]) -> list[Moved]:
    """What is left of `rows` once `done`, from the same start, are committed."""
    wanted = {row.path: row.after for row in rows}
    made = {row.path: row.after for row in done}
    start = {row.path: row.before for row in (*rows, *done)}
    every = [Moved(path, made.get(path, it), wanted.get(path, it)) for path, it in start.items()]
    return [row for row in every if row.before != row.after]


def is_part(root: Path, commit: str) -> bool:
    """Whether HEAD holds that commit."""
    base = git.run(root, "merge-base", "--end-of-options", commit, "HEAD", ok=(0, 1, 128))
    return base.decode().strip() == commit


def put(
    rows: Sequence[Moved], tree: Path, start: Snapshot, root: Path, intents: Intents | None = None
) -> None:
    """Makes the files of `rows` below `root` what they are in the copy at `tree`: all of them, or none.

    `intents` has it while it is not whole. Raises RepositoryError if one is not what it was when the copy
    was made, or cannot be written so.
    """
    links = [row.name for row in rows if b"120000" in (row.before[:6], row.after[:6])]
    if links:
        raise RepositoryError(f"{named(links)}: symbolic links are not applied; use `git apply`")
    here = [_content(root / row.name) for row in rows]
    now = start.ask("ls-tree", "-r", "-z", "--full-tree", start.take([row.name for row in rows]))
    entries = _entries(now)
    changed = [row.name for row in rows if _is_other(entries.get(row.path), row.before)]
    if changed:
        raise RepositoryError(f"{named(changed)} changed in the work tree meanwhile, which stays as it is")
    workspace = Workspace(root, Secrets(("*",)), forbidden=lambda path: None, intents=intents)
    try:
        workspace.apply([_change(row, tree, held) for row, held in zip(rows, here, strict=True)])
    except ToolError as error:
        raise RepositoryError(f"the work tree stays as it is: {error}") from error


def aim(root: Path, branch: str | None, *, run_hooks: bool, is_key: Callable[[str], bool]) -> Target:
    """Where a commit of this run will go. Raises UsageError or RepositoryError for what cannot be."""
    who = git.identity(root)
    if who is None:
        raise UsageError(
            "git does not know who commits; set it: git config --global user.name NAME, and user.email"
        )
    if run_hooks and _version(root) < (2, 36):
        raise UsageError("--run-hooks needs git 2.36 or newer")
    if branch is not None:
        _require_new(root, branch)
    elif any(os.path.lexists(places(root).folder / name) for name in _UNFINISHED):
        raise RepositoryError("--commit would end a merge, cherry-pick or revert; finish it, or use --branch")
    elif git.run(root, "symbolic-ref", "--quiet", "HEAD", ok=(0, 1)) == b"":
        raise RepositoryError("HEAD is detached, so --commit has no branch to go to; use --branch NAME")
    head = git.run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1)).decode().strip()
    return Target(root, branch, head, who, run_hooks, is_key)


def commit(target: Target, rows: Sequence[Moved], store: Snapshot, folder: Path, message: str) -> str:
    """The id of a new commit with `rows`, whose blobs are in `store`, on top of the target's head.

    `folder` is for what that needs on the way. Raises RepositoryError if a file of it had changes before the
    run, or if the target has moved; HookError.
    """
    _require_clean(target, rows)
    _require_plain(target, rows)
    index = folder / "commit-index"
    try:
        made = _make(target, rows, store, index, message)
    finally:
        index.unlink(missing_ok=True)
    _move(target, rows, *made)
    return made[0]


def message(answer: str, rows: Sequence[Moved], assistant: str) -> str:
    """A commit's: what the run answered, its first line short, and who assisted."""
    text = "".join(char for char in answer if char == "\n" or char.isprintable())
    first, _, rest = text.strip().partition("\n")
    subject = re.sub(r"^[#>*\s-]+|[*\s]+$", "", first)
    if not subject:
        subject = f"Change {rows[0].name}" if len(rows) == 1 else f"Change {len(rows)} files"
        subject = "".join(char for char in subject if char.isprintable())
    body = rest.strip()
    if len(subject) > _SUBJECT:
        cut = subject[: _SUBJECT - 1]
        body = f"{subject}\n\n{body}".strip()
        subject = (cut.rpartition(" ")[0] or cut).rstrip(",;:") + "…"
    return "\n\n".join(filter(None, (subject, body, f"Assisted-by: {assistant}"))) + "\n"


def _make(
    target: Target, rows: Sequence[Moved], store: Snapshot, index: Path, message: str
) -> tuple[str, str]:
    """Id and subject of the commit, which nothing points to yet."""
    root, env = target.root, {"GIT_INDEX_FILE": str(index), **target.who}
    git.run(root, "read-tree", target.head or "--empty", env=env)
    for blob in {row.after.split(b" ")[1].decode() for row in rows if not row.after.startswith(_ABSENT)}:
        git.run(root, "hash-object", "-w", "--stdin", stdin=store.ask("cat-file", "blob", blob))
    git.run(root, "update-index", "-z", "--index-info", stdin=_index_info(rows), env=env)
    tree = git.run(root, "write-tree", env=env).decode().strip()
    if target.run_hooks:
        message = _run_hooks(target, index, tree, message)
    parent = ("-p", target.head) if target.head else ()
    words = ("-c", "i18n.commitEncoding=UTF-8", "commit-tree", tree, *parent, "-F", "-")
    made = git.run(root, *words, stdin=message.encode("utf-8", "replace"), env=env)
    return made.decode().strip(), message.split("\n")[0]


def _change(row: Moved, tree: Path, held: bytes | None) -> Change:
    if row.after.startswith(_ABSENT):
        return Change(row.name, None, expect=held)
    place = tree / row.name
    mode = stat.S_IMODE(place.lstat().st_mode) & 0o777 if row.before[:6] != row.after[:6] else None
    content = _content(place)
    if content is None:
        raise RepositoryError(f"{row.name} is gone from the copy; apply the patch instead")
    return Change(row.name, content, mode, held)


def _content(place: Path) -> bytes | None:
    """Of a regular file; None if there is none."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _entries(listed: bytes) -> dict[bytes, bytes]:
    """Mode and blob by path, of what `ls-tree -z` or `ls-files --stage -z` lists."""
    found: dict[bytes, bytes] = {}
    for entry in listed.split(b"\0")[:-1]:
        facts, _, path = entry.partition(b"\t")
        words = facts.split(b" ")
        found[path] = words[0] + b" " + words[2 if words[1] in (b"blob", b"commit", b"tree") else 1]
    return found


def _is_other(now: bytes | None, before: bytes) -> bool:
    return now != before if now is not None else not before.startswith(_ABSENT)


def _version(root: Path) -> tuple[int, ...]:
    words = git.run(root, "version").decode().split()
    return tuple(int(part) for part in words[2].split(".")[:2] if part.isdecimal())


def _require_new(root: Path, name: str) -> None:
    """Raises UsageError unless a branch `name` can be made."""
    said = git.refer(root, "check-ref-format", "--branch", name, env={}, ok=(0, 1, 128))
    if said.removesuffix(b"\n") != os.fsencode(name):
        raise UsageError(f"--branch {name!r} is no name for a branch")
    listed = git.run(root, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads")
    for branch in map(os.fsdecode, listed.split(b"\n")[:-1]):
        if branch == name:
            raise UsageError(f"--branch {name}: there is such a branch already; choose another name")
        if f"{name}/".startswith(f"{branch}/") or f"{branch}/".startswith(f"{name}/"):
            raise UsageError(f"--branch {name}: the branch {branch} is in the way; choose another name")


def _require_clean(target: Target, rows: Sequence[Moved]) -> None:
    """The files of `rows` were as HEAD and the index have them when the run began, and HEAD still is."""
    root = target.root
    head = git.run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1)).decode().strip()
    if head != target.head:
        raise RepositoryError("HEAD has moved meanwhile, so nothing was committed")
    listed = git.run(root, "ls-tree", "-r", "-z", "--full-tree", head) if head else b""
    committed, staged = _entries(listed), _entries(git.run(root, "ls-files", "--stage", "-z"))
    dirty = [
        row.name
        for row in rows
        if _is_other(committed.get(row.path), row.before) or _is_other(staged.get(row.path), row.before)
    ]
    if dirty:
        why = "had changes of yours before the run, so nothing was committed; commit or stash them first"
        raise RepositoryError(f"{named(dirty)} {why}")


def _require_plain(target: Target, rows: Sequence[Moved]) -> None:
    """No file of `rows` goes through a filter on its way into a commit: filters are programs."""
    paths = b"".join(row.path + b"\0" for row in rows)
    said = git.run(target.root, "check-attr", "-z", "--stdin", "filter", stdin=paths).split(b"\0")[:-1]
    filtered = [
        os.fsdecode(path)
        for path, value in zip(said[::3], said[2::3], strict=True)
        if value not in (b"unspecified", b"unset")
    ]
    if filtered:
        why = "would go through a filter, such as LFS, so nothing was committed; do it with git"
        raise RepositoryError(f"{named(filtered)} {why}")


def _index_info(rows: Sequence[Moved]) -> bytes:
    return b"".join(row.after + b"\t" + row.path + b"\0" for row in rows)


def _move(target: Target, rows: Sequence[Moved], made: str, subject: str) -> None:
    """The reference, and with HEAD's the user's index for exactly these paths: both or neither."""
    name = f"refs/heads/{target.branch}" if target.branch else "HEAD"
    none = "0" * len(made)
    old = none if target.branch else target.head or none
    if not target.branch and os.path.lexists(places(target.root).folder / "index.lock"):
        raise RepositoryError("git's index is locked (index.lock), so nothing was committed; try again")
    words = ("update-ref", "-m", f"commit (glm-agent): {subject}", name)
    git.refer(target.root, *words, made, old, env=target.who)
    if target.branch:
        return
    try:
        git.run(target.root, "update-index", "-z", "--index-info", stdin=_index_info(rows))
    except BaseException:
        back = (*words, target.head, made) if target.head else ("update-ref", "-d", name, made)
        git.refer(target.root, *back, env=target.who)
        raise


def _run_hooks(target: Target, index: Path, tree: str, text: str) -> str:
    """The message after the user's own hooks. Raises HookError if one of them objects."""
    _run_hook(target, "pre-commit", index)
    env = {"GIT_INDEX_FILE": str(index)}
    if git.run(target.root, "write-tree", env=env).decode().strip() != tree:
        raise HookError("pre-commit changed what was to be committed, so nothing was")
    file = index.with_name("COMMIT_EDITMSG")
    file.write_text(text, "utf-8", "replace")
    _run_hook(target, "commit-msg", index, str(file))
    return file.read_text("utf-8", "replace")


def _run_hook(target: Target, name: str, index: Path, *args: str) -> None:
    words, env = git.hook(target.root, name, *args, index=index)
    env = {key: value for key, value in env.items() if not target.is_key(value)}
    with Path(os.devnull).open("rb") as nothing:
        start = process.Start(words, {**env, **target.who}, nothing.fileno())
        done = process.run(start, target.root, timeout=_HOOK_SECONDS, cancel=threading.Event())
    if done.exit_code != 0:
        said = done.output.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        raise HookError(f"the hook {name} failed, so nothing was committed: {said or done.exit_code}")
