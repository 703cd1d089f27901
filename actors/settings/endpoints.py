"""Settings of endpoints: when one of which all attempts fail is disabled."""

from __future__ import annotations

from typing import ClassVar

from actors.settings.base import Settings
from actors.settings.quantities import PositiveDuration


class EndpointsConfig(Settings):
    """When an endpoint is disabled, which is an address of the channel that has its own host, as webhooks have."""

    wanted_text: ClassVar[str] = "a mapping such as {disable_after: 5d}"

    disable_after: PositiveDuration = 5 * 86_400.0
    """For how long all attempts at it have to fail. The clock starts once two have failed that are at least a tenth of
    that apart, and at most a fifth; from the first of them on. One that succeeds stops it."""
