"""A provider that does what the record says happened about then.

An attempt at instant t ends as one of the recorded attempts that started within so many seconds of t, each equally
likely, with outcome and latency of the same one. Where the record is thinner than that it is one within twice the
distance of the nearest, and before its beginning or after its end one of those there. That is a kernel estimate of what
the provider was like at t. Always the nearest one would give all attempts at about one instant the same outcome; a wide
window would let an outage leak out at its ends.
"""

from __future__ import annotations

from random import Random

import numpy as np

from actors.domain.attempts import Attempt, Provider
from actors.faults.conditions import NEVER_NS
from actors.kernel.effects import Foreseen
from actors.outcomes import ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from simulation.fitting.log import AttemptLog, OutcomeKind

NEIGHBOURS = 10
"""About so many recorded attempts are drawn from, at the mean rate of the record."""

_OUTCOMES: dict[OutcomeKind, Outcome] = {
    OutcomeKind.SENT: Sent(),
    OutcomeKind.TRANSIENT: Transient(reason="recorded failure"),
    OutcomeKind.THROTTLED: Transient(reason="recorded throttling", throttled=True),
    OutcomeKind.PERMANENT: Permanent(reason="recorded permanent failure"),
    OutcomeKind.DEAD_DESTINATION: DeadDestination(reason="recorded dead destination"),
    OutcomeKind.CHANNEL_FAULT: ChannelFault(reason="recorded channel fault"),
}


def usual_width_s(log: AttemptLog) -> float:
    """Return half the time in which a record has ten attempts on average, in seconds."""
    return NEIGHBOURS / 2.0 * log.duration_s / max(len(log), 1)


class RecordedProvider(Provider):
    """Replays the attempts at one provider. It goes by the clock of its system from 0 on, and is good for one run."""

    outcomes_are_plain = True

    def __init__(self, log: AttemptLog, random: Random, within_s: float | None = None) -> None:
        """Make a provider of a record.

        Args:
            log: at least one attempt, with outcomes.
            random: its random stream.
            within_s: how far from the instant of an attempt those lie that it may end as; in seconds, at least 0. None:
                :func:`usual_width_s`.
        """
        usual = float(np.nanmedian(log.latency_s)) if np.isfinite(log.latency_s).any() else 0.0
        self._start_s = log.start_s
        self._latency_ns = np.round(np.where(np.isfinite(log.latency_s), log.latency_s, usual) * 1e9).astype(np.int64)
        self._kind = log.kind
        self._within_s = usual_width_s(log) if within_s is None else within_s
        self._draw = random.random

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        """Return the outcome of an attempt that starts now, and after how long it comes."""
        index = self._chosen(now_ns / 1e9)
        kind = OutcomeKind(self._kind[index])
        if kind == OutcomeKind.AMBIGUOUS:
            return Foreseen(NEVER_NS, _OUTCOMES[OutcomeKind.SENT])  # longer than the sender waited: it times out again
        return Foreseen(int(self._latency_ns[index]), _OUTCOMES[kind])

    def _chosen(self, now_s: float) -> int:
        start_s, within_s = self._start_s, self._within_s
        # Not at the very ends, where there would be few to draw from, the same ones again and again.
        now_s = min(max(now_s, start_s[0] + within_s), max(start_s[-1] - within_s, start_s[0]))
        after = int(np.searchsorted(start_s, now_s))
        nearest_s = min(abs(float(start_s[i]) - now_s) for i in (after - 1, after) if 0 <= i < len(start_s))
        reach_s = max(within_s, 2.0 * nearest_s)
        first = int(np.searchsorted(start_s, now_s - reach_s, side="left"))
        beyond = int(np.searchsorted(start_s, now_s + reach_s, side="right"))
        return first + int(self._draw() * (beyond - first))
