"""The invariants there are, by name."""

from __future__ import annotations

from simulation.invariants.accounts import Conservation, NothingLost
from simulation.invariants.actors import AsksSettle, Order
from simulation.invariants.base import Invariant
from simulation.invariants.breakers import BreakerTransitions, OpenBreaker
from simulation.invariants.deliveries import NothingAfterTheEnd, OneSuccess, Wanted
from simulation.invariants.limits import Bulkhead, Quota, UserLimit
from simulation.invariants.liveness import Liveness
from simulation.invariants.steps import LegalSteps, RetryLimits

KNOWN: dict[str, type[Invariant]] = {
    invariant.name: invariant
    for invariant in (
        Conservation,
        NothingLost,
        LegalSteps,
        RetryLimits,
        OneSuccess,
        NothingAfterTheEnd,
        Wanted,
        BreakerTransitions,
        OpenBreaker,
        UserLimit,
        Quota,
        Bulkhead,
        Order,
        AsksSettle,
        Liveness,
    )
}
"""In the order in which they look at what happens."""
