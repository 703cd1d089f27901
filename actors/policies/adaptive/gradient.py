"""A concurrency limit by the gradient of latency: its long average against what it is now."""

from __future__ import annotations

from actors.settings.adaptive import GradientConfig

_WARM_UP = 10
"""So many attempts are averaged plainly before the long average is an exponential one."""

_DRIFT = 2.0
"""A long average of more than so many times the latency is a memory of bad times, and is let go faster."""

_LET_GO = 0.9
_STEEPEST = 0.5


class GradientLimit:
    """How many attempts may be under way at once: as many as do not make latency rise.

    After the Gradient2 limit of Netflix' concurrency-limits. With g = tolerance · long average / latency, between one
    half and 1, the limit goes to ``g · limit + queue_size``, smoothed. An average instead of the lowest latency is for
    providers whose latency varies from request to request. Under load that never lets up the average follows the queue
    and the limit drifts upwards, by about ``2 · queue_size / long_window`` an attempt, so `maximum` should mean
    something.
    """

    __slots__ = ("_average_ns", "_config", "_count", "_estimate", "_factor")

    def __init__(self, config: GradientConfig) -> None:
        self._config = config
        self._estimate = float(config.initial)
        self._average_ns = 0.0
        self._count = 0
        self._factor = 2 / (config.long_window + 1)

    @property
    def limit(self) -> int:
        """Attempts that may be under way at once."""
        return int(self._estimate)

    def on_result(self, latency_ns: int, in_flight: int, *, dropped: bool = False) -> None:
        """Take note of an attempt that has ended.

        Args:
            latency_ns: how long it took, more than 0.
            in_flight: how many were under way when it started, itself included.
            dropped: it timed out, or was refused for overload; its latency says that already.
        """
        config, estimate = self._config, self._estimate
        self._remember(latency_ns)
        if 2 * in_flight < estimate:
            return  # it is not the limit that holds back, so nothing is known about a higher one
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
