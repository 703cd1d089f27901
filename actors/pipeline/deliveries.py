"""The notifications in flight: accepted by the handler, or about to be, and not ended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from actors.kernel.actor import Actor
from actors.messages import NotificationChannel

if TYPE_CHECKING:
    from actors.domain.attempts import Attempt
    from actors.domain.delivery import Delivery
    from actors.domain.store import Store
    from actors.pipeline.commits import Commits
    from actors.pipeline.orders import Redrives


class Deliveries:
    """The notifications in flight: read from the store when the handler starts, then changed by its parts."""

    def __init__(self, handler: Actor, store: Store, commits: Commits, redrives: Redrives) -> None:
        self._commits, self._redrives = commits, redrives
        now_ns = handler.now_ns
        self.by_id: dict[str, Delivery] = {
            each.command.notification_id: each for each in store.open_deliveries(handler.epoch_ns, now_ns)
        }
        """Each with its state, also while its acceptance or redrive is not durable yet."""
        for delivery in self.by_id.values():
            delivery.take_care(store.cautions.pop(delivery.command.notification_id, None), now_ns)
        for notification_id, commit in commits.under_way.items():
            self.by_id[notification_id] = commit.delivery
            commit.delivery.charge_retry(0)  # the budget that it was charged to is gone

    def has_any(self) -> bool:
        """Tell whether one is in flight, or will be when its acceptance or redrive is durable."""
        return bool(self.by_id or self._redrives.taken)

    def count(self) -> int:
        return len(self.by_id) - self._commits.opening_count

    def count_by_channel(self) -> Counter[NotificationChannel]:
        opening = self._commits.opening
        return Counter(each.command.channel for name, each in self.by_id.items() if opening(name) is None)

    def has(self, notification_id: str) -> bool:
        return notification_id in self.by_id

    def of(self, attempt: Attempt) -> Delivery | None:
        """Return the notification whose attempt under way this is; None: the attempt is over, an answer to it stale."""
        delivery = self.by_id.get(attempt.command.notification_id)
        return delivery if delivery is not None and delivery.current is attempt else None

    def on_their_way(self, channel: NotificationChannel) -> list[tuple[Delivery, Attempt]]:
        """Return each notification with an attempt under way on a channel, and that attempt."""
        found = ((each, each.current) for each in self.by_id.values() if each.command.channel == channel)
        return [(delivery, attempt) for delivery, attempt in found if attempt is not None]

    def may_go_on(self, delivery: Delivery) -> bool:
        """Tell whether a notification that waited is in flight, is not cancelled, and is no earlier incarnation's."""
        notification_id = delivery.command.notification_id
        return self.by_id.get(notification_id) is delivery and notification_id not in self._commits.under_way

    def without_commits(self) -> list[Delivery]:
        """Return the notifications that may go on now: the others wait until their changes are durable."""
        return [each for name, each in self.by_id.items() if name not in self._commits.under_way]
