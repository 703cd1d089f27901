"""Requests: a notification and what falls back from it reach their recipient once, whatever is redriven."""

from __future__ import annotations

from actors.messages import NotificationRedriven, NotificationRequested, NotificationSent
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import State


class ReachedOnce(Invariant):
    """No one is reached twice through a redrive, by a notification and by its fallback.

    What is redriven has no fallback that was sent or is under way, nor is it one of what was or is; and of a request
    one notification is sent. Unless an operator has asked for it: then it may be two, of those that are under way at
    once. Nothing falls back of which one was sent.
    """

    name = "reached-once"
    settings = ("fallback",)
    needs = ("fallback",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._requests: dict[str, list[str]] = {}
        """The notifications of each request in which something has fallen back, by each of them."""
        self._wanted_twice: set[str] = set()

    @observes(NotificationRequested)
    def on_requested(self, requested: NotificationRequested) -> Objection:
        if requested.instead_of is not None:
            for other, state in self._others(requested.instead_of):
                if state is State.SENT:
                    return f"{requested.instead_of} falls back, and {other} of the same request is sent"
        # Its id may have come before, and have been forgotten: then it leaves the request of the earlier one.
        earlier = self._requests.pop(requested.notification_id, [])
        if requested.notification_id in earlier:
            earlier.remove(requested.notification_id)
        if requested.instead_of is not None:
            request = self._requests.setdefault(requested.instead_of, [requested.instead_of])
            request.append(requested.notification_id)
            self._requests[requested.notification_id] = request
            if requested.instead_of in self._wanted_twice:
                self._wanted_twice.add(requested.notification_id)
        return None

    @observes(NotificationRedriven)
    def on_redriven(self, redriven: NotificationRedriven) -> Objection:
        if redriven.include_served:
            self._wanted_twice.update(self._requests.get(redriven.notification_id, ()))
            return None
        for other, state in self._others(redriven.notification_id):
            if state in (State.IN_FLIGHT, State.SENT):
                return f"{redriven.notification_id} is redriven, and {other} of the same request is {state}"
        return None

    @observes(NotificationSent)
    def on_sent(self, sent: NotificationSent) -> Objection:
        if sent.notification_id in self._wanted_twice:
            return None
        for other, state in self._others(sent.notification_id):
            if state is State.SENT:
                return f"{sent.notification_id} is sent, and so was {other} of the same request"
        return None

    def _others(self, notification_id: str) -> list[tuple[str, State]]:
        others = [each for each in self._requests.get(notification_id, ()) if each != notification_id]
        known = [(each, self.context.lifecycles.get(each)) for each in others]
        return [(each, lifecycle.state) for each, lifecycle in known if lifecycle is not None]
