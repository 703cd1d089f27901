"""The most that providers had to do: requests that start in one second, and attempts under way at an instant."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from actors.instants import NS_PER_S
from actors.messages import NotificationChannel, NotificationFailed, NotificationSent
from actors.settings.channel import PRIMARY

KEPT = 100_000
"""Attempts whose times are kept until it is known what was under way beside them."""

SORTED_WITHOUT_NUMPY = 50_000
"""So many instants Python works through in less time than the import of NumPy takes."""

Asked = tuple[NotificationChannel | None, str | None]
"""A channel and one of its providers; None: all of them."""


class Peak:
    """The peaks of some attempts, of which one hears as they end."""

    def __init__(self, longest_ns: int) -> None:
        """Begin with none.

        Args:
            longest_ns: how long an attempt may take.
        """
        self._longest_ns = longest_ns
        self._started: Counter[int] = Counter()
        """By second of the run."""
        self._requests_per_s = 0
        self._changes = array("q")
        """Instants at which an attempt starts, times 2 plus 1, and at which one ends, times 2."""
        self._under_way = 0
        self._in_flight = 0

    def extend(self, attempts: Sequence[NotificationSent | NotificationFailed]) -> None:
        """Take in attempts that have ended, in the order in which they did."""
        self._started.update([event.started_ns // NS_PER_S for event in attempts])
        for event in attempts:
            if event.hedges:
                self._started[event.started_ns // NS_PER_S] += event.hedges
        self._changes.extend([2 * event.started_ns + 1 for event in attempts])
        self._changes.extend([2 * event.at_ns for event in attempts])
        if len(self._changes) > 2 * KEPT:
            self._settle(attempts[-1].at_ns - self._longest_ns)

    def _settle(self, until_ns: int) -> None:
        """Work through what happened before an instant, all attempts of which have ended by now."""
        ordered = array("q", sorted(self._changes))
        end = bisect_left(ordered, 2 * until_ns)
        self._in_flight, self._under_way = self._peak(ordered[:end])
        self._changes = ordered[end:]
        second = until_ns // NS_PER_S
        past = [each for each in self._started if each < second]
        self._requests_per_s = max([self._requests_per_s, *(self._started.pop(each) for each in past)])

    def _peak(self, ordered: array[int]) -> tuple[int, int]:
        """Return the most that were under way up to the last of some changes, and how many then are."""
        if len(ordered) <= SORTED_WITHOUT_NUMPY:
            levels = list(accumulate([1 if change & 1 else -1 for change in ordered], initial=self._under_way))
            return max(self._in_flight, *levels, 0), levels[-1]
        import numpy as np

        steps = self._under_way + np.cumsum(2 * (np.frombuffer(ordered, dtype=np.int64) & 1) - 1)
        return max(self._in_flight, int(steps.max())), int(steps[-1])

    def summary(self) -> dict[str, int]:
        """Return the peaks as the summary names them."""
        return {
            "requests_per_s": max([self._requests_per_s, *self._started.values()]),
            "in_flight": self._peak(_in_order(self._changes))[0],
        }


class Peaks:
    """The peaks of a run, of its channels, and of the providers of channels that have several."""

    def __init__(self, providers: Mapping[NotificationChannel, Sequence[str]], longest_ns: int) -> None:
        """Begin with none.

        Args:
            providers: the channels, and the names of each one's providers.
            longest_ns: how long an attempt may take.
        """
        self._several = frozenset(channel for channel, names in providers.items() if len(names) > 1)
        self._is_one = len(providers) == 1
        self._longest_ns = longest_ns
        self._peaks: dict[Asked, Peak] = {}

    def fold(self, events: Mapping[type, Sequence[Any]]) -> None:
        """Take in a chunk of the history, sorted by type."""
        sent: Sequence[NotificationSent] = events.get(NotificationSent, ())
        failed: Sequence[NotificationFailed] = events.get(NotificationFailed, ())
        attempts: list[NotificationSent | NotificationFailed] = [*sent]
        attempts += [event for event in failed if not event.refused]
        if failed and sent:
            attempts.sort(key=_end)
        for asked, of_those in self._by_asked(attempts):
            if of_those:
                self._peaks.setdefault(asked, Peak(self._longest_ns)).extend(of_those)

    def _by_asked(
        self, attempts: Sequence[NotificationSent | NotificationFailed]
    ) -> Iterator[tuple[Asked, Sequence[NotificationSent | NotificationFailed]]]:
        yield (None, None), attempts
        found: dict[Asked, list[NotificationSent | NotificationFailed]] = {}
        if not self._is_one:
            for event in attempts:
                found.setdefault((event.channel, None), []).append(event)
        for event in attempts if self._several else ():
            if event.channel in self._several:
                found.setdefault((event.channel, event.provider or PRIMARY), []).append(event)
        yield from found.items()

    def summary(self, channel: NotificationChannel | None = None, provider: str | None = None) -> dict[str, int]:
        """Return the peaks of a channel, or of one of its providers, as the summary names them; None: of all."""
        asked: Asked = (None if self._is_one and provider is None else channel, provider)
        return self._peaks.get(asked, Peak(0)).summary()


def _end(event: NotificationSent | NotificationFailed) -> int:
    return event.at_ns


def _in_order(changes: array[int]) -> array[int]:
    if len(changes) <= SORTED_WITHOUT_NUMPY:
        return array("q", sorted(changes))
    import numpy as np

    return array("q", np.sort(np.frombuffer(changes, dtype=np.int64)).tobytes())
