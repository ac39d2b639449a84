"""From a patch and the files' texts to every file's new text: all of it, or a refusal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..paths import shown
from . import glue, names, verbatim
from .change import FileChange, Placed, Texts
from .clean import has_entity
from .locate import LOOK_ALIKE, TOLERANCES, Source
from .mends import mends, unescaped
from .parse import FilePatch, Hunk, parse
from .place import place, stands
from .refusal import MISSING_LINES, NO_FILE, NO_SINGLE_WAY, PatchRefused, numbered
from .splice import splice

_NAMED = 10  # files that a refusal names


def paths(patch_text: str) -> list[str]:
    """Every name the patch may mean: what `before` has to hold for those files that exist."""
    found = dict.fromkeys(verbatim.paths(patch_text))
    try:
        files = parse(patch_text)
    except PatchRefused:
        if not found:
            raise
        files = []
    for file in files:
        for path in (*file.paths, file.target):
            if path and path != names.DEV_NULL:
                found[path] = None
    return list(found)


def apply_patch(patch_text: str, before: Texts, reverse: bool = False) -> dict[str, str | None]:
    """The new text of every file whose text changes, None for one that goes. Raises PatchRefused.

    With `reverse` the patch is taken back. Nothing changes where all of it is there already.
    """
    after: dict[str, str | None] = {}
    for change in plan(patch_text, before, reverse):
        path = change.new_path or change.path
        for touched in {path, change.path}:
            names.check(touched)
        if change.new_path is not None:
            after.setdefault(change.path, None)  # another file may have taken the name
        if change.text is not None or path not in after:
            after[path] = change.text
    return {path: text for path, text in after.items() if before.get(path) != text}


def plan(patch_text: str, before: Texts, reverse: bool = False) -> list[FileChange]:
    """What the patch does to each file; `before` holds the texts of those that exist. Raises PatchRefused."""
    text, other = glue.read(patch_text, before.values())
    if (exact := verbatim.plan(text, before, reverse)) is not None:
        return exact
    files = parse(text, reverse)
    try:
        return _plan(files, before)
    except PatchRefused as refusal:
        if refusal.reason not in (MISSING_LINES, NO_SINGLE_WAY):
            raise
        if refusal.reason == MISSING_LINES and has_entity(text) and (bare := parse(text, reverse, unescaped)):
            return _plan(bare, before)
        if found := _mended(files, text, other, before, reverse):
            return found
        raise


def _mended(
    files: Sequence[FilePatch], text: str, other: str | None, before: Texts, reverse: bool
) -> list[FileChange] | None:
    """The plan of the one other reading that fits exactly."""
    bodies = [body for file in files for body in file.bodies]
    ways = [(text, tolerance, mend) for tolerance, mend in mends(bodies)]
    found: list[list[FileChange]] = []
    for sent, tolerance, mend in [*ways, (other, "what is behind its last line", None)]:
        try:
            read = parse(sent, reverse, mend) if sent else []
            changes = _plan(read, before) if read else []
        except PatchRefused:
            continue
        if changes and _is_exact(changes):
            _say(changes, tolerance)
            found += [changes] if changes not in found else []
    return found[0] if len(found) == 1 else None


def _is_exact(changes: Sequence[FileChange]) -> bool:
    """Whether nothing more had to be overlooked than is in a line's end."""
    return all(hunk.tolerance in TOLERANCES[:LOOK_ALIKE] for change in changes for hunk in change.hunks)


def _say(changes: Sequence[FileChange], tolerance: str) -> None:
    for change in changes:
        change.hunks = [Placed(hunk.line, tolerance) for hunk in change.hunks]


def _plan(files: Sequence[FilePatch], before: Texts) -> list[FileChange]:
    groups = _by_path(files, before)
    if _all_there(groups, before):
        return [FileChange(path, "same", before.get(path)) for path in groups]
    changes = _changes(groups, before)
    if all(
        change.text == before.get(change.path) and not change.new_path and not change.mode
        for change in changes
    ):
        raise PatchRefused("the patch changes nothing", changes[0].path)
    _check_names(changes, before)
    return changes


def _changes(groups: Mapping[str, Sequence[FilePatch]], before: Texts) -> list[FileChange]:
    """The change of every file; a refusal says of which others all would have applied."""
    changes: list[FileChange] = []
    refused: list[PatchRefused] = []
    for path, group in groups.items():
        try:
            changes.append(_change(path, group, before))
        except PatchRefused as refusal:
            refused.append(refusal)
    if refused and changes:
        named = ", ".join(shown(change.path) for change in changes[:_NAMED]) + ", …" * (len(changes) > _NAMED)
        hint = f"{refused[0].hint}\nnothing is wrong with the patch for {named}".lstrip("\n")
        raise PatchRefused(refused[0].reason, refused[0].path, refused[0].hunk, hint)
    if refused:
        raise refused[0]
    return changes


def _check_names(changes: Sequence[FileChange], before: Texts) -> None:
    """Refuses a file that is touched twice, and a new name that some file system takes for another's."""
    known = {names.folded(path): path for path, text in before.items() if text is not None}
    touched: set[str] = set()
    for change in changes:
        for path in filter(None, (change.path, change.new_path)):
            if path in touched:
                raise PatchRefused("two parts of the patch make or take away the same file", path)
            touched.add(path)
            if known.setdefault(names.folded(path), path) != path and before.get(path) is None:
                other = shown(known[names.folded(path)])
                raise PatchRefused(f"some file systems take it for {other}", path, None, "use another name")


def _by_path(files: Iterable[FilePatch], before: Texts) -> dict[str, list[FilePatch]]:
    groups: dict[str, list[FilePatch]] = {}
    for file in files:
        groups.setdefault(file.target if file.copies else _path(file, before), []).append(file)
    prefixed = any(
        path not in (file.old, file.new) for path, group in groups.items() for file in group if file.enveloped
    )
    made = [path for path, group in groups.items() if group[0].enveloped and group[0].creates]
    for path in made if prefixed else ():
        if path.startswith(names.GIT_PREFIXES):
            raise PatchRefused(
                "its a/ or b/ may be a directory or not", path, None, "leave out every a/ and b/"
            )
    return groups


def _path(file: FilePatch, before: Texts) -> str:
    possible = [path for path in file.paths if path and path != names.DEV_NULL]
    if not possible:
        raise PatchRefused("no file name", hint="write --- a/path and +++ b/path above its hunks")
    if file.source or file.creates or len(possible) == 1:
        return possible[0]
    present = [path for path in possible if before.get(path) is not None]
    if file.enveloped:
        return present[0] if present else possible[0]
    given = file.old not in ("", names.DEV_NULL) and file.new not in ("", names.DEV_NULL)
    if given and present and possible[0] in present:
        hint = f"to rename it write below `diff --git`: rename from {possible[0]}, rename to {possible[1]}"
        raise PatchRefused(f"it is headed {possible[0]} and {possible[1]}", possible[0], None, hint)
    if len(present) > 1 and "" in (file.old, file.new):
        raise PatchRefused(f"it may be {' or '.join(present)}", hint="write both --- a/path and +++ b/path")
    return present[0] if present else possible[0]


def _all_there(groups: Mapping[str, Sequence[FilePatch]], before: Texts) -> bool:
    """Whether every hunk of every file is there. Lines that are merely gone prove nothing."""
    parts = [(before.get(path), file) for path, group in groups.items() for file in group]
    if any(file.deletes or file.target or (file.mode and not file.creates) for _, file in parts):
        return False
    if not any(_brings(hunk) for _, file in parts for hunk in file.hunks):
        return False
    return all(text is not None and _is_there(text, file) for text, file in parts)


def _brings(hunk: Hunk) -> bool:
    """Whether the hunk adds text, not only another order, indentation or line end."""
    removed = {line.text.strip() for line in hunk.lines if line.tag == "-"}
    return any(line.text.strip() not in removed | {""} for line in hunk.lines if line.tag == "+")


def _is_there(text: str, file: FilePatch) -> bool:
    if file.creates:
        return _new_text(file.hunks) == text
    source = Source(text)
    changing = [hunk for hunk in file.hunks if hunk.count("+-")]
    return bool(changing) and all(stands(source, hunk) for hunk in changing)


def _change(path: str, files: Sequence[FilePatch], before: Texts) -> FileChange:
    file, text = files[0], before.get(path)
    if len(files) > 1 and any(part.creates or part.deletes or part.target for part in files):
        raise PatchRefused("the patch makes, deletes or renames it and names it again", path)
    hunks = [hunk for part in files for hunk in part.hunks]
    if file.copies:
        return _copied(path, file, hunks, before)
    if file.creates or (text is None and len(file.paths) == 1 and _makes_all(hunks)):
        return _created(path, file, hunks, text)
    if text is None:
        raise PatchRefused(NO_FILE, path, None, "check the path; for a new file write --- /dev/null")
    if file.deletes and file.outright and not hunks:
        return FileChange(path, "delete", None, removed=len(Source(text).lines))
    change = _updated(path, hunks, text)
    change.mode = next((part.mode for part in files if part.mode), None)
    if file.target:
        return _renamed(change, file.target, before)
    return _deleted(change) if file.deletes else change


def _makes_all(hunks: Sequence[Hunk]) -> bool:
    return len(hunks) == 1 and hunks[0].start == 0 and not hunks[0].before


def _created(path: str, file: FilePatch, hunks: Sequence[Hunk], text: str | None) -> FileChange:
    if text is not None:
        raise PatchRefused(
            "it exists already", path, None, "to change it, send a hunk with its present lines"
        )
    if len(hunks) > 1 or any(hunk.before for hunk in hunks):
        raise PatchRefused("a new file needs exactly one hunk of added lines", path)
    added = sum(hunk.count("+") for hunk in hunks)
    return FileChange(path, "create", _new_text(hunks), None, file.mode, added=added)


def _new_text(hunks: Sequence[Hunk]) -> str:
    lines = [line for hunk in hunks for line in hunk.after]
    return Source("").text(lines, not (hunks and hunks[0].new_bare))


def _copied(path: str, file: FilePatch, hunks: Sequence[Hunk], before: Texts) -> FileChange:
    original = before.get(file.source)
    if original is None:
        raise PatchRefused(NO_FILE, file.source, None, "check the path of what is to be copied")
    if before.get(path) is not None:
        raise PatchRefused(f"{file.source} cannot be copied to it: it exists", path)
    change = _updated(file.source, hunks, original)
    added, removed = change.added, change.removed
    return FileChange(path, "create", change.text, None, file.mode, added, removed, source=file.source)


def _renamed(change: FileChange, target: str, before: Texts) -> FileChange:
    if before.get(target) is not None:
        raise PatchRefused(f"it cannot be renamed to {target}, which exists", change.path)
    change.kind, change.new_path = "rename", target
    return change


def _deleted(change: FileChange) -> FileChange:
    if change.text:
        hint = "to delete the file, remove all of its lines; what would be left:\n"
        rest = numbered(change.text.split("\n"), 0, 5)
        raise PatchRefused("the patch deletes it but not all of its lines", change.path, None, hint + rest)
    change.kind, change.text = "delete", None
    return change


def _updated(path: str, hunks: Sequence[Hunk], text: str) -> FileChange:
    """All hunks are found in the file as it is, then put in at once."""
    if not text.startswith("\ufeff"):
        hunks = [_unmarked(hunk) for hunk in hunks]
    source = Source(text)
    placements = place(source, hunks, path)
    change = FileChange(path, "update", splice(source, placements))
    for hunk, spot, _ in placements:
        change.hunks.append(Placed(spot.at + 1, spot.tolerance))
        change.added += hunk.count("+")
        change.removed += hunk.count("-")
    return change


def _unmarked(hunk: Hunk) -> Hunk:
    """`hunk` without a byte order mark that it has and the text has not: the mark is then kept elsewhere."""
    if not hunk.before or not hunk.before[0].startswith("\ufeff"):
        return hunk
    return replace(hunk, lines=[line._replace(text=line.text.removeprefix("\ufeff")) for line in hunk.lines])
