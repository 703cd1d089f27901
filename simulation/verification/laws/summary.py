"""The summary adds up: all its figures are those that the history gives, counted once more when the run has ended."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from actors.instants import NEVER_NS, NS_PER_S, ns
from actors.kernel.node import without_node
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    DeadLetterDiscarded,
    DuplicateIgnored,
    NodeTookOver,
    NotificationChannel,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    UpstreamRequested,
)
from actors.settings.channel import PRIMARY
from actors.settings.faults import channels_hit
from simulation.verification.laws import recount
from simulation.verification.laws.base import Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS, State
from simulation.verification.laws.observations import AttemptMade
from simulation.verification.laws.recount import Request

Path: TypeAlias = tuple[str, ...]

MOST = 1_000_000
"""A run in which more happens is not counted once more: all of it is kept for that."""

_EVENTS: tuple[type, ...] = (
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

_ENDS = frozenset({NotificationSent, NotificationFailed, NotificationMovedToDeadLetter, NotificationSuppressed})
"""With these no one waits any more for what was asked before."""


class _Asked(NamedTuple):
    made: AttemptMade
    is_sure: bool
    """Whether it has had an outcome, or no one waits for it; else it may be under way as the run ends."""


class _HandedOn(NamedTuple):
    number: int
    since_ns: int


class _Twice(NamedTuple):
    is_sure: bool
    may_be: bool


class _Part(NamedTuple):
    path: Path
    figures: Mapping[str, Any]
    channel: NotificationChannel | None = None
    entries: frozenset[int] | None = None
    """The numbers of the workload's entries. None: all of them."""

    def has(self, entry: int | None, channel: NotificationChannel) -> bool:
        return (self.channel is None or channel is self.channel) and (self.entries is None or entry in self.entries)


class _Own(defaultdict[type, list[Any]]):
    def __init__(self) -> None:
        super().__init__(list)
        self.figures: dict[tuple[int, ...], recount.Figures] = {}
        """By what they depend on besides."""

    def between(self, from_ns: int, to_ns: int, kind: type, instant: str = "at_ns") -> list[Any]:
        if to_ns == NEVER_NS and from_ns == -NEVER_NS:
            return self[kind]
        return [each for each in self[kind] if from_ns <= getattr(each, instant) < to_ns]


class _Sorted:
    def __init__(self) -> None:
        self._own: defaultdict[tuple[int | None, NotificationChannel, type], list[Any]] = defaultdict(list)
        self._of: dict[tuple[Any, ...], _Own] = {}

    def add(self, entry: int | None, channel: NotificationChannel, what: Any) -> None:
        self._own[entry, channel, type(what)].append(what)

    def of(self, part: _Part) -> _Own:
        """Return all that is of a part; of those that have the same, such as the only entry and the run, it once."""
        keys = tuple(key for key in self._own if part.has(*key[:2]))
        if (found := self._of.get(keys)) is None:
            found = self._of[keys] = _Own()
            for key in keys:
                found[key[2]] += self._own[key]
        return found


class Summary(Invariant):
    """The summary of a run has the figures that its history gives: of the run, its entries, classes and channels, of
    windows, breakers, providers, nodes and faults. Whom arrivals of which nothing came are, `arrivals` says; what waits
    at stages, `waiting`.
    """

    name = "summary"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._history: list[Any] = []
        """All that has happened; it is counted when the run has ended."""
        self._is_too_long = False
        self._counted = _Sorted()
        self._letters: list[tuple[int | None, Any]] = []
        """With the entry of each, in order: what has changed the dead letters."""
        self._pending: list[Any] = []
        """In order: what has changed what is pending."""
        self._transitions: list[BreakerTransitioned] = []
        self._takeovers: list[NodeTookOver] = []
        self._requests = recount.Requests()
        self._asked: list[_Asked] = []
        self._delivered: dict[str, list[AttemptMade]] = {}
        """By notification: what has reached its recipient."""
        self._sent: dict[str, list[NotificationSent]] = {}

    @observes(*_EVENTS, BreakerTransitioned, NodeTookOver, AttemptMade, ActorFailed)
    def on_event(self, event: Any) -> None:
        if len(self._history) < MOST:
            self._history.append(event)
        else:
            self._is_too_long = True

    def at_end(self, now_ns: int) -> Objection:
        if self._is_too_long:
            return None
        wrong, events = self._follow()
        entries = {name: self.context.entry_of(request.first_id) for name, request in self._requests.of.items()}
        for event in events:
            name = event.notification_id
            entry = entries[name] if name in entries else self.context.entry_of(name)
            self._counted.add(entry, event.channel, event)
            if type(event) in recount.LETTERS:
                self._letters.append((entry, event))
            if type(event) in recount.PENDING:
                self._pending.append(event)
        for asked in self._asked:
            name = asked.made.notification_id
            entry = entries[name] if name in entries else self.context.entry_of(name)
            self._counted.add(entry, asked.made.channel, asked)
        for request in self._requests.all():
            entry = entries[request.first_id]
            self._counted.add(entry, request.channel, request)
            for channel, count in request.handed_on.items():
                self._counted.add(entry, channel, _HandedOn(count, request.since_ns))
            if any(twice := self._reached_twice(request)):
                self._counted.add(entry, request.channel, twice)
        return wrong

    def _follow(self) -> tuple[Objection, list[Any]]:
        """Go through the whole history in order; return a breach of deliveries, and the counted events."""
        wrong: Objection = None
        events, requests = list[Any](), self._requests
        under_way: dict[str, list[AttemptMade]] = {}
        """By notification: what providers were asked of which there is no outcome, and may be one."""
        for event in self._history:
            kind = type(event)
            if kind is AttemptMade:
                under_way.setdefault(event.notification_id, []).append(event)
                if event.delivered:
                    self._delivered.setdefault(event.notification_id, []).append(event)
            elif kind is BreakerTransitioned:
                self._transitions.append(event)
            elif kind is NodeTookOver:
                self._takeovers.append(event)
            elif kind is ActorFailed:
                for name, made in under_way.items() if event.actor == PROCESS else ():
                    self._asked += [_Asked(each, True) for each in made if each.node == event.node]
                    under_way[name] = [each for each in made if each.node != event.node]
            else:
                events.append(event)
                name = event.notification_id
                if kind in _ENDS:
                    self._asked += [_Asked(made, True) for made in under_way.pop(name, ())]
                if kind is NotificationSent:
                    self._sent.setdefault(name, []).append(event)
                    since_ns, said_ns = requests.since_ns.get(name), event.requested_at_ns
                    if since_ns not in (None, said_ns) and not self.context.steps_the_clock and wrong is None:
                        wrong = Finding(f"{name} is waited for since {since_ns} ns, and {said_ns} ns is said", name)
                requests.follow(event)
        self._history.clear()
        may_be_lost = self.context.mixes_messages_up or self.context.lifecycles.crashes > 0
        for name, made in under_way.items():
            lifecycle = self.context.lifecycles.get(name)
            is_over = lifecycle is None or lifecycle.state is not State.IN_FLIGHT  # no one waits for it
            self._asked += [_Asked(each, is_over) for each in made if is_over or may_be_lost]
        return wrong, events

    def _reached_twice(self, request: Request) -> _Twice:
        """Tell whether a request has been delivered twice.

        Surely where it was sent twice, or after an attempt that was delivered and timed out, where its provider has not
        only promised to answer, which may be after the run; perhaps where its providers delivered it twice: what a
        crash, or a message that came twice, has made of the others is not told here.
        """
        made = [each for name in request.ids for each in self._delivered.get(name, ())]
        sent = [each for name in request.ids for each in self._sent.get(name, ())]
        if len(made) < 2 and len(sent) < 2 and all(each.answered for each in made):
            return _Twice(False, False)
        late_ns = [each.at_ns for each in made if not (each.is_copy or each.answered or each.is_promised)]
        latest_ns = max((each.started_ns for each in sent), default=-1)
        is_sent_twice = len(sent) > 1
        return _Twice(is_sent_twice or any(at_ns < latest_ns for at_ns in late_ns), is_sent_twice or len(made) > 1)

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
        for part in self._parts(summary, ()):
            own = self._counted.of(part)
            found |= self._of(part, own, -NEVER_NS, NEVER_NS, run_ns)
            found |= self._of_providers(part, own)
            if part.channel is None:  # on which of the channels of a request it counts depends on what came last
                found[*part.path, "reached_twice"] = self._of_deliveries(own[_Twice])
        for name, (from_ns, to_ns) in self.context.windows.items():
            lasts_ns = max(0, min(to_ns, run_ns) - from_ns)
            for part in self._parts(summary["windows"][name], ("windows", name)):
                found |= self._of(part, self._counted.of(part), from_ns, to_ns, lasts_ns)
            breakers = summary["windows"][name]["breaker"]
            found |= self._of_breakers(breakers, ("windows", name, "breaker"), from_ns, from_ns + lasts_ns)
        found |= self._of_peaks(summary)
        found |= self._of_breakers(summary["breaker"], ("breaker",), 0, run_ns)
        for channel in summary["channels"]:
            of_channel = {channel: summary["breaker"][channel]}
            for path, bounds in self._of_breakers(of_channel, (), 0, run_ns).items():
                found["channels", channel, "breaker", path[-1]] = bounds
        found |= self._of_parts_of_their_own(summary, run_ns)
        for kind in summary["worst"]:
            has_any = any(kind in entry.parties for entry in self.context.arrivals)
            counted = recount.worst(self._requests.all() if has_any else (), partial(self._party_of, kind))
            found["worst", kind] = counted, counted
        return found

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

    # ── what is counted ─────────────────────────────────────────────────────────────────────────────────────────

    def _of(self, part: _Part, counted: _Own, from_ns: int, to_ns: int, lasts_ns: int) -> dict[Path, tuple[Any, Any]]:
        refused = sum(part.figures["refused"].values())
        if (figures := counted.figures.get((from_ns, to_ns, refused))) is None:
            own = {kind: counted.between(from_ns, to_ns, kind) for kind in _EVENTS}
            before = {kind: len(counted.between(-1, from_ns, kind)) for kind in _EVENTS if from_ns > 0}
            handed_on = sum(each.number for each in counted.between(from_ns, to_ns, _HandedOn, "since_ns"))
            requests = counted.between(from_ns, to_ns, Request, "since_ns")
            figures = recount.of_events(own, before, lasts_ns)
            figures |= recount.of_requests(requests, refused, handed_on, self.context.within_s)
            counted.figures[from_ns, to_ns, refused] = figures
        found = {
            (*part.path, *name.split(".")): (value, value)
            for name, value in figures.items()
            if name.partition(".")[0] in part.figures
        }
        letters = [event for entry, event in self._letters if part.has(entry, event.channel)]
        found[*part.path, "dlq", "peak"] = recount.most_letters(
            [each for each in letters if from_ns <= each.at_ns < to_ns],
            [each for each in letters if each.at_ns < from_ns],
        )
        return found

    def _of_providers(self, part: _Part, counted: _Own) -> dict[Path, tuple[Any, Any]]:
        asked = counted[_Asked]
        sure = [each.made for each in asked if each.is_sure]
        attempts = [*counted[NotificationSent], *counted[NotificationFailed]]
        with_outcome = len(attempts) + sum(each.hedges for each in attempts)
        with_outcome -= sum(each.refused for each in counted[NotificationFailed])
        prices = {key: config.provider.price for key, config in self.context.providers.items()}
        costs = [
            float(sum(prices[made.channel, made.provider] for made in of)) if any(prices.values()) else 0.0
            for of in (sure, [each.made for each in asked])
        ]
        return {
            (*part.path, "requests"): (len(sure), len(asked)),
            (*part.path, "interrupted"): (len(sure) - with_outcome, len(asked) - with_outcome),
            (*part.path, "cost"): (costs[0], costs[1]),
        }

    def _of_deliveries(self, twice: Sequence[_Twice]) -> tuple[int, float]:
        promises = any(lane.provider.upstream is not None for lane in self.context.providers.values())
        is_open = promises or self.context.has_rules
        return sum(each.is_sure for each in twice), math.inf if is_open else sum(each.may_be for each in twice)

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
        own = self._counted.of(_Part((), {}, None if channel is None else NotificationChannel(channel)))
        sent, failed = (
            [each for each in own[kind] if provider in (None, each.provider or PRIMARY)]
            for kind in (NotificationSent, NotificationFailed)
        )
        attempts = [*sent, *(each for each in failed if not each.refused)]
        in_flight = recount.most_at_once((event.started_ns, event.at_ns) for event in attempts)
        seconds = Counter[int]()
        for event in attempts:
            seconds[event.started_ns // NS_PER_S] += 1 + event.hedges
        per_second = max(seconds.values(), default=0)
        interrupted = sum(provider in (None, each.made.provider) for each in own[_Asked]) - seconds.total()
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
        all_ = self._counted.of(_Part((), {}))
        pending = sorted(self._pending, key=attrgetter("at_ns"))
        for number in summary["faults"]:
            fault = self.context.faults[int(number)]
            assert fault.ends_at is not None
            hit = [each for each in pending if each.channel in channels_hit(fault)]
            cleared_s = recount.backlog_cleared_s(hit, ns(fault.at), ns(fault.ends_at), run_ns)
            found["faults", number, "backlog_cleared_s"] = cleared_s
        for channel, figures in summary["channels"].items():
            own = self._counted.of(_Part((), {}, NotificationChannel(channel)))
            for name in figures.get("providers", {}):
                sent, failed = (
                    sum(each.provider == name for each in own[kind]) for kind in (NotificationSent, NotificationFailed)
                )
                found["channels", channel, "providers", name, "sent"] = sent
                found["channels", channel, "providers", name, "attempts"] = sent + failed
        for number, figures in summary.get("nodes", {}).items():
            node = int(number)
            at_node = {kind: [each for each in all_[kind] if each.node == node] for kind in _EVENTS}
            counted = recount.of_events(at_node, {}, 0)
            counted["taken_over"] = sum(len(each.notification_ids) for each in self._takeovers if each.node == node)
            found |= {("nodes", number, key): counted[key] for key in figures}
        return {path: (value, value) for path, value in found.items()}


def _is_between(said: Any, least: Any, most: Any) -> bool:
    if not isinstance(said, (int, float)) or not isinstance(least, float):
        return bool(said == least if least == most or said is None else least <= said <= most)
    slack = 1e-9 + 1e-9 * abs(least)
    return bool(least - slack <= said <= most + slack)
