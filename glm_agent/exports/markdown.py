"""A session as Markdown, whose headings and HTML are ours alone.

What was said stands in quotes, with its lists and emphasis; its fences are made anew, so that nothing in
them can close them, and outside of code neither HTML, nor headings, nor images are left. What tools gave
stands in fences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import takewhile

from ..journal import Session
from ..render.sanitize import clean, clean_line
from ..render.words import describe, effect
from ..types import Assistant
from .steps import Done, Step, facts, steps

# What would begin something on a line of a quote that is no code; all backslashes and backticks that are left
# go as well, so that what looks like a code span here is one for every reader.
_ACTIVE = re.compile(r"[<&\\`]|(?<![^\s>])#|!(?=\[)|(?<!.)[\s>]*[=-](?=[=-]*\s*$)")
_SPAN = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)")
_FENCE = re.compile(r"\s*(`{3,}(?=[^`]*$)|~{3,})")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!~&])")


def write(session: Session) -> str:
    head = [f"# Session {_plain(session.id)}", ""]
    head += [f"- {name}: {_plain(value)}" for name, value in facts(session).items()]
    return "\n".join([*head, "", *(line for step in steps(session.messages) for line in _step(step))])


def _step(step: Step) -> Iterator[str]:
    thought = step.said.thought if isinstance(step.said, Assistant) else None
    yield from ("## Model" if isinstance(step.said, Assistant) else "## User", "")
    if thought and thought.strip():
        yield from _details("Thought", thought)
    if step.text:
        yield from ("> " + line for line in _said(clean(step.text.replace("\r\n", "\n"))))
        yield ""
    for done in step.done:
        yield from _call(done)


def _call(done: Done) -> Iterator[str]:
    what = describe(done.call)
    if done.result is None:
        yield from (f"- {_plain(what)}: no result", "")
    else:
        said = done.result.content + done.result.note
        yield from _details(f"{what} \u2192 {effect(done.call, done.result)}", said)


def _details(summary: str, text: str) -> Iterator[str]:
    text = clean(text.strip("\n"))
    yield from (f"<details><summary>{_plain(summary)}</summary>", "", *_fenced(text), "")
    yield from ("</details>", "")


def _said(text: str) -> Iterator[str]:
    """The lines of a text, with no structure but what a quote may have."""
    lines = iter(text.split("\n"))
    for line in lines:
        if opened := _FENCE.match(line):
            yield from _fenced("\n".join(takewhile(partial(_is_within, opened[1]), lines)))
        else:
            yield _without_structure(line)


def _is_within(fence: str, line: str) -> bool:
    end = line.strip()
    return len(end) < len(fence) or end.strip(fence[0]) != ""


def _fenced(text: str) -> list[str]:
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 0)
    return [f"{fence}text", *text.split("\n"), fence]


def _without_structure(line: str) -> str:
    spans = list(_SPAN.finditer(line))
    if any("|" in span[0] for span in spans):  # which ends a cell of a table, and the code in it
        return _harmless(line)
    found, at = "", 0
    for span in spans:
        found += _harmless(line[at : span.start()]) + span[0]
        at = span.end()
    return found + _harmless(line[at:])


def _harmless(text: str) -> str:
    return _ACTIVE.sub(_by_number, text)


def _by_number(found: re.Match[str]) -> str:
    return f"{found[0][:-1]}&#{ord(found[0][-1])};"


def _plain(text: str) -> str:
    """One line without any meaning in Markdown or HTML."""
    return _SPECIAL.sub(_by_number, clean_line(text))
