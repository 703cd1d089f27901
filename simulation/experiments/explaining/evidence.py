"""Numbers and sentences of an explanation, each with how it was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from simulation.results.formatting import duration_text


class By(StrEnum):
    FORMULA = "formula"
    """By a closed form, or by the policy itself where nothing is left to chance."""

    DRAWS = "draws"
    """By schedules that were drawn with the policy's jitter."""

    RUN = "run"
    """By a small run of the simulation."""


LEGEND = "≈ by drawn schedules   * by a run with seed 0   all else by closed form"


def marked(number: str, by: By) -> str:
    return {By.FORMULA: number, By.DRAWS: f"≈{number}", By.RUN: f"{number} *"}[by]


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a time lies that jitter spreads, in seconds."""

    shortest: float

    median: float | None
    """None where none was drawn."""

    longest: float

    @property
    def is_certain(self) -> bool:
        """Whether there is nothing that spreads it."""
        return self.shortest == self.longest

    @property
    def text(self) -> str:
        """Where it lies: ``3 s``, or ``0 s to 3 s``."""
        shortest, longest = duration_text(self.shortest), duration_text(self.longest)
        return shortest if shortest == longest else f"{shortest} to {longest}"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, and how its numbers were found."""

    text: str
    """Each number in it has the mark of how it was found."""

    by: By = By.FORMULA
