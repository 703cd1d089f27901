"""Idempotency: which notification ids have been seen lately, and with which payload."""

from __future__ import annotations

from collections import deque

from actors.messages import SendNotification


class RememberedIds:
    """The ids of notifications that have ended, each for `ttl_ns` nanoseconds; after that an id is new again.

    An id may also be kept without a time limit, as that of a dead letter is for as long as it may be redriven. Instants
    are of any clock. If that is set back, an id is remembered no less than its time, and longer by as much at the most.
    """

    def __init__(self, ttl_ns: int) -> None:
        self._ttl_ns = ttl_ns
        self._payloads: dict[str, SendNotification] = {}
        # Two lines and not one of pairs: millions of tuples would keep Python's garbage collector busy.
        self._ended: deque[str] = deque()
        self._ended_ns: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._payloads)

    def get(self, notification_id: str, now_ns: int) -> SendNotification | None:
        """Return the command that an id came with, or None when it is new."""
        ended_ns, oldest_ns = self._ended_ns, now_ns - self._ttl_ns
        while ended_ns and ended_ns[0] <= oldest_ns:
            ended_ns.popleft()
            self._payloads.pop(self._ended.popleft(), None)
        return self._payloads.get(notification_id)

    def add(self, command: SendNotification, now_ns: int) -> None:
        """Remember the id of a command from now on."""
        self._payloads[command.notification_id] = command
        self._ended.append(command.notification_id)
        self._ended_ns.append(now_ns)

    def keep(self, command: SendNotification) -> None:
        """Remember the id of a command until it is forgotten, or added with a term."""
        self._payloads[command.notification_id] = command

    def forget(self, notification_id: str) -> None:
        """Drop an id that was kept, as of a dead letter that is redriven: it is in flight again."""
        self._payloads.pop(notification_id, None)
