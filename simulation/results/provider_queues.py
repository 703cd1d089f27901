"""The attempts that wait at providers with a bounded queue: the most at once, the late ones, and their course."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from itertools import accumulate

from actors.domain.attempts import Provider
from actors.faults.build import fault_rules_of
from actors.instants import ns
from actors.messages import NotificationChannel
from actors.pipeline.lane import breaker_name
from actors.settings.channel import ChannelConfig


class QueueCounts:
    """The attempts that wait at one provider, or at all of a channel; a :class:`~actors.faults.queue.QueueObserver`."""

    def __init__(self, width_ns: int, timeout_ns: int = 0, channel: QueueCounts | None = None) -> None:
        """Count nothing yet.

        Args:
            width_ns: the width of a bucket of the course.
            timeout_ns: how long senders wait for an answer.
            channel: counts all the same for the channel; None: these are the counts of one.
        """
        self._width_ns = width_ns
        self._timeout_ns = timeout_ns
        self._channel = channel
        self._begins: list[tuple[int, bool]] = []
        """A heap: when the work on waiting attempts begins, as far as known, and whether their senders are gone."""
        self._changes: Counter[int] = Counter()
        """By bucket, how many more wait at its end than at its start."""
        self._waiting = self._peak = self._abandoned = self._turned_away = 0

    def turned_away(self, now_ns: int) -> None:
        self._turned_away += 1
        if self._channel is not None:
            self._channel.turned_away(now_ns)

    def waits(self, now_ns: int) -> None:
        self._settle(now_ns)
        self._waiting += 1
        self._peak = max(self._peak, self._waiting)
        self._changes[now_ns // self._width_ns] += 1
        if self._channel is not None:
            self._channel.waits(now_ns)

    def begins(self, came_ns: int, begins_ns: int) -> None:
        self._begin(begins_ns, is_abandoned=begins_ns > came_ns + self._timeout_ns)

    def _begin(self, begins_ns: int, *, is_abandoned: bool) -> None:
        heappush(self._begins, (begins_ns, is_abandoned))
        if self._channel is not None:
            self._channel._begin(begins_ns, is_abandoned=is_abandoned)

    def _settle(self, now_ns: int) -> None:
        while self._begins and self._begins[0][0] <= now_ns:
            begun_ns, is_abandoned = heappop(self._begins)
            self._waiting -= 1
            self._abandoned += is_abandoned
            self._changes[begun_ns // self._width_ns] -= 1

    def summary(self, simulated_ns: int) -> dict[str, int]:
        self._settle(simulated_ns)
        return {"peak": self._peak, "abandoned": self._abandoned, "turned_away": self._turned_away}

    def course(self, buckets: int) -> list[int]:
        self._settle(buckets * self._width_ns - 1)
        return list(accumulate(self._changes[bucket] for bucket in range(buckets)))


class ProviderQueues:
    """Counts the attempts that wait at the providers of a run whose queues have a bound."""

    def __init__(self, channels: Mapping[NotificationChannel, ChannelConfig], width_ns: int) -> None:
        """Count nothing yet; `width_ns` is the width of a bucket of the course."""
        lanes = {channel: config.by_provider() for channel, config in channels.items()}
        self._of_channel = {
            channel: QueueCounts(width_ns)
            for channel, by_name in lanes.items()
            if any(lane.provider.queue is not None for lane in by_name.values())
        }
        self._of_provider = {
            (channel, name): QueueCounts(width_ns, ns(lane.timeout), self._of_channel[channel])
            for channel, by_name in lanes.items()
            for name, lane in by_name.items()
            if lane.provider.queue is not None
        }
        self._columns = {
            f"queue_{breaker_name(channel, number, name)}": self._of_provider[channel, name]
            for channel, by_name in lanes.items()
            for number, name in enumerate(by_name)
            if (channel, name) in self._of_provider
        }

    def watch(self, providers: Mapping[NotificationChannel, Mapping[str, Provider]]) -> None:
        """Have the providers of each channel report the attempts that wait at them."""
        for (channel, name), counts in self._of_provider.items():
            for rules in fault_rules_of(providers[channel][name]):
                rules.watch_queue(counts)

    def summary(
        self, channel: NotificationChannel, simulated_ns: int, provider: str | None = None
    ) -> dict[str, dict[str, int]]:
        counts = self._of_channel.get(channel) if provider is None else self._of_provider.get((channel, provider))
        return {} if counts is None else {"queue": counts.summary(simulated_ns)}

    def columns(self, buckets: int) -> Iterator[tuple[str, list[int]]]:
        """Yield the columns of the series: how many wait at each provider at the end of each bucket."""
        for name, counts in self._columns.items():
            yield name, counts.course(buckets)
