"""What has to come: a fallback, an alert, the end of a dead letter's retention. Each at its instant, and once."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from actors.endpoints import EndpointState
from actors.formatting import seconds_text
from actors.instants import NEVER_NS, NS_PER_S, ns, wait_ns
from actors.messages import (
    ActorFailed,
    DeadLetterDiscarded,
    DeadLetterMessage,
    NotificationChannel,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
)
from actors.outcomes import ChannelFault
from actors.pipeline.alert import AdminAlert, Alert, ChannelBroken, EndpointDisabled
from actors.pipeline.dead_letter_queue import FULL, RETENTION, DeadLetterQueue
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS, STEPS, State
from simulation.verification.laws.observations import MessageSent

_ROUNDING_NS = 1000
"""What is left of the time of a notification is given in seconds when it falls back."""

QUIET_NS = 300 * NS_PER_S
"""For so long after an alert others of its channel and reason are only counted."""


class FallbackDue(Invariant):
    """What is dead-lettered on a channel that falls back to another goes out there, as soon as that is durable: where
    the recipient has an address for it, there is time left, it has not gone out there before, and what it is itself in
    place of was not delivered since.

    What a crash of the process has cut short is dead-lettered, and is for an operator.
    """

    name = "fallback-due"
    receivers = frozenset({DeadLetterQueue})
    needs = ("fallback",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._due: dict[str, tuple[str, NotificationChannel, int]] = {}
        """By the id that a fallback has to get: of what, to which channel, and by when; in the order of time."""
        self._instead_of: dict[str, str] = {}
        """By fallback, what it is in place of."""

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> None:
        letter, lifecycles = sent.message, self.context.lifecycles
        if sent.receiver is not DeadLetterQueue or type(letter) is not DeadLetterMessage:
            return
        fallback = self.context.channels[letter.channel].fallback
        if fallback is None or fallback.channel not in letter.command.addresses or lifecycles.forgotten:
            return
        notification_id = f"{letter.notification_id}/{fallback.channel}"
        if lifecycles.get(notification_id) is None and not self._is_late(letter, sent.at_ns):
            due_ns = sent.at_ns + self.context.commit_latency_ns
            self._due[notification_id] = letter.notification_id, fallback.channel, due_ns

    def _is_late(self, letter: DeadLetterMessage, now_ns: int) -> bool:
        lifecycle, expires_after = self.context.lifecycles.get(letter.notification_id), letter.command.expires_after
        if expires_after is None:
            return False
        if lifecycle is None or self.context.steps_the_clock:
            return True
        return now_ns >= lifecycle.fresh_since_ns + wait_ns(expires_after) - _ROUNDING_NS

    @observes(NotificationRequested)
    def on_requested(self, requested: NotificationRequested) -> None:
        self._due.pop(requested.notification_id, None)
        if requested.instead_of is not None:
            self._instead_of[requested.notification_id] = requested.instead_of

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._due.clear()

    @observes(*STEPS)
    def on_event(self, event: NotificationEvent) -> Objection:
        return self._overdue(event.at_ns) if self._due else None

    def at_end(self, now_ns: int) -> Objection:
        return self._overdue(now_ns if self.context.commit_latency_ns else NEVER_NS)

    def _overdue(self, now_ns: int) -> Objection:
        while self._due:
            notification_id, (first, channel, due_ns) = next(iter(self._due.items()))
            if due_ns >= now_ns or (self.context.commit_latency_ns and self.context.lifecycles.up_at_ns >= now_ns):
                break  # a handler that is down is told when it is back that it is durable
            if not self._is_delivered(first):
                text = f"{first} is dead-lettered, and has not gone out by {channel} in its place"
                return Finding(text, first, ("fallback.channel",))
            del self._due[notification_id]
        return None

    def _is_delivered(self, notification_id: str) -> bool:
        """Tell whether one was delivered that a fallback is in place of."""
        before = self._instead_of.get(notification_id)
        while before is not None:
            lifecycle = self.context.lifecycles.get(before)
            if lifecycle is not None and lifecycle.state is State.SENT:
                return True
            before = self._instead_of.get(before)
        return False


class _AlertDue(NamedTuple):
    letter: DeadLetterMessage
    at_ns: int


class Alerts(Invariant):
    """The administrator is told of each dead letter, once it is in its queue, of each fault of a channel, and of each
    endpoint that is disabled; and is called for the first of a channel and reason, or endpoint, and again when the last
    call is so long ago, others are counted.

    An alert that has crashed has forgotten whom it has called: then what it counts is not looked at.
    """

    name = "alerts"
    of_one_process = True
    receivers = frozenset({AdminAlert, DeadLetterQueue})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._due: deque[_AlertDue] = deque()
        self._unrecorded: dict[tuple[type, NotificationChannel, str], int] = {}
        """By channel and reason: faults and disabled endpoints that were told of, and are not recorded yet."""
        self._called_ns: dict[tuple[type, NotificationChannel, str], int] = {}
        self._repeated = 0
        self._latest_ns = -1
        self._text = ""
        self._is_certain = True

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            self._due.clear()
            self._unrecorded.clear()
            self._called_ns.clear()
            self._repeated, self._latest_ns, self._text, self._is_certain = 0, -1, "", True
        elif event.actor == AdminAlert.__name__:
            self._is_certain = False

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> Objection:
        message = sent.message
        if sent.receiver is DeadLetterQueue and type(message) is DeadLetterMessage:
            self._due.append(_AlertDue(message, sent.at_ns))
            return None
        if sent.receiver is not AdminAlert:
            return None
        if isinstance(message, (ChannelBroken, EndpointDisabled)):
            key = type(message), message.channel, message.reason
            self._unrecorded[key] = self._unrecorded.get(key, 0) + 1
        if isinstance(message, (Alert, ChannelBroken, EndpointDisabled)):
            wrong = self._told(message) or self._count_is_wrong(sent.at_ns)
            self._count(message, sent.at_ns)
            return wrong
        return None

    def _told(self, alert: Alert | ChannelBroken | EndpointDisabled) -> Objection:
        if not isinstance(alert, Alert):
            return None
        letter = self._due.popleft().letter if self._due else None
        if letter is not None and (letter.notification_id, letter.failure_reason) == (
            alert.notification_id,
            alert.reason,
        ):
            return None
        of = "nothing" if letter is None else f"{letter.notification_id}: {letter.failure_reason}"
        return f"the alert says {alert.text!r}, and the next dead letter is that of {of}"

    def _count(self, alert: Alert | ChannelBroken | EndpointDisabled, now_ns: int) -> None:
        key = type(alert), alert.channel, alert.address if isinstance(alert, EndpointDisabled) else alert.reason
        called_ns = self._called_ns.get(key)
        if called_ns is not None and now_ns - called_ns < QUIET_NS:
            self._repeated += 1
        else:
            self._called_ns[key], self._text = now_ns, alert.text
        self._latest_ns = now_ns

    def _count_is_wrong(self, now_ns: int) -> Objection:
        """Return what is wrong with what was done of all it was told of before this instant."""
        pipeline = self.context.pipeline()
        if pipeline is None or not self._is_certain or now_ns <= self._latest_ns or self._latest_ns < 0:
            return None
        alert = pipeline.alert.actor
        if alert.repeated != self._repeated:
            return f"{alert.repeated} alerts are only counted, and {self._repeated} come within 300 s of one like them"
        latest = alert.alerts[-1] if alert.alerts else "none"
        return None if latest == self._text else f"the latest alert is {latest!r}, and should be {self._text!r}"

    @observes(NotificationFailed)
    def on_failed(self, failed: NotificationFailed) -> Objection:
        kind: type[ChannelBroken | EndpointDisabled]
        if failed.kind == ChannelFault.__name__:
            kind, what = ChannelBroken, f"{failed.channel} is broken"
        elif failed.endpoint is not None and failed.endpoint.state is EndpointState.DISABLED:
            kind, what = EndpointDisabled, f"an endpoint of {failed.channel} is disabled"
        else:
            return None
        key = kind, failed.channel, failed.reason
        if not self._unrecorded.get(key):
            return f"{what} ({failed.reason}), and no one is told"
        self._unrecorded[key] -= 1
        return None

    @observes(*STEPS)
    def on_event(self, event: NotificationEvent) -> Objection:
        return self._overdue(event.at_ns) if self._due else None

    def at_end(self, now_ns: int) -> Objection:
        return self._overdue(now_ns) or self._count_is_wrong(now_ns)

    def _overdue(self, now_ns: int) -> Objection:
        if not self._due or now_ns <= max(self._due[0].at_ns, self.context.lifecycles.up_at_ns):
            return None
        letter = self._due[0].letter
        return Finding(f"no one is told of the dead letter of {letter.notification_id}", letter.notification_id)


class Retention(Invariant):
    """A dead letter is discarded when it has been kept for as long as it is to be, at that very instant; and the oldest
    is when there are more than there may be. Neither is done otherwise.

    While the queue is down, that waits until it is up. Where the wall clock steps, letters are kept by the calendar,
    and where those that are redriven may have to wait for room, they are in no queue: there it is not looked at. Nodes
    whose changes take their time know of the others' letters later: how many there are is not compared there. Nor where
    a discard that was durable later was recorded only when an actor was up again: others may have left meanwhile.
    """

    name = "retention"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        keep, at_most = context.dead_letters.keep, context.dead_letters.at_most
        self._keep_ns = None if keep is None else ns(keep)
        self._at_most = at_most
        self._dead: dict[str, NotificationMovedToDeadLetter] = {}
        """In the order of time."""
        self._durable_ns = 2 * context.commit_latency_ns
        """In this time a letter is durable, whereupon it comes into the queue, and so is the end of another."""
        self._full_ns: deque[int] = deque()
        """For each letter that is too many, since when there has been one more than there may be."""
        self._left_early: set[str] = set()
        """The letters that one node has discarded or redriven before another one, whose handler is down, has recorded
        that they are dead."""

    @classmethod
    def applies(cls, context: Context) -> bool:
        has_bounds = context.dead_letters.keep is not None or context.dead_letters.at_most is not None
        is_known = not context.steps_the_clock and context.max_pending is None
        return super().applies(context) and has_bounds and is_known

    @observes(*STEPS)
    def on_event(self, event: NotificationEvent) -> Objection:
        wrong = self._overdue(event.at_ns - self._durable_ns)
        if isinstance(event, DeadLetterDiscarded):
            wrong = self._discarded(event) or wrong
        name = event.notification_id
        if isinstance(event, NotificationMovedToDeadLetter):
            if name not in self._left_early:
                self._dead[name] = event
            self._left_early.discard(name)
        elif isinstance(event, (NotificationRedriven, DeadLetterDiscarded)) and self._dead.pop(name, None) is None:
            self._left_early.add(name)
        too_many = 0 if self._at_most is None else max(0, len(self._dead) - self._at_most)
        while len(self._full_ns) > too_many:
            self._full_ns.popleft()
        while len(self._full_ns) < too_many:
            self._full_ns.append(event.at_ns)
        return wrong

    def at_end(self, now_ns: int) -> Objection:
        return self._overdue(now_ns - self._durable_ns)

    def _discarded(self, event: DeadLetterDiscarded) -> Objection:
        moved = self._dead.get(event.notification_id)
        if moved is None:
            return None  # that is for another one to say
        what = f"{event.notification_id} is discarded ({event.reason})"
        if event.reason == RETENTION:
            up_ns = NEVER_NS if self._keep_ns is None else moved.at_ns + self._keep_ns
            if event.at_ns < up_ns:
                kept = seconds_text(event.at_ns - moved.at_ns)
                return Finding(f"{what} after {kept}", event.notification_id, ("dead_letters.keep",))
        is_late = self._durable_ns > 0 and self.context.lifecycles.up_at_ns >= event.at_ns
        is_unsure = is_late or self.context.learnt_after_ns > 0
        is_counted = self._at_most is not None and (is_unsure or len(self._dead) > self._at_most)
        if event.reason == FULL and not is_counted:
            text = f"{what}, and there are {len(self._dead)}"
            return Finding(text, event.notification_id, ("dead_letters.at_most",))
        oldest = next(iter(self._dead))
        if event.reason in (RETENTION, FULL) and oldest != event.notification_id and not self._is_uncertain:
            return f"{what}, and {oldest} is older"
        return None

    @property
    def _is_uncertain(self) -> bool:
        """Whether the queue may have others, or in another order, than the history says."""
        return bool(self.context.commit_latency_ns or self.context.lifecycles.up_at_ns >= 0)

    def _overdue(self, now_ns: int) -> Objection:
        up_at_ns = self.context.lifecycles.up_at_ns
        if self._full_ns and self._full_ns[0] < now_ns and now_ns > up_at_ns:
            text = f"there are {len(self._dead)} dead letters, and too many since {seconds_text(self._full_ns[0])}"
            return Finding(text, None, ("dead_letters.at_most",))
        if self._keep_ns is None or not self._dead:
            return None
        oldest = next(iter(self._dead.values()))
        up_ns = oldest.at_ns + self._keep_ns
        if now_ns <= max(up_ns, up_at_ns):
            return None
        text = f"{oldest.notification_id} is a dead letter still, and was to be discarded at {seconds_text(up_ns)}"
        return Finding(text, oldest.notification_id, ("dead_letters.keep",))
