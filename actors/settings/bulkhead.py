"""Settings of a bulkhead: how many at once, and what happens to one more."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import model_validator

from actors.settings.base import Settings, plain_or
from actors.settings.quantities import Duration, PositiveWholeNumber, wanted


class BulkheadConfig(Settings):
    """How many may be under way at once, and how long one waits for its turn."""

    wanted_text: ClassVar[str] = "a whole number of at least 1, or a mapping such as {limit: 10, wait: 0s}"

    limit: PositiveWholeNumber
    """How many may be under way at once."""

    wait: Duration | None = None
    """How long to wait for a slot, at most; 0: not at all. None: as long as it takes."""


class RefusingBulkheadConfig(BulkheadConfig):
    """How many attempts may be under way at once, and what becomes of one more: it waits as long as it takes, or is
    refused at once, which is a failed attempt and says nothing about the provider."""

    limit: PositiveWholeNumber
    """How many attempts may be under way at once."""

    wait: Duration | None = None
    """How long an attempt waits for a slot. 0: not at all; it is refused and counts as a failed one. None: as long as
    it takes."""

    @model_validator(mode="after")
    def _waits_or_does_not(self) -> Self:
        if self.wait:
            raise wanted("wait: 0s, or none at all: in a pipeline one waits as long as it takes, or not")
        return self


MaxInFlight: TypeAlias = Annotated[
    PositiveWholeNumber | RefusingBulkheadConfig, plain_or(PositiveWholeNumber, RefusingBulkheadConfig)
]
"""A number of slots for which one waits as long as it takes, or a mapping that says so, or that one does not."""


def slots_of(bulkhead: int | BulkheadConfig | None) -> int | None:
    """Return how many may be under way at once; None: there is no bound."""
    return bulkhead.limit if isinstance(bulkhead, BulkheadConfig) else bulkhead
