"""Limits that adapt to the provider: the rate, the attempts in flight at once, and the share that is let through."""

from __future__ import annotations

import math
from collections.abc import Callable

from actors.outcomes import Ambiguous, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.adaptive import AdaptiveRateConfig, AdaptiveThrottleConfig, GradientConfig, VegasConfig
from simulation.verification.model.instants import NS_PER_S, wait_ns
from simulation.verification.model.limits import Latest, Limit
from simulation.verification.model.notifications import CUT
from simulation.verification.model.randomness import Stream


def is_answer(outcome: Outcome) -> bool:
    """Return whether the provider took the request, whatever became of the message."""
    return isinstance(outcome, (Sent, Permanent, DeadDestination))


def is_throttled(outcome: Outcome) -> bool:
    return isinstance(outcome, Transient) and outcome.throttled


class AdaptiveRate(Limit):
    """Evenly spaced sends, at a rate that throttling cuts and that grows with answers.

    No limit before the first throttling, unless `initial_rate` says so.
    """

    def __init__(self, config: AdaptiveRateConfig) -> None:
        self._config = config
        self.rate = None if config.initial_rate is None else config.initial_rate.per_second
        """How many a second; None: no limit."""
        self.least = config.minimum_rate.per_second
        self.most = math.inf if config.maximum_rate is None else config.maximum_rate.per_second
        self._kept = config.decrease or (0.5 if config.kind == "aimd" else 0.7)
        self._next_ns = 0
        self._grows_since_ns = 0
        """The latest cut; with `aimd`, or the latest answer."""
        self._cut_at_ns: int | None = None
        self._cut_from = self.rate or 0.0
        """The rate at which it was cut."""
        self._measured = 0.0
        self._bucket_ns = self._bucket_count = 0

    def fits_at(self, key: str, now_ns: int) -> int:
        return max(now_ns, self._next_ns)

    def charge(self, key: str, now_ns: int) -> None:
        if self.rate is not None:
            self._next_ns = now_ns + wait_ns(1 / self.rate)

    def after(self, outcome: Outcome, now_ns: int) -> None:
        """Learn from an outcome: throttling cuts, an answer lets it grow, all else says nothing."""
        if is_throttled(outcome):
            self._measure(now_ns)
            self._cut(now_ns)
        elif is_answer(outcome):
            self._measure(now_ns)
            if self.rate is not None:
                self._grow(self.rate, now_ns)

    def _measure(self, now_ns: int) -> None:
        """Measure the rate of sends: in buckets of half a second, 80% of the latest and 20% of before."""
        self._bucket_count += 1
        bucket_ns = now_ns - now_ns % (NS_PER_S // 2)
        if bucket_ns > self._bucket_ns:
            latest = self._bucket_count * NS_PER_S / (bucket_ns - self._bucket_ns)
            self._measured = 0.8 * latest + (1 - 0.8) * self._measured
            self._bucket_ns, self._bucket_count = bucket_ns, 0

    def _grow(self, rate: float, now_ns: int) -> None:
        """Grow, but not above `maximum_rate` and twice the measured rate.

        `aimd`: by `increase` for each second since the last answer, but one at most. `cubic`: to scale · (t - k)³ + w,
        t seconds after the cut at w, where it is at w again after k.
        """
        passed_ns, w = now_ns - self._grows_since_ns, self._cut_from
        if self._config.kind == "aimd":
            self._grows_since_ns = now_ns
            grown = rate + self._config.increase.per_second * (min(NS_PER_S, passed_ns) / NS_PER_S)
        else:
            k = (w * (1 - self._kept) / self._config.scale) ** (1 / 3)
            t = passed_ns / NS_PER_S - k
            grown = self._config.scale * t * t * t + w
        grown = min(grown, self.most, 2.0 * self._measured)
        if grown > rate:
            self._set(grown, now_ns)

    def _cut(self, now_ns: int) -> None:
        """Multiply the allowed rate, or the measured one if that is less; again only after `cooldown`."""
        if self._cut_at_ns is not None and now_ns < self._cut_at_ns + wait_ns(self._config.cooldown):
            return
        self._cut_at_ns = self._grows_since_ns = now_ns
        sent = min(self._measured or math.inf, self.rate or math.inf)
        self._cut_from = sent if sent < math.inf else self.least
        self._set(min(self.most, max(self.least, self._cut_from * self._kept)), now_ns)

    def _set(self, rate: float, now_ns: int) -> None:
        """Change the rate: those that wait have as many before them as before, at the new rate."""
        if self.rate is None:
            self._next_ns = now_ns + wait_ns(1 / rate)
        elif self._next_ns > now_ns:
            self._next_ns = now_ns + round((self._next_ns - now_ns) * self.rate / rate)
        self.rate = rate


class Concurrency:
    """How many attempts may be under way at once. Answers, throttling and ambiguous ends count: other refusals, and an
    end that the deadline makes, say nothing about how much the provider can do."""

    _learn: Callable[..., None]

    def __init__(self, initial: int) -> None:
        self._estimate = float(initial)

    @property
    def limit(self) -> int:
        return int(self._estimate)

    def after(self, outcome: Outcome, duration_ns: int, in_flight: int) -> None:
        """Learn from an outcome; `in_flight` were under way when it set out, itself included."""
        is_late = isinstance(outcome, Ambiguous) and outcome is not CUT
        if is_answer(outcome) or is_throttled(outcome) or is_late:
            self._learn(max(1, duration_ns), in_flight, dropped=not is_answer(outcome))


class Gradient(Concurrency):
    """Falls as latency rises above its own long average: g · limit + queue_size, smoothed, g from one half to 1."""

    def __init__(self, config: GradientConfig) -> None:
        super().__init__(config.initial)
        self._config = config
        self._average_ns = 0.0
        self._results = 0

    def _learn(self, latency_ns: int, in_flight: int, *, dropped: bool) -> None:
        config = self._config
        self._results += 1
        weight = 1 / self._results if self._results <= 10 else 2 / (config.long_window + 1)
        self._average_ns += weight * (latency_ns - self._average_ns)
        if self._average_ns > 2.0 * latency_ns:  # a memory of bad times decays faster
            self._average_ns *= 0.9
        if 2 * in_flight >= self._estimate:  # else it is not the limit that restricts
            gradient = max(0.5, min(1.0, config.tolerance * self._average_ns / latency_ns))
            wanted = self._estimate * gradient + config.queue_size
            smoothed = (1 - config.smoothing) * self._estimate + config.smoothing * wanted
            self._estimate = max(config.minimum, min(config.maximum, smoothed))


class Vegas(Concurrency):
    """Keeps the queue at the provider short: limit · (1 - lowest latency / latency) attempts are queueing.

    The lowest latency is measured again at random: after U(0.5, 1) · probe_multiplier · limit attempts.
    """

    def __init__(self, config: VegasConfig, stream: Stream) -> None:
        super().__init__(config.initial)
        self._config = config
        self._stream = stream
        self._lowest_ns: float = math.inf
        self._since_probe = 0
        self._probe_share = 0.5 + 0.5 * stream.draw()

    def _learn(self, latency_ns: int, in_flight: int, *, dropped: bool) -> None:
        config, limit = self._config, self._estimate
        self._since_probe += 1
        if self._since_probe >= self._probe_share * config.probe_multiplier * limit:
            self._probe_share = 0.5 + 0.5 * self._stream.draw()
            self._since_probe, self._lowest_ns = 0, latency_ns
        elif latency_ns < self._lowest_ns:
            self._lowest_ns = latency_ns
        else:
            wanted = self._wanted(limit, math.ceil(limit * (1 - self._lowest_ns / latency_ns)), in_flight, dropped)
            if wanted is not None:
                wanted = max(config.minimum, min(config.maximum, wanted))
                self._estimate = (1 - config.smoothing) * limit + config.smoothing * wanted

    def _wanted(self, limit: float, queue: int, in_flight: int, dropped: bool) -> float | None:
        step = max(1, int(math.log10(limit)))
        alpha, beta = self._config.alpha or 3 * step, self._config.beta or 6 * step
        less = limit - step if self._config.decrease is None else limit * self._config.decrease
        if dropped:
            return less
        if 2 * in_flight < limit:  # it is not the limit that restricts
            return None
        if queue <= step:
            return limit + beta
        if queue < alpha:
            return limit + step
        return less if queue > beta else None


def concurrency_of(config: GradientConfig | VegasConfig, stream: Stream) -> Concurrency:
    """Return the limit that the settings ask for; `stream` is that of ``<lane>.concurrency``."""
    return Vegas(config, stream) if isinstance(config, VegasConfig) else Gradient(config)


class AdaptiveThrottle:
    """Refuses with a probability of (requests - k · accepts) / (requests + padding) over about `window`.

    `stream` is that of ``<lane>.throttle``; it is drawn from only where a refusal is possible.
    """

    def __init__(self, config: AdaptiveThrottleConfig, stream: Stream) -> None:
        self.config = config
        self._stream = stream
        self._requests, self._accepts = (Latest(max(1, wait_ns(config.window) // 60)) for _ in range(2))

    def admits(self, now_ns: int) -> bool:
        refusal = self.refusal(now_ns)
        admitted = refusal == 0 or self._stream.draw() >= refusal
        self.ask(now_ns, admitted)
        return admitted

    def refusal(self, now_ns: int) -> float:
        config, requests, accepts = self.config, self._requests.total(now_ns), self._accepts.total(now_ns)
        return min(config.max_rejection, max(0.0, (requests - config.k * accepts) / (requests + config.padding)))

    def ask(self, now_ns: int, admitted: bool) -> None:
        self._requests.add(now_ns, admitted or self.config.count_rejected)

    def after(self, outcome: Outcome, now_ns: int) -> None:
        self._accepts.add(now_ns, is_answer(outcome))
