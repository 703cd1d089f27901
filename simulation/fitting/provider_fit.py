"""What was found about one provider of a channel."""

from __future__ import annotations

from dataclasses import dataclass

from simulation.fitting.estimate import Estimate
from simulation.fitting.failing import Failing
from simulation.fitting.latency import Latency
from simulation.fitting.slowness import Brownout
from simulation.fitting.throttling import Throttling


@dataclass(frozen=True, eq=False)
class ProviderFit:
    channel: str
    provider: str | None
    """Its name, where the log has several."""

    attempts: int
    latency: Latency | None
    """None where the log has no answered attempt with a latency."""

    failing: Failing | None
    """None where the log has no outcomes."""

    brownouts: tuple[Brownout, ...]
    throttling: Throttling | None
    lost_reply_rate: Estimate | None
    """Share whose reply never comes, where more time out than the latency explains."""

    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """``email``, or ``email/backup``."""
        return self.channel if self.provider is None else f"{self.channel}/{self.provider}"
