"""The expectations of a scenario under a stress: its `expect`; without one, 99% are sent and no backlog stays.

A run of a search ends as soon as one of its expectations is broken for good: a count or a peak has passed its bound
and cannot fall again, a backlog has been there for too long, or more notifications are late or dead than its
share of all that may come allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from actors.errors import RunCancelled
from actors.instants import NS_PER_S
from actors.messages import NotificationChannel
from actors.settings.quantities import parse_duration
from simulation.experiments.limits.stress import Stress
from simulation.results.progress import RunSnapshot
from simulation.running.executors import RunMetrics, Task, figure_at, summary_of
from simulation.scenario import Expectation, Scenario
from simulation.scenario.expected_arrivals import expected_in_window
from simulation.scenario.metrics import QUANTILES, WITHIN, Window, path_of
from simulation.scenario.workload import ClosedWorkload

Held = tuple[bool | None, ...]
"""For each expectation, whether it held in a run; None: the run ended before that was known."""

SENT = Expectation.parse("sent_fraction >= 99%")
PENDING = Expectation.parse("in_flight >= 0")
OFFERED = Expectation.parse("accepted >= 0")

MORE = 0.01
"""A backlog stays if it grows by more than this share of the notifications accepted meanwhile."""

CLEARED = f"no backlog stays: what is pending grows by at most {MORE:.0%} of what is accepted meanwhile"

BROKEN_EARLY = "broken_early"
"""The number of the expectation that has ended a run; None: the run has come to its own end."""


def texts_of(scenario: Scenario) -> tuple[str, ...]:
    return tuple(each.text for each in scenario.expect) or (SENT.text, CLEARED)


def under(stress: Stress, amount: float) -> Scenario:
    """Return the scenario with so much of a stress, and with the expectations for :func:`held_of`."""
    found = stress.put_on(amount)
    if found.expect:
        return found
    ends_s = found.arrivals_end_ns / NS_PER_S
    # After an outage the backlog is compared with the one before it; under a lasting stress, its halves are.
    before_s = stress.at if stress.kind.ends else (stress.at + ends_s) / 2
    windows = [Window(0.0, at_s) for at_s in (before_s or 1e-9, ends_s)]
    return found.model_copy(
        update={"expect": (SENT, *(each.during(window) for window in windows for each in (PENDING, OFFERED)))}
    )


@dataclass(frozen=True, slots=True)
class Trial(Task):
    """A run of a search."""

    judged: tuple[int, ...] = ()
    """The numbers of expectations: as soon as one is broken for good, the run ends."""


def figures_wanted(scenario: Scenario) -> list[str]:
    """Return the names of the figures that :func:`judged_run` returns."""
    return [*(path_of(each.path) for each in scenario.expect), BROKEN_EARLY]


def judged_run(trial: Trial) -> RunMetrics:
    """Do a run in this process, and return the metrics that its expectations name.

    Raises:
        InvariantBreach: it broke an invariant: a bug.
    """
    scenario = trial.scenario
    breaking = _Breaking(scenario, trial.judged)
    figures: dict[str, float | None] = dict.fromkeys(figures_wanted(scenario))
    with suppress(RunCancelled):
        summary = summary_of(trial, until=breaking.is_broken if trial.judged else None)
        figures.update({path: figure_at(summary, path) for path in figures if path != BROKEN_EARLY})
        return RunMetrics(figures, summary["digest"])
    figures[BROKEN_EARLY] = breaking.number
    return RunMetrics(figures, "")


def held_of(stress: Stress, scenario: Scenario, figures: Mapping[str, float | None]) -> Held:
    """Return for each expectation whether it held in a run of a scenario from :func:`under`."""
    if (broken := figures.get(BROKEN_EARLY)) is not None:
        return tuple(False if number == broken else None for number in range(len(texts_of(stress.scenario))))
    values = [figures.get(path_of(each.path)) for each in scenario.expect]
    if stress.scenario.expect:
        return tuple(each.holds_of(value) for each, value in zip(scenario.expect, values, strict=True))
    sent, *pending_and_accepted = values
    before, accepted_before, after, accepted = (value or 0.0 for value in pending_and_accepted)
    return SENT.holds_of(sent), after - before <= MORE * (accepted - accepted_before)


@dataclass
class _Breaking:
    scenario: Scenario
    judged: Sequence[int]
    number: int | None = None
    """The expectation that is broken for good."""

    _offered: dict[NotificationChannel | None, float] = field(default_factory=dict)

    def is_broken(self, run: RunSnapshot) -> bool:
        expect = self.scenario.expect
        broken = (number for number in self.judged if self._breaks(expect[number], run))
        self.number = next(broken, None)
        return self.number is not None

    def _breaks(self, each: Expectation, run: RunSnapshot) -> bool:
        if each.window is not None or self.scenario.operations:  # operations may redrive dead letters
            return False
        channel = NotificationChannel(each.path[1]) if each.path[0] == "channels" else None
        of = each.path[2:] if channel is not None else each.path
        match of:
            case ["sent_fraction"] if each.op in (">=", ">", "=="):
                return self._are_too_many(run, channel, math.inf, 1 - each.value)
            case [name, text] if name == WITHIN and each.op in (">=", ">", "=="):
                return self._are_too_many(run, channel, parse_duration(text) or math.inf, 1 - each.value)
            case ["delivery_time_s", name] if name in QUANTILES and each.op in ("<=", "<", "=="):
                return self._are_too_many(run, channel, each.value, 1 - QUANTILES[name])
        if each.op not in ("<=", "<", "=="):
            return False
        least = run.least_of(each.path)
        return least is not None and (least > each.value or (each.op == "<" and least == each.value))

    def _are_too_many(
        self, run: RunSnapshot, channel: NotificationChannel | None, seconds: float, share: float
    ) -> bool:
        """Tell whether more notifications are late or dead than a share of all that may come."""
        if channel not in self._offered:
            self._offered[channel] = sum(_at_most_offered(self.scenario, channel))
        too_many = share * self._offered[channel] + 2
        return too_many < math.inf and run.late_of(channel, seconds) > too_many


def _at_most_offered(scenario: Scenario, channel: NotificationChannel | None) -> Iterator[float]:
    """Yield how many requests each entry brings at most, but for a chance of one in a billion."""
    falls_back = any(scenario.channel_as_given(each).fallback for each in scenario.channels_used)
    for entry in scenario.workload:
        if isinstance(entry, ClosedWorkload) or entry.arrivals.burst or getattr(entry, "repeats", None) or falls_back:
            yield math.inf
        elif channel is None or channel in entry.channels:
            expected = expected_in_window(scenario, entry)
            yield (expected + 6 * math.sqrt(expected) + 10) * (len(entry.channels) if channel is None else 1)
