"""The cases, a module a family. Each module ends with ``CASES``, the table of its cases."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.verification.cases.case import Case

FAMILIES = (
    "peers",
    "schedules",
    "outages",
    "layers",
    "attempts",
    "queues",
    "disciplines",
    "order",
    "gas_station",
    "bank",
    "pipeline",
    "retry_studies",
    "budgets",
    "breakers",
    "fan_out",
    "contention",
    "resiliency_patterns",
    "overload",
    "fleets",
)
"""In the order in which they are printed."""


def all_cases() -> tuple[Case, ...]:
    return tuple(case for family in FAMILIES for case in import_module(f"{__name__}.{family}").CASES)
