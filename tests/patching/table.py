"""The table behind `tools/bench patches`: what the patch engine makes of each corpus; runs inside `.venv`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import corpus
import mistakes

from glm_agent.patching import PatchRefused, apply_patch

Row = tuple[str, str, float]  # tier, verdict, seconds


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench patches")
    parser.add_argument("corpus", nargs="*", type=Path, default=sorted(corpus.HERE.glob("*.jsonl")))
    parser.add_argument(
        "--cases", type=int, default=5000, help="true diffs with mistakes put in (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first of them")
    options = parser.parse_args(argv)
    _say(f"{'corpus':24} {'cases':>6} {'must':>8} {'may':>8} {'refuse':>8} {'silent':>7}   p50 ms  p95 ms")
    silent = sum(_show(path.name, _judged(path)) for path in options.corpus)
    silent += _show("mistakes put in", _made(options.seed, options.cases))
    sys.exit(1 if silent else 0)


def _show(name: str, rows: Iterable[Row]) -> int:
    """Prints one line of the table and gives the number of patches that were applied wrongly."""
    counts: Counter[tuple[str, str]] = Counter()
    times: list[float] = []
    for tier, verdict, seconds in rows:
        counts[tier, verdict] += 1
        times.append(seconds * 1000)
    times.sort()

    def share(tier: str, verdict: str) -> str:
        whole = sum(count for (found, _), count in counts.items() if found == tier)
        return f"{100 * counts[tier, verdict] / whole:.1f} %" if whole else "-"

    silent = sum(count for (_, verdict), count in counts.items() if verdict == "WRONG")
    shares = f"{share('must', 'right'):>8} {share('may', 'right'):>8} {share('refuse', 'refused'):>8}"
    spent = [times[int(part * (len(times) - 1))] for part in (0.5, 0.95)] if times else [0.0, 0.0]
    line = f"{name[:24]:24} {len(times):6} {shares} {silent:7} {spent[0]:8.2f} {spent[1]:7.2f}"
    _say(line)
    return silent


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _judged(path: Path) -> Iterable[Row]:
    """The cases of a corpus, each by the tool in a directory of its own."""
    for case in corpus.cases(path):
        if case["tier"] == "info":
            continue
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            start = time.process_time()
            verdict, _ = corpus.judge(case, Path(folder))
            yield case["tier"], verdict, time.process_time() - start


def _made(seed: int, count: int) -> Iterable[Row]:
    """True diffs with mistakes put in, by the engine alone; none of them must be applied."""
    for number in range(seed, seed + count):
        case = mistakes.make(number)
        before: dict[str, str | None] = {mistakes.NAME: case.before}
        start = time.process_time()
        try:
            after = (before | apply_patch(case.patch, before))[mistakes.NAME]
        except PatchRefused:
            after = None
        seconds = time.process_time() - start
        verdict = "refused" if after is None else "right" if after == case.after else "WRONG"
        yield "refuse" if case.after is None else "may", verdict, seconds


if __name__ == "__main__":
    main(sys.argv[1:])
