"""Settings of the order in which notifications of a channel go where they wait for their turn."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, TypeAlias

from pydantic import model_validator

from actors.settings.base import Settings
from actors.settings.quantities import (
    PositiveDuration,
    PositiveNumber,
    PositiveRate,
    PositiveWholeNumber,
    wanted,
    write_rate,
)

FairBy: TypeAlias = Literal["none", "user", "host", "tenant"]
"""The key whose values take turns within a class."""


WEIGHTS_APART = 1e6
"""How many times the least weight the largest may be: much beyond that, credit is no longer spent one by one."""


class OrderWeights(Settings):
    """Each class's part of the attempts while notifications of all classes wait; a part is less than a million times
    another, as the smaller class would starve."""

    wanted_text: ClassVar[str] = "a mapping such as {critical: 16, normal: 4, bulk: 1}"

    critical: PositiveNumber = 16.0
    """The part of critical notifications."""

    normal: PositiveNumber = 4.0
    """The part of normal notifications."""

    bulk: PositiveNumber = 1.0
    """The part of bulk notifications, which may be late."""

    @model_validator(mode="after")
    def _starves_none(self) -> Self:
        least, *_, most = sorted((self.critical, self.normal, self.bulk))
        if most > WEIGHTS_APART * least:
            raise wanted("weights of which none is more than 1,000,000 times another", f"{most:g} and {least:g}")
        return self


class OrderConfig(Settings):
    """Which notifications of a channel go first where they wait: for a user's limit, the quota, the adaptive rate, a
    slot, an open breaker and its probe, the pace of resuming, a ramp."""

    wanted_text: ClassVar[str] = "a mapping such as {kind: weighted, fair_by: tenant}"

    kind: Literal["strict", "weighted"] = "strict"
    """`strict`: a critical one goes before a normal one, and that before bulk. `weighted`: each class that waits gets
    its part by the `weights`, so that none starves (deficit round robin)."""

    weights: OrderWeights | None = None
    """The weights of `kind: weighted`. Left out: 16 critical notifications to 4 normal ones to 1 of bulk."""

    fair_by: FairBy | None = None
    """Users, the hosts of recipients, or tenants (`metadata.tenant`) take turns within a class, one attempt each. While
    others wait, none of them gets more than a quarter of the slots, or more than one of fewer than eight. So while only
    two or three wait, slots stay free: no one knows which of them is about to hang. A user, host or tenant that has a
    quarter gets none of the last sixteenth, either. `none`: first come, first served. Left out: `host` with a circuit
    breaker per host, else `none`."""

    aging: PositiveDuration | None = None
    """For `kind: strict`: a notification goes before one of the next more urgent class that joined this much later, and
    before one two classes up that joined twice this later. The order is the instant of joining plus 0, 1 or 2 times
    this. None: the class always decides."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.weights is not None and self.kind != "weighted":
            raise wanted("weights only with kind: weighted")
        if self.aging is not None and self.kind != "strict":
            raise wanted("aging only with kind: strict; in weighted order nothing starves")
        return self


class TenantConfig(Settings):
    """The bounds of each tenant on a channel, by `metadata.tenant`; notifications without a tenant are not bounded."""

    wanted_text: ClassVar[str] = "a mapping such as {max_in_flight: 10, rate: 20/s}"

    max_in_flight: PositiveWholeNumber | None = None
    """How many attempts of a tenant may be in flight at once: at the provider, or waiting for a slot or the quota
    there. A notification that waits for a circuit breaker does not count. None: no bound."""

    rate: PositiveRate | None = None
    """The rate at which attempts of a tenant pass its bound. One that then waits for a circuit breaker, a slot or the
    quota is not counted again when it starts, so that what has waited may start closer together. None: no bound."""

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.max_in_flight is None and self.rate is None:
            raise wanted("max_in_flight, rate, or both", "neither")
        if self.rate is not None and not (self.rate.count >= 1 and float(self.rate.count).is_integer()):
            raise wanted("a rate that lets a whole number of at least 1 through in its window", write_rate(self.rate))
        return self
