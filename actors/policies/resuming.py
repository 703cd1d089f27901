"""Resuming waiting attempts: behind a breaker that has closed, after a restart, and after a takeover from another node.

A provider that has just come back does not get all attempts at once, and a provider that is still down fails only a few
before the breaker opens again. The pace begins low and keeps doubling, up to a ceiling that follows the load.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from actors.instants import NS_PER_S, ns
from actors.policies.breaker.states import KEYS_MAX

if TYPE_CHECKING:
    from actors.settings.breaker import CircuitBreakerConfig

_MINUTE = 60
_LN_2 = math.log(2.0)
_PER_RESUME_RATE = 10.0
_PER_ARRIVAL = 2.0
_AFTER_RELAPSE = 0.5
_PER_ARRIVAL_AFTER_RELAPSE = 1.25
_LEAST_PER_S = 0.5
_PER_MINUTE = 1.02
_MINUTES_MAX = 10_000.0
"""After this many minutes the ceiling is beyond any rate, but still a float."""


class Ceiling:
    """The ceiling of the pace, in attempts a second.

    It is `resume_rate_max`; by default ten times `resume_rate`, or twice the rate of new notifications where that is
    more: under a ceiling below the load a line that new notifications join would never end.
    """

    __slots__ = ("_fixed_per_s", "_least_per_s")

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self._fixed_per_s = None if config.resume_rate_max is None else config.resume_rate_max.per_second
        self._least_per_s = _PER_RESUME_RATE * config.resume_rate.per_second

    def per_s(self, arriving_per_s: float) -> float:
        """Return the ceiling, given the new notifications a second in the last minute."""
        return max(self._least_per_s, _PER_ARRIVAL * arriving_per_s) if self._fixed_per_s is None else self._fixed_per_s


class Relapse(NamedTuple):
    """The ceiling that a breaker's second opening teaches, if the pace at which its line resumed was to blame.

    The ceiling is half the pace from then on, and grows by 2% a minute. New notifications join the line, so its pace
    has to be above the load for the line to end: a pace below the load is not to blame, and the ceiling is at least
    1.25 times the load, or the whole pace if that is less.
    """

    per_s: float
    at_ns: int

    @classmethod
    def after(cls, pace: Pace, arriving_per_s: float, now_ns: int) -> Relapse | None:
        """Return the relapse, given the new notifications a second; None where the pace is not to blame."""
        per_s = pace.per_s
        if per_s <= arriving_per_s:
            return None
        of_load = min(per_s, _PER_ARRIVAL_AFTER_RELAPSE * arriving_per_s)
        return cls(max(_AFTER_RELAPSE * per_s, of_load, _LEAST_PER_S), now_ns)

    def ceiling_per_s(self, now_ns: int) -> float:
        """Return how many a second may go at most."""
        minutes = (now_ns - self.at_ns) / (_MINUTE * NS_PER_S)
        return self.per_s * math.pow(_PER_MINUTE, min(minutes, _MINUTES_MAX))


class _Minute:
    """The arrivals of one key in the last minute."""

    __slots__ = ("before", "latest", "over_ns", "second", "seconds")

    def __init__(self) -> None:
        self.second = -1
        """The latest second of the clock with an arrival."""
        self.latest = 0
        """How many notifications have arrived in the latest second."""
        self.over_ns = 0
        """When it is over."""
        self.seconds: deque[tuple[int, int]] = deque()
        """Each second before it with arrivals, and how many."""
        self.before = 0
        """How many in all these."""

    def note(self, at_ns: int) -> None:
        """Count a notification that arrived at this instant."""
        if at_ns >= self.over_ns:
            self._begin(at_ns // NS_PER_S)
        self.latest += 1

    def _begin(self, second: int) -> None:
        if self.latest:
            self.seconds.append((self.second, self.latest))
            self.before += self.latest
        self._forget(second)
        self.second, self.latest, self.over_ns = second, 0, (second + 1) * NS_PER_S

    def _forget(self, second: int) -> None:
        while self.seconds and self.seconds[0][0] <= second - _MINUTE:
            self.before -= self.seconds.popleft()[1]

    def average(self, second: int) -> float:
        """Return how many have arrived a second, on average over the minute that this second is the last of."""
        self._forget(second)
        return (self.before + self.latest) / _MINUTE if self.second > second - _MINUTE else 0.0


class Arrivals(_Minute):
    """How many new notifications have arrived in the last minute, all together and by host; each counts once.

    Counts by whole seconds, so a minute has 59 to 60 seconds. A host without arrivals in it is forgotten. The instants
    passed in never go back.
    """

    __slots__ = ("_hosts",)

    def __init__(self) -> None:
        super().__init__()
        self._hosts: OrderedDict[str, _Minute] = OrderedDict()
        """The one with the earliest latest arrival first."""

    def note_host(self, host: str, at_ns: int) -> None:
        """Count a notification for this host, but not in the total."""
        minute = self._hosts.get(host)
        if minute is None:
            minute = self._hosts[host] = _Minute()
        if at_ns >= minute.over_ns:
            self._hosts.move_to_end(host)
            self._forget_before(at_ns // NS_PER_S - _MINUTE)
        minute.note(at_ns)

    def per_second(self, host: str | None, now_ns: int) -> float:
        """Return how many have arrived a second for a host, on average over the last minute; None: all together."""
        minute = self if host is None else self._hosts.get(host)
        return 0.0 if minute is None else minute.average(now_ns // NS_PER_S)

    def _forget_before(self, last: int) -> None:
        """Forget the hosts whose latest arrival was in the second `last` or earlier, except the newest host."""
        while len(self._hosts) > 1 and next(iter(self._hosts.values())).second <= last:
            self._hosts.popitem(last=False)


class Pace:
    """A release rate that starts at `resume_rate`, doubles with every `resume_doubling`, and has a ceiling.

    So a provider that has just come back does not get all waiting attempts at once, and yet the line empties in the
    end, whatever the rate at which attempts join it. With r the initial rate and d the doubling time, r·d/ln 2·(2^(t/d)
    − 1) attempts have been released by t; solved for t this is the instant of the k-th release. The ceiling counts all
    attempts that go, after a start also new ones that do not wait; but these never slow the line below `resume_rate`.
    """

    __slots__ = (
        "_ceiling",
        "_doubling",
        "_free_ns",
        "_longest_ns",
        "_per_doubling",
        "_rate",
        "_released",
        "_start_ns",
        "latest_ns",
        "next_ns",
    )

    def __init__(self, config: CircuitBreakerConfig, start_ns: int, most_per_s: float = math.inf) -> None:
        self._rate = rate = min(config.resume_rate.per_second, most_per_s)
        self._ceiling = most_per_s
        self._doubling = config.resume_doubling
        self._per_doubling = rate * self._doubling
        self._longest_ns = ns(1.0 / rate)
        self._start_ns = start_ns
        self._released = 0
        self._free_ns = start_ns
        """From when on the ceiling allows one more."""
        self.latest_ns = start_ns - self._longest_ns
        """When the latest went; the ceiling holds up the next one until `_longest_ns` later at most."""
        self.next_ns = start_ns
        """The earliest instant at which the next one may go; the first may go at once."""

    @property
    def per_s(self) -> float:
        return min(self._rate + self._released * _LN_2 / self._doubling, self._ceiling)

    def release(self, now_ns: int) -> None:
        """Count an attempt that goes now. If it is late, the pace stood still meanwhile: there is nothing to catch
        up."""
        if now_ns > self.next_ns:
            self._start_ns += now_ns - self.next_ns
        self._released = k = self._released + 1
        elapsed = self._doubling * math.log2(1.0 + k * _LN_2 / self._per_doubling)
        self.next_ns = max(now_ns + 1, self._start_ns + ns(elapsed))
        self.latest_ns = now_ns

    def charge(self, now_ns: int, ceiling: float) -> None:
        """Count an attempt, released or passing the line by, under a ceiling in attempts a second."""
        self._ceiling = ceiling
        apart_ns = math.ceil(NS_PER_S / ceiling)
        # However many attempts pass by at once, they are paid off within a second.
        self._free_ns = min(max(self._free_ns, now_ns) + apart_ns, now_ns + max(apart_ns, NS_PER_S))
        allowed_ns = min(self._free_ns, self.latest_ns + self._longest_ns)
        if allowed_ns > self.next_ns:
            self._start_ns += allowed_ns - self.next_ns
            self.next_ns = allowed_ns


class Paces:
    """The paces of the lines before one provider, each behind the breaker of its host, and the ceilings of relapses.

    Args:
        config: the settings of the breakers.
        timeout_ns: how long an attempt takes at most: for this long the last attempt of a pace may still fail.
        arriving_per_s: returns how many new notifications arrive a second for a host at an instant.
        tripped_abruptly: tells whether the latest opening of the breaker of a host proved abrupt.
    """

    def __init__(
        self,
        config: CircuitBreakerConfig,
        timeout_ns: int,
        arriving_per_s: Callable[[str, int], float],
        tripped_abruptly: Callable[[str, int], bool],
    ) -> None:
        self._config = config
        self._timeout_ns = timeout_ns
        self._ceiling = Ceiling(config)
        self._arriving_per_s = arriving_per_s
        self._tripped_abruptly = tripped_abruptly
        self.running: dict[str, Pace] = {}
        """By host, while attempts that waited for the breaker resume."""
        self._ended: dict[str, Pace] = {}
        """By host, the pace of a line that has become empty since its breaker closed."""
        self._suspects: dict[str, Relapse] = {}
        """By host, what a breaker that has opened again would tell, until it closes and is judged."""
        self._relapses: dict[str, Relapse] = {}
        """By host, what its line has to heed until it is empty."""

    def resume(self, host: str, now_ns: int) -> None:
        """Begin a pace for the attempts at a host that wait for its breaker: they go one by one, not as one herd."""
        suspect = self._suspects.pop(host, None)
        if suspect is not None and self._tripped_abruptly(host, now_ns):
            self._relapses[host] = suspect
        self.running[host] = Pace(self._config, now_ns, self._learned_per_s(host, now_ns))

    def go(self, host: str, now_ns: int) -> Pace | None:
        """Count one at a host that goes now, or that the ramp refuses; return the pace, None where none runs there."""
        pace = self.running.get(host)
        if pace is not None:
            ceiling = self._ceiling.per_s(self._arriving_per_s(host, now_ns))
            pace.release(now_ns)
            pace.charge(now_ns, min(ceiling, self._learned_per_s(host, now_ns)) if self._relapses else ceiling)
        return pace

    def wait_through_ramp(self, host: str, now_ns: int) -> int:
        """Let attempts that a host's ramp has refused ask again at a pace; return when the first of them may."""
        self.resume(host, now_ns)
        self.go(host, now_ns)  # the attempt that has just asked
        return self.running[host].next_ns

    def ceiling_per_s(self, arriving_per_s: float) -> float:
        """Return the ceiling of the channel, in attempts a second, while notifications resume after a restart."""
        return self._ceiling.per_s(arriving_per_s)

    def none_waits(self, host: str) -> None:
        """Record that the line of a host is empty."""
        self._relapses.pop(host, None)
        self._suspects.pop(host, None)
        pace = self.running.pop(host, None)
        if pace is not None:
            self._ended[host] = pace
            if len(self._ended) > KEYS_MAX:
                del self._ended[next(iter(self._ended))]

    def breaker_opens(self, host: str, now_ns: int) -> None:
        """Note the pace of a line whose breaker opens; the cause may be attempts of a pace that has just ended."""
        pace = self.running.get(host)
        ended = self._ended.pop(host, None)
        if pace is None and ended is not None and now_ns - ended.latest_ns <= self._timeout_ns:
            pace = ended
        relapse = None if pace is None else Relapse.after(pace, self._arriving_per_s(host, now_ns), now_ns)
        if relapse is not None:
            self._suspects[host] = relapse

    def stop(self, host: str) -> None:
        self.running.pop(host, None)

    def restart(self, now_ns: int) -> None:
        """Restart the paces that are due: all waiting attempts were dropped and come again at once."""
        for learned in (self._ended, self._suspects, self._relapses):
            learned.clear()
        for host, pace in self.running.items():
            if pace.next_ns < now_ns:
                self.resume(host, now_ns)

    def drop_unused(self, host: str, now_ns: int) -> None:
        """Drop the pace of a host with an empty line, if it was due and nothing used it."""
        pace = self.running.get(host)
        if pace is not None and pace.next_ns < now_ns:
            del self.running[host]

    def _learned_per_s(self, host: str, now_ns: int) -> float:
        relapse = self._relapses.get(host)
        return math.inf if relapse is None else relapse.ceiling_per_s(now_ns)
