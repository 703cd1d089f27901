"""A map as data: its cells, its boundary, the change that moves it, and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from actors.formatting import counted, duration_text, plain_number
from simulation.experiments.limits.trend import Verdict
from simulation.results.formatting import line
from simulation.scenario import Scenario
from simulation.scenario.limits import ALL
from simulation.sheets import Cell as SheetCell, Column, Row, Sheet, Word, notebook

BOUNDARY_SEEDS = 3
"""The number of seeds of a cell next to the boundary; the middle verdict counts."""

REMEDY_SEEDS = 5
"""The number of seeds with which a remedy is checked."""


@dataclass(frozen=True)
class Cell:
    amounts: tuple[float, float]
    verdict: Verdict
    """The one in the middle by harshness, where several seeds were asked."""

    after_s: float | None
    """How many seconds after the trigger it recovers, by its trend if it is late; None: it does not recover."""

    seeds: int = 1
    """With how many seeds it was run."""


@dataclass
class Remedy:
    """A change with which a cell recovers that does not recover without it."""

    sets: tuple[str, ...]
    """As for ``--set``."""

    cell: tuple[float, float]
    moved_to: tuple[float, float | None] | None = None
    """With the change, along one axis: the largest amount that recovers, and the least that does not, if any."""


MARKS = {
    Verdict.RECOVERS: Word("·", "fine"),
    Verdict.LATE: Word("late", "unsure"),
    Verdict.STUCK: Word("STUCK", "bad"),
    Verdict.OVERLOADED: Word("over", "bad"),
}


@dataclass
class LimitsMap:
    scenario: Scenario
    kinds: tuple[str, str]
    on: str
    lasts_s: float
    """How long the trigger lasts, where no axis says so."""

    amounts: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    found: dict[tuple[float, ...], Cell] = field(default_factory=dict)
    """The cells by their amounts: of the grid, and of its refinement at the boundary."""

    boundary: list[tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=list)
    """Pairs of neighbouring cells, one of which recovers while the other does not."""

    is_complete: bool = False
    """Whether the search has come to its end, and was not interrupted."""

    remedy: Remedy | None = None
    remedy_scenarios: tuple[Scenario, Scenario] | None = None
    """The cell of the remedy without it, and with it."""

    def __repr__(self) -> str:
        return line("LimitsMap", self.scenario.name, [counted(len(self.cells), "cell"), self.finding])

    def _repr_html_(self) -> str:
        return notebook(self.sheet())

    @property
    def cells(self) -> list[Cell]:
        """The cells that are known."""
        return [*self.found.values()]

    @property
    def verdicts(self) -> dict[tuple[float, float], Verdict]:
        return {cell.amounts: cell.verdict for cell in self.cells}

    def text(self, axis: int, amount: float) -> str:
        """Return an amount in words: ``×1.41``, ``2 min``."""
        kind = self.kinds[axis]
        if kind in ("outage", "trigger"):
            return duration_text(amount)
        if kind in ("load", "latency"):
            return f"×{plain_number(amount)}"
        return f"{plain_number(amount * 100)}%" if kind == "failure_rate" else f"{amount:.0f} lost"

    @property
    def finding(self) -> str:
        """The finding of the map, in a sentence."""
        where = self.scenario.name if self.on == ALL else f"{self.scenario.name}, {self.on}"
        if not {(one, other) for one in self.amounts[0] for other in self.amounts[1]} <= self.verdicts.keys():
            where += ", as far as it is known"
        found = list(self.verdicts.values())
        if not found:
            return f"{where}: nothing is known yet"
        stuck = [cell for cell in self.cells if cell.verdict is Verdict.STUCK]
        if not stuck:
            lives = [cell for cell in self.cells if cell.verdict is not Verdict.OVERLOADED]
            if not lives:
                return f"{where}: it is overloaded before any trigger"
            late = " or late" if Verdict.LATE in found else ""
            return f"{where}: after each trigger it recovers{late}, wherever it is well before"
        axis = 1 if self.kinds[1] == "load" else 0
        least = min(stuck, key=lambda cell: (cell.amounts[axis], cell.amounts[1 - axis])).amounts
        other = self.text(1 - axis, least[1 - axis])
        sentence = f"{where}: {self._trigger(axis, other)} it does not recover from {self.kinds[axis]} "
        seeds = self.found[least].seeds
        with_seeds = "with the one seed that was tried" if seeds == 1 else f"with most of {BOUNDARY_SEEDS} seeds"
        sentence += f"{self.text(axis, least[axis])} on, {with_seeds}"
        if self.remedy is None:
            return sentence
        low, high = self.remedy.moved_to or (None, None)
        change = " and ".join(self.remedy.sets)
        if low is None:
            return f"{sentence}; it does with {change}"
        there = f"from {self.text(axis, high)}" if high is not None else f"nowhere up to {self.text(axis, low)}"
        return f"{sentence}; with {change} {there}"

    def _trigger(self, axis: int, other: str) -> str:
        kind = self.kinds[1 - axis]
        return (
            f"after {'an outage' if kind == 'outage' else 'a trigger'} of {other}"
            if kind in ("outage", "trigger")
            else f"after {duration_text(self.lasts_s)} of {kind} {other}"
        )

    def sheet(self) -> Sheet:
        """Return the grid, a row for each amount of the second axis, the most of it first."""
        verdicts = self.verdicts
        first, second = self.amounts
        columns = [Column(f"{self.kinds[1]} \\ {self.kinds[0]}"), *(Column(self.text(0, each)) for each in first)]
        rows = []
        for other in reversed(second):
            cells: list[SheetCell] = [self.text(1, other)]
            cells += [MARKS[found] if (found := verdicts.get((one, other))) else None for one in first]
            rows.append(Row(cells))
        notes = [
            "· recovers within five minutes after the trigger; late: recovers later, by its trend; STUCK: does not "
            "recover; over: it is overloaded before the trigger",
            f"a cell is judged by the first seed, and by most of {BOUNDARY_SEEDS} where that and the boundary differ",
        ]
        said = [self.finding]
        if self.boundary:
            across = int(
                self.boundary[-1][0][0] != self.boundary[-1][1][0]
            )  # a pair for each row, else for each column
            cells_before = sorted((pair[0] for pair in self.boundary), key=lambda cell: cell[across])
            low, high = cells_before[0], cells_before[-1]
            ends = [f"{self.text(0, cell[0])} with {self.text(1, cell[1])}" for cell in (low, high)]
            said.append(f"the boundary goes from {self.kinds[0]} {ends[0]} to {ends[1]} ({self.kinds[1]})")
        if self.remedy is not None:
            cell = " and ".join(self.text(axis, amount) for axis, amount in enumerate(self.remedy.cell))
            sets = " ".join(f"--set '{each}'" for each in self.remedy.sets)
            said.append(f"it recovers on {cell}, which does not without, with most of {REMEDY_SEEDS} seeds: {sets}")
        about = f"{self.scenario.name} · from seed {self.scenario.seed} · {counted(len(self.cells), 'cell')}"
        return Sheet("Does it come back?", columns, rows, notes, said, about=about)

    def document(self) -> dict[str, Any]:
        """Return the map as a plain dict that is also the JSON document. Durations are in seconds."""
        one, other = self.kinds
        remedy = self.remedy
        return {
            "scenario": self.scenario.name,
            "seed": self.scenario.seed,
            "finding": self.finding,
            "complete": self.is_complete,
            "axes": [{"kind": kind, "amounts": list(of)} for kind, of in zip(self.kinds, self.amounts, strict=True)],
            "on": self.on,
            "cells": [
                {one: cell.amounts[0], other: cell.amounts[1], "verdict": cell.verdict.value, "after_s": cell.after_s}
                | {"seeds": cell.seeds}
                for cell in sorted(self.cells, key=lambda cell: cell.amounts)
            ],
            "boundary": [
                {
                    "recovers": dict(zip(self.kinds, low, strict=True)),
                    "does_not": dict(zip(self.kinds, high, strict=True)),
                }
                for low, high in self.boundary
            ],
            "remedy": remedy
            and {
                "sets": list(remedy.sets),
                "cell": dict(zip(self.kinds, remedy.cell, strict=True)),
                "moved_to": remedy.moved_to and list(remedy.moved_to),
            },
        }
