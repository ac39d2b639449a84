"""Commands in a kernel sandbox: a `Policy` says what they may see and do, an `Offer` what can be had here."""

from __future__ import annotations

from .offer import GAPS_IN_PLACE, Offer, probe
from .plan import Confined, Tier, confine
from .policy import PROTECTED, Limits, Policy
from .reach import environment, tool_chains

__all__ = [
    "GAPS_IN_PLACE",
    "PROTECTED",
    "Confined",
    "Limits",
    "Offer",
    "Policy",
    "Tier",
    "confine",
    "environment",
    "probe",
    "tool_chains",
]
