"""The work tree brought from one state to another: staged whole, then swapped in, or taken back whole."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from . import large, paths
from .errors import RepositoryError
from .snapshot import Snapshot
from .state import Entry, State, above, everything
from .swap import Step, Swap, said


def restore(
    snapshot: Snapshot, root: Path, now: State | str, wanted: State | str, only: Collection[str] | None = None
) -> list[str]:
    """Brings the work tree at `root` from `now` to `wanted`, states or trees of `snapshot`: all, or nothing.

    Returns what could not be made as it was and does no harm: permission bits. `only` restricts it to some
    paths and the directories they are in. Raises RepositoryError, with the tree as it was, if a file is not
    as `now` says, or something cannot be written.
    """
    now, wanted = (State(it, it) if isinstance(it, str) else it for it in (now, wanted))
    steps = plan(snapshot, now, wanted, only)
    lost = [
        step.path
        for step in steps
        if step.puts and step.wanted and not _is_kept(snapshot, step.path, step.wanted)
    ]
    steps = [step for step in steps if step.path not in lost]
    problems = [f"{paths.shown(path)} was too large to be kept whole, and stays as it is" for path in lost]
    if not steps:
        return problems
    swap = Swap(root)
    try:
        return [*problems, *_carry_out(swap, snapshot, steps, wanted)]
    except OSError as error:
        raise RepositoryError(f"nothing was restored: {said(error)}{swap.take_back()}") from error
    except BaseException:
        swap.take_back()
        raise
    finally:
        swap.close()


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

    for left in root.glob(f".glm-agent-{'[0-9a-f]' * 16}.tmp"):  # a name of the user's own is not like that
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def _is_kept(snapshot: Snapshot, path: str, entry: Entry) -> bool:
    return (
        not large.is_large(entry.blob) or large.find(snapshot.folder / "large", path, entry.blob) is not None
    )


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
