from typing import Any

import msgspec

from actors import (
    NotificationChannel,
    OrderShipped,
    OwnActor,
    PositiveDuration,
    PositiveWholeNumber,
    SendNotification,
    handles,
)


class Due(msgspec.Struct, frozen=True):
    user: str
    first_ns: int


class Digest(OwnActor):
    """Collects a customer's parcels into one mail: so many, or all until the first is so old."""

    replaces = (OrderShipped,)

    def __init__(
        self, at_most: PositiveWholeNumber = 20, max_age: PositiveDuration = 3600.0
    ) -> None:
        super().__init__()
        self.at_most, self.max_age_ns = at_most, round(max_age * 1e9)
        self.digests: dict[str, dict[str, Any]] = {}

    def on_start(self) -> None:
        for digest in self.kept().values():
            self.begin(digest)

    @handles(OrderShipped)
    async def on_shipped(self, event: OrderShipped) -> None:
        user = event.user_id
        digest = self.digests.get(user)
        if digest is not None and digest["closed"]:  # a crash came while it was sent
            await self.flush(digest)
            digest = None
        if digest is None:
            first_ns = self.epoch_ns + self.now_ns  # on the calendar, as it outlives the process
            digest = {"user": user, "email": event.customer_email, "first_ns": first_ns}
            digest |= {"orders": [], "closed": False}
            self.begin(digest)
        if event.order_id not in digest["orders"]:
            digest["orders"].append(event.order_id)
        await self.keep(user, digest)  # the publisher of the event waits for this
        if len(digest["orders"]) >= self.at_most:
            await self.flush(digest)

    @handles(Due)
    async def on_due(self, due: Due) -> None:
        digest = self.digests.get(due.user)
        if digest is not None and digest["first_ns"] == due.first_ns:  # else it has been sent
            await self.flush(digest)

    def begin(self, digest: dict[str, Any]) -> None:
        user, first_ns = digest["user"], digest["first_ns"]
        self.digests[user] = digest
        self.at(first_ns + self.max_age_ns - self.epoch_ns, Due(user=user, first_ns=first_ns))

    async def flush(self, digest: dict[str, Any]) -> None:
        user, orders = digest["user"], digest["orders"]
        digest["closed"] = True
        await self.keep(user, digest)  # from here on a crash sends this very mail once more
        await self.send(
            SendNotification(
                notification_id=f"digest-{orders[0]}",  # by which it is accepted once
                channel=NotificationChannel.EMAIL,
                recipient=digest["email"],
                user_id=user,
                subject=f"{len(orders)} parcels are on their way",
                message=" ".join(orders),
            )
        )
        del self.digests[user]
        await self.forget(user)
