"""Requests: a notification and what falls back from it, of which one delivery is enough.

A dead letter is *served* while another notification of its request is under way, and for good once one was delivered:
who redrives it then reaches its recipient twice. Mostly that is its fallback, or one later in the chain. It may also be
what it is a fallback of, where that has been redriven.

Half of it is derived when it is asked for, half is noted. Under way is what the store has open, so a fallback serves
from the commit of its acceptance on and to that of its end, whatever dies in between, and nothing is written for it.
What was delivered is gone from the store once it has ended, so that is noted: in the commit of its `NotificationSent`,
which is the last that a store hears of it. Neither needs a second commit before which a kill could come. Between the
end of one fallback and the acceptance of the next one a kill leaves a letter that is not served, and nothing follows
then either.
"""

from __future__ import annotations

from collections.abc import Callable, Container

import msgspec


class Request(msgspec.Struct, eq=False):
    """Notifications that stand for each other."""

    request_id: str
    """The id of the first of them."""

    members: list[str]
    """The ids of all of them."""

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
        """Add a notification to the request of another one, the first of it or any; return that."""
        request = self.by_member.get(instead_of)
        if request is None:
            request = self.by_member[instead_of] = Request(instead_of, [instead_of])
        own = self.by_member.get(notification_id)
        if own is None:
            request.members.append(notification_id)
            self.by_member[notification_id] = request
        elif own is not request:  # what is in between was not known until now
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
        """Forget a request of which nothing is left in any of these; tell whether it is forgotten."""
        if any(member in ids for member in request.members for ids in kept):
            return False
        for member in request.members:
            del self.by_member[member]
        return True
