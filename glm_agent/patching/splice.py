"""Placed hunks put into a file: its own bytes for lines that stay, its line ends for those added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .indent import Shift
from .locate import EXACT, Source, Spot
from .parse import Hunk


class Placement(NamedTuple):
    """A hunk, where it goes, and how its added lines are re-indented (`shift` is known to fit them)."""

    hunk: Hunk
    spot: Spot
    shift: Shift


def splice(source: Source, placements: Sequence[Placement]) -> str:
    """The new text; `placements` are in order and do not overlap."""
    lines: list[str] = []
    done, final = 0, source.final
    for placement in placements:
        hunk, spot = placement.hunk, placement.spot
        lines += source.lines[done : spot.at]
        lines += _replacement(source, placement)
        done = spot.at + len(hunk.before)
        if done >= len(source.lines):
            final = _final(hunk, final)
            if lines and not final and _plain(hunk):
                lines[-1] = lines[-1].removesuffix("\r")
    lines += source.lines[done:]
    return source.text(lines, final)


def _final(hunk: Hunk, final: bool) -> bool:
    """Whether the file ends with a newline now: as before unless this hunk, the last, says otherwise."""
    if hunk.new_bare:
        return False
    return True if hunk.old_bare else final


def _plain(hunk: Hunk) -> bool:
    return not any(line.text.endswith("\r") for line in hunk.lines)


def _replacement(source: Source, placement: Placement) -> list[str]:
    hunk, spot, shift = placement
    span = range(spot.at, spot.at + len(hunk.before))
    around = span or range(max(0, spot.at - 1), min(spot.at + 1, len(source.lines)))
    verbatim = (
        spot.rung == EXACT
        and (span or not source.lines)
        and not (_plain(hunk) and any(source.crlf(at) for at in around))
    )
    out: list[str] = []
    at = spot.at
    for tag, text in hunk.lines:
        if tag != "+":
            out += source.lines[at : at + 1] if tag == " " else []
            at += 1
            continue
        crlf = source.crlf(max(at - 1, around.start))
        if at == len(source.lines) and out and not source.final and not verbatim:  # the last line gets an end
            out[-1] = _ended(out[-1], crlf)
        moved = shift.of(text) or ""
        out.append(moved if verbatim else _ended(moved, crlf))
    return out


def _ended(text: str, crlf: bool) -> str:
    return text.removesuffix("\r") + ("\r" if crlf else "")
