"""What channels have of their retry budgets: of each kind of budget an account, by what the history says."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable
from fractions import Fraction
from itertools import takewhile
from typing import Any

from actors.instants import wait_ns
from actors.messages import NotificationEvent, NotificationFailed, NotificationSent
from actors.outcomes import Ambiguous, Transient
from actors.policies.exact import as_fraction
from actors.settings.retry import (
    AwsBudgetConfig,
    EnvoyBudgetConfig,
    FinagleBudgetConfig,
    GrpcBudgetConfig,
    ShareBudgetConfig,
    TokenBudgetConfig,
)
from simulation.verification.laws.observations import AttemptMade

_WORTH_A_RETRY = frozenset({Transient.__name__, Ambiguous.__name__})
_SLICES = 10
"""Nanoseconds that dividing the memory of a Finagle budget into slices may lose."""


class Account(ABC):
    """What one channel has of its budget, between bounds where the history does not say all.

    What costs and brings something in one kind of budget only does nothing here.
    """

    @abstractmethod
    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        """Tell whether a retry could be in the budget."""

    @abstractmethod
    def may_refuse(self, failed: NotificationFailed) -> bool:
        """Tell whether a retry could be beyond it."""

    @abstractmethod
    def ended(self, event: NotificationEvent) -> None:
        """Take note that a notification has ended."""

    def failed(self, failed: NotificationFailed) -> None:  # noqa: B027
        """Take note of a failed attempt, before it is decided about its retry."""

    def grant(self, failed: NotificationFailed) -> None:  # noqa: B027
        """Charge a retry."""

    def set_out(self, notification_id: str, now_ns: int) -> None:  # noqa: B027
        """Take note that an attempt has set out."""

    def taken_back(self, notification_id: str) -> None:  # noqa: B027
        """Take note that an attempt that has set out is not made, or has ended."""

    def kept_back(self, notification_id: str) -> None:
        """Take note that a notification is not tried now; one that had set out is a retry no more."""
        self.taken_back(notification_id)

    def asked(self, made: AttemptMade) -> None:  # noqa: B027
        """Take note of the first send of an attempt on a channel that hedges."""

    def failed_before_copy(self, made: AttemptMade) -> None:  # noqa: B027
        """Take note of a send whose failure brings the next copy just now."""

    def copied(self, copy: AttemptMade, is_late: bool) -> bool:
        """Charge a copy of an attempt, which goes as the answer to another one is late, or has failed just now; return
        whether it could be in the budget, where that is known."""
        return True

    def stage_has_crashed(self) -> None:  # noqa: B027
        """Take note that copies go on of attempts that are sent anew."""


class _Grpc(Account):
    """A send of a hedged attempt that fails costs a token when its answer comes. When that is handled is known here
    where it brings the next copy at once, else only that it is by the end of its attempt. Taken later than it was, a
    token brings what is left no higher, and lower by what successes have given meanwhile at most."""

    def __init__(self, config: GrpcBudgetConfig) -> None:
        self._ceiling = self._most = self._least = as_fraction(config.max_tokens)
        self._ratio = as_fraction(config.token_ratio)
        self._may_fail: Counter[str] = Counter()
        """By notification: the copies of its attempt that may do so, as far as is known."""
        self._first_may_fail: set[str] = set()
        """Those the first send of whose attempt may do so."""
        self._first_taken: set[str] = set()
        """Those of which it has, which is counted at most and not yet at least."""
        self._successes = 0
        self._successes_before: dict[str, int] = {}
        """By notification, those there had been when its attempt was first sent."""

    def asked(self, made: AttemptMade) -> None:
        name = made.notification_id
        self._first_taken.discard(name)
        self._successes_before[name] = self._successes
        if self._may_have_failed(made):
            self._first_may_fail.add(name)

    def failed_before_copy(self, made: AttemptMade) -> None:
        self._most = max(Fraction(0), self._most - 1)
        if not made.is_copy:
            self._first_taken.add(made.notification_id)

    def copied(self, copy: AttemptMade, is_late: bool) -> bool:
        self._may_fail[copy.notification_id] += self._may_have_failed(copy)
        return 2 * self._most > self._ceiling

    @staticmethod
    def _may_have_failed(made: AttemptMade) -> bool:
        is_known = made.outcome is not None and made.answered
        return not is_known or isinstance(made.outcome, (Transient, Ambiguous))

    def failed(self, failed: NotificationFailed) -> None:
        is_of_first = failed.kind in _WORTH_A_RETRY and not failed.refused
        meanwhile = self._successes - self._successes_before.get(failed.notification_id, self._successes)
        is_taken = failed.notification_id in self._first_taken
        self._copies_end(failed, is_of_first)
        if is_of_first:
            self._least = max(Fraction(0), self._least - 1)
        if is_of_first and not is_taken:
            self._most = min(self._most, max(Fraction(0), self._most - 1) + meanwhile * self._ratio)

    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        return 2 * self._most > self._ceiling

    def may_refuse(self, failed: NotificationFailed) -> bool:
        return 2 * (self._least - self._may_fail.total() - len(self._first_may_fail)) <= self._ceiling

    def ended(self, event: NotificationEvent) -> None:
        self._copies_end(event)
        if type(event) is NotificationSent:
            self._successes += 1
            self._most, self._least = (min(self._ceiling, tokens + self._ratio) for tokens in (self._most, self._least))

    def _copies_end(self, event: NotificationEvent, is_counted: bool = False) -> None:
        """Take what copies may have cost, and the first send, if that is not counted with the attempt."""
        name = event.notification_id
        failed = self._may_fail.pop(name, 0) + (name in self._first_may_fail and not is_counted)
        self._least = max(Fraction(0), self._least - failed)
        self._first_may_fail.discard(name)
        self._first_taken.discard(name)
        self._successes_before.pop(name, None)


class _Aws(Account):
    def __init__(self, config: AwsBudgetConfig) -> None:
        self._config = config
        self._late_cost = config.timeout_cost or config.retry_cost
        self._ceiling = self._most = self._least = config.capacity
        """What is left of it at most and at least: what was charged for a retry that never set out is given back."""
        self._charges: dict[str, int] = {}
        self._copies: dict[str, int] = {}
        """By notification, what a copy of the attempt under way has cost at most: it is given back if that is sent."""
        self._answered_ns: dict[str, int] = {}
        """By notification, when its first copy ends that is sent. That gives back its cost before the handler is told,
        who records it."""

    def failed(self, failed: NotificationFailed) -> None:
        self._charges.pop(failed.notification_id, None)
        self._forget_copies(failed)

    def copied(self, copy: AttemptMade, is_late: bool) -> bool:
        config = self._config
        costs = config.retry_cost, config.throttled_cost, self._late_cost
        cost = costs[-1] if is_late else min(costs)
        may = self._most + self._given_back(copy.at_ns) >= cost
        self._most -= cost
        if copy.delivered:
            known_ns = self._answered_ns.get(copy.notification_id, copy.ends_at_ns)
            self._answered_ns[copy.notification_id] = min(known_ns, copy.ends_at_ns)
        self._least -= max(costs)
        self._copies[copy.notification_id] = max(costs)
        return may

    def stage_has_crashed(self) -> None:
        self._ceiling += sum(self._copies.values())  # which what is sent anew may give back once more
        self._most = self._ceiling

    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        return self._most + self._given_back(failed.at_ns) >= self._cost(failed)

    def _given_back(self, now_ns: int) -> int:
        """Return how much copies have given back whose notifications are not recorded as sent."""
        return sum(self._copies.get(name, 0) for name, at_ns in self._answered_ns.items() if at_ns <= now_ns)

    def _forget_copies(self, event: NotificationEvent) -> int:
        self._answered_ns.pop(event.notification_id, None)
        return self._copies.pop(event.notification_id, 0)

    def may_refuse(self, failed: NotificationFailed) -> bool:
        return self._least < self._cost(failed)

    def grant(self, failed: NotificationFailed) -> None:
        cost = self._charges[failed.notification_id] = self._cost(failed)
        self._most -= cost
        self._least -= cost

    def ended(self, event: NotificationEvent) -> None:
        charge = self._charges.pop(event.notification_id, 0)
        copy = self._forget_copies(event)
        if type(event) is NotificationSent:
            self._least = min(self._config.capacity, self._least + (charge or 1))
            charge = (charge or 1) + copy
        self._most = min(self._ceiling, self._most + charge)

    def _cost(self, failed: NotificationFailed) -> int:
        config = self._config
        if failed.kind == Ambiguous.__name__:
            return self._late_cost
        return config.throttled_cost if failed.throttled else config.retry_cost


class _Envoy(Account):
    def __init__(self, config: EnvoyBudgetConfig) -> None:
        self._config = config
        self._retries: set[str] = set()
        """Whose retry waits or is under way."""
        self._leaving: set[str] = set()
        """Whose retry is kept back, of which the handler has not heard perhaps, until it sets out again or ends."""
        self._copies: Counter[str] = Counter()
        """Copies of each attempt that is under way; those that have failed still count here."""
        self._under_way: set[str] = set()
        """Whose attempt has set out, and has not ended."""

    def set_out(self, notification_id: str, now_ns: int) -> None:
        self._under_way.add(notification_id)
        self._leaving.discard(notification_id)

    def taken_back(self, notification_id: str) -> None:
        self._under_way.discard(notification_id)

    def kept_back(self, notification_id: str) -> None:
        if notification_id in self._under_way:
            self._under_way.discard(notification_id)
            if notification_id in self._retries:
                self._retries.discard(notification_id)
                self._leaving.add(notification_id)

    def failed(self, failed: NotificationFailed) -> None:
        self._retries.discard(failed.notification_id)
        self._leaving.discard(failed.notification_id)
        self._under_way.discard(failed.notification_id)
        self._copies.pop(failed.notification_id, None)

    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        part = as_fraction(self._config.share) * (in_flight + self._copies.total())  # of at most so many under way
        if not self._config.inclusive:
            part -= 1
        return len(self._retries) < self._config.min_concurrency or len(self._retries) <= part

    def may_refuse(self, failed: NotificationFailed) -> bool:
        retries = len(self._retries | self._leaving) + self._copies.total()
        part = as_fraction(self._config.share) * len(self._under_way)
        beyond_share = retries > part if self._config.inclusive else retries >= math.floor(part)
        return retries >= self._config.min_concurrency and beyond_share

    def grant(self, failed: NotificationFailed) -> None:
        self._retries.add(failed.notification_id)

    def ended(self, event: NotificationEvent) -> None:
        self._retries.discard(event.notification_id)
        self._leaving.discard(event.notification_id)
        self._under_way.discard(event.notification_id)
        self._copies.pop(event.notification_id, None)

    def copied(self, copy: AttemptMade, is_late: bool) -> bool:
        self._copies[copy.notification_id] += 1
        return True


class _Finagle(Account):
    """Time is counted in slices that begin with what happens, so what is remembered reaches 0.9 to 2 times back."""

    def __init__(self, config: FinagleBudgetConfig) -> None:
        self._share = as_fraction(config.share)
        rate, ttl = config.min_rate, as_fraction(config.ttl)
        self._reserve = Fraction(0) if rate is None else as_fraction(rate.count) / as_fraction(rate.period) * ttl
        ttl_ns = wait_ns(config.ttl)
        self._surely_ns, self._perhaps_ns = 9 * ttl_ns // 10 - _SLICES, 2 * ttl_ns + _SLICES
        self._first: deque[int] = deque()
        self._retries: deque[int] = deque()
        self._given_back: deque[int] = deque()
        self._charged: set[str] = set()
        """Whose next attempt is a retry that has been charged."""

    def set_out(self, notification_id: str, now_ns: int) -> None:
        if notification_id in self._charged:
            self._charged.discard(notification_id)
        else:
            self._first.append(now_ns)

    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        return self._may_take(failed.at_ns)

    def may_refuse(self, failed: NotificationFailed) -> bool:
        # Of the reserve only whole parts of a retry's price are there.
        least = self._share * _since(self._first, failed.at_ns - self._surely_ns) + self._reserve - 1
        return least < 1 + _since(self._retries, failed.at_ns - self._perhaps_ns)

    def grant(self, failed: NotificationFailed) -> None:
        self._charged.add(failed.notification_id)
        self._retries.append(failed.at_ns)

    def ended(self, event: NotificationEvent) -> None:
        if event.notification_id in self._charged:
            self._charged.discard(event.notification_id)
            self._given_back.append(event.at_ns)

    def copied(self, copy: AttemptMade, is_late: bool) -> bool:
        may = self._may_take(copy.at_ns)
        self._retries.append(copy.at_ns)
        return may

    def _may_take(self, now_ns: int) -> bool:
        since_ns = now_ns - self._perhaps_ns
        for instants_ns in (self._first, self._retries, self._given_back):
            while instants_ns and instants_ns[0] < since_ns:
                instants_ns.popleft()
        most = self._share * len(self._first) + self._reserve + len(self._given_back)
        return _since(self._retries, now_ns - self._surely_ns) + 1 <= most


class _Tokens(Account):
    def __init__(self, config: TokenBudgetConfig) -> None:
        self._share, self._capacity, self._inclusive = as_fraction(config.share), config.capacity, config.inclusive
        self._most = self._least = Fraction(config.capacity)
        """What is there at most and at least: what was charged for a retry that never set out is given back."""
        self._charged: set[str] = set()
        """Whose next attempt is a retry that has been charged."""

    def set_out(self, notification_id: str, now_ns: int) -> None:
        if notification_id in self._charged:
            self._charged.discard(notification_id)
        else:
            self._most = min(Fraction(self._capacity), self._most + self._share)
            self._least = min(Fraction(self._capacity), self._least + self._share)

    def may_grant(self, failed: NotificationFailed, in_flight: int) -> bool:
        return self._suffices(self._most)

    def may_refuse(self, failed: NotificationFailed) -> bool:
        return not self._suffices(self._least)

    def grant(self, failed: NotificationFailed) -> None:
        self._charged.add(failed.notification_id)
        self._take()

    def ended(self, event: NotificationEvent) -> None:
        if event.notification_id in self._charged:
            self._charged.discard(event.notification_id)
            self._most = min(Fraction(self._capacity), self._most + 1)

    def copied(self, copy: AttemptMade, is_late: bool) -> bool:
        may = self._suffices(self._most)
        self._take()
        return may

    def _take(self) -> None:
        self._most, self._least = self._most - 1, self._least - 1

    def _suffices(self, tokens: Fraction) -> bool:
        return tokens >= 1 if self._inclusive else tokens > 1


ACCOUNTS: dict[type, Callable[[Any], Account]] = {
    GrpcBudgetConfig: _Grpc,
    AwsBudgetConfig: _Aws,
    EnvoyBudgetConfig: _Envoy,
    FinagleBudgetConfig: _Finagle,
    ShareBudgetConfig: _Finagle,
    TokenBudgetConfig: _Tokens,
}


def _since(instants_ns: deque[int], since_ns: int) -> int:
    """Return how many of these instants, in order, are not before one."""
    return sum(1 for _ in takewhile(lambda at_ns: at_ns >= since_ns, reversed(instants_ns)))
