"""The dead letter queue: keeps notifications that could not be sent until an operator has looked at them."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from actors.domain.store import LettersChanged, Store
from actors.errors import EditRefused, LetterServed, Overtaken, StoreError
from actors.instants import ns
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Cancellable, Performed
from actors.kernel.futures import Future
from actors.kernel.turns import takes_turn
from actors.messages import DeadLetterDiscarded, DeadLetterMessage, Message, NotificationChannel
from actors.pipeline.alert import Alert
from actors.pipeline.editing import checked_edit
from actors.pipeline.orders import Redrive, Served
from actors.pipeline.redriver import BREAKER_CLOSED, BreakerClosed, ChannelRedriver, NodeGone, redrivers_of
from actors.pipeline.wiring import Wiring
from actors.settings.channel import KEEP_ALL_LETTERS, DeadLettersConfig

logger = logging.getLogger(__name__)

RETENTION = "retention"
FULL = "full"
"""Why a letter is discarded by the queue itself: its retention has ended, or another one needs its room."""

LOOKED_AT_MAX = 25
"""How many letters are looked at in one message in search of one to redrive or to discard: the system handles 256
messages in one piece of work."""


class Peek(Message, frozen=True, kw_only=True, gc=False):
    """Answer with the oldest dead letter, or None; it stays."""


class Dequeue(Message, frozen=True, kw_only=True, gc=False):
    """Answer with the oldest dead letter, or None, and remove it for good."""


class Get(Message, frozen=True, kw_only=True, gc=False):
    """Answer with the dead letter of this notification, or None; it stays."""

    notification_id: str


class ListDeadLetters(Message, frozen=True, kw_only=True, gc=False):
    """Answer with the dead letters that fit, oldest first; all fit a filter that is None."""

    reason: str | None = None
    """Part of the failure reason."""

    channel: NotificationChannel | None = None


class RedriveDeadLetter(Message, frozen=True, kw_only=True, gc=False):
    """Try a notification again with a fresh set of attempts; answer whether there was such a dead letter to take.

    If two requests ask for the same letter, the first takes it out of the queue, so it is redriven once. A served
    letter is not taken.
    """

    notification_id: str
    by: str | None = None
    """The operator who asked for it, for the record."""

    why: str | None = None
    """Why, for the record."""

    served: Served = "exclude"
    """Whether it is taken though its recipient has been reached otherwise, or is about to be."""


class DiscardDeadLetter(Message, frozen=True, kw_only=True, gc=False):
    """Remove a dead letter for good; answer whether there was one."""

    notification_id: str
    reason: str
    """Why, for the record."""

    by: str | None = None
    """Who asked for it, for the record."""


class SubmitRedrive(msgspec.Struct, frozen=True):
    """A RedriveDeadLetter whose caller waits until the redrive is durable, and may want the notification edited."""

    order: RedriveDeadLetter
    edit: Mapping[str, Any]
    """Fields of the command, with their new values; see :func:`actors.pipeline.editing.checked_edit`."""

    answer: Future[bool]
    """Gets whether there was such a dead letter, or LetterServed, EditRefused or StoreFailed."""


class SubmitDiscard(msgspec.Struct, frozen=True):
    """A DiscardDeadLetter whose caller waits until the discard is durable."""

    order: DiscardDeadLetter
    answer: Future[bool]
    """Gets whether there was such a dead letter, or StoreFailed."""

    though_taken: bool = False
    """Whether a letter is discarded too that a redrive has taken and the handler has not come to: then the redrive is
    refused."""


class _LookAtBounds(Message, frozen=True, gc=False):
    """The retention of the oldest letter may have ended, or there are more that are too many."""


class _RedriveNext(Message, frozen=True, gc=False):
    """It may be the turn of a letter that is redriven without an operator."""

    channel: NotificationChannel


class _Discarding(NamedTuple):
    event: DeadLetterDiscarded
    answer: Future[bool] | None


class DeadLetterQueue(Actor):
    """Redrives and discards dead letters for operators; by itself it discards letters beyond its retention or room.

    The store keeps the letters. A letter is in the queue if its death is durable and no redrive has taken it, whether
    this actor has handled its message or not. So the queue misses no letter that still lies in the mailbox, and shows
    none that has been redriven or discarded since. `log` tells whether each letter is worth an error in the log.
    """

    supervision = Supervision(then="escalate")
    _stands_at = "dlq"

    def __init__(
        self, store: Store, wiring: Wiring, log: bool = True, bounds: DeadLettersConfig = KEEP_ALL_LETTERS
    ) -> None:
        super().__init__()
        self._store = store
        self._wiring = wiring
        self._commits, self._redrives = wiring.commits, wiring.redrives
        self._log = log
        self._keep_ns = None if bounds.keep is None else ns(bounds.keep)
        self._at_most = math.inf if bounds.at_most is None else bounds.at_most
        self._timer: Cancellable | None = None
        """Fires when the retention of the oldest letter ends."""
        self._redrive_timers: dict[NotificationChannel, Cancellable] = {}

    @property
    def letters(self) -> Iterator[DeadLetterMessage]:
        """The dead letters in the queue, oldest first."""
        letters = self._store.dead_letters(self._is_on_its_way)
        return (letter for letter in letters if not self._is_on_its_way(letter.notification_id))

    @property
    def ids(self) -> list[str]:
        """The ids of the dead letters, oldest first; `letter` says which of them are in the queue."""
        return self._store.dead_letter_ids()

    def letter(self, notification_id: str) -> DeadLetterMessage | None:
        is_in_queue = not self._is_on_its_way(notification_id)
        return self._store.dead_letter(notification_id, self._is_on_its_way) if is_in_queue else None

    def ids_of(self, user: str) -> list[str]:
        """Return the ids of a user's dead letters; a letter that a redrive has taken is a dead letter still."""
        ids = (notification_id for notification_id, command in self._store.dead_commands() if command.user == user)
        under_way, is_one = self._commits.under_way, self._store.is_dead_letter
        return [
            notification_id for notification_id in ids if notification_id not in under_way and is_one(notification_id)
        ]

    def count_by_channel(self) -> Counter[NotificationChannel]:
        commands = self._store.dead_commands()
        return Counter(
            command.channel for notification_id, command in commands if not self._is_on_its_way(notification_id)
        )

    def _is_on_its_way(self, notification_id: str) -> bool:
        # Into the queue, as its death is not durable yet, or out of it.
        return notification_id in self._commits.under_way or notification_id in self._redrives.taken

    def on_start(self) -> None:
        assert self._wiring.handler is not None
        assert self._wiring.alert is not None
        self._to_alert = self.route(self._wiring.alert)
        self._to_handler = self.route(self._wiring.handler)
        self._redrivers = redrivers_of(self._wiring, self.letters)
        self._look_at_bounds()
        self._redrive_all()

    def _take_in(self, letter: DeadLetterMessage) -> None:
        redriver, notification_id = self._redrivers.get(letter.channel), letter.notification_id
        if redriver is None or self._is_on_its_way(notification_id):
            return
        if self._store.is_dead_letter(notification_id, letter.epoch_ns + letter.moved_at_ns):
            redriver.keep(letter)

    def _take_out(self, letter: DeadLetterMessage) -> None:
        if (redriver := self._redrivers.get(letter.channel)) is not None:
            redriver.drop(letter)

    def _redrive(self, redrive: Redrive) -> None:
        self._take_out(redrive.letter)
        self._redrives.taken.add(redrive.letter.notification_id)
        self._to_handler(redrive)

    @handles(DeadLetterMessage)
    @takes_turn("letter")
    def on_dead_letter(self, letter: DeadLetterMessage) -> None:
        self._store.keep_letter(letter)
        self._take_in(letter)
        self._look_at_bounds()
        if self._log:
            text = "DLQ: %s failed after %d attempts: %s"
            logger.error(text, letter.notification_id, letter.attempts, letter.failure_reason)
        self._to_alert(
            Alert(notification_id=letter.notification_id, channel=letter.channel, reason=letter.failure_reason)
        )

    @handles(LettersChanged)
    def on_letters_changed(self, changed: LettersChanged) -> None:
        """Take in the changes of other nodes, or a redrive that was refused. No one gets an alert of these letters."""
        for redriver in self._redrivers.values():
            for notification_id in changed.gone:
                if not self._store.is_dead_letter(notification_id):
                    redriver.policy.drop(notification_id)
        for letter in changed.found:
            self._take_in(letter)
        self._look_at_bounds()

    @handles(Peek)
    def on_peek(self, _: Peek) -> DeadLetterMessage | None:
        return next(self.letters, None)

    @handles(Dequeue)
    def on_dequeue(self, _: Dequeue) -> DeadLetterMessage | None:
        letter = next(self.letters, None)
        if letter is not None:
            self._discard(letter, "dequeued")
        return letter

    @handles(Get)
    def on_get(self, message: Get) -> DeadLetterMessage | None:
        return self.letter(message.notification_id)

    @handles(ListDeadLetters)
    def on_list(self, query: ListDeadLetters) -> list[DeadLetterMessage]:
        return [
            letter
            for letter in self.letters
            if (query.reason is None or query.reason in letter.failure_reason)
            and (query.channel is None or query.channel == letter.channel)
        ]

    @handles(RedriveDeadLetter)
    def on_redrive(self, message: RedriveDeadLetter) -> bool:
        letter = self.letter(message.notification_id)
        if letter is None or (letter.served and message.served == "exclude"):
            return False
        self._redrive(Redrive(letter=letter, by=message.by, why=message.why, served=message.served))
        return True

    @handles(SubmitRedrive)
    @takes_turn("redrive-order", when_told=True)
    def on_submit_redrive(self, submit: SubmitRedrive) -> None:
        order = submit.order
        letter = self.letter(order.notification_id)
        if letter is None:
            submit.answer.set(False)
            return
        try:
            if letter.served and order.served == "exclude":
                raise LetterServed(letter.notification_id)
            stages = self._wiring.stages.get(letter.channel)
            problem_of = None if stages is None else stages.recipient_problem
            edit = checked_edit(letter.command, submit.edit, problem_of)
        except (EditRefused, LetterServed):
            submit.answer.set_exception()
            return
        self._redrive(
            Redrive(letter=letter, by=order.by, why=order.why, served=order.served, edit=edit, answer=submit.answer)
        )

    @handles(DiscardDeadLetter)
    def on_discard(self, message: DiscardDeadLetter) -> bool:
        letter = self.letter(message.notification_id)
        if letter is None:
            return False
        self._discard(letter, message.reason, message.by)
        return True

    @handles(SubmitDiscard)
    @takes_turn("discard-order", when_told=True)
    def on_submit_discard(self, submit: SubmitDiscard) -> None:
        order = submit.order
        letter = self.letter(order.notification_id)
        if letter is None and submit.though_taken and order.notification_id in self._redrives.taken:
            letter = self._store.dead_letter(order.notification_id)
        if letter is None:
            submit.answer.set(False)
        else:
            self._discard(letter, order.reason, order.by, submit.answer)

    @handles(NodeGone)
    def on_node_gone(self, _: NodeGone) -> None:
        """Redrive the letters that waited for their turn at that node: they are dead letters, and at no node."""
        self._redrive_all()

    def _redrive_all(self) -> None:
        for redriver in self._redrivers.values():
            redriver.policy.begin()
            self._redrive_next(redriver)

    @handles(BreakerClosed)
    def on_breaker_closed(self, closed: BreakerClosed) -> None:
        redriver = self._redrivers[closed.channel]
        redriver.policy.begin(closed.host)
        self._redrive_next(redriver)

    @handles(_RedriveNext)
    @takes_turn("redrive")
    def on_redrive_next(self, message: _RedriveNext) -> None:
        self._redrive_next(self._redrivers[message.channel])

    def _redrive_next(self, redriver: ChannelRedriver) -> None:
        now_ns, policy = self.now_ns, redriver.policy
        for _ in range(LOOKED_AT_MAX):
            notification_id = policy.take(now_ns)
            if notification_id is None:
                break
            letter = self.letter(notification_id)
            if (
                letter is None
                or letter.served
                or redriver.is_left_to_people(letter, self._store, self.epoch_ns + now_ns)
            ):
                continue
            host = redriver.host_of(letter)
            if redriver.is_shut(host, now_ns):
                policy.end(host)  # until its breaker closes
                continue
            policy.charge(now_ns)
            self._redrive(Redrive(letter=letter, why=BREAKER_CLOSED, without_operator=True))
        timer = self._redrive_timers.pop(redriver.channel, None)
        if timer is not None:
            timer.cancel()
        if policy.wake_ns is not None:
            self._redrive_timers[redriver.channel] = self.at(policy.wake_ns, _RedriveNext(redriver.channel))

    def _is_too_full(self) -> bool:
        count = self._store.count_dead_letters() - self._commits.dying_count
        if count <= self._at_most:
            return False
        return count - sum(map(self._store.is_dead_letter, self._redrives.taken)) > self._at_most

    @handles(_LookAtBounds)
    @takes_turn("ages")
    def on_look_at_bounds(self, _: _LookAtBounds) -> None:
        if self._timer is not None:
            self._timer.cancel()  # a timer that an earlier incarnation set has fired
            self._timer = None
        self._look_at_bounds()

    def _look_at_bounds(self) -> None:
        """Discard letters that are too many or too old, and set the timer for the next, or at once if more are left."""
        for _ in range(LOOKED_AT_MAX):
            is_too_full = self._is_too_full()
            if not is_too_full and (self._keep_ns is None or self._timer is not None):
                return
            oldest = next(self.letters, None)
            if oldest is None:
                return
            if not is_too_full:
                assert self._keep_ns is not None
                up_ns = oldest.epoch_ns + oldest.moved_at_ns + self._keep_ns - self.epoch_ns
                if up_ns > self.now_ns:
                    self._timer = self.at(up_ns, _LookAtBounds())
                    return
            self._discard(oldest, FULL if is_too_full else RETENTION)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.at(self.now_ns, _LookAtBounds())

    def _discard(
        self, letter: DeadLetterMessage, reason: str, by: str | None = None, answer: Future[bool] | None = None
    ) -> None:
        self._take_out(letter)
        of: Any = {"notification_id": letter.notification_id, "channel": letter.channel}
        event = DeadLetterDiscarded(at_ns=self.now_ns, epoch_ns=self.epoch_ns, reason=reason, by=by, **of)
        try:
            effect = self._store.commit(event, letter.command)
        except StoreError:
            if answer is not None:
                answer.set_exception()
            raise
        if effect is None:
            self._committed(_Discarding(event, answer))
        else:
            self._wiring.discards[event.notification_id] = event
            self.perform(effect, _Discarding(event, answer))

    @handles(Performed)
    @takes_turn("discarded")
    def on_performed(self, performed: Performed) -> None:
        discarding: _Discarding = performed.request
        self._wiring.discards.pop(discarding.event.notification_id, None)
        if isinstance(performed.result, Overtaken):
            if discarding.answer is not None:
                discarding.answer.set(False)
            return
        if (error := performed.result) is not None:  # the store has failed
            if discarding.answer is not None:
                discarding.answer.set_exception((type(error), error, error.__traceback__))
            raise error
        self._committed(discarding)

    def _committed(self, discarding: _Discarding) -> None:
        self.record(discarding.event)
        self._wiring.announce(discarding.event)
        if discarding.answer is not None:
            discarding.answer.set(True)
