"""What a log adds up to."""

from collections import defaultdict
from typing import Dict, List

from .spans import Span, merge, parse


def hours(log: str) -> Dict[str, float]:
    """Hours by person; entries that overlap are counted once."""
    spans: Dict[str, List[Span]] = defaultdict(list)
    for line in log.splitlines():
        if line.strip():
            person, when, *_ = line.split()
            spans[person].append(parse(when))
    return {person: sum(span.minutes for span in merge(found)) / 60 for person, found in spans.items()}
