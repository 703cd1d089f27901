"""The orders of operators on notifications: to cancel waiting ones, and to redrive dead letters (section 7)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from actors.messages import RANKS, NotificationRedriven, Priority
from simulation.verification.model.handler import Handler
from simulation.verification.model.letters import Redrive
from simulation.verification.model.notifications import Attempt, Notification
from simulation.verification.model.redriving import BREAKER_CLOSED, Redriving

CANCELLED = "cancelled"


class Orders(Handler):
    redriving: Redriving
    redrives: dict[int, Redrive]
    """The redrives that wait for room, by their places: the order in which they came."""
    redrive_places: Iterator[int]

    def cancel_waiting(self, channels: Collection[str] | None, priority: Priority | None) -> None:
        """Cancel by an operator's order what has not begun an attempt: it waits here, or in a line on the way."""
        meant = []
        for name, notification in self.pending.items():
            command = notification.command
            if (channels is None or command.channel in channels) and priority in (None, command.priority):
                meant.append(name)
        self.cancel(meant)

    def cancel(self, names: Collection[str]) -> None:
        """Cancel those that wait; what is being made durable comes first."""
        on_their_way: dict[str, list[Attempt]] = {}
        for name in names:
            notification = self.pending.get(name)
            if notification is None:
                continue
            if name in self.commits:
                self.commits[name].is_cancelled = True
            elif notification.under_way is not None:
                on_their_way.setdefault(notification.command.channel, []).append(notification.under_way)
            else:
                self.due.pop(("go-on", name), None)
                self.suppress(notification, CANCELLED, None, "it waits, and is cancelled")
        for channel, attempts in on_their_way.items():
            first = self.ways[channel].first
            first.follow(first.withdraw, attempts)

    def withdrawn(self, attempt: Attempt) -> None:
        """Cancel one that has been taken out of its line."""
        notification = self.notification_of(attempt)
        if notification is not None:
            self.suppress(notification, CANCELLED, None, "it waits in a line, and is cancelled")
        else:
            self.cancel([attempt.command.notification_id])

    def waits_in_no_line(self, attempts: Collection[Attempt]) -> None:
        """Leave alone what is at a provider; what has come back meanwhile, or is sent again, is cancelled anew."""
        self.cancel([each.command.notification_id for each in attempts if self.notification_of(each) is None])

    # ── redrives ────────────────────────────────────────────────────────────────────────────────────────────────

    def redrive(self, order: Redrive, place: int | None = None) -> None:
        """ "Redrive is idempotent" (7), waits for room (14), starts afresh and keeps the history (3)."""
        letter, name, without_operator = order.letter, order.letter.command.notification_id, order.without_operator
        self.letters.taken.discard(name)
        if not self.has_room(order.priority):
            self.letters.taken.add(name)
            self.redrives[next(self.redrive_places) if place is None else place] = order
            return
        is_dead = self.has_letter(letter)
        is_served = is_dead and self.store.is_served(name, lambda other: other in self.pending)
        if not is_dead or (is_served and order.served == "exclude"):
            if is_dead:
                self.follow("dlq", "", self.letters.put_back, letter)
            self.take_up_next_redrive()
            return
        since_ns = min(letter.requested_at_ns + letter.epoch_ns - self.epoch_ns, self.now_ns)
        notification = self.pending[name] = Notification(letter.command, since_ns, self.now_ns, counted_for_user=True)
        notification.failures, notification.first_failed_ns = letter.history, letter.first_failure_ns + letter.epoch_ns
        notification.older = len(letter.history)
        notification.accepted, notification.edits = letter.accepted, letter.edits
        changes = {key: value for key, value in order.edit.items() if getattr(letter.command, key) != value}
        notification.edit(changes)
        notification.redriven_without_operator = letter.redriven_without_operator + without_operator
        event = self.event(
            NotificationRedriven,
            letter.command,
            by=order.by,
            why=BREAKER_CLOSED if without_operator else order.why,
            edit=changes,
            include_served=order.served == "include",
            without_operator=without_operator,
        )
        why = "its breaker has closed, and it is its turn by redrive: {}" if without_operator else "it is asked for"
        self.happens(event, notification, self.take_up, why, self.ways[letter.command.channel].config.redrive)

    def take_up_next_redrive(self) -> None:
        """Have one that waits for room look whether there is any."""
        if self.redrives:
            _, place = min((RANKS[each.priority], place) for place, each in self.redrives.items())
            self.follow("handler", "", self.redrive, self.redrives.pop(place), place)
