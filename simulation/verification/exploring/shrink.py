"""Shrinking: from a case that breaks to a small one that breaks in the same way.

By delta debugging over what a case is made of: workload entries, notifications, faults, operations, deviations of the
schedule, settings; then by simpler numbers. Each candidate is run, and kept when the same invariant breaks. The
algorithm for each list is that of :func:`simulation.engine.schedules.minimal`.

What is left of that is tried once more with what the providers answered written down
(:attr:`actors.settings.channel.ProviderConfig.script`). Then nothing has to stay for the draws of what comes after it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError

from actors.errors import RunTooLarge
from actors.formatting import counted
from actors.instants import seconds
from actors.kernel.randomness import RandomStreams
from actors.settings.quantities import FROM_FILE, Rate, parse_duration, parse_rate, write_duration, write_rate
from simulation.engine.schedules import RandomWalk, Schedule, minimal
from simulation.scenario import ClosedWorkload, Scenario
from simulation.scenario.consistency import findings
from simulation.scenario.writing import as_data
from simulation.verification.exploring.scripting import Answers, answers_of, noting_providers, scripted
from simulation.verification.exploring.trial import FailingCase, Trial, attempt

if TYPE_CHECKING:
    from simulation.running.checking import Choice

RUNS = 800

_WALKS = 4
"""Where a schedule matters, other decisions come up as soon as anything is left out: so many walks are tried then."""

_SHARE_UNSCRIPTED = 0.6
"""The most of the runs that are for the case as it is; the rest is for the case with scripts."""

_SETTINGS_LEFT_OUT = ("commit_latency", "preferences", "quiet_hours", "templates", "start", "drain", "remember_ids")

Data: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Size:
    notifications: int
    """Arrivals given as instants, and clients."""

    faults: int
    operations: int
    deviations: int
    answers: int = 0
    """The answers that are written down."""

    @property
    def total(self) -> int:
        return self.notifications + self.faults + self.operations + self.deviations + self.answers

    def __str__(self) -> str:
        parts = {
            "notification": self.notifications,
            "fault": self.faults,
            "operation": self.operations,
            "deviation": self.deviations,
            "scripted answer": self.answers,
        }
        return ", ".join(counted(count, name) for name, count in parts.items() if count)


@dataclass(frozen=True, slots=True)
class Shrunk:
    scenario: Scenario
    failing_case: FailingCase
    before: Size
    after: Size
    runs: int


def shrink(scenario: Scenario, kind: str | None = None, *, invariants: Choice = "all", runs: int = RUNS) -> Shrunk:
    """Return a small case that breaks as this one does: nothing can be left out of it, unless `runs` did not suffice.

    Args:
        scenario: a case that breaks.
        kind: the invariant, or the class of the exception, as in
            :class:`simulation.verification.exploring.trial.FailingCase`. None: the one that it breaks by.
        invariants: those that are checked, as for :func:`simulation.run`.
        runs: how many candidates to run at most.

    Raises:
        DoesNotBreak: it does not break so.
    """
    return _Shrinking(scenario, kind, invariants, runs).carry_out()


class DoesNotBreak(ValueError):
    """A case that was to be shrunk does not break in the given way."""


class _Spent(Exception):
    """No more runs."""


class _Shrinking:
    def __init__(self, scenario: Scenario, kind: str | None, invariants: Choice, runs: int) -> None:
        self._invariants = invariants
        self._runs_max = runs
        self._runs = 0
        self._is_scripted = False
        self._tried: set[str] = set()
        self._notes_answers = True
        trial, schedule = self._first_run(scenario)
        if trial.failing_case is None or kind not in (None, trial.failing_case.kind):
            self._notes_answers = False  # some laws look at the providers of the scenario itself alone
            trial, schedule = self._first_run(scenario)
        if trial.failing_case is None or kind not in (None, trial.failing_case.kind):
            raise DoesNotBreak(
                f"shrink: wanted a case that breaks{'' if kind is None else f' {kind}'}, got one that does not"
            )
        self._best = scenario
        self._failing_case = trial.failing_case
        self._needs_schedule = schedule is not None
        data = as_data(scenario)
        left_out = ("description", "record", "expect")
        self._data = {key: value for key, value in data.items() if key not in left_out}
        if schedule is not None:
            self._data["schedule"] = {"deviations": _pairs(schedule)}
        self.before = _size(scenario, 0 if schedule is None else len(schedule.deviations))

    def carry_out(self) -> Shrunk:
        runs_max, self._runs_max = self._runs_max, math.ceil(self._runs_max * _SHARE_UNSCRIPTED)
        with suppress(_Spent):
            without = {key: value for key, value in self._data.items() if key != "schedule"}
            if self._needs_schedule and self._try(without):
                self._needs_schedule = False
            elif self._needs_schedule:
                self._try(dict(self._data))
            until_ns = self._failing_case.at_ns
            if until_ns is None or not self._try(self._one_by_one(until_ns)):
                self._try(self._one_by_one(None))
            while self._pass():
                pass
        plain = self._shrunk()
        self._runs_max = runs_max
        with suppress(_Spent):
            if self._write_scripts():
                while self._pass():
                    pass
        # Without scripts where these make it no smaller: they say less of why it breaks than a fault does.
        return replace(min(plain, self._shrunk(), key=lambda shrunk: shrunk.after.total), runs=self._runs)

    def _shrunk(self) -> Shrunk:
        return Shrunk(self._best, self._failing_case, self.before, _size(self._best, None), self._runs)

    # ── candidates ──────────────────────────────────────────────────────────────────────────────────────────────

    def _try(self, data: Data, *, walks: int = _WALKS) -> bool:
        """Run a candidate; if it breaks in the same way, it is the best so far.

        Where the schedule matters, so many random walks are tried with it too.
        """
        text = json.dumps(data, sort_keys=True)
        if text in self._tried:
            return False
        self._tried.add(text)
        scenario = self._read(data)
        if scenario is None:
            return False
        trial = self._run(scenario)
        if self._takes(trial, scenario, data):
            return True
        if not self._needs_schedule or "schedule" not in data:
            return False
        for seed in range(walks):
            walk = RandomWalk(Random(seed))
            trial = self._run(scenario, walk)
            if trial.failing_case is not None and trial.failing_case.kind == self._failing_case.kind:
                walked = {**data, "schedule": {"deviations": _pairs(walk)}}
                found = self._read(walked)
                return found is not None and self._takes(trial, found, walked)
        return False

    def _run(self, scenario: Scenario, schedule: Schedule | None = None) -> Trial:
        if self._runs >= self._runs_max:
            raise _Spent
        self._runs += 1
        trial, self._latest_answers = self._noted(scenario, schedule)
        return trial

    def _first_run(self, scenario: Scenario) -> tuple[Trial, Schedule | None]:
        schedule = None
        if scenario.schedule is not None:
            schedule = scenario.schedule.make(RandomStreams(scenario.seed).stream("schedule"))
        trial, self._answers = self._noted(scenario, schedule)
        return trial, schedule

    def _noted(self, scenario: Scenario, schedule: Schedule | None) -> tuple[Trial, Answers]:
        providers = noting_providers(scenario) if self._notes_answers else None
        try:
            trial = attempt(scenario, schedule, self._invariants, providers=providers)
        except RunTooLarge:
            trial = Trial(None, None)
        return trial, answers_of(providers or {})

    def _takes(self, trial: Trial, scenario: Scenario, data: Data) -> bool:
        if trial.failing_case is None or trial.failing_case.kind != self._failing_case.kind:
            return False
        self._best, self._failing_case, self._data = scenario, trial.failing_case, data
        self._answers = self._latest_answers
        return True

    def _with(self, path: Path, value: Any) -> bool:
        return self._try(_changed(self._data, path, value))

    # ── passes ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _one_by_one(self, until_ns: int | None) -> Data:
        """Return the data with open arrivals as instants; only those that are not after an instant."""
        workload = []
        for number, entry in enumerate(self._best.workload):
            written = dict(self._data["workload"][number])
            if not isinstance(entry, ClosedWorkload):
                times = _arrivals_ns(self._best, number)
                kept = [at_ns for at_ns in times if until_ns is None or at_ns <= until_ns]
                written = {key: value for key, value in written.items() if key not in ("at", "for")}
                written["arrivals"] = {"times": [write_duration(seconds(at_ns)) for at_ns in kept] or ["0s"]}
            workload.append(written)
        return {**self._data, "workload": workload}

    def _write_scripts(self) -> bool:
        """Write down the providers' answers, if the case still breaks with them; return whether it does."""
        self._is_scripted = self._notes_answers and any(
            self._try(scripted(self._data, self._answers, faults=faults)) for faults in (False, True)
        )
        return self._is_scripted

    def _pass(self) -> bool:
        before = json.dumps(self._data, sort_keys=True)
        for key in ("faults", "operations", "workload"):
            self._fewer((key,))
        self._fewer_deviations()
        self._fewer_notifications()
        for key in _SETTINGS_LEFT_OUT:
            if key in self._data:
                self._with((key,), None)
        self._fewer_settings(("channels",))
        for key in ("workload", "faults", "operations", "quiet_hours", "preferences"):
            self._fewer_settings((key,))
        self._simpler_numbers()
        return json.dumps(self._data, sort_keys=True) != before

    def _fewer(self, path: Path) -> None:
        items = _at(self._data, path)
        if items:
            minimal(list(items), lambda fewer: self._with(path, fewer or None))

    def _fewer_deviations(self) -> None:
        deviations = _at(self._data, ("schedule", "deviations"))
        if not deviations:
            return

        def still(fewer: list[Any]) -> bool:
            return self._try({**self._data, "schedule": {"deviations": fewer}}, walks=0)

        minimal(deviations, still)

    def _fewer_notifications(self) -> None:
        times = [
            (number, index, at)
            for number, entry in enumerate(self._data["workload"])
            for index, at in enumerate(entry.get("arrivals", {}).get("times", ()))
        ]
        data, answers = self._data, self._answers

        def still(fewer: list[tuple[int, int, str]]) -> bool:
            workload = []
            for number, entry in enumerate(data["workload"]):
                if "times" in entry.get("arrivals", {}):
                    left = [at for of, _, at in fewer if of == number]
                    if not left:
                        return False  # an entry goes as a whole, elsewhere
                    entry = {**entry, "arrivals": {"times": left}}
                workload.append(entry)
            candidate = {**data, "workload": workload}
            if self._is_scripted:  # what was answered to those that are left out goes with them
                gone = {each[:2] for each in times} - {each[:2] for each in fewer}
                with_faults = "faults" in data
                if self._try(scripted(candidate, answers, without=gone, faults=with_faults)):
                    return True
            return self._try(candidate)

        minimal(times, still)

    def _fewer_settings(self, path: Path) -> None:
        group = _at(self._data, path)
        if isinstance(group, list):
            if path[-1] != "times" and len(group) > 1:
                self._fewer(path)
            for number in range(len(_at(self._data, path) or ())):
                self._fewer_settings((*path, number))
        elif isinstance(group, dict):
            for key in list(group):
                may_be_needed = path == ("channels",) and bool(self._best.actors)  # which may send there
                if may_be_needed or not self._with((*path, key), None):
                    self._fewer_settings((*path, key))

    def _read(self, data: Data) -> Scenario | None:
        try:
            scenario = Scenario.model_validate(data, context=FROM_FILE)
        except ValidationError:
            return None
        return None if next(findings(data), None) is not None else scenario.with_code(self._best.may_import)

    def _simpler_numbers(self) -> None:
        for path, value in list(_scalars(self._data)):
            if path[0] == "schedule" or _at(self._data, path) != value:
                continue
            for simpler in _simpler(path, value):
                if self._with(path, simpler):
                    break


# ── plain data ──────────────────────────────────────────────────────────────────────────────────────────────────


def _at(data: Any, path: Path) -> Any:
    for key in path:
        if isinstance(data, dict):
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
        else:
            return None
    return data


def _changed(data: Data, path: Path, value: Any) -> Data:
    changed = deepcopy(data)
    parent = _at(changed, path[:-1])
    if value is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return changed


def _scalars(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _scalars(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _scalars(child, (*path, index))
    else:
        yield path, value


def _simpler(path: Path, value: Any) -> Iterator[Any]:
    if isinstance(value, bool) or value is None:
        return
    if path == ("seed",):
        yield from (number for number in (0, 1, 2) if number < value)
    elif isinstance(value, int):
        yield from (number for number in sorted({1, 2, value // 2}) if 0 < number < value)
    elif isinstance(value, float):
        if 0 < value < 1:
            yield from (1, 0.5)
        yield from _rounder(value)
    elif (length := parse_duration(value)) is not None:
        yield from (write_duration(number) for number in _rounder(length))
    elif (rate := parse_rate(value)) is not None:
        yield from (write_rate(Rate(count, rate.period)) for count in (1.0, 2.0, *_rounder(rate.count)) if count)


def _rounder(value: float) -> Iterator[float]:
    found = [0.0]
    for digits in (1, 2, 3):
        found.append(float(f"{value:.{digits}g}"))
        if value:
            step = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
            found.append(math.ceil(value / step) * step)
    yield from (number for number in dict.fromkeys(found) if _digits(number) < _digits(value))


def _digits(value: float) -> int:
    return len(repr(value).removesuffix(".0"))


def _arrivals_ns(scenario: Scenario, number: int) -> Iterator[int]:
    entry = scenario.workload[number]
    assert not isinstance(entry, ClosedWorkload)
    return scenario.arrival_times_ns(entry, RandomStreams(scenario.seed).stream(f"workload.{number}.arrivals"))


def _pairs(schedule: Schedule) -> list[list[int]]:
    return [[step, choice] for step, choice in schedule.deviations]


def _size(scenario: Scenario, deviations: int | None) -> Size:
    count = 0
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload):
            count += entry.clients
        else:
            count += sum(1 for _ in _arrivals_ns(scenario, number))
    if deviations is None:
        given = scenario.schedule and scenario.schedule.deviations
        deviations = len(given or ())
    answers = sum(
        len(lane.provider.script)
        for channel in scenario.channels_used
        for lane in scenario.channel_config(channel).by_provider().values()
    )
    return Size(count, len(scenario.faults), len(scenario.operations), deviations, answers)
