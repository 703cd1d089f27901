"""Statistics of durations: exact when all are kept, within a known error when only their counts are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from actors.instants import NS_PER_S
from simulation.scenario.metrics import QUANTILES

SORTED_WITHOUT_NUMPY = 50_000
"""So many numbers Python sorts in less time than the import of NumPy takes, a tenth of a second."""


def in_order(numbers: array[int]) -> array[int]:
    """Return whole numbers of 64 bits in order."""
    if len(numbers) <= SORTED_WITHOUT_NUMPY:
        return array("q", sorted(numbers))
    import numpy as np

    return array("q", np.sort(np.frombuffer(numbers, dtype=np.int64)).tobytes())


class Durations(ABC):
    """Durations in whole nanoseconds, and what can be said of all of them."""

    @abstractmethod
    def extend(self, durations_ns: list[int]) -> None:
        """Add several."""

    @abstractmethod
    def sketch(self) -> Histogram:
        """Return a sketch of them, not to be changed: cheap to ask for again and again while they come."""

    @abstractmethod
    def _quantiles_ns(self, shares: Iterable[float], of: int) -> list[float | None]:
        """Return for each share the value that so many do not exceed of so many, those beyond these being longer than
        any; None where it is one of those."""

    @abstractmethod
    def at_most(self, limit_ns: int) -> int:
        """Return how many are at most this long."""

    @abstractmethod
    def plus(self, others: Iterable[Durations]) -> Durations:
        """Return these and those of others of the same kind."""

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count_total_max_ns[0]

    def quantiles_of(self, offered: int) -> dict[str, float | None]:
        """Return quantiles in seconds of so many, of which these have ended and the others never do.

        Where either neighbour of a quantile is one of those that never end, it is None; so it is without any.
        """
        if not offered:
            return dict.fromkeys(QUANTILES)
        values_ns = self._quantiles_ns(QUANTILES.values(), offered)
        return {
            name: None if value_ns is None else value_ns / NS_PER_S
            for name, value_ns in zip(QUANTILES, values_ns, strict=True)
        }

    def mean_and_max(self) -> dict[str, float | None]:
        """Return their mean and the longest in seconds; both are None without any."""
        count, total_ns, max_ns = self._count_total_max_ns
        if not count:
            return {"mean": None, "max": None}
        return {"mean": total_ns / count / NS_PER_S, "max": max_ns / NS_PER_S}

    @property
    @abstractmethod
    def _count_total_max_ns(self) -> tuple[int, int, int]: ...

    def statistics(self) -> dict[str, float | None]:
        """Return mean, quantiles and maximum in seconds; each is None without any."""
        ends = self.mean_and_max()
        return {"mean": ends["mean"], **self.quantiles_of(self.count), "max": ends["max"]}


class Samples(Durations):
    """Keeps every one, 8 bytes each. Quantiles are interpolated linearly, as numpy's default is."""

    def __init__(self, samples: Iterable[int] = ()) -> None:
        self._samples = array("q", samples)
        self._sorted: Sequence[int] | None = None
        self._sketch: Histogram | None = None
        self._sketched = 0
        """How many of the samples are in it."""

    def extend(self, durations_ns: list[int]) -> None:
        self._samples.extend(durations_ns)
        self._sorted = None

    def sketch(self) -> Histogram:
        if self._sketch is None:
            self._sketch = Histogram()
        self._sketch.extend(self._samples[self._sketched :])
        self._sketched = len(self._samples)
        return self._sketch

    @property
    def _count_total_max_ns(self) -> tuple[int, int, int]:
        if not self._samples:
            return 0, 0, 0
        return len(self._samples), sum(self._samples), max(self._samples)

    def _quantiles_ns(self, shares: Iterable[float], of: int) -> list[float | None]:
        ordered = self._ordered()
        return [_interpolated(ordered, share, of) for share in shares]

    def at_most(self, limit_ns: int) -> int:
        return bisect_right(self._ordered(), limit_ns)

    def plus(self, others: Iterable[Durations]) -> Samples:
        together = Samples(self._samples)
        for other in others:
            assert isinstance(other, Samples)
            together._samples.extend(other._samples)
        return together

    def _ordered(self) -> Sequence[int]:
        if self._sorted is None:
            self._sorted = in_order(self._samples)
        return self._sorted


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
"""Each power of two is divided into so many bits' worth of equal steps: a relative error of at most 2^-8 = 0.4%."""


class Histogram(Durations):
    """Keeps counts in log-linear buckets (as HdrHistogram by Tene): bounded memory for any number of durations.

    Mean, maximum and how many are within the given limits are exact. A quantile is interpolated as that of `Samples`
    is, but between the middles of the buckets, so it is at most 0.4% off.
    """

    def __init__(self, limits_ns: Iterable[int] = ()) -> None:
        """Begin with none.

        Args:
            limits_ns: those that :meth:`at_most` may be asked for.
        """
        import numpy as np

        self._at_most = dict.fromkeys(limits_ns, 0)
        self._counts = np.zeros((64 - BITS) << BITS, dtype=np.int64)
        self._total_ns = 0
        self._max_ns = 0
        self._count = 0

    def extend(self, durations_ns: Sequence[int]) -> None:
        if not durations_ns:
            return
        import numpy as np

        values = np.array(durations_ns, dtype=np.int64)
        # Below 2^BITS a value is its own bucket; above, the exponent and the BITS bits behind the leading one are.
        _, exponents = np.frexp(np.maximum(values, 1).astype(np.float64))
        shifts = np.maximum(exponents - 1 - BITS, 0)
        buckets = (shifts << BITS) + (values >> shifts)
        np.add.at(self._counts, buckets, 1)
        for limit_ns in self._at_most:
            self._at_most[limit_ns] += int((values <= limit_ns).sum())
        self._total_ns += sum(durations_ns)
        self._max_ns = max(self._max_ns, max(durations_ns))
        self._count += len(durations_ns)

    def sketch(self) -> Histogram:
        return self

    def quantile(self, share: float) -> float | None:
        """Return about the value in seconds that `share` of them do not exceed; None without any. At most 0.4% off."""
        (value_ns,) = self._quantiles_ns([share], self._count) if self._count else (None,)
        return None if value_ns is None else value_ns / NS_PER_S

    def at_most(self, limit_ns: int) -> int:
        return self._at_most[limit_ns]

    def plus(self, others: Iterable[Durations]) -> Histogram:
        together = Histogram(self._at_most)
        for part in (self, *others):
            assert isinstance(part, Histogram)
            together._counts += part._counts
            together._total_ns += part._total_ns
            together._max_ns = max(together._max_ns, part._max_ns)
            together._count += part._count
            for limit_ns, count in part._at_most.items():
                together._at_most[limit_ns] += count
        return together

    @property
    def _count_total_max_ns(self) -> tuple[int, int, int]:
        return self._count, self._total_ns, self._max_ns

    def _quantiles_ns(self, shares: Iterable[float], of: int) -> list[float | None]:
        counts_up_to = self._counts.cumsum()
        found: list[float | None] = []
        for share in shares:
            beyond, before = math.modf(share * (of - 1))
            ranks = [before + 1, min(before + 2, of) if beyond else before + 1]
            if ranks[1] > self._count:
                found.append(None)
                continue
            low, high = (self._middle_ns(int(bucket)) for bucket in counts_up_to.searchsorted(ranks))
            found.append(low + beyond * (high - low))
        return found

    def _middle_ns(self, bucket: int) -> float:
        shift = max((bucket >> BITS) - 1, 0)
        lowest = (bucket - (shift << BITS)) << shift
        return min(lowest + ((1 << shift) - 1) / 2, float(self._max_ns))


def durations(*, exact: bool, limits_ns: Iterable[int] = ()) -> Durations:
    """Return an empty collection of durations, that keeps every one or only counts.

    Args:
        exact: whether it keeps every one.
        limits_ns: those that :meth:`Durations.at_most` may be asked for.
    """
    return Samples() if exact else Histogram(limits_ns)


def student_t(probability: float, degrees: float) -> float:
    """Return the t that Student's t with so many degrees of freedom is at most with this probability.

    Raises:
        ValueError: an argument is out of its range: from 0 to 1, both left out, and more than 0.
    """
    from scipy.special import stdtrit

    if not 0 < probability < 1 or not degrees > 0:
        raise ValueError(f"wanted 0 < probability < 1 and degrees > 0, got {probability!r} and {degrees!r}")
    return float(stdtrit(degrees, probability))
