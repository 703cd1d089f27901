"""Settings of limits that adapt to the provider: the rate, the concurrency, the share of requests let through."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import StrictBool, model_validator

from actors.settings.base import Settings, by_kind
from actors.settings.quantities import (
    Duration,
    PositiveDuration,
    PositiveNumber,
    PositiveRate,
    PositiveShare,
    PositiveWholeNumber,
    Rate,
    WholeNumber,
    number,
    wanted,
    whole_number,
)


class AdaptiveRateConfig(Settings):
    """A rate that throttling by the provider cuts, and that grows again while there is none."""

    kind: Literal["aimd", "cubic"] = "aimd"
    """How the rate grows. `aimd`: by the same amount each second. `cubic`: fast at first, and slowly near the rate at
    which it was cut."""

    initial_rate: PositiveRate | None = None
    """The rate to begin with. None: no limit until the provider throttles for the first time."""

    minimum_rate: PositiveRate = Rate(1.0, 1.0)
    """The rate is never cut below this."""

    maximum_rate: PositiveRate | None = None
    """The rate never grows above this. None: as far as the provider lets it."""

    increase: PositiveRate = Rate(1.0, 1.0)
    """aimd only: how much faster it is after each second without throttling."""

    decrease: PositiveShare | None = None
    """The factor by which throttling cuts the rate. None: 50% for aimd, 70% for cubic."""

    scale: PositiveNumber = 0.4
    """cubic only: how fast it grows, the C of CUBIC."""

    cooldown: Duration = 1.0
    """How long after a cut further throttling does not cut again, as it answers requests from before the cut."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        least = self.minimum_rate.per_second
        if self.maximum_rate is not None and self.maximum_rate.per_second < least:
            raise wanted("a maximum_rate of at least minimum_rate")
        most = float("inf") if self.maximum_rate is None else self.maximum_rate.per_second
        if self.initial_rate is not None and not least <= self.initial_rate.per_second <= most:
            raise wanted("an initial_rate between minimum_rate and maximum_rate")
        for key, kind in (("increase", "aimd"), ("scale", "cubic")):
            if key in self.model_fields_set and self.kind != kind:
                raise wanted(f"{key} only with kind: {kind}")
        return self


class _ConcurrencyBounds(Settings):
    initial: PositiveWholeNumber = 20
    """Attempts in flight at once, to begin with."""

    minimum: PositiveWholeNumber = 1
    """It never falls below."""

    maximum: PositiveWholeNumber = 200
    """It never grows above."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.minimum <= self.initial <= self.maximum:
            raise wanted("initial between minimum and maximum")
        return self


class GradientConfig(_ConcurrencyBounds):
    """A limit that falls as latency rises above its own long average."""

    kind: Literal["gradient"] = "gradient"
    """Follow the gradient of latency (as Netflix's Gradient2)."""

    tolerance: Annotated[float, number(1)] = 1.5
    """How many times the long average latency may be without the limit falling."""

    queue_size: WholeNumber = 4
    """How many requests may queue at the provider; while latency is low, the limit grows by this number."""

    smoothing: PositiveShare = 0.2
    """How much of the way to each new estimate it goes."""

    long_window: PositiveWholeNumber = 600
    """Over how many attempts the long average is taken."""


class VegasConfig(_ConcurrencyBounds):
    """A limit that keeps the queue at the provider short, which is derived from the lowest latency there was."""

    kind: Literal["vegas"]
    """Keep the queue short (as TCP Vegas)."""

    alpha: PositiveWholeNumber | None = None
    """With less in the queue it grows. None: 3 · log10(limit)."""

    beta: PositiveWholeNumber | None = None
    """With more in the queue it falls. None: 6 · log10(limit)."""

    decrease: PositiveShare | None = None
    """The factor by which the limit falls. None: log10(limit) is subtracted."""

    smoothing: PositiveShare = 1.0
    """How much of the way to each new estimate it goes."""

    probe_multiplier: PositiveWholeNumber = 30
    """The lowest latency is measured again after about this number of attempts for each slot of the limit."""


ConcurrencyLimitConfig: TypeAlias = Annotated[
    GradientConfig | VegasConfig, by_kind({"gradient": GradientConfig, "vegas": VegasConfig}, "gradient")
]
"""How many attempts may be under way at once, derived from latency."""


class AdaptiveThrottleConfig(Settings):
    """Attempts that would probably fail are refused at the sender, with a probability that follows their success.

    With further providers (`failover`) the next provider with room takes a refused attempt at once. Where none has
    room, the refusal ends the attempt as a failed one, and the notification is retried.
    """

    k: Annotated[float, number(1)] = 2.0
    """How many times as much is sent to the provider as it accepts."""

    window: PositiveDuration = 120.0
    """Over how long requests and accepts are counted."""

    padding: PositiveNumber = 1.0
    """Added to the requests in the denominator: the larger, the longer a quiet channel goes without a refusal."""

    max_rejection: PositiveShare = 1.0
    """The probability of a refusal never exceeds this."""

    count_rejected: StrictBool = True
    """Whether attempts that are refused here count (as in the SRE book and grpc-go) or not (as in failsafe-go)."""


class HedgingConfig(Settings):
    """Send once more before the answer is there, to a provider that takes an idempotency key.

    All copies of an attempt have the same id. A provider that ignores the id may deliver each copy. If a send fails in
    a way in which another may succeed, the next copy goes at once, or after the wait that the provider asked for. The
    `retry.budget` is asked for each copy as for a retry; where it refuses, the attempt gets no more copies.
    """

    wanted_text: ClassVar[str] = "a mapping such as {max_attempts: 2, delay: 500ms}"

    max_attempts: Annotated[int, whole_number(2)] = 2
    """All sends of one attempt, the first included; more than 5 are taken as 5."""

    delay: Duration
    """How long after one send the next follows, if there is no answer; after a failure it follows at once."""
