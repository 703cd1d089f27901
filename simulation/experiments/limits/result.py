"""The limits of a scenario: a sheet for people, a document for JSON, and files that run either side of an edge."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.formatting import counted
from simulation.experiments.limits.expected import SENT
from simulation.experiments.limits.search import CONFIDENCE, MOST, SEEDS, Edge
from simulation.results.formatting import line
from simulation.scenario import Scenario
from simulation.scenario.limits import wanted_limits
from simulation.scenario.writing import write
from simulation.sheets import Cell, Column, Row, Sheet, notebook

DOCUMENT = "limits.json"


class Limits:
    """The limit of a scenario under each stress."""

    def __init__(
        self, scenario: Scenario, edges: Sequence[Edge], lacking: Sequence[str], expectations: Sequence[str]
    ) -> None:
        self.scenario = scenario
        self.edges = edges
        self.lacking = lacking
        """A line for each kind of stress that was asked for and cannot be put on."""
        self.expectations = expectations
        """The texts of the expectations."""

    def __repr__(self) -> str:
        return line("Limits", self.scenario.name, [self.in_words(edge) for edge in self.edges])

    def _repr_html_(self) -> str:
        return notebook(self.sheet())

    @property
    def is_complete(self) -> bool:
        """Whether each search has come to its end, and was not interrupted."""
        return all(edge.is_complete for edge in self.edges)

    def first_broken(self, edge: Edge) -> str | None:
        """Return the expectation that breaks first beyond an edge."""
        return self.expectations[edge.broken[0]] if edge.broken else None

    @property
    def met(self) -> dict[str, bool]:
        """Whether each limit that the file wants and that was asked holds, by its text."""
        return {text: holds for edge in self.edges for text, holds in edge.holds_wanted.items()}

    @property
    def not_asked(self) -> list[str]:
        """The limits that the file wants and that were not looked at."""
        return [each.text for each in wanted_limits(self.scenario.limits) if each.text not in self.met]

    def in_words(self, edge: Edge) -> str:
        """Return in a sentence how much of a stress the scenario takes, and which expectation breaks beyond."""
        stress, name = edge.stress, edge.stress.name
        if edge.is_complete and edge.holds_to is None:
            return f"{name}: nothing to find: no expectation holds even with nothing put on"
        if edge.holds_to is None:
            return f"{name}: not known yet"
        none = edge.holds_to == stress.kind.mildest
        if edge.breaks_at is None:
            tried = f"{name}: holds up to {stress.text(edge.holds_to)}"
            return f"{tried}, the most that was tried" if edge.is_complete else f"{tried} or more"
        breaks = f"at {stress.text(edge.breaks_at)}"
        broken = f"`{text}` breaks" if (text := self.first_broken(edge)) else "it breaks"
        sentence = f"{name}: {'none' if none else f'up to {stress.text(edge.holds_to)}'}; {breaks} {broken}"
        if len(edge.broken) > 1:
            sentence += f", and {counted(len(edge.broken) - 1, 'other')}"
        if edge.holds_again:
            sentence += f"; it holds again at {', '.join(map(stress.text, edge.holds_again))}"
        return sentence

    def sheet(self) -> Sheet:
        """Return a row for each stress."""
        columns = [Column("limit"), Column("holds up to"), Column("breaks at"), Column("breaks first", folds=True)]
        columns += [Column(f"edge, {CONFIDENCE:.0%}")]
        rows = [Row(self._cells(edge)) for edge in self.edges]
        notes = []
        if any(edge.is_complete and edge.breaks_at is not None for edge in self.edges):
            notes += [
                f"an amount holds if all that is expected does with {MOST} of {SEEDS} seeds{self._known_to()}",
                "other seeds have other edges: the amount with which half of all seeds break is within the last column "
                f"with {CONFIDENCE:.0%} confidence",
            ]
        if any(edge.stress.kind.name == "outage" for edge in self.edges):
            notes.append("ten minutes of arrivals follow an outage, and a share is of all that arrives in that run")
        if rows and not self.scenario.expect:
            notes.append(f"the file expects nothing, so asked was: {'; '.join(self.expectations)}")
        left_out = dict.fromkeys(each for edge in self.edges for each in edge.left_out)
        for each in left_out:
            of = [edge.stress.name for edge in self.edges if each in edge.left_out]
            where = "" if len(of) == len(self.edges) else f" of {', '.join(of)}"
            notes.append(f"left out{where}, as it does not hold even without: {self.expectations[each]}")
        said = [f"{text}: {'holds' if holds else 'DOES NOT HOLD'}" for text, holds in self.met.items()]
        said += [f"{text}: not asked" for text in self.not_asked]
        said += [self.in_words(edge) for edge in self.edges if edge.holds_again]
        title = "How much it takes"
        runs = counted(sum(edge.runs for edge in self.edges), "run")
        about = f"{self.scenario.name} · from seed {self.scenario.seed} · {runs}"
        return Sheet(title, columns, rows, notes, said, tuple(self.lacking), about)

    def _known_to(self) -> str:
        """Return how far apart the two sides of an edge are at most, where both are more than nothing."""
        sides = [(edge.holds_to, edge.breaks_at) for edge in self.edges if not edge.stress.kind.is_whole]
        apart = [1 - low / high for low, high in sides if low and high]
        return f"; the edge of these seeds is known to {math.ceil(1000 * max(apart)) / 10:g}%" if apart else ""

    def _cells(self, edge: Edge) -> list[Cell]:
        text = edge.stress.text
        low, high = (None if end is None else text(end) for end in edge.interval)
        interval = None if low is None else f"{low} to {high}"
        if low is not None and high is None:
            interval = f"{low} or more"
        is_known = edge.holds_to is not None and (edge.is_complete or edge.holds_to > edge.stress.kind.mildest)
        holds = text(edge.holds_to) if is_known and edge.holds_to is not None else None
        if edge.breaks_at is None:
            breaks = "not in what was tried" if edge.is_complete and edge.holds_to is not None else None
        else:
            breaks = text(edge.breaks_at)
        return [edge.stress.name, holds, breaks, self.first_broken(edge), interval]

    def document(self) -> dict[str, Any]:
        """Return the limits as a plain dict that is also the JSON document. Durations are in seconds, shares from 0 to
        1, latency and load are factors, capacity and nodes are how many are lost."""
        return {
            "scenario": self.scenario.name,
            "seed": self.scenario.seed,
            "seeds": SEEDS,
            "confidence": CONFIDENCE,
            "expectations": list(self.expectations),
            "complete": self.is_complete,
            "limits": [self._entry(edge) for edge in self.edges],
            "lacking": list(self.lacking),
            "not_asked": self.not_asked,
        }

    def _entry(self, edge: Edge) -> dict[str, Any]:
        broken = [self.expectations[each] for each in edge.broken]
        return {
            "kind": edge.stress.kind.name,
            "on": edge.stress.on,
            "at_s": edge.stress.at,
            "holds_to": edge.holds_to,
            "breaks_at": edge.breaks_at,
            "tried_to": edge.stress.most,
            "first_broken": self.first_broken(edge),
            "also_broken": broken[1:],
            "interval": list(edge.interval),
            "confirmed": edge.is_confirmed,
            "holds_again": edge.holds_again,
            "wanted": edge.holds_wanted,
            "left_out": [self.expectations[each] for each in edge.left_out],
            "runs": edge.runs,
            "complete": edge.is_complete,
            "in_words": self.in_words(edge),
        }

    def save(self, directory: Path) -> list[Path]:
        """Write `limits.json`, and a scenario file for `retrylab run` on either side of each edge; return the paths.

        Raises:
            OSError: one cannot be written.
        """
        written = [directory / DOCUMENT]
        written[0].write_text(json.dumps(self.document(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        for edge in self.edges:
            for side, amount in (("holds", edge.holds_to), ("breaks", edge.breaks_at)):
                if amount is None:
                    continue
                expect = self.scenario.expect or (SENT,)
                found = edge.stress.put_on(amount).model_copy(
                    update={"record": self.scenario.record, "expect": expect, "sweep": None, "limits": {}}
                )
                path = directory / f"{edge.stress.name}-{side}.yaml"
                path.write_text(write(found, self.in_words(edge)), encoding="utf-8")
                written.append(path)
        return written
