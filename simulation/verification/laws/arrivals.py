"""Arrivals: each is accepted or refused, and is counted as one of them, whatever crashes. Clients that wait for the end
of their notification go on with the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from actors.formatting import seconds_text
from actors.instants import NEVER_NS, ns
from actors.messages import (
    ActorFailed,
    DuplicateIgnored,
    NotificationChannel,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)
from actors.pipeline.handler import Handler
from actors.pipeline.orders import Submit
from simulation.verification.laws.base import Arrival, ClientsOf, Context, Invariant, Objection, observes
from simulation.verification.laws.observations import MessageSent, Offered

_OVERLOADED = "overloaded"


class _Lost(NamedTuple):
    """A notification that an arrival did not cause, since the arrival was refused."""

    arrival: Arrival
    channel: NotificationChannel
    why: str
    at_ns: int


class Arrivals(Invariant):
    """Each arrival is accepted or refused: one of them, and once, in the figures of the run, of its entry, class and
    channel, and of windows. What comes once more with the same id is accepted or a duplicate each time, where nothing
    is refused.
    """

    name = "arrivals"
    settings = ("max_pending",)
    receivers = frozenset({Handler})
    messages = frozenset({SendNotification, Submit})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._accepted_ns: dict[tuple[Arrival, NotificationChannel], int] = {}
        """When each was accepted first."""
        self._offered: set[Arrival] = set()
        self._refusals: dict[Arrival, list[Offered]] = {}
        self._unreachable: set[tuple[Arrival, NotificationChannel]] = set()
        """The arrivals for a recipient that no provider sends to."""
        self._taken: Counter[tuple[Arrival, NotificationChannel]] = Counter()
        """How often each was accepted, unreachable, or a duplicate, be it of one whose acceptance a crash undid."""
        self._lost: list[_Lost] = []

    @classmethod
    def applies(cls, context: Context) -> bool:
        return bool(context.arrivals) and context.entry_named is None  # else own actors may send in their place

    @observes(NotificationRequested)
    def on_requested(self, requested: NotificationRequested) -> None:
        if requested.instead_of is not None or (arrival := self.context.arrival_of(requested.notification_id)) is None:
            return
        key = arrival, requested.channel
        self._accepted_ns.setdefault(key, requested.at_ns)
        self._taken[key] += 1

    @observes(DuplicateIgnored)
    def on_duplicate(self, duplicate: DuplicateIgnored) -> None:
        if (arrival := self.context.arrival_of(duplicate.notification_id)) is not None:
            self._taken[arrival, duplicate.channel] += 1

    @observes(Offered)
    def on_offered(self, offered: Offered) -> Objection:
        if (arrival := self.context.arrival_of(offered.key)) is None:
            return f"{offered.key} comes, and is of no entry of the workload"
        self._offered.add(arrival)
        if offered.refused is not None:
            self._refusals.setdefault(arrival, []).append(offered)
        if offered.refused == _OVERLOADED and self.context.max_pending is None:
            return f"{offered.key} is refused for lack of room, of which there is no end"
        return None

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> None:
        command = sent.message.command if type(sent.message) is Submit else sent.message
        if (arrival := self.context.arrival_of(command.notification_id)) is not None:
            self._offered.add(arrival)
            world = self.context.world
            if world is not None and world.recipient_problem(command) is not None:
                self._unreachable.add((arrival, command.channel))
                self._taken[arrival, command.channel] += 1

    def at_end(self, now_ns: int) -> Objection:
        came, first_ns = self._came_until(now_ns)
        if strange := sorted(self._offered - came.keys()):
            return f"{self._text(strange[0])} has come, and is not due in the run"
        for (arrival, channel), accepted_ns in self._accepted_ns.items():
            if arrival not in came or channel not in self.context.arrivals[arrival[0]].channels:
                return f"{self._text(arrival)} is accepted on {channel}, and never came there"
            if accepted_ns < first_ns.get(arrival, 0):
                return f"{self._text(arrival)} is accepted at {seconds_text(accepted_ns)}, before it came"
        for arrival in came:
            for channel in self.context.arrivals[arrival[0]].channels:
                if (arrival, channel) in self._accepted_ns or (arrival, channel) in self._unreachable:
                    continue
                if arrival not in self._refusals:
                    return f"{self._text(arrival)} came, and was neither accepted on {channel} nor refused"
                self._lost.append(self._as_lost(arrival, channel, now_ns))
        return self._look_at_repeats(came)

    def _came_until(self, end_ns: int) -> tuple[Counter[Arrival], dict[Arrival, int]]:
        came, first_ns = Counter[Arrival](), dict[Arrival, int]()
        for number, entry in enumerate(self.context.arrivals):
            if entry.times is None:
                came.update(arrival for arrival in self._offered if arrival[0] == number)
                continue
            for at_ns, own in entry.times():
                if at_ns < end_ns:
                    arrival = number, own
                    came[arrival] += 1
                    first_ns.setdefault(arrival, at_ns)
        return came, first_ns

    def _as_lost(self, arrival: Arrival, channel: NotificationChannel, end_ns: int) -> _Lost:
        """Return the reason and the instant of a loss: when it is not sent again, at the latest as the run ends."""
        refusals = self._refusals[arrival]
        is_over = len(refusals) > self.context.arrivals[arrival[0]].resent_at_most
        assert refusals[-1].refused is not None
        return _Lost(arrival, channel, refusals[-1].refused, refusals[-1].at_ns if is_over else end_ns)

    def _look_at_repeats(self, came: Counter[Arrival]) -> Objection:
        context = self.context
        may_miss = bool(context.faults) or context.max_pending is not None or context.commit_latency_ns > 0
        if may_miss or not context.is_in_usual_order:
            return None
        for arrival, times in came.items():
            for channel in context.arrivals[arrival[0]].channels:
                if (taken := self._taken[arrival, channel]) != times:
                    return f"{self._text(arrival)} came {times} times, and was accepted or ignored {taken} times"
        return None

    def _text(self, arrival: Arrival) -> str:
        return f"number {arrival[1]} of {self.context.arrivals[arrival[0]].name}"

    # ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────

    def at_summary(self, summary: Mapping[str, Any]) -> Objection:
        wrong = self._look_at(summary, "", 0, NEVER_NS)
        for name, (from_ns, to_ns) in self.context.windows.items():
            wrong = wrong or self._look_at(summary["windows"][name], f"windows.{name}.", from_ns, to_ns)
        return wrong

    def _look_at(self, summary: Mapping[str, Any], prefix: str, from_ns: int, to_ns: int) -> Objection:
        lost = [each for each in self._lost if from_ns <= each.at_ns < to_ns]
        entries = self.context.arrivals
        wrong = self._compare(summary, prefix.rstrip(".") or "the run", lost)
        for name, figures in summary["workload"].items():
            own = [each for each in lost if entries[each.arrival[0]].name == name]
            wrong = wrong or self._compare(figures, f"{prefix}workload.{name}", own)
        for name, figures in summary["classes"].items():
            own = [each for each in lost if entries[each.arrival[0]].priority == name]
            wrong = wrong or self._compare(figures, f"{prefix}classes.{name}", own)
        for name, figures in summary["channels"].items():
            own = [each for each in lost if each.channel == name]
            wrong = wrong or self._compare(figures, f"{prefix}channels.{name}", own)
        return wrong

    def _compare(self, figures: Mapping[str, Any], of: str, lost: Sequence[_Lost]) -> Objection:
        refused: Mapping[str, int] = figures["refused"]
        if any(self.context.arrivals[each.arrival[0]].has_repeats for each in lost):
            # What was refused first counts, be it refused for another reason when it came once more.
            if of.startswith("windows.") or sum(refused.values()) == len(lost):
                return None
            return f"the summary of {of} says that {sum(refused.values())} were refused, and {len(lost)} were"
        counted = Counter(each.why for each in lost)
        for why, count in refused.items():
            if count != counted[why]:
                return f"the summary of {of} says refused.{why} {count}, and {counted[why]} were"
        return None


MORE_DRAWN = 20
"""The waits that are drawn of each client beyond those that its accepted arrivals show: some arrivals were sent while
no process accepted them."""


class _ClientsOfEntry:
    def __init__(self, of: ClientsOf) -> None:
        self.of = of
        self.pending: set[str] = set()
        """The ids of notifications that were accepted and have not ended."""
        self.idle_since_ns = of.come_ns
        """Since when a client thinks, at least, and none has sent anything."""
        self._drawn = 0
        self._longest_s = 0.0

    @property
    def has_thinkers(self) -> bool:
        return len(self.pending) < len(self.of.thinks)

    def longest_ns(self, sent: int) -> int:
        """Return how long a client thinks at most before one of so many sends, and some more."""
        while self._drawn < 2 * sent + MORE_DRAWN:
            self._longest_s = max(self._longest_s, *(think() for think in self.of.thinks))
            self._drawn += 1
        return ns(self._longest_s)


class ClientsGoOn(Invariant):
    """A client whose notification has ended, or was forgotten in a crash, sends the next one when it has thought."""

    name = "clients-go-on"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._entries = [_ClientsOfEntry(of) for of in context.clients]
        self._sent = [0] * len(self._entries)

    @classmethod
    def applies(cls, context: Context) -> bool:
        # Where anything is refused while all is up, nobody knows of what was sent.
        return bool(context.clients) and context.max_pending is None and super().applies(context)

    @observes(NotificationRequested)
    def on_requested(self, event: NotificationRequested) -> Objection:
        for number, entry in enumerate(self._entries):
            head, _, rest = event.notification_id.partition(entry.of.prefix)
            if head or not rest.isdecimal():
                continue
            wrong = self._look(number, event.at_ns)
            self._sent[number] = max(self._sent[number], int(rest) + 1)
            entry.pending.add(event.notification_id)
            entry.idle_since_ns = max(entry.idle_since_ns, event.at_ns)
            return wrong
        return None

    @observes(NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter)
    def on_end(self, event: NotificationSent | NotificationSuppressed | NotificationMovedToDeadLetter) -> None:
        for entry in self._entries:
            if event.notification_id in entry.pending:
                if not entry.has_thinkers:
                    entry.idle_since_ns = max(entry.idle_since_ns, event.at_ns)
                entry.pending.discard(event.notification_id)

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> Objection:
        wrong: Objection = None
        for number, entry in enumerate(self._entries):
            wrong = wrong or self._look(number, event.at_ns)
            entry.idle_since_ns = max(entry.idle_since_ns, event.at_ns + self.context.restarted_within_ns)
        return wrong

    def _look(self, number: int, now_ns: int) -> Objection:
        entry = self._entries[number]
        if not entry.has_thinkers:
            return None
        longest_ns = entry.longest_ns(self._sent[number])
        due_ns = entry.idle_since_ns + longest_ns + 2 * self.context.commit_latency_ns
        if due_ns >= min(now_ns, entry.of.until_ns):
            return None
        clients = len(entry.of.thinks) - len(entry.pending)
        since, longest = seconds_text(entry.idle_since_ns), seconds_text(longest_ns)
        return (
            f"{clients} clients of {entry.of.prefix}… have thought since {since}, each for {longest} at most, and none "
            "has sent anything"
        )

    def at_end(self, now_ns: int) -> Objection:
        wrong: Objection = None
        for number in range(len(self._entries)):
            wrong = wrong or self._look(number, now_ns)
        return wrong
