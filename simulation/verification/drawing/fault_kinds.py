"""The one table of the faults that a drawn case may have, and of how strong they are.

A new kind of fault is a row of it: the cases of the swarm and the Hypothesis strategies have it from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, Literal, NamedTuple, get_args

from actors.settings.faults import QuotaFault
from actors.settings.quantities import Rate
from simulation.verification.drawing.disturbances import DOWN_TIME
from simulation.verification.drawing.shapes import Between, Either, Joined, Maybe, OneOf, Rates, Shape, drawn


class FaultKind(NamedTuple):
    hits: Literal["attempts", "work", "messages", "actors", "clock"]
    """The target of the fault: attempts at a provider, one by one, so perhaps at some of its hosts alone; the work of a
    provider; or a part of the service itself."""

    strength: Shape
    """The values of a fault of the kind, by its keys."""


def _steady_or_changing(strength: Shape) -> Shape:
    return Either(0.7, strength, {"from": strength, "to": strength, "over": Between(1.0, 120.0)})


_SHARE = Between(0.01, 1.0)
_BURSTS = {"burst": Maybe(0.5, OneOf(tuple(range(1, 11))))}
_COUNTS = {"counts": OneOf(get_args(QuotaFault.model_fields["counts"].annotation))}
_PER = {"per": OneOf(get_args(QuotaFault.model_fields["per"].annotation))}
_QUOTA = OneOf(
    tuple(
        {"kind": kind, **_PER, **(_BURSTS if kind == "token_bucket" else _COUNTS)}
        for kind in get_args(QuotaFault.model_fields["kind"].annotation)
    )
)
_THROTTLE = Joined(
    (
        {"rate": Rates(Between(0.1, 10.0), OneOf((1.0, 1.0, 10.0)))},
        _QUOTA,
        {"retry_after": Maybe(0.6, Between(0.1, 60.0))},
    )
)
_BURST = {"mean_good": Between(0.5, 60.0), "mean_bad": Between(0.5, 30.0), "failure_rate": Between(0.3, 1.0)}
_ACTOR = OneOf(("handler", "limiter", "breaker", "channel", "dlq", "alert"))

KINDS: Mapping[str, FaultKind] = {
    "failure_rate": FaultKind("attempts", {"failure_rate": _steady_or_changing(_SHARE)}),
    "fail_first": FaultKind("attempts", {"fail_first": Between(1, 20, is_whole=True)}),
    "outage": FaultKind("attempts", {"outage": True}),
    "latency": FaultKind("attempts", {"latency": {"exponential": {"mean": Between(0.001, 20.0)}}}),
    "latency_factor": FaultKind("attempts", {"latency_factor": _steady_or_changing(Between(2.0, 50.0))}),
    "hang": FaultKind("attempts", {"hang": True}),
    "throttle": FaultKind("attempts", {"throttle": _THROTTLE}),
    "permanent_rate": FaultKind("attempts", {"permanent_rate": _SHARE}),
    "dead_destination_rate": FaultKind("attempts", {"dead_destination_rate": _SHARE}),
    "lost_reply_rate": FaultKind("attempts", {"lost_reply_rate": _SHARE}),
    "refused_rate": FaultKind("attempts", {"refused_rate": _SHARE}),
    "burst": FaultKind("attempts", {"burst": _BURST}),
    "flap": FaultKind("attempts", {"flap": {"up": Between(0.2, 30.0), "down": Between(0.2, 30.0)}}),
    "capacity": FaultKind("work", {"capacity": Between(1, 8, is_whole=True)}),
    "speed": FaultKind("work", {"speed": Either(0.3, 0.0, Between(0.02, 1.0))}),
    "duplicate_rate": FaultKind("messages", {"duplicate_rate": _SHARE}),
    "reorder": FaultKind("messages", {"reorder": {"delay": {"exponential": {"mean": Between(0.001, 10.0)}}}}),
    "crash": FaultKind("actors", {"crash": {"actor": _ACTOR}, "restart_after": Maybe(0.5, DOWN_TIME)}),
    "crash_process": FaultKind("actors", {"crash": "process", "restart_after": Either(0.3, 0.0, Between(0.01, 60.0))}),
    "clock_step": FaultKind("clock", {"clock_step": Between(0.1, 2 * 86_400.0, is_signed=True)}),
    "channel_fault_rate": FaultKind("attempts", {"channel_fault_rate": _SHARE}),
}
"""The kinds of faults that a case may have, by name."""


def drawn_strength(kind: str, random: Random) -> dict[str, Any]:
    found: dict[str, Any] = drawn(KINDS[kind].strength, random)
    return found


def drawn_quota(random: Random, rate: Rate) -> dict[str, Any]:
    """Return a quota that a provider enforces, without what it asks for, of any kind."""
    return {"rate": rate, **drawn(_QUOTA, random)}
