"""The traffic of a world: every request as its provider saw it, and the history made from the requests.

An arrival is a notification on the channel of its entry in the workload. A request belongs to the arrival that its task
works for, or whose id it carries; of the requests to one channel that an arrival makes, those after a failure are its
further attempts, and one after a success is a notification of its own. Requests of no arrival are grouped by task,
method and path in the same way: where nothing calls the service they are notifications too, and else the work of its
background, which is in the rows and the peaks alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from actors.instants import NS_PER_S
from actors.messages import (
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    RecordedEvent,
    SendNotification,
)
from actors.outcomes import Ambiguous, ChannelFault, Outcome, Sent, Transient
from actors.settings.channel import PRIMARY
from simulation.scenario.identity import id_prefix
from simulation.scenario.world import HostConfig
from simulation.world.provider import HostRequest, command_of

_FIRST_MADE = 1_000_000
"""Notifications of requests that belong to no arrival, or to one that was delivered before, are numbered from here."""
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "MAIL"})
"""Methods that may be repeated (RFC 9110, 9.2.2), and mails."""

_CONNECT = ("CONNECT", "")
_GIVEN_UP = "no attempt succeeded"
_LOST = Ambiguous(reason="timed out")


class Row(NamedTuple):
    """A request as its provider saw it; one that was refused was not seen, and has the method CONNECT."""

    at_s: float
    """When it came, in seconds from the start of the run."""
    ended_s: float
    """When its answer went out, or its client stopped waiting."""
    host: str
    method: str
    path: str
    answer: str
    """The status, or in a word how it went wrong; ``timed out`` where the client stopped waiting."""
    attempt: int
    """The number of the attempt; the first is 1."""
    notification: str
    """The id of the arrival, or of the notification that the request is an attempt of; such as ``background-1`` for
    work of no arrival, where arrivals call the service."""
    idempotency_key: str = ""
    """The value of the request's `Idempotency-Key` header."""
    body_sha256: str = ""
    """Of its body, the first 16 hexadecimal digits."""


class _Pending(msgspec.Struct):
    key: Any
    id: str
    channel: NotificationChannel
    requested_ns: int
    is_counted: bool = True
    attempts: int = 0
    under_way: int = 0
    failed_ns: int = 0
    """When the latest attempt failed."""


class Seen:
    """A request at its provider."""

    def __init__(
        self, traffic: Traffic, host: HostConfig, request: HostRequest, pending: _Pending, began_ns: int
    ) -> None:
        self._traffic, self._host, self._pending, self.began_ns = traffic, host, pending, began_ns
        pending.attempts += 1
        pending.under_way += 1
        self.number = pending.attempts
        self.request = request
        self.command = command_of(request, pending.channel, pending.id)
        self._is_over = False

    def end(self, shown: str, outcome: Outcome | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._pending.under_way -= 1
        self._traffic.ended(self._host, self, self._pending, shown, _LOST if outcome is None else outcome)

    def lost(self) -> None:
        self.end("timed out", None)


class Traffic:
    """Keeps the requests that providers saw, and records them as the history of a run."""

    def __init__(
        self,
        now_ns: Callable[[], int],
        epoch_ns: int,
        record: Callable[[RecordedEvent], None],
        entries: Mapping[NotificationChannel, int],
        record_uncounted: Callable[[tuple[NotificationChannel, str], int, int], None] | None = None,
    ) -> None:
        """Begin with none.

        Args:
            now_ns: the clock of the run.
            epoch_ns: its start on the calendar.
            record: gets each event of the history.
            entries: by channel, the number of the entry of the workload that requests of no arrival count for.
            record_uncounted: gets provider, begin and end of each request of no arrival, which then is no notification.
        """
        self._now_ns, self._epoch_ns, self._record = now_ns, epoch_ns, record
        self._entries = entries
        self._record_uncounted = record_uncounted
        self.rows: list[Row] = []
        self.failure: Exception | None = None
        """The error with which a host has failed, such as one of its `answer` function; it ends the run."""
        self.ended_by: list[Callable[[Any], object]] = []
        """Each is called with every event that ends a notification."""
        self._arrivals: dict[str, NotificationChannel] = {}
        self._open: dict[Any, _Pending] = {}
        """The notifications that have not ended, by arrival and channel, or by request."""
        self._latest: dict[Any, _Pending] = {}
        """The latest notification of no arrival, by channel and task."""
        self._made = 0
        self._ids: re.Pattern[str] | None = None
        self._digest = hashlib.sha256()
        self.made_for: dict[str, str] = {}
        """The arrival for which each further notification is made, such as one on another channel."""
        self.delivered: set[str] = set()
        """The arrivals that requests name which changed something, and were answered with success."""

    @property
    def in_flight(self) -> int:
        return sum(pending.is_counted for pending in self._open.values())

    def digest(self) -> str:
        """Return the SHA-256 over time, host, method, path, body and answer of each request so far."""
        return self._digest.hexdigest()

    # ── arrivals ────────────────────────────────────────────────────────────────────────────────────────────────

    def arrive(self, command: SendNotification) -> None:
        arrival = command.notification_id
        if arrival in self._arrivals:
            return  # the same once more, as of a sender that got no answer
        self._arrivals[arrival] = command.channel
        key = (arrival, command.channel)
        pending = self._open[key] = _Pending(key, arrival, command.channel, self._now_ns())
        self._request(pending, command.user)

    def over(self, arrival: str, *, has_failed: bool) -> None:
        """Note that the service has finished the call of an arrival: requests that have failed by now are given up, and
        if the call has failed, so is an arrival without a request."""
        those = [self._open[key] for channel in self._entries if (key := (arrival, channel)) in self._open]
        self._give_up(those, even_unsent=has_failed)

    def end(self) -> None:
        self._give_up(sorted(self._open.values(), key=lambda pending: pending.failed_ns), in_hindsight=True)

    def _give_up(self, those: list[_Pending], *, even_unsent: bool = False, in_hindsight: bool = False) -> None:
        for pending in those:
            if pending.under_way or not (pending.attempts or even_unsent):
                continue
            del self._open[pending.key]
            if not pending.is_counted:
                continue
            self._end(
                NotificationMovedToDeadLetter(
                    at_ns=pending.failed_ns if in_hindsight else self._now_ns(),
                    epoch_ns=self._epoch_ns,
                    notification_id=pending.id,
                    channel=pending.channel,
                    reason=_GIVEN_UP,
                    attempts=pending.attempts,
                    requested_at_ns=pending.requested_ns,
                )
            )

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, host: HostConfig, request: HostRequest, by: str | None, *, began_ns: int | None = None) -> Seen:
        """Note a request; `by` is the arrival whose task sent it, `began_ns` when it began, if that was before now."""
        channel = host.channel
        assert channel is not None
        arrival = by if by in self._arrivals else next(self._named_in(request), None)
        if arrival is None:
            pending = self._of_task(channel, by, (request.method, request.path))
        else:
            key = (arrival, channel)
            pending = self._open.get(key) or self._make(key, channel)
            if pending.id != arrival:
                self.made_for[pending.id] = arrival
        return Seen(self, host, request, pending, self._now_ns() if began_ns is None else began_ns)

    def forget(self, seen: Seen) -> None:
        """Note that a connection was let in: only the request over it counts."""
        seen._pending.attempts -= 1
        seen._pending.under_way -= 1

    def _make(self, key: Any, channel: NotificationChannel, *, is_counted: bool = True) -> _Pending:
        self._made += 1
        prefix, number = id_prefix(self._entries.get(channel, 0), channel), _FIRST_MADE + self._made
        name = f"{prefix}{number}" if is_counted else f"background-{self._made}"
        pending = self._open[key] = _Pending(key, name, channel, self._now_ns(), is_counted)
        if is_counted:
            self._request(pending, "")
        return pending

    def _of_task(self, channel: NotificationChannel, by: str | None, asked: tuple[str, str]) -> _Pending:
        """Return the notification of a request of no arrival; a connection for it is refused as one of its attempts."""
        key, latest = (channel, by, *asked), self._latest.get((channel, by))
        pending = self._open.get(key)
        is_tried_again = latest is not None and self._open.get(latest.key) is latest and not latest.under_way
        if pending is None and latest is not None and is_tried_again and _CONNECT in (asked, latest.key[2:]):
            pending = latest
            if asked != _CONNECT:
                del self._open[pending.key]
                pending.key, self._open[key] = key, pending
        elif pending is None:
            pending = self._make(key, channel, is_counted=self._record_uncounted is None)
        self._latest[channel, by] = pending
        return pending

    def _named_in(self, request: HostRequest) -> Iterator[str]:
        if self._ids is None:
            channels = sorted({re.escape(channel) for channel in self._arrivals.values()})
            if not channels:
                return
            self._ids = re.compile(rf"(?<![\w-])(?:{'|'.join(channels)})-\d+-\d+")
        texts = (*(value for _, value in request.headers), request.path, request.body.decode("latin-1"))
        yield from (found for text in texts for found in self._ids.findall(text) if found in self._arrivals)

    def ended(self, host: HostConfig, seen: Seen, pending: _Pending, shown: str, outcome: Outcome) -> None:
        request, now_ns = seen.request, self._now_ns()
        used = seen.number
        pending.failed_ns = now_ns
        if isinstance(outcome, ChannelFault):  # which uses up no attempt
            used, pending.attempts = used - 1, pending.attempts - 1
        self.rows.append(
            Row(
                seen.began_ns / NS_PER_S,
                now_ns / NS_PER_S,
                request.host,
                request.method,
                request.path,
                shown,
                seen.number,
                pending.id,
                dict(request.headers).get("idempotency-key", ""),
                hashlib.sha256(request.body).hexdigest()[:16],
            )
        )
        written = [seen.began_ns, now_ns, request.host, request.method, request.path, request.body, shown]
        self._digest.update(msgspec.msgpack.encode(written))
        whose: dict[str, Any] = {
            "at_ns": now_ns,
            "epoch_ns": self._epoch_ns,
            "notification_id": pending.id,
            "channel": pending.channel,
            "attempt": used,
            "started_ns": seen.began_ns,
            "provider": None if host.provider == PRIMARY else host.provider,
        }
        is_sent = isinstance(outcome, Sent) and self._open.get(pending.key) is pending
        if is_sent:
            del self._open[pending.key]
            if request.method not in REPEATABLE:
                self.delivered.update(self._named_in(request))
        if not pending.is_counted:
            assert self._record_uncounted is not None
            self._record_uncounted((pending.channel, host.provider), seen.began_ns, now_ns)
            return
        if is_sent:
            self._end(NotificationSent(**whose, requested_at_ns=pending.requested_ns))
            return
        self._record(
            NotificationFailed(
                **whose,
                reason=outcome.reason or shown,
                kind=type(outcome).__name__,
                answer=shown,
                throttled=isinstance(outcome, Transient) and outcome.throttled,
            )
        )

    def _request(self, pending: _Pending, user: str) -> None:
        self._record(
            NotificationRequested(
                at_ns=pending.requested_ns,
                epoch_ns=self._epoch_ns,
                notification_id=pending.id,
                channel=pending.channel,
                user_id=user,
            )
        )

    def _end(self, event: NotificationSent | NotificationMovedToDeadLetter) -> None:
        self._record(event)
        for tell in self.ended_by:
            tell(event)
