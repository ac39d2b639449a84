"""The work tree brought from one state to another: staged whole, then swapped in, or taken back whole."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import large, paths
from .errors import RepositoryError
from .snapshot import Snapshot
from .state import FOLDER, Entry, State, above, everything
from .swap import Found, Step, Swap, said


class HalfwayError(RepositoryError):
    """The tree is between two states, and what was there is kept."""


def restore(
    snapshot: Snapshot, root: Path, now: State | str, wanted: State | str, only: Collection[str] | None = None
) -> list[str]:
    """Brings the work tree at `root` from `now` to `wanted`, states or trees of `snapshot`: all, or nothing.

    Returns what could not be made as it was and does no harm: permission bits. `only` restricts it to some
    paths and the directories they are in. Raises RepositoryError, with the tree as it was, if a file is not
    as `now` says, or something cannot be written; HalfwayError if it is not even to be put back.
    """
    now, wanted = (State(it, it) if isinstance(it, str) else it for it in (now, wanted))
    steps = plan(snapshot, now, wanted, only)
    lost = [step.path for step in steps if not _is_kept(snapshot, step)]
    steps = [step for step in steps if step.path not in lost]
    problems = [f"{paths.shown(path)} was too large to be kept whole, and stays as it is" for path in lost]
    if not steps:
        return problems
    with _swapping(root) as swap:
        return [*problems, *_carry_out(swap, snapshot, steps, wanted)]


def finish(
    snapshot: Snapshot, root: Path, now: State, wanted: State, only: Collection[str] | None = None
) -> list[str]:
    """Does what a `restore` that was killed has left to do; the paths that others have changed since.

    What is at each path is what was there, or what was to come, or nothing while it was between the two.
    Raises RepositoryError.
    """
    steps = [step for step in plan(snapshot, now, wanted, only) if _is_kept(snapshot, step)]
    with _swapping(root) as swap:
        found: dict[str, Found] = {step.path: swap.find(step.path, step.now, step.wanted) for step in steps}
        others = [step.path for step in steps if _is_other(swap, step, found)]
        left = [_left(step, found[step.path]) for step in steps if step.path not in others]
        _carry_out(swap, snapshot, [step for step in left if step], wanted)
    return others


def plan(snapshot: Snapshot, now: State, wanted: State, only: Collection[str] | None = None) -> list[Step]:
    """What differs between two states, by path."""
    before, after = everything(snapshot, now), everything(snapshot, wanted)
    chosen = (
        before.keys() | after.keys() if only is None else {*only, *(it for one in only for it in above(one))}
    )
    steps: list[Step] = []
    for path in sorted(chosen):
        old, new = before.get(path), after.get(path)
        bits = wanted.permissions(path, new.mode) if new else None
        old_bits = now.permissions(path, old.mode) if old else None
        step = Step(path, old, new, bits, old_bits)
        is_other_mode = bits is not None and old_bits is not None and bits != old_bits
        if step.is_content or is_other_mode:
            steps.append(step)
    return steps


def tidy(root: Path) -> None:
    """Away with what a restore that was killed left; only for who has the lock on `root`."""
    import shutil

    for left in _left_by_kills(root):
        shutil.rmtree(left, ignore_errors=True)


def keep_aside(root: Path) -> list[str]:
    """What `tidy` would take away goes under names that it leaves alone."""
    kept: list[str] = []
    for left in _left_by_kills(root):
        kept.append(f"glm-agent-kept-{left.name[-12:-4]}")
        left.rename(root / kept[-1])
    return kept


def _left_by_kills(root: Path) -> Iterator[Path]:
    for left in root.glob(f".glm-agent-{'[0-9a-f]' * 16}.tmp"):  # a name of the user's own is not like that
        if left.is_dir() and not left.is_symlink():
            yield left


@contextmanager
def _swapping(root: Path) -> Generator[Swap]:
    """Whatever stops it, all is taken back."""
    try:
        swap = Swap(root)
    except OSError as error:
        raise RepositoryError(f"nothing was restored: {said(error)}") from error
    try:
        yield swap
    except BaseException as error:
        stuck = swap.take_back()
        if not isinstance(error, OSError) and not stuck:
            raise
        why = f"nothing was restored: {said(error) if isinstance(error, OSError) else error}"
        raise (HalfwayError if stuck else RepositoryError)(why + stuck) from error
    finally:
        swap.close()


def _is_kept(snapshot: Snapshot, step: Step) -> bool:
    if not (step.puts and step.wanted and large.is_large(step.wanted.blob)):
        return True
    return large.find(snapshot.folder / "large", step.path, step.wanted.blob) is not None


def _is_other(swap: Swap, step: Step, found: Mapping[str, Found]) -> bool:
    """Whether others have put something at the step's path, or where a folder of it was."""
    folder = Entry(FOLDER, "")
    return found[step.path] == "other" or any(
        (found.get(above_it) or swap.find(above_it, folder, folder)) == "other"
        for above_it in above(step.path)
    )


def _left(step: Step, found: Found) -> Step | None:
    """What there is left to do of a step."""
    if found == "old" or step.wanted is None:
        return step if found == "old" else None
    if found == "gone":
        return step._replace(now=None)
    return step._replace(now=step.wanted) if step.bits is not None else None


def _carry_out(swap: Swap, snapshot: Snapshot, steps: list[Step], wanted: State) -> list[str]:
    swap.require([step for step in steps if step.takes or step.puts])
    swap.stage(snapshot, [step for step in steps if step.puts])
    for step in steps:
        if step.takes and not (step.puts and swap.has_second_name(step.path)):
            swap.remove(step.path)
    for step in reversed(steps):  # what is in a directory comes after it
        if step.is_content and step.now and step.now.is_folder:
            swap.remove_folder(step.path)
    for step in steps:
        if step.puts:
            swap.place(step.path, wanted)
        elif step.is_content and step.wanted:
            swap.make_folder(step.path, wanted)
    problems = [problem for step in steps if not step.is_content for problem in swap.set_bits(step)]
    swap.settle()
    return problems
