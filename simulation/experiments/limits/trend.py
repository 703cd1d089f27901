"""Whether a scenario comes back after a trigger, judged by its trend and not by the end of its run.

Before the trigger a run is *well* if nine tenths of the notifications that end are sent and the backlog hardly grows.
It *recovers* as soon as nearly as many notifications accepted in half a minute are sent in time as before the trigger;
the run ends there, as nothing later changes that. Otherwise it is followed for five minutes. Its load, which is the
backlog and the requests at the providers, dead ones in their queues included, may then fall by more than chance, and so
fast that it would be back within a day: it *recovers late*; else it *does not recover*. Where chance hides the trend of
few arrivals that go on, it is followed for twice as long, up to eight times: else a storm of few random arrivals would
seem to stay from 5% below its boundary on. Attempts from before the end of the trigger may be slower than later ones:
until the run ends, the trend is looked at only when at least two and a half minutes have passed after the last of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import pairwise
from typing import Any

from actors.errors import RunCancelled
from actors.instants import NS_PER_S, ns
from actors.messages import NotificationChannel, NotificationMovedToDeadLetter, NotificationRequested, NotificationSent
from simulation.results.backlogs import CHANGES
from simulation.running.executors import RunMetrics
from simulation.running.runner import run
from simulation.scenario import Scenario
from simulation.scenario.workload import ClosedWorkload

BUCKET_S = 5.0
STRETCH = 6
"""The number of good buckets in a row that make a recovery."""

SETTLES = 6
"""The first sixth of the time after a trigger is left out of the trend: retries that it has caused still come."""

LATE_S = 86_400.0

FOLLOWS_S = 300.0
"""Seconds for which a run goes on after the trigger, unless it recovers before."""

LONGER = 8
"""The most by which a run is prolonged, where chance hides the trend."""

FEW = 10_000
"""Among fewer arrivals chance may hide the trend."""


class Verdict(StrEnum):
    """The course of a run after its trigger."""

    OVERLOADED = "overloaded before"
    RECOVERS = "recovers"
    LATE = "recovers late"
    STUCK = "does not recover"


VERDICTS = tuple(Verdict)

FIGURES = frozenset({"verdict", "after_s"})
"""The figures that are kept of a run."""


@dataclass(frozen=True)
class Triggered:
    scenario: Scenario
    seed: int
    begins_s: float
    ends_s: float
    """When the trigger is over."""


def judge(task: Triggered) -> RunMetrics:
    """Do a run in this process, and return its verdict, and how long after the trigger it recovers.

    Raises:
        InvariantBreach: it broke an invariant: a bug.
    """
    if _goes_on(task.scenario):
        duration = task.ends_s + LONGER * FOLLOWS_S
        task = replace(task, scenario=task.scenario.model_copy(update={"duration": duration}))
    course = _Course(task)
    rules: Any = {channel: [partial(course.sample, channel)] for channel in task.scenario.channels_used}
    with suppress(RunCancelled):
        run(task.scenario, seed=task.seed, rules=rules, on_events=course.see, cancelled=course.is_decided)
    verdict, after_s = course.verdict()
    return RunMetrics({"verdict": float(VERDICTS.index(verdict)), "after_s": after_s}, "")


def _goes_on(scenario: Scenario) -> bool:
    """Tell whether a longer run has arrivals of the same rate to its end."""
    entries = [entry for entry in scenario.workload if not isinstance(entry, ClosedWorkload)]
    return all(entry.for_ is None and (entry.arrivals.constant or entry.arrivals.poisson) for entry in entries)


class _Course:
    """Follows a run, by buckets of its time."""

    def __init__(self, task: Triggered) -> None:
        self._width_ns = ns(BUCKET_S)
        self._begins = max(2, round(task.begins_s / BUCKET_S))
        """The bucket in which the trigger begins; all lower buckets are before it."""
        self._ends_s = task.ends_s
        self._ends = math.ceil(task.ends_s / BUCKET_S)
        self._last = math.ceil(task.scenario.arrivals_end_ns / self._width_ns)
        count = self._last + 2
        self._accepted, self._quick, self._sent, self._dead = ([0] * count for _ in range(4))
        self._pending = [0] * count
        self._load: list[list[int]] = [[0, 0] for _ in range(count)]
        self._asked: Counter[NotificationChannel] = Counter()
        """Attempts, by channel."""
        self._owed: dict[NotificationChannel, int] = {}
        """By channel, how many attempts came before the end of the trigger, while its providers still work on them."""
        self._settled = self._ends
        """The bucket in which the providers had done with the last of these."""
        self._before: list[int] = []
        """The delivery times, in nanoseconds, of the notifications sent before the trigger."""
        self._now = 0
        self._pending_now = 0
        self._quick_ns: int | None = None
        self._share_before = 0.0
        self._found: tuple[Verdict, float | None] | None = None
        self._looked = self._ends
        self._least = round(FOLLOWS_S / BUCKET_S)
        self._due = self._ends + self._least
        """The bucket after which the trend is looked at."""

    def sample(self, channel: NotificationChannel, _attempt: Any, now_ns: int, load: Any) -> None:
        """Note how much a provider is at, as a failure rule that decides nothing."""
        bucket = min(now_ns // self._width_ns, self._last)
        sampled = self._load[bucket]
        sampled[0] += load.under_way
        sampled[1] += 1
        self._asked[channel] += 1
        if bucket < self._ends:
            self._owed[channel] = self._asked[channel]
        elif channel in self._owed:
            self._settled = bucket
            if self._asked[channel] - load.under_way > self._owed[channel]:
                del self._owed[channel]

    def see(self, events: Sequence[Any]) -> None:
        for event in events:
            kind = type(event)
            change = CHANGES.get(kind, 0)
            if not change:
                continue
            bucket = min(event.at_ns // self._width_ns, self._last)
            while self._now < bucket:
                self._pending[self._now] = self._pending_now
                self._now += 1
                if self._now == self._begins:
                    self._look_before()
            self._pending_now += change
            if kind is NotificationRequested:
                self._accepted[bucket] += 1
            elif kind is NotificationSent:
                self._sent[bucket] += 1
                took_ns = event.at_ns - event.requested_at_ns
                if self._quick_ns is None:
                    self._before.append(took_ns)
                elif took_ns <= self._quick_ns:
                    self._quick[min(event.requested_at_ns // self._width_ns, self._last)] += 1
            elif kind is NotificationMovedToDeadLetter:
                self._dead[bucket] += 1

    def is_decided(self) -> bool:
        if self._found is None and self._quick_ns is not None:
            self._look_after()
            self._due = max(self._due, self._settled + self._least // 2)
            if self._found is None and self._due <= self._now < self._last:
                self._look_at_trend(self._due)
                self._due += self._due - self._ends
        return self._found is not None

    def _look_before(self) -> None:
        begins, half = self._begins, self._begins // 2
        ended = sum(self._sent[half:begins]) + sum(self._dead[half:begins])
        grows = self._pending[begins - 1] - self._pending[half - 1]
        took_ns = sorted(self._before)
        self._quick_ns = 2 * took_ns[int(0.99 * (len(took_ns) - 1))] + NS_PER_S if took_ns else NS_PER_S
        self._share_before = sum(self._sent[half:begins]) / ended if ended else 0.0
        accepted = sum(self._accepted[half:begins])
        if self._share_before < 0.9 or grows > 0.05 * accepted + 3 * math.sqrt(accepted):
            self._found = Verdict.OVERLOADED, None

    def _look_after(self) -> None:
        assert self._quick_ns is not None
        known = self._now - math.ceil(self._quick_ns / self._width_ns)
        while self._looked + STRETCH <= known and self._found is None:
            first, after = self._looked, self._looked + STRETCH
            accepted, quick = sum(self._accepted[first:after]), sum(self._quick[first:after])
            if accepted and quick >= (self._share_before - 0.05) * accepted:
                self._found = Verdict.RECOVERS, max(0.0, first * BUCKET_S - self._ends_s)
            self._looked += 1

    def verdict(self) -> tuple[Verdict, float | None]:
        """Return the verdict, and after how many seconds it recovers; if it is late, by its trend."""
        if self._quick_ns is None:  # it has ended before the trigger
            return Verdict.RECOVERS, 0.0
        while self._now < self._last:
            self._pending[self._now] = self._pending_now
            self._now += 1
        self._look_after()
        if self._found is not None:
            return self._found
        self._look_at_trend(self._last, is_over=True)
        assert self._found is not None
        return self._found

    def _look_at_trend(self, end: int, *, is_over: bool = False) -> None:
        """Judge by the buckets before the end, unless a longer run may show more."""
        levels = [self._level(bucket) for bucket in range(end)]
        before = sum(levels[self._begins // 2 : self._begins]) / (self._begins - self._begins // 2)
        settled = max(self._ends + (end - self._ends) // SETTLES, min(self._settled, end - self._least // 2))
        falls, error = _fall(levels[settled:end])
        if not is_over and abs(falls) < 2 * error and sum(self._accepted[settled:end]) < FEW:
            return
        self._found = Verdict.STUCK, None
        if falls > 2 * error:
            left_s = max(0.0, levels[-1] - before) / falls * BUCKET_S  # 0: too late to see half a minute of it
            after_s = end * BUCKET_S - self._ends_s + left_s
            if after_s <= LATE_S:
                self._found = Verdict.LATE, after_s

    def _level(self, bucket: int) -> float:
        total, samples = self._load[bucket]
        return self._pending[bucket] + (total / samples if samples else 0.0)


def _fall(levels: Sequence[float]) -> tuple[float, float]:
    """Return by how much levels fall from one to the next, and its standard error.

    The length of a queue is a random walk: its drift is the mean of its steps, here of stretches.
    """
    stretches = [sum(levels[first : first + STRETCH]) / STRETCH for first in range(0, len(levels), STRETCH)]
    steps = [after - before for before, after in pairwise(stretches[: len(levels) // STRETCH])]
    if len(steps) < 2:
        return 0.0, 0.0
    drift = math.fsum(steps) / len(steps)
    error = math.sqrt(math.fsum((step - drift) ** 2 for step in steps) / (len(steps) - 1) / len(steps))
    return -drift / STRETCH, error / STRETCH
