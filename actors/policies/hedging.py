"""Hedging: send once more before the answer is there, and take the first answer that comes."""

from __future__ import annotations

import math

from actors.instants import wait_ns
from actors.settings.adaptive import HedgingConfig

MOST_SENDS = 5
"""More are taken as this many, as in gRPC: what hedging gains is gained by the first few."""


class HedgingSchedule:
    """When to send the next copy of one attempt; holds no state, so one serves a whole channel.

    After "The Tail at Scale" by Jeffrey Dean and Luiz André Barroso, 2013, and the hedging policy of gRPC's proposal
    A6. Only for providers that take an idempotency key: each copy may be the one that is delivered. A hedge is load
    like a retry: ask the channel's retry budget before each.
    """

    __slots__ = ("_delay_ns", "_most")

    def __init__(self, config: HedgingConfig) -> None:
        self._delay_ns = wait_ns(config.delay)
        self._most = min(config.max_attempts, MOST_SENDS)

    def after_send(self, sent: int, now_ns: int) -> int | None:
        """Return when the next copy follows if no answer comes before, None if there is no next one.

        `sent` copies are out, the latest since `now_ns`.
        """
        return None if sent >= self._most else now_ns + self._delay_ns

    def after_failure(self, sent: int, now_ns: int, pushback: float | None = None) -> int | None:
        """Return when the next copy follows now that one of the `sent` copies failed, but not for good: at once.

        A `pushback` of the provider in seconds delays it; a negative one, or NaN, means no more copies.
        """
        if sent >= self._most:
            return None
        if pushback is None:
            return now_ns
        return now_ns + wait_ns(pushback) if 0 <= pushback < math.inf else None
