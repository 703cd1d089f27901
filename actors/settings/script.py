"""Scripts: the answers of a simulated provider, attempt by attempt."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from actors.settings.base import Settings
from actors.settings.quantities import Duration, Text, wanted

_FAILS = ("transient", "throttled", "permanent", "dead_destination", "channel_fault", "ambiguous")


class ScriptedAnswer(Settings):
    """The scripted answer to one attempt."""

    wanted_text: ClassVar[str] = "an answer such as {outcome: transient, latency: 80ms}"

    outcome: Literal[
        "sent", "transient", "throttled", "permanent", "dead_destination", "channel_fault", "ambiguous", "lost", "hang"
    ] = "sent"
    """How the attempt ends. `sent`; or one of the ways to fail: `transient`, `throttled`, `permanent`,
    `dead_destination`, `channel_fault`, `ambiguous`. `lost`: the message is delivered, but no answer comes. `hang`: it
    is not delivered, and no answer comes."""

    latency: Duration = 0.0
    """After how long the answer comes."""

    retry_after: Duration | None = None
    """`transient` and `throttled` only: how long the provider asks to wait. None: it does not say."""

    reason: Text | None = None
    """Why it fails, as the provider says it. None: as the fault of this kind says it."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.retry_after is not None and self.outcome not in ("transient", "throttled"):
            raise wanted("retry_after only with outcome: transient or throttled", self.outcome)
        if self.reason is not None and self.outcome not in _FAILS:
            raise wanted("reason only with an outcome that is a failure", self.outcome)
        if self.latency and self.outcome in ("lost", "hang"):
            raise wanted(f"no latency with outcome: {self.outcome}, where no answer comes")
        return self
