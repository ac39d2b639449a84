"""True diffs of real text, and the mistakes that models make when they write one, each put in on purpose.

A `Case` is right or wrong by construction: what the mistake leaves of the patch either leads from `before` to
`after`, or has to be refused. Nothing here looks at how the engine works.
"""

from __future__ import annotations

import difflib
import html
import json
import random
import re
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

NAME = "f.py"
_MODULES = (
    "textwrap",
    "shlex",
    "bisect",
    "heapq",
    "fnmatch",
    "calendar",
    "csv",
    "getopt",
    "sched",
    "string",
    "cmd",
)
_PROSE = (
    "Ünïcode — “quoted”, it\u2019s fine.\n\n\tdeep\n\t\tdeeper  \n\nif a < b && c > d {\n\treturn &x;\n}\n\n"
    "<ul>\n  <li>one &amp; two</li>\n  <li>three</li>\n</ul>\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-- comment\n"
    "++i;\n```diff\n-old\n+new\n```\nlast line\n"
)
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@.*$")


@dataclass(frozen=True)
class Case:
    """A patch for a file of which the text is `before`; `after` is None where only a refusal is right."""

    before: str
    after: str | None
    hunks: tuple[tuple[str, tuple[str, ...]], ...]  # header, lines
    patch: str = ""  # once it is written out
    mistakes: tuple[str, ...] = ()


Mistake = Callable[[random.Random, Case], Case]


@cache
def texts() -> tuple[str, ...]:
    """Real text: modules of the standard library, cut to size, the same with tabs, and some prose."""
    library = Path(sysconfig.get_paths()["stdlib"])
    found = [_PROSE]
    for name in _MODULES:
        lines = (library / f"{name}.py").read_text("utf-8").split("\n")
        for start in range(0, max(1, len(lines) - 150), 150):
            text = "\n".join(lines[start : start + 150]) + "\n"
            found += [text, re.sub("(?m)^( {4})+", lambda match: "\t" * (len(match[0]) // 4), text)]
    return tuple(found)


def make(seed: int) -> Case:
    """One case with up to five mistakes; the same seed gives the same case."""
    rng = random.Random(seed)
    case = _true(rng, rng.choice((0, 1, 1, 2, 3, 3, 3, 3, 5, 10)), twin=0.3)
    for mistake in rng.sample(_IN_HUNKS, rng.choice((0, 1, 1, 1, 2, 2, 3))):
        if mistake not in _OF_INDENTATION or not {other.__name__ for other in _OF_INDENTATION} & set(
            case.mistakes
        ):
            case = _with(rng, case, mistake)
    case = replace(case, patch=_written(case.hunks))
    for mistake in rng.sample(_IN_TEXT, rng.choice((0, 0, 0, 1, 1, 2))):
        case = _with(rng, case, mistake)
    return case


def make_with(seed: int, mistake: Mistake) -> Case:
    """A case of three lines of context with just this mistake, or with none if it cannot be made there."""
    rng = random.Random(seed)
    case = _true(rng, 3, twin=0)
    if mistake in _IN_HUNKS:
        case = _with(rng, case, mistake)
    case = replace(case, patch=_written(case.hunks))
    return _with(rng, case, mistake) if mistake in _IN_TEXT else case


def _true(rng: random.Random, context: int, twin: float) -> Case:
    before = rng.choice(texts())
    if rng.random() < twin:
        before = _with_twin(rng, before)
    if rng.random() < 0.15:
        before = before.removesuffix("\n")
    after = _edited(rng, before)
    return Case(before, after, _hunks(before, after, context))


def _with(rng: random.Random, case: Case, mistake: Mistake) -> Case:
    marred = mistake(rng, case)
    return case if marred == case else replace(marred, mistakes=(*case.mistakes, mistake.__name__))


def _with_twin(rng: random.Random, text: str) -> str:
    """The text with a block of it once more, as it is or nearly so."""
    lines = text.split("\n")
    start, size, target = rng.randrange(len(lines)), rng.randint(2, 25), rng.randrange(len(lines))
    block = lines[start : start + size]
    if rng.random() < 0.4:
        at = rng.randrange(len(block))
        block = [*block[:at], block[at] + "x", *block[at + 1 :]]
    return "\n".join([*lines[:target], *block, *lines[target:]])


def _edited(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        at, size = rng.randrange(len(lines) - 1), rng.choice((1, 1, 1, 2, 4))
        old = lines[at : at + size]
        match rng.choice(("change", "change", "insert", "insert", "delete", "move", "indent")):
            case "change":
                lines[at : at + size] = [_changed(rng, line) for line in old]
            case "insert":
                near = lines[max(0, at - 8) : at + 8]
                lines[at:at] = [_changed(rng, rng.choice(near)) for _ in range(size)]
            case "delete":
                del lines[at : at + size]
            case "move":
                del lines[at : at + size]
                target = rng.randrange(len(lines))
                lines[target:target] = old
            case _:
                pad = "\t" if "\n\t" in text else "    "
                lines[at : at + size] = [pad + line if line.strip() else line for line in old]
    edited = "\n".join(lines)
    return edited if edited != text else "changed\n" + text


def _changed(rng: random.Random, line: str) -> str:
    words = re.findall(r"\w+", line)
    if not words or rng.random() < 0.1:
        return line + "new()"
    word = rng.choice(words)
    return line.replace(word, rng.choice((word + "2", "other", word.upper() + "_")), 1)


def _hunks(before: str, after: str, context: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    hunks: list[tuple[str, list[str]]] = []
    for line in difflib.unified_diff(_lines(before), _lines(after), n=context, lineterm="\n"):
        if line.startswith("@@"):
            hunks.append((line.rstrip("\n"), []))
        elif hunks:
            bare = not line.endswith("\n")
            hunks[-1][1].extend([line.removesuffix("\n"), *["\\ No newline at end of file"] * bare])
    return tuple((header, tuple(lines)) for header, lines in hunks)


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _written(hunks: Sequence[tuple[str, Sequence[str]]]) -> str:
    body = "".join(
        "".join(f"{line}\n" for line in (*filter(None, (header,)), *lines)) for header, lines in hunks
    )
    return f"--- a/f.py\n+++ b/f.py\n{body}"


def _each(case: Case, change: Callable[[str], str], tags: str) -> Case:
    """The case with `change` made to the text of every line that has one of `tags` and is not blank."""
    hunks = tuple(
        (
            header,
            tuple(
                line[0] + change(line[1:]) if line[:1] in tuple(tags) and line[1:].strip() else line
                for line in lines
            ),
        )
        for header, lines in case.hunks
    )
    return replace(case, hunks=hunks)


def _headers(case: Case, change: Callable[[re.Match[str]], str]) -> Case:
    hunks = tuple(
        (change(match) if (match := _HUNK.match(header)) else header, lines) for header, lines in case.hunks
    )
    return replace(case, hunks=hunks)


# Headers


def wrong_numbers(rng: random.Random, case: Case) -> Case:
    return _headers(
        case, lambda m: f"@@ -{rng.randint(1, 200)},{m[2] or 1} +{rng.randint(1, 200)},{m[4] or 1} @@"
    )


def numbers_off(rng: random.Random, case: Case) -> Case:
    off = rng.choice((-30, -5, -2, -1, 1, 2, 3, 8, 60))
    return _headers(case, lambda m: f"@@ -{max(1, int(m[1]) + off)},{m[2] or 1} +{m[3]},{m[4] or 1} @@")


def wrong_counts(rng: random.Random, case: Case) -> Case:
    return _headers(case, lambda m: f"@@ -{m[1]},{rng.randint(1, 12)} +{m[3]},{rng.randint(1, 12)} @@")


def bare_headers(rng: random.Random, case: Case) -> Case:
    return _headers(case, lambda _: rng.choice(("@@", "@@ @@", "@@ ... @@", "@@ -,+ @@")))


def headers_with_a_section(_: random.Random, case: Case) -> Case:
    if {"wrong_numbers", "numbers_off", "lines_above"} & set(case.mistakes):
        return case
    lines = case.before.split("\n")

    def section(match: re.Match[str]) -> str:
        above = [line.strip() for line in lines[: int(match[1]) - 1] if re.match(r"\s*(def|class) ", line)]
        return f"@@ {above[-1]} @@" if above else "@@"

    return _headers(case, section)


def swapped_hunks(rng: random.Random, case: Case) -> Case:
    return replace(case, hunks=tuple(rng.sample(case.hunks, len(case.hunks))))


def repeated_hunk(rng: random.Random, case: Case) -> Case:
    return replace(case, hunks=(*case.hunks, rng.choice(case.hunks)))


# Lines


def stripped_trailing_space(_: random.Random, case: Case) -> Case:
    return _each(case, str.rstrip, " -")


def trailing_space_added(rng: random.Random, case: Case) -> Case:
    return _each(case, lambda text: text + rng.choice(("", " ", "\t", "  ")), " -")


def blank_context_stripped(_: random.Random, case: Case) -> Case:
    return replace(
        case,
        hunks=tuple(
            (head, tuple(line if line.strip() else "" for line in lines)) for head, lines in case.hunks
        ),
    )


def context_without_prefix(rng: random.Random, case: Case) -> Case:
    share = rng.choice((0.3, 1))
    return replace(
        case,
        hunks=tuple(
            (
                head,
                tuple(
                    line[1:]
                    if line[:1] == " "
                    and line[1:2].strip()
                    and line[1] not in "+-\\@*`<"
                    and rng.random() < share
                    else line
                    for line in lines
                ),
            )
            for head, lines in case.hunks
        ),
    )


def doubled_context_prefix(_: random.Random, case: Case) -> Case:
    return _each(case, lambda text: " " + text, " ")


def space_after_every_marker(_: random.Random, case: Case) -> Case:
    return _each(case, lambda text: " " + text, " -+")


def everything_indented(rng: random.Random, case: Case) -> Case:
    pad = rng.choice(("  ", "    ", "\t", "        "))
    return _each(case, lambda text: pad + text, " -+")


def everything_outdented(rng: random.Random, case: Case) -> Case:
    pad = rng.choice(("  ", "    ", "\t"))
    lines = [line[1:] for _, lines in case.hunks for line in lines if line[:1] in " -+" and line[1:].strip()]
    return (
        _each(case, lambda text: text.removeprefix(pad), " -+")
        if all(line.startswith(pad) for line in lines)
        else case
    )


def drifted_context(rng: random.Random, case: Case) -> Case:
    def drift(text: str) -> str:
        pad = rng.choice(("", "", "    ", "\t", "  "))
        return text.removeprefix(pad) if rng.random() < 0.5 else pad + text

    return _each(case, drift, rng.choice((" ", " -")))


def context_with_spaces_for_tabs(rng: random.Random, case: Case) -> Case:
    width = rng.choice((2, 4, 8))
    return _each(case, lambda text: text.replace("\t", " " * width), " -")


def spaces_for_tabs(rng: random.Random, case: Case) -> Case:
    width = rng.choice((2, 4, 8))
    marred = _each(case, lambda text: text.replace("\t", " " * width), " -+")
    leading = all("\t" not in line.lstrip("\t") for line in (case.after or "").split("\n"))
    return marred if leading and not re.search(r"(?m)^\t* {2}", case.after or "") else case


def typographic_context(rng: random.Random, case: Case) -> Case:
    table = str.maketrans({"'": "\u2019", '"': "\u201d", "-": "\u2013", " ": "\u00a0"})
    return _each(case, lambda text: text.translate(table) if rng.random() < 0.5 else text, " ")


def ascii_context(_: random.Random, case: Case) -> Case:
    return _each(case, lambda text: text.translate(str.maketrans("“”\u2019—", '""\'-')), " ")


def inner_spacing(rng: random.Random, case: Case) -> Case:
    return _each(case, lambda text: re.sub(r"(?<=\S) (?==)", "", text) if rng.random() < 0.5 else text, " -")


def marker_missing(_: random.Random, case: Case) -> Case:
    hunks = tuple(
        (head, tuple(line for line in lines if not line.startswith("\\ "))) for head, lines in case.hunks
    )
    bare = (case.before.endswith("\n"), (case.after or "").endswith("\n"))
    return replace(case, hunks=hunks) if bare[0] == bare[1] else case


# What the file has become meanwhile


def lines_above(rng: random.Random, case: Case) -> Case:
    more = "".join(f"# line {n}\n" for n in range(rng.choice((1, 3, 20, 90))))
    return replace(case, before=more + case.before, after=None if case.after is None else more + case.after)


def stale_removed_line(rng: random.Random, case: Case) -> Case:
    """A line that is to go has changed: whatever else is in the file, the patch does not fit it."""
    removed = [
        line[1:] for _, lines in case.hunks for line in lines if line.startswith("-") and line.strip("- \t")
    ]
    if not removed:
        return case
    gone = rng.choice(removed)
    lines = [
        f"{line} # meanwhile" if line.strip() == gone.strip() else line for line in case.before.split("\n")
    ]
    before = "\n".join(lines)
    return case if before == case.before else replace(case, before=before, after=None)


def stale_context_line(rng: random.Random, case: Case) -> Case:
    """A line that stays has changed in the file: with the change in it, or a refusal."""
    kept = [line[1:] for _, lines in case.hunks for line in lines if line.startswith(" ") and line.strip()]
    if not kept or case.after is None:
        return case
    stale = rng.choice(kept)
    texts = (case.before, case.after)
    if any(text.split("\n").count(stale) != 1 for text in texts):
        return case
    before, after = (text.replace(f"{stale}\n", f"{stale} # meanwhile\n", 1) for text in texts)
    return replace(case, before=before, after=after)


def crlf_file(_: random.Random, case: Case) -> Case:
    if "\r" in case.before:
        return case
    after = None if case.after is None else case.after.replace("\n", "\r\n")
    return replace(case, before=case.before.replace("\n", "\r\n"), after=after)


# The patch as a text


def crlf_patch(_: random.Random, case: Case) -> Case:
    return replace(case, patch=case.patch.replace("\n", "\r\n"))


def fence_and_prose(_: random.Random, case: Case) -> Case:
    if "```" in case.patch:
        return case
    patch = case.patch.removesuffix("\n")
    return replace(
        case, patch=f"Here is the fix:\n\n```diff\n{patch}\n```\n\nThis should\n- work\n- be fine\n"
    )


def json_text(_: random.Random, case: Case) -> Case:
    return replace(case, patch=json.dumps(case.patch))


def json_call(_: random.Random, case: Case) -> Case:
    return replace(case, patch=json.dumps({"patch": case.patch}))


def html_entities(_: random.Random, case: Case) -> Case:
    if re.search("&[a-z]+;", case.before):  # such a file may well get more of them
        return case
    lines = case.patch.split("\n")
    return replace(case, patch="\n".join(lines[:2] + [html.escape(line) for line in lines[2:]]))


def envelope(_: random.Random, case: Case) -> Case:
    if not case.patch.startswith("--- "):
        return case
    body = "\n".join(case.patch.removesuffix("\n").split("\n")[2:])
    return replace(case, patch=f"*** Begin Patch\n*** Update File: f.py\n{body}\n*** End Patch\n")


def envelope_and_headers(_: random.Random, case: Case) -> Case:
    patch = case.patch.removesuffix("\n")
    return replace(case, patch=f"*** Begin Patch\n*** Update File: f.py\n{patch}\n*** End Patch\n")


def only_the_git_line(_: random.Random, case: Case) -> Case:
    if not case.patch.startswith("--- "):
        return case
    return replace(case, patch=case.patch.replace("--- a/f.py\n+++ b/f.py\n", "diff --git a/f.py b/f.py\n"))


def lost_last_newline(_: random.Random, case: Case) -> Case:
    return replace(case, patch=case.patch.removesuffix("\n"))


def in_colour(_: random.Random, case: Case) -> Case:
    def painted(line: str) -> str:
        code = {"@": 36, "-": 31, "+": 32}.get(line[:1])
        return line if code is None else f"\x1b[{code}m{line}\x1b[m"

    return replace(case, patch="\n".join(map(painted, case.patch.split("\n"))))


def indented_as_a_whole(_: random.Random, case: Case) -> Case:
    return replace(case, patch="".join(f"    {line}\n" for line in case.patch.removesuffix("\n").split("\n")))


_IN_HUNKS: tuple[Mistake, ...] = (
    *(
        wrong_numbers,
        numbers_off,
        wrong_counts,
        bare_headers,
        headers_with_a_section,
        swapped_hunks,
        repeated_hunk,
    ),
    *(stripped_trailing_space, trailing_space_added, blank_context_stripped, context_without_prefix),
    *(doubled_context_prefix, space_after_every_marker, everything_indented, everything_outdented),
    *(drifted_context, context_with_spaces_for_tabs, spaces_for_tabs, typographic_context, ascii_context),
    *(inner_spacing, marker_missing, lines_above, stale_removed_line, stale_context_line, crlf_file),
)
_OF_INDENTATION: tuple[Mistake, ...] = (  # two of them leave nothing to go by
    *(doubled_context_prefix, space_after_every_marker, everything_indented, everything_outdented),
    *(drifted_context, context_with_spaces_for_tabs, spaces_for_tabs, context_without_prefix),
)
_IN_TEXT: tuple[Mistake, ...] = (
    *(crlf_patch, fence_and_prose, json_text, json_call, html_entities, envelope, envelope_and_headers),
    *(only_the_git_line, lost_last_newline, in_colour, indented_as_a_whole),
)
HARMLESS: tuple[Mistake, ...] = (
    *(
        numbers_off,
        wrong_numbers,
        wrong_counts,
        bare_headers,
        swapped_hunks,
        repeated_hunk,
        lines_above,
        crlf_file,
    ),
    *(stripped_trailing_space, trailing_space_added, blank_context_stripped, context_without_prefix),
    *(doubled_context_prefix, everything_indented, context_with_spaces_for_tabs, typographic_context),
    *(ascii_context, inner_spacing, *_IN_TEXT),
)
