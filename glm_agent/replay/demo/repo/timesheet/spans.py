"""Spans of time within one day, in minutes since midnight."""

from typing import Iterable, List, NamedTuple


class Span(NamedTuple):
    start: int
    end: int

    @property
    def minutes(self) -> int:
        return self.end - self.start


def parse(text: str) -> Span:
    """The span that `09:30-12:00` means."""
    start, _, end = text.partition("-")
    span = Span(_minutes(start), _minutes(end))
    if span.end < span.start:
        raise ValueError(f"{text} ends before it starts")
    return span


def merge(spans: Iterable[Span]) -> List[Span]:
    """Spans that overlap or touch become one, so that no minute counts twice."""
    merged: List[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, span.end)
        else:
            merged.append(span)
    return merged


def _minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
