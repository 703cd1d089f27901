"""Dead letters: each is kept for as long as it is to be, and no longer."""

from __future__ import annotations

from collections import deque

from actors.formatting import seconds_text
from actors.instants import NEVER_NS, ns
from actors.messages import DeadLetterDiscarded, NotificationEvent, NotificationMovedToDeadLetter, NotificationRedriven
from actors.pipeline.dead_letter_queue import FULL, RETENTION
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import STEPS


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
