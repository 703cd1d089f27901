"""The intake: how a notification comes to the handler, once: by its command, as a fallback, by a redrive, or from
another node."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from actors.channel_names import in_order
from actors.domain.delivery import Delivery, redriven, requested, state_after
from actors.domain.ids import check_id
from actors.domain.store import LettersChanged, Store, Takeover
from actors.errors import (
    NOT_ACCEPTED,
    IdempotencyConflict,
    InvalidRecipient,
    Overloaded,
    Overtaken,
    StoreBusy,
    UnknownChannel,
    Unstorable,
)
from actors.kernel.runtime import Runtime
from actors.messages import NotificationChannel, NotificationRedriven, NotificationRequested, Priority, SendNotification
from actors.pipeline.commits import Commit
from actors.pipeline.deliveries import Deliveries
from actors.pipeline.fallback import Fallbacks
from actors.pipeline.journal import Journal
from actors.pipeline.orders import Acceptance, Redrive, ReplyTo, Submit
from actors.pipeline.wiring import Wiring
from actors.policies.admission import RETRY_AFTER
from actors.policies.breaker.per_host import recipient_host

logger = logging.getLogger(__name__)

_ACCEPTED = Acceptance.ACCEPTED
"""Read once: an enumeration looks its members up in a slow way, and each command asks for this one."""


class Intake:
    """Accepts commands, fallbacks, redrives and the notifications of other nodes, and puts them into `deliveries`.

    Args:
        fallbacks: of the channels; None where none has any.
        prepare: called with the delivery of a command when its acceptance is durable.
        take_up: called with the delivery of a dead letter when its redrive is durable.
    """

    def __init__(
        self,
        system: Runtime,
        store: Store,
        wiring: Wiring,
        journal: Journal,
        deliveries: Deliveries,
        fallbacks: Fallbacks | None,
        prepare: Callable[[Delivery], None],
        take_up: Callable[[Delivery], None],
    ) -> None:
        self._system = system
        self._store = store
        self._fallbacks = fallbacks
        self._prepare = prepare
        self._take_up = take_up
        self._remembered = store.remembered.commands
        self._commits = wiring.commits
        self._redrives = wiring.redrives
        self._stages = wiring.stages
        self._admission = wiring.admission
        self._scarce_from = wiring.admission.scarce_from
        self._journal = journal
        self._deliveries = deliveries.by_id

    def has_room(self, priority: Priority, besides: int = 0) -> bool:
        """Tell whether one more notification of this class may be accepted, with `besides` on their way already."""
        return self._admission.has_room(len(self._deliveries) + besides, priority)

    def accept(
        self,
        command: SendNotification,
        answer: ReplyTo | None = None,
        asks_for_room: bool = True,
        instead_of: Delivery | None = None,
        traceparent: str | None = None,
    ) -> Acceptance:
        """Accept a command, or recognise one that is known.

        Args:
            command: the command.
            answer: gets ACCEPTED when the acceptance is durable; None: no caller waits.
            asks_for_room: whether the command is refused where there is no room.
            instead_of: the delivery that a fallback replaces.
            traceparent: the trace that the command belongs to; a fallback belongs to the trace of that delivery.

        Raises:
            IdempotencyConflict: its id is known, with another payload.
            UnknownChannel: its channel is not configured.
            InvalidRecipient: no provider of its channel could send to its recipient. A fallback is not checked: its
                sender has had an answer, and it becomes a dead letter.
            Overloaded: there is no room.
            StoreBusy: nothing can be made durable for now; raised only with `asks_for_room`.
            Unstorable: the store could not give the command back as it is, or its id is not allowed.
            StoreFailed: the acceptance cannot be made durable.
        """
        notification_id = command.notification_id
        if instead_of is None:
            check_id(notification_id)
        may_be_known = notification_id in self._deliveries or notification_id in self._remembered
        if may_be_known and (known := self.known(notification_id)) is not None:
            return self.repeated(command, known)
        stages = self._stages.get(command.channel)
        if stages is None:
            known_channels = ", ".join(self._stages)
            raise UnknownChannel(f"wanted a channel that is configured ({known_channels}), got {command.channel}")
        for channel in command.addresses:
            if channel not in self._stages and NotificationChannel(channel).is_own:
                known_channels = ", ".join(in_order([*NotificationChannel, *self._stages]))
                raise UnknownChannel(f"addresses: wanted channels that there are ({known_channels}), got {channel}")
        if stages.recipient_problem is not None and instead_of is None:
            problem = stages.recipient_problem(command)
            if problem is not None:
                raise InvalidRecipient(problem)
        if asks_for_room:
            if len(self._deliveries) >= self._scarce_from and not self.has_room(command.priority):
                raise Overloaded(RETRY_AFTER)
            if self._store.is_busy:
                raise StoreBusy
        system = self._system
        now_ns, epoch_ns = system.now_ns, system.epoch_ns
        stages.arrivals.note(now_ns)
        if stages.lanes[0].breaker is None:  # each host has a breaker
            stages.arrivals.note_host(recipient_host(command.recipient), now_ns)
        event = requested(command, now_ns, epoch_ns)
        delivery = self._deliveries[notification_id] = Delivery(command, now_ns, now_ns)
        if instead_of is not None or traceparent is not None or command.not_before is not None:
            more = delivery.note_origin(instead_of, traceparent, epoch_ns)
            event = msgspec.structs.replace(event, **more)
        try:
            self._journal.commit(event, delivery, self._prepare, answer)
        except Unstorable:
            del self._deliveries[notification_id]
            raise
        return _ACCEPTED

    def submit(self, submit: Submit) -> None:
        """Accept a command, and answer when that is durable, or why it is not accepted."""
        asks_for_room = not submit.follows_event
        try:
            acceptance = self.accept(submit.command, submit.answer, asks_for_room, traceparent=submit.traceparent)
            if acceptance is Acceptance.ACCEPTED:
                return
            commit = self._commits.opening(submit.command.notification_id)
            if commit is None:  # the first one is durable already
                submit.answer.set(Acceptance.DUPLICATE)
            elif self._store.is_busy and asks_for_room:
                raise StoreBusy
            else:
                commit.duplicates.append(submit.answer)
        except NOT_ACCEPTED:
            submit.answer.set_exception()

    def fall_back(self, delivery: Delivery) -> None:
        """Send a dead-lettered notification on the channel that its own falls back to, once, unless it has arrived."""
        if self._fallbacks is None or self._store.is_delivered(delivery.command.notification_id):
            return
        command = self._fallbacks.instead_of(delivery.command, self._system.now_ns, delivery.expires_at_ns)
        if command is None or self.known(command.notification_id) is not None:
            return  # there is none, or it fell back before it was redriven
        try:
            self.accept(command, asks_for_room=False, instead_of=delivery)
        except (UnknownChannel, Unstorable) as error:
            logger.error("no fallback: %s", error)

    def redrive(self, redrive: Redrive, to_dead_letter_queue: Callable[[Any], None]) -> None:
        """Take a dead letter up again if it still is one and is not served; without room, the redrive waits."""
        letter, system = redrive.letter, self._system
        self._redrives.taken.discard(letter.notification_id)
        if not self.has_room(redrive.priority):
            self._redrives.wait(redrive)
            return
        # Else it is redriven already, and perhaps dead-lettered again, by another node while this one was down.
        is_dead = self._store.is_dead_letter(letter.notification_id, letter.epoch_ns + letter.moved_at_ns)
        is_served = is_dead and self._store.is_served(letter.notification_id, self._deliveries.__contains__)
        if not is_dead or (is_served and redrive.served == "exclude"):
            if is_dead:
                to_dead_letter_queue(LettersChanged((letter,), ()))
            redrive.refuse(is_served)
            self._journal.take_up_next_redrive()
            return
        delivery = redriven(letter, redrive.changes, system.now_ns, system.epoch_ns, redrive.without_operator)
        self._deliveries[letter.notification_id] = delivery
        event = self._journal.event(NotificationRedriven, letter.command, **redrive.record)
        self._journal.commit(event, delivery, self._take_up, redrive.answer)

    def take_over(self, taken: Takeover) -> list[Delivery]:
        """Take in the notifications of another node; return those to resume."""
        deliveries = []
        for history in taken.histories:
            notification_id = history.command.notification_id
            delivery = state_after(history.command, history.events, self._system.epoch_ns, self._system.now_ns)
            delivery.take_care(self._store.cautions.pop(notification_id, None), self._system.now_ns)
            if (commit := self._commits.opening(notification_id)) is not None:
                commit.meets(delivery)
            elif notification_id not in self._deliveries and notification_id in self._store.open_ids():
                # Else it has been loaded meanwhile, and perhaps has ended.
                self._deliveries[notification_id] = delivery
                deliveries.append(delivery)
        return deliveries

    def overtaken(self, commit: Commit, overtaken: Overtaken, resume: Callable[[list[Delivery]], None]) -> None:
        """Give way to an earlier notification with the same id; if this node has taken it over since, resume it."""
        notification_id, command = commit.event.notification_id, commit.delivery.known_as
        self._commits.end(commit)
        commit.cannot_be_cancelled()
        del self._deliveries[notification_id]
        if commit.taken_over is not None:
            self._deliveries[notification_id] = commit.taken_over
            resume([commit.taken_over])
        else:
            self._journal.take_up_next_redrive()
        if isinstance(commit.event, NotificationRequested) and commit.event.instead_of is not None:
            self._journal.ignore_duplicate(command, conflict=False)  # it fell back before it was redriven
            return
        try:
            acceptance = self.repeated(command, command if overtaken.known is None else overtaken.known)
        except IdempotencyConflict as error:
            if not commit.waiting:
                logger.error("not accepted: %s", error)
            commit.fail(error)
        else:
            for answer in commit.waiting:
                redrives = answer is commit.sender and type(commit.event) is NotificationRedriven
                answer.set(False if redrives else acceptance)

    def ids_of(self, user: str) -> list[str]:
        return [notification_id for notification_id, each in self._deliveries.items() if each.command.user == user]

    def known(self, notification_id: str) -> SendNotification | None:
        """Return the command that this id came with, if it is in flight or has ended lately."""
        delivery, system = self._deliveries.get(notification_id), self._system
        if delivery is None:
            return self._store.remembered.get(notification_id, system.epoch_ns + system.now_ns)
        return delivery.known_as

    def repeated(self, command: SendNotification, known: SendNotification) -> Acceptance:
        """Record that the id of a command came before, with the command that is known.

        Raises:
            IdempotencyConflict: that is another one.
        """
        conflict = command != known
        self._journal.ignore_duplicate(command, conflict)
        if conflict:
            differs = tuple(
                name for name in command.__struct_fields__ if getattr(command, name) != getattr(known, name)
            )
            raise IdempotencyConflict(
                f"notification id {command.notification_id!r} is known already, with a different payload: another "
                f"{', '.join(differs)}",
                differs,
            )
        return Acceptance.DUPLICATE
