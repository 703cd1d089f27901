"""A store for tests that takes its time to commit, and forgets at a crash what it had not committed by then."""

from __future__ import annotations

from collections import deque

from actors.effects import Foreseen
from actors.messages import NotificationEvent, SendNotification
from actors.storage.memory import DAY_NS, MemoryStore


class LossyStore(MemoryStore):
    """A MemoryStore in which a change is durable `commit_delay_ns` after it was handed over, and not before."""

    def __init__(self, *, commit_delay_ns: int, remember_ids_ns: int = DAY_NS) -> None:
        super().__init__(remember_ids_ns=remember_ids_ns)
        self._commit_delay_ns = commit_delay_ns
        self._under_way: deque[tuple[int, NotificationEvent, SendNotification]] = deque()

    def commit(self, event: NotificationEvent, command: SendNotification) -> Foreseen:
        self.settle(event.at_ns)
        self._under_way.append((event.at_ns + self._commit_delay_ns, event, command))
        return Foreseen(self._commit_delay_ns, None)

    def settle(self, now_ns: int) -> None:
        """Make durable what has been under way for long enough."""
        while self._under_way and self._under_way[0][0] <= now_ns:
            _, event, command = self._under_way.popleft()
            self._apply(event, command)

    def crash(self, now_ns: int) -> int:
        """Forget what is not durable yet; return how many changes that were."""
        self.settle(now_ns)
        lost = len(self._under_way)
        self._under_way.clear()
        return lost
