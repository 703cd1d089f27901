"""Bulk runs: many dead letters that are retried or discarded one after the other, no faster than at a given rate."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

import trio

from actors.errors import LetterServed, RetrylabError, StoreBusy
from actors.messages import (
    DeadLetterMessage,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationSent,
    NotificationSuppressed,
)
from actors.pipeline.event_bus import EventBus
from actors.pipeline.orders import Served
from actors.service.operations.queries import Filter, Group

logger = logging.getLogger(__name__)

Action: TypeAlias = Literal["retry", "discard"]

RATE_MAX_PER_S = 10_000.0
"""The most dead letters a second that a bulk run may ask for."""

CATCH_UP_S = 0.02
"""How much time a bulk run that is late makes up for: no clock wakes a task exactly on time."""

AT_ONCE = 100
"""How many changes of a bulk run may wait for the store at once."""

_ENDS: dict[type[NotificationEvent], str] = {
    NotificationSent: "delivered",
    NotificationMovedToDeadLetter: "dead_again",
    NotificationSuppressed: "not_wanted",
}
"""The events that end a retry, and the counts of a bulk run that they add to."""


@dataclass(frozen=True)
class DryRun:
    """The dead letters that a bulk run would take if it started now."""

    count: int
    left_out: int
    """The number of letters that fit as well, and would be left out as they are served."""
    groups: Sequence[Group]
    """The letters by reason, the largest group first."""
    sample: list[DeadLetterMessage]


@dataclass
class Bulk:
    """Dead letters being retried or discarded, one after the other."""

    id: str
    action: Action
    filter: Filter
    by: str | None
    why: str | None
    rate_per_s: float
    """The most letters that are started in a second."""
    total: int
    """The number of letters that fitted when it started, with served ones that are left out; later letters are not in
    the run."""
    started_at: datetime
    _note_cancel: Any = field(repr=False)
    _left: deque[str] = field(repr=False)
    _waits: trio.CancelScope = field(default_factory=trio.CancelScope, repr=False)
    """The scope of its waits between one letter and the next."""
    done: int = 0
    """The number of letters that it has retried or discarded."""
    delivered: int = 0
    """The number of retried notifications that were delivered since."""
    dead_again: int = 0
    """The number of retried notifications that are dead letters again."""
    not_wanted: int = 0
    """The number of retried notifications that were suppressed or cancelled since."""
    _ends: dict[str, type[NotificationEvent] | None] = field(default_factory=dict, repr=False)
    """The notifications that it retries and whose end is not counted; with the end, where that came before the answer
    to the order."""
    _asked: set[str] = field(default_factory=set, repr=False)
    """The notifications whose order is not answered yet."""
    skipped: int = 0
    """The number of notifications that were no dead letters any more when their turn came."""
    served: Served = "exclude"
    """Whether a retry takes served letters, too."""
    left_out: int = 0
    """The number of letters that stay, as they are served."""
    failed: int = 0
    state: Literal["running", "finished", "cancelled"] = "running"
    ended_at: datetime | None = None
    cancelled_by: str | None = None

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise ValueError(f"action: wanted one of {', '.join(get_args(Action))}, got {self.action!r}")
        if not 0 < self.rate_per_s <= RATE_MAX_PER_S:
            wanted = f"wanted a number above 0 and up to {RATE_MAX_PER_S:g}"
            raise ValueError(f"rate_per_s: {wanted}, got {self.rate_per_s!r}")

    @property
    def handled(self) -> int:
        return self.done + self.skipped + self.left_out + self.failed

    @property
    def under_way(self) -> int:
        """The number of retried notifications that have not ended."""
        ended = self.delivered + self.dead_again + self.not_wanted
        return self.done - ended if self.action == "retry" else 0

    @property
    def is_followed(self) -> bool:
        """Whether the events of its notifications still change its counts."""
        return self.action == "retry" and (self.state == "running" or bool(self._ends))

    def follow(self, event: NotificationEvent) -> None:
        """Count the end of a notification, if the run has retried it."""
        if event.notification_id in self._ends:
            self._ends[event.notification_id] = type(event)
            if event.notification_id not in self._asked:
                self._count_end(event.notification_id)

    def _count_end(self, notification_id: str) -> None:
        if (end := self._ends[notification_id]) is not None:
            del self._ends[notification_id]
            setattr(self, _ENDS[end], getattr(self, _ENDS[end]) + 1)

    def cancel(self, by: str | None) -> bool:
        """Let it end before its time; what it has not started stays. Tell whether it was still running."""
        if self.state != "running":
            return False
        self.state, self.cancelled_by = "cancelled", by
        self._left.clear()
        self._waits.cancel()
        self._note_cancel(self, by)
        return True

    async def run(self, do: Callable[[str], Awaitable[bool]]) -> None:
        """Take up its letters one after the other, no more of them than its rate allows; cut off, it can go on later.

        Args:
            do: its action, to one notification; returns whether that was a dead letter.
        """
        at_once = trio.Semaphore(AT_ONCE)
        next_at = trio.current_time()
        self._waits = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            with self._waits:
                while self._left:
                    await at_once.acquire()
                    await trio.sleep_until(next_at)
                    if not self._left:
                        break  # cancelled at this very instant
                    notification_id = self._left.popleft()
                    next_at = max(next_at, trio.current_time() - CATCH_UP_S) + 1 / self.rate_per_s
                    nursery.start_soon(self._do_one, do, notification_id, at_once)
        if self.state == "running":
            self.state = "finished"

    def end(self, ended_at: datetime) -> None:
        self.ended_at = ended_at

    async def _do_one(
        self, do: Callable[[str], Awaitable[bool]], notification_id: str, at_once: trio.Semaphore
    ) -> None:
        if self.action == "retry":
            self._asked.add(notification_id)
            self._ends[notification_id] = None
        was_one = False
        try:
            was_one = await _once_written(do, notification_id)
        except LetterServed:  # since the run began
            self.left_out += 1
        except RetrylabError as error:
            self.failed += 1
            logger.error("bulk %s %s: %r has failed: %s", self.action, self.id, notification_id, error)
        except trio.Cancelled:
            if self.state == "running":
                self._left.appendleft(notification_id)  # to be asked again when it goes on
            raise
        else:
            self.done += was_one
            self.skipped += not was_one
        finally:
            self._asked.discard(notification_id)
            if was_one and self.action == "retry":
                self._count_end(notification_id)
            else:
                self._ends.pop(notification_id, None)
            at_once.release()


class Ends:
    """Has bulk runs hear of the ends of notifications, for as long as one of them retries any or waits for an end."""

    def __init__(self, bulks: Mapping[str, Bulk]) -> None:
        self._bulks = bulks
        self._bus: EventBus | None = None

    def listen(self, bus: EventBus) -> None:
        if bus is not self._bus and self._are_wanted:
            bus.subscribe(*_ENDS)(self._hear)
            self._bus = bus

    def _hear(self, event: NotificationEvent) -> None:
        for bulk in self._bulks.values():
            bulk.follow(event)
        if self._bus is not None and not self._are_wanted:
            self._bus.unsubscribe(self._hear)
            self._bus = None

    @property
    def _are_wanted(self) -> bool:
        return any(bulk.is_followed for bulk in self._bulks.values())


async def _once_written(do: Callable[[str], Awaitable[bool]], notification_id: str) -> bool:
    """Have one letter retried or discarded, again while the store is busy: it may be done then, without an answer."""
    while True:
        try:
            return await do(notification_id)
        except StoreBusy as busy:
            await trio.sleep(busy.retry_after)
