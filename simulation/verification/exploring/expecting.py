"""The mildest fault that breaks an expectation: of all within stated bounds, the fewest and shortest.

A fault that lasts longer is taken to be the harsher one. So with one fault, then two, and so on, places and instants
are drawn, each fault as long as its bound has it. Of the first number of faults with which any case breaks, cases that
broke are cut down: each fault is bisected to the least that still breaks, at its end and then at its beginning, and
begins at a rounder instant where it may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from math import comb
from random import Random
from typing import Any

from actors.errors import ConfigurationError
from actors.formatting import counted, duration_text, instant_text
from actors.instants import NS_PER_S
from actors.kernel.randomness import RandomStreams
from actors.settings.faults import FaultConfig
from actors.settings.quantities import parse_duration
from simulation.experiments.limits.stress import channels_with_traffic
from simulation.running.executors import RunMetrics, Task, do, executor
from simulation.scenario import Scenario
from simulation.scenario.arguments import seeds_of
from simulation.scenario.metrics import path_of

KINDS = ("outage", "hang", "crash")
USUAL = ("outage=2m", "outage=2m", "crash=30s")
"""The bounds, where none are given."""

CUT_DOWN = 4
"""The number of broken cases that are cut down, to take the mildest."""

SEEDS = 5
"""With so many seeds the mildest one is run."""

PRECISION = 0.02

NEAR = 0.6
"""In so many cases a fault comes at the place of the one before it, and soon after it began."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One fault that may come."""

    kind: str
    most_s: float
    channel: str | None = None
    """Where; None: on any channel, or at any node."""

    @classmethod
    def parse(cls, text: str, scenario: Scenario) -> Bound:
        """Return the bound that a text says, such as ``outage=2m`` or ``email.outage=2m``.

        Raises:
            ConfigurationError: it says none.
        """
        name, _, bound = text.partition("=")
        channel, _, kind = name.strip().rpartition(".")
        most_s = parse_duration(bound.strip())
        there = [*map(str, channels_with_traffic(scenario))]
        if kind not in KINDS or not most_s or (channel and channel not in there) or (channel and kind == "crash"):
            form = f"a kind ({', '.join(KINDS)}) and its longest duration, such as outage=2m or {there[0]}.outage=2m"
            raise ConfigurationError([f"--fault: wanted {form}, got {text!r}"])
        return cls(kind, most_s, channel or None)


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault of a case."""

    kind: str
    place: str
    """A channel; of a crash the number of a node, or nothing."""

    at_s: float
    lasts_s: float

    @property
    def fault(self) -> FaultConfig:
        """The fault as a scenario has it."""
        if self.kind == "crash":
            node = {"node": int(self.place)} if self.place else {}
            keys: dict[str, Any] = {"channel": "all", "crash": "process", "restart_after": self.lasts_s, **node}
        else:
            keys = {"channel": self.place, "for": self.lasts_s, self.kind: True}
        return FaultConfig.model_validate({"at": self.at_s, **keys})

    def __str__(self) -> str:
        where = self.place if self.kind != "crash" else f"node {self.place}" if self.place else "the process"
        a = "an" if self.kind == "outage" else "a"
        return f"{a} {self.kind} of {where} for {duration_text(self.lasts_s)} at {instant_text(self.at_s)}"


Case = tuple[Injected, ...]


@dataclass(frozen=True)
class Mildest:
    """The result."""

    scenario: Scenario
    bounds: tuple[Bound, ...]
    tried: int
    """How many cases were run until one broke, or in all."""

    left_out: tuple[str, ...] = ()
    """Expectations that do not hold even without a fault; nothing is asked of them."""

    case: Case = ()
    """The mildest that breaks an expectation; empty: none did."""

    broken: tuple[str, ...] = ()
    """The expectations that it breaks."""

    with_seeds: int = 0
    """With how many of `SEEDS` seeds it breaks one."""

    @property
    def broken_case(self) -> Scenario:
        """The scenario with the mildest faults."""
        return with_faults(self.scenario.model_copy(update={"limits": {}}), self.case)

    @property
    def in_words(self) -> str:
        """The finding in a sentence."""
        bounds = ", ".join(f"{each.kind} of at most {duration_text(each.most_s)}" for each in self.bounds)
        if not self.case:
            return f"nothing breaks: {counted(self.tried, 'case')} of up to {bounds} were tried"
        first, *others = self.broken
        more = f", and {counted(len(others), 'other')}" if others else ""
        what = " and ".join(map(str, self.case))
        return f"{what} breaks `{first}`{more}, with {self.with_seeds} of {SEEDS} seeds; {self.tried} cases were tried"

    @property
    def document(self) -> dict[str, Any]:
        """The result as plain data; durations are in seconds."""
        return {
            "scenario": self.scenario.name,
            "tried": self.tried,
            "left_out": list(self.left_out),
            "faults": [
                {"kind": each.kind, "on": each.place, "at_s": each.at_s, "lasts_s": each.lasts_s} for each in self.case
            ],
            "broken": list(self.broken),
            "with_seeds": [self.with_seeds, SEEDS] if self.case else None,
            "in_words": self.in_words,
        }


def mildest(
    scenario: Scenario,
    bounds: Iterable[str] = USUAL,
    *,
    cases: int = 200,
    workers: int | None = 1,
    progress: Callable[[int, int], None] | None = None,
    cutting_down: Callable[[int], None] | None = None,
) -> Mildest:
    """Return the mildest faults within some bounds with which an expectation of a scenario breaks.

    Args:
        scenario: what they are put on, beside its own faults.
        bounds: one for each fault that there may be, such as ``outage=2m``, ``email.hang=30s`` or ``crash=30s``.
        cases: about how many are tried in all.
        workers: how many processes share the runs; all cores when None.
        progress: called with how many runs have finished, and about of how many.
        cutting_down: called with the number of broken cases that are cut down, before they are.

    Raises:
        ConfigurationError: a bound cannot be used, or the scenario expects nothing.
        InvariantBreach: a run broke an invariant: a bug.
    """
    if not scenario.expect:
        raise ConfigurationError(["--expect: wanted a scenario that expects something, got one without `expect`"])
    allowed = tuple(Bound.parse(text, scenario) for text in bounds)
    if not allowed:
        raise ConfigurationError([f"--fault: wanted a bound such as {USUAL[0]}, got none"])
    plain = scenario.model_copy(update={"record": "aggregates", "limits": {}, "sweep": None})
    with executor(workers) as runs:
        (_, without) = next(runs.run([Task(plain, plain.seed)]))
        judged = _kept(plain, without)
        left_out = tuple(each.text for number, each in enumerate(plain.expect) if number not in judged)
        random = RandomStreams(plain.seed).stream("explore.expect")
        tried = 0
        broke: list[Case] = []
        for count in range(1, len(allowed) + 1):
            drawn = list(_drawn(plain, allowed, count, cases // len(allowed), random))
            tasks = [Task(with_faults(plain, case), plain.seed) for case in drawn]
            for place, run in runs.run(tasks):
                tried += 1
                if not judged <= _kept(plain, run):
                    broke.append(drawn[place])
                if progress is not None:
                    progress(tried, max(tried, cases))
            if broke:
                break
        if not broke or not judged:
            return Mildest(scenario, allowed, tried, left_out)
        broke = sorted(broke, key=lambda case: [(each.kind, each.place, each.at_s) for each in case])
        chosen = [broke[place * len(broke) // CUT_DOWN] for place in range(min(CUT_DOWN, len(broke)))]
        if cutting_down is not None:
            cutting_down(len(chosen))
        small = dict(runs.map(partial(_cut_down, plain, judged), chosen))
        case = min(small.values(), key=lambda case: (sum(each.lasts_s for each in case), [each.at_s for each in case]))
        found = with_faults(plain, case)
        kept = [_kept(plain, run) for _, run in runs.run(Task(found, seed) for seed in seeds_of(plain.seed, SEEDS))]
        own = _kept(plain, do(Task(found, plain.seed)))
    broken = tuple(each.text for number, each in enumerate(plain.expect) if number in judged - own)
    return Mildest(scenario, allowed, tried, left_out, case, broken, sum(not judged <= each for each in kept))


def with_faults(scenario: Scenario, case: Case) -> Scenario:
    """Return a scenario with the faults of a case beside its own."""
    return scenario.model_copy(update={"faults": (*scenario.faults, *(each.fault for each in case))})


def _kept(scenario: Scenario, run: RunMetrics) -> frozenset[int]:
    holds = (each.holds_of(run.figures.get(path_of(each.path))) for each in scenario.expect)
    return frozenset(number for number, held in enumerate(holds) if held)


def _drawn(scenario: Scenario, bounds: Sequence[Bound], count: int, most: int, random: Random) -> Iterator[Case]:
    chosen = list(dict.fromkeys(combinations(bounds, count)))
    ends_s = scenario.arrivals_end_ns / NS_PER_S
    for number in range(max(most, comb(len(bounds), count))):
        of = chosen[number % len(chosen)]
        case: list[Injected] = []
        for each in of:
            places = _places(scenario, each)
            latest_s = max(0.0, ends_s - min(each.most_s, ends_s / 2))
            place, at_s = random.choice(places), random.uniform(0.0, latest_s)
            if case and random.random() < NEAR:  # what one has weakened the next one meets
                at_s = min(latest_s, case[-1].at_s + random.uniform(0.0, 3 * each.most_s))
                place = case[-1].place if case[-1].place in places else place
            case.append(Injected(each.kind, place, round(at_s, 1), each.most_s))
        yield tuple(sorted(case, key=lambda each: each.at_s))


def _places(scenario: Scenario, bound: Bound) -> list[str]:
    if bound.kind != "crash":
        return [bound.channel] if bound.channel else [*map(str, channels_with_traffic(scenario))]
    return [str(1 + node) for node in range(scenario.fleet.count)] if scenario.fleet.count > 1 else [""]


def _cut_down(scenario: Scenario, judged: frozenset[int], case: Case) -> Case:
    """Return a case that breaks, with each fault as short as it can be, and at a round instant where that does too."""

    def breaks(candidate: Case) -> bool:
        return not judged <= _kept(scenario, do(Task(with_faults(scenario, candidate), scenario.seed)))

    def changed(number: int, **keys: Any) -> Case:
        return (*case[:number], replace(case[number], **keys), *case[number + 1 :])

    def shortened(number: int, *, keeps_end: bool) -> Case:
        begins_s, longest_s = case[number].at_s, case[number].lasts_s
        low, high = 0.0, longest_s
        while high - low > max(PRECISION * high, 0.01):
            middle = float(f"{(low + high) / 2:.3g}")
            if not low < middle < high:
                break
            later_s = begins_s + (longest_s - middle) * keeps_end
            if breaks(changed(number, at_s=later_s, lasts_s=middle)):
                high = middle
            else:
                low = middle
        return changed(number, at_s=begins_s + (longest_s - high) * keeps_end, lasts_s=high)

    for number, keeps_end in product(range(len(case)), (False, True)):
        case = shortened(number, keeps_end=keeps_end)
    for number in range(len(case)):
        for digits in (-2, -1, 0):
            rounder = changed(number, at_s=max(0.0, round(case[number].at_s, digits)))
            if breaks(rounder):
                case = rounder
                break
        case = shortened(number, keeps_end=False)  # at another instant less of it may do
    return case
