"""Additive increase, multiplicative decrease: the law by which a rate finds what a provider takes."""

from __future__ import annotations

from actors.instants import NS_PER_S, seconds


class Aimd:
    """Grows by `increase` a second for each second of success, and is multiplied by `decrease` when throttled.

    After Dah-Ming Chiu and Raj Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance",
    1989: of the linear laws the one by which several senders come to equal shares. It grows by time and not by
    success, so a fast sender gains nothing over a slow one; more than a second without any success counts as one.
    """

    __slots__ = ("_decrease", "_increase", "_since_ns")

    def __init__(self, increase: float, decrease: float) -> None:
        self._increase = increase
        self._decrease = decrease
        self._since_ns = 0

    def grown(self, rate: float, now_ns: int) -> float:
        """Return the rate a second after a success, when it was `rate`."""
        passed_s = seconds(min(NS_PER_S, now_ns - self._since_ns))
        self._since_ns = now_ns
        return rate + self._increase * passed_s

    def cut(self, rate: float, now_ns: int) -> float:
        """Return the rate a second after throttling, when it was `rate`."""
        self._since_ns = now_ns
        return rate * self._decrease
