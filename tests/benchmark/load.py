"""What every side of the benchmark has to do: one channel, Poisson arrivals, a provider that fails."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from statistics import NormalDist

P99_OF_STANDARD_NORMAL = 2.3263478740408408


@dataclass(frozen=True, slots=True)
class Load:
    """One workload and the settings of its channel; times in seconds."""

    notifications: int
    rate: float = 100.0
    """Arrivals a second."""

    users: int = 1000
    user_limit: int = 100_000
    """Notifications a user may have in a minute: out of reach."""

    failure_rate: float = 0.3
    outages: tuple[tuple[float, float], ...] = ()
    """Windows in which every attempt fails: start, end."""

    max_attempts: int = 3
    first_delay: float = 1.0
    multiplier: float = 2.0
    max_delay: float = 60.0
    failure_threshold: int = 10**9
    open_for: float = 5.0
    resume_rate: float = 10.0
    """How many of those that waited for the breaker resume a second, when it has closed."""

    resume_doubling: float = 10.0
    """In how many seconds that pace doubles."""

    attempt_timeout: float = 10.0
    latency_median: float = 0.08
    latency_p99: float = 0.9
    seed: int = 7

    @property
    def latency_mu(self) -> float:
        """Mean of the logarithm of the latency."""
        return math.log(self.latency_median)

    @property
    def latency_sigma(self) -> float:
        """Standard deviation of the logarithm of the latency."""
        return (math.log(self.latency_p99) - self.latency_mu) / P99_OF_STANDARD_NORMAL


class Draws:
    """The random draws of a hand-written side, made just as the product draws it, so that no side has cheaper draws."""

    def __init__(self, load: Load) -> None:
        latencies, self.fate = Random(load.seed).random, Random(load.seed + 1).random
        """Uniform: below the failure rate the attempt fails."""
        gaps, users = Random(load.seed + 2).random, Random(load.seed + 3).random
        quantile, exp, log = NormalDist(load.latency_mu, load.latency_sigma).inv_cdf, math.exp, math.log
        mean_gap, count = 1.0 / load.rate, load.users
        self.latency: Callable[[], float] = lambda: exp(quantile(latencies() or 2.0**-54))
        """Of the next attempt, in seconds."""
        self.gap: Callable[[], float] = lambda: -log(1.0 - gaps()) * mean_gap
        """Until the next arrival, in seconds."""
        self.user: Callable[[], str] = lambda: f"user-{int(users() * count)}"
        """The recipient of the next one."""


def steady(notifications: int) -> Load:
    """30% of the attempts fail, and the breaker is out of reach."""
    return Load(notifications)


def tripping(notifications: int) -> Load:
    """10% of the attempts fail; three outages, each of 3% of the time, trip the breaker again and again."""
    whole = notifications / 100.0
    outages = tuple((whole * share, whole * (share + 0.03)) for share in (0.2, 0.5, 0.8))
    return Load(notifications, failure_rate=0.1, failure_threshold=5, outages=outages)


def enduring(notifications: int) -> Load:
    """As steady, with so many attempts that practically none ends as a dead letter, which would be kept for good."""
    return Load(notifications, max_attempts=12)


LOADS = {"steady": steady, "tripping": tripping, "enduring": enduring}
