"""The dead letter queue: keeps notifications that could not be sent until an operator has looked at them."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from actors.domain.delivery import noted
from actors.domain.store import LettersChanged, Store
from actors.errors import EditRefused, LetterServed, Overtaken, StoreError
from actors.instants import ns
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Cancellable, Performed
from actors.kernel.futures import Future
from actors.messages import (
    DeadLetterDiscarded,
    DeadLetterMessage,
    Message,
    NotificationChannel,
)
from actors.pipeline.alert import Alert
from actors.pipeline.editing import checked_edit
from actors.pipeline.orders import Redrive, Served
from actors.pipeline.redriver import BREAKER_CLOSED, BreakerClosed, ChannelRedriver, NodeGone, redrivers_of
from actors.pipeline.wiring import Wiring
from actors.policies.redriving import Redriving
from actors.settings.channel import KEEP_ALL_LETTERS, DeadLettersConfig

logger = logging.getLogger(__name__)

RETENTION = "retention"
FULL = "full"
"""Why a letter is discarded by the queue itself: its retention has ended, or another one needs its room."""

LOOKED_AT_MAX = 100
"""How many letters are looked at in one piece, for one that can be redriven."""


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

    Asked for twice, it is redriven once: the first takes it out of the queue. One that is served is not taken.
    """

    notification_id: str
    by: str | None = None
    """Who asked for it, for the record."""

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
    """A RedriveDeadLetter whose caller waits until it is durable, and may want the notification edited."""

    order: RedriveDeadLetter
    edit: Mapping[str, Any]
    """Fields of its command, with what they are to be; see :func:`actors.pipeline.editing.checked_edit`."""

    answer: Future[bool]
    """Gets whether there was such a dead letter, or LetterServed, EditRefused or StoreFailed."""


class SubmitDiscard(msgspec.Struct, frozen=True):
    """A DiscardDeadLetter whose caller waits until it is durable."""

    order: DiscardDeadLetter
    answer: Future[bool]
    """Gets whether there was such a dead letter, or StoreFailed."""


class _LookAtAges(Message, frozen=True, gc=False):
    """The retention of the oldest letter may have ended."""


class _RedriveNext(Message, frozen=True, gc=False):
    """It may be the turn of a letter that is redriven without an operator."""

    channel: NotificationChannel


class _Discarding(NamedTuple):
    """A discard that the store has not finished."""

    event: DeadLetterDiscarded
    answer: Future[bool] | None


Query: TypeAlias = Peek | Dequeue | Get | ListDeadLetters | RedriveDeadLetter | DiscardDeadLetter


class DeadLetterQueue(Actor):
    """Dead letters by notification id, oldest first. It discards by itself what exceeds its retention or its room.

    Args:
        store: keeps them.
        wiring: of the pipeline.
        log: whether each one is worth an error in the log.
        bounds: how long they are kept, and how many.
    """

    supervision = Supervision(then="escalate")

    def __init__(
        self, store: Store, wiring: Wiring, log: bool = True, bounds: DeadLettersConfig = KEEP_ALL_LETTERS
    ) -> None:
        super().__init__()
        self._store = store
        self._wiring = wiring
        self._log = log
        self._keep_ns = None if bounds.keep is None else ns(bounds.keep)
        self._at_most = math.inf if bounds.at_most is None else bounds.at_most
        self._timer: Cancellable | None = None
        """Fires when the retention of the oldest ends, where there is one."""
        self._redrive_timers: dict[NotificationChannel, Cancellable] = {}
        # Loaded here and not in on_start, so that the queue does not look empty until this actor has started.
        self._letters = OrderedDict(  # a dict from whose front much is taken is slow to give its first
            (letter.notification_id, letter)
            for letter in store.dead_letters()
            if letter.notification_id not in wiring.commits.under_way  # comes when it is durable
        )
        """Has what the store has; after a restart of this actor perhaps also one that was redriven or discarded while
        it lay in the mailbox, so none is taken for a dead letter before the store has been asked."""

    @property
    def letters(self) -> Iterator[DeadLetterMessage]:
        """What is in the queue, oldest first."""
        return self._noted(self._letters.values())

    @property
    def newest_first(self) -> Iterator[DeadLetterMessage]:
        """What is in the queue, newest first."""
        return self._noted(reversed(self._letters.values()))

    def _noted(self, letters: Iterable[DeadLetterMessage]) -> Iterator[DeadLetterMessage]:
        """Yield those that are dead letters, with what is known now of whether they are served."""
        for letter in letters:
            if self._store.is_dead_letter(letter.notification_id):
                yield noted(letter, self._is_served(letter))

    def _is_served(self, letter: DeadLetterMessage) -> bool:
        return self._store.is_served(letter.notification_id, self._is_on_its_way)

    def _is_on_its_way(self, notification_id: str) -> bool:
        """Tell whether a notification is on its way from the handler, which may yet fall back from it, or to it."""
        return notification_id in self._wiring.commits.under_way or (
            self._store.is_dead_letter(notification_id) and notification_id not in self._letters
        )

    def on_start(self) -> None:
        assert self._wiring.handler is not None
        assert self._wiring.alert is not None
        self._to_alert = self.route(self._wiring.alert)
        self._to_handler = self.route(self._wiring.handler)
        self._redrivers = redrivers_of(self._wiring, self._letters.values())
        self._discard_the_oldest()
        self._look_at_ages()
        self._redrive_all()

    def _take_in(self, letter: DeadLetterMessage) -> None:
        known = self._letters.get(letter.notification_id)
        if known is not None and known.epoch_ns + known.moved_at_ns != letter.epoch_ns + letter.moved_at_ns:
            self._take_out(known)  # it has been redriven, and has died again
        self._letters[letter.notification_id] = letter
        if (redriver := self._redrivers.get(letter.channel)) is not None:
            redriver.keep(letter)

    def _take_out(self, letter: DeadLetterMessage) -> None:
        del self._letters[letter.notification_id]
        if (redriver := self._redrivers.get(letter.channel)) is not None:
            redriver.drop(letter)

    @handles(DeadLetterMessage)
    def on_dead_letter(self, letter: DeadLetterMessage) -> None:
        self._take_in(letter)
        self._discard_the_oldest()
        if self._timer is None:
            self._look_at_ages()
        if self._log:
            text = "DLQ: %s failed after %d attempts: %s"
            logger.error(text, letter.notification_id, letter.attempts, letter.failure_reason)
        self._to_alert(
            Alert(notification_id=letter.notification_id, channel=letter.channel, reason=letter.failure_reason)
        )

    @handles(LettersChanged)
    def on_letters_changed(self, changed: LettersChanged) -> None:
        """Take in what other nodes have done. They have reported new letters to people themselves."""
        for notification_id in changed.gone:
            letter = self._letters.get(notification_id)
            if letter is not None and not self._store.is_dead_letter(notification_id):
                self._take_out(letter)
        for letter in changed.found:
            if self._store.is_dead_letter(letter.notification_id):
                self._take_in(letter)
        self._discard_the_oldest()
        if self._timer is None:
            self._look_at_ages()

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
        self._take_out(letter)
        self._to_handler(Redrive(letter=letter, by=message.by, why=message.why, served=message.served))
        return True

    @handles(SubmitRedrive)
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
        self._take_out(letter)
        self._to_handler(
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
    def on_submit_discard(self, submit: SubmitDiscard) -> None:
        order = submit.order
        letter = self.letter(order.notification_id)
        if letter is None:
            submit.answer.set(False)
        else:
            self._discard(letter, order.reason, order.by, submit.answer)

    def letter(self, notification_id: str) -> DeadLetterMessage | None:
        """Return the dead letter of this notification, or None."""
        letter = self._letters.get(notification_id)
        return None if letter is None else next(self._noted((letter,)), None)

    # ── without an operator ─────────────────────────────────────────────────────────────────────────────────────

    @handles(NodeGone)
    def on_node_gone(self, _: NodeGone) -> None:
        """Go on with what that was about to redrive: one that waits for its turn is a dead letter, and at no node."""
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
    def on_redrive_next(self, message: _RedriveNext) -> None:
        self._redrive_next(self._redrivers[message.channel])

    def _redrive_next(self, redriver: ChannelRedriver) -> None:
        """Redrive those of a channel whose turn it is, and set the timer for the next one."""
        now_ns, policy = self.now_ns, redriver.policy
        for _ in range(LOOKED_AT_MAX):
            notification_id = policy.take(now_ns)
            if notification_id is None:
                break
            letter = self.letter(notification_id)
            if letter is None or letter.served or self._is_left_to_people(letter, policy):
                continue
            host = redriver.host_of(letter)
            if redriver.is_shut(host, now_ns):
                policy.end(host)  # until its breaker closes
                continue
            policy.charge(now_ns)
            self._take_out(letter)
            self._to_handler(Redrive(letter=letter, why=BREAKER_CLOSED, without_operator=True))
        timer = self._redrive_timers.pop(redriver.channel, None)
        if timer is not None:
            timer.cancel()
        if policy.wake_ns is not None:
            self._redrive_timers[redriver.channel] = self.at(policy.wake_ns, _RedriveNext(redriver.channel))

    def _is_left_to_people(self, letter: DeadLetterMessage, policy: Redriving) -> bool:
        """Tell whether a letter has been dead for too long, or its address is one that nothing is sent to."""
        age_ns = self.epoch_ns + self.now_ns - letter.epoch_ns - letter.moved_at_ns
        address, store = letter.command.recipient, self._store
        may_be_disabled = self._wiring.stages[letter.channel].lanes[0].config.endpoints is not None
        return (
            policy.is_too_old(age_ns)
            or store.suppressions.find(letter.channel, address) is not None
            or (may_be_disabled and store.endpoints.is_disabled(letter.channel, address))
        )

    # ── time and room ───────────────────────────────────────────────────────────────────────────────────────────

    def _discard_the_oldest(self) -> None:
        while len(self._letters) > self._at_most:
            oldest = next(iter(self._letters.values()))
            if self._store.is_dead_letter(oldest.notification_id):
                self._discard(oldest, FULL)
            else:
                self._take_out(oldest)

    @handles(_LookAtAges)
    def on_look_at_ages(self, _: _LookAtAges) -> None:
        self._look_at_ages()

    def _look_at_ages(self) -> None:
        """Discard those whose retention has ended, and set the timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()  # one that an earlier incarnation set has fired
            self._timer = None
        if self._keep_ns is None:
            return
        while (oldest := next(self.letters, None)) is not None:
            up_ns = oldest.epoch_ns + oldest.moved_at_ns + self._keep_ns - self.epoch_ns
            if up_ns > self.now_ns:
                self._timer = self.at(up_ns, _LookAtAges())
                return
            self._discard(oldest, RETENTION)

    # ── discarding ──────────────────────────────────────────────────────────────────────────────────────────────

    def _discard(
        self, letter: DeadLetterMessage, reason: str, by: str | None = None, answer: Future[bool] | None = None
    ) -> None:
        self._take_out(letter)
        event = DeadLetterDiscarded(
            at_ns=self.now_ns,
            epoch_ns=self.epoch_ns,
            notification_id=letter.notification_id,
            channel=letter.channel,
            reason=reason,
            by=by,
        )
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
