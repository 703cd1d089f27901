"""CUBIC: the law by which a rate comes back fast to where it was cut, stays there for a while, and then tries more."""

from __future__ import annotations

from actors.instants import seconds


class Cubic:
    """``scale · (t − k)³ + w_max`` a second, t seconds after the last cut, which was at `w_max`.

    After RFC 9438, on a rate instead of a window, as in the adaptive mode of the AWS SDKs: k is the time at which it is
    at `w_max` again, and `decrease` what a cut leaves of the rate.
    """

    __slots__ = ("_cut_at_ns", "_decrease", "_scale", "_w_max", "k")

    def __init__(self, decrease: float, scale: float, w_max: float = 0.0) -> None:
        self._decrease = decrease
        self._scale = scale
        self._cut_at_ns = 0
        self._remember(w_max)

    def grown(self, _rate: float, now_ns: int) -> float:
        """Return the rate a second after a success."""
        growth = seconds(now_ns - self._cut_at_ns) - self.k
        return self._scale * growth * growth * growth + self._w_max

    def cut(self, rate: float, now_ns: int) -> float:
        """Return the rate a second after throttling, when it was `rate`."""
        self._cut_at_ns = now_ns
        self._remember(rate)
        return rate * self._decrease

    def _remember(self, w_max: float) -> None:
        self._w_max = w_max
        self.k: float = (w_max * (1 - self._decrease) / self._scale) ** (1 / 3)
        """Seconds from the last cut to the rate at which it happened."""
