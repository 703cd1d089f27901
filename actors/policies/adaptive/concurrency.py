"""Adaptive concurrency limits: how large a bulkhead should be, told from latency."""

from __future__ import annotations

from random import Random
from typing import Protocol

from actors.policies.adaptive.gradient import GradientLimit
from actors.policies.adaptive.vegas import VegasLimit
from actors.settings.adaptive import ConcurrencyLimitConfig, VegasConfig


class ConcurrencyLimit(Protocol):
    """What they have in common."""

    @property
    def limit(self) -> int:
        """Attempts that may be under way at once."""

    def on_result(self, latency_ns: int, in_flight: int, *, dropped: bool = False) -> None:
        """Take note of an attempt that has ended."""


def make_concurrency_limit(config: ConcurrencyLimitConfig, random: Random) -> ConcurrencyLimit:
    """Return the limit that `config` asks for; only that of Vegas draws from `random`."""
    return VegasLimit(config, random) if isinstance(config, VegasConfig) else GradientLimit(config)
