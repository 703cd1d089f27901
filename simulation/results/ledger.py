"""The ledger of a run: sorts events by entry of the workload and channel, and follows requests.

Each part for which a run has metrics, the whole, entries, classes or channels, is a group of its tallies, so that an
event is counted once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from actors.instants import NS_PER_S
from actors.messages import (
    DeadLetterDiscarded,
    NotificationChannel,
    NotificationEvent,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.pipeline.readiness import ADDRESS_GONE
from simulation.results.backlogs import CHANGES, instant_of
from simulation.results.interruptions import Request
from simulation.results.tallies import COUNTED_ALWAYS, Counted, DeadLetters, Figures, Tally
from simulation.scenario.identity import entry_number
from simulation.scenario.metrics import Outline

Place = tuple[int | None, NotificationChannel]
"""The number of an entry of the workload and a channel; None in place of the number: of no entry."""

AnyPlace = tuple[int | None, NotificationChannel | None]
"""A place, where an event that an own actor did not handle has no channel."""

ByPlace = Mapping[Place, Mapping[type, Sequence[Any]]]
"""The events of each place, by type, each in order."""

CHANNEL_OF = attrgetter("channel")

Group = tuple[str, str]
"""A group of metrics by its kind and its name, such as ``("channels", "email")``."""

WHOLE: Group = ("", "")

IN_TIME_NS = 60 * NS_PER_S
"""Requests that take longer are late in the counts of hosts and tenants."""

LEAVES_THE_QUEUE = (NotificationRedriven, DeadLetterDiscarded)
"""The events with which a dead letter leaves its queue."""

WORST = 10
"""The number of hosts, and of tenants, that are named."""


class Entry(NamedTuple):
    priority: str
    channels: tuple[NotificationChannel, ...]
    host_of: Callable[[str], str | None] | None = None
    """Returns the host at which a user's address is; None: addresses have no host."""
    tenant_of: Callable[[str], str | None] | None = None
    """Returns the tenant that sends to a user; None: there are no tenants."""


class Refused(NamedTuple):
    """A notification of an arrival that is refused, and not offered again: a domain event may lead to several."""

    entry: int
    """The number of its entry of the workload."""
    channel: NotificationChannel | None
    """None: the channel of a notification that an own actor may have sent."""
    why: str
    """``down``, ``overloaded`` or ``unhandled``."""
    notification_id: str | None
    """None: the id of a notification that an own actor may have sent."""


class Ledger:
    """The tallies of a run, or of a part of it."""

    def __init__(
        self,
        outline: Outline,
        of_entries: Sequence[Entry],
        *,
        counted: Counted = COUNTED_ALWAYS,
        prices: Mapping[NotificationChannel, Mapping[str, float]] | None = None,
    ) -> None:
        """Begin with none: `outline` gives the parts by which metrics are split, `counted` the events that may happen
        and so are counted, and `prices` the cost of a request, by channel and provider."""
        self.within_s = outline.all_within_s
        self._outline = outline
        self._channels = channels = frozenset(channel for channel, _ in outline.providers)
        self._classes = [entry.priority for entry in of_entries]
        self._parties: dict[str, dict[int | None, PartyCounts]] = {
            kind: {
                number: PartyCounts(party_of, counted.forgotten_ids, channels)
                for number, entry in enumerate(of_entries)
                if (party_of := getattr(entry, of)) is not None
            }
            for kind, of in (("hosts", "host_of"), ("tenants", "tenant_of"))
        }
        """The counts of hosts and of tenants, by entry of the workload, where an entry has any."""
        self.counted = counted
        self._make = partial(Tally, counted=counted)
        self._prices = prices or {}
        self._tallies: dict[AnyPlace, Tally] = {}
        self._dead_letters: dict[Group, DeadLetters] = {}
        self._letters_at: dict[Place, list[DeadLetters]] = {}
        """The dead letters of the groups that a place belongs to."""
        self._lost: defaultdict[str, list[Request]] = defaultdict(list)
        """The requests to providers whose answers no one takes, by the first notification of a chain of fallbacks."""
        self._refused: dict[str, Refused] = {}
        """The refused notifications by id, where one of the same id may be accepted."""
        self._accepted: set[str] = set()
        """Likewise the ids that were accepted."""
        self._reached_twice: set[str] = set()
        """Of these, the requests that had reached the recipient when another one was sent."""
        self._chains = Chains(of_entries) if counted.fallbacks or counted.forgotten_ids else None
        has_dashes = counted.own_actors or any("-" in channel for channel in channels)
        self._entries = {} if has_dashes else {str(number): number for number in range(len(outline.entries))}
        """By its text, the number of an entry, where it stands behind the first dash of an id: no channel has one."""
        self._of_channel = {} if counted.fallbacks or counted.own_actors else _of_one_entry(of_entries)
        """The place of each channel, where each is used by one entry alone."""
        self._only = next(iter(self._of_channel.values())) if len(self._of_channel) == len(channels) == 1 else None
        """Where all events are of one entry and one channel."""

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

    def tally(self, place: AnyPlace) -> Tally:
        try:
            return self._tallies[place]
        except KeyError:
            tally = self._tallies[place] = self._make(prices=self._prices.get(place[1]) if place[1] else None)
            return tally

    def place_of(self, event: NotificationEvent) -> Place:
        return self._of_channel.get(event.channel) or (entry_number(event.notification_id), event.channel)

    def fold(self, events: Mapping[type, Sequence[Any]]) -> ByPlace:
        """Take in a chunk of the history, sorted by type, each in order; return the events of each place."""
        places = self.count(events)
        self.accept(events.get(NotificationRequested, ()))
        if self._chains is None:  # as `follow` has it where each notification is a request of its own
            for place, of_place in places.items():
                tally = self.tally(place)
                tally.requests += len(of_place.get(NotificationRequested, ()))
                sent = of_place.get(NotificationSent, ())
                tally.delivery_times.extend([event.at_ns - event.requested_at_ns for event in sent])
                if self._lost:
                    tally.reached_twice += sum([self._was_reached(event) for event in sent])
                    self._forget(sent)
                    self._forget(of_place.get(DeadLetterDiscarded, ()))
            self._suppress(events.get(NotificationSuppressed, ()))
        else:
            self.follow(
                events.get(NotificationRequested, ()),
                events.get(NotificationSuppressed, ()),
                events.get(NotificationSent, ()),
            )
        if any(self._parties.values()):
            self._fold_parties(places)
        self.follow_dead_letters(events)
        return places

    def count(self, events: Mapping[type, Sequence[Any]]) -> ByPlace:
        """Count the events of notifications; return the events of each place, by type."""
        places = self._by_place(events)
        for place, of_place in places.items():
            self.tally(place).fold(of_place)
        return places

    def follow(
        self,
        requested: Sequence[NotificationRequested],
        suppressed: Sequence[NotificationSuppressed],
        sent: Sequence[NotificationSent],
    ) -> None:
        """Follow requests from their offer to their end."""
        times: dict[Place, list[int]] = {}
        # In their order: to whom a request belongs depends on what had become of it before. At one instant a request
        # is accepted before it ends.
        events: list[NotificationRequested | NotificationSuppressed | NotificationSent] = [
            *requested,
            *suppressed,
            *sent,
        ]
        for event in sorted(events, key=instant_of):
            if isinstance(event, NotificationRequested):
                self._accept(event)
            elif isinstance(event, NotificationSuppressed):
                self._suppress([event])
            elif (place := self._delivered_by(event)) is not None:
                times.setdefault(place, []).append(event.at_ns - event.requested_at_ns)
        for place, of_place in times.items():
            self.tally(place).delivery_times.extend(of_place)

    def carry(self, events: Mapping[type, Sequence[Any]]) -> None:
        """Take in the events before the counted ones: only the state that they leave matters."""
        for kind, change in CHANGES.items():
            for event in events.get(kind, ()):
                self.tally(self.place_of(event)).pending_before += change
        self.follow_dead_letters(events)

    def begin(self) -> None:
        """Begin to count: the most dead letters there are is from now on."""
        for letters in self._dead_letters.values():
            letters.peak = letters.size

    def _by_place(self, events: Mapping[type, Sequence[Any]]) -> ByPlace:
        of_notifications = {kind: of_kind for kind, of_kind in events.items() if issubclass(kind, NotificationEvent)}
        if self._only is not None:
            return {self._only: of_notifications}
        by_channel = self._of_channel
        found: defaultdict[Any, dict[type, list[Any]]] = defaultdict(dict)
        for kind, of_kind in of_notifications.items():
            apart: defaultdict[Any, list[Any]] = defaultdict(list)
            for key, event in zip(
                map(CHANNEL_OF, of_kind) if by_channel else self._places(of_kind), of_kind, strict=True
            ):
                apart[key].append(event)
            for key, those in apart.items():
                found[key][kind] = those
        return {by_channel[channel]: kinds for channel, kinds in found.items()} if by_channel else found

    def _places(self, events: Iterable[NotificationEvent]) -> Iterator[Place]:
        """Yield the places of events, as :meth:`place_of` has them, with less to do for each event of a run."""
        entries = self._entries
        for event in events:
            number = event.notification_id.split("-", 2)[1:2]
            yield (entries[number[0]], event.channel) if number and number[0] in entries else self.place_of(event)

    def _fold_parties(self, places: ByPlace) -> None:
        of_entries: defaultdict[int | None, list[Any]] = defaultdict(list)
        for kind in (NotificationRequested, NotificationSent, NotificationSuppressed):
            for (entry, _), of_place in places.items():
                of_entries[entry].extend(of_place.get(kind, ()))
        for entry, events in of_entries.items():
            for counts in self._parties.values():
                if entry in counts:
                    counts[entry].see(sorted(events, key=instant_of))

    def _accept(self, event: NotificationRequested) -> None:
        place = self.place_of(event)
        tally = self.tally(place)
        tally.requests += 1
        if self._chains is None:
            return
        if self.counted.own_actors:
            self._chains.channels[event.notification_id] = event.channel
        if event.instead_of is not None:
            if (last := self._chains.hand_on(event)) is None:
                tally.accepted_again += 1
            else:
                self.tally((place[0], last)).handed_on += 1
        elif self.counted.forgotten_ids and self._chains.is_known(event.notification_id):
            tally.accepted_again += 1
            tally.unwanted -= self._chains.want(event.notification_id)

    def _suppress(self, suppressed: Sequence[NotificationSuppressed]) -> None:
        for event in suppressed:
            if is_unwanted(event) and (self._chains is None or self._chains.do_not_want(event.notification_id)):
                self.tally(self.place_of(event)).unwanted += 1

    def _delivered_by(self, event: NotificationSent) -> Place | None:
        """Note that a notification is sent; return the place that has delivered its request, or None if it was
        before."""
        place = self.place_of(event)
        reached_before = self._was_reached(event)
        if self._chains is None:
            self.tally(place).reached_twice += reached_before
            return place
        number, holder = self._chains.deliver(event)
        first = _first_of(event.notification_id, self._channels)
        self.tally(place).reached_twice += reached_before or (number == 2 and first not in self._reached_twice)
        if number > 1:
            self._reached_twice.add(first)
            return None
        if holder is not event.channel:
            # It comes back to this channel, which had handed it on.
            self.tally((place[0], holder)).handed_on += 1
            self.tally(place).handed_on -= 1
        return place

    def _was_reached(self, event: NotificationSent) -> bool:
        """Tell whether a request whose answer is lost had reached the recipient before, and note it; once for each
        request."""
        first = _first_of(event.notification_id, self._channels)
        lost = self._lost.get(first, ())
        if first in self._reached_twice or not any(
            _is_another(request, event.started_ns) and (request.reached_ns or 0) <= event.at_ns for request in lost
        ):
            return False
        self._reached_twice.add(first)
        return True

    def _forget(self, ended: Iterable[NotificationEvent]) -> None:
        """Drop the lost requests of notifications that have ended, but keep the ids that are counted already: a late
        message may reach those recipients once more."""
        for event in ended:
            self._lost.pop(event.notification_id, None)

    def refuse(self, refused: Refused) -> None:
        """Note that a notification is refused; if its id was accepted already, only the accepted one was offered."""
        if self.counted.accepted_ids and refused.notification_id is not None:
            if refused.notification_id in self._accepted:
                return
            self._refused[refused.notification_id] = refused
        self._count_refused(refused, 1)

    def accept(self, requested: Sequence[NotificationRequested]) -> None:
        """Note acceptances: an earlier refusal of the same id no longer counts."""
        if not self.counted.accepted_ids:
            return
        ids = [event.notification_id for event in requested]
        self._accepted.update(ids)
        for refused in [self._refused.pop(each) for each in ids if each in self._refused]:
            self._count_refused(refused, -1)

    def _count_refused(self, refused: Refused, by: int) -> None:
        self.tally((refused.entry, refused.channel)).refused[refused.why] += by

    def interrupt(self, request: Request, *, counts: bool = True) -> None:
        """Note that the answer of a provider to a request is lost; unless the request `counts`, the ledger
        only remembers whom it reached."""
        place = entry_number(request.notification_id), request.channel
        first = _first_of(request.notification_id, self._channels)
        if counts:
            self.tally(place).interrupt(request.provider)
        others = [each for each in self._lost[first] if not _is_the_same(each, request)]
        before = [each for each in others if _is_another(each, request.started_ns)]
        self._lost[first].append(request)
        if request.reached_ns is not None and before and first not in self._reached_twice:
            self._reached_twice.add(first)
            self.tally(place).reached_twice += 1

    def worst(self) -> dict[str, list[dict[str, Any]]]:
        """Return the hosts and the tenants with the most requests that were not delivered within a minute, the worst
        first."""
        return {kind: _worst(counts.values()) for kind, counts in self._parties.items()}

    # ── dead letters ────────────────────────────────────────────────────────────────────────────────────────────

    def follow_dead_letters(self, events: Mapping[type, Sequence[Any]]) -> None:
        """Note how many dead letters there are after these events, and how many there were at most."""
        changes = [(event, 1) for event in events.get(NotificationMovedToDeadLetter, ())]
        left = [(event, -1) for kind in LEAVES_THE_QUEUE for event in events.get(kind, ())]
        if left:
            # The order decides about the peak; at the same instant the larger size counts.
            changes = sorted(changes + left, key=lambda change: (change[0].at_ns, -change[1]))
        for event, by in changes:
            for letters in self._dead_letters_at(self.place_of(event)):
                letters.change(by)

    def dead_letters(self, group: Group) -> DeadLetters:
        return self._dead_letters.setdefault(group, DeadLetters())

    def _dead_letters_at(self, place: Place) -> list[DeadLetters]:
        try:
            return self._letters_at[place]
        except KeyError:
            found = self._letters_at[place] = [self.dead_letters(group) for group in self._groups_of(place)]
            return found

    def _groups_of(self, place: AnyPlace) -> list[Group]:
        entry, channel = place
        groups: list[Group] = [WHOLE] if channel is None else [WHOLE, ("channels", channel.value)]
        if entry is not None and entry < len(self._outline.entries):
            groups += [("workload", self._outline.entries[entry]), ("classes", self._classes[entry])]
        return groups

    # ── metrics ─────────────────────────────────────────────────────────────────────────────────────────────────

    def figures(self, group: Group = WHOLE) -> Figures:
        tallies = [tally for place, tally in self._tallies.items() if group in self._groups_of(place)]
        return Figures(tallies or [self._make()], self.dead_letters(group))

    def summary(self, simulated_ns: int) -> dict[str, Any]:
        known: dict[frozenset[AnyPlace], dict[str, Any]] = {}

        def of(group: Group) -> dict[str, Any]:
            # Mostly each channel is one entry's alone; then both have the same metrics, which take time to work out.
            places = frozenset(place for place in self._tallies if group in self._groups_of(place))
            if places not in known:
                known[places] = self.figures(group).summary(simulated_ns, self.within_s)
            return dict(known[places])

        outline = self._outline
        return {
            **of(WHOLE),
            "workload": {name: of(("workload", name)) for name in outline.entries},
            "classes": {name: of(("classes", name)) for name in outline.classes},
            "channels": {channel.value: of(("channels", channel.value)) for channel, _ in outline.providers},
        }


def _worst(counts: Iterable[PartyCounts]) -> list[dict[str, Any]]:
    late: Counter[str] = Counter()
    offered: Counter[str] = Counter()
    for each in counts:
        late.update(each.late)
        offered.update(each.offered)
    worst = sorted((name for name in late if late[name]), key=lambda name: (-late[name], name))
    return [
        {"name": name, "offered": offered[name], "late": late[name], "late_fraction": late[name] / offered[name]}
        for name in worst[:WORST]
    ]


class PartyCounts:
    """How many requests of an entry were offered for each host or tenant, and how many of these are late."""

    def __init__(self, party_of: Callable[[str], str | None], forgotten_ids: bool, channels: Container[str]) -> None:
        self._party_of = party_of
        self._channels = channels
        self._under_way: dict[str, str] = {}
        """The hosts or tenants of notifications that have not been sent, by id."""
        self._handed_on: set[str] = set()
        """Of these, the ones that another channel has taken over: how the first ends no longer matters."""
        self._delivered: set[str] | None = set() if forgotten_ids else None
        """The ids that were delivered and may come again, which is then no other request."""
        self.offered: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        """The requests that were not delivered within a minute, or not yet."""

    def see(self, events: Iterable[NotificationRequested | NotificationSent | NotificationSuppressed]) -> None:
        under_way, delivered = self._under_way, self._delivered
        for event in events:
            first = _first_of(event.notification_id, self._channels)
            instead = first != event.notification_id
            if isinstance(event, NotificationRequested):
                if instead:
                    if first in under_way:
                        self._handed_on.add(first)
                elif (
                    first not in under_way
                    and (delivered is None or first not in delivered)
                    and (party := self._party_of(event.user_id)) is not None
                ):
                    under_way[first] = party
                    self.offered[party] += 1
                    self.late[party] += 1
            elif isinstance(event, NotificationSent):
                if (ended := under_way.pop(first, None)) is not None:
                    self.late[ended] -= event.at_ns - event.requested_at_ns <= IN_TIME_NS
                    self._handed_on.discard(first)
                    if delivered is not None:
                        delivered.add(first)
            elif instead or first in self._handed_on or not is_unwanted(event):
                continue
            elif (ended := under_way.pop(first, None)) is not None:
                self.offered[ended] -= 1
                self.late[ended] -= 1


class Chains:
    """Which notifications are of one request, where these are not one and the same."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self.channels: dict[str, NotificationChannel] = {}
        """The channels of notifications by id, where own actors send some that no entry of the workload has."""
        self._first: dict[str, str] = {}
        """The notification at the beginning, by the id of each in its place."""
        self._holders: dict[str, NotificationChannel] = {}
        """The channel that has taken the request over last, by its first notification."""
        self._deliveries: dict[str, int] = {}
        """How many notifications of a request were sent, by the id of its first one, where there may be several."""
        self._accepted: set[str] = set()
        """Where ids are forgotten: all that were accepted."""
        self._unwanted: set[str] = set()
        """Of these, the requests that were not wanted when they came last."""

    def hand_on(self, event: NotificationRequested) -> NotificationChannel | None:
        """Note that a notification is accepted in place of another; return the channel that has handed it on.

        None: the request stays where it was, with the channel that has delivered it, or with this one, which had taken
        it over before.
        """
        assert event.instead_of is not None
        first = self._first[event.notification_id] = self._first.get(event.instead_of, event.instead_of)
        last = self._holders.get(first) or self._channel_of(first)
        is_delivered = first in self._deliveries
        self._holders[first] = last if is_delivered else event.channel
        return None if is_delivered or last is event.channel else last

    def _channel_of(self, notification_id: str) -> NotificationChannel:
        """Return the channel of a notification that goes out in place of none."""
        if notification_id in self.channels:
            return self.channels[notification_id]
        number = entry_number(notification_id)
        channels = self._entries[number].channels if number is not None and number < len(self._entries) else ()
        return channels[0] if len(channels) == 1 else NotificationChannel(notification_id.partition("-")[0])

    def want(self, notification_id: str) -> bool:
        """Note that a request comes again; return whether it was not wanted the time before."""
        was_unwanted = notification_id in self._unwanted
        self._unwanted.discard(notification_id)
        return was_unwanted

    def do_not_want(self, notification_id: str) -> bool:
        """Note that a notification was not wanted; return whether its request is not, and was until now."""
        # That the channel in place of the first is switched off is no wish; and what is delivered was wanted once.
        is_part = notification_id in self._first or notification_id in self._holders
        if is_part or notification_id in self._deliveries or notification_id in self._unwanted:
            return False
        if self._accepted:
            self._unwanted.add(notification_id)
        return True

    def is_known(self, notification_id: str) -> bool:
        """Tell whether a notification has been accepted before, and note that it is now."""
        before = len(self._accepted)
        self._accepted.add(notification_id)
        return len(self._accepted) == before

    def deliver(self, event: NotificationSent) -> tuple[int, NotificationChannel]:
        """Return how many notifications of its request have been sent now, and the channel that it belonged to."""
        first = self._first.get(event.notification_id, event.notification_id)
        holder = self._holders.get(first)
        if holder is None and not self._accepted:
            return 1, event.channel
        number = self._deliveries[first] = self._deliveries.get(first, 0) + 1
        if number == 1 and holder is not None:
            self._holders[first] = event.channel
        return number, holder or event.channel


def _first_of(notification_id: str, channels: Container[str]) -> str:
    """Return the first notification of a chain of fallbacks, whose ids are ``n``, ``n/sms``, ..."""
    head, _, tail = notification_id.rpartition("/")
    return _first_of(head, channels) if head and tail in channels else notification_id


def _is_the_same(one: Request, other: Request) -> bool:
    """Tell whether both are one request, whose answer is lost and would have been late too, or late copies of one
    attempt."""
    if one.attempt is not other.attempt:
        return False
    is_one_request = (one.started_ns, one.provider) == (
        other.started_ns,
        other.provider,
    ) and one.is_late != other.is_late
    return is_one_request or (one.is_late and other.is_late)


def _is_another(request: Request, started_ns: int) -> bool:
    """Tell whether a request has reached the recipient and is no copy of the attempt that started at an instant."""
    return request.reached_ns is not None and (not request.is_late or request.started_ns < started_ns)


def is_unwanted(event: NotificationSuppressed) -> bool:
    """Tell whether a user or an operator did not want it; that its address is gone is no wish."""
    return event.reason != ADDRESS_GONE


def _of_one_entry(entries: Sequence[Entry]) -> dict[NotificationChannel, Place]:
    """Return the place of each channel if no two entries of the workload share one; else nothing."""
    channels = [(channel, number) for number, entry in enumerate(entries) for channel in entry.channels]
    found: dict[NotificationChannel, Place] = {channel: (number, channel) for channel, number in channels}
    return found if len(found) == len(channels) else {}
