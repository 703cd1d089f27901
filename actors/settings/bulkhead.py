"""Settings of a bulkhead that does not wait for ever."""

from __future__ import annotations

from typing import ClassVar

from actors.settings.base import Settings
from actors.settings.quantities import Duration, PositiveWholeNumber


class BulkheadConfig(Settings):
    """How many may be under way at once, and how long one waits for its turn."""

    wanted_text: ClassVar[str] = "a whole number of at least 1, or a mapping such as {limit: 10, wait: 0s}"

    limit: PositiveWholeNumber
    """How many may be under way at once."""

    wait: Duration | None = None
    """How long to wait for a slot, at most; 0: not at all. None: as long as it takes."""
