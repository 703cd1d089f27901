"""What adapts to the provider: the rate, the attempts under way at once, and the share that is let through."""

from __future__ import annotations

import math

from actors.instants import NS_PER_S, wait_ns
from actors.outcomes import Ambiguous, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.adaptive import AdaptiveRateConfig, AdaptiveThrottleConfig, GradientConfig, VegasConfig
from simulation.reference.limits import Limit
from simulation.reference.randomness import Stream


def is_answer(outcome: Outcome) -> bool:
    """Return whether the provider took the request, whatever became of the message."""
    return isinstance(outcome, (Sent, Permanent, DeadDestination))


def is_throttled(outcome: Outcome) -> bool:
    """Return whether the provider said that we send too fast."""
    return isinstance(outcome, Transient) and outcome.throttled


class AdaptiveRate(Limit):
    """A rate that throttling cuts and that grows again: evenly spaced, no limit before the first throttling unless
    `initial_rate` says so."""

    def __init__(self, config: AdaptiveRateConfig) -> None:
        self._config = config
        self.rate = None if config.initial_rate is None else config.initial_rate.per_second
        """How many a second; None: no limit."""
        self._next_ns = 0
        self._last_growth_ns = 0
        """The latest success or cut, from which an `aimd` grows."""
        self._cut_at_ns: int | None = None
        self._cut_from = self.rate or 0.0
        """The rate at which it was cut, to which a `cubic` comes back."""
        self._measured = 0.0
        self._bucket_ns = 0
        self._bucket_count = 0

    def fits_at(self, key: str, now_ns: int) -> int:
        """Return when the next may go."""
        return max(now_ns, self._next_ns)

    def charge(self, key: str, now_ns: int) -> None:
        """Count one that goes now."""
        if self.rate is not None:
            self._next_ns = now_ns + wait_ns(1 / self.rate)

    def after(self, outcome: Outcome, now_ns: int) -> None:
        """Learn from an outcome: throttling cuts, an answer lets it grow, all else says nothing."""
        if is_throttled(outcome):
            self._measure(now_ns)
            self._cut(now_ns)
        elif is_answer(outcome):
            self._measure(now_ns)
            self._grow(now_ns)

    def _measure(self, now_ns: int) -> None:
        """Measure what is sent: in buckets of half a second, 80% of the latest and 20% of before."""
        self._bucket_count += 1
        bucket_ns = now_ns - now_ns % (NS_PER_S // 2)
        if bucket_ns > self._bucket_ns:
            latest = self._bucket_count * NS_PER_S / (bucket_ns - self._bucket_ns)
            self._measured = 0.8 * latest + (1 - 0.8) * self._measured
            self._bucket_ns, self._bucket_count = bucket_ns, 0

    def _grow(self, now_ns: int) -> None:
        """Grow, but not above `maximum_rate` and twice what is sent.

        aimd: `increase` a second for each second of success, of which there is at most one since the last. cubic:
        scale · (t - k)³ + w, t seconds after the cut at w, to which it is back after k.
        """
        config = self._config
        if self.rate is None:
            return
        if config.kind == "aimd":
            passed_s = min(NS_PER_S, now_ns - self._last_growth_ns) / NS_PER_S
            self._last_growth_ns = now_ns
            grown = self.rate + config.increase.per_second * passed_s
        else:
            k = (self._cut_from * (1 - self._kept()) / config.scale) ** (1 / 3)
            t = (now_ns - self._last_growth_ns) / NS_PER_S - k
            grown = config.scale * t * t * t + self._cut_from
        most = math.inf if config.maximum_rate is None else config.maximum_rate.per_second
        grown = min(grown, most, 2.0 * self._measured)
        if grown > self.rate:
            self._set(grown, now_ns)

    def _cut(self, now_ns: int) -> None:
        """Multiply what was really sent, or what was allowed if that is less, by `decrease`; again only after
        `cooldown`."""
        config = self._config
        if self._cut_at_ns is not None and now_ns < self._cut_at_ns + wait_ns(config.cooldown):
            return
        self._cut_at_ns = self._last_growth_ns = now_ns
        least = config.minimum_rate.per_second
        sent = min(self._measured or math.inf, math.inf if self.rate is None else self.rate)
        self._cut_from = least if sent == math.inf else sent
        most = math.inf if config.maximum_rate is None else config.maximum_rate.per_second
        self._set(min(most, max(least, self._cut_from * self._kept())), now_ns)

    def _kept(self) -> float:
        if self._config.decrease is not None:
            return self._config.decrease
        return 0.5 if self._config.kind == "aimd" else 0.7

    def _set(self, rate: float, now_ns: int) -> None:
        """Change the rate: whoever waits has as many before as before, at the new rate."""
        if self.rate is None:
            self._next_ns = now_ns + wait_ns(1 / rate)
        elif self._next_ns > now_ns:
            self._next_ns = now_ns + round((self._next_ns - now_ns) * self.rate / rate)
        self.rate = rate


class _Concurrency:
    """How many attempts may be under way at once. An answer, throttling and an ambiguous end count; what else a
    provider refuses says nothing about how much it can do."""

    def __init__(self, config: GradientConfig | VegasConfig) -> None:
        self._estimate = float(config.initial)

    @property
    def limit(self) -> int:
        """The bound now."""
        return int(self._estimate)

    def after(self, outcome: Outcome, duration_ns: int, in_flight: int) -> None:
        """Learn from an outcome; `in_flight` were under way when it set out, itself included."""
        if is_answer(outcome) or is_throttled(outcome) or isinstance(outcome, Ambiguous):
            self._learn(max(1, duration_ns), in_flight, dropped=not is_answer(outcome))

    def _learn(self, latency_ns: int, in_flight: int, *, dropped: bool) -> None:
        raise NotImplementedError


class Gradient(_Concurrency):
    """Falls as latency rises above its own long average: g · limit + queue_size, smoothed, g from one half to 1."""

    def __init__(self, config: GradientConfig) -> None:
        super().__init__(config)
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
        if 2 * in_flight < self._estimate:  # the limit is not what restricts
            return
        gradient = max(0.5, min(1.0, config.tolerance * self._average_ns / latency_ns))
        wanted = self._estimate * gradient + config.queue_size
        smoothed = (1 - config.smoothing) * self._estimate + config.smoothing * wanted
        self._estimate = max(config.minimum, min(config.maximum, smoothed))


class Vegas(_Concurrency):
    """Keeps the queue at the provider short: limit · (1 - lowest latency / latency) attempts are queueing.

    The lowest latency is measured again at random: after U(0.5, 1) · probe_multiplier · limit attempts.
    """

    def __init__(self, config: VegasConfig, stream: Stream) -> None:
        super().__init__(config)
        self._config = config
        self._stream = stream
        self._lowest_ns: int | None = None
        self._since_probe = 0
        self._probe_share = stream.between(0.5, 1)

    def _learn(self, latency_ns: int, in_flight: int, *, dropped: bool) -> None:
        config, limit = self._config, self._estimate
        self._since_probe += 1
        if self._since_probe >= self._probe_share * config.probe_multiplier * limit:
            self._probe_share = self._stream.between(0.5, 1)
            self._since_probe = 0
            self._lowest_ns = latency_ns
            return
        if self._lowest_ns is None or latency_ns < self._lowest_ns:
            self._lowest_ns = latency_ns
            return
        step = max(1, int(math.log10(limit)))
        queue = math.ceil(limit * (1 - self._lowest_ns / latency_ns))
        less = limit - step if config.decrease is None else limit * config.decrease
        if dropped:
            wanted = less
        elif 2 * in_flight < limit:  # the limit is not what restricts
            return
        elif queue <= step:
            wanted = limit + (config.beta or 6 * step)
        elif queue < (config.alpha or 3 * step):
            wanted = limit + step
        elif queue > (config.beta or 6 * step):
            wanted = less
        else:
            return
        wanted = max(config.minimum, min(config.maximum, wanted))
        self._estimate = (1 - config.smoothing) * limit + config.smoothing * wanted


def concurrency_of(config: GradientConfig | VegasConfig, stream: Stream) -> Gradient | Vegas:
    """Return the limit that the settings ask for; `stream` is that of ``<lane>.concurrency``."""
    return Vegas(config, stream) if isinstance(config, VegasConfig) else Gradient(config)


class AdaptiveThrottle:
    """Refuses with a probability of (requests - k · accepts) / (requests + padding) over about `window`.

    `stream` is that of ``<lane>.throttle``; it is drawn from only where a refusal is possible.
    """

    def __init__(self, config: AdaptiveThrottleConfig, stream: Stream) -> None:
        self._config = config
        self._stream = stream
        self._sixtieths: dict[int, list[int]] = {}
        """By number of the sixtieth of the window: requests and accepts."""

    def admits(self, now_ns: int) -> bool:
        """Count a request, and return whether it is let through."""
        config, sixtieth = self._config, self._sixtieth(now_ns)
        recent = [counts for number, counts in self._sixtieths.items() if sixtieth - 60 < number]
        requests = sum(counts[0] for counts in recent)
        accepts = sum(counts[1] for counts in recent)
        refusal = min(config.max_rejection, max(0.0, (requests - config.k * accepts) / (requests + config.padding)))
        admitted = refusal == 0 or self._stream.draw() >= refusal
        if admitted or config.count_rejected:
            self._counts(now_ns)[0] += 1
        return admitted

    def after(self, outcome: Outcome, now_ns: int) -> None:
        """Count what the provider took."""
        if is_answer(outcome):
            self._counts(now_ns)[1] += 1

    def _sixtieth(self, now_ns: int) -> int:
        return now_ns // max(1, wait_ns(self._config.window) // 60)

    def _counts(self, now_ns: int) -> list[int]:
        return self._sixtieths.setdefault(self._sixtieth(now_ns), [0, 0])
