"""The providers of a simulation: what their settings, and what goes wrong with them, make of each attempt.

To the model itself this is given. It is said here for itself, so that somebody counts the faults again as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.channel import ProviderConfig
from actors.settings.faults import Burst, Change, FaultConfig, Flap, QuotaFault
from actors.settings.script import ScriptedAnswer
from simulation.verification.model.addresses import host_of
from simulation.verification.model.instants import NEVER_NS, NS_PER_S, Window, ns
from simulation.verification.model.limits import FixedWindow, Limit, SlidingWindow, TokenBucket
from simulation.verification.model.randomness import Stream

SENT = Sent()
FAILED = Transient(reason="injected failure")
UNCONNECTED = Transient(reason="connection refused", connection=True)
PERMANENT = Permanent(reason="injected permanent failure")
THROTTLED = Transient(reason="throttled", throttled=True)
DEAD = DeadDestination(reason="injected dead destination")
CHANNEL_FAULT = ChannelFault(reason="injected channel fault")
OUTAGE = Transient(reason="provider outage")
QUEUE_FULL = Transient(reason="queue full")
BUSY = Transient(reason="busy")

_WRITTEN: Mapping[str, Outcome] = {
    "sent": SENT,
    "transient": FAILED,
    "throttled": THROTTLED,
    "permanent": PERMANENT,
    "dead_destination": DEAD,
    "channel_fault": CHANNEL_FAULT,
    "ambiguous": Ambiguous(),
}


_RATES: Sequence[tuple[str, Outcome | None]] = (
    ("refused_rate", UNCONNECTED),
    ("dead_destination_rate", DEAD),
    ("permanent_rate", PERMANENT),
    ("channel_fault_rate", CHANNEL_FAULT),
    ("lost_reply_rate", None),
    ("failure_rate", FAILED),
)
"""In the order in which a draw is compared with them; the last one is a setting of the provider, too."""


class Fate(NamedTuple):
    outcome: Outcome | None
    """None: no answer ever comes."""
    takes_ns: int | None
    """After how long it is answered; None: that depends on what comes later, or on others."""
    delivers: bool
    why: str
    is_known: bool = True
    """Whether this is its outcome, and nobody behind the provider is asked for it."""
    asks_ns: int | None = None
    """After how long what is behind the provider is asked; None: that is not known, or it is not asked."""


class Quota:
    """The requests that a provider takes in each window, or as its bucket fills."""

    def __init__(self, quota: QuotaFault) -> None:
        count = max(1, round(quota.rate.count))  # a whole number, in as much more time as that is more
        width_ns = ns(quota.rate.period * count / quota.rate.count)
        self._limit: Limit
        self._config, self._width_ns, self._count = quota, width_ns, count
        self._asked_ns: list[tuple[str, int]] = []
        """By whom and when, where those that are refused count too."""
        if quota.kind == "token_bucket":
            self._limit = TokenBucket(Fraction(width_ns, count), quota.burst or count)
        else:
            self._limit = {"fixed_window": FixedWindow, "sliding_window": SlidingWindow}[quota.kind](count, width_ns)
        self.answer = Transient(reason=THROTTLED.reason, retry_after=quota.retry_after, throttled=True)

    def takes(self, host: str, now_ns: int) -> bool:
        """Tell whether it takes one more now, and count it then."""
        key = host if self._config.per == "host" else ""
        if self._config.counts == "accepted" or self._config.kind != "sliding_window":
            return self._limit.take(key, now_ns) == now_ns
        self._asked_ns = [each for each in self._asked_ns if each[1] > now_ns - self._width_ns]
        asked = [each for each in self._asked_ns if each[0] == key]
        self._asked_ns.append((key, now_ns))
        return len(asked) < self._count


class _Fault(Window):
    def __init__(self, fault: FaultConfig, seed: int, stream: str) -> None:
        super().__init__(fault)
        self.config = fault
        latencies = Stream(seed, f"{stream}.latency").random
        self.latency = None if fault.latency is None else fault.latency.sampler(latencies)
        self.quota = None if fault.throttle is None else Quota(fault.throttle)
        self.still_fail = fault.fail_first or 0
        self.rates = {name for name, _ in _RATES if getattr(fault, name) is not None}
        self._spells = None if fault.burst is None else _bad_spells(fault.burst, self.start_ns, seed, f"{stream}.burst")
        self._spell = (0, 0)

    @property
    def edges_ns(self) -> tuple[int, int]:
        return self.start_ns, self.end_ns

    def hits(self, host: str, node: int | None) -> bool:
        config = self.config
        return (config.host is None or host in config.host) and (config.node is None or node in config.node)

    def value(self, name: str, now_ns: int, usual: float) -> float:
        """Return a rate or factor of it, which may go in a straight line from one value to another."""
        value = getattr(self.config, name)
        if isinstance(value, Change):
            return value.from_ + (value.to - value.from_) * min(1.0, (now_ns - self.start_ns) / NS_PER_S / value.over)
        return float(value or usual)

    def is_down(self, now_ns: int) -> bool:
        """Tell whether nobody is served: always, or in the second part of each cycle, from the window's start on."""
        flap: Flap | None = self.config.flap
        if flap is None:
            return self.config.outage
        up_ns, down_ns = ns(flap.up), ns(flap.down)
        return self.config.outage or (now_ns - self.start_ns) % (up_ns + down_ns) >= up_ns

    def bursting(self, now_ns: int) -> float:
        if self._spells is None or self.config.burst is None:
            return 0.0
        while self._spell[1] <= now_ns:
            self._spell = next(self._spells)
        return self.config.burst.failure_rate if self._spell[0] <= now_ns else 0.0


def _bad_spells(burst: Burst, start_ns: int, seed: int, stream: str) -> Iterator[tuple[int, int]]:
    """Yield from when until when it is bad, one spell after the other; before each it is good for a while."""
    draw, at_ns = Stream(seed, stream).random.expovariate, start_ns
    while True:
        bad_ns = at_ns + max(1, ns(draw(1.0) * burst.mean_good))
        at_ns = bad_ns + max(1, ns(draw(1.0) * burst.mean_bad))
        yield bad_ns, at_ns


class SimulatedProvider:
    def __init__(
        self, config: ProviderConfig, faults: Sequence[FaultConfig], seed: int, stream: str, account: Quota | None
    ) -> None:
        """Make one: `faults` are its own alone, and the names of its random streams begin with `stream`."""
        self._config = config
        self._faults = [_Fault(fault, seed, f"{stream}.fault.{number}") for number, fault in enumerate(faults)]
        self._latency = config.latency.sampler(Stream(seed, f"{stream}.latency").random)
        self._draw = Stream(seed, f"{stream}.fate").draw
        self._script = deque(config.script)
        self._account = account
        self._throttle = None if config.throttle is None else Quota(config.throttle)
        self._busy_until_ns: dict[str, int] = {}
        """By host or user, where one attempt is worked on at a time."""
        self._has_capacity = config.capacity is not None or any(fault.capacity is not None for fault in faults)
        self._per_in_flight = 0.0 if config.latency_by_load is None else config.latency_by_load.per_in_flight
        self._counts_load = self._has_capacity or self._per_in_flight > 0
        """Whether it matters how many are under way."""
        self._ends_ns: list[int] = []
        """When the work on each ends that is under way or waits, where that is known as it comes."""
        self._starts_ns: list[int] = []
        """When the work on each that waits begins, likewise."""
        self._waiting: list[tuple[bool, int]] = []
        """Of which it is not known: whether each is ordinary, and the work on it, in the order in which they came."""
        self._latest_start_ns = 0

    @property
    def _is_in_order(self) -> bool:
        return not self._has_capacity or self._config.discipline == "fifo"

    @property
    def _is_critical_first(self) -> bool:
        """Whether it has to be followed who waits, as critical ones go first."""
        return self._config.queue is not None and self._config.discipline == "critical_first"

    def judge(
        self, recipient: str, node: int | None, now_ns: int, *, user: str | None = None, is_critical: bool = False
    ) -> Fate:
        if self._script:
            return _as_written(self._script.popleft())
        host = host_of(recipient)
        open_ = [fault for fault in self._faults if fault.start_ns <= now_ns < fault.end_ns and fault.hits(host, node)]
        latency, factor = self._latency, 1.0
        for fault in open_:
            latency = fault.latency or latency
            factor *= fault.value("latency_factor", now_ns, 1.0)
        if self._counts_load:
            self._begin_until(now_ns)
            self._ends_ns = [end_ns for end_ns in self._ends_ns if end_ns > now_ns]
        work_ns = ns((latency() + self._per_in_flight * (len(self._ends_ns) + len(self._waiting))) * factor)
        knows_load = self._is_in_order or self._is_critical_first or not self._per_in_flight
        drawn = self._draw()
        if open_ and any(fault.config.hang for fault in open_):
            return Fate(None, NEVER_NS, False, "it hangs")
        at_the_gate = self._refused(open_, host, now_ns)
        if at_the_gate is not None:
            outcome, why = at_the_gate
            return Fate(outcome, work_ns if knows_load else None, False, why)
        bound = self._config.queue
        if self._starts_ns:
            self._starts_ns = [start_ns for start_ns in self._starts_ns if start_ns > now_ns]
        if bound is not None and len(self._starts_ns) + len(self._waiting) >= bound.limit:
            refused = bound.when_full == "refuse"
            return Fate(QUEUE_FULL if refused else None, 0 if refused else NEVER_NS, False, "as many wait as may")
        one, key, busy_ns = self._config.one_at_a_time, "", 0
        if one is not None:
            key = host if one.per == "host" else user or ""
            until_ns = max(self._busy_until_ns.get(key, 0), now_ns)
            if until_ns > now_ns and one.when_busy == "fail":
                return Fate(BUSY, 0, False, "another one is worked on")
            busy_ns = until_ns - now_ns
        done, why = self._drawn(open_, now_ns, drawn)
        if done is UNCONNECTED:  # so it waits for no one
            return Fate(done, work_ns if knows_load else None, False, why)
        work_ns += busy_ns
        delivers = done is None or isinstance(done, Sent)
        asks = self._config.upstream is not None and delivers
        if self._is_critical_first:
            self._waiting.append((not is_critical, work_ns))
            self._latest_start_ns = max(self._latest_start_ns, now_ns)  # before now there was no room, or nobody
            self._begin_until(now_ns)
        if not self._is_in_order:
            takes = NEVER_NS if done is None and not asks else None
            return Fate(done, takes, delivers, why, is_known=not asks)
        end_ns = self._busy_until_ns[key] = self._worked_on(now_ns, work_ns)
        if self._counts_load:
            self._ends_ns.append(end_ns)
        if end_ns >= NEVER_NS:
            return Fate(None, NEVER_NS, False, "it is frozen to the end")
        if asks:
            return Fate(done, None, False, "what is behind it is asked", is_known=False, asks_ns=end_ns - now_ns)
        takes_ns = NEVER_NS if done is None else end_ns - now_ns
        return Fate(done, takes_ns, delivers, why)

    def _refused(self, open_: Sequence[_Fault], host: str, now_ns: int) -> tuple[Outcome, str] | None:
        for quota in (self._account, self._throttle, *(fault.quota for fault in open_)):
            if quota is not None and not quota.takes(host, now_ns):
                return quota.answer, "its quota is used up"
        return (OUTAGE, "it is down") if any(fault.is_down(now_ns) for fault in open_) else None

    def _drawn(self, open_: Sequence[_Fault], now_ns: int, drawn: float) -> tuple[Outcome | None, str]:
        for fault in open_:
            if fault.still_fail:
                fault.still_fail -= 1
                return FAILED, "so many fail first"
        top = 0.0
        for name, outcome in _RATES if open_ else _RATES[-1:]:
            own = self._config.failure_rate if name == "failure_rate" else 0.0
            shares = [fault.value(name, now_ns, 0.0) for fault in open_ if name in fault.rates] if open_ else []
            if not (own or shares):
                continue
            top = min(1.0, top + (own + sum(shares)))
            if drawn < top:
                return outcome, f"{drawn:.6f} is drawn, within {name} up to {top:.6f}"
        if open_ and drawn < top + sum(fault.bursting(now_ns) for fault in open_):
            return FAILED, "it is in a bad spell"
        return SENT, "what is drawn is of no rate"

    # ── how long it works ───────────────────────────────────────────────────────────────────────────────────────

    def _worked_on(self, now_ns: int, work_ns: int) -> int:
        """Return when the work on a request that comes now ends: first come, first served."""
        if not self._has_capacity:
            return now_ns + work_ns
        self._latest_start_ns = start_ns = self._free_ns(max(now_ns, self._latest_start_ns))
        self._starts_ns.append(start_ns)
        return self._done_ns(start_ns, work_ns)

    def _begin_until(self, now_ns: int) -> None:
        """Begin the work on waiting requests, as far as there is room by now: critical ones first."""
        while self._waiting and (start_ns := self._free_ns(self._latest_start_ns)) <= now_ns:
            ordinary, work_ns = min(self._waiting, key=lambda each: each[0])
            self._waiting.remove((ordinary, work_ns))
            self._latest_start_ns = start_ns
            self._ends_ns.append(self._done_ns(start_ns, work_ns))

    def _edges_after(self, now_ns: int) -> list[int]:
        return sorted(edge_ns for fault in self._faults for edge_ns in fault.edges_ns if edge_ns > now_ns)

    def _free_ns(self, start_ns: int) -> int:
        """Return the first instant, from this one on, at which the provider can begin to work on one more."""
        while True:
            under_way = [end_ns for end_ns in self._ends_ns if end_ns > start_ns]
            servers = self._servers(start_ns)
            if servers is None or len(under_way) < servers:
                return start_ns
            start_ns = min(*under_way, *self._edges_after(start_ns), NEVER_NS)

    def _done_ns(self, start_ns: int, work_ns: int) -> int:
        left, at_ns = Fraction(work_ns), start_ns
        for until_ns in [*self._edges_after(start_ns), NEVER_NS]:
            speed = self._speed(at_ns)
            if speed and left <= (until_ns - at_ns) * speed:
                return at_ns + -(-left // speed)
            left, at_ns = left - (until_ns - at_ns) * speed, until_ns
        return NEVER_NS

    def _servers(self, now_ns: int) -> int | None:
        found = [fault.config.capacity for fault in self._faults if fault.is_open(now_ns)]
        of_faults = [capacity for capacity in found if capacity is not None][-1:]
        bounds = [bound for bound in (self._config.capacity, *of_faults) if bound is not None]
        return min(bounds, default=None)

    def _speed(self, now_ns: int) -> Fraction:
        speed = Fraction(1)
        for fault in self._faults:
            if fault.is_open(now_ns) and fault.config.speed is not None:
                speed *= Fraction(str(fault.config.speed))
        return speed


def _as_written(answer: ScriptedAnswer) -> Fate:
    if answer.outcome in ("lost", "hang"):
        return Fate(None, NEVER_NS, answer.outcome == "lost", "so it is written")
    outcome = _WRITTEN[answer.outcome]
    written: dict[str, Any] = {name: getattr(outcome, name) for name in outcome.__struct_fields__}
    written |= {name: own for name in ("reason", "retry_after") if (own := getattr(answer, name)) is not None}
    return Fate(type(outcome)(**written), ns(answer.latency), answer.outcome == "sent", "so it is written")
