"""What a notifier does when it shares its store with other nodes: it is second sometimes, and takes over."""

from typing import Any

import msgspec
import pytest
import trio
from worlds import Scripted

from actors import Notifier, SendNotification
from actors.domain.store import LeaseLost, LettersChanged, StoredHistory, Takeover
from actors.errors import IdempotencyConflict, Overtaken, StoreFailed
from actors.kernel.effects import Promise
from actors.messages import (
    DeadLetterDiscarded,
    NotificationChannel,
    NotificationEvent,
    NotificationRedriven,
    NotificationRequested,
)
from actors.outcomes import Permanent
from actors.pipeline.dead_letter_queue import (
    DiscardDeadLetter,
    ListDeadLetters,
    RedriveDeadLetter,
    SubmitDiscard,
    SubmitRedrive,
)
from actors.pipeline.orders import Acceptance
from actors.storage.memory import MemoryStore


class Shared(MemoryStore):
    """A store with another node, which is played by the test: changes of a kind are decided by it."""

    def __init__(self) -> None:
        super().__init__()
        self.decided_elsewhere: type[NotificationEvent] | None = None
        self.under_way: list[tuple[Promise, NotificationEvent]] = []

    def commit(self, event: NotificationEvent, command: SendNotification) -> Any:
        if type(event) is not self.decided_elsewhere:
            return super().commit(event, command)
        promise = Promise()
        self.under_way.append((promise, event))
        return promise

    def another_was_first(self, known: SendNotification | None = None) -> None:
        """Decide against all that is under way."""
        for promise, event in self.under_way:
            promise.keep(Overtaken(event.notification_id, known))
        self.under_way.clear()


def messages(provider: Scripted) -> list[str]:
    return [command.message for command in provider.sent]


A = SendNotification(notification_id="a", channel=NotificationChannel.PUSH, recipient="device", message="Hello")
OTHER = msgspec.structs.replace(A, message="Something else")


def accepted_elsewhere(notifier: Notifier, command: SendNotification) -> StoredHistory:
    """Return what happened to a notification that another node has accepted an hour ahead of our clock."""
    requested = NotificationRequested(
        at_ns=3_600 * 10**9,
        epoch_ns=notifier.system.epoch_ns,
        notification_id=command.notification_id,
        channel=command.channel,
        user_id=command.recipient,
    )
    return StoredHistory(command, (requested,))


def take_over(notifier: Notifier, store: Shared, command: SendNotification) -> None:
    past = accepted_elsewhere(notifier, command)
    MemoryStore.commit(store, past.events[0], command)
    assert store.on_news is not None
    store.on_news(Takeover((past,)))


@pytest.fixture
def store() -> Shared:
    return Shared()


@pytest.fixture
def receiver() -> Scripted:
    return Scripted()


@pytest.fixture
async def notifier(store, receiver, autojump_clock):
    async with Notifier.open(providers=receiver, store=store) as notifier:
        yield notifier


async def send(notifier: Notifier, command: SendNotification, answers: list[object]) -> None:
    """Send a command, and add what comes of it."""
    try:
        answers.append(await notifier.send(command))
    except IdempotencyConflict as error:
        answers.append(type(error))


@pytest.mark.parametrize(("known", "answer"), [(A, Acceptance.DUPLICATE), (OTHER, IdempotencyConflict)])
async def test_all_who_sent_what_another_node_has_accepted_are_told(store, receiver, notifier, known, answer):
    store.decided_elsewhere = NotificationRequested
    answers: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, notifier, A, answers)
        nursery.start_soon(send, notifier, A, answers)
        await trio.sleep(1)
        assert answers == []
        store.another_was_first(known)
    assert answers == [answer, answer]
    assert await notifier.wait_until_quiet()
    assert messages(receiver) == []
    assert not notifier.pipeline.handler.actor.deliveries.has("a")


async def test_what_comes_over_while_it_is_being_accepted_is_sent_once_as_it_was_accepted(store, receiver, notifier):
    store.decided_elsewhere = NotificationRequested
    answers: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, notifier, OTHER, answers)
        await trio.sleep(1)
        take_over(notifier, store, A)
        await trio.sleep(1)
        assert messages(receiver) == []  # the other payload is not accepted, and may yet be
        store.another_was_first(A)
    await notifier.wait_until_quiet()
    assert answers == [IdempotencyConflict]
    assert messages(receiver) == ["Hello"]
    (sent,) = notifier.sent_notifications
    assert sent.requested_at_ns <= sent.at_ns  # though the other node's clock is ahead


async def test_what_is_taken_over_is_known_by_its_id_and_told_twice_is_sent_once(store, receiver, notifier):
    take_over(notifier, store, A)
    store.on_news(Takeover((accepted_elsewhere(notifier, A),)))
    assert await notifier.send(A) is Acceptance.DUPLICATE
    await notifier.wait_until_quiet()
    assert messages(receiver) == ["Hello"]


async def test_what_is_taken_over_goes_at_a_pace_and_new_ones_pass(store, autojump_clock):
    config = {"channels": {"push": {"circuit_breaker": {"resume_rate": "2/s", "resume_doubling": "1h"}}}}
    receiver = Scripted()
    async with Notifier.open(config, providers=receiver, store=store) as notifier:
        await trio.sleep(100)
        histories = []
        for number in range(30):
            command = msgspec.structs.replace(A, notification_id=str(number), message=str(number))
            histories.append(accepted_elsewhere(notifier, command))
            MemoryStore.commit(store, histories[-1].events[0], command)
        store.on_news(Takeover(tuple(histories[:20])))
        store.on_news(Takeover(tuple(histories[20:])))
        await trio.sleep(5.1)
        await notifier.send(A)
        await trio.sleep(0.1)
        assert messages(receiver) == [*map(str, range(11)), "Hello"]
        await notifier.wait_until_quiet()
    assert [int(each) for each in messages(receiver) if each != "Hello"] == list(range(30))


async def test_what_was_accepted_for_a_channel_that_is_not_configured_is_a_dead_letter(store, autojump_clock):
    async with Notifier.open({"channels": {"email": {}}}, providers=Scripted(), store=store) as notifier:
        take_over(notifier, store, A)
        await trio.sleep(1)
        for _ in range(2):
            (letter,) = notifier.dead_letter_queue
            assert (letter.command, letter.failure_reason) == (A, "channel push is not configured")
            await notifier.pipeline.dead_letter_queue.ask(RedriveDeadLetter(notification_id="a"), block=False)
            await trio.sleep(1)
    receiver = Scripted()
    async with Notifier.open({"channels": {"push": {}}}, providers=receiver, store=store) as later:
        await later.pipeline.dead_letter_queue.ask(RedriveDeadLetter(notification_id="a"), block=False)
        await later.wait_until_quiet()
    assert messages(receiver) == ["Hello"]


@pytest.mark.parametrize("orders_are_submitted", [True, False])
@pytest.mark.parametrize("kind", [NotificationRedriven, DeadLetterDiscarded])
async def test_a_letter_that_another_node_takes_first_is_left_to_it(store, autojump_clock, kind, orders_are_submitted):
    receiver = Scripted([Permanent(reason="bad")])
    received: list[object] = []
    async with Notifier.open(providers=receiver, store=store) as notifier:
        notifier.bus.subscribe(NotificationRedriven, DeadLetterDiscarded)(received.append)
        await notifier.send(A)
        await notifier.wait_until_quiet()
        store.decided_elsewhere = kind
        queue = notifier.pipeline.dead_letter_queue
        order: Any = (
            RedriveDeadLetter(notification_id="a")
            if kind is NotificationRedriven
            else DiscardDeadLetter(notification_id="a", reason="test")
        )
        answer = notifier.system.future_class() if orders_are_submitted else None
        if answer is None:
            assert await queue.ask(order, block=False)
        elif kind is NotificationRedriven:
            queue.tell(SubmitRedrive(order, {}, answer))
        else:
            queue.tell(SubmitDiscard(order, answer))
        await trio.sleep(1)
        del store._dead["a"]
        store.another_was_first()
        if answer is not None:
            assert await answer is False
        assert await notifier.wait_until_quiet()
        assert notifier.dead_letter_queue == []
    assert received == messages(receiver) == []


async def test_letters_come_and_go_with_other_nodes(store, autojump_clock, caplog):
    async with Notifier.open(providers=Scripted([Permanent(reason="bad")]), store=store) as notifier:
        await notifier.send(A)
        await notifier.wait_until_quiet()
        (letter,) = notifier.dead_letter_queue
        entry = store._dead.pop("a")
        store.on_news(LettersChanged((), ("a",)))
        queue = notifier.pipeline.dead_letter_queue
        assert await queue.ask(ListDeadLetters(), block=False) == []
        assert list(queue.actor.letters) == []
        caplog.clear()
        store._dead["a"] = entry
        store.on_news(LettersChanged((letter,), ()))
        assert await queue.ask(ListDeadLetters(), block=False) == [letter]
        assert caplog.text == ""  # the node that dead-lettered it has sent it


async def test_a_letter_that_died_again_elsewhere_is_the_newest(store, autojump_clock):
    async with Notifier.open(providers=Scripted([Permanent(reason="bad")] * 2), store=store) as notifier:
        for command in (A, msgspec.structs.replace(A, notification_id="b")):
            await notifier.send(command)
            await notifier.wait_until_quiet()
        (first, _) = notifier.dead_letter_queue
        store._dead["a"] = store._dead.pop("a")  # before it is told, it is dead again
        again = msgspec.structs.replace(first, moved_at_ns=first.moved_at_ns + 1)
        store.on_news(LettersChanged((again,), ("a",)))
        await trio.sleep(1)
        assert [letter.notification_id for letter in notifier.dead_letter_queue] == ["b", "a"]


async def test_a_store_that_is_lost_ends_the_notifier_though_nothing_is_to_be_written(store):
    async def be_lost() -> None:
        async with Notifier.open(providers=Scripted(), store=store):
            store.on_news(LeaseLost("another node has taken over"))
            await trio.sleep_forever()

    with pytest.raises(StoreFailed, match="another node has taken over"):
        await be_lost()


async def test_news_for_a_notifier_that_has_ended_is_for_the_next_one(store, receiver):
    async with Notifier.open(providers=receiver, store=store) as notifier:
        pass
    take_over(notifier, store, A)
    assert messages(receiver) == []
    async with Notifier.open(providers=receiver, store=store) as later:
        await later.wait_until_quiet()
    assert messages(receiver) == ["Hello"]


async def test_a_redrive_that_waits_for_room_has_it_when_another_node_was_first(store, autojump_clock):
    receiver = Scripted([Permanent(reason="bad")])
    async with Notifier.open({"max_pending": 1}, providers=receiver, store=store) as notifier:
        await notifier.send(A)
        await notifier.wait_until_quiet()
        store.decided_elsewhere = NotificationRequested
        b, answers = msgspec.structs.replace(A, notification_id="b"), []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, notifier, b, answers)
            await trio.sleep(1)
            assert await notifier.pipeline.dead_letter_queue.ask(RedriveDeadLetter(notification_id="a"), block=False)
            await trio.sleep(1)
            assert messages(receiver) == []
            store.another_was_first(b)
        await trio.sleep(1)
        assert answers == [Acceptance.DUPLICATE]
        assert messages(receiver) == ["Hello"]
