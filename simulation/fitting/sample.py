"""Latencies as a likelihood needs them: seen ones, and censored ones that are longer than the sender waited.

An attempt that timed out is right-censored: its latency is only known to be longer. Where replies are lost too, the
rest of the sample is truncated at the timeout instead, and says nothing of how many are longer: that is the cure model
of Boag (1949) with its share left free.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from simulation.fitting.log import Floats

EXACT_MAX = 2000
"""The most values that are taken one by one; more of them go into bins."""
BINS = 2000


class Sample:
    def __init__(self, seen: Floats, censored: Floats | None = None) -> None:
        """Take a sample.

        Args:
            seen: The observed latencies, at least 0.
            censored: For each of the others, the wait that it exceeds.
        """
        self.seen = np.sort(seen)
        self.censored = np.sort(censored) if censored is not None else np.empty(0)
        self.limits, self.limit_counts = np.unique(self.censored, return_counts=True)

    @property
    def size(self) -> int:
        return len(self.seen) + len(self.censored)

    @property
    def positive(self) -> bool:
        return bool(len(self.seen)) and bool(self.seen[0] > 0)

    @property
    def limit(self) -> float:
        """Up to where everything is seen: the shortest of the waits that timed out; infinite if none did."""
        return float(self.limits[0]) if len(self.limits) else np.inf

    @property
    def last_limit(self) -> float:
        return float(self.limits[-1])

    @cached_property
    def logs(self) -> Floats:
        return np.log(self.seen)

    @cached_property
    def log_moments(self) -> tuple[float, float]:
        """Mean and mean square deviation of the logarithms."""
        return float(self.logs.mean()), float(self.logs.var())

    @cached_property
    def binned_logs(self) -> tuple[Floats, Floats]:
        """Values that stand for the logarithms, and how many each stands for; bins of which there are thousands are
        narrow beside any spread that could be fitted."""
        logs = self.logs
        if len(logs) <= EXACT_MAX:
            return logs, np.ones(len(logs))
        counts, edges = np.histogram(logs, bins=BINS)
        sums, _ = np.histogram(logs, bins=edges, weights=logs)
        full = counts > 0
        return sums[full] / counts[full], counts[full].astype(np.float64)

    def thinned(self, size: int, random: np.random.Generator) -> Sample:
        """Return at most `size` of them, drawn without replacement."""
        if self.size <= size:
            return self
        chosen = random.choice(self.size, size, replace=False)
        seen = chosen[chosen < len(self.seen)]
        return Sample(self.seen[seen], self.censored[chosen[chosen >= len(self.seen)] - len(self.seen)])
