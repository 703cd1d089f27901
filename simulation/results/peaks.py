"""The most that providers had to do: requests that start in one second, and attempts under way at an instant."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress, count, islice
from operator import gt
from typing import Any, NamedTuple

from actors.instants import NS_PER_S
from actors.messages import NotificationChannel, NotificationFailed, NotificationSent
from actors.policies.waiting_room import WaitingCounts
from actors.settings.channel import PRIMARY
from simulation.results.ledger import ByPlace
from simulation.results.statistics import by_width

KEPT = 2_000
"""Attempts whose times are kept until all attempts that overlap them are known."""

Provider = tuple[NotificationChannel, str]
"""A channel and one of its providers."""


class Spans(NamedTuple):
    """When some attempts, or waits, begin and end: no more than the instants, each in any order."""

    begins_ns: list[int]
    ends_ns: list[int]

    def taken(self, limit_ns: int | None) -> Spans:
        """Take out the instants before a limit, or all, and return them in order."""
        return Spans(*(_taken(instants_ns, limit_ns) for instants_ns in self))


def _taken(instants_ns: list[int], limit_ns: int | None) -> list[int]:
    instants_ns.sort()
    end = len(instants_ns) if limit_ns is None else bisect_left(instants_ns, limit_ns)
    taken, instants_ns[:] = instants_ns[:end], instants_ns[end:]
    return taken


def _together(parts: Sequence[Spans]) -> Spans:
    if len(parts) == 1:
        return parts[0]
    return Spans(*(sorted(chain.from_iterable(instants_ns)) for instants_ns in zip(*parts, strict=True)))


class Level:
    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        """How many attempts are in flight after the last one that was taken in."""

    def extend(self, spans: Spans) -> None:
        """Take in the instants up to some limit, in order. One that ends as another begins is not beside it."""
        begins_ns, ends_ns = spans
        spare = self.most - self._now
        # After the first `spare` begins each one makes more than the most that comes before the end with its number.
        exceeding = chain(
            compress(count(spare), map(gt, ends_ns, islice(begins_ns, spare, None))),
            range(spare + len(ends_ns), len(begins_ns)),
        )
        for number in exceeding:
            if number - spare >= len(ends_ns) or ends_ns[number - spare] > begins_ns[number]:
                spare += 1  # each begin makes one more at most
        self.most = self._now + spare
        self._now += len(begins_ns) - len(ends_ns)


class Rate:
    """The most requests that began in one second of the run."""

    def __init__(self) -> None:
        self.most = 0
        self._latest: tuple[int, int] = (-1, 0)
        """The latest second, and how many have begun in it so far."""

    def extend(self, begins_ns: Sequence[int], hedges: Counter[int]) -> None:
        """Take in requests by the instants at which they begin, in order, and the copies beside the requests of each
        second."""
        if not begins_ns:
            return
        began = Counter(dict([self._latest]))
        began.update(dict(by_width(begins_ns, NS_PER_S, int)))
        last = max(began)
        self._latest = last, began[last]
        self.most = max(self.most, *(begun + hedges[each] for each, begun in began.items()))


class Peaks:
    """The peaks of a run, of its channels, and of the providers of channels that have several."""

    def __init__(
        self, providers: Mapping[NotificationChannel, Sequence[str]], longest_ns: int | None, *, hedges: bool = True
    ) -> None:
        """Begin without peaks, for the providers of each channel.

        Args:
            providers: their names.
            longest_ns: the most time from the start of an attempt to the record of its outcome; None: it is unbounded,
                as where an actor that was down handles an answer late.
            hedges: whether there may be copies of attempts.
        """
        self._longest_ns = longest_ns
        self._counts_hedges = hedges
        self._of_channel = {channel: tuple((channel, name) for name in names) for channel, names in providers.items()}
        self._all = tuple(chain.from_iterable(self._of_channel.values()))
        self._attempts: dict[Provider, Spans] = {provider: Spans([], []) for provider in self._all}
        """The attempts that have ended and are not yet part of the peaks."""
        self._hedges: dict[Provider, Counter[int]] = {provider: Counter() for provider in self._all}
        groups = [self._all, *self._of_channel.values(), *((provider,) for provider in self._all)]
        self._peaks = {group: (Rate(), Level()) for group in groups}
        """The peaks of all providers, of each channel's, and of each alone: mostly some of these are equal."""
        self._kept = 0
        self._keeps_at_most = KEPT
        self._backoffs: dict[NotificationChannel, Spans] = {channel: Spans([], []) for channel in providers}
        """When notifications begin to wait for their retry, and when they no longer do."""
        self._in_backoff = {channels: Level() for channels in [tuple(providers), *((each,) for each in providers)]}
        self.waiting = WaitingCounts()
        """Counts the notifications that wait at the stages of all processes."""
        self.waiting_by_channel = {channel: WaitingCounts(self.waiting) for channel in providers}

    def fold(self, places: ByPlace, latest_ns: int) -> None:
        """Take in the events of a chunk of the history, the last of which was at `latest_ns`."""
        for (_, channel), of_place in places.items():
            failures = of_place.get(NotificationFailed, ())
            for attempts in (of_place.get(NotificationSent, ()), [event for event in failures if not event.refused]):
                for provider, own in self._by_provider(channel, attempts):
                    self._extend(provider, own)
            followed = [event for event in failures if event.next_retry_at_ns is not None]
            self._backoffs[channel].begins_ns.extend([event.at_ns for event in followed])
            self._backoffs[channel].ends_ns.extend([event.next_retry_at_ns for event in followed])
        if self._longest_ns is not None and self._kept > self._keeps_at_most:
            until_ns = latest_ns - self._longest_ns
            self._settle(until_ns - until_ns % NS_PER_S)
            self._keeps_at_most = max(KEPT, 2 * self._kept)  # each is put in order a few times at most

    def _extend(self, provider: Provider, attempts: Sequence[NotificationSent | NotificationFailed]) -> None:
        self._attempts[provider].begins_ns.extend([event.started_ns for event in attempts])
        self._attempts[provider].ends_ns.extend([event.at_ns for event in attempts])
        if self._counts_hedges:
            for event in [event for event in attempts if event.hedges]:
                self._hedges[provider][event.started_ns // NS_PER_S] += event.hedges
        self._kept += len(attempts)

    def interrupt(self, provider: Provider, made_ns: int, lost_ns: int) -> None:
        """Take in a request whose answer is lost. No event tells of it, but its provider was asked."""
        self._attempts[provider].begins_ns.append(made_ns)
        self._attempts[provider].ends_ns.append(lost_ns)
        self._kept += 1

    def _by_provider(
        self, channel: NotificationChannel, attempts: Sequence[NotificationSent | NotificationFailed]
    ) -> Iterable[tuple[Provider, Sequence[NotificationSent | NotificationFailed]]]:
        group = self._of_channel[channel]
        if len(group) == 1:
            return [(group[0], attempts)]
        found: dict[Provider, list[NotificationSent | NotificationFailed]] = {}
        for event in attempts:
            found.setdefault((channel, event.provider or PRIMARY), []).append(event)
        return found.items()

    def _settle(self, limit_ns: int | None) -> None:
        """Take in the attempts before a limit, which are all known; None: all attempts."""
        settled = {provider: spans.taken(limit_ns) for provider, spans in self._attempts.items()}
        for group, (rate, level) in self._peaks.items():
            spans = _together([settled[provider] for provider in group])
            rate.extend(spans.begins_ns, sum((self._hedges[provider] for provider in group), Counter()))
            level.extend(spans)
        self._kept = sum(len(spans.ends_ns) for spans in self._attempts.values())
        waits = {channel: spans.taken(limit_ns) for channel, spans in self._backoffs.items()}
        for channels, level in self._in_backoff.items():
            level.extend(_together([waits[channel] for channel in channels]))

    def end(self) -> None:
        """Take in the remaining attempts: no attempt ends any more."""
        self._settle(None)

    def summary(self, channel: NotificationChannel | None = None) -> dict[str, Any]:
        """Return the peaks of a channel as the summary names them; None: of all."""
        counts = self.waiting if channel is None else self.waiting_by_channel[channel]
        waiting = {name: getattr(counts, name).peak for name in ("limit", "quota", "slots", "breaker")}
        backoff = self._in_backoff[tuple(self._of_channel) if channel is None else (channel,)].most
        return {
            **self._summary(self._all if channel is None else self._of_channel[channel]),
            "waiting": {**waiting, "backoff": backoff},
        }

    def of_provider(self, channel: NotificationChannel, provider: str) -> dict[str, int]:
        return self._summary(((channel, provider),))

    def _summary(self, group: tuple[Provider, ...]) -> dict[str, int]:
        rate, level = self._peaks[group]
        return {"requests_per_s": rate.most, "in_flight": level.most}
