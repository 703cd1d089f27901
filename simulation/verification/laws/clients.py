"""Clients that wait for the end of their notification go on with the next one, after a crash too."""

from __future__ import annotations

from actors.formatting import seconds_text
from actors.instants import ns
from actors.messages import (
    ActorFailed,
    NotificationMovedToDeadLetter,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from simulation.verification.laws.base import ClientsOf, Context, Invariant, Objection, observes

MORE_DRAWN = 20
"""So many more waits are drawn of each client than it can have had by what has arrived: some of what was sent while
there was nobody to accept it."""


class _Entry:
    def __init__(self, of: ClientsOf) -> None:
        self.of = of
        self.pending: set[str] = set()
        """What was accepted and has not ended."""
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
        self._entries = [_Entry(of) for of in context.clients]
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
