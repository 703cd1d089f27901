"""The life of a notification: any sequence of transitions leaves it in one state, and as its history says."""

import random
from datetime import UTC, datetime

from each_row import over_each
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.domain.delivery import Delivery, dead_letter, redriven, requested, state_after
from actors.messages import (
    DeferralCause,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    SendNotification,
)
from actors.outcomes import Ambiguous, ChannelFault, Permanent, Transient
from actors.policies.retry.policy import Progress, RetryPolicy
from actors.settings.retry import RetryConfig

EPOCH_NS = 7
WAITS = st.sampled_from([0, 1, 400])


class Life(RuleBasedStateMachine):
    """One notification, moved as the handler moves it."""

    @initialize(scheduled=st.none() | st.just(datetime.fromtimestamp(1e-6, UTC)))
    def accept(self, scheduled: datetime | None) -> None:
        self.now_ns = 0
        self.command = SendNotification(
            notification_id="n", channel=NotificationChannel.EMAIL, recipient="a@b.c", message="x", not_before=scheduled
        )
        self.delivery = Delivery(self.command, 0, fresh_since_ns=0)
        self.delivery.schedule(EPOCH_NS)
        self.events = [requested(self.command, 0, EPOCH_NS)]
        self.has_ended = False
        self.is_as_its_history()

    def note(self, of, /, **fields):
        event = of(at_ns=self.now_ns, epoch_ns=EPOCH_NS, notification_id="n", channel="email", **fields)
        self.events.append(event)
        return event

    def is_as_its_history(self) -> None:
        there = state_after(self.command, self.events, EPOCH_NS, self.now_ns)
        here = self.delivery
        names = ("command", "requested_at_ns", "fresh_since_ns", "attempts", "due_ns", "given_up", "redrives")
        for name in (*names, "first_start_ns"):
            assert getattr(there, name) == getattr(here, name), name
        assert (there.failures or []) == (here.failures or [])
        assert there.charged is here.charged

    @property
    def is_ready(self) -> bool:
        return not self.has_ended and self.delivery.due_ns is self.delivery.current is None

    @rule(ns=WAITS)
    def pass_time(self, ns: int) -> None:
        self.now_ns += ns
        if self.delivery.due_ns is not None and self.now_ns >= self.delivery.due_ns:
            self.delivery.go_on()

    @precondition(lambda self: self.is_ready and self.delivery.given_up is None)
    @rule(ns=WAITS)
    def meet_quiet_hours(self, ns: int) -> None:
        charged = self.delivery.charged
        self.delivery.wait_until(self.now_ns + ns)
        self.note(NotificationDeferred, cause=DeferralCause.QUIET_HOURS, resumes_at_ns=self.now_ns + ns)
        self.delivery.note_charged(bool(self.delivery.failures or self.delivery.redrives))  # what a history knows
        self.is_as_its_history()
        self.delivery.note_charged(charged)

    @precondition(lambda self: self.is_ready and self.delivery.given_up is None)
    @rule()
    def set_out(self) -> None:
        charged = self.delivery.charged
        attempt = self.delivery.set_out(self.delivery.command, None, None, None)
        assert (attempt.number, attempt.charged) == (self.delivery.attempts + 1, charged)
        assert self.delivery.current is attempt

    @precondition(lambda self: self.delivery.current is not None)
    @rule(charged=st.booleans())
    def come_back(self, charged: bool) -> None:
        self.delivery.note_charged(charged)
        self.delivery.take_back()

    @precondition(lambda self: self.delivery.current is not None)
    @rule(
        outcome=st.sampled_from([Transient(), Ambiguous(reason="?"), ChannelFault(reason="!"), Permanent(reason="no")]),
        wait_ns=st.none() | WAITS,
    )
    def fail(self, outcome: Transient | Ambiguous | ChannelFault | Permanent, wait_ns: int | None) -> None:
        before = self.delivery.attempts
        assert self.delivery.take_answer(self.delivery.current)
        event = self.note(
            NotificationFailed,
            reason=outcome.reason,
            kind=type(outcome).__name__,
            attempt=before + (not isinstance(outcome, ChannelFault)),
            started_ns=self.now_ns,
            next_retry_at_ns=None if wait_ns is None else self.now_ns + wait_ns,
            given_up=outcome.reason if wait_ns is None else None,
        )
        self.delivery.fail(event, event.next_retry_at_ns)
        assert self.delivery.attempts - before == (not isinstance(outcome, ChannelFault))
        assert (self.delivery.due_ns, self.delivery.given_up) == (event.next_retry_at_ns, event.given_up)
        self.is_as_its_history()

    @precondition(lambda self: not self.has_ended and self.now_ns >= self.delivery.requested_at_ns)
    @rule()
    def be_dead_lettered(self) -> None:
        self.delivery.end()
        self.has_ended = True
        fields = {"attempts": self.delivery.attempts, "requested_at_ns": self.delivery.requested_at_ns}
        self.letter = dead_letter(self.delivery, self.note(NotificationMovedToDeadLetter, reason="x", **fields))

    @precondition(lambda self: self.has_ended)
    @rule(edit=st.sampled_from([{}, {"message": "y"}, {"expires_after": 9.0}]), without_operator=st.booleans())
    def be_redriven(self, edit: dict[str, object], without_operator: bool) -> None:
        self.delivery = redriven(self.letter, edit, self.now_ns, EPOCH_NS, without_operator)
        self.note(NotificationRedriven, edit=edit, without_operator=without_operator)
        self.has_ended = False
        self.is_as_its_history()

    @invariant()
    def is_in_one_state(self) -> None:
        states = [self.delivery.due_ns is not None, self.delivery.current is not None, self.has_ended]
        assert sum(states) <= 1
        assert self.delivery.due_ns is None or self.delivery.due_ns >= self.now_ns


TestLife = Life.TestCase


@over_each(range(20))
def test_what_a_history_leaves_out_counts_when_it_is_recalled(seed):
    rng = random.Random(seed)
    rules = {"ambiguous": {"max_attempts": 10_000, "initial_delay": 2}}
    policy = RetryPolicy(RetryConfig(max_attempts="unlimited", backoff="linear", per_outcome=rules), rng)
    command = SendNotification(notification_id="n", channel=NotificationChannel.EMAIL, recipient="a@b.c", message="x")
    delivery, events = Delivery(command, 0, fresh_since_ns=0), [requested(command, 0, EPOCH_NS)]
    outcomes = [Transient(), Ambiguous(), ChannelFault(reason="!")]
    share_refused = rng.choice([0.0, 0.5, 0.99])
    for now_ns in range(1, rng.randrange(90, 400)):
        outcome = rng.choices(outcomes, [8, 1, 1])[0]
        wait_ns = policy.next_wait_ns(outcome, delivery.progress_under(policy))
        event = NotificationFailed(
            at_ns=now_ns,
            epoch_ns=EPOCH_NS,
            notification_id="n",
            channel=NotificationChannel.EMAIL,
            reason=outcome.reason,
            kind=type(outcome).__name__,
            attempt=delivery.attempts + (not isinstance(outcome, ChannelFault)),
            started_ns=now_ns,
            next_retry_at_ns=now_ns + wait_ns,
            refused=rng.random() < share_refused,
            provider=str(now_ns),
            unlimited=policy.is_unlimited(outcome),
        )
        delivery.fail(event, event.next_retry_at_ns)
        events.append(event)
    there, every = state_after(command, events, EPOCH_NS), events[1:]
    failures, limited = there.failures, [each for each in every if not each.unlimited]
    assert failures == delivery.failures
    assert (failures[0], failures[-1]) == (every[0], every[-1])
    assert len(failures) - len(limited) in (100, 101) or len(every) == len(failures)
    assert [each for each in failures if not each.unlimited] == limited
    asked = next((each for each in every if not each.refused), None)
    assert there.first_provider == (asked and asked.provider)
    assert there.first_start_ns == (asked and asked.started_ns)
    assert there.attempts == delivery.attempts

    def counts(progress: Progress) -> list[tuple[int, int]]:
        return [(each.attempts, each.step) for each in (progress, *(progress.others or {}).values())]

    assert counts(there.progress_under(policy)) == counts(delivery.progress_under(policy))


def test_what_a_history_leaves_out_is_of_the_attempts_since_it_was_redriven():
    command = SendNotification(notification_id="n", channel=NotificationChannel.EMAIL, recipient="a@b.c", message="x")
    delivery = Delivery(command, 0, fresh_since_ns=0)
    about = {"epoch_ns": EPOCH_NS, "notification_id": "n", "channel": NotificationChannel.EMAIL, "reason": "x"}
    for end_ns in (120, 240):
        for at_ns in range(end_ns - 120, end_ns):
            failed = {"kind": "Transient", "attempt": at_ns + 1, "started_ns": at_ns, "next_retry_at_ns": at_ns}
            delivery.fail(NotificationFailed(at_ns=at_ns, **about, **failed, unlimited=True), at_ns)
        moved = NotificationMovedToDeadLetter(at_ns=end_ns, **about, attempts=end_ns, requested_at_ns=0)
        letter = dead_letter(delivery, moved)
        delivery = redriven(letter, {}, end_ns, EPOCH_NS, without_operator=False)
    assert [each.at_ns for each in letter.history] == [*range(20), *range(40, 140), *range(160, 240)]
