"""Statistics of durations: exact when all are kept, within a known error when only their counts are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Sequence

from actors.instants import NS_PER_S

QUANTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}

SORTED_WITHOUT_NUMPY = 50_000
"""So many durations Python sorts in less time than the import of NumPy takes, a tenth of a second."""


class Durations(ABC):
    """Durations in whole nanoseconds, and what can be said of all of them."""

    @abstractmethod
    def extend(self, durations_ns: list[int]) -> None:
        """Add several."""

    @abstractmethod
    def quantile_so_far(self, share: float) -> float | None:
        """Return about the value in seconds that `share` of them do not exceed; None without any.

        At most 0.4% off, and cheap to ask again and again while they come: it costs as much as what has come since.
        """

    @abstractmethod
    def _quantiles_ns(self, shares: Iterable[float]) -> list[float]:
        """Return for each share the value that so many of them do not exceed."""

    @property
    @abstractmethod
    def _count_total_max_ns(self) -> tuple[int, int, int]: ...

    def statistics(self) -> dict[str, float | None]:
        """Return mean, quantiles and maximum in seconds; each is None without any."""
        count, total_ns, max_ns = self._count_total_max_ns
        if not count:
            return dict.fromkeys(("mean", *QUANTILES, "max"))
        values_ns = self._quantiles_ns(QUANTILES.values())
        quantiles = {name: value_ns / NS_PER_S for name, value_ns in zip(QUANTILES, values_ns, strict=True)}
        return {"mean": total_ns / count / NS_PER_S, **quantiles, "max": max_ns / NS_PER_S}


class Samples(Durations):
    """Keeps every one, 8 bytes each. Quantiles are interpolated linearly, as numpy's default is."""

    def __init__(self, samples: Iterable[int] = ()) -> None:
        self._samples = array("q", samples)
        self._sketch: Histogram | None = None
        self._sketched = 0
        """How many of the samples are in it."""

    def extend(self, durations_ns: list[int]) -> None:
        self._samples.extend(durations_ns)

    def quantile_so_far(self, share: float) -> float | None:
        if self._sketch is None:
            self._sketch = Histogram()
        self._sketch.extend(self._samples[self._sketched :])
        self._sketched = len(self._samples)
        return self._sketch.quantile_so_far(share)

    @property
    def _count_total_max_ns(self) -> tuple[int, int, int]:
        if not self._samples:
            return 0, 0, 0
        return len(self._samples), sum(self._samples), max(self._samples)

    def _quantiles_ns(self, shares: Iterable[float]) -> list[float]:
        ordered = self._ordered()
        return [_interpolated(ordered, share) for share in shares]

    def _ordered(self) -> Sequence[int]:
        if len(self._samples) <= SORTED_WITHOUT_NUMPY:
            return sorted(self._samples)
        import numpy as np

        return array("q", np.sort(np.frombuffer(self._samples, dtype=np.int64)).tobytes())


def _interpolated(ordered: Sequence[int], share: float) -> float:
    """Return a quantile to the last bit as numpy does, which reckons from the nearer of the two values around it."""
    beyond, before = math.modf(share * (len(ordered) - 1))
    low, high = ordered[int(before)], ordered[min(int(before) + 1, len(ordered) - 1)]
    return low + (high - low) * beyond if beyond < 0.5 else high - (high - low) * (1 - beyond)


BITS = 7
"""Each power of two is divided into so many bits' worth of equal steps: a relative error of at most 2^-8 = 0.4%."""


class Histogram(Durations):
    """Keeps counts in log-linear buckets (as HdrHistogram by Tene): bounded memory for any number of durations.

    Mean and maximum are exact. A quantile is interpolated as that of `Samples` is, but between the middles of the
    buckets, so it is at most 0.4% off.
    """

    def __init__(self) -> None:
        import numpy as np

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
        self._total_ns += sum(durations_ns)
        self._max_ns = max(self._max_ns, max(durations_ns))
        self._count += len(durations_ns)

    def quantile_so_far(self, share: float) -> float | None:
        return self._quantiles_ns([share])[0] / NS_PER_S if self._count else None

    @property
    def _count_total_max_ns(self) -> tuple[int, int, int]:
        return self._count, self._total_ns, self._max_ns

    def _quantiles_ns(self, shares: Iterable[float]) -> list[float]:
        counts_up_to = self._counts.cumsum()
        found = []
        for share in shares:
            beyond, before = math.modf(share * (self._count - 1))
            ranks = [before + 1, min(before + 2, self._count)]
            low, high = (self._middle_ns(int(bucket)) for bucket in counts_up_to.searchsorted(ranks))
            found.append(low + beyond * (high - low))
        return found

    def _middle_ns(self, bucket: int) -> float:
        shift = max((bucket >> BITS) - 1, 0)
        lowest = (bucket - (shift << BITS)) << shift
        return min(lowest + ((1 << shift) - 1) / 2, float(self._max_ns))


def durations(*, exact: bool) -> Durations:
    """Return an empty collection of durations, that keeps every one or only counts."""
    return Samples() if exact else Histogram()


def student_t(probability: float, degrees: float) -> float:
    """Return the t that Student's t with so many degrees of freedom is at most with this probability.

    Raises:
        ValueError: an argument is out of its range: from 0 to 1, both left out, and more than 0.
    """
    from scipy.special import stdtrit

    if not 0 < probability < 1 or not degrees > 0:
        raise ValueError(f"wanted 0 < probability < 1 and degrees > 0, got {probability!r} and {degrees!r}")
    return float(stdtrit(degrees, probability))
