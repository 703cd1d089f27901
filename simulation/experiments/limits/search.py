"""The search for the edge of one stress: between which amounts the expectations of a scenario cease to hold.

An amount holds if the expectations hold with most of five seeds. Eight amounts, and the ones that the file demands, are
tried with the first seed, and the range below the first that breaks is bisected with it; both ends are then tried with
the other seeds, and moved where these differ, until most seeds hold at the lower end and break at the upper. A seed
that holds with more of a stress, or breaks with less, is not tried again, and no more seeds are tried than decide.
Where the edges of single channels are known, the search for all together begins at the least of them.

Each seed has an edge of its own, and half of all seeds have theirs below the true edge. The chance that all five have
theirs above it is 1/32, as is the chance that all have theirs below. So the ends are moved apart until all seeds hold
at the lower one and break at the upper one: the edge lies between them with 94% confidence (:data:`CONFIDENCE`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from simulation.experiments.limits.expected import Held
from simulation.experiments.limits.stress import Scale, Stress

SEEDS = 5
MOST = SEEDS // 2 + 1

CONFIDENCE = 1 - 2 * 0.5**SEEDS

RUNS = 26
"""About how many runs a search takes."""

Probe = tuple[float, int]
"""An amount and the place of a seed among the seeds of the search."""

Asking = Generator[Iterable[Probe], None, bool]


@dataclass
class Edge:
    """The edge that was found for one stress. Amounts are in the unit of its kind; None: none, or not known."""

    stress: Stress
    holds_to: float | None = None
    """The largest amount with which all expectations hold."""

    breaks_at: float | None = None
    """The least amount with which one does not hold."""

    broken: tuple[int, ...] = ()
    """The expectations that do not hold there, the one that fails with the most seeds first; by their numbers."""

    interval: tuple[float | None, float | None] = (None, None)
    """Between which amounts the edges of all seeds lie; None: no such end was found among the amounts tried."""

    is_confirmed: bool = False
    """Whether all seeds hold at `holds_to`, and break at `breaks_at`."""

    holds_again: list[float] = field(default_factory=list)
    """Amounts beyond the edge with which all hold again."""

    left_out: tuple[int, ...] = ()
    """Expectations that do not hold even with nothing put on; nothing is asked of them."""

    runs: int = 0
    wanted: dict[str, float] = field(default_factory=dict)
    """By the text of each limit that the file wants, its amount."""

    holds_wanted: dict[str, bool] = field(default_factory=dict)
    """By the same texts, whether that amount holds."""

    is_complete: bool = False


class Bisection:
    """Bisects from the edge of a first seed to the edge of most seeds, by whether all holds with an amount and a seed.

    The probes that it yields must be answered before it goes on.
    """

    def __init__(self, amounts: Scale, seeds: int) -> None:
        self._amounts = amounts
        self._seeds = range(seeds)
        self._most = seeds // 2 + 1
        self.answers: dict[Probe, bool] = {}
        self.low: float | None = None
        """The largest amount that holds with most seeds, as far as is known."""
        self.high: float | None = None
        """The least amount that does not; None: there is none."""

    @property
    def of_the_first_seed(self) -> tuple[float | None, float | None]:
        """Between which amounts the first seed has its edge, as far as that is known."""
        holds = self._runs_of(0)
        breaks_at = min((amount for amount in holds if not holds[amount]), default=None)
        return max((amount for amount in holds if breaks_at is None or amount < breaks_at), default=None), breaks_at

    def find(self, low: float, high: float | None) -> Generator[Iterable[Probe], None, None]:
        """Find the edge that most seeds have, from where the first seed has its edge; `high` None: it has none."""
        amounts = self._amounts
        while high is not None and (middle := amounts.between(low, high)) is not None:
            yield from self._ask([(middle, 0)])
            low, high = (middle, high) if self.answers[middle, 0] else (low, middle)
        self.low, self.high = low, high
        step = amounts.precision
        while low > amounts.least and not (yield from self._holds(low)):
            self.low, self.high = None, low
            low, high, step = amounts.milder(low, step), low, step * 2
        self.low = low
        step = amounts.precision
        while high is not None and (yield from self._holds(high)):
            self.low, self.high = high, None
            low, high, step = high, None if high >= amounts.most else amounts.harsher(high, step), step * 2
        self.high = high
        while high is not None and (middle := amounts.between(low, high)) is not None:
            low, high = (middle, high) if (yield from self._holds(middle)) else (low, middle)
            self.low, self.high = low, high

    def _ask(self, probes: Iterable[Probe]) -> Generator[Iterable[Probe], None, None]:
        if missing := [probe for probe in probes if probe not in self.answers]:
            yield missing

    def _holds(self, amount: float) -> Asking:
        """Return whether all expectations hold with most seeds; ask no more seeds than decide."""
        while True:
            known = self._known_at(amount)
            held, broken = known.count(True), known.count(False)
            if max(held, broken) >= self._most:
                return held >= self._most
            unknown = [seed for seed in self._seeds if known[seed] is None]
            yield [(amount, seed) for seed in unknown[: self._most - max(held, broken)]]

    def _runs_of(self, seed: int) -> dict[float, bool]:
        return {amount: holds for (amount, place), holds in self.answers.items() if place == seed}

    def _known_at(self, amount: float) -> list[bool | None]:
        """Return of each seed whether all hold with an amount, or must, as they hold with more or break with less of
        it; None: neither is known."""
        return [self._known_of(seed, amount) for seed in self._seeds]

    def _known_of(self, seed: int, amount: float) -> bool | None:
        runs = self._runs_of(seed)
        if amount in runs:
            return runs[amount]
        breaks_at = min((each for each, holds in runs.items() if not holds), default=math.inf)
        if breaks_at < amount:
            return False
        return True if any(amount < each < breaks_at for each in runs) else None


class Search(Bisection):
    """Looks for an edge: :meth:`steps` yields the probes to run, and their results are added before it goes on."""

    def __init__(self, stress: Stress, expectations: int, wanted: Mapping[str, float] = MappingProxyType({})) -> None:
        super().__init__(stress, SEEDS)
        self.edge = Edge(stress, wanted=dict(wanted))
        self._stress = stress
        self._count = expectations
        self._judged: Sequence[int] = range(expectations)
        self._judges = 1
        """The number of seeds that say which expectations hold without stress, if all hold with each of them."""
        self.hint: tuple[float, float] | None = None
        """Between which amounts the first seed probably has its edge."""
        self.ends_runs_early: tuple[int, ...] = ()
        """The expectations that end a run as soon as one is broken for good."""
        self._held: dict[Probe, Held] = {}

    def add(self, probe: Probe, held: Held) -> None:
        """Take in which expectations held in a run."""
        self._held[probe] = held
        self.answers[probe] = all(held[number] for number in self._judged)
        self.edge.runs = len(self._held)
        if not self.edge.is_complete:  # the result, should the search end here
            known = self.of_the_first_seed if self.low is None else (self.low, self.high)
            self.edge.holds_to, self.edge.breaks_at = known

    def steps(self) -> Generator[Iterable[Probe], None, None]:
        """Yield the probes that have to be known before it goes on."""
        edge, stress = self.edge, self._stress
        nothing = stress.least
        yield from self._judge()
        if not self._judged:
            edge.holds_to = edge.breaks_at = None
            edge.holds_wanted = dict.fromkeys(edge.wanted, False)
            edge.is_complete = True
            return
        self.ends_runs_early = tuple(self._judged)
        asked = {amount for amount in edge.wanted.values() if nothing < amount <= stress.most}
        grid = [*stress.grid]
        if self.hint is not None:
            yield from self._ask((amount, 0) for amount in self.hint)
            if self.of_the_first_seed == self.hint:
                grid = [*self.hint]
        grid = sorted({*grid, *asked})
        yield from self._ask((amount, 0) for amount in grid)
        high = next((amount for amount in grid if not self.answers[amount, 0]), None)
        low = max((amount for amount in grid if high is None or amount < high), default=nothing)
        yield from self.find(low, high)
        if self.low == nothing and (yield from self._judges_otherwise()):
            self.low = self.high = None
            yield from self.steps()
            return
        edge.holds_to, edge.breaks_at = self.low, self.high
        yield from self._widen()
        if edge.breaks_at is not None:
            edge.broken = self.broken_at(edge.breaks_at)
        yield from self._ask_wanted()
        for amount in grid:
            is_beyond = edge.breaks_at is not None and amount > edge.breaks_at
            if is_beyond and self._runs_of(0).get(amount) and (yield from self._holds_there(amount)):
                edge.holds_again.append(amount)
        edge.is_complete = True

    def _judge(self) -> Generator[Iterable[Probe], None, None]:
        nothing = self._stress.least
        for asked in (self._judges, *range(MOST, SEEDS + 1)):
            yield from self._ask((nothing, seed) for seed in range(asked))
            runs = [self._held[nothing, seed] for seed in range(asked)]
            held = [sum(run[each] is True for run in runs) for each in range(self._count)]
            if min(held) == asked or all(count >= MOST or asked - count >= MOST for count in held):
                break
        self._judged = [each for each, count in enumerate(held) if count >= min(asked, MOST)]
        self.answers = {probe: all(held[each] for each in self._judged) for probe, held in self._held.items()}
        self.edge.left_out = tuple(each for each in range(self._count) if each not in self._judged)

    def _judges_otherwise(self) -> Asking:
        """Ask most seeds which expectations hold without stress, as no tried amount shows it; return whether they are
        fewer than before."""
        before = self._judged
        self._judges, self.ends_runs_early = MOST, ()
        yield from self._judge()
        if self._judged == before:
            self.ends_runs_early = tuple(before)
            return False
        self._held = {probe: held for probe, held in self._held.items() if probe[0] == self._stress.least}
        return True

    def asked_steps(self) -> Generator[Iterable[Probe], None, None]:
        """Yield the probes that decide the limits in the file, without a search for the edge."""
        self._judges = MOST
        yield from self._judge()
        yield from self._ask_wanted()
        self.edge.is_complete = True

    def _ask_wanted(self) -> Generator[Iterable[Probe], None, None]:
        edge = self.edge
        for text, amount in edge.wanted.items():
            # Where an edge is known, less than the wanted amount must not break either.
            is_milder = edge.breaks_at is None or amount < edge.breaks_at
            can_hold = bool(self._judged) and is_milder and amount <= self._stress.most
            edge.holds_wanted[text] = can_hold and (yield from self._holds(amount))

    def _widen(self) -> Generator[Iterable[Probe], None, None]:
        edge, stress = self.edge, self._stress
        low, high = edge.holds_to, edge.breaks_at
        assert low is not None
        step = stress.precision
        while low > stress.least and not (yield from self._agree(low, holds=True)):
            low, step = stress.milder(low, step), step * 2
        step = stress.precision
        while high is not None and not (yield from self._agree(high, holds=False)):
            high, step = (None if high >= stress.most else stress.harsher(high, step)), step * 2
        edge.interval, edge.is_confirmed = (low, high), (low, high) == (edge.holds_to, edge.breaks_at)

    def _agree(self, amount: float, *, holds: bool) -> Asking:
        """Return whether all seeds say so; a seed that has said otherwise of some amount is asked first."""
        while (not holds) not in (known := self._known_at(amount)):
            unknown = [seed for seed in range(SEEDS) if known[seed] is None]
            if not unknown:
                return True
            otherwise = [seed for seed in unknown if (not holds) in self._runs_of(seed).values()]
            yield [(amount, seed) for seed in otherwise[:1] or unknown]
        return False

    def _holds_there(self, amount: float) -> Asking:
        """Return whether all hold with the first seeds beyond an edge, where more says nothing about less."""
        yield from self._ask((amount, seed) for seed in range(MOST))
        return all(self._runs_of(seed)[amount] for seed in range(MOST))

    def broken_at(self, amount: float) -> tuple[int, ...]:
        """Return the expectations that break with an amount, the one that breaks with the most seeds first."""
        runs = [self._held[amount, seed] for seed in range(SEEDS) if (amount, seed) in self._held]
        broken = Counter(each for each in self._judged for held in runs if held[each] is False)
        return tuple(sorted(broken, key=lambda each: (-broken[each], each)))
