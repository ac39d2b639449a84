"""True replacements in real files with one mistake put in: exactly right, or refused; never a third thing."""

from __future__ import annotations

import html
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from glm_agent.patching import PatchRefused, edit

Mistake = Callable[[random.Random, str, str, str], tuple[str, str] | None]


class Replacement(NamedTuple):
    text: str
    old: str
    new: str
    after: str


def texts() -> list[str]:
    """The files of the corpus: several languages, tabs and spaces."""
    found: dict[str, None] = {}
    for line in (Path(__file__).parent / "corpus.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
        for value in json.loads(line)["files_before"].values():
            if isinstance(value, str) and "\r" not in value and value.count("\n") > 8:
                found[value] = None
    return list(found)


def unit(text: str) -> str:
    return "\t" if "\n\t" in text else "    "


def indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def draw(rng: random.Random, text: str) -> Replacement | None:
    """Some lines of `text` that stand there once, and what a person may make of them."""
    rows = text.removesuffix("\n").split("\n")
    count = rng.choice([1, 2, 3, 4, 5, 6, 8, 12])
    start = rng.randrange(max(1, len(rows) - count))
    old = rows[start : start + count]
    if not old[0].strip() or not old[-1].strip() or f"\n{text}".count("\n" + "\n".join(old) + "\n") != 1:
        return None
    new = changed(rng, old, unit(text))
    if new == old or not any(new) or any(" \t" in indent(line) for line in new):
        return None
    after = "\n".join([*rows[:start], *new, *rows[start + count :]]) + "\n" * text.endswith("\n")
    return Replacement(text, "\n".join(old), "\n".join(new), after)


def changed(rng: random.Random, lines: list[str], step: str) -> list[str]:
    out: list[str] = []
    for line in lines:
        chance = rng.random()
        if chance < 0.15 and len(lines) > 1:
            continue
        if chance < 0.4 and (words := re.findall(r"\w+", line)):
            word = rng.choice(words)
            line = line.replace(word, f"{word}_x", 1)
        out.append(line)
        if rng.random() < 0.15 and line.strip():
            out.append(indent(line) + rng.choice(["", step]) + rng.choice(["call(x)", "}", "it's > 1 && b"]))
    return out


# Mistakes: (old, new) as sent, None where there is nothing to get wrong


def lines(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda side: "\n".join(change(line) if line.strip() else line for line in side.split("\n"))


def both(change: Callable[[str], str]) -> Mistake:
    return lambda rng, old, new, step: (change(old), change(new))


def only_old(change: Callable[[str], str]) -> Mistake:
    return lambda rng, old, new, step: (change(old), new)


def outdented(rng: random.Random, old: str, new: str, step: str) -> tuple[str, str] | None:
    indents = [indent(line) for line in f"{old}\n{new}".split("\n") if line.strip()]
    common = min(indents, key=len)
    if not common or not all(found.startswith(common) for found in indents):
        return None
    cut = lines(lambda line: line.removeprefix(common))
    return cut(old), cut(new)


def indented(rng: random.Random, old: str, new: str, step: str) -> tuple[str, str]:
    move = lines(lambda line: step + line)
    return move(old), move(new)


def drifted(rng: random.Random, old: str, new: str, step: str) -> tuple[str, str]:
    def move(line: str) -> str:
        return rng.choice([line, line, step + line, line.removeprefix(step)])

    return lines(move)(old), new


def numbered(form: str, *, new_too: bool) -> Mistake:
    def sent(rng: random.Random, old: str, new: str, step: str) -> tuple[str, str]:
        first = rng.randrange(1, 900)
        rows = [
            "\n".join(form % (first + n, line) for n, line in enumerate(s.split("\n"))) for s in (old, new)
        ]
        return rows[0], rows[1] if new_too else new

    return sent


def curly(side: str) -> str:
    return side.replace('"', "\u201d").replace("'", "\u2019")


def as_json(side: str) -> str:
    return json.dumps(side, ensure_ascii=False)[1:-1]


def tabs(width: int) -> Callable[[str], str]:
    return lines(lambda line: indent(line).replace("\t", " " * width) + line.lstrip(" \t"))


MISTAKES: dict[str, Mistake] = {
    "none": both(str),
    "outdented": outdented,
    "indented": indented,
    "drifted": drifted,
    "flat": only_old(lines(str.lstrip)),
    "spaces for tabs": both(tabs(4)),
    "spaces for tabs in old": only_old(tabs(2)),
    "trailing space": only_old(lines(lambda line: line + "  ")),
    "curly quotes": both(curly),
    "curly quotes in old": only_old(curly),
    "dashes": both(lambda side: side.replace("-", "\u2013")),
    "no-break spaces": only_old(lambda side: side.replace(" ", "\u00a0")),
    "full width": both(lambda side: side.replace("(", "\uff08").replace(")", "\uff09")),
    "fence": both(lambda side: f"```py\n{side}\n```"),
    "cat -n": numbered("%6d\t%s", new_too=True),
    "grep -n": numbered("%d:%s", new_too=False),
    "colon": numbered("%d: %s", new_too=True),
    "entities": both(lambda side: html.escape(side, quote=False)),
    "escaped": both(as_json),
    "escaped in old": only_old(as_json),
    "blank lines": both(lambda side: f"\n\n{side}\n\n"),
    "crlf": both(lambda side: side.replace("\n", "\r\n")),
    "crlf in old": only_old(lambda side: side.replace("\n", "\r\n")),
}


def other_letter(rng: random.Random, old: str, new: str, step: str) -> tuple[str, str] | None:
    at = rng.choice([n for n, char in enumerate(old) if char.isalnum()] or [-1])
    return (old[:at] + ("q" if old[at] != "q" else "z") + old[at + 1 :], new) if at >= 0 else None


def without_a_line(rng: random.Random, old: str, new: str, step: str) -> tuple[str, str] | None:
    rows = old.split("\n")
    inner = [n for n in range(1, len(rows) - 1) if rows[n].strip()]
    gone = rng.choice(inner or [0])
    return ("\n".join(rows[:gone] + rows[gone + 1 :]), new) if inner else None


def elided(rng: random.Random, old: str, new: str, step: str) -> tuple[str, str] | None:
    rows = old.split("\n")
    dots = rng.choice(["...", "    ...", "# ... existing code ...", "\u2026"])
    return ("\n".join([rows[0], dots, rows[-1]]), new) if len(rows) > 3 else None


STALE: dict[str, Mistake] = {"letter": other_letter, "line": without_a_line, "elided": elided}


def tally(mistake: Mistake, seed: int, count: int, *, stale: bool = False) -> Counter[str]:
    """How `count` replacements with the mistake end: "exact", "refused", or the one that was neither."""
    rng, files, ends = random.Random(seed), texts(), Counter[str]()
    while ends.total() < count:
        true = draw(rng, rng.choice(files))
        sent = true and mistake(rng, true.old, true.new, unit(true.text))
        if true is None or sent is None or sent[0] == sent[1]:
            continue
        if sent[0] != true.old and sent[0] in true.text:
            continue  # it stands there as it was sent: then it is no mistake
        if sent[0] == true.old and sent[1] != true.new:
            continue  # nothing shows it
        text, after = true.text, true.after
        if rng.random() < 0.2:
            text, after = text.replace("\n", "\r\n"), after.replace("\n", "\r\n")
        ends[outcome(text, sent, None if stale else after)] += 1
    return ends


def outcome(text: str, sent: tuple[str, str], after: str | None) -> str:
    try:
        got = edit(text, *sent).text
    except PatchRefused as refusal:
        assert len(str(refusal)) < 4000
        return "refused"
    return "exact" if got == after else f"wrong: {sent!r}"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_overlooked_or_refused(name: str) -> None:
    ends = tally(MISTAKES[name], 1, 25)
    assert set(ends) <= {"exact", "refused"}
    assert ends["exact"] >= 12


@pytest.mark.parametrize("name", STALE)
def test_what_is_not_in_the_file_is_refused(name: str) -> None:
    assert set(tally(STALE[name], 1, 25, stale=True)) == {"refused"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MISTAKES, *STALE])
def test_thousands_of_mistakes(name: str) -> None:
    stale = name in STALE
    ends = tally((STALE if stale else MISTAKES)[name], 2, 2000, stale=stale)
    assert set(ends) <= ({"refused"} if stale else {"exact", "refused"})
