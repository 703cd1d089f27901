"""The invariants there are, by name."""

from __future__ import annotations

from simulation.verification.laws.actors import AsksSettle, NoErrors, Order, RecordedFirst, TimersInOrder
from simulation.verification.laws.arrivals import Arrivals, ClientsGoOn
from simulation.verification.laws.as_given import SettingsAsGiven
from simulation.verification.laws.attempts import Fates, Fenced, InTime
from simulation.verification.laws.base import Invariant
from simulation.verification.laws.breakers import OpenBreaker
from simulation.verification.laws.deliveries import (
    Conservation,
    LegalSteps,
    NothingAfterTheEnd,
    NothingLost,
    OneSuccess,
    ReachedOnce,
    RetryLimits,
)
from simulation.verification.laws.letters import Retention
from simulation.verification.laws.limits import Bulkhead, Quota, SlotsGivenBack, UserLimit
from simulation.verification.laws.liveness import Liveness
from simulation.verification.laws.order import ClassOrder, ClassShares, TenantsBound
from simulation.verification.laws.resuming import ResumePace
from simulation.verification.laws.summary import Summary
from simulation.verification.laws.waiting import Waiting
from simulation.verification.laws.wanted import QuietKept, Wanted
from simulation.verification.lockstep import LockStep

_LAWS: tuple[type[Invariant], ...] = (
    Conservation,
    NothingLost,
    LegalSteps,
    RetryLimits,
    Fates,
    InTime,
    OneSuccess,
    NothingAfterTheEnd,
    Wanted,
    QuietKept,
    OpenBreaker,
    Fenced,
    ResumePace,
    ReachedOnce,
    UserLimit,
    Quota,
    Bulkhead,
    SlotsGivenBack,
    Waiting,
    ClassOrder,
    ClassShares,
    TenantsBound,
    Order,
    TimersInOrder,
    AsksSettle,
    NoErrors,
    RecordedFirst,
    Retention,
    Liveness,
    ClientsGoOn,
    Arrivals,
    SettingsAsGiven,
    Summary,
    LockStep,
)
"""In the order in which they look at what happens."""

PLAYED_BY_THE_MODEL = (
    "adaptive-rate",
    "adaptive-throttle",
    "alerts",
    "answers",
    "attempt-numbers",
    "awaited",
    "backoff",
    "breaker-decisions",
    "breaker-transitions",
    "concurrency-limit",
    "dead-letters",
    "disabled-endpoints",
    "failover-order",
    "fair-turns",
    "fallback",
    "fallback-due",
    "given-up",
    "gone-addresses",
    "hedges",
    "ids",
    "limit-order",
    "pauses",
    "ramp",
    "refusals",
    "restart-pace",
    "restarts",
    "retry-budget",
    "room",
    "shared-breakers",
    "slots-held",
    "takeovers",
)
"""Names under which the reference model is known too: once there was a law for each, which decided again what a policy
decides. Each mistake that one of them found is found without it (`tests/mutants/found.md`)."""

KNOWN: dict[str, type[Invariant]] = {**{law.name: law for law in _LAWS}, **dict.fromkeys(PLAYED_BY_THE_MODEL, LockStep)}
