"""What the log says of an overload: a line when it begins and one when it ends, however many are refused."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from actors.policies.admission import RETRY_AFTER

logger = logging.getLogger("retrylab.service")

QUIET_S = 2 * RETRY_AFTER
"""Seconds without a refusal after which an overload has ended: who was refused has come again by then."""


class OverloadLog:
    """Knows whether callers are refused for lack of room, and logs when that begins and ends.

    Args:
        nursery: has the watch for the end, while there is an overload.
        in_flight: returns how many notifications are accepted and have not ended.
        has_room: tells whether another one would be accepted.
    """

    def __init__(self, nursery: trio.Nursery, in_flight: Callable[[], int], has_room: Callable[[], bool]) -> None:
        self._nursery = nursery
        self._in_flight = in_flight
        self._has_room = has_room
        self._refused = 0
        self._began_s = 0.0
        self._latest_s = 0.0

    @property
    def is_on(self) -> bool:
        return self._refused > 0

    def count(self, refused: int, max_pending: int | None) -> None:
        if not refused:
            return
        self._latest_s = trio.current_time()
        if not self.is_on:
            self._began_s = self._latest_s
            fields = {"in_flight": self._in_flight(), "max_pending": max_pending}
            logger.warning("overloaded: what comes is refused until there is room (429)", extra={"fields": fields})
            self._nursery.start_soon(self._watch)
        self._refused += refused

    async def _watch(self) -> None:
        while (quiet_s := trio.current_time() - self._latest_s) < QUIET_S or not self._has_room():
            await trio.sleep(QUIET_S - quiet_s if quiet_s < QUIET_S else QUIET_S)
        self.end("no longer overloaded")

    def end(self, text: str = "overloaded until the end of the service") -> None:
        if self.is_on:
            fields = {"refused": self._refused, "for_s": round(self._latest_s - self._began_s, 3)}
            self._refused = 0
            logger.warning(text, extra={"fields": fields})
