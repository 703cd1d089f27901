"""The invariants there are, by name."""

from __future__ import annotations

from simulation.verification.laws.accounts import Conservation, Ids, NothingLost
from simulation.verification.laws.actors import AsksSettle, NoErrors, Order, RecordedFirst, Restarts, TimersInOrder
from simulation.verification.laws.arrivals import Arrivals
from simulation.verification.laws.as_given import SettingsAsGiven
from simulation.verification.laws.attempts import Answers, AttemptNumbers, Fates, InTime
from simulation.verification.laws.backoff import Backoff
from simulation.verification.laws.base import Invariant
from simulation.verification.laws.breakers import BreakerTransitions, OpenBreaker
from simulation.verification.laws.budgets import RetryBudgets
from simulation.verification.laws.clients import ClientsGoOn
from simulation.verification.laws.decisions import BreakerDecisions
from simulation.verification.laws.deliveries import Awaited, NothingAfterTheEnd, OneSuccess, Wanted
from simulation.verification.laws.endpoints import DisabledEndpoints, GoneAddresses
from simulation.verification.laws.failover import FailoverOrder, Fallbacks, ReachedOnce
from simulation.verification.laws.hedges import Hedges
from simulation.verification.laws.letters import Letters, Reasons
from simulation.verification.laws.limits import Bulkhead, Quota, SlotsGivenBack, UserLimit
from simulation.verification.laws.liveness import Liveness
from simulation.verification.laws.obligations import Alerts, FallbackDue, Retention
from simulation.verification.laws.order import ClassOrder, ClassShares, FairTurns, LimitOrder, TenantsBound
from simulation.verification.laws.quiet import QuietKept
from simulation.verification.laws.ramps import Ramps
from simulation.verification.laws.rates import AdaptiveRates
from simulation.verification.laws.resuming import RestartPace, ResumePace
from simulation.verification.laws.room import Refusals, Room
from simulation.verification.laws.sharing import SharedBreakers
from simulation.verification.laws.slots import ConcurrencyLimits
from simulation.verification.laws.steps import LegalSteps, RetryLimits
from simulation.verification.laws.summary import Summary
from simulation.verification.laws.takeovers import Fenced, Takeovers
from simulation.verification.laws.throttles import AdaptiveThrottles
from simulation.verification.laws.waiting import Waiting
from simulation.verification.lockstep import LockStep

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

LEFT_TO_THE_MODEL = frozenset(
    {
        "adaptive-rate",
        "adaptive-throttle",
        "concurrency-limit",
        "retry-budget",
        "given-up",
        "ramp",
        "hedges",
        "restarts",
        "disabled-endpoints",
        "failover-order",
        "fallback",
        "gone-addresses",
        "awaited",
        "ids",
        "room",
        "refusals",
    }
)
"""Laws that play a policy again: ``"all"`` leaves them to the model in a run that is compared with that. By its name,
or in any other run, each is checked. Without them the model finds each mistake that one of these was the first to find
(`tests/mutants/found.md`); a law whose mistakes have not been hunted so is not among them."""
