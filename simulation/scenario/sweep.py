"""The `sweep` of a scenario file: which settings to vary, and how the combinations are chosen."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, ValidationInfo, WrapValidator, model_validator

from actors.settings.base import NotEmpty, Settings
from actors.settings.quantities import wanted, whole_number
from simulation.scenario.ranges import Range

Design: TypeAlias = Literal["grid", "random", "latin-hypercube"]
"""How the combinations of values are chosen.

`grid`: every combination. `random`: each value by itself, as often as it is asked for. `latin-hypercube`: each setting
is divided into as many equally likely parts as there are samples, and each part is met exactly once (McKay, Beckman and
Conover, *Technometrics* 21, 1979), so that few samples reach everywhere.
"""

CELLS_MAX = 10_000
"""Combinations of settings."""

RUNS_MAX = 1_000_000
"""Of all combinations together."""

VALUES = "a list of values, or a range such as {from: 1, to: 10}"


def _values(value: Any, _handler: Any, info: ValidationInfo) -> Any:
    """Validate values as the one kind that they look like, so that problems are those of that kind alone."""
    if isinstance(value, (dict, Range)):
        return Range.model_validate(value, context=info.context)
    if not isinstance(value, (list, tuple)):
        raise wanted(VALUES)
    if not value:
        raise wanted(NotEmpty.text)
    return tuple(value)


class Sweep(Settings):
    """Which settings to vary: each path into the scenario, such as `channels.email.retry.max_attempts`, with the values
    to try, or a range of them."""

    model_config = ConfigDict(extra="allow")
    wanted_text: ClassVar[str] = "a mapping such as {channels.email.retry.max_attempts: [1, 3, 5], replicates: 20}"

    __pydantic_extra__: dict[str, Annotated[Range | Annotated[tuple[Any, ...], NotEmpty()], WrapValidator(_values)]] = (
        Field(init=False)
    )

    replicates: Annotated[int, whole_number(1, RUNS_MAX)] = 10
    """How many runs, each with its own seed, for every combination of values; at most 1,000,000 in
    all."""

    design: Design = "grid"
    """How the combinations are chosen. `grid`: every combination; a range says into how many `steps`. `random`: each
    value by itself. `latin-hypercube`: each setting is divided into as many equal parts as there are samples, and each
    part is used once."""

    samples: Annotated[int, whole_number(1, CELLS_MAX)] | None = None
    """How many combinations, at most 10,000; for the designs `random` and `latin-hypercube`."""

    @model_validator(mode="after")
    def _fits_the_design(self) -> Self:
        if self.design == "grid" and self.samples is not None:
            raise wanted("samples only beside design: random or latin-hypercube, a grid has every combination", "grid")
        if self.design != "grid" and self.samples is None:
            raise wanted(f"samples beside design: {self.design}", "none")
        if self.design == "grid":
            for path, values in self.vary.items():
                if isinstance(values, Range) and values.steps is None:
                    raise wanted(f"steps in the range of {path}, or design: latin-hypercube", "neither")
        return self

    @property
    def vary(self) -> dict[str, Range | tuple[Any, ...]]:
        """The values to try, by path; lists as they are written in the file."""
        return dict(self.__pydantic_extra__)
