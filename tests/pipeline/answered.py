"""Compares what a notifier answers with the recording of the run, and with what else it says at that moment."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from recorded import Book

from actors import Notifier
from actors.domain.audit import RETRY
from actors.errors import InvalidRecipient, LetterServed, Overloaded, UnknownChannel
from actors.instants import ns, since_1970_ns
from actors.messages import (
    DeadLetterDiscarded,
    NotificationDeferred,
    NotificationFailed,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    Priority,
    SendNotification,
)
from actors.pipeline.orders import Acceptance
from actors.policies.admission import RETRY_AFTER
from actors.service.operations.breakers import BreakerWatch
from actors.service.operations.dead_letters import DeadLetters
from actors.service.operations.queries import Filter

KINDS_OF_REFUSAL = (UnknownChannel, InvalidRecipient)


class Disagreement(AssertionError):
    """An answer that is not as it should be."""


def demand(holds: object, text: str) -> None:
    """Object where something does not hold."""
    if not holds:
        raise Disagreement(text)


class Answers:
    """What the answers of one notifier, and of the next one over its store, have to be."""

    def __init__(self, program: Any, book: Book, letter_of: Callable[[str], Any]) -> None:
        self._program = program
        self._book = book
        self.letter_of = letter_of
        """Returns the letter that is in the queue of a notification."""
        self._is_late = program.is_on_disk or program.scenario.commit_latency > 0
        """Whether the store takes its time."""
        self._remember_ns = ns(program.scenario.remember_ids)
        self.commands: dict[str, SendNotification] = {}
        """By id, the command that was accepted last, where a caller was told so."""
        self.given: Counter[tuple[str, str]] = Counter()
        """How often callers were told what of which notification."""
        self.unheard: Counter[tuple[str, str]] = Counter()
        """How often none was told, as it was cancelled, or the notifier was closed."""
        self._sending: Counter[str] = Counter()
        self.asked_ns: dict[str, int] = {}
        """By id, when a provider was asked last."""

    @contextmanager
    def sends(self, name: str) -> Iterator[None]:
        """Know that a caller waits for the acceptance of an id: it is not sure then with which payload it is known."""
        self._sending[name] += 1
        try:
            yield
        finally:
            self._sending[name] -= 1

    def _known(self, name: str) -> SendNotification | None:
        return None if self._sending[name] else self.commands.get(name)

    # ── a send ──────────────────────────────────────────────────────────────────────────────────────────────────

    def accepted(self, command: SendNotification, acceptance: Any, place: int) -> None:
        """Check an acceptance; the recording had `place` events when the command was sent."""
        book, name = self._book, command.notification_id
        known = self._known(name)
        if acceptance is Acceptance.ACCEPTED:
            demand(book.since(place, name, NotificationRequested), f"{name} is accepted, and that is not recorded")
            self._one_more(name, "accepted", NotificationRequested)
            self.commands[name] = command
        else:
            demand(acceptance is Acceptance.DUPLICATE, f"{name}: wanted an acceptance, got {acceptance!r}")
            demand(
                book.duplicates_since(place, name, conflict=False), f"{name} is a duplicate, and that is not recorded"
            )
            demand(book.counts[name, NotificationRequested], f"{name} is a duplicate of one that is not durable yet")
            is_same = known is None or known == command or book.since(place, name, NotificationRequested)
            demand(is_same, f"{name}: {command} is no duplicate of {known}")

    def in_conflict(self, command: SendNotification, differs: tuple[str, ...], place: int) -> None:
        """Check a refusal since the id is known with another payload."""
        book, name = self._book, command.notification_id
        demand(book.duplicates_since(place, name, conflict=True), f"{name} is in conflict, and that is not recorded")
        known = self._known(name)
        if known is not None and not book.since(place, name, NotificationRequested):
            own = tuple(each for each in command.__struct_fields__ if getattr(command, each) != getattr(known, each))
            demand(own == differs and own, f"{name} differs in {own}, and is said to in {differs}")

    def refused(self, command: SendNotification, error: Exception, channels: Any) -> None:
        """Check a refusal of which nothing is remembered."""
        name = command.notification_id
        if isinstance(error, UnknownChannel):
            demand(command.channel not in channels, f"{name}: {command.channel} is configured")
        elif isinstance(error, InvalidRecipient):
            is_refused = self._program.is_choosy and "bob" in command.recipient
            demand(is_refused, f"{name}: {command.recipient} is refused")
        else:
            assert isinstance(error, Overloaded)
            demand(self._program.scenario.max_pending is not None, f"{name} is refused, and there is no bound")
            demand(error.retry_after == RETRY_AFTER, f"{error!r}")

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────

    def cancelled(self, name: str, is_cancelled: Any, place: int) -> None:
        """Check the answer to an order to cancel."""
        book = self._book
        if is_cancelled is True:
            found = [each for each in book.since(place, name, NotificationSuppressed) if each.reason == "cancelled"]
            demand(found, f"{name} is cancelled, and that is not recorded")
            self._one_more(name, "cancelled", NotificationSuppressed)
        else:
            demand(is_cancelled is False, f"{name}: wanted True or False, got {is_cancelled!r}")
            is_there = name in book.open and not book.is_with_a_provider(name, self.asked_ns)
            demand(not is_there or len(book.events) > place, f"{name} waits, and could not be cancelled")

    def redriven(self, name: str, is_redriven: Any, place: int, by: str | None, why: str | None) -> None:
        """Check the answer to an order to redrive."""
        if is_redriven is True:
            found = [each for each in self._book.since(place, name, NotificationRedriven) if each.by == by]
            demand(found and found[-1].why == why, f"{name} is redriven, and that is not recorded so: {found}")
            self._one_more(name, "redriven", NotificationRedriven)
        else:
            demand(is_redriven is False, f"{name}: wanted True or False, got {is_redriven!r}")
            self._is_no_letter(name, place)

    def not_redriven(self, name: str, error: Exception, place: int, edit: Any, wrong: Any) -> None:
        """Check that an order to redrive was refused rightly."""
        is_letter = name in self._book.dead or len(self._book.events) > place
        demand(is_letter, f"{name} is no letter, and the answer is {error!r}")
        if isinstance(error, LetterServed):
            demand(error.args[0] == name, f"{error!r} of {name}")
        else:
            demand(edit in wrong, f"{name}: {edit} is refused: {error!r}")

    def discarded(self, name: str, is_discarded: Any, place: int, by: str | None, why: str) -> None:
        """Check the answer to an order to discard."""
        if is_discarded is True:
            found = self._book.since(place, name, DeadLetterDiscarded)
            demand(any((each.by, each.reason) == (by, why) for each in found), f"{name}: no such discard in {found}")
            self._one_more(name, "discarded", DeadLetterDiscarded)
        else:
            demand(is_discarded is False, f"{name}: wanted True or False, got {is_discarded!r}")
            self._is_no_letter(name, place)

    def _is_no_letter(self, name: str, place: int) -> None:
        is_letter = name in self._book.dead and len(self._book.events) == place
        is_taken = self.letter_of(name) is None  # by another order, which is being carried out
        demand(not is_letter or is_taken, f"{name} is a letter, and the answer is that it is none")

    def _one_more(self, name: str, what: str, kind: type) -> None:
        self.given[name, what] += 1
        recorded = self._book.counts[name, kind]
        demand(self.given[name, what] <= recorded, f"{name} is {what} {self.given[name, what]} times, not {recorded}")

    # ── questions ───────────────────────────────────────────────────────────────────────────────────────────────

    async def look(self, notifier: Notifier, letters: DeadLetters, watch: BreakerWatch, pick: int) -> None:
        """Ask a notifier for all that it says, between two of its messages, and compare."""
        pipeline, book = notifier.pipeline, self._book
        unsure = self.unsure(notifier)
        demand(notifier.in_flight == len(book.open), f"{notifier.in_flight} in flight, recorded: {sorted(book.open)}")
        demand(pipeline.is_busy or not book.open, "it is not busy, and something is in flight")
        sent = [each for each in book.events if type(each) is NotificationSent][-10_000:]
        own = notifier.sent_notifications
        demand(own == sent[len(sent) - len(own) :], f"sent: {own}, recorded: {sent}")
        self._look_at_letters(notifier, letters, unsure, pick)
        self._look_at_breakers(notifier, watch)
        self._look_for_room(notifier)
        names = sorted(book.states)
        for name in names[pick % 7 :: 1 + len(names) // 8]:
            await self.look_at(notifier, letters, name)
        await self.look_at(notifier, letters, "nobody-has-this-id")
        if not self._is_late:
            await self._look_at_audit(letters)

    def unsure(self, notifier: Notifier) -> set[str]:
        """Return of which notifications the store may know what is not recorded yet."""
        pipeline = notifier.pipeline
        discarding = {name for name in self._book.dead if self._is_late and not pipeline.store.is_dead_letter(name)}
        return {*pipeline.wiring.commits.under_way, *discarding}

    def _look_at_letters(self, notifier: Notifier, letters: DeadLetters, unsure: set[str], pick: int) -> None:
        book = self._book
        waits = notifier.pipeline.wiring.redrives.taken
        expected = [name for name in book.dead if name not in waits | unsure]
        queue = [each for each in notifier.dead_letter_queue if each.notification_id not in waits | unsure]
        got = [each.notification_id for each in queue]
        demand(got == expected, f"dead letters {got}, recorded: {expected}")
        everything = notifier.dead_letter_queue
        limit = 1 + pick % 4
        for newest_first in (False, True):
            paged = list(_pages(letters, Filter(), limit, newest_first))
            demand(paged == (everything[::-1] if newest_first else everything), f"pages of {limit}: {paged}")
        for letter in queue:
            moved = book.dead[letter.notification_id]
            failed = [each for each in book.histories[letter.notification_id] if type(each) is NotificationFailed]
            demand(letter.failure_reason == moved.reason, f"{letter} is not for the reason of {moved}")
            demand(letter.attempts == moved.attempts, f"{letter} has not the attempts of {moved}")
            demand(letter.moved_at == moved.at, f"{letter} has not moved with {moved}")
            demand(letter.requested_at == moved.requested_at, f"{letter} was not requested with {moved}")
            demand([*letter.history] == failed, f"{letter} has not failed as recorded: {failed}")
            demand(letters.letter(letter.notification_id) == letter, f"{letter} is another one by its id")
            if not self._is_late:
                served = book.is_served(letter.notification_id)
                demand(letter.served is served, f"{letter}: it is {'' if served else 'not '}served")
            accepted = self.commands.get(letter.notification_id)
            if accepted is not None:
                demand((letter.accepted or letter.command) == accepted, f"{letter} is not of {accepted}")
                demand(letter.command == book.edited(letter.notification_id, accepted), f"{letter} is not as edited")
        for by in ("reason", "channel", "recipient"):
            groups = letters.groups(by=by)
            demand(sum(each.count for each in groups) == len(everything), f"{groups} by {by}")
            counts = [each.count for each in groups]
            demand(counts == sorted(counts, reverse=True), f"{groups} by {by}")
        for channel in notifier.pipeline.channels:
            only = list(_pages(letters, Filter(channel=channel), limit, False))
            demand(only == [each for each in everything if each.channel == channel], f"letters on {channel}: {only}")
        dry = letters.dry_run(Filter(), "retry")
        served = sum(each.served for each in everything)
        demand((dry.count, dry.left_out) == (len(everything) - served, served), f"{dry}")

    def _look_at_breakers(self, notifier: Notifier, watch: BreakerWatch) -> None:
        pipeline, book = notifier.pipeline, self._book
        for now in watch.now(pipeline):
            begins = pipeline.channels[now.channel].by_provider()[now.provider].circuit_breaker.begins
            recorded = book.breakers.get((now.name, now.host), begins)
            demand(now.state == recorded, f"breaker {now.name} {now.host} is {now.state}, recorded: {recorded}")

    def _look_for_room(self, notifier: Notifier) -> None:
        most, pipeline = self._program.scenario.max_pending, notifier.pipeline
        pending = len(self._book.open) + pipeline.wiring.commits.opening_count + notifier.bus.under_way
        for priority, share in ((Priority.CRITICAL, 0), (Priority.NORMAL, 0.05), (Priority.BULK, 0.2)):
            if most is None:
                demand(pipeline.has_room(priority), f"no room for {priority}, and there is no bound")
            elif not pipeline.has_room(priority):
                demand(pending >= most - int(share * most), f"no room for {priority}: {pending} of {most} are pending")

    async def look_at(self, notifier: Notifier, letters: DeadLetters, name: str) -> None:
        """Compare what is said of one notification with what is recorded of it."""
        book = self._book
        place, is_unsure = len(book.events), name in self.unsure(notifier)
        state = await notifier.state(name)
        shown = await letters.show(name)
        if len(book.events) > place or is_unsure or name in self.unsure(notifier):
            return
        recorded = book.states.get(name)
        now_ns = since_1970_ns(notifier.system.present) - notifier.system.epoch_ns
        if state is None or shown is None:
            demand(state is None and shown is None, f"{name}: its state is {state}, and shown is {shown}")
            ended_ns = book.ended_ns.get(name)
            is_forgotten = ended_ns is not None and now_ns - ended_ns >= self._remember_ns
            demand(recorded is None or is_forgotten, f"{name} is unknown; it is {recorded} by the recording")
            return
        demand(recorded is not None, f"{name}: {state}, and nothing is recorded of it")
        history = [each for each in book.histories[name] if not _is_of_a_line(each)]
        demand(state.state == shown.state == recorded, f"{name} is {state.state}, {shown.state}; recorded: {recorded}")
        accepted = self.commands.get(name)
        demand(accepted is None or shown.accepted == accepted, f"{name}: {shown.accepted}, accepted was {accepted}")
        demand(state.channel == shown.command.channel == history[0].channel, f"{name} is on {state.channel}: {history}")
        demand(state.priority == shown.command.priority, f"{name}: {state.priority}, {shown.command.priority}")
        demand((shown.letter is not None) == (recorded == "dead letter"), f"{name}: {shown.letter} is {recorded}")
        if not shown.events:
            demand(state.attempts is None and recorded not in ("in flight", "dead letter"), f"{name}: {state}")
            return
        edited = book.edited(name, shown.accepted)
        demand(shown.command == edited, f"{name}: {shown.command}, with its edits it is {edited}")
        demand([*shown.events] == history, f"{name}: {shown.events}\nrecorded: {history}")
        demand(state.requested_at == history[0].at, f"{name}: {state}, {history[0]}")
        demand(state.attempts == _attempts(history), f"{name}: {state}, recorded: {history}")
        latest = history[-1]
        demand(state.reason == getattr(latest, "reason", None), f"{name}: {state} after {latest}")
        if type(latest) is NotificationFailed and latest.next_retry_at is not None:
            demand(state.resumes_at == latest.next_retry_at, f"{name}: {state} after {latest}")
        elif type(latest) is NotificationDeferred and latest.cause == "quiet_hours":
            demand(state.resumes_at == latest.resumes_at, f"{name}: {state} after {latest}")
        elif recorded != "in flight":
            demand(state.resumes_at is None, f"{name}: {state} after {latest}")

    async def _look_at_audit(self, letters: DeadLetters) -> None:
        """Compare the audit trail with the recording."""
        trail = await letters.audit()
        redriven = [each for each in self._book.events if type(each) is NotificationRedriven]
        kept = [each for each in reversed(trail) if each.action == RETRY]
        want = [(each.notification_id, each.by, each.why, dict(each.edit)) for each in redriven]
        got = [(each.notification_id, each.by, each.why, dict(each.edit)) for each in kept]
        demand(got == want, f"in the audit trail: {got}, recorded: {want}")

    def at_end(self) -> None:
        """Check that no answer is missing: for each that was accepted by a send, a caller was told so."""
        for name, what in self.given:
            if what == "accepted":
                told = self.given[name, what] + self.unheard[name, what]
                count = self._book.counts[name, NotificationRequested]
                demand(told >= count, f"{name} was accepted {count} times, and {told} callers may know")


def _pages(letters: DeadLetters, filter: Filter, limit: int, newest_first: bool) -> Iterator[Any]:
    after = None
    for _ in range(10_000):
        page = letters.list(filter, limit=limit, after=after, newest_first=newest_first)
        demand(len(page.letters) <= limit, f"{len(page.letters)} letters on a page of {limit}")
        yield from page.letters
        after = page.next
        if after is None:
            return
    raise Disagreement("there is always one page more")


def _is_of_a_line(event: Any) -> bool:
    """Tell whether a notification waits in a line of its channel, which no store keeps."""
    return type(event) is NotificationDeferred and event.cause != "quiet_hours"


def _attempts(history: list[Any]) -> int:
    """Return how many attempts are used up by a history, since the latest redrive."""
    used = 0
    for event in history:
        if type(event) is NotificationRedriven:
            used = 0
        elif type(event) is NotificationFailed or type(event) is NotificationSent:
            used = event.attempt
    return used
