"""The same work as a hand-written SimPy model: one process a notification, limiter and breaker inline.

What a person writes who knows SimPy well and wants the answer soon. All is recorded as rows, as in the product.
"""

import math
from collections import deque
from collections.abc import Generator
from typing import Any

import simpy
from load import Draws, Load

Process = Generator[simpy.Event, Any, None]

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"
WINDOW = 60.0


class Model:
    """The whole channel and its history."""

    def __init__(self, load: Load, env: simpy.Environment) -> None:
        self.load = load
        self.env = env
        self.draws = Draws(load)
        self.seen: set[str] = set()
        self.logs: dict[str, deque[float]] = {}
        self.state = CLOSED
        self.failures = 0
        self.probing = False
        self.reopens_at = 0.0
        self.waiting: deque[simpy.Event] = deque()
        self.notifications: list[tuple[Any, ...]] = []
        """Id, channel, user, requested at, outcome, attempts, finished at."""
        self.attempts: list[tuple[Any, ...]] = []
        """Id, start, end, outcome, reason, delay before."""
        self.transitions: list[tuple[float, str, str, str]] = []
        """Time, channel, from, to."""
        self.dead_letters: dict[str, tuple[Any, ...]] = {}
        """By id: channel, user, reason, attempts, first failure at, last failure at."""
        self.deferred: list[tuple[float, str, str]] = []
        """Time, id, cause."""

    def source(self) -> Process:
        """Let notifications arrive."""
        env, gap, user = self.env, self.draws.gap, self.draws.user
        for number in range(self.load.notifications):
            yield env.timeout(gap())
            env.process(self.notification(f"push-{number}", user()))

    def notification(self, notification_id: str, user: str) -> Process:
        env, load, draws = self.env, self.load, self.draws
        if notification_id in self.seen:
            return
        self.seen.add(notification_id)
        requested_at = env.now

        log = self.logs.get(user)
        if log is None:
            log = self.logs[user] = deque()
        while True:
            now = env.now
            while log and log[0] <= now - WINDOW:
                log.popleft()
            if len(log) < load.user_limit:
                break
            self.deferred.append((now, notification_id, "rate_limit"))
            yield env.timeout(log[0] + WINDOW - now)
        log.append(now)

        attempts, delay, first_failure = 0, 0.0, 0.0
        while True:
            if self.state != CLOSED or self.waiting:
                if self.state == OPEN and not self.waiting and env.now >= self.reopens_at:
                    self.half_open()
                else:
                    self.deferred.append((env.now, notification_id, "circuit_breaker"))
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
            end = env.now
            attempts += 1
            self.attempts.append((notification_id, start, end, outcome, reason, delay))

            if outcome == "Sent":
                if self.state == CLOSED:
                    self.failures = 0
                elif probe:
                    self.close()
                self.notifications.append((notification_id, "push", user, requested_at, "sent", attempts, end))
                return

            if self.state == CLOSED:
                self.failures += 1
                if self.failures >= load.failure_threshold:
                    self.open()
            elif probe:
                self.open()
            if attempts == 1:
                first_failure = end
            if attempts == load.max_attempts:
                self.dead_letters[notification_id] = ("push", user, reason, attempts, first_failure, end)
                self.notifications.append((notification_id, "push", user, requested_at, "dead-lettered", attempts, end))
                return
            delay = min(load.first_delay * load.multiplier ** (attempts - 1), load.max_delay)
            yield env.timeout(delay)

    # ── circuit breaker ─────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        """Let no one through, and a probe after a while."""
        self.move_to(OPEN)
        self.reopens_at = self.env.now + self.load.open_for
        self.env.process(self.probe_later())

    def half_open(self) -> None:
        """Let one through to find out."""
        self.move_to(HALF_OPEN)
        self.probing = True

    def close(self) -> None:
        """Let all through, what waited at a growing rate."""
        self.failures = 0
        self.move_to(CLOSED)
        if self.waiting:
            self.env.process(self.resume())

    def move_to(self, state: str) -> None:
        self.transitions.append((self.env.now, "push", self.state, state))
        self.state = state
        self.probing = False

    def probe_later(self) -> Process:
        """Let the first waiter through when the open time has ended."""
        yield self.env.timeout(self.load.open_for)
        if self.waiting:
            self.half_open()
            self.waiting.popleft().succeed()

    def resume(self) -> Process:
        """Let the waiters go; the rate doubles every so many seconds."""
        env, load = self.env, self.load
        closed_at, released = env.now, 0
        per_doubling = load.resume_rate * load.resume_doubling
        while self.waiting and self.state == CLOSED:
            elapsed = load.resume_doubling * math.log2(1.0 + released * math.log(2.0) / per_doubling)
            yield env.timeout(max(0.0, closed_at + elapsed - env.now))
            if self.waiting and self.state == CLOSED:
                self.waiting.popleft().succeed()
                released += 1


def build(load: Load) -> tuple[simpy.Environment, Model]:
    env = simpy.Environment()
    model = Model(load, env)
    env.process(model.source())
    return env, model
