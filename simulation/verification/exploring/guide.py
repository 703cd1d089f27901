"""Guidance of an exploration: cases whose runs saw something new are varied further.

An exploration goes in rounds. After each, those of its cases that saw something new are kept, and in the next one about
every other case is a variation of one of them, of those that saw the rarest first. A round is drawn from the sightings
of earlier rounds and from its seeds, so an exploration is the same for any number of processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from actors.kernel.randomness import RandomStreams
from simulation.scenario import Scenario
from simulation.verification.drawing.swarm import ScheduleKind, SettingsKind, case
from simulation.verification.exploring.pairs import Seen
from simulation.verification.exploring.variation import varied

ROUND = 48

KEPT = 200
"""How many cases are kept to be varied at most: the latest."""

DEEPEST = 5
"""A case that so many variations have led to is varied no further."""

_SHARE_VARIED = 0.5
_RAREST = 16
"""One of so many that saw the rarest is varied."""

Lineage = tuple[int, ...]
"""The seeds that led to a case: that of the case that was varied first, those of its variations, its own."""


@dataclass(frozen=True, slots=True)
class Parent:
    lineage: Lineage
    case: Scenario
    seen: Seen


def case_of(
    scenario: Scenario, lineage: Lineage, *, schedule: ScheduleKind = "mixed", settings: SettingsKind = "mixed"
) -> Scenario:
    """Return the case that some seeds lead to, each variation being one of the case before it."""
    first, *others = lineage
    found = case(scenario, first, schedule=schedule, settings=settings)
    for seed in others:
        found = varied(found, seed)
    return found


class Guide:
    def __init__(self) -> None:
        self._parents: list[Parent] = []

    def parents_of(self, seeds: Sequence[int], counts: Mapping[str, int]) -> list[Parent | None]:
        """Return what the case of each seed of a round is a variation of; None: of nothing."""
        rarest = sorted(
            (parent for parent in self._parents if len(parent.lineage) < DEEPEST),
            key=lambda parent: (min((counts.get(name, 0) for name in parent.seen.names), default=0), parent.lineage),
        )[:_RAREST]
        return [self._parent_of(RandomStreams(seed).stream("swarm.parent"), rarest) for seed in seeds]

    @staticmethod
    def _parent_of(random: Random, rarest: Sequence[Parent]) -> Parent | None:
        return random.choice(rarest) if rarest and random.random() < _SHARE_VARIED else None

    def learn(self, lineage: Lineage, case: Scenario, seen: Seen, before: Counter[str]) -> None:
        """Keep a case if its run saw something for the first time, `before` being how often it was seen before."""
        if any(not before[name] for name in seen.names):
            self._parents = [*self._parents, Parent(lineage, case, seen)][-KEPT:]
