"""Resuming: what waited for a breaker, or is overdue when a handler starts, goes at a pace (section 19)."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from actors.settings.breaker import CircuitBreakerConfig
from simulation.verification.model.instants import NS_PER_S, ns
from simulation.verification.model.limits import Latest


class Arrivals:
    """How many new ones have come in each second of the run, by host and, under None, all together."""

    def __init__(self) -> None:
        self._came: dict[str | None, Latest] = defaultdict(lambda: Latest(NS_PER_S))

    def add(self, host: str | None, now_ns: int) -> None:
        self._came[host].add(now_ns)

    def per_second(self, host: str | None, now_ns: int) -> float:
        return self._came[host].total(now_ns) / 60


def ceiling_per_s(config: CircuitBreakerConfig, arriving_per_s: float) -> float:
    """Return `resume_rate_max`, "default the larger of ten times `resume_rate` and twice the rate at which new ones
    joined in the last minute"."""
    if config.resume_rate_max is not None:
        return config.resume_rate_max.per_second
    return max(10.0 * config.resume_rate.per_second, 2.0 * arriving_per_s)


@dataclass(frozen=True)
class Learned:
    """The lesson of a relapse: "half of the pace at that instant becomes the ceiling (at least 0.5/s), growing by 2% a
    minute" (23). All arrivals join the line: the ceiling is above the load by a quarter, if the pace was."""

    at_ns: int
    pace_per_s: float
    arriving_per_s: float

    @property
    def is_of_resuming(self) -> bool:
        """Whether more came than usual, so that the pace can be to blame."""
        return self.pace_per_s > self.arriving_per_s

    def ceiling_per_s(self, now_ns: int) -> float:
        """Return how many may go a second; after a week of growth it is as good as none."""
        enough_for_load = min(self.pace_per_s, 1.25 * self.arriving_per_s)
        minutes = min((now_ns - self.at_ns) / (60 * NS_PER_S), 10_000)
        return float(max(0.5, self.pace_per_s / 2, enough_for_load) * 1.02**minutes)


class Pace:
    """The pace at which waiting attempts resume: the first at once, then r a second, which doubles every d =
    `resume_doubling`.

    So r · d / ln 2 · (2^(t/d) - 1) have gone by t, which stands still while no attempt takes the next turn, and while
    the ceiling puts that off. The ceiling counts newcomers too, but puts no turn off to later than 1/r after the last
    one.
    """

    def __init__(self, config: CircuitBreakerConfig, now_ns: int, learned_per_s: float = math.inf) -> None:
        """Begin; what a relapse has taught bounds the first rate too."""
        self._rate = min(config.resume_rate.per_second, learned_per_s)
        self._ceiling = learned_per_s
        self._doubling = config.resume_doubling
        self._began_ns = now_ns
        self._gone = 0
        self._ceiling_from_ns = now_ns
        self._ceiling_until_ns = now_ns
        self.latest_ns: int | None = None
        self.next_ns = now_ns
        """When the next one may go."""

    @property
    def per_s(self) -> float:
        """How many go a second by now: the integral's slope after so many, under the ceiling."""
        return min(self._rate + self._gone * math.log(2.0) / self._doubling, self._ceiling)

    def go(self, now_ns: int, ceiling: float) -> None:
        """Count one that resumes now, under a ceiling of so many a second."""
        self.take_turn(now_ns)
        self.pass_by(now_ns, ceiling)

    def take_turn(self, now_ns: int) -> None:
        """Count one whose turn it is now, whether it goes or not: the ceiling counts it where it goes."""
        self._began_ns += max(0, now_ns - self.next_ns)
        self._gone += 1
        self.latest_ns = now_ns
        after_s = self._doubling * math.log2(1.0 + self._gone * math.log(2.0) / (self._rate * self._doubling))
        self.next_ns = max(now_ns + 1, self._began_ns + ns(after_s))
        self._ceiling_until_ns = now_ns + ns(1.0 / self._rate)

    def pass_by(self, now_ns: int, ceiling: float) -> None:
        """Count one that has not waited, and goes now; however many, they are paid off within a second."""
        self._ceiling = ceiling
        apart_ns = math.ceil(NS_PER_S / ceiling)
        most_ns = now_ns + max(apart_ns, NS_PER_S)
        self._ceiling_from_ns = min(max(self._ceiling_from_ns, now_ns) + apart_ns, most_ns)
        held_ns = max(0, min(self._ceiling_from_ns, self._ceiling_until_ns) - self.next_ns)
        self._began_ns += held_ns
        self.next_ns += held_ns
