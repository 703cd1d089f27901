"""Which dead letters of one channel are redriven without an operator, and when: by host, at a rate, the oldest first.

A plain object that gets the time passed in, which never goes back. It knows letters by the ids of their notifications.
"""

from __future__ import annotations

from collections import deque
from itertools import count

from actors.instants import ns
from actors.settings.redrive import RedriveConfig, RedriveReason


class Redriving:
    """The letters that may be redriven, and the due ones, whose host has answered again.

    Each letter is redriven at most `at_most` times in all, and letters go one after the other at `rate`. So a provider
    that fails and recovers without end gets each letter a few times, and never more than the rate at once.
    """

    def __init__(self, config: RedriveConfig) -> None:
        self._config = config
        self._interval_ns = ns(1 / config.rate.per_second)
        self._max_age_ns = ns(config.max_age)
        self._letters: dict[str, dict[str, int]] = {}
        """By host its letters, the oldest first; each with its place among all letters."""
        self._places = count()
        self._due: dict[str, deque[str]] = {}
        """The due letters, by the hosts that have answered again; the hosts take turns."""
        self._next_ns = 0

    def keep(self, notification_id: str, host: str, reason: RedriveReason | None, times: int) -> None:
        """Remember a letter, if it may be redriven; a known letter keeps its place.

        Args:
            notification_id: the letter's id.
            host: its recipient's host; ``""`` where one breaker decides about all hosts.
            reason: the cause of its death; None: a cause that is never redriven.
            times: how often it has been redriven automatically.
        """
        if reason in self._config.reasons and times < self._config.at_most:
            self._letters.setdefault(host, {}).setdefault(notification_id, next(self._places))
        else:
            self.drop(notification_id, host)

    def drop(self, notification_id: str, host: str | None = None) -> None:
        """Forget a letter that has left the queue; `host` None: look at all hosts."""
        for each in list(self._letters) if host is None else [host]:
            letters = self._letters.get(each)
            if letters is not None and letters.pop(notification_id, None) is not None and not letters:
                del self._letters[each]

    def begin(self, host: str | None = None) -> None:
        """Make the present letters of a host due, as it answers again; None: of all hosts, the oldest letter's host
        first."""
        for each in self._hosts() if host is None else [host]:
            if each in self._letters:
                self._due[each] = deque(self._letters[each])

    def _hosts(self) -> list[str]:
        return sorted(self._letters, key=lambda host: next(iter(self._letters[host].values())))

    def end(self, host: str) -> None:
        self._due.pop(host, None)

    @property
    def wake_ns(self) -> int | None:
        """When the next one has its turn; in the past: now. None: there is none."""
        return self._next_ns if self._due else None

    def take(self, now_ns: int) -> str | None:
        """Return the letter whose turn it is; None: no letter's. If it is redriven, call :meth:`charge` to count it."""
        while self._due and self._next_ns <= now_ns:
            host, letters = next(iter(self._due.items()))
            notification_id = letters.popleft()
            del self._due[host]
            if letters:
                self._due[host] = letters
            if notification_id in self._letters.get(host, ()):  # else it has left the queue
                return notification_id
        return None

    def charge(self, now_ns: int) -> None:
        self._next_ns = now_ns + self._interval_ns

    def is_too_old(self, age_ns: int) -> bool:
        """Tell whether a letter has been dead for too long, by its age in nanoseconds."""
        return age_ns > self._max_age_ns
