"""A map over two stresses: where a scenario comes back after a trigger, where the boundary is, and which change moves
it.

One axis may be the load; any other describes the trigger, which begins at `at`, ends, and is followed by five
minutes or more: an outage; a window of latency, failures, lost capacity or lost nodes; or the scenario's own faults
that end, `trigger` being their length. Own faults that end are left out where the trigger is another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

from actors.errors import ConfigurationError
from actors.settings.quantities import parse_duration, parse_share
from simulation.experiments.limits.limits import KnownBy, SideBySide
from simulation.experiments.limits.map_result import BOUNDARY_SEEDS, REMEDY_SEEDS, Cell, LimitsMap, Remedy
from simulation.experiments.limits.search import Bisection, Probe
from simulation.experiments.limits.stress import KINDS, Kind, Scale, Stress, channels_with_traffic
from simulation.experiments.limits.trend import FIGURES, FOLLOWS_S, VERDICTS, Triggered, Verdict, judge
from simulation.experiments.sweeping.journal import Journal
from simulation.results.files import check_folder
from simulation.results.progress import Interrupted
from simulation.running.executors import Executor, RunMetrics, executor, scenario_hash
from simulation.scenario import Scenario
from simulation.scenario.arguments import check_counts, seeds_of
from simulation.scenario.limits import ALL
from simulation.scenario.loading import given
from simulation.scenario.writing import file_of, in_one_line, write

DOCUMENT = "map.json"

CELLS = 10
"""The default number of amounts on each axis."""

PRECISION = 0.04
"""A boundary is found to within this share of it."""

LASTS_S = 60.0
"""The default length, in seconds, of a trigger whose length is on no axis."""

LEAD_S = 60.0
"""The most seconds before the trigger, unless `at` or the scenario's own faults say otherwise."""

TRIGGER = "trigger"
LOAD = "load"


@dataclass(frozen=True)
class Axis(Scale):
    kind: str
    amounts: tuple[float, ...]
    is_whole: bool = False

    precision = PRECISION

    @property
    def least(self) -> float:
        return self.amounts[0]

    @property
    def most(self) -> float:
        return self.amounts[-1]


def limits_map(
    path: str | Path | Scenario,
    axes: Sequence[str],
    *,
    on: str = ALL,
    at: float | None = None,
    lasts: float = LASTS_S,
    cells: int = CELLS,
    seed: int | None = None,
    sets: Sequence[str] = (),
    workers: int | None = 1,
    cluster: Any = None,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    code: bool = False,
) -> LimitsMap:
    """Return in which cells a scenario comes back after a trigger, and the mildest change that moves the boundary.

    Args:
        path: the scenario's file; or a scenario.
        axes: two kinds, of :data:`simulation.experiments.limits.stress.KINDS` and ``trigger``; with
            amounts, such as ``load=0.5..2``, they go from the first to the second.
        on: a channel, or ``all``.
        at: when the trigger begins, in seconds; when None, the first fault of ``trigger``, or `duration` / 4 up to 60.
        lasts: how long a trigger lasts that is on no axis by its length, in seconds.
        cells: how many amounts of each axis there are, at least 2.
        seed: the first seed; the scenario's own when None.
        sets: ``path=value`` changes to the file.
        workers: how many processes share the runs; all cores when None. A script that asks for more than one is
            imported by each, so what it does belongs under ``if __name__ == "__main__":``.
        cluster: a Dask cluster that does the runs instead; see :func:`simulation.sweep`.
        out: a folder that keeps runs as they finish, so that the same call goes on where it stopped; the map as JSON
            and a picture, and the cell that its remedy was tried on, without it and with it. Nothing is kept when None.
        progress: called with how many runs have finished, and about how many there will be.
        code: whether the own actors that the scenario names are imported.

    Raises:
        ConfigurationError: the file, an axis, the channel, the folder or the cluster cannot be used; all problems.
        Interrupted: a `KeyboardInterrupt` came; it has the cells that are known.
        InvariantBreach: a run broke an invariant: a bug.
        OSError: the folder cannot be written.
    """
    check_counts(workers=workers, cells=cells)
    with file_of(path) as file:
        plan = _Plan.of(file, axes, on, at, lasts, cells, seed, sets, code)
        if out is not None:
            check_folder(Path(out), DOCUMENT, [] if isinstance(path, Scenario) else [path])
        with executor(workers, cluster) as runs, Journal.opened(out) as journal:
            mapping = _Mapping(plan, runs, journal, progress)
            try:
                mapping.carry_out()
            except KeyboardInterrupt:
                raise Interrupted(mapping.result) from None
            if out is not None:
                save_map(mapping.result, Path(out))
            return mapping.result


def save_map(found: LimitsMap, directory: Path) -> list[Path]:
    """Write `map.json`, a picture where matplotlib is installed, and the cell of the remedy without and with it as
    scenario files; return the paths.

    Raises:
        OSError: one cannot be written.
    """
    written = [directory / DOCUMENT]
    written[0].write_text(json.dumps(found.document(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for name, scenario in zip(("stuck", "remedy"), found.remedy_scenarios or (), strict=False):
        path = directory / f"{name}.yaml"
        path.write_text(write(scenario.model_copy(update={"record": "full"}), found.finding), encoding="utf-8")
        written.append(path)
    if find_spec("matplotlib") is not None:
        from simulation.experiments.limits.picture import picture

        written.append(directory / "map.png")
        picture(found).savefig(written[-1])
    return written


@dataclass(frozen=True)
class _Plan:
    file: str | Path
    scenario: Scenario
    axes: tuple[Axis, Axis]
    on: str
    at_s: float
    lasts_s: float
    seeds: range
    sets: tuple[str, ...]

    @classmethod
    def of(
        cls,
        file: str | Path,
        texts: Sequence[str],
        on: str,
        at: float | None,
        lasts: float,
        cells: int,
        seed: int | None,
        sets: Sequence[str],
        code: bool = False,
    ) -> _Plan:
        scenario = given(file, sets, seed, code)
        there = [*map(str, channels_with_traffic(scenario)), ALL]
        problems = [] if on in there else [f"--on {on}: wanted {', '.join(there)}, got {on!r}"]
        names = [text.partition("=")[0].strip() for text in texts]
        known = [*KINDS, TRIGGER]
        if len(names) != 2 or len(set(names)) != 2 or not set(names) <= set(known):
            problems.append(f"--map: wanted two of {', '.join(known)}, such as load,outage, got {','.join(texts)}")
        elif set(names) == {TRIGGER, "outage"}:
            problems.append("--map: wanted outage or trigger, got both: either is what the scenario recovers from")
        own = _own_trigger(scenario)
        if TRIGGER in names and not own:
            problems.append("--map trigger: wanted a fault in the file that begins and ends during the run, got none")
        if not lasts > 0:
            problems.append(f"--for: wanted a duration of more than 0, got {lasts:g}s")
        if problems:
            raise ConfigurationError(problems)
        usual_s = min(scenario.duration / 4, LEAD_S)
        at_s = min(fault.at for fault in own) if TRIGGER in names and at is None else usual_s if at is None else at
        if at_s <= 0:
            problem = f"--at: wanted an instant after the start, as a map compares with before it, got {at_s:g}s"
            raise ConfigurationError([problem])
        first, second = (_axis(text, scenario, on, at_s, own, max(2, cells)) for text in texts)
        return cls(file, scenario, (first, second), on, at_s, lasts, seeds_of(scenario.seed, REMEDY_SEEDS), tuple(sets))

    def triggered(self, amounts: Sequence[float], place: int = 0, more: Sequence[str] = ()) -> Triggered:
        """Return the run of a cell with one of the seeds, and with more changes to the file."""
        scenario = self.scenario
        if more:
            scenario = given(self.file, [*self.sets, *more], scenario.seed, scenario.may_import)
        by_kind = dict(zip((axis.kind for axis in self.axes), amounts, strict=True))
        lasts_s = by_kind.get("outage", by_kind.get(TRIGGER, self.lasts_s))
        own = _own_trigger(scenario)
        kept = [fault for fault in scenario.faults if fault not in own]
        if not by_kind.keys() - {LOAD} or TRIGGER in by_kind:
            kept += [fault.model_copy(update={"at": self.at_s, "for_": lasts_s}) for fault in own]
        duration = self.at_s + lasts_s + FOLLOWS_S
        scenario = scenario.model_copy(
            update={"faults": tuple(kept), "duration": duration, "drain": 0.0, "record": "aggregates"}
            | {"expect": (), "limits": {}, "sweep": None}
        )
        for name, amount in by_kind.items():
            if name == TRIGGER:
                continue
            before = len(scenario.faults)
            scenario = KINDS[name].put_on(Stress(KINDS[name], self.on, scenario, self.at_s), amount)
            faults = [
                fault.model_copy(update={"restart_after": lasts_s} if fault.crash else {"for_": lasts_s})
                for fault in scenario.faults[before:]
            ]
            scenario = scenario.model_copy(
                update={"faults": (*scenario.faults[:before], *faults), "duration": duration}
            )
        return Triggered(scenario, self.seeds[place], self.at_s, self.at_s + lasts_s)


def _own_trigger(scenario: Scenario) -> list[Any]:
    return [
        fault for fault in scenario.faults if fault.for_ and fault.at > 0 and fault.at + fault.for_ < scenario.duration
    ]


def _axis(text: str, scenario: Scenario, on: str, at_s: float, own: Sequence[Any], cells: int) -> Axis:
    name, equals, ends = (part.strip() for part in text.partition("="))
    kind: Kind | None = KINDS.get(name)
    most = kind.most(Stress(kind, on, scenario, at_s)) if kind is not None else 0.0
    if kind is not None and most <= kind.mildest:
        wanted, got = _LACKING.get(name, ("something that it can be put on", "none"))
        raise ConfigurationError([f"--map {name}: wanted {wanted}, got {got}"])
    if equals:
        low, high = (_amount(end) for end in [*ends.split(".."), ""][:2])
        bound = most if name in ("failure_rate", "capacity", "nodes") else math.inf
        if low is not None and high is not None and low >= high:
            problem = f"wanted the smaller amount first, such as {name}={_EXAMPLES[name]}, got {ends!r}"
            raise ConfigurationError([f"--map {name}: {problem}"])
        if low is None or high is None or not 0 < low < high <= bound:
            wanted = f"two amounts such as {name}={_EXAMPLES[name]}"
            raise ConfigurationError([f"--map {name}: wanted {wanted}, got {ends!r}"])
    elif name == LOAD:
        low, high = 0.25, 0.25 * 2 ** ((cells - 1) / 2)
    elif name == TRIGGER:
        usual = max(fault.for_ for fault in own)
        low, high = usual / 8, usual * 8
    elif name == "latency":
        low, high = most ** (1 / cells), most
    else:
        low, high = most / 128, most / (2 if name == "outage" else 1)
    if kind is not None and kind.is_whole:
        low = low if equals else 1.0
        counts = {float(round(low + (high - low) * step / (cells - 1))) for step in range(cells)}
        return Axis(name, tuple(sorted(counts)), True)
    steps = [low * (high / low) ** (step / (cells - 1)) for step in range(cells)]
    return Axis(name, tuple(float(f"{step:.4g}") for step in steps))


_LACKING = {
    "capacity": ("a provider with a capacity of more than one", "none"),
    "nodes": ("a scenario with several nodes", "one process"),
}

_EXAMPLES = {
    "outage": "10s..5m",
    "latency": "2..10",
    "failure_rate": "5%..50%",
    "load": "0.5..2",
    "capacity": "1..5",
    "nodes": "1..3",
    TRIGGER: "10s..5m",
}


def _amount(text: str) -> float | None:
    text = text.strip().removeprefix("×")
    if (found := parse_share(text) or parse_duration(text)) is not None:
        return found
    try:
        return float(text)
    except ValueError:
        return None


# ── the runs ────────────────────────────────────────────────────────────────────────────────────────────────────────

Amounts = tuple[float, ...]

Key = tuple[Amounts, int, tuple[str, ...]]
"""The amounts, the place of the seed, and further changes."""


_HARSHNESS = {verdict: place for place, verdict in enumerate((*VERDICTS[1:], VERDICTS[0]))}


def _verdict_of(run: RunMetrics) -> Verdict:
    value = run.figures["verdict"]
    assert value is not None
    return VERDICTS[int(value)]


@dataclass
class _Mapping:
    plan: _Plan
    runs: Executor
    journal: Journal | None
    progress: Callable[[int, int], None] | None
    known: dict[Key, RunMetrics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first, second = self.plan.axes
        self.result = LimitsMap(self.plan.scenario, (first.kind, second.kind), self.plan.on, self.plan.lasts_s)
        self.result.amounts = (first.amounts, second.amounts)

    def carry_out(self) -> None:
        first, second = self.plan.axes
        grid = [(one, other) for one in first.amounts for other in second.amounts]
        lines = [self._refining(0, other) for other in second.amounts]
        self._side_by_side([iter([[(cell, 0, ()) for cell in grid]])])
        self._side_by_side(lines)
        if len(self.result.boundary) < 2:  # it runs along the first axis, and not across it
            self._side_by_side([self._refining(1, one) for one in first.amounts])
        self._look_for_remedy()
        self.result.is_complete = True

    def _refining(self, axis: int, other: float, more: tuple[str, ...] = ()) -> Iterator[list[Key]]:
        along = self.plan.axes[axis]

        def cell(amount: float) -> tuple[float, ...]:
            return (amount, other) if axis == 0 else (other, amount)

        line = Bisection(along, BOUNDARY_SEEDS)

        def asked(steps: Iterable[Iterable[Probe]]) -> Iterator[list[Key]]:
            for probes in steps:
                probes = list(probes)
                yield [(cell(amount), place, more) for amount, place in probes]
                line.answers |= {probe: not self._is_stuck(cell(probe[0]), more, probe[1]) for probe in probes}

        yield from asked([[(amount, 0) for amount in along.amounts]])
        low, stuck = line.of_the_first_seed
        if low is None or self._verdict(cell(low), more) is Verdict.OVERLOADED:
            return
        yield from asked(line.find(low, stuck))
        low, stuck = line.low, line.high
        assert low is not None
        if more:
            assert self.result.remedy is not None
            self.result.remedy.moved_to = (low, stuck)
            return
        if stuck is not None:
            self.result.boundary.append((cell(low), cell(stuck)))
        first = {amounts for amounts, place, changes in self.known if place == 0 and not changes}
        for amounts in sorted(each for each in first if each == cell(each[axis])):
            is_beyond = stuck is not None and amounts[axis] >= stuck
            if is_beyond is not self._is_stuck(amounts):  # the other seeds are asked too
                yield [(amounts, place, more) for place in range(BOUNDARY_SEEDS)]

    def _is_stuck(self, cell: tuple[float, ...], more: tuple[str, ...] = (), place: int = 0) -> bool:
        return self._verdict(cell, more, place) in (Verdict.STUCK, Verdict.OVERLOADED)

    def _verdict(self, cell: tuple[float, ...], more: tuple[str, ...] = (), place: int = 0) -> Verdict:
        return _verdict_of(self.known[cell, place, more])

    def _side_by_side(self, searches: Sequence[Iterator[list[Key]]]) -> None:
        unknown = [([key for key in keys if key not in self.known] for keys in search) for search in searches]
        side_by_side = SideBySide(self._task_of, self._kept, self._keep, self._answer, self._tell)
        side_by_side.carry_out(unknown, partial(self.runs.map, judge))

    def _task_of(self, key: Key) -> tuple[KnownBy, Triggered]:
        task = self.plan.triggered(*key)
        return (f"{scenario_hash(task.scenario)}/{task.begins_s:g}/{task.ends_s:g}", task.seed), task

    def _kept(self, known_by: KnownBy, task: Triggered) -> RunMetrics | None:
        return None if self.journal is None else self.journal.kept(task.scenario, *known_by, FIGURES)

    def _keep(self, known_by: KnownBy, run: RunMetrics) -> None:
        if self.journal is not None:
            self.journal.add(*known_by, run)

    def _answer(self, key: Key, run: RunMetrics) -> None:
        amounts, _, more = key
        self.known[key] = run
        if more:
            return
        runs = [self.known[amounts, place, ()] for place in range(BOUNDARY_SEEDS) if (amounts, place, ()) in self.known]
        runs = sorted(runs, key=lambda each: _HARSHNESS[_verdict_of(each)])
        run = runs[(len(runs) - 1) // 2]
        self.result.found[amounts] = Cell((amounts[0], amounts[1]), _verdict_of(run), run.figures["after_s"], len(runs))

    def _tell(self, wanted: int) -> None:
        if self.progress is not None:
            self.progress(len(self.known), len(self.known) + wanted)

    # ── what moves the boundary ─────────────────────────────────────────────────────────────────────────────────

    def _look_for_remedy(self) -> None:
        first, second = self.plan.axes
        stuck = [
            (one, other)
            for one in first.amounts
            for other in second.amounts
            if self.result.found[one, other].verdict is Verdict.STUCK
        ]
        if not stuck:
            return
        target = stuck[0]
        changes = list(_changes(self.plan))
        for count in (1, 2):
            tried = [tuple(text for change in chosen for text in change) for chosen in combinations(changes, count)]
            self._side_by_side([iter([[(target, 0, sets) for sets in tried]])])
            for sets in tried:
                if self._verdict(target, sets) is Verdict.RECOVERS and self._mostly_recovers(target, sets):
                    self.result.remedy = Remedy(sets, target)
                    self.result.remedy_scenarios = (
                        self.plan.triggered(target).scenario,
                        self.plan.triggered(target, 0, sets).scenario,
                    )
                    axis = 0 if first.kind == LOAD or second.kind != LOAD else 1
                    self._side_by_side([self._refining(axis, target[1 - axis], sets)])
                    return

    def _mostly_recovers(self, target: tuple[float, float], sets: tuple[str, ...]) -> bool:
        most = REMEDY_SEEDS // 2 + 1
        for asked in range(most, REMEDY_SEEDS + 1):
            self._side_by_side([iter([[(target, place, sets) for place in range(asked)]])])
            held = sum(self._verdict(target, sets, place) is Verdict.RECOVERS for place in range(asked))
            if max(held, asked - held) >= most:
                break
        return held >= most


def _changes(plan: _Plan) -> Iterator[tuple[str, ...]]:
    """Yield changes to the settings of the channels that are hit, the least noticeable for others first."""
    scenario = plan.scenario
    channels = channels_with_traffic(scenario) if plan.on == ALL else [plan.on]
    given = {channel: scenario.channel_as_given(type(scenario.channels_used[0])(channel)) for channel in channels}
    for key, value, applies in _REMEDIES:
        sets = [
            f"channels.{channel}.{key}={in_one_line(value(config))}"
            for channel, config in given.items()
            if applies(config)
        ]
        if sets:
            yield tuple(sets)


_REMEDIES: tuple[tuple[str, Callable[[Any], Any], Callable[[Any], bool]], ...] = (
    # Retries are then at most a tenth of what is sent: it costs the few that fail in a bad minute.
    ("retry.budget", lambda _: {"share": "10%"}, lambda config: config.retry.budget is None),
    # Notifications that come in an outage wait, and resume at a pace.
    ("circuit_breaker.enabled", lambda _: True, lambda config: not config.circuit_breaker.enabled),
    ("retry.jitter", lambda _: "full", lambda config: config.retry.jitter == "none"),
    # The queue is then ours, where nothing times out.
    ("max_in_flight", lambda config: config.provider.capacity or 20, lambda config: config.max_in_flight is None),
    ("retry.max_attempts", lambda _: 1, lambda config: config.retry.max_attempts != 1),
)
