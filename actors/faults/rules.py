"""The fate of each attempt at an unreliable provider: rules in a fixed order, on any clock.

The fate of an attempt is fixed when it starts. The first ones are as a `script` says, where there is one, and to all
below it is as if there had been none of them. Then in this order:

0. Windows that name a `host` hold for attempts to recipients there, and are nothing to all others.
1. `hang`: no answer ever comes, whatever else holds, and nothing is delivered. It takes up none of a capacity: that
   would be until its sender's timeout, which the provider does not know.
2. `latency` (the last window that gives one) in place of the provider's own, and what `latency_by_load` adds for each
   attempt that is under way; all of it times every `latency_factor`.
3. The `throttle` of its account, its own, and those of windows: over the quota, the answer is `throttled`. It comes
   after the latency and takes up no capacity.
4. `outage`, and the down phase of `flap`: a transient failure after the latency, which takes up no capacity either;
   what was queued before is worked on as if nothing were wrong.
5. Failure rules (:data:`FailureRule`), in the order given: the first that returns an outcome decides. A `throttled`
   one, or one of no `connection`, is a refusal at the gate, as that of 3; any other, a success too, is what the work on
   the attempt comes to.
6. `fail_first`: a transient failure, until so many attempts have met it.
7. One draw decides about all rates together, so each is a share of the attempts that come this far and not of what
   another one left: with a `dead_destination_rate` of 2% and a `failure_rate` of 50%, 2% find the address gone and 50%
   fail, not 49%. The order is: no connection, which takes up no capacity, dead destination, permanent, channel fault,
   lost reply, transient; rates of windows that overlap, the provider's own, and those of each `burst` that is in a bad
   spell, add up (to 100% at most).

With a `capacity` (the provider's own or a fault's) an attempt that comes to step 5 and is not refused there is worked
on for its latency, however it ends, or waits until so many others are done with: first come, first served, unless the
provider's `discipline` says otherwise. Where as many wait as its `queue` has room for, the attempt is refused at once,
or dropped: steps 6 and 7 do not look at it. Nor do they at one that finds its host or user busy, where `one_at_a_time`
has such fail. The answer comes when the work is done. A `speed` slows what is under way and queued: it is of the
provider, where a latency is of those who come. That the sender has stopped waiting does not cancel it: late work costs
as much as any other, which is how retries can keep a provider overloaded long after its trigger has ended (Bronson et
al., HotOS 2021).
"""

from __future__ import annotations

import logging
import math
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from actors.domain.attempts import Attempt
from actors.errors import ConfigurationError
from actors.faults.conditions import (
    CHANNEL_FAULT,
    DEAD,
    FAILED,
    NEVER_NS,
    PERMANENT,
    REFUSED,
    THROTTLED,
    Conditions,
    EnforcedQuota,
    Forecast,
    capacity_steps,
    speed_steps,
)
from actors.faults.queue import Load, LoadMeter, Locks, QueueObserver, ServiceQueue
from actors.faults.speed import Speed
from actors.faults.station import RunningStation
from actors.instants import ns
from actors.kernel.effects import Promise
from actors.kernel.randomness import RandomStreams
from actors.kernel.system import ActorSystem
from actors.messages import Priority
from actors.outcomes import Ambiguous, Outcome, Sent, Transient
from actors.policies.breaker.per_host import recipient_host
from actors.settings.channel import OneAtATimeConfig, ProviderConfig
from actors.settings.faults import FaultConfig
from actors.settings.script import ScriptedAnswer

FailureRule: TypeAlias = Callable[[Attempt, int, Load], Outcome | None]
"""Decides about an attempt by the current state: called with the attempt, the instant at which it starts (``now_ns``)
and the provider's :class:`~actors.faults.queue.Load` without it; returns its outcome, or None to let the rest decide.
It may keep state; one that does serves one run. If it raises, or returns anything else, a simulated run
ends with its traceback; live that is logged once, with its place, and the attempt goes on as if it had returned None::

    def collapses(attempt, now_ns, load):
        return Transient(reason="overloaded") if load.under_way >= 100 else None
"""

logger = logging.getLogger(__name__)

_ANSWER = Outcome | None

SENT = Sent()
OUTAGE = Transient(reason="provider outage")
QUEUE_FULL = Transient(reason="queue full")
BUSY = Transient(reason="busy")


class Fate(msgspec.Struct, frozen=True, gc=False):
    outcome: Outcome | None

    delay_ns: int
    """After how long it ends, where an answer comes and it is known; the latency, and the wait in the queue of a
    capacity."""

    delivers: bool
    """Whether the notification is delivered."""

    latency_factor: float
    """How many times slower than usual the provider is; in `delay_ns` already."""

    finished: Promise | None = None
    """Kept with the outcome when the work is done, where that depends on what comes later. None: it is after
    `delay_ns`."""


class FaultRules:
    """Decides the fates of the attempts at one provider. It has state, so it serves one run.

    `now_ns` starts at 0 and never goes back from one attempt to the next.
    """

    def __init__(
        self,
        config: ProviderConfig,
        faults: Sequence[FaultConfig],
        rules: Sequence[FailureRule],
        streams: RandomStreams,
        name: str,
        account: EnforcedQuota | None = None,
    ) -> None:
        """Take the arguments that :class:`~actors.faults.provider.SimulatedProvider` describes.

        Raises:
            ConfigurationError: a rule cannot be called.
        """
        for number, rule in enumerate(rules):
            if not callable(rule):
                raise ConfigurationError([f"rules.{number}: wanted a function (attempt, now_ns, load), got {rule!r}"])
        steps = capacity_steps(config.capacity, faults)
        own = None if config.throttle is None else EnforcedQuota(config.throttle)
        self._forecast = Forecast(
            config.latency.sampler(streams.stream(f"{name}.latency")),
            config.failure_rate,
            faults,
            streams,
            name,
            is_ever_calm=not (
                steps or rules or config.latency_by_load or config.script or config.upstream or config.one_at_a_time
            ),
            throttles=[quota for quota in (account, own) if quota is not None],
        )
        self.draw = streams.stream(f"{name}.fate").random
        """The random draw of the next attempt, between 0 and 1; drawn also where nothing depends on it, so that the
        k-th attempt has the same draw whatever went wrong before."""
        self.conditions = self._forecast.at(0)
        self._script = deque(config.script)
        self._rules = tuple(rules)
        self._failed: set[int] = set()
        self.when_rule_fails: Callable[[Exception], None] | None = None
        """Called with the error, each time; None: the first time of each rule is logged."""
        self.late_after_ns: float = math.inf
        self.report_late: Callable[[Attempt, int], None]
        """Gets each delivered attempt whose answer takes longer than that, with the instant, as they
        start; where all ends are foreseen."""
        self._queue: ServiceQueue | None = None
        self._station: RunningStation | None = None
        speeds = speed_steps(faults)
        speed = Speed(speeds) if speeds else None
        if steps and config.discipline == "fifo":
            self._queue = ServiceQueue(steps, speed)
        elif steps:
            self._station = RunningStation(config.discipline, steps, speed)
        self._per_in_flight = 0.0 if config.latency_by_load is None else config.latency_by_load.per_in_flight
        self._bound = config.queue
        self._one_at_a_time = config.one_at_a_time
        self._locks = Locks()
        self._queue_observer: QueueObserver | None = None
        needs_load = bool(rules or self._per_in_flight or self._bound)
        self._meter = LoadMeter() if needs_load and self._station is None else None
        meter = self._meter or self._station  # a station knows its own load
        self._load = meter.load if needs_load and meter is not None else None

    def watch_late(self, after_ns: int, report: Callable[[Attempt, int], None]) -> None:
        """Report from now on each delivered attempt that takes longer than so many nanoseconds."""
        self.late_after_ns, self.report_late = after_ns, report

    def watch_queue(self, observer: QueueObserver) -> None:
        self._queue_observer = observer
        if self._station is not None:
            self._station.watch(observer)

    @property
    def foresees(self) -> bool:
        """Whether it is known as an attempt starts how long it takes."""
        return self._station is None

    @property
    def has_script(self) -> bool:
        """Whether the fate of the next attempt is written down."""
        return bool(self._script)

    def on_wired(self, system: ActorSystem) -> None:
        """Go by the clock of this system, where one is needed.

        Raises:
            ActorSystemError: it went by the clock of another system before.
        """
        if self._station is not None:
            self._station.on_wired(system)

    def judge(self, attempt: Attempt, now_ns: int) -> Fate:
        if self._script:
            return _scripted(self._script.popleft())
        if now_ns >= self.conditions.until_ns:
            self.conditions = self._forecast.at(now_ns)
        conditions = self.conditions
        if conditions.by_place:
            conditions = conditions.for_attempt(attempt)
        latency = conditions.latency()
        load = None if self._load is None else self._load(now_ns)
        if load is not None:
            latency += self._per_in_flight * load.under_way
        latency_ns = round(latency * conditions.latency_factor * 1e9)
        drawn = self.draw()
        if conditions.hangs:
            return Fate(None, latency_ns, False, conditions.latency_factor)
        refusal = _refusal(conditions, attempt, now_ns)
        if refusal is not None:
            return Fate(refusal, latency_ns, False, conditions.latency_factor)
        outcome = None if load is None else self._ruled(attempt, now_ns, load)
        if isinstance(outcome, Transient) and (outcome.throttled or outcome.connection):
            return Fate(outcome, latency_ns, False, conditions.latency_factor)
        if self._bound is not None and load is not None and load.queued >= self._bound.limit:
            if self._queue_observer is not None:
                self._queue_observer.turned_away(now_ns)
            answer = QUEUE_FULL if self._bound.when_full == "refuse" else None
            return Fate(answer, 0, False, conditions.latency_factor)
        locked, begins_ns = None, now_ns
        if self._one_at_a_time is not None:
            locked = _locked(self._one_at_a_time, attempt)
            begins_ns = self._locks.free_at(locked, now_ns)
            if begins_ns > now_ns and self._one_at_a_time.when_busy == "fail":
                return Fate(BUSY, 0, False, conditions.latency_factor)
        if outcome is None:
            outcome = _fate(conditions, now_ns, drawn)
            if outcome is REFUSED:
                return Fate(outcome, latency_ns, False, conditions.latency_factor)
        if self._station is not None:
            critical = attempt.command.priority is Priority.CRITICAL
            delivers = outcome is None or type(outcome) is Sent
            finished = self._station.work(now_ns, latency_ns, outcome, critical=critical, delivers=delivers)
            return Fate(outcome, NEVER_NS, delivers, conditions.latency_factor, finished)
        fate = self._work(conditions, now_ns, begins_ns - now_ns + latency_ns, outcome)
        if locked is not None:
            self._locks.hold(locked, now_ns, now_ns + fate.delay_ns)
        return fate

    def _ruled(self, attempt: Attempt, now_ns: int, load: Load) -> Outcome | None:
        for number, rule in enumerate(self._rules):
            try:
                outcome = rule(attempt, now_ns, load)
                if not isinstance(outcome, _ANSWER):
                    raise TypeError(f"wanted an outcome or None of a failure rule, got {repr(outcome)[:100]}")
            except Exception as error:
                self._rule_failed(number, rule, error)
                continue
            if outcome is not None:
                return outcome
        return None

    def _rule_failed(self, number: int, rule: FailureRule, error: Exception) -> None:
        if self.when_rule_fails is not None:
            self.when_rule_fails(error)
        elif number not in self._failed:
            self._failed.add(number)
            at = traceback.extract_tb(error.__traceback__)[-1]
            name = getattr(rule, "__qualname__", type(rule).__qualname__)
            text = "failure rule %d, %s, raised at %s:%s; it decides nothing of such an attempt"
            logger.error(text, number, name, at.filename, at.lineno, exc_info=error)

    def _work(self, conditions: Conditions, now_ns: int, latency_ns: int, outcome: Outcome | None) -> Fate:
        """Work on an attempt, once there is room for it. None: its reply will be lost."""
        start_ns, end_ns = now_ns, now_ns + latency_ns
        if self._queue is not None:
            start_ns, end_ns = self._queue.join(now_ns, latency_ns)
            if self._queue_observer is not None and start_ns > now_ns:
                self._queue_observer.waits(now_ns)
                self._queue_observer.begins(now_ns, start_ns)
        if end_ns >= NEVER_NS:  # it is frozen to the end of the run
            outcome = None
        delivers = end_ns < NEVER_NS and (outcome is None or type(outcome) is Sent)
        if self._meter is not None:
            self._meter.add(start_ns, end_ns, delivers=delivers)
        return Fate(outcome, end_ns - now_ns, delivers, conditions.latency_factor)


def _scripted(answer: ScriptedAnswer) -> Fate:
    delivers = answer.outcome in ("sent", "lost")
    return Fate(_outcome(answer), ns(answer.latency), delivers, latency_factor=1.0)


def _outcome(answer: ScriptedAnswer) -> Outcome | None:
    if answer.outcome in ("lost", "hang"):
        return None
    outcome: Outcome = SCRIPTED[answer.outcome]
    changes: dict[str, Any] = {} if answer.reason is None else {"reason": answer.reason}
    if answer.retry_after is not None:
        changes["retry_after"] = answer.retry_after
    return msgspec.structs.replace(outcome, **changes) if changes else outcome


SCRIPTED: dict[str, Outcome] = {
    "sent": SENT,
    "transient": FAILED,
    "throttled": Transient(reason=THROTTLED, throttled=True),
    "permanent": PERMANENT,
    "dead_destination": DEAD,
    "channel_fault": CHANNEL_FAULT,
    "ambiguous": Ambiguous(),
}
"""The outcomes of a script, where it gives no reason of its own."""


def _locked(one: OneAtATimeConfig, attempt: Attempt) -> str:
    command = attempt.command
    return recipient_host(command.recipient) if one.per == "host" else command.user_id or ""


def _refusal(conditions: Conditions, attempt: Attempt, now_ns: int) -> Outcome | None:
    for throttle in conditions.throttles:
        if not throttle.lets_through(attempt, now_ns):
            return throttle.answer
    if conditions.outage or any(flapping.is_down(now_ns) for flapping in conditions.flapping):
        return OUTAGE
    return None


def _fate(conditions: Conditions, now_ns: int, drawn: float) -> Outcome | None:
    """Return the outcome of the draw. None: it is delivered, and the reply is lost."""
    for countdown in conditions.countdowns:
        if countdown.fails_next():
            return FAILED
    if drawn < conditions.top:
        return on_the_ladder(conditions, drawn)
    # Transient failures have the last of the ranges, so those of bursts come right behind the ladder.
    bursting = sum(burst.failure_rate for burst in conditions.bursts if burst.is_bad(now_ns))
    return FAILED if drawn < conditions.top + bursting else SENT


def on_the_ladder(conditions: Conditions, drawn: float) -> Outcome | None:
    """Return the outcome of a draw below the top of the ladder. None: it is delivered, and the reply is lost."""
    for upper_end, outcome in conditions.ladder:
        if drawn < upper_end:
            return outcome
    raise AssertionError("asked only below its top")
