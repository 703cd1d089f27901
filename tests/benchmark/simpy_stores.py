"""The same work as a SimPy model in which each stage is a process with a `simpy.Store` as its mailbox.

The obvious way to write actors in SimPy: handler, limiter, breaker, channel and dead letter queue.
"""

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import simpy
from load import Draws, Load
from simpy_process import CLOSED, HALF_OPEN, OPEN, WINDOW

Process = Generator[simpy.Event, Any, None]


@dataclass(slots=True)
class Notification:
    """One notification on its way; goes from mailbox to mailbox."""

    id: str
    user: str
    requested_at: float
    attempts: int = 0
    delay: float = 0.0
    charged: bool = False
    first_failure: float = 0.0
    start: float = 0.0
    end: float = 0.0
    outcome: str = ""
    reason: str = ""
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Requested:
    """To the handler: a notification is asked for, or due again."""

    notification: Notification


@dataclass(frozen=True, slots=True)
class Attempted:
    """To the handler: an attempt has ended."""

    notification: Notification


@dataclass(frozen=True, slots=True)
class Result:
    """To the breaker: an attempt that it let through has ended."""

    notification: Notification


@dataclass(frozen=True, slots=True)
class Wake:
    """To the breaker: look after the waiters."""


class Stages:
    """The stages of the channel, each with its mailbox, and the history."""

    def __init__(self, load: Load, env: simpy.Environment) -> None:
        self.load = load
        self.env = env
        self.draws = Draws(load)
        self.to_handler = simpy.Store(env)
        self.to_limiter = simpy.Store(env)
        self.to_breaker = simpy.Store(env)
        self.to_channel = simpy.Store(env)
        self.to_dead_letters = simpy.Store(env)
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
        for stage in (self.source, self.handler, self.limiter, self.breaker, self.channel, self.dead_letter_queue):
            env.process(stage())

    def source(self) -> Process:
        """Let notifications arrive."""
        env, gap, user = self.env, self.draws.gap, self.draws.user
        for number in range(self.load.notifications):
            yield env.timeout(gap())
            self.to_handler.put(Requested(Notification(f"push-{number}", user(), env.now)))

    def handler(self) -> Process:
        """Accept each once, retry with backoff, see each to its end."""
        load = self.load
        seen: set[str] = set()
        while True:
            message = yield self.to_handler.get()
            notification = message.notification
            if type(message) is Requested:
                if notification.id not in seen:
                    seen.add(notification.id)
                    self.to_limiter.put(notification)
                continue
            notification.attempts += 1
            self.attempts.append(
                (
                    notification.id,
                    notification.start,
                    notification.end,
                    notification.outcome,
                    notification.reason,
                    notification.delay,
                )
            )
            if notification.outcome == "Sent":
                self.finish(notification, "sent")
                continue
            if notification.attempts == 1:
                notification.first_failure = notification.end
            if notification.attempts == load.max_attempts:
                self.to_dead_letters.put(notification)
                self.finish(notification, "dead-lettered")
            else:
                delay = load.first_delay * load.multiplier ** (notification.attempts - 1)
                notification.delay = min(delay, load.max_delay)
                self.env.process(self.later(notification.delay, self.to_limiter, notification))

    def finish(self, notification: Notification, outcome: str) -> None:
        """Write the row of a notification that has ended."""
        self.notifications.append(
            (
                notification.id,
                "push",
                notification.user,
                notification.requested_at,
                outcome,
                notification.attempts,
                notification.end,
            )
        )

    def later(self, delay: float, mailbox: simpy.Store, message: Any) -> Process:
        """Put a message into a mailbox after a while."""
        yield self.env.timeout(delay)
        mailbox.put(message)

    def limiter(self) -> Process:
        """Let each user have so many in a minute."""
        env, limit = self.env, self.load.user_limit
        logs: dict[str, deque[float]] = {}
        while True:
            notification = yield self.to_limiter.get()
            if not notification.charged:
                log = logs.get(notification.user)
                if log is None:
                    log = logs[notification.user] = deque()
                now = env.now
                while log and log[0] <= now - WINDOW:
                    log.popleft()
                if len(log) >= limit:
                    self.deferred.append((now, notification.id, "rate_limit"))
                    env.process(self.later(log[0] + WINDOW - now, self.to_limiter, notification))
                    continue
                log.append(now)
                notification.charged = True
            self.to_breaker.put(notification)

    def breaker(self) -> Process:
        """Let attempts through, and learn from their outcomes; the waiters resume in order and at a limited rate."""
        env, load = self.env, self.load
        state, failures, reopens_at = CLOSED, 0, 0.0
        closed_at, released = 0.0, 0
        per_doubling = load.resume_rate * load.resume_doubling
        waiting: deque[Notification] = deque()
        while True:
            message = yield self.to_breaker.get()
            if type(message) is Notification:
                if state == CLOSED and not waiting:
                    message.probe = False
                    self.to_channel.put(message)
                    continue
                if state != OPEN or waiting or env.now < reopens_at:
                    self.deferred.append((env.now, message.id, "circuit_breaker"))
                waiting.append(message)
            elif type(message) is Result:
                notification = message.notification
                before = state
                if notification.outcome == "Sent":
                    if state == CLOSED:
                        failures = 0
                    elif notification.probe:
                        state, failures, closed_at, released = CLOSED, 0, env.now, 0
                        env.process(self.later(0.0, self.to_breaker, Wake()))
                else:
                    failures += 1
                    if (state == CLOSED and failures >= load.failure_threshold) or notification.probe:
                        state, reopens_at = OPEN, env.now + load.open_for
                        env.process(self.later(load.open_for, self.to_breaker, Wake()))
                if state != before:
                    self.transitions.append((env.now, "push", before, state))
                self.to_handler.put(Attempted(notification))
                continue
            if waiting and state == OPEN and env.now >= reopens_at:
                self.transitions.append((env.now, "push", OPEN, HALF_OPEN))
                state = HALF_OPEN
                probe = waiting.popleft()
                probe.probe = True
                self.to_channel.put(probe)
            elif waiting and state == CLOSED and type(message) is Wake:
                resumed = waiting.popleft()
                resumed.probe = False
                self.to_channel.put(resumed)
                released += 1
                if waiting:
                    elapsed = load.resume_doubling * math.log2(1.0 + released * math.log(2.0) / per_doubling)
                    delay = max(0.0, closed_at + elapsed - env.now)
                    env.process(self.later(delay, self.to_breaker, message))

    def channel(self) -> Process:
        env, load = self.env, self.load
        draw_latency, draw_fate = self.draws.latency, self.draws.fate
        while True:
            notification = yield self.to_channel.get()
            start = notification.start = env.now
            latency, fate = draw_latency(), draw_fate()
            if latency > load.attempt_timeout:
                latency, outcome, reason = load.attempt_timeout, "Ambiguous", "timed out"
            elif load.outages and any(begin <= start < end for begin, end in load.outages):
                outcome, reason = "Transient", "provider outage"
            elif fate < load.failure_rate:
                outcome, reason = "Transient", "injected failure"
            else:
                outcome, reason = "Sent", ""
            env.process(self.deliver(notification, latency, outcome, reason))

    def deliver(self, notification: Notification, latency: float, outcome: str, reason: str) -> Process:
        """Wait for the provider's answer."""
        yield self.env.timeout(latency)
        notification.end = self.env.now
        notification.outcome, notification.reason = outcome, reason
        self.to_breaker.put(Result(notification))

    def dead_letter_queue(self) -> Process:
        while True:
            notification = yield self.to_dead_letters.get()
            self.dead_letters[notification.id] = (
                "push",
                notification.user,
                notification.reason,
                notification.attempts,
                notification.first_failure,
                notification.end,
            )


def build(load: Load) -> tuple[simpy.Environment, Stages]:
    env = simpy.Environment()
    return env, Stages(load, env)
