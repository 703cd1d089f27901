"""Readiness: whether a notification may go out now, or later, or not at all."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from inspect import signature

from actors.domain.suppressions import Suppressions, SuppressionSource
from actors.errors import described, shortened
from actors.instants import NS_PER_S, since_1970_ns, utc
from actors.kernel.async_handlers import failure
from actors.kernel.runtime import Runtime
from actors.messages import SendNotification
from actors.pipeline.endpoint_watch import EndpointWatch
from actors.pipeline.preferences import Preferences

logger = logging.getLogger(__name__)

SWITCHED_OFF = "switched off by the user"
ADDRESS_GONE = "the address is gone"
ENDPOINT_DISABLED = "the endpoint is disabled"

ASK_AGAIN_NS = 10 * NS_PER_S
"""How long until preferences that raised are asked again, in nanoseconds."""

UNDECIDED_MAX_NS = 3600 * NS_PER_S
"""How long preferences may raise before their notification is dead-lettered, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The notification must not be sent at all."""

    reason: str


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """The notification cannot be sent as things are, and becomes a dead letter: people decide about it."""

    reason: str


class _Raised(Exception):
    """Preferences raised; the text says which method, and what."""


@dataclass(frozen=True, slots=True)
class NotBefore:
    """The notification must not be sent before an instant."""

    instant_ns: int

    is_quiet: bool
    """Whether that is the end of quiet hours; else it is scheduled, or preferences are asked again then."""

    raised: str | None = None
    """The error that the preferences raised, in words."""


class Readiness:
    """Says whether a notification may have its next attempt now: its own instant, suppressions, preferences, quiet
    hours and a disabled endpoint may hold it back.

    Args:
        preferences: of the users; None: every user wants everything, at any time.
    """

    def __init__(
        self,
        system: Runtime,
        suppressions: Suppressions,
        endpoints: EndpointWatch,
        preferences: Preferences | None,
    ) -> None:
        self._system = system
        self._suppressions = suppressions
        self._endpoints = endpoints
        self._disabled = endpoints.disabled  # bound once: it is asked for every attempt
        self._preferences = preferences
        self._undecided_since: dict[str, int] = {}
        """By id, since when a notification's preferences have raised each time; in that order."""

    def obstacle(self, command: SendNotification) -> Unwanted | Undeliverable | NotBefore | None:
        if command.not_before is not None:
            due_ns = since_1970_ns(command.not_before) - self._system.epoch_ns
            if due_ns > self._system.now_ns:
                return NotBefore(due_ns, is_quiet=False)
        if self._suppressions.any:
            suppression = self._suppressions.find(command.channel, command.recipient)
            if suppression is not None:
                is_gone = suppression.source is SuppressionSource.PROVIDER
                return Unwanted(ADDRESS_GONE if is_gone else f"suppressed: {suppression.reason}")
        if self._preferences is None or command.critical or not command.user:
            return self._undeliverable(command) if self._disabled else None
        now_ns = self._system.now_ns
        try:
            wanted_at_ns = self._wanted_at_ns(self._preferences, command)
        except _Raised as error:
            logger.error("preferences raised on notification %r", command.notification_id, exc_info=error.__cause__)
            return self._undecided(command.notification_id, now_ns, str(error))
        if self._undecided_since:
            self._undecided_since.pop(command.notification_id, None)
        if wanted_at_ns is None:
            return Unwanted(SWITCHED_OFF)
        if wanted_at_ns > now_ns:
            return NotBefore(wanted_at_ns, is_quiet=True)
        return self._undeliverable(command) if self._disabled else None

    def _undecided(self, notification_id: str, now_ns: int, raised: str) -> NotBefore | Undeliverable:
        since = self._undecided_since
        since_ns = since.setdefault(notification_id, now_ns)
        if now_ns - since_ns >= UNDECIDED_MAX_NS:
            del since[notification_id]
            return Undeliverable(raised)
        while now_ns - since[oldest := next(iter(since))] > 2 * UNDECIDED_MAX_NS:  # it ended, or nobody asks any more
            del since[oldest]
        return NotBefore(now_ns + ASK_AGAIN_NS, is_quiet=False, raised=raised)

    def _undeliverable(self, command: SendNotification) -> Undeliverable | None:
        return Undeliverable(ENDPOINT_DISABLED) if self._endpoints.is_disabled(command) else None

    def is_wanted(self, command: SendNotification) -> bool:
        """Tell whether the user of a command wants it now, and its address is neither suppressed, gone nor disabled."""
        if self._disabled and self._endpoints.is_disabled(command):
            return False
        if self._suppressions.any and self._suppressions.find(command.channel, command.recipient) is not None:
            return False
        if self._preferences is None or command.critical or not command.user:
            return True
        try:
            return self._wanted_at_ns(self._preferences, command) == self._system.now_ns
        except _Raised:
            return False  # it is requeued then, and `obstacle` asks again and logs what is raised

    @cached_property
    def _knows_zones(self) -> bool:
        return self._preferences is not None and "zone" in signature(self._preferences.quiet_until).parameters

    def _wanted_at_ns(self, preferences: Preferences, command: SendNotification) -> int | None:
        """Return from when on its user wants a command, now or when quiet hours are over; None: it is switched off.

        Raises:
            _Raised: custom preferences raise, or give no instant.
        """
        user, channel, asked = command.user, command.channel, "is_enabled"
        try:
            if not preferences.is_enabled(user, channel):
                return None
            asked, now_ns, epoch_ns = "quiet_until", self._system.now_ns, self._system.epoch_ns
            at = utc(epoch_ns + now_ns)
            if command.zone is not None and self._knows_zones:
                quiet_until = preferences.quiet_until(user, channel, at, zone=command.zone)
            else:
                quiet_until = preferences.quiet_until(user, channel, at)
            # Quiet hours that have ended would defer it without end, at this instant.
            return now_ns if quiet_until is None else max(now_ns, since_1970_ns(quiet_until) - epoch_ns)
        except BaseException as error:
            said = f"{type(preferences).__name__}.{asked} raised {described(failure(error))}"
            raise _Raised(shortened(said)) from error
