"""Settings of a circuit breaker."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import StrictBool, model_validator

from actors.messages import BreakerState
from actors.settings.base import NotEmpty, OneOf, Settings, at_places
from actors.settings.quantities import (
    Duration,
    PositiveDuration,
    PositiveRate,
    PositiveShare,
    PositiveWholeNumber,
    Rate,
    Share,
    number,
    wanted,
)


class BreakerWindow(OneOf):
    """The calls that a failure rate is taken over; give exactly one of the keys."""

    wanted_text: ClassVar[str] = "a window such as {calls: 100} or {time: 20s}"

    calls: PositiveWholeNumber | None = None
    """This number of last calls, however long ago they were."""

    time: PositiveDuration | None = None
    """The calls that ended within this time, (now - width, now]."""

    ema: PositiveWholeNumber | None = None
    """All calls, by an exponential moving average over about this number of them (as Finagle): needs no log."""

    @property
    def default_minimum_calls(self) -> int:
        """The calls below which the rate says nothing, unless a setting says otherwise."""
        return self.ema if self.ema is not None else min(10, self.calls or 10)


class SlowCall(Settings):
    """Calls that succeed, but too late, are a sign of trouble too."""

    wanted_text: ClassVar[str] = "a mapping such as {duration: 2s, rate: 50%}"

    duration: PositiveDuration
    """A call that takes longer than this is slow; a call that takes exactly this long is not."""

    rate: PositiveShare = 0.5
    """The share of slow calls, failed or not, that opens it, reached or exceeded."""


class OpenGrowth(Settings):
    """Each opening without a recovery in between lasts longer than the one before; a recovery resets it."""

    wanted_text: ClassVar[str] = "a mapping such as {multiplier: 1.5, max: 10m, jitter: 20%}"

    multiplier: Annotated[float, number(1)] = 2.0
    """The n-th opening in a row lasts timeout * multiplier^(n - 1)."""

    max: PositiveDuration = 600.0
    """No opening lasts longer than this, jitter included."""

    jitter: Share = 0.0
    """The x in U(1 - x, 1 + x), by which each open time is multiplied before it is capped."""


class RampConfig(Settings):
    """After closing the breaker lets only a share of the calls through, which grows in a straight line to all calls.

    Attempts that waited for the breaker to close ask at the pace of `resume_rate`, and the ramp lets its share of them
    through: both bounds hold together.
    """

    wanted_text: ClassVar[str] = "a mapping such as {over: 30s, start: 10%}"

    over: PositiveDuration
    """How long it takes until all are let through again."""

    start: Share = 0.1
    """The share with which it begins."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.start == 1:
            raise wanted("a start of less than 100%, so that it can grow")
        return self


CountedKind: TypeAlias = Literal["transient", "ambiguous", "throttled", "refused_by_bulkhead", "permanent"]


class CircuitBreakerConfig(Settings):
    """When to stop sending to a provider that fails, and how to find out that it is back.

    Without a `window` it opens after `failure_threshold` consecutive failures; with one, at a `failure_rate` over the
    window, or at a rate of slow calls.
    """

    wanted_text: ClassVar[str] = "a mapping such as {failure_threshold: 5, timeout: 60s}"

    failure_threshold: PositiveWholeNumber = 5
    """Consecutive failures that open it; only without a `window`."""

    window: BreakerWindow | None = None
    """The calls whose failure rate opens it, in place of a number of consecutive failures."""

    failure_rate: PositiveShare = 0.5
    """The share of failures that opens it, reached or exceeded: over the window, and over the probes where `decide`
    looks at their rate."""

    minimum_calls: PositiveWholeNumber | None = None
    """Fewer calls in the window open nothing. None: 10, or as many as the window holds if that is fewer; for an `ema`
    its own number (as Finagle)."""

    slow_call: SlowCall | None = None
    """Slow calls open it too; only with a `window`. A slow probe is then no good one."""

    success_may_trip: StrictBool = True
    """Whether a good call may open the breaker when the rate is reached with it (as resilience4j), for example by
    completing `minimum_calls`; or only a call that failed or was slow (as Polly)."""

    counts: Annotated[tuple[CountedKind, ...], NotEmpty()] = ("transient", "ambiguous")
    """Which outcomes are failures; besides these `throttled`, `permanent` (as a bad address) and `refused_by_bulkhead`,
    where no slot was free. A probe with such an outcome has failed. Other outcomes count as no call; a fault of the
    channel opens the breaker in any case."""

    ignored_counts_as: Literal["neutral", "success"] = "neutral"
    """How a permanent failure (a bad address) counts while closed: as no call at all (as resilience4j), or as a success
    (as pybreaker and purgatory)."""

    timeout: PositiveDuration = 60.0
    """How long it stays open before a probe is let through."""

    open_growth: OpenGrowth | None = None
    """Every further opening in a row lasts longer. None: each lasts `timeout`."""

    reopen: Literal["at", "after"] = "at"
    """Half-open at the exact instant `opened_at + timeout`, or only at the first one after it (as resilience4j)."""

    half_open_permits: PositiveWholeNumber = 1
    """Probes that are let through while half-open."""

    decide: Literal["first_failure", "when_decided", "when_all_used"] = "first_failure"
    """How the probes decide. `first_failure`: one failure opens the breaker again, and it closes when all probes have
    succeeded. Else their failure rate decides, once all have a result (`when_all_used`, as resilience4j) or as soon as
    the missing results cannot change it (`when_decided`, as failsafe-go)."""

    half_open_max: PositiveDuration | None = None
    """How long it may be half-open without a decision. None: until the probes decide."""

    half_open_then: Literal["open", "closed", "probe"] = "open"
    """What the breaker does then: it opens again, it closes, or it replaces each probe without a result by another (as
    Polly)."""

    ramp: RampConfig | None = None
    """Only a growing share of the calls is let through after it has closed. None: all at once."""

    when_open: Literal["wait", "fail"] = "wait"
    """A notification that meets an open breaker waits, or fails at once, which uses up an attempt."""

    resume_rate: PositiveRate = Rate(10.0, 1.0)
    """The rate at which waiting notifications resume when the breaker has closed; it grows until none waits. After a
    restart or a takeover overdue notifications resume at this rate too, also without a breaker."""

    resume_doubling: PositiveDuration = 10.0
    """How long it takes that pace to double."""

    resume_rate_max: PositiveRate | None = None
    """The ceiling of that rate. None: ten times `resume_rate`, or twice the rate of new notifications in the last
    minute, whichever is more; with a lower ceiling the line would grow. If the pace overloads the provider, so that the
    breaker opens again, the ceiling is half of that pace until the line is empty; it grows by 2% a minute."""

    per: Literal["channel", "host"] = "channel"
    """One breaker for the whole channel, or one for each host of recipients (the domain of an address, or the host of a
    URL or of the endpoint in a Web Push subscription). Left out: `host` for webhooks and Web Push, where recipients
    choose the host that is asked, and with `after_retry_after: host`; else `channel`."""

    shared: Literal["none", "any", "quorum"] = "none"
    """Whether nodes with one store share their breakers. `none`: each node has its own breaker, and uses no other.
    `any`: a node's breaker is also open while any other living node says that its own is open. `quorum`: while more
    than half of the living nodes say so. A node says so from when its own calls have opened its breaker until the open
    time is over; it does not pass on the word of other nodes."""

    share_latency: Duration = 0.1
    """How long it takes, in a scenario, until the other nodes know of a node's vote. Live the database decides: a
    second or two at most."""

    enabled: StrictBool = True
    """False: it is disabled, which is the same as ``initial_state: disabled``."""

    initial_state: Literal["closed", "disabled", "forced-open", "metrics-only"] = "closed"
    """The state it begins in: disabled admits everything and counts nothing, forced-open refuses everything until an
    operator changes it, metrics-only admits everything, counts, and never opens."""

    @model_validator(mode="after")
    def _settings_that_go_together(self) -> Self:
        given = self.model_fields_set
        window = self.window
        problems: dict[str, str] = {}
        if window is not None and "failure_threshold" in given:
            problems["failure_threshold"] = (
                "a failure_threshold or a window, not both: with a window it is a share, such as failure_rate: 50%"
            )
        if window is None and self.decide == "first_failure" and "failure_rate" in given:
            problems["failure_rate"] = "failure_rate only with a window, or with decide: when_decided or when_all_used"
        if window is None and self.minimum_calls is not None:
            problems["minimum_calls"] = "minimum_calls only with a window"
        if window is not None and window.calls is not None and (self.minimum_calls or 0) > window.calls:
            problems["minimum_calls"] = f"minimum_calls of at most {window.calls}, all that the window holds"
        if "permanent" in self.counts and self.ignored_counts_as == "success":
            problems["ignored_counts_as"] = "neutral where counts has permanent, which is a failure then"
        if window is None and self.slow_call is not None:
            problems["slow_call"] = "slow_call only with a window"
        if self.open_growth is not None and self.open_growth.max < self.timeout:
            problems["open_growth"] = "a max of at least the timeout"
        if self.half_open_max is None and "half_open_then" in given:
            problems["half_open_then"] = "half_open_then only with half_open_max"
        if self.resume_rate_max is not None and self.resume_rate_max.per_second < self.resume_rate.per_second:
            problems["resume_rate_max"] = "a resume_rate_max of at least the resume_rate"
        if "shared" not in given and "share_latency" in given:  # beside `none` it is there for a comparison
            problems["share_latency"] = "share_latency only with shared: any or quorum"
        if not self.enabled and "initial_state" in given and self.initial_state != "disabled":
            problems["enabled"] = "enabled: true with an initial_state other than disabled"
        if problems:
            raise at_places(((key,), wanted(text), getattr(self, key)) for key, text in problems.items())
        return self

    @property
    def begins(self) -> BreakerState:
        """The state it begins in."""
        return BreakerState(self.initial_state) if self.enabled else BreakerState.DISABLED

    @property
    def draws(self) -> bool:
        """Whether it takes a random stream."""
        return self.open_growth is not None and self.open_growth.jitter > 0
