"""Limits: at most so many in a time, for a user or a provider (section 5), so many at once (slots), and the quotas that
several providers share, as they are of one account (`quota: {account}`).
"""

from __future__ import annotations

import math
from bisect import bisect, bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from actors.settings.quantities import Rate
from actors.settings.rate_limit import RateLimitConfig
from simulation.verification.model.instants import wait_ns


def as_written(number: float) -> Fraction:
    """Return a number of the settings as its decimals say: 3.3 is 33/10."""
    return Fraction(repr(float(number)))


@lru_cache(maxsize=1024)
def share_of(share: float) -> Fraction:
    """Return the share that was meant: the nearest fraction with a denominator of at most 10⁹, 0 only for 0."""
    return Fraction(share).limit_denominator(10**9) or Fraction(1 if share else 0, 10**9)


def in_parts_of(interval_ns: Fraction, time_ns: Fraction) -> Fraction:
    """Return a time rounded up to such parts of a nanosecond as an interval is made of: 10/3 ns of thirds."""
    return Fraction(math.ceil(time_ns * interval_ns.denominator), interval_ns.denominator)


class Limit:
    """At most so many for each key (a user; ``""`` for a provider), which is charged for each that goes."""

    fits_at: Callable[[str, int], int]
    """Returns the earliest instant from now on at which one more fits, if none goes before."""
    charge: Callable[[str, int], None]
    """Counts one that goes now."""
    go_on_from: Callable[[Any, int], None]
    """Goes on where one of the same kind and of another size has stopped; only buckets do."""

    def take(self, key: str, now_ns: int) -> int:
        """Return when one more fits, and count it if that is now."""
        fits_at_ns = self.fits_at(key, now_ns)
        if fits_at_ns == now_ns:
            self.charge(key, now_ns)
        return fits_at_ns


class SlidingWindow(Limit):
    """At most `count` in any (now - width, now], by an exact log."""

    def __init__(self, count: int, width_ns: int) -> None:
        self._count = count
        self._width_ns = width_ns
        self._went: dict[str, list[int]] = defaultdict(list)

    def fits_at(self, key: str, now_ns: int) -> int:
        went = self._went[key]
        return now_ns if len(went) < self._count else max(now_ns, went[-self._count] + self._width_ns)

    def charge(self, key: str, now_ns: int) -> None:
        self._went[key].append(now_ns)


class FixedWindow(SlidingWindow):
    """At most `count` in each [n · width, (n + 1) · width) since the start of the run."""

    def fits_at(self, key: str, now_ns: int) -> int:
        window = now_ns // self._width_ns
        return now_ns if self._in(key, window) < self._count else (window + 1) * self._width_ns

    def _in(self, key: str, window: int) -> int:
        begins_ns, went = window * self._width_ns, self._went[key]
        return bisect_left(went, begins_ns + self._width_ns) - bisect_left(went, begins_ns)


class SlidingCounter(FixedWindow):
    """A window that also counts the one before by the share of it that a window ending now would cover, rounded
    down."""

    def fits_at(self, key: str, now_ns: int) -> int:
        window = now_ns // self._width_ns
        room = self._count - 1 - self._in(key, window)
        if room >= 0:
            return max(now_ns, self._room_at(key, window, room))
        return self._room_at(key, window + 1, self._count - 1)

    def _room_at(self, key: str, window: int, room: int) -> int:
        """Return the first instant of a window at which the one before weighs at most `room`."""
        before, width = self._in(key, window - 1), self._width_ns
        return window * width + bisect(range(width), False, key=lambda at: before * (width - at) // width <= room)


class TokenBucket(Limit):
    """`burst` tokens at most, of which one flows in every `interval_ns`, and each that goes takes one."""

    def __init__(self, interval_ns: Fraction, burst: int) -> None:
        self._interval_ns = interval_ns
        self._burst = Fraction(burst)
        self._left: dict[str, tuple[Fraction, int]] = {}
        """By key, the tokens that the latest left, and when."""
        self._fits_ns: dict[str, int] = {}
        """By key, when there is a token again, if none is taken before."""

    def fits_at(self, key: str, now_ns: int) -> int:
        return max(now_ns, self._fits_ns.get(key, 0))

    def charge(self, key: str, now_ns: int) -> None:
        self._leave(key, self._tokens(key, now_ns) - 1, now_ns)

    def _leave(self, key: str, tokens: Fraction, now_ns: int) -> None:
        self._left[key] = tokens, now_ns
        self._fits_ns[key] = now_ns + math.ceil((1 - tokens) * self._interval_ns)

    def go_on_from(self, other: TokenBucket, now_ns: int) -> None:
        """With as many tokens as that has, or as fit in; the time until it is full is rounded up."""
        missing = max(Fraction(0), self._burst - other._tokens("", now_ns))
        full_after = in_parts_of(self._interval_ns, missing * self._interval_ns)
        self._leave("", self._burst - full_after / self._interval_ns, now_ns)

    def _tokens(self, key: str, now_ns: int) -> Fraction:
        tokens, since_ns = self._left.get(key, (self._burst, now_ns))
        return min(self._burst, tokens + (now_ns - since_ns) / self._interval_ns)


class LeakyBucket(Limit):
    """One every `interval_ns`; with `aligned`, one in each interval since the start of the run."""

    def __init__(self, interval_ns: Fraction, *, aligned: bool) -> None:
        self._interval_ns = interval_ns
        self._aligned = aligned
        self._free_at: dict[str, Fraction] = defaultdict(Fraction)
        self._went_ns: dict[str, int] = {}
        """When the latest went, be that the beginning of its interval or later."""

    def fits_at(self, key: str, now_ns: int) -> int:
        return max(now_ns, math.ceil(self._free_at[key]))

    def charge(self, key: str, now_ns: int) -> None:
        self._free_at[key] = max(self._free_at[key], self._begin_of(now_ns)) + self._interval_ns
        self._went_ns[key] = now_ns

    def go_on_from(self, other: LeakyBucket, now_ns: int) -> None:
        """An interval of its own after the latest; with `aligned`, in none of its own in which that went."""
        for key, free_at in other._free_at.items():
            if free_at:
                latest = in_parts_of(self._interval_ns, free_at - other._interval_ns)
                went_ns = self._went_ns[key] = other._went_ns[key]
                if self._aligned:
                    latest = max(latest, self._begin_of(went_ns))
                self._free_at[key] = latest + self._interval_ns

    def _begin_of(self, at_ns: int) -> Fraction:
        return at_ns // self._interval_ns * self._interval_ns if self._aligned else Fraction(at_ns)


class SeveralRates(Limit):
    """All hold at once, and what one refuses is not charged to the others."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits

    def fits_at(self, key: str, now_ns: int) -> int:
        return max(limit.fits_at(key, now_ns) for limit in self._limits)

    def charge(self, key: str, now_ns: int) -> None:
        for limit in self._limits:
            limit.charge(key, now_ns)

    def go_on_from(self, other: SeveralRates, now_ns: int) -> None:
        for own, before in zip(self._limits, other._limits, strict=True):
            own.go_on_from(before, now_ns)


def limit_of(config: RateLimitConfig, parts: int = 1) -> Limit:
    """Return the limit that the settings ask for; of buckets, one of so many equal parts."""
    rates = config.rates or (config.rate or Rate(float(config.max_per_minute or 0), 60.0),)
    limits = [_one_limit(config, wait_ns(rate.period), as_written(rate.count), parts) for rate in rates]
    return limits[0] if len(limits) == 1 else SeveralRates(limits)


def _one_limit(config: RateLimitConfig, width_ns: int, count: Fraction, parts: int) -> Limit:
    match config.kind:
        case "sliding_window":
            return SlidingWindow(int(count), width_ns)
        case "sliding_counter":
            return SlidingCounter(int(count), width_ns)
        case "fixed_window":
            return FixedWindow(int(count), width_ns)
        case "leaky_bucket":
            return LeakyBucket(parts * width_ns / count, aligned=config.aligned)
        case "token_bucket" | "gcra":
            return TokenBucket(parts * width_ns / count, max(1, (config.burst or int(count)) // parts))


class Slots:
    """The bulkhead: so many attempts may be at the provider at once; the `limit` is passed in, as it may adapt.

    "No key holds more than a quarter of the slots while others wait" (section 14), but for one slot, as else none of
    fewer than four would ever be had. Nor does one that has a quarter get any of the last sixteenth, rounded: by
    `max_in_flight` in reference.md, and also while no others wait.
    """

    def __init__(self) -> None:
        self.count = 0
        """How many are at the provider."""
        self._held: Counter[str] = Counter()
        """By key; ``""`` are those without one, and all where no keys take turns."""
        self.reserved: Counter[str] = Counter()
        """By key, those that notifications hold which have no attempt there (`holds_slot`)."""

    def change(self, key: str, by: int) -> None:
        """Take note that one of a key has gone to the provider (1), or has come back (-1)."""
        self.count += by
        self._held[key] += by

    def are_taken(self, limit: int, *, holds_slot: bool = False) -> bool:
        """Return whether none is free; for one that holds a slot, whether as many are there as may be."""
        return self.count + (0 if holds_slot else self.reserved.total()) >= limit

    def are_kept_from(self, key: str, limit: int | None, *, do_others_wait: bool) -> bool:
        """Return whether those that are free are kept for keys other than this one."""
        if limit is None or not self.has_quarter(key, limit):
            return False
        return do_others_wait or limit - self.count - self.reserved.total() <= (limit + 8) // 16

    def has_quarter(self, key: str, limit: int | None) -> bool:
        return limit is not None and key != "" and self._held[key] + self.reserved[key] >= max(1, limit // 4)


class Latest:
    """How many there were in the latest sixty parts of time, this one included."""

    def __init__(self, part_ns: int) -> None:
        self._part_ns = part_ns
        self._count: Counter[int] = Counter()
        """By the number of the part."""
        self._before = (-1, 0)
        """Of one part, how many there were in the 59 before it."""

    def add(self, now_ns: int, count: int = 1) -> None:
        part = now_ns // self._part_ns
        self._count[part] += count
        if part < self._before[0]:
            self._before = (-1, 0)

    def total(self, now_ns: int) -> int:
        now = now_ns // self._part_ns
        if self._before[0] != now:
            self._before = now, sum(self._count[part] for part in range(now - 59, now))
        return self._before[1] + self._count[now]


class Account:
    """The quotas of one account, each a lane's, which take turns where they wait."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.lanes: list[PartOfAccount] = []
        self.gone = 0


class PartOfAccount(Limit):
    """A lane's part of an account.

    At the instant at which the account has room again, the waiting lane that was served longest ago goes first; another
    lane that asks earlier is put off for a nanosecond. Only once, so that a lane that has stopped asking cannot block
    the others.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._went = 0
        """The account's count of admissions when it was served last."""
        self._told_ns: int | None = None
        """The instant until which it has to wait."""
        self._yields_ns = -1
        """The instant at which it was last put off for another lane; it stays put off for all of it."""
        account.lanes.append(self)

    def fits_at(self, key: str, now_ns: int) -> int:
        fits_ns = self._account.limit.fits_at(key, now_ns)
        if self._yields_ns == now_ns:
            return max(fits_ns, now_ns + 1)
        self._told_ns = fits_ns if fits_ns > now_ns else None
        if self._told_ns is not None:
            return fits_ns
        waiting = [each for each in self._account.lanes if each._told_ns is not None and each._told_ns <= now_ns]
        first = min(waiting, key=lambda each: each._went, default=self)
        if first._went >= self._went:
            return now_ns
        self._yields_ns, self._told_ns, first._told_ns = now_ns, now_ns + 1, None
        return now_ns + 1

    def charge(self, key: str, now_ns: int) -> None:
        self._account.limit.charge(key, now_ns)
        self._account.gone += 1
        self._went = self._account.gone
