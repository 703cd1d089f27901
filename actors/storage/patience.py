"""How long a store on disk and its callers wait while it cannot be written."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import trio

from actors.domain.store import LeaseRenewed, News, StoreWaits
from actors.errors import StoreBusy
from actors.kernel.effects import Promise

logger = logging.getLogger(__name__)

CALLERS_PATIENCE = 1.0
"""Seconds for which nothing has become durable when callers get StoreBusy."""

CLOSE_PATIENCE = 10.0
"""Seconds that a store which is being closed waits, at the most, until it can be written again."""

SAID_AFTER = (1.0, 10.0, 60.0)
"""Seconds after which the log says that a store waits, and for what; the last is repeated."""


class Patience:
    """Tells the log, callers and the pipeline that a store cannot be written, and when it can be written again.

    The threads of the store call `waits`, `goes_on` and `is_over`, and the system's thread the rest.
    """

    def __init__(self, name: str, tell: Callable[..., object], tell_news: Callable[[News], object]) -> None:
        """`tell` calls a function in the system's thread; `tell_news` must be called in that thread."""
        self.is_busy = False
        self.is_locked = False
        """Whether the store's thread waits for a lock before it can write; no attempt starts meanwhile."""
        self._name, self._tell, self._tell_news = name, tell, tell_news
        self._times_said = 0
        """How often the log has said that the store waits."""
        self._callers: set[trio.Event] = set()
        """Set when the callers are to wait no longer."""
        self._closing_since: float | None = None

    def waits(self, since: float, why: Callable[[], str], is_locked: bool = True) -> None:
        """Note that nothing could be written since an instant of the monotonic clock: as it is locked, and no attempt
        starts; or as it is away, for which there is the lease."""
        self.is_locked |= is_locked
        waited = time.monotonic() - since
        says_at = [*SAID_AFTER, SAID_AFTER[-1] * (self._times_said - len(SAID_AFTER) + 2)][min(self._times_said, 3)]
        if waited >= says_at:
            self._times_said += 1
            text = "%s cannot be written for %.0f s now: %s; callers are to come again"
            logger.warning(text, self._name, waited, why())
        if waited >= CALLERS_PATIENCE and not self.is_busy:
            self.is_busy = True
            self._tell(self._send_callers_away)

    def goes_on(self, since: float) -> None:
        """Note that something could be written that was begun at that instant."""
        if not (self.is_locked or self.is_busy):
            return
        self.is_locked = self.is_busy = False
        if self._times_said:
            logger.warning("%s can be written again, after %.1f s", self._name, time.monotonic() - since)
            self._times_said = 0
        self._tell(self._tell_news, LeaseRenewed())

    def close(self) -> None:
        self._closing_since = time.monotonic()

    def is_over(self) -> bool:
        """Tell whether the store is being closed and has waited for long enough."""
        return self._closing_since is not None and time.monotonic() - self._closing_since >= CLOSE_PATIENCE

    def _send_callers_away(self) -> None:
        if self.is_busy:  # else it goes on already
            for over in self._callers:
                over.set()
            self._tell_news(StoreWaits())

    async def answer_of(self, promise: Promise) -> Any:
        """Wait for a promise of the store, as a caller does; raise StoreBusy where the store is busy before it is
        kept."""
        if not (promise.is_kept or self.is_busy):
            over = trio.Event()
            self._callers.add(over)
            promise.when_kept(lambda _: over.set())
            try:
                await over.wait()
            finally:
                self._callers.discard(over)
        if not promise.is_kept:
            raise StoreBusy
        return await promise()
