"""The hand-written SimPy model with the product's other duties: what is left between the two is the price of actors.

Each notification is a command with a payload; ids are remembered for a day, and then forgotten; what has happened to
one that has not ended is kept, as it would have to be to go on after a crash; the history is one of the product's own
events, in the product's own store and recorder, with digest, metrics and the check that nothing is lost.
"""

from collections import deque

import simpy
from load import Load
from simpy_process import CLOSED, HALF_OPEN, OPEN, WINDOW, Model, Process

from actors.instants import NS_PER_S
from actors.messages import (
    BreakerTransitioned,
    DeferralCause,
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    SendNotification,
)
from actors.storage.memory import MemoryStore
from simulation.results.ledger import Entry, Ledger
from simulation.results.recorder import Recorder
from simulation.results.series import bucket_width_ns
from simulation.results.tallies import Counted
from simulation.scenario.metrics import Outline

PUSH = NotificationChannel.PUSH
EPOCH_NS = 1_767_225_600 * NS_PER_S
CAUSES = {OPEN: "trip", HALF_OPEN: "wait over", CLOSED: "recover"}


class CheckedModel(Model):
    """The whole channel; its history is in `recorder`."""

    def __init__(self, load: Load, env: simpy.Environment) -> None:
        super().__init__(load, env)
        self.under_way: dict[str, SendNotification] = {}
        self.store = MemoryStore()
        width_ns = bucket_width_ns(int(load.notifications / load.rate * NS_PER_S))
        providers = {PUSH: ("primary",)}
        outline = Outline(providers=tuple(providers.items()), entries=("push",), classes=("normal",))
        ledger = Ledger(outline, [Entry("normal", (PUSH,))], counted=Counted())
        self.recorder = Recorder(ledger, providers, keep_history=True, series_bucket_ns=width_ns)
        self.recorder.in_flight_now = self.under_way.__len__

    def source(self) -> Process:
        """Let notifications arrive."""
        env, gap, user = self.env, self.draws.gap, self.draws.user
        for number in range(self.load.notifications):
            yield env.timeout(gap())
            command = SendNotification(
                notification_id=f"push-{number}", channel=PUSH, recipient=user(), message="simulated"
            )
            env.process(self.see_to(command))

    def see_to(self, command: SendNotification) -> Process:
        env, load, draws = self.env, self.load, self.draws
        notification_id, user = command.notification_id, command.recipient
        requested_ns = int(env.now * NS_PER_S)
        if notification_id in self.under_way:
            return
        if self.store.remembered.get(notification_id, EPOCH_NS + requested_ns) is not None:
            return
        self.under_way[notification_id] = command
        requested = NotificationRequested(
            at_ns=requested_ns, epoch_ns=EPOCH_NS, notification_id=notification_id, channel=PUSH, user_id=user
        )
        self.commit(requested, command)

        log = self.logs.get(user)
        if log is None:
            log = self.logs[user] = deque()
        while True:
            now = env.now
            while log and log[0] <= now - WINDOW:
                log.popleft()
            if len(log) < load.user_limit:
                break
            self.defer(command, DeferralCause.RATE_LIMIT)
            yield env.timeout(log[0] + WINDOW - now)
        log.append(now)

        attempts = 0
        while True:
            if self.state != CLOSED or self.waiting:
                if self.state == OPEN and not self.waiting and env.now >= self.reopens_at:
                    self.half_open()
                else:
                    self.defer(command, DeferralCause.CIRCUIT_BREAKER)
                    turn = env.event()
                    self.waiting.append(turn)
                    yield turn
            start = env.now
            probe = self.probing
            latency, fate = draws.latency(), draws.fate()
            if latency > load.attempt_timeout:
                latency, outcome, reason = load.attempt_timeout, "Ambiguous", "timed out"
            elif load.outages and any(begin <= start < end for begin, end in load.outages):
                outcome, reason = "Transient", "provider outage"
            elif fate < load.failure_rate:
                outcome, reason = "Transient", "injected failure"
            else:
                outcome, reason = "Sent", ""
            yield env.timeout(latency)
            now_ns, started_ns = int(env.now * NS_PER_S), int(start * NS_PER_S)
            attempts += 1

            if outcome == "Sent":
                if self.state == CLOSED:
                    self.failures = 0
                elif probe:
                    self.close()
                del self.under_way[notification_id]
                sent = NotificationSent(
                    at_ns=now_ns,
                    epoch_ns=EPOCH_NS,
                    notification_id=notification_id,
                    channel=PUSH,
                    attempt=attempts,
                    started_ns=started_ns,
                    requested_at_ns=requested_ns,
                )
                self.commit(sent, command)
                return

            if self.state == CLOSED:
                self.failures += 1
                if self.failures >= load.failure_threshold:
                    self.open()
            elif probe:
                self.open()
            is_last = attempts == load.max_attempts
            delay = min(load.first_delay * load.multiplier ** (attempts - 1), load.max_delay)
            failed = NotificationFailed(
                at_ns=now_ns,
                epoch_ns=EPOCH_NS,
                notification_id=notification_id,
                channel=PUSH,
                reason=reason,
                kind=outcome,
                attempt=attempts,
                started_ns=started_ns,
                next_retry_at_ns=None if is_last else now_ns + int(delay * NS_PER_S),
                given_up=reason if is_last else None,
            )
            self.commit(failed, command)
            if is_last:
                del self.under_way[notification_id]
                moved = NotificationMovedToDeadLetter(
                    at_ns=now_ns,
                    epoch_ns=EPOCH_NS,
                    notification_id=notification_id,
                    channel=PUSH,
                    reason=reason,
                    attempts=attempts,
                    requested_at_ns=requested_ns,
                )
                self.commit(moved, command)
                return
            yield env.timeout(delay)

    # ── what is kept ────────────────────────────────────────────────────────────────────────────────────────────

    def commit(self, event: NotificationEvent, command: SendNotification) -> None:
        """Keep what has happened to a notification, and record it."""
        self.store.commit(event, command)
        self.recorder.record(event)

    def defer(self, command: SendNotification, cause: DeferralCause) -> None:
        self.recorder.record(
            NotificationDeferred(
                at_ns=int(self.env.now * NS_PER_S),
                epoch_ns=EPOCH_NS,
                notification_id=command.notification_id,
                channel=PUSH,
                cause=cause,
            )
        )

    def move_to(self, state: str) -> None:
        self.recorder.record(
            BreakerTransitioned(
                at_ns=int(self.env.now * NS_PER_S),
                epoch_ns=EPOCH_NS,
                breaker="push",
                from_state=self.state,
                to_state=state,
                cause=CAUSES[state],
            )
        )
        super().move_to(state)


def build(load: Load) -> tuple[simpy.Environment, CheckedModel]:
    env = simpy.Environment()
    model = CheckedModel(load, env)
    env.process(model.source())
    return env, model
