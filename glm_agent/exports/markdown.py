"""A session as Markdown. What was said stands in quotes and fences that nothing in it can close."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..journal import Session
from ..render.sanitize import clean, clean_line
from ..render.words import describe, effect
from ..types import Assistant
from .steps import Done, Step, facts, steps

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
        yield from ("> " + line for line in clean(step.text).replace("\r", "").split("\n"))
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
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 0)
    yield from (f"<details><summary>{_plain(summary)}</summary>", "", f"{fence}text", text, fence, "")
    yield from ("</details>", "")


def _plain(text: str) -> str:
    """One line without any meaning in Markdown or HTML."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", clean_line(text))
