"""Commands in a kernel sandbox: a `Policy` says what they may see and do, an `Offer` what can be had here."""

from __future__ import annotations

from .fence import Fence, Reach
from .guard import Undone, record, recover, restore
from .kernel import shield
from .offer import GAPS_IN_PLACE, Offer, can_layer, probe
from .plan import Confined, Tier, confine
from .policy import PROTECTED, Layer, Limits, Policy, Private
from .reach import installation, standard
from .run import Ran, Runner, confined, run, unconfined, withheld

__all__ = [
    "GAPS_IN_PLACE",
    "PROTECTED",
    "Confined",
    "Fence",
    "Layer",
    "Limits",
    "Offer",
    "Policy",
    "Private",
    "Ran",
    "Reach",
    "Runner",
    "Tier",
    "Undone",
    "can_layer",
    "confine",
    "confined",
    "installation",
    "probe",
    "record",
    "recover",
    "restore",
    "run",
    "shield",
    "standard",
    "unconfined",
    "withheld",
]
