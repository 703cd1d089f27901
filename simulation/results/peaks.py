"""The most that providers had to do: requests that start in one second, and attempts under way at an instant."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, compress, repeat
from operator import and_, attrgetter, floordiv, mul, or_
from typing import Any, TypeVar

from actors.instants import NS_PER_S
from actors.messages import NotificationChannel, NotificationFailed, NotificationSent
from actors.pipeline.waiting_line import WaitingCounts
from actors.settings.channel import PRIMARY
from simulation.results.ledger import ByPlace
from simulation.results.statistics import in_order

KEPT = 100_000
"""Attempts whose times are kept until it is known what was under way beside them."""

K = TypeVar("K")

Provider = tuple[NotificationChannel, str]
"""A channel and one of its providers."""

Asked = tuple[NotificationChannel | None, str | None]
"""The same; None: all of them."""


class Peak:
    """The peaks of attempts, of which one hears some time after they have ended, in the order of what they change."""

    def __init__(self) -> None:
        self.requests_per_s = 0
        self.in_flight = 0
        self._under_way = 0
        self._second: tuple[int, int] = (-1, 0)
        """The latest, and how many have started in it so far."""

    def extend(self, ordered: Sequence[int], hedges: Counter[int]) -> None:
        """Take in changes: twice the instant at which an attempt ends, or twice that at which one starts, and 1 more.

        Args:
            ordered: all up to the last of them that have not been taken in.
            hedges: how many copies there were beside the attempts that started in a second of the run.
        """
        if not ordered:
            return
        # Twice for each attempt of a run: so no step of it is taken in Python.
        starts = [*map(and_, ordered, repeat(1))]
        levels = [*accumulate(map(_STEPS.__getitem__, starts), initial=self._under_way)]
        self.in_flight, self._under_way = max(self.in_flight, max(levels)), levels[-1]
        started = Counter(map(floordiv, compress(ordered, starts), repeat(_SECOND)))
        started[self._second[0]] += self._second[1]
        last = max(started)
        self._second = last, started[last]
        self.requests_per_s = max(self.requests_per_s, *(count + hedges[each] for each, count in started.items()))

    def summary(self) -> dict[str, int]:
        """Return the peaks as the summary names them."""
        return {"requests_per_s": self.requests_per_s, "in_flight": self.in_flight}


_SECOND = 2 * NS_PER_S
_STEPS = (-1, 1)
"""By how much a change alters how many are under way: an end, a start."""

_ENDED = attrgetter("at_ns")
_STARTED = attrgetter("started_ns")
_HEDGES = attrgetter("hedges")


class Peaks:
    """The peaks of a run, of its channels, and of the providers of channels that have several."""

    def __init__(self, providers: Mapping[NotificationChannel, Sequence[str]], longest_ns: int) -> None:
        """Begin with none.

        Args:
            providers: the channels, and the names of each one's providers.
            longest_ns: how long an attempt may take.
        """
        self._longest_ns = longest_ns
        self._changes: dict[Provider, array[int]] = {
            (channel, name): array("q") for channel, names in providers.items() for name in names
        }
        """Of attempts that have ended, and that are not yet part of the peaks."""
        self._hedges: dict[Provider, Counter[int]] = {provider: Counter() for provider in self._changes}
        self._groups: dict[Asked, list[Provider]] = {(None, None): list(self._changes)}
        for channel, names in providers.items():
            self._groups[channel, None] = [(channel, name) for name in names]
            self._groups |= {(channel, name): [(channel, name)] for name in names if len(names) > 1}
        self._peaks = {asked: Peak() for asked in self._groups}
        self._kept = 0
        self._keeps_at_most = KEPT
        self._backoffs: dict[NotificationChannel, array[int]] = {channel: array("q") for channel in providers}
        """When notifications begin to wait for their retry, and when they no longer do: changes as of attempts."""
        self._in_backoff: dict[NotificationChannel | None, Peak] = {each: Peak() for each in (None, *providers)}
        self._waiting: dict[NotificationChannel | None, Counter[str]] = {each: Counter() for each in (None, *providers)}

    def fold(self, events: Mapping[type, Sequence[Any]], places: ByPlace) -> None:
        """Take in a chunk of the history.

        Args:
            events: sorted by type.
            places: the same, by place.
        """
        sent: Sequence[NotificationSent] = events.get(NotificationSent, ())
        failed: Sequence[NotificationFailed] = events.get(NotificationFailed, ())
        for (_, channel), of_place in places.items():
            failures = of_place.get(NotificationFailed, ())
            for attempts in (of_place.get(NotificationSent, ()), [event for event in failures if not event.refused]):
                for provider, own in self._by_provider(channel, attempts):
                    self._extend(provider, own)
            for event in failures:
                if event.next_retry_at_ns is not None:
                    self._backoffs[channel].extend((2 * event.at_ns + 1, 2 * event.next_retry_at_ns))
        if self._kept > self._keeps_at_most:
            until_ns = max(each[-1].at_ns for each in (sent, failed) if each) - self._longest_ns
            self._settle(2 * (until_ns - until_ns % NS_PER_S))
            self._keeps_at_most = max(KEPT, 2 * self._kept)  # each is put in order a few times at most

    def _extend(self, provider: Provider, attempts: Sequence[NotificationSent | NotificationFailed]) -> None:
        changes = self._changes[provider]
        changes.extend(map(mul, map(_ENDED, attempts), repeat(2)))
        changes.extend(map(or_, map(mul, map(_STARTED, attempts), repeat(2)), repeat(1)))
        if any(map(_HEDGES, attempts)):
            for event in attempts:
                self._hedges[provider][event.started_ns // NS_PER_S] += event.hedges
        self._kept += len(attempts)

    def _by_provider(
        self, channel: NotificationChannel, attempts: Sequence[NotificationSent | NotificationFailed]
    ) -> Iterable[tuple[Provider, Sequence[NotificationSent | NotificationFailed]]]:
        group = self._groups[channel, None]
        if len(group) == 1:
            return [(group[0], attempts)]
        found: dict[Provider, list[NotificationSent | NotificationFailed]] = {}
        for event in attempts:
            found.setdefault((channel, event.provider or PRIMARY), []).append(event)
        return found.items()

    def _settle(self, limit: int | None) -> None:
        """Make peaks of the changes before a limit, of which all are known; None: of all changes."""
        settled = _taken(self._changes, limit)
        for asked, group in self._groups.items():
            hedges = sum((self._hedges[provider] for provider in group), Counter())
            self._peaks[asked].extend(_together([settled[provider] for provider in group]), hedges)
        self._kept = sum(map(len, self._changes.values())) // 2
        waits = _taken(self._backoffs, limit)
        for each, peak in self._in_backoff.items():
            peak.extend(_together(list(waits.values()) if each is None else [waits[each]]), Counter())

    def note_waiting(self, whole: WaitingCounts, channels: Mapping[NotificationChannel, WaitingCounts]) -> None:
        """Note how many have waited at the stages of a process that is about to end."""
        for each, counts in [(None, whole), *channels.items()]:
            most = self._waiting[each]
            for name in ("limit", "quota", "slots", "breaker"):
                most[name] = max(most[name], getattr(counts, name).peak)

    def end(self) -> None:
        """Make peaks of what is left: no attempt ends any more."""
        self._settle(None)

    def summary(self, channel: NotificationChannel | None = None) -> dict[str, Any]:
        """Return the peaks of a channel as the summary names them; None: of all."""
        waiting = {name: self._waiting[channel][name] for name in ("limit", "quota", "slots", "breaker")}
        return {
            **self._peaks[channel, None].summary(),
            "waiting": {**waiting, "backoff": self._in_backoff[channel].in_flight},
        }

    def of_provider(self, channel: NotificationChannel, provider: str) -> dict[str, int]:
        """Return the peaks of a provider of a channel that has several, as the summary names them."""
        return self._peaks[channel, provider].summary()


def _taken(changes: dict[K, array[int]], limit: int | None) -> dict[K, array[int]]:
    """Take out the changes before a limit, or all; return them in order."""
    taken = {}
    for key, own in changes.items():
        ordered = in_order(own)
        end = len(ordered) if limit is None else bisect_left(ordered, limit)
        taken[key], changes[key] = ordered[:end], ordered[end:]
    return taken


def _together(parts: Sequence[array[int]]) -> array[int]:
    if len(parts) == 1:
        return parts[0]
    together = array("q")
    for part in parts:
        together.extend(part)
    return in_order(together)
