"""Idempotency: which notification ids have been seen lately, and with which payload."""

from __future__ import annotations

from collections import deque
from typing import Any

from actors.messages import SendNotification


def fingerprint(command: SendNotification) -> int:
    """Return a number that is equal for equal payloads; comparable within one process only."""
    metadata = command.metadata
    return hash(
        (
            command.channel,
            command.recipient,
            command.message,
            command.subject,
            command.user_id,
            command.critical,
            command.expires_after,
            repr(sorted(metadata.items(), key=_name)) if metadata else None,
        )
    )


def _name(item: tuple[Any, Any]) -> str:
    return str(item[0])


class RememberedIds:
    """The ids of notifications that have ended, each for `ttl_ns` nanoseconds; after that an id is new again.

    An id may also be kept without a term, as that of a dead letter is for as long as somebody may redrive it. Instants
    are of any clock that never goes back.
    """

    def __init__(self, ttl_ns: int) -> None:
        self._ttl_ns = ttl_ns
        self._fingerprints: dict[str, int] = {}
        self._ended: deque[tuple[int, str]] = deque()

    def __len__(self) -> int:
        return len(self._fingerprints)

    def get(self, notification_id: str, now_ns: int) -> int | None:
        """Return the fingerprint that was remembered with an id, or None when it is new."""
        ended, oldest_ns = self._ended, now_ns - self._ttl_ns
        while ended and ended[0][0] <= oldest_ns:
            self._fingerprints.pop(ended.popleft()[1], None)
        return self._fingerprints.get(notification_id)

    def add(self, notification_id: str, payload: int, now_ns: int) -> None:
        """Remember an id from now on."""
        self._fingerprints[notification_id] = payload
        self._ended.append((now_ns, notification_id))

    def keep(self, notification_id: str, payload: int) -> None:
        """Remember an id until it is forgotten, or added with a term."""
        self._fingerprints[notification_id] = payload

    def forget(self, notification_id: str) -> None:
        """Forget an id that was kept, as of a dead letter that is redriven: it is in flight again."""
        self._fingerprints.pop(notification_id, None)
