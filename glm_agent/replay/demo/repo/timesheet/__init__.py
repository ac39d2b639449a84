"""Hours worked, from a plain text log."""

from .report import hours
from .spans import Span, merge, parse

__all__ = ["Span", "hours", "merge", "parse"]
