"""Progress of something long: how a run stands, and how many of many runs have finished."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

from actors.instants import NS_PER_S, ns
from actors.messages import BreakerState, NotificationChannel
from simulation.results.counters import BreakerNow
from simulation.results.ledger import WHOLE, Group
from simulation.results.recorder import group_of
from simulation.results.tallies import Figures
from simulation.scenario.metrics import COUNTS

if TYPE_CHECKING:
    from simulation.results.recorder import Recorder

P = ParamSpec("P")
T = TypeVar("T")

_ONLY_GROW = COUNTS.keys() - {"in_flight"}
"""Counts that never fall during a run; dead letters as far as none is redriven."""


class RunSnapshot:
    """How a run stands at an instant of it.

    It reads the counts of the run and copies nothing, so it is good only during the call; read later, it shows the
    counts of then. In place of a channel, None stands for all of them together.
    """

    __slots__ = ("_begins", "_recorder", "at_ns")

    def __init__(self, recorder: Recorder, begins: Mapping[str, BreakerState], at_ns: int) -> None:
        """Look at a recorder whose metrics go up to an event at `at_ns`; `begins` are the breakers by name, with the
        states in which they began."""
        self._recorder = recorder
        self._begins = begins
        self.at_ns = at_ns
        """The instant, in nanoseconds since the start of the run."""

    @property
    def seconds(self) -> float:
        """The seconds of the run that have passed."""
        return self.at_ns / NS_PER_S

    @property
    def refused_arrivals(self) -> int:
        """How many arrivals found the process down, or no room."""
        return self._recorder.ledger.figures().refused

    def counts_of(self, channel: NotificationChannel | None = None) -> dict[str, int]:
        """Return the counts of a summary, such as `accepted`, `sent`, `dead_lettered`, `in_flight` and `attempts`."""
        return self._metrics(channel).counts()

    def amplification_of(self, channel: NotificationChannel | None = None) -> float | None:
        """Return the attempts for each first one; None without any."""
        return self._metrics(channel).retry_amplification

    def delivery_time_of(self, channel: NotificationChannel | None, share: float) -> float | None:
        """Return the time in which `share` of the deliveries so far took place, within 0.4%; None without any."""
        return self._metrics(channel).delivery_time_so_far(share)

    def dlq_of(self, channel: NotificationChannel | None = None) -> tuple[int, int]:
        """Return how many are in the dead letter queue, and how many at most were so far."""
        metrics = self._metrics(channel)
        return metrics.dlq_size, metrics.dlq_peak

    def providers_of(self, channel: NotificationChannel) -> dict[str, dict[str, int]]:
        """Return `attempts` and `sent` of each provider of a channel that has several; else nothing."""
        return self._recorder.provider_metrics.summary(channel)

    def breaker(self, name: str) -> Mapping[str | None, BreakerNow]:
        """Return the state of a breaker such as ``email``, or ``email/backup`` for a further provider, and since when
        it is in it; of each host's own, where there has been any, by host."""
        return self._recorder.breaker_metrics[name].now or {None: BreakerNow(self._begins[name], 0)}

    def summary_of(self, channel: NotificationChannel | None = None) -> dict[str, Any]:
        """Return all metrics as a result's summary has them; the exact quantiles take longer the longer the run."""
        return self._metrics(channel).summary(self.at_ns, self._recorder.ledger.within_s)

    def least_of(self, keys: Sequence[str]) -> float | None:
        """Return the least that the metric under these keys of the summary can be at the end of the run, where no dead
        letter is redriven; None: that is not known."""
        recorder = self._recorder
        group: Group = WHOLE
        if keys[0] in ("workload", "classes", "channels"):
            group, keys = (keys[0], keys[1]), keys[2:]
        match keys:
            case ["dlq", "peak"]:
                return recorder.ledger.figures(group).dlq_peak
            case [name] if name in _ONLY_GROW:
                return recorder.ledger.figures(group).counts()[name]
            case ["peaks", name] if group is WHOLE or group[0] == "channels":
                channel = None if group is WHOLE else NotificationChannel(group[1])
                least: float | None = recorder.peaks.summary(channel).get(name)
                return least
            case ["breaker", *name, ("opened" | "open_s") as metric]:
                breaker = recorder.breaker_metrics[name[0] if name else group[1]].summary(self.at_ns)
                return float(breaker[metric])
            case ["faults", number, _]:
                return recorder.backlogs.least_s(int(number), self.at_ns)
        return None

    def late_of(self, channel: NotificationChannel | None, seconds: float) -> int:
        """Return how many were delivered later than `seconds` or are dead letters; infinite: dead letters alone."""
        metrics = self._metrics(channel)
        late = metrics.later_than(ns(seconds)) if seconds < math.inf else 0
        return late + metrics.counts()["dead_lettered"]

    def _metrics(self, channel: NotificationChannel | None) -> Figures:
        return self._recorder.ledger.figures(group_of(channel))


class Listener(Generic[P, T]):
    """Calls a caller's function while a run goes on.

    It is called while some actor is at work, to which an error of the function would be attributed. So the error is
    kept, the run is ended, and the function is not called again.
    """

    def __init__(self, function: Callable[P, T], stop: Callable[[], None]) -> None:
        """Listen; `stop` ends the run at this instant."""
        self._function = function
        self._stop = stop
        self._error: Exception | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return the function's result; None when it raises or has raised."""
        if self._error is None:
            try:
                return self._function(*args, **kwargs)
            except Exception as error:
                self._error = error
                self._stop()
        return None

    def check(self) -> None:
        if self._error is not None:
            raise self._error


class Interrupted(KeyboardInterrupt, Generic[T]):
    def __init__(self, so_far: T) -> None:
        super().__init__("interrupted")
        self.so_far = so_far
        """The result so far."""


class FinishedCell(NamedTuple):
    """Settings all of whose runs have finished, or a trial, and their results."""

    label: str
    """The values that differ from other settings, such as ``max_attempts=5, jitter=full``."""

    figures: Mapping[str, float | None]
    """Metrics by path, such as ``{"sent_fraction": 0.998}``; None where there is nothing to measure, infinite where it
    is never."""

    never: Mapping[str, int] = {}
    """The number of runs in which a metric is never, for the metrics that are in any."""

    settings: Mapping[str, Any] = {}
    """The values that a trial sets, by path; none where they are the file's own. A sweep leaves it out."""


class RunsProgress(Protocol):
    """A callback for the progress of many runs.

    The first call is before any run begins, with the number that had finished already: 0, or the runs that a resumed
    sweep finds done. The remaining time is estimated from runs that have finished since. Then there is a call for each
    run that ends, or for each few; after the last run of a cell, with the results of the cell.
    """

    def __call__(self, finished: int, of: int, cell: FinishedCell | None = None, /) -> None:
        """Say how many have finished and of how many, and which cell that completes, if any."""
