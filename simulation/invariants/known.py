"""The invariants there are, by name."""

from __future__ import annotations

from simulation.invariants.accounts import Conservation, NothingLost
from simulation.invariants.actors import AsksSettle, Order, TimersInOrder
from simulation.invariants.addresses import GoneAddresses
from simulation.invariants.announcements import NoErrors, RecordedFirst
from simulation.invariants.arrivals import Arrivals
from simulation.invariants.as_given import SettingsAsGiven
from simulation.invariants.attempts import Answers, AttemptNumbers, InTime
from simulation.invariants.awaited import Awaited
from simulation.invariants.backoff import Backoff
from simulation.invariants.base import Invariant
from simulation.invariants.breakers import BreakerTransitions, OpenBreaker
from simulation.invariants.budgets import RetryBudgets
from simulation.invariants.clients import ClientsGoOn
from simulation.invariants.decisions import BreakerDecisions
from simulation.invariants.deliveries import NothingAfterTheEnd, OneSuccess, Wanted
from simulation.invariants.endpoints import DisabledEndpoints
from simulation.invariants.failover import FailoverOrder, Fallbacks
from simulation.invariants.fates import Fates
from simulation.invariants.hedges import Hedges
from simulation.invariants.ids import Ids
from simulation.invariants.letters import Letters, Reasons
from simulation.invariants.limits import Bulkhead, Quota, SlotsGivenBack, UserLimit
from simulation.invariants.liveness import Liveness
from simulation.invariants.lockstep import LockStep
from simulation.invariants.obligations import Alerts, FallbackDue, Retention
from simulation.invariants.order import ClassOrder, ClassShares, FairTurns, LimitOrder, TenantsBound
from simulation.invariants.quiet import QuietKept
from simulation.invariants.ramps import Ramps
from simulation.invariants.rates import AdaptiveRates
from simulation.invariants.requests import ReachedOnce
from simulation.invariants.restarts import Restarts
from simulation.invariants.resuming import RestartPace, ResumePace
from simulation.invariants.room import Refusals, Room
from simulation.invariants.sharing import SharedBreakers
from simulation.invariants.slots import ConcurrencyLimits
from simulation.invariants.steps import LegalSteps, RetryLimits
from simulation.invariants.summary import Summary
from simulation.invariants.takeovers import Fenced, Takeovers
from simulation.invariants.throttles import AdaptiveThrottles
from simulation.invariants.waiting import Waiting

KNOWN: dict[str, type[Invariant]] = {
    invariant.name: invariant
    for invariant in (
        Conservation,
        NothingLost,
        LegalSteps,
        Ids,
        AttemptNumbers,
        RetryLimits,
        Backoff,
        Reasons,
        RetryBudgets,
        Fates,
        Answers,
        Hedges,
        InTime,
        OneSuccess,
        NothingAfterTheEnd,
        Awaited,
        Wanted,
        QuietKept,
        GoneAddresses,
        DisabledEndpoints,
        BreakerTransitions,
        BreakerDecisions,
        OpenBreaker,
        SharedBreakers,
        Takeovers,
        Fenced,
        ResumePace,
        RestartPace,
        Restarts,
        Ramps,
        FailoverOrder,
        Fallbacks,
        ReachedOnce,
        UserLimit,
        Quota,
        Bulkhead,
        SlotsGivenBack,
        Waiting,
        Room,
        Refusals,
        ClassOrder,
        ClassShares,
        FairTurns,
        LimitOrder,
        TenantsBound,
        AdaptiveRates,
        ConcurrencyLimits,
        AdaptiveThrottles,
        Order,
        TimersInOrder,
        AsksSettle,
        NoErrors,
        RecordedFirst,
        Letters,
        FallbackDue,
        Alerts,
        Retention,
        Liveness,
        ClientsGoOn,
        Arrivals,
        SettingsAsGiven,
        Summary,
        LockStep,
    )
}
"""In the order in which they look at what happens."""
