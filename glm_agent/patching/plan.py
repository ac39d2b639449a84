"""From a patch and the files' texts to every file's new text: all of it, or a refusal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from . import locate, names
from .indent import NONE, Shift, indent_of, uniform
from .locate import Source, Spot
from .parse import FilePatch, Hunk, parse
from .refusal import NO_FILE, PatchRefused, numbered
from .splice import Placement, splice

Texts = Mapping[str, str | None]


class Placed(NamedTuple):
    """A hunk that was found: its first line in the old file (from 1); what was overlooked, "" for nothing."""

    line: int
    tolerance: str


@dataclass(slots=True)
class FileChange:
    """What becomes of `path`: `text` None to delete, `new_path` only to rename, `mode` None to keep it."""

    path: str
    kind: Literal["create", "update", "delete", "rename"]
    text: str | None
    new_path: str | None = None
    mode: int | None = None
    added: int = 0
    removed: int = 0
    hunks: list[Placed] = field(default_factory=list[Placed])


def paths(patch_text: str) -> list[str]:
    """Every name the patch may mean: what `before` has to hold for those files that exist."""
    found: dict[str, None] = {}
    for file in parse(patch_text):
        for path in (*file.paths, file.renamed_to):
            if path and path != names.DEV_NULL:
                found[path] = None
    return list(found)


def apply_patch(patch_text: str, before: Texts) -> dict[str, str | None]:
    """The new text of every file whose text changes, None for one that goes. Raises PatchRefused."""
    after: dict[str, str | None] = {}
    for change in plan(patch_text, before):
        if change.new_path is not None:
            after[change.path] = None
        path = change.new_path or change.path
        if before.get(path) != change.text:
            after[path] = change.text
    return after


def plan(patch_text: str, before: Texts) -> list[FileChange]:
    """What the patch does to each file; `before` holds the texts of those that exist. Raises PatchRefused."""
    changes = [_change(path, group, before) for path, group in _by_path(parse(patch_text), before).items()]
    if all(
        change.text == before.get(change.path) and not change.new_path and not change.mode
        for change in changes
    ):
        raise PatchRefused("the patch changes nothing", changes[0].path)
    touched = [path for change in changes for path in (change.path, change.new_path) if path]
    if twice := next((path for path in touched if touched.count(path) > 1), None):
        raise PatchRefused("two parts of the patch make or take away the same file", twice)
    return changes


def _by_path(files: Iterable[FilePatch], before: Texts) -> dict[str, list[FilePatch]]:
    groups: dict[str, list[FilePatch]] = {}
    for file in files:
        groups.setdefault(_path(file, before), []).append(file)
    return groups


def _path(file: FilePatch, before: Texts) -> str:
    possible = [path for path in file.paths if path and path != names.DEV_NULL]
    if not possible:
        raise PatchRefused("no file name", hint="write --- a/path and +++ b/path above its hunks")
    if file.renamed_from or file.creates or len(possible) == 1:
        return possible[0]
    present = [path for path in possible if before.get(path) is not None]
    given = file.old not in ("", names.DEV_NULL) and file.new not in ("", names.DEV_NULL)
    if given and present and possible[0] in present:
        hint = f"to rename it write below `diff --git`: rename from {possible[0]}, rename to {possible[1]}"
        raise PatchRefused(f"it is headed {possible[0]} and {possible[1]}", possible[0], None, hint)
    if len(present) > 1 and "" in (file.old, file.new):
        raise PatchRefused(f"it may be {' or '.join(present)}", hint="write both --- a/path and +++ b/path")
    return present[0] if present else possible[0]


def _change(path: str, files: Sequence[FilePatch], before: Texts) -> FileChange:
    file, text = files[0], before.get(path)
    if len(files) > 1 and any(part.creates or part.deletes or part.renamed_to for part in files):
        raise PatchRefused("the patch makes, deletes or renames it and names it again", path)
    hunks = [hunk for part in files for hunk in part.hunks]
    if file.creates or (text is None and _makes_all(hunks)):
        return _created(path, file, hunks, text)
    if text is None:
        raise PatchRefused(NO_FILE, path, None, "check the path; for a new file write --- /dev/null")
    change = _updated(path, hunks, text)
    change.mode = next((part.mode for part in files if part.mode), None)
    if file.renamed_to:
        return _renamed(change, file.renamed_to, before)
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
    lines = hunks[0].after if hunks else []
    final = not (hunks and hunks[0].new_bare)
    return FileChange(path, "create", Source("").text(lines, final), None, file.mode, added=len(lines))


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
    source = Source(text)
    placements: list[tuple[int, Placement]] = []
    for number, hunk in enumerate(hunks, 1):
        if hunk.count("+-"):
            spot = _spot(source, hunk, path, number, hunks)
            placements.append((number, Placement(hunk, spot, _shift(source, spot, hunk, path, number))))
    placements.sort(key=lambda item: item[1].spot.at)
    done = 0
    for number, (hunk, spot, _) in placements:
        if spot.at < done:
            raise PatchRefused("it overlaps another hunk of this file", path, number, "send them as one hunk")
        done = spot.at + len(hunk.before)
    change = FileChange(path, "update", splice(source, [placement for _, placement in placements]))
    for _, (hunk, spot, _) in placements:
        change.hunks.append(Placed(spot.at + 1, locate.TOLERANCES[spot.rung]))
        change.added += hunk.count("+")
        change.removed += hunk.count("-")
    return change


def _spot(source: Source, hunk: Hunk, path: str, number: int, hunks: Sequence[Hunk]) -> Spot:
    block = hunk.before
    if not block:
        if source.lines:
            raise PatchRefused("nothing says where it belongs", path, number, "add lines of context")
        return Spot(0, locate.EXACT)
    try:
        spot = locate.find(source, block, None if hunk.start is None else hunk.start - 1, path, number)
    except PatchRefused as refusal:
        if _applied(source, hunks):
            hint = "every hunk for this file is there already: go on"
            raise PatchRefused("already applied", path, number, hint) from refusal
        raise
    if _doubles(source, hunk, spot):
        raise PatchRefused(
            "already applied: the added lines stand there", path, number, "go on, or add context"
        )
    return spot


def _applied(source: Source, hunks: Sequence[Hunk]) -> bool:
    changing = [hunk for hunk in hunks if hunk.count("+-")]
    return all(
        hunk.after
        and source.places(hunk.after, locate.LINE_ENDING)
        and not (hunk.before and source.places(hunk.before, locate.LINE_ENDING))
        for hunk in changing
    )


def _doubles(source: Source, hunk: Hunk, spot: Spot) -> bool:
    """Whether lines added at the edge of a hunk stand there already; a true diff has context behind them."""
    tags = "".join(line.tag for line in hunk.lines)
    if set(tags.strip("+")) != {" "}:
        return False
    above = len(tags) - len(tags.lstrip("+"))
    return tags.strip("+") != tags and source.fits(hunk.after, spot.at - above, locate.TRAILING_SPACE)


def _shift(source: Source, spot: Spot, hunk: Hunk, path: str, number: int) -> Shift:
    """How added lines move: as removed lines show, else as all context shows; doubt is refused."""
    if spot.rung != locate.INDENTATION or not hunk.count("+"):
        return NONE
    there = source.lines[spot.at : spot.at + len(hunk.before)]
    old = [line for line in hunk.lines if line.tag != "+"]
    pairs = [(line, found) for line, found in zip(old, there, strict=True) if line.text.strip()]
    removed = [(line.text, found) for line, found in pairs if line.tag == "-"]
    context = [(line.text, found) for line, found in pairs if line.tag == " "]
    shift = uniform(removed or context)
    if not removed and (
        hunk.odd or (shift is None and any(indent_of(a) == indent_of(b) for a, b in context))
    ):
        return NONE
    column = shift is not None and not removed and " " in shift  # one column off: marker or indentation?
    if shift is None or column or shift.of_all(hunk.after) is None:
        hint = "copy the file's own indentation into every line of the hunk"
        raise PatchRefused("its indentation differs from the file's in no single way", path, number, hint)
    return shift
