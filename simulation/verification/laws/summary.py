"""The summary adds up: all its figures are those that the history gives, counted once more when the run has ended."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from actors.instants import NS_PER_S, ns
from actors.kernel.node import without_node
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NodeTookOver,
    NotificationChannel,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    UpstreamRequested,
)
from actors.settings.channel import PRIMARY
from simulation.verification.laws import recount
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS, State
from simulation.verification.laws.observations import AttemptMade
from simulation.verification.laws.recount import Request

Path: TypeAlias = tuple[str, ...]

MOST = 1_000_000
"""A run of more events is not counted once more: all of them are kept for that."""

_ENDS = NotificationSent, NotificationFailed, NotificationMovedToDeadLetter, NotificationSuppressed
"""With these no one waits any more for what was asked before."""


class _Asked(NamedTuple):
    made: AttemptMade
    is_sure: bool
    """Whether it has had an outcome, or no one waits for it; else it may be under way as the run ends."""


class _Part(NamedTuple):
    """What some of the figures of a summary are of."""

    path: Path
    figures: Mapping[str, Any]
    channel: NotificationChannel | None = None
    entries: frozenset[int] | None = None
    """Those of the workload. None: all of them."""


class Summary(Invariant):
    """The summary of a run has the figures that its history gives: of the run, its entries, classes and channels, of
    windows, breakers, providers, nodes and faults. Whom arrivals of which nothing came are, `arrivals` says; what waits
    at stages, `waiting`.
    """

    name = "summary"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._events: list[NotificationEvent] = []
        self._transitions: list[BreakerTransitioned] = []
        self._takeovers: list[NodeTookOver] = []
        self._requests = recount.Requests()
        self._open: dict[str, list[AttemptMade]] = {}
        """By notification: what providers were asked of which there is no outcome, and may be one."""
        self._asked: list[_Asked] = []
        self._delivered: dict[str, list[AttemptMade]] = {}
        """By notification: what has reached its recipient."""
        self._sent: dict[str, list[NotificationSent]] = {}
        self._is_too_long = False

    @observes(
        NotificationRequested,
        NotificationSent,
        NotificationFailed,
        UpstreamRequested,
        NotificationMovedToDeadLetter,
        NotificationSuppressed,
        NotificationDeferred,
        DuplicateIgnored,
        NotificationRedriven,
        DeadLetterDiscarded,
    )
    def on_event(self, event: NotificationEvent) -> Objection:
        if len(self._events) == MOST:
            self._is_too_long = True
        if self._is_too_long:
            return None
        self._events.append(event)
        if isinstance(event, NotificationSent):
            self._sent.setdefault(event.notification_id, []).append(event)
        if isinstance(event, _ENDS):
            self._asked += [_Asked(made, True) for made in self._open.pop(event.notification_id, ())]
        since_ns = self._requests.since_ns.get(event.notification_id)
        self._requests.follow(event)
        if isinstance(event, NotificationSent) and since_ns not in (None, event.requested_at_ns):
            if self.context.steps_the_clock:
                return None
            return f"{event.notification_id} is waited for since {since_ns} ns, and {event.requested_at_ns} ns is said"
        return None

    @observes(BreakerTransitioned)
    def on_transition(self, transition: BreakerTransitioned) -> None:
        self._transitions.append(transition)

    @observes(NodeTookOver)
    def on_takeover(self, takeover: NodeTookOver) -> None:
        self._takeovers.append(takeover)

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> None:
        if self._is_too_long:
            return
        if made.delivered:
            self._delivered.setdefault(made.notification_id, []).append(made)
        self._open.setdefault(made.notification_id, []).append(made)

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor == PROCESS:
            for notification_id, asked in list(self._open.items()):
                self._asked += [_Asked(made, True) for made in asked if made.node == event.node]
                self._open[notification_id] = [made for made in asked if made.node != event.node]

    def at_end(self, now_ns: int) -> Objection:
        may_be_lost = self.context.mixes_messages_up or self.context.lifecycles.crashes > 0
        for notification_id, asked in self._open.items():
            lifecycle = self.context.lifecycles.get(notification_id)
            if lifecycle is None or lifecycle.state is not State.IN_FLIGHT:
                self._asked += [_Asked(made, True) for made in asked]  # no one waits for it
            elif may_be_lost:
                self._asked += [_Asked(made, False) for made in asked]
        return None

    # ── what is compared ────────────────────────────────────────────────────────────────────────────────────────

    def at_summary(self, summary: Mapping[str, Any]) -> Objection:
        if self._is_too_long:
            return None
        for path, (least, most) in self.expected(summary).items():
            said = summary
            for key in path:
                said = said[key]
            if not _is_between(said, least, most):
                name = ".".join(path)
                wanted = f"{least}" if least == most else f"from {least} to {most}"
                return f"the summary says {name} {said}, and by the history it is {wanted}"
        return None

    def expected(self, summary: Mapping[str, Any]) -> dict[Path, tuple[Any, Any]]:
        """Return by their paths what the figures of a summary are at least and at most.

        What was refused is taken from it, and which parts it has.
        """
        run_ns = ns(summary["simulated_s"])
        found: dict[Path, tuple[Any, Any]] = {}
        requests = self._requests.all()
        for part in self._parts(summary, ()):
            events = [event for event in self._events if self._is_in(part, event.notification_id, event.channel)]
            own = [request for request in requests if self._is_in(part, request.first_id, request.channel)]
            found |= self._of(part, events, [], requests, own, run_ns)
            found |= self._of_providers(part, events)
            if part.channel is None:  # on which of the channels of a request it counts depends on what came last
                found[*part.path, "reached_twice"] = self._reached_twice(own)
        for name, (from_ns, to_ns) in self.context.windows.items():
            found |= self._of_window(summary["windows"][name], name, from_ns, to_ns, run_ns)
        found |= self._of_peaks(summary)
        found |= self._of_breakers(summary["breaker"], ("breaker",), 0, run_ns)
        for channel in summary["channels"]:
            of_channel = {channel: summary["breaker"][channel]}
            for path, bounds in self._of_breakers(of_channel, (), 0, run_ns).items():
                found["channels", channel, "breaker", path[-1]] = bounds
        found |= self._of_parts_of_their_own(summary, run_ns)
        for kind in summary["worst"]:
            counted = recount.worst(requests, partial(self._party_of, kind))
            found["worst", kind] = counted, counted
        return found

    def _of_window(
        self, summary: Mapping[str, Any], name: str, from_ns: int, to_ns: int, run_ns: int
    ) -> dict[Path, tuple[Any, Any]]:
        lasts_ns = max(0, min(to_ns, run_ns) - from_ns)
        offered = [each for each in self._requests.all() if from_ns <= each.since_ns < to_ns]
        found: dict[Path, tuple[Any, Any]] = {}
        for part in self._parts(summary, ("windows", name)):
            own = [event for event in self._events if self._is_in(part, event.notification_id, event.channel)]
            events = [event for event in own if from_ns <= event.at_ns < to_ns]
            before = [event for event in own if event.at_ns < from_ns]
            requests = [each for each in offered if self._is_in(part, each.first_id, each.channel)]
            found |= self._of(part, events, before, offered, requests, lasts_ns)
        breakers = summary["breaker"]
        return found | self._of_breakers(breakers, ("windows", name, "breaker"), from_ns, from_ns + lasts_ns)

    def _parts(self, summary: Mapping[str, Any], path: Path) -> Iterator[_Part]:
        yield _Part(path, summary)
        entries = self.context.arrivals
        for name, figures in summary["workload"].items():
            numbers = frozenset(number for number, entry in enumerate(entries) if entry.name == name)
            yield _Part((*path, "workload", name), figures, entries=numbers)
        for name, figures in summary["classes"].items():
            numbers = frozenset(number for number, entry in enumerate(entries) if entry.priority == name)
            yield _Part((*path, "classes", name), figures, entries=numbers)
        for name, figures in summary["channels"].items():
            yield _Part((*path, "channels", name), figures, channel=NotificationChannel(name))

    def _is_in(self, part: _Part, notification_id: str, channel: NotificationChannel) -> bool:
        if part.channel is not None:
            return channel is part.channel
        return part.entries is None or self._entry_of(notification_id) in part.entries

    def _entry_of(self, notification_id: str) -> int | None:
        request = self._requests.of.get(notification_id)
        return self.context.entry_of(notification_id if request is None else request.first_id)

    # ── what is counted ─────────────────────────────────────────────────────────────────────────────────────────

    def _of(
        self,
        part: _Part,
        events: Sequence[NotificationEvent],
        before: Sequence[NotificationEvent],
        requests: Iterable[Request],
        own: Sequence[Request],
        lasts_ns: int,
    ) -> dict[Path, tuple[Any, Any]]:
        """Return the figures of a part of the run, or of a window."""
        handed_on = sum(
            count
            for request in requests
            for channel, count in request.handed_on.items()
            if self._is_in(part, request.first_id, channel)
        )
        refused = sum(part.figures["refused"].values())
        counted = recount.of_events(events, before, lasts_ns)
        counted |= recount.of_requests(own, refused, handed_on, self.context.within_s)
        found = {
            (*part.path, *name.split(".")): (value, value)
            for name, value in counted.items()
            if name.partition(".")[0] in part.figures
        }
        found[*part.path, "dlq", "peak"] = recount.most_letters(events, before)
        return found

    def _of_providers(self, part: _Part, events: Sequence[NotificationEvent]) -> dict[Path, tuple[Any, Any]]:
        asked = [each for each in self._asked if self._is_in(part, each.made.notification_id, each.made.channel)]
        sure = [each.made for each in asked if each.is_sure]
        attempts = [event for event in events if isinstance(event, (NotificationSent, NotificationFailed))]
        with_outcome = len(attempts) - recount.refused_here(events) + sum(event.hedges for event in attempts)
        costs = [float(sum(map(self._price_of, made))) for made in (sure, [each.made for each in asked])]
        return {
            (*part.path, "requests"): (len(sure), len(asked)),
            (*part.path, "interrupted"): (len(sure) - with_outcome, len(asked) - with_outcome),
            (*part.path, "cost"): (costs[0], costs[1]),
        }

    def _reached_twice(self, own: Sequence[Request]) -> tuple[int, float]:
        """Return how many requests have been delivered twice, at least and at most.

        At least those that were sent twice, or after an attempt that was delivered and timed out, where its provider
        has not only promised to answer, which may be after the run; at most all that providers delivered twice: what a
        crash, or a message that came twice, has made of the others is not told here.
        """
        least = most = 0
        for request in own:
            made = [each for name in request.ids for each in self._delivered.get(name, ())]
            sent = [each for name in request.ids for each in self._sent.get(name, ())]
            most += len(made) > 1 or len(sent) > 1
            late_ns = [each.at_ns for each in made if not (each.is_copy or each.answered or each.is_promised)]
            latest_ns = max((each.started_ns for each in sent), default=-1)
            least += len(sent) > 1 or any(at_ns < latest_ns for at_ns in late_ns)
        promises = any(lane.provider.upstream is not None for lane in self.context.providers.values())
        return least, math.inf if promises or self.context.has_rules else most

    def _price_of(self, made: AttemptMade) -> float:
        return self.context.providers[made.channel, made.provider].provider.price

    def _party_of(self, kind: str, request: Request) -> str | None:
        entry = self.context.entry_of(request.first_id)
        party_of = None if entry is None else self.context.arrivals[entry].parties.get(kind)
        return None if party_of is None else party_of(request.user_id)

    # ── peaks, breakers, providers, nodes, faults ───────────────────────────────────────────────────────────────

    def _of_peaks(self, summary: Mapping[str, Any]) -> dict[Path, tuple[Any, Any]]:
        found = self._peaks_of((), None, None)
        for channel, figures in summary["channels"].items():
            found |= self._peaks_of(("channels", channel), channel, None)
            for name in figures.get("providers", {}):
                found |= self._peaks_of(("channels", channel, "providers", name), channel, name)
        return found

    def _peaks_of(self, path: Path, channel: str | None, provider: str | None) -> dict[Path, tuple[Any, Any]]:
        own = [event for event in self._events if isinstance(event, (NotificationSent, NotificationFailed))]
        own = [event for event in own if channel in (None, event.channel)]
        own = [event for event in own if provider in (None, event.provider or PRIMARY)]
        failed = [event for event in own if isinstance(event, NotificationFailed)]
        attempts = [event for event in own if isinstance(event, NotificationSent) or not event.refused]
        in_flight = recount.most_at_once((event.started_ns, event.at_ns) for event in attempts)
        seconds = Counter[int]()
        for event in attempts:
            seconds[event.started_ns // NS_PER_S] += 1 + event.hedges
        per_second = max(seconds.values(), default=0)
        asked = [made for made, _ in self._asked if channel in (None, made.channel)]
        interrupted = sum(provider in (None, made.provider) for made in asked) - seconds.total()
        found: dict[Path, tuple[Any, Any]] = {
            # Of what was interrupted it is not known here for how long it was under way.
            (*path, "peaks", "in_flight"): (in_flight, in_flight + interrupted),
            (*path, "peaks", "requests_per_s"): (per_second, per_second + interrupted),
        }
        if provider is None:
            waits = [(each.at_ns, each.next_retry_at_ns) for each in failed if each.next_retry_at_ns is not None]
            backoff = recount.most_at_once(waits)
            found[*path, "peaks", "waiting", "backoff"] = backoff, backoff
        return found

    def _of_breakers(
        self, breakers: Mapping[str, Mapping[str, Any]], path: Path, from_ns: int, to_ns: int
    ) -> dict[Path, tuple[Any, Any]]:
        found: dict[Path, tuple[Any, Any]] = {}
        for name, figures in breakers.items():
            own = [each for each in self._transitions if name in (each.breaker, without_node(each.breaker))]
            counted = recount.of_breaker(own, from_ns, to_ns)
            found |= {(*path, name, key): (counted[key], counted[key]) for key in figures}
        return found

    def _of_parts_of_their_own(self, summary: Mapping[str, Any], run_ns: int) -> dict[Path, tuple[Any, Any]]:
        found: dict[Path, Any] = {}
        for number in summary["faults"]:
            fault = self.context.faults[int(number)]
            assert fault.ends_at is not None
            cleared_s = recount.backlog_cleared_s(self._events, ns(fault.at), ns(fault.ends_at), run_ns)
            found["faults", number, "backlog_cleared_s"] = cleared_s
        for channel, figures in summary["channels"].items():
            for name in figures.get("providers", {}):
                own = [each for each in self._events if getattr(each, "provider", None) == name]
                counts = Counter(type(each) for each in own if each.channel == channel)
                sent = counts[NotificationSent]
                found["channels", channel, "providers", name, "sent"] = sent
                found["channels", channel, "providers", name, "attempts"] = sent + counts[NotificationFailed]
        for number, figures in summary.get("nodes", {}).items():
            node = int(number)
            counted = recount.of_events([event for event in self._events if event.node == node], [], 0)
            counted["taken_over"] = sum(len(each.notification_ids) for each in self._takeovers if each.node == node)
            found |= {("nodes", number, key): counted[key] for key in figures}
        return {path: (value, value) for path, value in found.items()}


def _is_between(said: Any, least: Any, most: Any) -> bool:
    """Tell whether a figure is within its bounds, but for the digits that another order of counting loses."""
    if not isinstance(said, (int, float)) or not isinstance(least, float):
        return bool(said == least if least == most or said is None else least <= said <= most)
    slack = 1e-9 + 1e-9 * abs(least)
    return bool(least - slack <= said <= most + slack)
