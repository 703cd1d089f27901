"""The waits before the retries of a policy, in numbers and in words."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from statistics import quantiles
from typing import Generic, NamedTuple, TypeVar

from actors.instants import NS_PER_S
from actors.policies.retry.backoff import Backoff
from actors.settings.quantities import LONGEST_S
from actors.settings.retry import PolynomialConfig, RetryConfig
from simulation.results.formatting import duration_text

DRAWS = 4000
"""The schedules that are drawn where a wait depends on earlier ones."""

Column = TypeVar("Column")
Other = TypeVar("Other")


class Envelope(NamedTuple, Generic[Column]):
    """The waits before the retries of a policy, in seconds, one entry a retry."""

    shortest: Column
    """No wait is shorter."""

    median: Column
    longest: Column
    """No wait is longer."""

    low: Column | None = None
    """One wait in twenty is shorter; None where all between the shortest and the longest are equally likely."""

    high: Column | None = None
    """One wait in twenty is longer."""

    def map(self, made: Callable[[Column], Other]) -> Envelope[Other]:
        """Return the same with each column made into something else, such as an array."""
        return Envelope(*(None if column is None else made(column) for column in self))  # type: ignore[arg-type]


class Fixed(Random):
    def __init__(self, share: float) -> None:
        super().__init__(0)
        self._share = share

    def random(self) -> float:
        return self._share


def envelope(config: RetryConfig, retries: int, seed: int = 0) -> Envelope[list[float]]:
    """Return the waits before the first `retries` retries of a policy."""
    if config.jitter in ("decorrelated", "soft"):
        return _drawn_envelope(config, retries, seed)
    # Else the wait rises with its one draw, whose median is a half.
    return Envelope(*(_independent_waits(Backoff(config, Fixed(share)), retries) for share in (0.0, 0.5, 1.0)))


def _independent_waits(policy: Backoff, retries: int) -> list[float]:
    return [policy.next_delay_ns(number, None) / NS_PER_S for number in range(1, retries + 1)]


def _drawn_envelope(config: RetryConfig, retries: int, seed: int) -> Envelope[list[float]]:
    policy = Backoff(config, Random(seed))
    columns: list[list[float]] = [[] for _ in range(retries)]
    for _ in range(DRAWS):
        memory_ns: int | None = None
        for number, column in enumerate(columns, 1):
            wait_ns, memory_ns = policy.next_wait(number, memory_ns)
            column.append(wait_ns / NS_PER_S)
    twentieths = [quantiles(column, n=20, method="inclusive") for column in columns]
    low, median, high = ([each[place] for each in twentieths] for place in (0, 9, 18))
    shortest, longest = (
        _soft_reach(config, retries) if config.jitter == "soft" else _decorrelated_reach(config, retries)
    )
    return Envelope(shortest, median, longest, low, high)


def _decorrelated_reach(config: RetryConfig, retries: int) -> tuple[list[float], list[float]]:
    """Return the shortest and longest waits: with every draw the lowest, and with every draw the highest."""
    ends = []
    for share in (0.0, 1.0):
        policy = Backoff(config, Fixed(share))
        wait_ns: int | None = None
        reached = []
        for number in range(1, retries + 1):
            wait_ns = policy.next_delay_ns(number, wait_ns)
            reached.append(wait_ns / NS_PER_S)
        ends.append(reached)
    return ends[0], ends[1]


def _soft_reach(config: RetryConfig, retries: int) -> tuple[list[float], list[float]]:
    """Return the shortest and longest waits: from the end of one attempt's range to the beginning of the next, and from
    the beginning of it to the end."""
    low, high = Backoff(config, Fixed(0.0)), Backoff(config, Fixed(1.0))
    shortest, longest = [], []
    lowest_reach_ns: int | None = None
    highest_reach_ns: int | None = None
    for number in range(1, retries + 1):
        shortest.append(low.next_wait(number, highest_reach_ns)[0] / NS_PER_S)
        longest.append(high.next_wait(number, lowest_reach_ns)[0] / NS_PER_S)
        lowest_reach_ns = low.next_wait(number, lowest_reach_ns)[1]
        highest_reach_ns = high.next_wait(number, highest_reach_ns)[1]
    return shortest, longest


def policy_text(config: RetryConfig) -> str:
    """Return a policy in a few words: ``exponential ×2 from 1 s to 60 s, full jitter``."""
    initial, longest = duration_text(config.initial_delay), f" to {duration_text(config.longest_delay)}"
    if config.longest_delay >= LONGEST_S:
        longest = " on"
    if config.schedule is not None:
        text = "schedule"
    elif config.jitter in ("decorrelated", "soft"):
        text = f"from {initial}{longest}"
    elif config.backoff == "constant":
        text = f"constant {initial}"
    else:
        grows = None if isinstance(config.backoff, str) else config.backoff.polynomial or config.backoff.exponential
        times = f" ×{config.backoff_multiplier:g}" if config.growth == "exponential" else ""
        if isinstance(grows, PolynomialConfig):
            times = f" of power {grows.power:g}"
        plus = f", plus {duration_text(grows.plus)}" if grows is not None and grows.plus else ""
        text = f"{config.growth}{times} from {initial}{longest}{plus}"
    if config.jitter == "none":
        return f"{text}, no jitter"
    side = "±" if config.jitter_side == "both" else "+"
    share = f" {side}{config.jitter_share * 100:g}%" if config.jitter == "proportional" else ""
    return f"{text}, {config.jitter.replace('_', ' ')}{share} jitter"
