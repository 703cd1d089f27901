"""Requests: a notification and the chain of its fallbacks, of which one delivery is enough.

A dead letter is *served* while another notification of its request is under way, and for good once one was delivered: a
redrive then reaches the recipient twice. Mostly the other notification is its fallback, or a later one of the chain. It
may also be an earlier one, if that has been redriven.

The first half is derived when it is asked for. A notification is under way while it is open in the store, so a fallback
serves from the commit of its acceptance until the commit of its end, whatever dies in between, and nothing is written
for it. The second half is noted: a delivered notification leaves the store, so the commit of its `NotificationSent`,
the last for this notification, notes the delivery. Neither half needs a second commit before which a kill could come. A
kill between the end of one fallback and the acceptance of the next leaves a letter that is not served; then no further
fallback follows either.
"""

from __future__ import annotations

from collections.abc import Callable, Container

import msgspec


class Request(msgspec.Struct, eq=False):
    """Notifications that stand for each other."""

    request_id: str
    """The id of the first notification of the request."""

    members: list[str]
    """The ids of all notifications of the request."""

    delivered: bool = False

    def note_delivery(self) -> None:
        self.delivered = True


class Requests:
    """The requests in which something has fallen back, by the id of each notification in them."""

    def __init__(self) -> None:
        self.by_member: dict[str, Request] = {}
        """The request of each notification in which something has fallen back, until it is forgotten; to be read."""

    def all(self) -> list[Request]:
        return list({id(request): request for request in self.by_member.values()}.values())

    def join(self, notification_id: str, instead_of: str) -> Request:
        """Add a notification to the request of another one, which need not be its first; return the request."""
        request = self.by_member.get(instead_of)
        if request is None:
            request = self.by_member[instead_of] = Request(instead_of, [instead_of])
        own = self.by_member.get(notification_id)
        if own is None:
            request.members.append(notification_id)
            self.by_member[notification_id] = request
        elif own is not request:  # the link between the two was not known until now
            request.members += own.members
            request.delivered |= own.delivered
            self.by_member.update(dict.fromkeys(own.members, request))
        return request

    def is_served(self, notification_id: str, is_under_way: Callable[[str], bool]) -> bool:
        """Tell whether another notification of the same request is under way, or one was delivered."""
        request = self.by_member.get(notification_id)
        if request is None:
            return False
        return request.delivered or any(is_under_way(member) for member in request.members if member != notification_id)

    def is_delivered(self, notification_id: str) -> bool:
        request = self.by_member.get(notification_id)
        return request is not None and request.delivered

    def forget_unless(self, request: Request, *kept: Container[str]) -> bool:
        """Forget a request unless one of its ids is in one of `kept`; tell whether it is forgotten."""
        if any(member in ids for member in request.members for ids in kept):
            return False
        for member in request.members:
            del self.by_member[member]
        return True
