"""The rate limiter of one channel: the limit of each user, then the quota of the whole channel."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from actors.actor import Actor, Supervision, handles
from actors.config import ChannelConfig, RateLimitConfig
from actors.effects import Cancellable
from actors.messages import DeferralCause, Message, NotificationChannel, NotificationDeferred
from actors.pipeline.attempts import EXPIRED, RATE_LIMIT_EXCEEDED, Abandoned, Attempt, ForgetWaiting, Stages
from actors.pipeline.waiting_line import WaitingLine
from actors.policies.limiter import Limiter, make_limiter


class _Advance(Message, frozen=True, gc=False):
    """Time to look after those who wait at a gate."""

    gate: int


class _KeyLine(WaitingLine):
    """Those of one key who wait, and the instant at which the first of them may fit."""

    fits_at_ns = 0


class Gate:
    """One limiter, and a line for each key that waits at it. Those of one key go in the order in which they came."""

    def __init__(
        self, config: RateLimitConfig, number: int, key_of: Callable[[Attempt], str | None], limiter: Limiter
    ) -> None:
        self.drops = config.on_limit == "drop"
        self.number = number
        self.key_of = key_of
        """Returns what an attempt is counted under; None when it is not counted here."""
        self.timer: Cancellable | None = None
        self.timer_ns = 0
        self._try_acquire = limiter.try_acquire
        self._lines: dict[str, _KeyLine] = {}
        self._wakes: list[tuple[int, str]] = []

    def fits_at(self, attempt: Attempt, now_ns: int) -> int:
        """Count an attempt and return `now_ns`, or return the earliest instant at which it may fit."""
        key = self.key_of(attempt)
        if key is None:
            return now_ns
        if key in self._lines:
            return max(self._lines[key].fits_at_ns, now_ns + 1)
        return self._try_acquire(key, now_ns)

    def wait(self, attempt: Attempt, fits_at_ns: int) -> None:
        """Let an attempt wait until its turn."""
        key = self.key_of(attempt)
        assert key is not None
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _KeyLine()
            line.fits_at_ns = fits_at_ns
            heapq.heappush(self._wakes, (fits_at_ns, key))
        line.append(attempt)
        if attempt.expires_at_ns is not None:
            heapq.heappush(self._wakes, (attempt.expires_at_ns + 1, key))

    def advance(self, now_ns: int, go: Callable[[Attempt], None], expire: Callable[[Attempt], None]) -> None:
        """Let go who fits now."""
        while self._wakes and self._wakes[0][0] <= now_ns:
            key = heapq.heappop(self._wakes)[1]
            line = self._lines.get(key)
            if line is None:
                continue
            for attempt in line.expired(now_ns):
                expire(attempt)
            while line and line.fits_at_ns <= now_ns:
                line.fits_at_ns = self._try_acquire(key, now_ns)
                if line.fits_at_ns == now_ns:
                    go(line.pop())
                else:
                    heapq.heappush(self._wakes, (line.fits_at_ns, key))
            if not line:
                del self._lines[key]

    def forget_waiting(self) -> None:
        """Let go of all who wait."""
        self._lines.clear()
        self._wakes.clear()

    @property
    def next_wake_ns(self) -> int | None:
        """When to call `advance` next."""
        return self._wakes[0][0] if self._wakes else None


class RateLimiterActor(Actor):
    """Passes attempts on to the circuit breaker, at no more than the limits allow."""

    supervision = Supervision(then="escalate")

    def __init__(self, channel: NotificationChannel, config: ChannelConfig, stages: Stages) -> None:
        super().__init__()
        self._channel = channel
        self._stages = stages
        limits = [(config.rate_limit, _user_not_charged_yet), (config.quota, _everybody)]
        counted = [(limit, key_of) for limit, key_of in limits if limit is not None]
        if not stages.limiters:
            stages.limiters = tuple(make_limiter(limit) for limit, _ in counted)
        self._gates = [
            Gate(limit, number, key_of, stages.limiters[number]) for number, (limit, key_of) in enumerate(counted)
        ]

    def on_start(self) -> None:
        assert self._stages.circuit_breaker is not None
        assert self._stages.handler is not None
        self._to_breaker = self.route(self._stages.circuit_breaker)
        self._to_handler = self.route(self._stages.handler)

    @handles(Attempt)
    def on_attempt(self, attempt: Attempt) -> None:
        now_ns = self.system.now_ns
        for gate in self._gates:
            fits_at_ns = gate.fits_at(attempt, now_ns)
            if fits_at_ns != now_ns:
                self._refuse(gate, attempt, fits_at_ns)
                return
        self._to_breaker(attempt)

    @handles(ForgetWaiting)
    def on_forget_waiting(self, forget: ForgetWaiting) -> None:
        for gate in self._gates:
            gate.forget_waiting()
            self._set_timer(gate)
        self._to_breaker(forget)

    @handles(_Advance)
    def on_advance(self, advance: _Advance) -> None:
        gate = self._gates[advance.gate]
        gate.timer = None
        gate.advance(
            self.now_ns,
            go=lambda attempt: self._pass_gates(attempt, self._gates[gate.number + 1 :]),
            expire=lambda attempt: self._abandon(attempt, EXPIRED),
        )
        self._set_timer(gate)

    def _pass_gates(self, attempt: Attempt, gates: Sequence[Gate]) -> None:
        now_ns = self.system.now_ns
        for gate in gates:
            fits_at_ns = gate.fits_at(attempt, now_ns)
            if fits_at_ns != now_ns:
                self._refuse(gate, attempt, fits_at_ns)
                return
        self._to_breaker(attempt)

    def _refuse(self, gate: Gate, attempt: Attempt, fits_at_ns: int) -> None:
        if gate.drops:
            self._abandon(attempt, RATE_LIMIT_EXCEEDED)
            return
        if attempt.expires_at_ns is not None and fits_at_ns > attempt.expires_at_ns:
            self._abandon(attempt, EXPIRED)
            return
        gate.wait(attempt, fits_at_ns)
        self._set_timer(gate)
        event = NotificationDeferred(
            at_ns=self.now_ns,
            epoch_ns=self.epoch_ns,
            notification_id=attempt.command.notification_id,
            channel=self._channel,
            cause=DeferralCause.RATE_LIMIT,
            resumes_at_ns=fits_at_ns,
        )
        self.record(event)
        self._stages.announce(event)

    def _abandon(self, attempt: Attempt, reason: str) -> None:
        self._to_handler(Abandoned(attempt=attempt, reason=reason))

    def _set_timer(self, gate: Gate) -> None:
        wake_ns = gate.next_wake_ns
        if gate.timer is not None:
            if gate.timer_ns == wake_ns:
                return
            gate.timer.cancel()
            gate.timer = None
        if wake_ns is not None:
            gate.timer, gate.timer_ns = self.at(wake_ns, _Advance(gate.number)), wake_ns


def _user_not_charged_yet(attempt: Attempt) -> str | None:
    if attempt.charged:
        return None
    command = attempt.command
    return command.recipient if command.user_id is None else command.user_id


def _everybody(_attempt: Attempt) -> str:
    return ""
