"""Statistics of durations: exact in every recording, from every duration there is."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import accumulate
from struct import pack
from typing import TypeVar

from actors.instants import NS_PER_S
from simulation.scenario.metrics import QUANTILES

T = TypeVar("T")

SORTED_WITHOUT_NUMPY = 50_000
"""Python sorts this many numbers in less time than the import of NumPy takes, a tenth of a second."""


def in_order(numbers: array[int]) -> array[int]:
    if len(numbers) <= SORTED_WITHOUT_NUMPY or not find_spec("numpy"):
        return array("q", sorted(numbers))
    import numpy as np

    return array("q", np.sort(np.frombuffer(numbers, dtype=np.int64)).tobytes())


def by_width(ordered: Sequence[T], width_ns: int, instant_of: Callable[[T], int]) -> Iterator[tuple[int, int]]:
    """Yield the number of each bucket of time that holds any of these events, which are in order, and how many it
    holds."""
    first = 0
    while first < len(ordered):
        bucket = instant_of(ordered[first]) // width_ns
        after = bisect_left(ordered, (bucket + 1) * width_ns, first, key=instant_of)
        yield bucket, after - first
        first = after


class Durations:
    """Durations in whole nanoseconds; each is kept, in 8 bytes, so that no verdict on a quantile is an estimate.

    Quantiles are interpolated linearly, as numpy's default is.
    """

    def __init__(self, durations_ns: Iterable[int] = ()) -> None:
        self._durations_ns = array("q", durations_ns)
        self._sorted_ns: Sequence[int] | None = None
        self._histogram: Histogram | None = None

    def extend(self, durations_ns: list[int]) -> None:
        # An array takes numbers five times as fast when they are packed.
        self._durations_ns.frombytes(pack(f"{len(durations_ns)}q", *durations_ns))
        self._sorted_ns = None

    def histogram(self) -> Histogram:
        """Return their histogram, not to be changed: cheap to ask for again and again while more durations come."""
        if self._histogram is None:
            self._histogram = Histogram()
        self._histogram.extend(self._durations_ns[self._histogram.count :])
        return self._histogram

    @property
    def count(self) -> int:
        return len(self._durations_ns)

    def at_most(self, limit_ns: int) -> int:
        return bisect_right(self._in_order(), limit_ns)

    def plus(self, others: Iterable[Durations]) -> Durations:
        together = Durations(self._durations_ns)
        for other in others:
            together._durations_ns.extend(other._durations_ns)
        return together

    def quantiles_of(self, offered: int) -> dict[str, float | None]:
        """Return the quantiles in seconds of `offered` requests: these durations, and the others never end.

        A quantile next to a request that never ends is None; so is each quantile of no requests.
        """
        if not offered:
            return dict.fromkeys(QUANTILES)
        values_ns = [_interpolated(self._in_order(), share, offered) for share in QUANTILES.values()]
        return {
            name: None if value_ns is None else value_ns / NS_PER_S
            for name, value_ns in zip(QUANTILES, values_ns, strict=True)
        }

    def mean_and_max(self) -> dict[str, float | None]:
        """Return their mean and the longest in seconds; both are None without any."""
        if not self.count:
            return {"mean": None, "max": None}
        return {
            "mean": sum(self._durations_ns) / self.count / NS_PER_S,
            "max": max(self._durations_ns) / NS_PER_S,
        }

    def statistics(self) -> dict[str, float | None]:
        """Return mean, quantiles and maximum in seconds; each is None without any."""
        ends = self.mean_and_max()
        return {"mean": ends["mean"], **self.quantiles_of(self.count), "max": ends["max"]}

    def _in_order(self) -> Sequence[int]:
        if self._sorted_ns is None:
            self._sorted_ns = in_order(self._durations_ns)
        return self._sorted_ns


def _interpolated(ordered: Sequence[int], share: float, of: int) -> float | None:
    """Return a quantile to the last bit as numpy does, which reckons from the nearer of the two values around it."""
    beyond, before = math.modf(share * (of - 1))
    first = int(before)
    last = min(first + 1, of - 1) if beyond else first
    if last >= len(ordered):
        return None
    low, high = ordered[first], ordered[last]
    return low + (high - low) * beyond if beyond < 0.5 else high - (high - low) * (1 - beyond)


BITS = 7
"""Each power of two is divided into 2^BITS equal steps: a relative error of at most 2^-8 = 0.4%."""


class Histogram:
    """Counts of durations in log-linear buckets (as HdrHistogram by Tene), for a look at a run that goes on: a quantile
    costs the same however many durations there are, and is at most 0.4% off."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0

    def extend(self, durations_ns: Sequence[int]) -> None:
        self._counts.update(map(_bucket, durations_ns))
        self.count += len(durations_ns)

    def plus(self, others: Iterable[Histogram]) -> Histogram:
        together = Histogram()
        for part in (self, *others):
            together._counts.update(part._counts)
            together.count += part.count
        return together

    def quantile(self, share: float) -> float | None:
        """Return the quantile of a share, in seconds, interpolated as in `Durations`; None without any."""
        if not self.count:
            return None
        beyond, before = math.modf(share * (self.count - 1))
        ranks = [before + 1, min(before + 2, self.count) if beyond else before + 1]
        buckets = sorted(self._counts)
        counted = list(accumulate(self._counts[bucket] for bucket in buckets))
        low, high = (_middle_ns(buckets[bisect_left(counted, rank)]) for rank in ranks)
        return (low + beyond * (high - low)) / NS_PER_S


def _bucket(duration_ns: int) -> int:
    # Below 2^BITS a value is its own bucket; above, the exponent and the BITS bits behind the leading one are.
    shift = max(duration_ns.bit_length() - 1 - BITS, 0)
    return (shift << BITS) + (duration_ns >> shift)


def _middle_ns(bucket: int) -> float:
    shift = max((bucket >> BITS) - 1, 0)
    lowest = (bucket - (shift << BITS)) << shift
    return lowest + ((1 << shift) - 1) / 2


def student_t(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t with so many degrees of freedom at this probability.

    Raises:
        ValueError: an argument is out of its range: from 0 to 1, both left out, and more than 0.
    """
    from scipy.special import stdtrit

    if not 0 < probability < 1 or not degrees > 0:
        raise ValueError(f"wanted 0 < probability < 1 and degrees > 0, got {probability!r} and {degrees!r}")
    return float(stdtrit(degrees, probability))
