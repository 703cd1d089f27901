"""The circuit breaker: permits numbered by generation.

After Michael Nygard, *Release It!*, 2007; names and operator states as in resilience4j. The states and their
transitions are :mod:`actors.policies.breaker.states`; what trips it is :mod:`actors.policies.breaker.tripping`; how
long it stays open, what probes decide, and what it lets through right after it has closed
:mod:`actors.policies.breaker.recovery`. Here is only what each of them means to the caller.

A permit is the number of the generation it was given in, and every transition begins a new generation. So a result is
late exactly when its permit is not the current number, and a late result changes nothing: not the counts of a state
that it does not belong to, and above all not a half-open breaker, where the success of a call from before the trip
proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random

from actors.instants import wait_ns
from actors.messages import BreakerState
from actors.policies.breaker.recovery import OpenTime, Probes, Ramp
from actors.policies.breaker.sharing import Sharing, Votes
from actors.policies.breaker.states import TRANSITIONS, BreakerEvent, IllegalTransition, Transition, next_state
from actors.policies.breaker.tripping import Trip, Tripping, make_tripping
from actors.settings.breaker import CircuitBreakerConfig

__all__ = ["TRANSITIONS", "Breaker", "BreakerEvent", "BreakerState", "IllegalTransition", "Transition", "next_state"]

_CLOSED = BreakerState.CLOSED
_OPEN = BreakerState.OPEN
_HALF_OPEN = BreakerState.HALF_OPEN
_FORCED_OPEN = BreakerState.FORCED_OPEN
_DISABLED = BreakerState.DISABLED
_METRICS_ONLY = BreakerState.METRICS_ONLY


class BreakerView:
    """Everything that a breaker shows; see :class:`Breaker`."""

    __slots__ = (
        "_changes_at_ns",
        "_exceeded_at_ns",
        "_generation",
        "_late",
        "_late_failed",
        "_latest_failure",
        "_opened_at_ns",
        "_openings",
        "_probes",
        "_refused",
        "_state",
        "_trip",
        "_tripping",
    )

    _state: BreakerState
    _generation: int
    _tripping: Tripping
    _opened_at_ns: int | None
    _changes_at_ns: int | None
    _exceeded_at_ns: int | None
    _openings: int
    _probes: Probes
    _refused: int

    _trip: Trip | None
    """What tripped it when it was closed last; None: something else changed its state."""
    _late: int
    """How many of the calls under way then have had a result since."""
    _late_failed: int
    """How many of these results were failures."""

    _latest_failure: str | None

    @property
    def state(self) -> BreakerState:
        return self._state

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def opened_at_ns(self) -> int | None:
        """When it opened or was forced open; None in the other states, and when it began so."""
        return self._opened_at_ns

    @property
    def reopen_at_ns(self) -> int | None:
        """While open, the first instant at which a permit may be given; None in the other states."""
        return self._changes_at_ns if self._state is _OPEN else None

    @property
    def changes_at_ns(self) -> int | None:
        """The instant at which time alone makes a difference; None if only a result or an override does.

        While open that is when a permit may be given, while half-open when it has been so for as long as it may, while
        closed the end of the ramp. A half-open breaker then changes with :meth:`advance` or any other call; an open
        one, and a half-open one that lets further probes out, only when a permit is asked for.
        """
        return self._changes_at_ns

    @property
    def ramping_until_ns(self) -> int | None:
        """While only a growing share of the calls is let through after closing, when that ends; else None."""
        return self._changes_at_ns if self._state is _CLOSED else None

    @property
    def consecutive_failures(self) -> int:
        """Failures that count since the last success; while open, how many there were when it tripped."""
        return self._tripping.count

    @property
    def tripped_abruptly(self) -> bool:
        """Whether its own calls opened it when it was closed last, and by no ordinary failures."""
        return self._trip is not None and self._trip.is_abrupt(self._late, self._late_failed)

    @property
    def openings(self) -> int:
        """How many times its own calls have opened it since it was last neither open nor half-open."""
        return self._openings

    @property
    def exceeded_at_ns(self) -> int | None:
        """While metrics-only, the first instant at which it would have tripped; None if it would not have."""
        return self._exceeded_at_ns

    @property
    def refused(self) -> int:
        """Requests refused since the last transition."""
        return self._refused

    @property
    def latest_failure(self) -> str | None:
        """The reason of the latest failed call since it was last neither open nor half-open, as far as it was given."""
        return self._latest_failure

    def probes_left(self, now_ns: int) -> int:
        """Return how many of the next calls it lets through as probes: all of them where its open time has passed."""
        is_due = self.reopen_at_ns is not None and now_ns >= self.reopen_at_ns
        return self._probes.left if is_due or self._state is _HALF_OPEN else 0

    def failure_rate(self, now_ns: int) -> float | None:
        """Return the share of failures in the window; None below the minimum of calls, and without a window.

        While open it is the share at the instant at which it tripped.
        """
        return self._tripping.failure_rate(self._rate_instant_ns(now_ns))

    def slow_call_rate(self, now_ns: int) -> float | None:
        """Return the share of slow calls in the window, likewise."""
        return self._tripping.slow_call_rate(self._rate_instant_ns(now_ns))

    def _rate_instant_ns(self, now_ns: int) -> int:
        return self._opened_at_ns if self._state is _OPEN and self._opened_at_ns is not None else now_ns


class Breaker(BreakerView):
    """One circuit breaker. `now_ns` never goes back from one call to the next.

    `on_transition` is called with each transition after it has taken place, so nothing that it does can change it; an
    error that it raises goes to the caller.

    Time alone changes it in two ways: a half-open breaker may be so for `half_open_max` only, and a ramp ends. No
    caller has to wake it for that: any call first makes the changes that are due by `now_ns`, as of the instants at
    which they were due. A caller that wants to learn of them in time calls :meth:`advance` at :attr:`changes_at_ns`.

    Args:
        config: Its settings.
        name: Which breaker this is, for errors.
        on_transition: Called with each transition.
        random: The stream for the jitter of `open_growth`: one draw for each opening.
        first_generation: The number of its first permits; for replacing one breaker by another.
        sharing: How other nodes take part; None: they do not.

    Raises:
        ValueError: `config` asks for jitter, and `random` is None.
    """

    __slots__ = (
        "_half_open_ns",
        "_half_open_then",
        "_ignored_is_success",
        "_late_permit",
        "_on_transition",
        "_open_time",
        "_own_until_ns",
        "_ramp",
        "_reopen_after_ns",
        "_votes",
        "admits_all",
        "name",
    )

    def __init__(
        self,
        config: CircuitBreakerConfig,
        *,
        name: str = "",
        on_transition: Callable[[Transition], None] | None = None,
        random: Random | None = None,
        first_generation: int = 1,
        sharing: Sharing | None = None,
    ) -> None:
        self.name = name
        """Which breaker this is, for errors."""
        self._on_transition = on_transition
        self._tripping = make_tripping(config)
        self._probes = Probes(config)
        self._open_time = OpenTime(config, random)
        self._ramp = None if config.ramp is None else Ramp(config.ramp)
        self._ignored_is_success = config.ignored_counts_as == "success"
        self._half_open_ns = None if config.half_open_max is None else wait_ns(config.half_open_max)
        self._half_open_then = config.half_open_then
        # Peers disagree about the instant `opened_at + timeout`; one nanosecond is the whole difference.
        self._reopen_after_ns = int(config.reopen == "after")
        self._state = config.begins
        self.admits_all = self._state is not _FORCED_OPEN
        """Whether it gives a permit to each that asks."""
        self._generation = first_generation
        self._opened_at_ns = self._changes_at_ns = self._exceeded_at_ns = None
        self._own_until_ns: int | None = None
        """While its own calls have it open, until when; None also while only other nodes do."""
        self._votes = None if sharing is None else Votes(sharing)
        self._openings = self._refused = 0
        self._trip = None
        self._late_permit = self._late = self._late_failed = 0
        self._latest_failure = None
        """The first is the permit of the calls that were under way when it was closed last."""

    def try_acquire(self, now_ns: int) -> int | None:
        """Return a permit, or None when refused. Every permit has to be settled by one of the `record` methods.

        An open breaker whose time has passed becomes half-open here, with this permit as its first probe. During a ramp
        each request counts as one call of the traffic of which a share goes through, whether admitted or not; so ask
        once for each call: a caller that is refused and waits should wait for the permit of a later call, or
        for :attr:`ramping_until_ns`.
        """
        if self.admits_all:
            return self._generation
        self.advance(now_ns)
        if self._is_due(now_ns):
            if self._state is _OPEN:
                self._apply(BreakerEvent.WAIT_OVER, now_ns)
            else:
                self._probes.give_up_on_those_under_way()
                self._changes_at_ns = now_ns + (self._half_open_ns or 0)
        if self._state is _HALF_OPEN:
            if self._probes.has_left():
                self._probes.take()
                return self._generation
        elif self.admits_all or (self._state is _CLOSED and self._ramp is not None and self._ramp.ask(now_ns)):
            return self._generation
        self._refused += 1
        return None

    def refuses(self, now_ns: int) -> bool:
        """Return whether it gives no permit now, whatever a ramp draws; if so, count that one was asked for."""
        if self.admits_all or self._state is _CLOSED or self.admits_at_ns(now_ns) == now_ns:
            return False
        if self._state is _CLOSED:
            return False  # since just now, as time was up
        self._refused += 1
        return True

    def would_admit(self, now_ns: int) -> bool:
        """Return whether :meth:`try_acquire` would give a permit, and change nothing that is not due anyway."""
        return self.admits_at_ns(now_ns) == now_ns

    def admits_at_ns(self, now_ns: int) -> int | None:
        """Return the earliest instant from now on at which it is worth asking for a permit, if nothing else happens.

        `now_ns` itself when one would be given now; None when only a result or an override can bring one. It is a lower
        bound in one case: where a half-open breaker whose probes are all out opens again instead of closing. During a
        ramp it is the instant for the next call, not for one that has been refused already.
        """
        self.advance(now_ns)
        if self.admits_all or (self._state is _HALF_OPEN and self._probes.has_left()):
            return now_ns
        if self._state is _CLOSED and self._ramp is not None:
            return self._ramp.admits_at_ns(now_ns)
        return None if self._changes_at_ns is None else max(now_ns, self._changes_at_ns)

    def advance(self, now_ns: int) -> None:
        """Make the changes that time alone has made due by `now_ns`, as of the instants at which they were due."""
        if not self._is_due(now_ns):
            return
        due_ns = self._changes_at_ns
        assert due_ns is not None
        if self._state is _CLOSED:
            self.admits_all, self._changes_at_ns = True, None
        elif self._state is _HALF_OPEN and self._half_open_then == "open":
            self._apply(BreakerEvent.PROBES_OVERDUE, due_ns)
        elif self._state is _HALF_OPEN and self._half_open_then == "closed":
            self._apply(BreakerEvent.BENEFIT_OF_THE_DOUBT, due_ns)
            self.advance(now_ns)  # the ramp that began then may have ended

    def record_success(self, permit: int, now_ns: int, duration_ns: int = 0) -> bool:
        """Settle a permit: the provider did the work, in `duration_ns`. False, with nothing changed, if it is stale."""
        if permit != self._generation:
            return self._record_late(permit, now_ns, False)
        if self._state is _CLOSED:
            if self._tripping.success(now_ns, duration_ns):
                self._apply(BreakerEvent.TRIP, now_ns)
            return True
        return self._record_elsewhere(permit, now_ns, False, duration_ns)

    def record_failure(self, permit: int, now_ns: int, duration_ns: int = 0, reason: str | None = None) -> bool:
        """Settle a permit: the provider failed, or did not answer in time. False if the permit is stale."""
        self._latest_failure = reason
        if permit != self._generation:
            return self._record_late(permit, now_ns, True)
        if self._state is _CLOSED:
            if self._tripping.failure(now_ns, duration_ns):
                self._apply(BreakerEvent.TRIP, now_ns)
            return True
        return self._record_elsewhere(permit, now_ns, True, duration_ns)

    def record_neutral(self, permit: int, now_ns: int) -> bool:
        """Settle a permit that says nothing about the provider; a probe's can be had again. False if it is stale."""
        self.advance(now_ns)
        if permit != self._generation:
            return False
        self._probes.give_back()
        return True

    def record_reachable(self, permit: int, now_ns: int, duration_ns: int = 0) -> bool:
        """Settle a permit: the provider answered, and refused this one message. False if the permit is stale.

        While it counts (closed, metrics-only) that is what `ignored_counts_as` says; as a probe's answer it is a
        success.
        """
        if not self._ignored_is_success and (self._state is _CLOSED or self._state is _METRICS_ONLY):
            return permit == self._generation
        return self.record_success(permit, now_ns, duration_ns)

    def trip(self, permit: int, now_ns: int, reason: str | None = None) -> bool:
        """Settle a permit: the channel itself is broken, so open at once. False if the permit is stale."""
        self._latest_failure = reason
        self.advance(now_ns)
        if permit != self._generation:
            return False
        if self._state is _CLOSED or self._state is _HALF_OPEN:
            self._apply(BreakerEvent.TRIP, now_ns)
        elif self._state is _METRICS_ONLY:
            self._tripping.failure(now_ns, 0)
            self._exceed(now_ns)
        return True

    def force_open(self, now_ns: int) -> None:
        """Refuse everything until the next override."""
        self.override(BreakerEvent.FORCE_OPEN, now_ns)

    def disable(self, now_ns: int) -> None:
        """Admit everything and count nothing until the next override."""
        self.override(BreakerEvent.DISABLE, now_ns)

    def metrics_only(self, now_ns: int) -> None:
        """Admit everything and count, with all counts at zero, and never open, until the next override."""
        self.override(BreakerEvent.METRICS_ONLY, now_ns)

    def close(self, now_ns: int) -> None:
        """Start again: closed, with all counts at zero."""
        self.override(BreakerEvent.CLOSE, now_ns)

    def override(self, event: BreakerEvent, now_ns: int) -> None:
        """Apply an operator's override; IllegalTransition is raised if it is in that state already."""
        self.advance(now_ns)
        self._apply(event, now_ns)
        if self._votes is not None:
            self._votes.clear()  # the override decides

    def hear(self, node: int, until_ns: int | None, now_ns: int) -> None:
        """Take in the vote of another node: that its breaker is open until an instant; None: that it is not."""
        if self._votes is not None:
            self.advance(now_ns)
            self._votes.hear(node, until_ns)
            self._heed(self._votes, now_ns)

    def recount(self, nodes: Collection[int], now_ns: int) -> None:
        """Take in which nodes live now: the votes of others count no more."""
        if self._votes is not None:
            self.advance(now_ns)
            self._votes.keep(nodes)
            self._heed(self._votes, now_ns)

    def _heed(self, votes: Votes, now_ns: int) -> None:
        until_ns = votes.open_until_ns(now_ns)
        if self._state is _OPEN:
            self._changes_at_ns = max(
                (instant_ns for instant_ns in (until_ns, self._own_until_ns) if instant_ns is not None), default=now_ns
            )
        elif until_ns is not None and (self._state is _CLOSED or self._state is _HALF_OPEN):
            self._apply(BreakerEvent.OTHERS_OPEN, now_ns, until_ns)

    def _is_due(self, now_ns: int) -> bool:
        return self._changes_at_ns is not None and now_ns >= self._changes_at_ns

    def _record_late(self, permit: int, now_ns: int, failed: bool) -> bool:
        self.advance(now_ns)  # which needs no valid permit
        if permit == self._late_permit:
            self._late += 1
            self._late_failed += failed
        return False

    def _record_elsewhere(self, permit: int, now_ns: int, failed: bool, duration_ns: int) -> bool:
        self.advance(now_ns)
        if permit != self._generation:
            return False
        if self._state is _HALF_OPEN:
            is_back = self._probes.settle(failed, duration_ns)
            if is_back is not None:
                self._apply(BreakerEvent.RECOVER if is_back else BreakerEvent.TRIP, now_ns)
        elif self._state is _METRICS_ONLY:
            count = self._tripping.failure if failed else self._tripping.success
            if count(now_ns, duration_ns):
                self._exceed(now_ns)
        return True

    def _exceed(self, now_ns: int) -> None:
        if self._exceeded_at_ns is None:
            self._exceeded_at_ns = now_ns

    def _apply(self, event: BreakerEvent, now_ns: int, until_ns: int | None = None) -> None:
        before = self._state
        after = next_state(before, event, self.name)
        self._state = after
        if before is _CLOSED:
            self._trip = self._tripping.trip
            self._late_permit, self._late, self._late_failed = self._generation, 0, 0
        self._generation += 1
        self.admits_all = after in (_CLOSED, _DISABLED, _METRICS_ONLY)
        self._opened_at_ns = now_ns if after is _OPEN or after is _FORCED_OPEN else None
        self._changes_at_ns = self._exceeded_at_ns = self._own_until_ns = None
        self._refused = 0
        self._probes.reset()
        if until_ns is not None:
            self._changes_at_ns = until_ns
        elif after is _OPEN:
            self._changes_at_ns = now_ns + self._open_time.next_ns(self._openings) + self._reopen_after_ns
            self._own_until_ns = self._changes_at_ns
            self._openings += 1
        else:
            self._tripping.reset()
            if after is _HALF_OPEN:
                if self._half_open_ns is not None:
                    self._changes_at_ns = now_ns + self._half_open_ns
            else:
                self._openings = 0
                self._latest_failure = None
                if after is _CLOSED and self._ramp is not None and before in (_OPEN, _HALF_OPEN, _FORCED_OPEN):
                    self._ramp.start(now_ns)
                    self.admits_all, self._changes_at_ns = False, self._ramp.end_ns
        if self._on_transition is not None:
            self._on_transition(Transition(before, after, event, now_ns, self.reopen_at_ns))
