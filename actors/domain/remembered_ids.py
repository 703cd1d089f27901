"""Idempotency: which notification ids have been seen lately, and with which payload."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal, TypeAlias

from actors.messages import SendNotification

EndedAs: TypeAlias = Literal["sent", "suppressed", "cancelled", "discarded"]
"""How a notification has ended for good."""


class RememberedIds:
    """The ids of notifications that have ended, each for `ttl_ns` nanoseconds; after that an id is new again.

    An id may also be kept without a time limit, such as a dead letter's as long as it may be redriven. Instants may be
    of any clock. If the clock is set back, an id is remembered for longer, at most by the step, and never for less.
    """

    def __init__(self, ttl_ns: int, *, most: int | None = None, ahead_ns: Callable[[], int] | None = None) -> None:
        """Remember nothing yet.

        Args:
            ttl_ns: for how long an id is remembered, in nanoseconds.
            most: how many ids of ended notifications are kept here, the latest; None: all. With a limit this is a
                cache, and the store knows the other ids.
            ahead_ns: returns by how much the clock of the instants has been set forward, in nanoseconds; ages do not
                count these steps. None: the clock is never set, or ages follow its steps.
        """
        self.ttl_ns = ttl_ns
        self.latest_ns = 0
        """When the latest id was added: on the clock of :meth:`steady_ns`, and never set back."""
        self._most = most
        self._ahead_ns = ahead_ns
        self.commands: dict[str, SendNotification] = {}
        """The commands by id, to be read. Some may be due to be forgotten, which :meth:`get` does."""
        self._unsent: dict[str, EndedAs] = {}
        """The ends of the ids that were not sent; mostly there are few."""
        # Two deques and not one of pairs: millions of tuples would keep Python's garbage collector busy.
        self._ended: deque[str] = deque()
        self._ended_ns: deque[int] = deque()
        self._due_ns = 0
        """Until this instant no id is due to be forgotten."""

    def __len__(self) -> int:
        return len(self.commands)

    def steady_ns(self, now_ns: int) -> int:
        """Return the instant that the clock of `now_ns` would show if it had not been set."""
        return now_ns if self._ahead_ns is None else now_ns - self._ahead_ns()

    def get(self, notification_id: str, now_ns: int) -> SendNotification | None:
        """Return the command that an id came with, or None when it is new, or not known here."""
        if notification_id not in self.commands:
            return None
        self._forget_old(self.steady_ns(now_ns) - self.ttl_ns)
        return self.commands.get(notification_id)

    def add(self, command: SendNotification, now_ns: int) -> None:
        steady_ns = now_ns if self._ahead_ns is None else now_ns - self._ahead_ns()
        if steady_ns >= self._due_ns:
            self._forget_old(steady_ns - self.ttl_ns)
        if steady_ns > self.latest_ns:
            self.latest_ns = steady_ns
        notification_id = command.notification_id
        self.commands[notification_id] = command
        self._ended.append(notification_id)
        self._ended_ns.append(self.latest_ns)
        if self._most is not None and len(self._ended) > self._most:
            self._drop_oldest()

    def resume(self, latest_ns: int) -> None:
        """Go on from the instant at which the latest id was added in an earlier process."""
        self.latest_ns = latest_ns

    def note_end(self, notification_id: str, ended_as: EndedAs) -> None:
        """Record how one has ended that is remembered and was not sent."""
        if notification_id in self.commands:
            self._unsent[notification_id] = ended_as

    def ended_as(self, notification_id: str) -> EndedAs:
        return self._unsent.get(notification_id, "sent")

    def ended_ns(self, notification_id: str, now_ns: int) -> int | None:
        """Return when one has ended that is remembered, by the clock of `now_ns`; None: that is not known here."""
        if notification_id not in self.commands:
            return None
        known = zip(reversed(self._ended), reversed(self._ended_ns), strict=True)  # it may have ended before, too
        since = next((ended_ns for each, ended_ns in known if each == notification_id), None)
        return None if since is None else since + now_ns - self.steady_ns(now_ns)

    def latest(self, most: int, now_ns: int) -> Iterator[tuple[SendNotification, EndedAs, int]]:
        """Yield the commands of up to so many that are known here to have ended, the latest first; how each has ended,
        and when, by the clock of `now_ns`."""
        steady_ns = self.steady_ns(now_ns)
        self._forget_old(steady_ns - self.ttl_ns)
        for notification_id, ended_ns in islice(
            zip(reversed(self._ended), reversed(self._ended_ns), strict=True), most
        ):
            if (command := self.commands.get(notification_id)) is not None:
                yield command, self.ended_as(notification_id), ended_ns + now_ns - steady_ns

    def keep(self, command: SendNotification) -> None:
        """Remember the id of a command until it is forgotten, or added with a term."""
        self.commands[command.notification_id] = command

    def forget(self, notification_id: str) -> None:
        """Drop an id that was kept, as of a dead letter that is redriven: it is in flight again."""
        self.commands.pop(notification_id, None)

    def _forget_old(self, oldest_ns: int) -> None:
        ended_ns = self._ended_ns
        while ended_ns and ended_ns[0] <= oldest_ns:
            self._drop_oldest()
        self._due_ns = (ended_ns[0] if ended_ns else self.latest_ns) + self.ttl_ns

    def _drop_oldest(self) -> None:
        self._ended_ns.popleft()
        notification_id = self._ended.popleft()
        self.commands.pop(notification_id, None)
        self._unsent.pop(notification_id, None)
