"""Settings of a bulkhead: how many at once, and what happens to one more."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

from actors.settings.base import Settings, plain_or
from actors.settings.quantities import DurationOr0, PositiveWholeNumber


class BulkheadConfig(Settings):
    """How many attempts may be under way at once, and how long another attempt waits before it is refused."""

    wanted_text: ClassVar[str] = "a whole number of at least 1, or a mapping such as {limit: 10, wait: 500ms}"

    limit: PositiveWholeNumber
    """How many attempts may be under way at once."""

    wait: DurationOr0 | None = None
    """How long one waits for a slot, at most; then it is refused. 0: it does not wait. None: as long as it takes."""


MaxInFlight: TypeAlias = Annotated[PositiveWholeNumber | BulkheadConfig, plain_or(PositiveWholeNumber, BulkheadConfig)]
"""A number of slots for which one waits as long as it takes, or a mapping that says how long."""


def slots_of(bulkhead: int | BulkheadConfig | None) -> int | None:
    """Return how many attempts may be under way at once; None: there is no bound."""
    return bulkhead.limit if isinstance(bulkhead, BulkheadConfig) else bulkhead
