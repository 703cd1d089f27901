"""A concurrency limit by the length of the provider's queue: TCP Vegas."""

from __future__ import annotations

import math
from random import Random

from actors.settings.adaptive import VegasConfig


class VegasLimit:
    """How many attempts may be under way at once, so that few of them queue at the provider.

    After Lawrence Brakmo and Larry Peterson, "TCP Vegas", 1995, as in Netflix' concurrency-limits: with the lowest
    latency ever seen taken for that without a queue, ``limit · (1 − lowest / latency)`` of the attempts under way are
    queueing. The lowest latency is measured anew now and then, at times drawn from `random`, because a provider may
    have become slower for good; measured under load it takes the queue for the provider, and the limit drifts upwards.
    Where load never lets up, set a large `probe_multiplier`.
    """

    __slots__ = ("_config", "_estimate", "_lowest_ns", "_probe_share", "_random", "_since_probe")

    def __init__(self, config: VegasConfig, random: Random) -> None:
        self._config = config
        self._random = random
        self._estimate = float(config.initial)
        self._lowest_ns: int | None = None
        self._since_probe = 0
        self._probe_share = random.uniform(0.5, 1)

    @property
    def limit(self) -> int:
        """Attempts that may be under way at once."""
        return int(self._estimate)

    def on_result(self, latency_ns: int, in_flight: int, *, dropped: bool = False) -> None:
        """Take note of an attempt that has ended.

        Args:
            latency_ns: how long it took, more than 0.
            in_flight: how many were under way when it started, itself included.
            dropped: it timed out, or was refused for overload.
        """
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
            return  # it is not the limit that holds back, so nothing is known about a higher one
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
