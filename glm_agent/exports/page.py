"""A session as one HTML page that loads nothing and runs nothing, readable on a phone.

All that was said is text: escaped, in elements that have no attribute but `class`. The policy in the head
allows nothing besides the one style sheet.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape

from ..journal import Session
from ..render.sanitize import clean, clean_line
from ..render.words import describe, effect
from ..types import Assistant
from .steps import Done, Step, facts, steps

_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 0 1rem 3rem }
h1 { font-size: 1.3rem; overflow-wrap: anywhere }
h2 { font-size: .8rem; margin: 0 0 .3rem; opacity: .7; text-transform: uppercase }
dl { display: grid; gap: 0 1rem; grid-template-columns: max-content 1fr }
dd { margin: 0; overflow-wrap: anywhere }
section { border-left: .25rem solid #888; margin: 1.5rem 0; padding-left: .75rem }
section.user { border-color: #37c }
pre { font: inherit; margin: .3rem 0; overflow-wrap: anywhere; white-space: pre-wrap }
details pre { background: #8882; font: .85rem/1.4 ui-monospace, monospace; max-height: 70vh; overflow: auto }
details pre { padding: .5rem }
summary { cursor: pointer; overflow-wrap: anywhere; padding: .3rem 0 }
.failed > summary { color: #c33 }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"


def write(session: Session) -> str:
    title = f"Session {_line(session.id)}"
    rows = (f"<dt>{_line(name)}</dt><dd>{_line(value)}</dd>" for name, value in facts(session).items())
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{title}</h1>\n<dl>",
            *rows,
            "</dl>",
            *(line for step in steps(session.messages) for line in _step(step)),
            "</body>\n</html>\n",
        ]
    )


def _step(step: Step) -> Iterator[str]:
    if isinstance(step.said, Assistant):
        yield '<section class="model"><h2>Model</h2>'
        if (step.said.thought or "").strip():
            yield from _details("Thought", step.said.thought or "")
    else:
        yield '<section class="user"><h2>User</h2>'
    if step.text:
        yield f"<pre>{_text(step.text)}</pre>"
    for done in step.done:
        yield from _call(done)
    yield "</section>"


def _call(done: Done) -> Iterator[str]:
    what = describe(done.call)
    if done.result is None:
        yield from _details(f"{what} \u2192 no result", done.call.arguments)
    else:
        shown = f"{what} \u2192 {effect(done.call, done.result)}"
        said = done.result.content + done.result.note
        yield from _details(shown, done.call.arguments, said, failed=not done.result.ok)


def _details(summary: str, *texts: str, failed: bool = False) -> Iterator[str]:
    start = '<details class="failed">' if failed else "<details>"
    yield f"{start}<summary>{_line(summary)}</summary>"
    yield from (f"<pre>{_text(text)}</pre>" for text in texts)
    yield "</details>"


def _line(text: str) -> str:
    return escape(clean_line(text))


def _text(text: str) -> str:
    """A line break after `<pre>` would be taken for none of the text's."""
    return escape(clean(text.replace("\r\n", "\n").strip("\n")))
