from typing import Any

import msgspec

from actors import (
    NotificationChannel,
    NotificationSent,
    OrderPlaced,
    OwnActor,
    PositiveDuration,
    SendNotification,
    handles,
)

TEXTS = {
    "confirmed": "Your order is confirmed.",
    "late": "We could not confirm your order yet: please call us.",
}


class Deadline(msgspec.Struct, frozen=True):
    order: str


class Confirmation(OwnActor):
    """Confirms an order when its mail and its text are sent; at a deadline it takes them back."""

    def __init__(self, within: PositiveDuration = 600.0) -> None:
        super().__init__()
        self.within_ns = round(within * 1e9)
        self.orders: dict[str, dict[str, Any]] = {}

    def on_start(self) -> None:
        for order in self.kept().values():
            self.begin(order)

    @handles(OrderPlaced)
    async def on_placed(self, event: OrderPlaced) -> None:
        order_id = event.order_id
        if order_id in self.orders:
            return
        deadline_ns = self.epoch_ns + self.now_ns + self.within_ns
        order = {"id": order_id, "user": event.user_id, "deadline_ns": deadline_ns, "end": None}
        order["lacks"] = [f"email-order-placed-{order_id}", f"sms-order-placed-{order_id}"]
        self.begin(order)
        await self.keep(order_id, order)

    @handles(NotificationSent)
    async def on_sent(self, event: NotificationSent) -> None:
        order = self.orders.get(event.notification_id.partition("-order-placed-")[2])
        if order is None or event.notification_id not in order["lacks"]:
            return
        order["lacks"].remove(event.notification_id)
        await self.keep(order["id"], order)
        if not order["lacks"]:
            await self.end(order, "confirmed")

    @handles(Deadline)
    async def on_deadline(self, deadline: Deadline) -> None:
        order = self.orders.get(deadline.order)
        if order is not None:
            await self.end(order, order["end"] or ("late" if order["lacks"] else "confirmed"))

    def begin(self, order: dict[str, Any]) -> None:
        self.orders[order["id"]] = order
        is_open = order["end"] is None and order["lacks"]  # else a crash came before its end
        due_ns = order["deadline_ns"] - self.epoch_ns if is_open else self.now_ns
        self.at(due_ns, Deadline(order=order["id"]))

    async def end(self, order: dict[str, Any], end: str) -> None:
        order["end"] = end
        await self.keep(order["id"], order)  # from here on it ends so, whatever crashes
        if end == "late":  # the compensation
            for notification_id in order["lacks"]:
                await self.cancel(notification_id)
        await self.send(
            SendNotification(
                notification_id=f"{end}-{order['id']}",
                channel=NotificationChannel.PUSH,
                recipient=order["user"],
                message=TEXTS[end],
            )
        )
        del self.orders[order["id"]]
        await self.forget(order["id"])
