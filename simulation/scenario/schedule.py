"""Which order of ready messages a scenario runs in, where the actor system promises none."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import model_validator

from actors.settings.base import OneOf, Settings, at_key
from actors.settings.quantities import PositiveWholeNumber, Wanted, wanted, whole_number

if TYPE_CHECKING:
    from simulation.engine.schedules import Schedule


DEPTH_MAX = 10_000
"""The most changes of priorities that can be drawn before a run."""


class PctConfig(Settings):
    """Priorities of actors, drawn at random, and a few changes of them (Burckhardt and others, 2010)."""

    wanted_text: ClassVar[str] = "a mapping such as {depth: 3, steps: 1000}"

    depth: Annotated[int, whole_number(1, DEPTH_MAX)]
    """How many ordering constraints a bug may need to be found by this schedule, at most 10,000."""

    steps: PositiveWholeNumber
    """About how many scheduling decisions the run has."""


def _pair(value: Any, _unit_required: bool) -> tuple[int, int] | None:
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(type(number) is int for number in value):
        return None
    step, choice = value
    return (step, choice) if step >= 0 and choice >= 1 else None


DeviationPair = Annotated[
    tuple[int, int],
    Wanted(
        "a decision, from 0, and a choice of at least 1, such as [12, 1]",
        _pair,
        {
            "type": "array",
            "prefixItems": [{"type": "integer", "minimum": 0}, {"type": "integer", "minimum": 1}],
            "minItems": 2,
            "maxItems": 2,
        },
    ),
]


def _true(value: Any, _unit_required: bool) -> bool | None:
    return True if value is True else None


class ScheduleConfig(OneOf):
    """Which actor is next where several are ready; give exactly one of the keys. Needs the simulated clock."""

    wanted_text: ClassVar[str] = "a schedule such as {random_walk: true} or {deviations: [[12, 1]]}"

    random_walk: Annotated[Literal[True], Wanted("true", _true, {"const": True})] | None = None
    """Every ready actor is equally likely to be next, by the run's seed."""

    pct: PctConfig | None = None
    """Strict priorities with a few changes, by the run's seed."""

    deviations: tuple[DeviationPair, ...] | None = None
    """The decisions at which another actor than in the normal order is chosen, in order, as a run has recorded them."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for (earlier, _), (later, _) in pairwise(self.deviations or ()):
            if later <= earlier:
                raise at_key("deviations", wanted("rising decisions", f"{later} after {earlier}"), self.deviations)
        return self

    def make(self, random: Random) -> Schedule:
        """Return a new schedule of this kind, that draws from `random`."""
        from simulation.engine.schedules import PCT, Deviations, RandomWalk

        if self.pct is not None:
            return PCT(random, self.pct.depth, self.pct.steps)
        if self.deviations is not None:
            return Deviations(self.deviations)
        return RandomWalk(random)
