"""The run behind `tools/fuzz patches`: diffs of any texts both ways, damaged ones, and mistakes; it counts.

A line of counts comes every minute. What is not as it should be is printed with the seed that makes it again:
`one(seed)` gives the case.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import diffs
import mistakes

from glm_agent.patching import PatchRefused, apply_patch

_EVERY = 60  # seconds
_TREES = 50  # cases: git takes as long for one as the engine does for that many texts

_DAMAGED = {"right": "right", "refused": "refused", "WRONG": "taken as it now reads"}

Found = tuple[str, str]  # what was tried, what came of it


def main(argv: list[str]) -> int:
    seconds = float(argv[0]) if argv else 60.0
    first = seed = int(argv[1]) if len(argv) > 1 else random.randrange(10**9)
    _say(f"seed {seed}, {seconds:g} s")
    counts: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    start = said = time.monotonic()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        repository = diffs.Repository(Path(folder))
        while time.monotonic() - start < seconds:
            begun = time.process_time()
            for tried, verdict in one(seed, repository):
                counts[f"{tried}: {verdict}"] += 1
                if verdict.startswith(("WRONG", "raised", "REFUSED")):
                    bad[f"{tried}: {verdict}"] += 1
                    _say(f"seed {seed}: {tried}: {verdict}")
            slowest = max(slowest, time.process_time() - begun)
            seed += 1
            if time.monotonic() - said > _EVERY:
                said = time.monotonic()
                _tell(said - start, seed - first, slowest, counts)
    _tell(time.monotonic() - start, seed - first, slowest, counts)
    _say(f"DONE {sum(counts.values()):,} verdicts, not as they should be: {json.dumps(bad)}")
    return 1 if bad else 0


def one(seed: int, repository: diffs.Repository) -> Iterator[Found]:
    """All verdicts on what `seed` makes."""
    rng = random.Random(seed)
    old = diffs.text(rng)
    new = diffs.edited(rng, old)
    if old != new:
        yield from _texts(rng, old, new)
    if seed % _TREES == 0:
        yield from _trees(rng, repository)
    yield _mistake(mistakes.make(seed))


def _texts(rng: random.Random, old: str, new: str) -> Iterator[Found]:
    patch = diffs.diff(old, new, rng.randint(0, 5))
    for reverse, before in ((False, old), (True, new)):
        verdict = _verdict(patch, {"f": old}, {"f": new}, reverse)
        why = diffs.doubt(patch, before, reverse)
        if why == "elsewhere" or (why and verdict.startswith("refused")):
            yield f"in doubt, {why}", verdict.partition(":")[0].lower()
        else:
            yield "difflib" + ", back" * reverse, verdict.replace("refused", "REFUSED")
    at = rng.randrange(len(patch))
    marred = patch[:at] + rng.choice("+-@ \\\n\r\tab1,/&<\x00\ud800") + patch[at + rng.randint(0, 2) :]
    verdict = _verdict(marred, {"f": old}, {"f": new})
    yield "damaged", verdict if verdict.startswith("raised") else _DAMAGED[verdict.partition(":")[0]]


def _trees(rng: random.Random, repository: diffs.Repository) -> Iterator[Found]:
    before, after = diffs.tree(rng)
    if before == after:
        return
    options = (rng.choice(diffs.OPTIONS), f"-U{rng.randint(0, 5)}", rng.choice(diffs.STYLES))
    patch = repository.diff(before, after, *options)
    if "-B" in options[0] and not repository.takes(patch, before, after):
        return
    yield "git", _verdict(patch, before, after).replace("refused", "REFUSED")
    if "\ncopy from " not in patch:  # what it was copied from is not in it
        yield "git, back", _verdict(patch, before, after, reverse=True).replace("refused", "REFUSED")


def _mistake(case: mistakes.Case) -> Found:
    before: dict[str, str | None] = {mistakes.NAME: case.before}
    try:
        after = apply_patch(case.patch, before)
    except PatchRefused:
        return "mistakes", "refused"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return "mistakes", f"raised {error!r}"
    return "mistakes", "right" if after == {mistakes.NAME: case.after} else "WRONG"


def _verdict(patch: str, before: diffs.Tree, after: diffs.Tree, reverse: bool = False) -> str:
    try:
        return diffs.verdict(patch, before, after, reverse)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"raised {error!r}"


def _tell(seconds: float, seeds: int, slowest: float, counts: Counter[str]) -> None:
    spent = f"{seconds:.0f} s, {seeds:,} seeds, slowest {slowest * 1000:.0f} ms"
    _say(f"{spent}  {json.dumps(dict(sorted(counts.items())))}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
