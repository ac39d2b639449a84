"""Commands that only print: their text goes out, an error becomes one line and its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence

from .. import outcome
from ..errors import AgentError
from ..render import discard, expendable, writer
from ..render.sanitize import clean


def print_text(work: Callable[[], str]) -> int:
    """Prints what `work` returns; the exit code."""
    out, err = writer(sys.stdout), writer(expendable(sys.stderr))
    try:
        out(work())
    except AgentError as error:
        err(clean(f"glm-agent: {error}") + "\n")
        return outcome.decide([error.subtype]).exit_code
    except BrokenPipeError:
        discard(sys.stdout)
        return outcome.STDOUT_CLOSED
    return outcome.SUCCESS.exit_code


def as_json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart."""
    lines = [list(map(clean, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    return "".join(line.rstrip() + "\n" for line in padded)
