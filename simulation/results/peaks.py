"""The most that providers had to do: requests that start in one second, and attempts under way at an instant."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from operator import attrgetter, floordiv, sub
from typing import Any, NamedTuple

from actors.instants import NS_PER_S
from actors.messages import NotificationChannel, NotificationFailed, NotificationSent
from actors.pipeline.waiting_line import WaitingCounts
from actors.settings.channel import PRIMARY
from simulation.results.ledger import ByPlace

KEPT = 2_000
"""Attempts whose times are kept until it is known what was under way beside them."""

Provider = tuple[NotificationChannel, str]
"""A channel and one of its providers."""

Asked = tuple[NotificationChannel | None, str | None]
"""The same; None: all of them."""

_ENDED = attrgetter("at_ns")
_STARTED = attrgetter("started_ns")
_HEDGES = attrgetter("hedges")


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


class Peak:
    """The peaks of attempts, of which one hears some time after they have ended."""

    def __init__(self) -> None:
        self.requests_per_s = 0
        self.in_flight = 0
        self._under_way = 0
        self._second: tuple[int, int] = (-1, 0)
        """The latest, and how many have started in it so far."""

    def extend(self, spans: Spans, hedges: Counter[int]) -> None:
        """Take in attempts. One that ends as another begins is not under way beside it.

        Args:
            spans: when they begin and end, in order: all instants up to the last that have not been taken in.
            hedges: how many copies there were beside the attempts that began in a second of the run.
        """
        begins_ns, ends_ns = spans
        if begins_ns:
            # Once for each attempt of a run: so no step of it is taken in Python.
            levels = map(sub, itertools.count(self._under_way + 1), map(bisect_right, repeat(ends_ns), begins_ns))
            self.in_flight = max(self.in_flight, max(levels))
            began = Counter(map(floordiv, begins_ns, repeat(NS_PER_S)))
            began[self._second[0]] += self._second[1]
            last = max(began)
            self._second = last, began[last]
            self.requests_per_s = max(self.requests_per_s, *(count + hedges[each] for each, count in began.items()))
        self._under_way += len(begins_ns) - len(ends_ns)

    def summary(self) -> dict[str, int]:
        """Return the peaks as the summary names them."""
        return {"requests_per_s": self.requests_per_s, "in_flight": self.in_flight}


class Peaks:
    """The peaks of a run, of its channels, and of the providers of channels that have several."""

    def __init__(self, providers: Mapping[NotificationChannel, Sequence[str]], longest_ns: int) -> None:
        """Begin with none.

        Args:
            providers: the channels, and the names of each one's providers.
            longest_ns: how long an attempt may take.
        """
        self._longest_ns = longest_ns
        self._attempts: dict[Provider, Spans] = {
            (channel, name): Spans([], []) for channel, names in providers.items() for name in names
        }
        """Those that have ended, and are not yet part of the peaks."""
        self._hedges: dict[Provider, Counter[int]] = {provider: Counter() for provider in self._attempts}
        self._groups: dict[Asked, list[Provider]] = {(None, None): list(self._attempts)}
        for channel, names in providers.items():
            self._groups[channel, None] = [(channel, name) for name in names]
            self._groups |= {(channel, name): [(channel, name)] for name in names if len(names) > 1}
        self._peaks = {asked: Peak() for asked in self._groups}
        self._kept = 0
        self._keeps_at_most = KEPT
        self._backoffs: dict[NotificationChannel, Spans] = {channel: Spans([], []) for channel in providers}
        """When notifications begin to wait for their retry, and when they no longer do."""
        self._in_backoff: dict[NotificationChannel | None, Peak] = {each: Peak() for each in (None, *providers)}
        self.waiting = WaitingCounts()
        """Counts what waits at the stages of all processes."""
        self.waiting_by_channel = {channel: WaitingCounts(self.waiting) for channel in providers}

    def fold(self, places: ByPlace, latest_ns: int) -> None:
        """Take in a chunk of the history.

        Args:
            places: its events.
            latest_ns: the instant of the last of them.
        """
        for (_, channel), of_place in places.items():
            failures = of_place.get(NotificationFailed, ())
            for attempts in (of_place.get(NotificationSent, ()), [event for event in failures if not event.refused]):
                for provider, own in self._by_provider(channel, attempts):
                    self._extend(provider, own)
            for event in failures:
                if event.next_retry_at_ns is not None:
                    self._backoffs[channel].begins_ns.append(event.at_ns)
                    self._backoffs[channel].ends_ns.append(event.next_retry_at_ns)
        if self._kept > self._keeps_at_most:
            until_ns = latest_ns - self._longest_ns
            self._settle(until_ns - until_ns % NS_PER_S)
            self._keeps_at_most = max(KEPT, 2 * self._kept)  # each is put in order a few times at most

    def _extend(self, provider: Provider, attempts: Sequence[NotificationSent | NotificationFailed]) -> None:
        self._attempts[provider].begins_ns.extend(map(_STARTED, attempts))
        self._attempts[provider].ends_ns.extend(map(_ENDED, attempts))
        if any(map(_HEDGES, attempts)):
            for event in attempts:
                self._hedges[provider][event.started_ns // NS_PER_S] += event.hedges
        self._kept += len(attempts)

    def interrupt(self, provider: Provider, made_ns: int, lost_ns: int) -> None:
        """Take in a request whose answer is lost, of which there is no event: its provider was asked all the same."""
        self._attempts[provider].begins_ns.append(made_ns)
        self._attempts[provider].ends_ns.append(lost_ns)
        self._kept += 1

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

    def _settle(self, limit_ns: int | None) -> None:
        """Make peaks of what is before a limit, of which all is known; None: of all."""
        settled = {provider: spans.taken(limit_ns) for provider, spans in self._attempts.items()}
        for asked, group in self._groups.items():
            hedges = sum((self._hedges[provider] for provider in group), Counter())
            self._peaks[asked].extend(_together([settled[provider] for provider in group]), hedges)
        self._kept = sum(len(spans.ends_ns) for spans in self._attempts.values())
        waits = {channel: spans.taken(limit_ns) for channel, spans in self._backoffs.items()}
        for each, peak in self._in_backoff.items():
            peak.extend(_together(list(waits.values()) if each is None else [waits[each]]), Counter())

    def end(self) -> None:
        """Make peaks of what is left: no attempt ends any more."""
        self._settle(None)

    def summary(self, channel: NotificationChannel | None = None) -> dict[str, Any]:
        """Return the peaks of a channel as the summary names them; None: of all."""
        counts = self.waiting if channel is None else self.waiting_by_channel[channel]
        waiting = {name: getattr(counts, name).peak for name in ("limit", "quota", "slots", "breaker")}
        return {
            **self._peaks[channel, None].summary(),
            "waiting": {**waiting, "backoff": self._in_backoff[channel].in_flight},
        }

    def of_provider(self, channel: NotificationChannel, provider: str) -> dict[str, int]:
        """Return the peaks of a provider of a channel that has several, as the summary names them."""
        return self._peaks[channel, provider].summary()
