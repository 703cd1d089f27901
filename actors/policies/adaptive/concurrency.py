"""Adaptive concurrency limits: how large a bulkhead should be, derived from latency.

Two ways to derive it: by the gradient of latency, its long average against its present value; or by the length of the
provider's queue, as TCP Vegas does.
"""

from __future__ import annotations

import math
from random import Random
from typing import Protocol

from actors.settings.adaptive import ConcurrencyLimitConfig, GradientConfig, VegasConfig

_WARM_UP = 10
"""How many attempts are averaged plainly before the long average becomes exponential."""

_DRIFT = 2.0
"""A long average of more than twice the latency is a memory of bad times, and decays faster."""

_LET_GO = 0.9
_STEEPEST = 0.5


class ConcurrencyLimit(Protocol):
    """The interface of all concurrency limits."""

    __slots__ = ("_estimate",)

    _estimate: float

    @property
    def limit(self) -> int:
        return int(self._estimate)

    def on_result(self, latency_ns: int, in_flight: int, *, dropped: bool = False) -> None:
        """Record an attempt that has ended.

        Args:
            latency_ns: how long the attempt took, more than 0.
            in_flight: how many attempts were under way when it started, itself included.
            dropped: whether it timed out, or was refused for overload.
        """


class GradientLimit(ConcurrencyLimit):
    """How many attempts may be under way at once: as many as do not make latency rise.

    After the Gradient2 limit of Netflix' concurrency-limits. With g = tolerance · long average / latency, between one
    half and 1, the limit goes to ``g · limit + queue_size``, smoothed. An average instead of the lowest latency is for
    providers whose latency varies from request to request. Under load that never lets up the average follows the queue
    and the limit drifts upwards, by about ``2 · queue_size / long_window`` an attempt, so `maximum` should mean
    something.
    """

    __slots__ = ("_average_ns", "_config", "_count", "_factor")

    def __init__(self, config: GradientConfig) -> None:
        self._config = config
        self._estimate = float(config.initial)
        self._average_ns = 0.0
        self._count = 0
        self._factor = 2 / (config.long_window + 1)

    def on_result(self, latency_ns: int, in_flight: int, *, dropped: bool = False) -> None:
        """See :class:`ConcurrencyLimit`; a dropped attempt shows in its latency already."""
        config, estimate = self._config, self._estimate
        self._remember(latency_ns)
        if 2 * in_flight < estimate:
            return  # the limit is not what restricts, so nothing is known about a higher one
        gradient = max(_STEEPEST, min(1.0, config.tolerance * self._average_ns / latency_ns))
        wanted = estimate * gradient + config.queue_size
        smoothed = (1 - config.smoothing) * estimate + config.smoothing * wanted
        self._estimate = max(config.minimum, min(config.maximum, smoothed))

    def _remember(self, latency_ns: int) -> None:
        self._count += 1
        share = 1 / self._count if self._count <= _WARM_UP else self._factor
        self._average_ns += share * (latency_ns - self._average_ns)
        if self._average_ns > _DRIFT * latency_ns:
            self._average_ns *= _LET_GO


class VegasLimit(ConcurrencyLimit):
    """How many attempts may be under way at once, so that few of them queue at the provider.

    After Lawrence Brakmo and Larry Peterson, "TCP Vegas", 1995, as in Netflix' concurrency-limits: if the lowest
    latency ever seen is the latency without a queue, ``limit · (1 − lowest / latency)`` of the attempts under way are
    queueing. The lowest latency is measured again now and then, at times drawn from `random`, because a provider may
    have become slower for good; measured under load it includes the queue, and the limit drifts upwards. Where load
    never lets up, set a large `probe_multiplier`.
    """

    __slots__ = ("_config", "_lowest_ns", "_probe_share", "_random", "_since_probe")

    def __init__(self, config: VegasConfig, random: Random) -> None:
        self._config = config
        self._random = random
        self._estimate = float(config.initial)
        self._lowest_ns: int | None = None
        self._since_probe = 0
        self._probe_share = random.uniform(0.5, 1)

    def on_result(self, latency_ns: int, in_flight: int, *, dropped: bool = False) -> None:
        config, estimate = self._config, self._estimate
        self._since_probe += 1
        if self._since_probe >= self._probe_share * config.probe_multiplier * estimate:
            self._probe_share = self._random.uniform(0.5, 1)
            self._since_probe = 0
            self._lowest_ns = latency_ns
            return
        if self._lowest_ns is None or latency_ns < self._lowest_ns:
            self._lowest_ns = latency_ns
            return
        queued = math.ceil(estimate * (1 - self._lowest_ns / latency_ns))
        step = max(1, int(math.log10(estimate)))
        alpha = 3 * step if config.alpha is None else config.alpha
        beta = 6 * step if config.beta is None else config.beta
        if dropped:
            wanted = self._less(step)
        elif 2 * in_flight < estimate:
            return  # the limit is not what restricts, so nothing is known about a higher one
        elif queued <= step:
            wanted = estimate + beta
        elif queued < alpha:
            wanted = estimate + step
        elif queued > beta:
            wanted = self._less(step)
        else:
            return
        wanted = max(config.minimum, min(config.maximum, wanted))
        self._estimate = (1 - config.smoothing) * estimate + config.smoothing * wanted

    def _less(self, step: int) -> float:
        decrease = self._config.decrease
        return self._estimate - step if decrease is None else self._estimate * decrease


def make_concurrency_limit(config: ConcurrencyLimitConfig, random: Random) -> ConcurrencyLimit:
    """Return the limit that `config` asks for; only the one after Vegas draws from `random`."""
    return VegasLimit(config, random) if isinstance(config, VegasConfig) else GradientLimit(config)
