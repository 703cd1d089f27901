"""How a run goes over time: counts for each bucket of it, folded from the history, or counted from its tables."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from actors.instants import NS_PER_S
from actors.messages import (
    BreakerState,
    BreakerTransitioned,
    DeadLetterDiscarded,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.optional_dependencies import needs
from simulation.results.backlogs import instant_of
from simulation.results.statistics import by_width

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

BUCKETS_WANTED = 300
_ROUND_S = (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)


def bucket_width_ns(duration_ns: int) -> int:
    """Return a round width that divides a run into at most some three hundred buckets, where one is wide enough."""
    for width_s in _ROUND_S:
        if width_s * BUCKETS_WANTED * NS_PER_S >= duration_ns:
            return int(width_s * NS_PER_S)
    return duration_ns // BUCKETS_WANTED + 1


class BucketCounts:
    """The count of each bucket.

    The counts are in arrays: single objects, scattered among the short-lived ones of a run, would keep its memory from
    being given back, a megabyte for each of them.
    """

    def __init__(self) -> None:
        self._buckets = array("q")
        """The buckets with a count; nearly in order of time, so that few stand there twice."""
        self._counts = array("q")

    def update(self, counts: Iterable[tuple[int, int]]) -> None:
        for bucket, count in counts:
            if self._buckets and self._buckets[-1] == bucket:
                self._counts[-1] += count
            else:
                self._buckets.append(bucket)
                self._counts.append(count)

    def by_bucket(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for bucket, count in zip(self._buckets, self._counts, strict=True):
            found[bucket] = found.get(bucket, 0) + count
        return found


class SeriesCounter:
    COUNTED: ClassVar[dict[str, type]] = {
        "arrivals": NotificationRequested,
        "sent": NotificationSent,
        "failed": NotificationFailed,
        "dead_lettered": NotificationMovedToDeadLetter,
        "suppressed": NotificationSuppressed,
        "redriven": NotificationRedriven,
        "discarded": DeadLetterDiscarded,
    }

    def __init__(self, width_ns: int, *, is_in_order: bool = False) -> None:
        """Begin with none; `is_in_order` says that the events of each type come in the order of their instants."""
        self._width_ns = width_ns
        self._is_in_order = is_in_order
        self._counts = {name: BucketCounts() for name in self.COUNTED}
        self.transitions: list[BreakerTransitioned] = []
        """Every transition of every breaker."""

    def fold(self, events: dict[type, list[Any]]) -> None:
        for name, kind in self.COUNTED.items():
            of_kind = events.get(kind, ())
            ordered = of_kind if self._is_in_order else sorted(of_kind, key=instant_of)
            self._counts[name].update(by_width(ordered, self._width_ns, instant_of))
        self.transitions.extend(events.get(BreakerTransitioned, []))

    def frame(self, breakers: Mapping[str, BreakerState], end_ns: int) -> pd.DataFrame:
        """Return a row for each bucket up to `end_ns`; `breakers` are by name, with the state in which each began.

        `time_s` is the start of the bucket in seconds; in flight, DLQ size and breaker states are at its end.
        """
        counts = {name: count.by_bucket() for name, count in self._counts.items()}
        last = max([end_ns // self._width_ns, *(max(count, default=0) for count in counts.values())])
        index = range(last + 1)
        frame = _series(
            [bucket * self._width_ns / NS_PER_S for bucket in index],
            {name: [count.get(bucket, 0) for bucket in index] for name, count in counts.items()},
        )
        for breaker, state in breakers.items():
            frame[f"breaker_{breaker}"] = self._states(breaker, state, len(index))
        return frame

    def _states(self, breaker: str, state: BreakerState, buckets: int) -> list[str]:
        states: list[str] = []
        shown = state
        by_host: dict[str | None, BreakerState] = {}
        for transition in self.transitions:
            if transition.breaker != breaker:
                continue
            states.extend([str(shown)] * (transition.at_ns // self._width_ns - len(states)))
            by_host[transition.host] = BreakerState(transition.to_state)
            shown = most_shut(by_host.values())
        return states + [str(shown)] * (buckets - len(states))


def series_of(
    notifications: pd.DataFrame, attempts: pd.DataFrame, dlq: pd.DataFrame, times_s: pd.Series[float], width_s: float
) -> pd.DataFrame:
    """Return the series of a part of a run, without breakers, counted from its rows of these tables in buckets of this
    width."""
    import numpy as np

    width_ns = int(nanoseconds(width_s))
    outcome, left = notifications["outcome"], dlq["left"]
    instants_s = {
        "arrivals": notifications["requested_at_s"],
        "sent": notifications.loc[outcome == "sent", "finished_at_s"],
        "failed": attempts.loc[attempts["outcome"] != "sent", "end_s"],
        "dead_lettered": dlq["time_s"],
        "suppressed": notifications.loc[outcome == "suppressed", "finished_at_s"],
        "redriven": dlq.loc[left == "redriven", "left_at_s"],
        "discarded": dlq.loc[left == "discarded", "left_at_s"],
    }
    buckets = {name: np.minimum(nanoseconds(each) // width_ns, len(times_s) - 1) for name, each in instants_s.items()}
    counts = {name: np.bincount(each, minlength=len(times_s)) for name, each in buckets.items()}
    return _series(times_s.to_numpy(float), counts)


def _series(times_s: Any, counts: Mapping[str, Any]) -> pd.DataFrame:
    with needs("lab"):
        import pandas as pd

    frame = pd.DataFrame({"time_s": times_s, **counts})
    ended = frame["sent"] + frame["dead_lettered"] + frame["suppressed"]
    frame["in_flight"] = (frame["arrivals"] + frame["redriven"] - ended).cumsum()
    frame["dlq_size"] = (frame["dead_lettered"] - frame["redriven"] - frame["discarded"]).cumsum()
    return frame.drop(columns=["redriven", "discarded"])


def nanoseconds(seconds: Any) -> npt.NDArray[np.int64]:
    """Return times of a table in whole nanoseconds, as they were recorded; exact up to 104 days."""
    import numpy as np

    return np.asarray(np.round(np.asarray(seconds, float) * NS_PER_S), np.int64)


_MOST_SHUT_FIRST = (BreakerState.FORCED_OPEN, BreakerState.OPEN, BreakerState.HALF_OPEN)


def most_shut(states: Collection[BreakerState]) -> BreakerState:
    """Return the state that lets the least through, of some breakers; breakers of single hosts are shown as one."""
    return next((state for state in _MOST_SHUT_FIRST if state in states), next(iter(states)))
