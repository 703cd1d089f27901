"""Mailboxes: bounds and what overflows, messages that were not handled, and telling from other threads."""

import threading
from dataclasses import dataclass
from typing import Any

import pykka
import pytest
import trio
from two_clocks import Do, Subject, run_on

from actors.errors import ActorSystemError, MailboxFull
from actors.instants import ns
from actors.kernel.actor import handles
from actors.kernel.live import LiveSystem
from actors.kernel.mailbox import Envelope, Mailbox, Stop

POLICIES = ["refuse", "drop_newest", "drop_oldest"]


@dataclass(frozen=True)
class Number:
    value: Any


@dataclass(frozen=True)
class Nap:
    delay: float


class Box(Subject):
    @handles(Number)
    def on_number(self, number):
        self.trace.append(number.value)
        return number.value

    @handles(Nap)
    async def on_nap(self, nap):
        await self.sleep(nap.delay)


def bounded(capacity, overflow):
    return type("Bounded", (Box,), {"mailbox": Mailbox(capacity, overflow)})


def undelivered(run):
    return [(getattr(each.message, "value", each.message), each.reason, each.at_ns) for each in run.system.undelivered]


@pytest.mark.parametrize("overflow", POLICIES)
@pytest.mark.parametrize("from_a_handler", [True, False])
def test_one_message_too_many(run_on_both, overflow, from_a_handler):
    def program(system, trace):
        box = system.spawn(bounded(3, overflow), trace)

        def fill(_):
            for number in range(5):
                try:
                    box.tell(Number(number))
                except MailboxFull as full:
                    trace.append((str(full).partition(" holds ")[2], number))

        if from_a_handler:
            system.spawn(Box, trace).tell(Do(fill))
        else:
            fill(None)

    run = run_on_both(program)
    match overflow:
        case "refuse":
            assert run.trace == [("3 messages, its capacity", 3), ("3 messages, its capacity", 4), 0, 1, 2]
            assert undelivered(run) == []
        case "drop_newest":
            assert run.trace == [0, 1, 2]
            assert undelivered(run) == [(3, "the mailbox was full", 0), (4, "the mailbox was full", 0)]
        case "drop_oldest":
            assert run.trace == [2, 3, 4]
            assert undelivered(run) == [(0, "the mailbox was full", 0), (1, "the mailbox was full", 0)]


@pytest.mark.parametrize("overflow", POLICIES)
def test_a_question_too_many_is_answered(run_on_both, overflow):
    def program(system, trace):
        box = system.spawn(bounded(2, overflow), [])
        questions = [box.ask(Number(number), block=False) for number in range(4)]

        def look(_):
            for question in questions:
                try:
                    trace.append(question.get(timeout=0))
                except MailboxFull:
                    trace.append("full")

        system.spawn(Box, trace).tell(Do(lambda other: other.after(1.0, Do(look))))

    run = run_on_both(program)
    assert run.trace == (["full", "full", 2, 3] if overflow == "drop_oldest" else [0, 1, "full", "full"])
    assert undelivered(run) == []  # the caller knows


@pytest.mark.parametrize("overflow", POLICIES)
def test_a_bounded_actor_that_is_busy_keeps_the_order(run_on_both, overflow):
    """Timers do not come the way that tell takes, and go in where their turn was."""

    def program(system, trace):
        box = system.spawn(bounded(5, overflow), trace)

        def begin(box_actor):
            for number, delay in enumerate((0.25, 0.5, 0.75)):
                box_actor.after(delay, Number(("timer", number)))

        def tell_during_the_nap(other):
            box.tell(Number("told"))
            other.after(0.35, Do(lambda _: box.tell(Number("told later"))))

        box.tell(Do(begin))
        box.tell(Nap(1.0))
        system.spawn(Box, trace).tell(Do(lambda other: other.after(0.3, Do(tell_during_the_nap))))

    expected = [("timer", 0), "told", ("timer", 1), "told later", ("timer", 2)]
    assert run_on_both(program).trace == expected


def test_what_was_told_behind_a_timer_of_the_same_instant_stays_behind_it(run_on_both):
    def program(system, trace):
        box = system.spawn(bounded(5, "refuse"), trace)

        def both(_):
            system._enqueue(box.actor, Number("due"))  # as a timer that fires
            box.tell(Number("told"))

        box.tell(Nap(1.0))
        system.spawn(Box, trace).tell(Do(both))

    assert run_on_both(program).trace == ["due", "told"]


@pytest.mark.parametrize("by", ["ref", "self", "registry"])
@pytest.mark.parametrize("overflow", POLICIES)
def test_a_stop_always_finds_room_and_is_never_what_is_dropped(run_on_both, overflow, by):
    def program(system, trace):
        box = system.spawn(bounded(2, overflow), trace)

        def full(other):
            for number in range(2):
                box.tell(Number(number))
            match by:
                case "ref":
                    box.stop(block=False)
                case "self":
                    box.actor.stop()
                case "registry":
                    box.actor_inbox.put(Stop())
            if overflow != "refuse":
                for number in range(2, 6):
                    box.tell(Number(number))
            other.after(1.0, Do(lambda _: trace.append(box.is_alive())))

        box.tell(Nap(0.5))
        system.spawn(Box, trace).tell(Do(full))

    run = run_on_both(program)
    assert run.trace[-1] is False
    assert len(run.trace) == (1 if overflow == "drop_oldest" and by != "registry" else len(run.trace))
    assert run.system.undelivered_count == (0 if overflow == "refuse" else 6 - (len(run.trace) - 1))


def test_the_peak_tells_how_full_it_was(run_on_both):
    def program(system, trace):
        box = system.spawn(Box, trace)
        box.tell(Nap(1.0))
        for number in range(7):
            box.tell(Number(number))
        other = system.spawn(Box, trace)
        other.tell(Do(lambda other: other.after(2.0, Do(lambda _: trace.append(box.actor.actor_inbox.peak)))))

    assert run_on_both(program).trace == [*range(7), 7]


def test_a_capacity_of_none_is_no_bound_and_of_nothing_is_an_error():
    assert Mailbox().capacity is None
    with pytest.raises(ValueError, match="capacity: wanted at least 1 or None, got 0"):
        Mailbox(0)


class TestMessagesNotHandled:
    @pytest.mark.parametrize("actor_class", [Box, bounded(10, "refuse")])
    def test_to_a_dead_actor_raise_and_are_kept(self, run_on_both, actor_class):
        def program(system, trace):
            box = system.spawn(actor_class, trace)
            box.stop(block=False)

            def tell(_):
                with pytest.raises(pykka.ActorDeadError, match="not found"):
                    box.tell(Number("late"))

            other = system.spawn(Box, trace)
            other.tell(Do(lambda other: other.after(1.0, Do(tell))))

        assert undelivered(run_on_both(program)) == [("late", "the actor has stopped", ns(1.0))]

    @pytest.mark.parametrize("actor_class", [Box, bounded(10, "refuse")])
    def test_behind_a_stop_are_kept(self, run_on_both, actor_class):
        def program(system, trace):
            def begin(box):
                for message in (Number(1), Stop(), Number(2)):
                    box.actor_ref.tell(message)
                box.after(5.0, Number("timer"))

            box = system.spawn(actor_class, trace)
            box.tell(Do(begin))
            box.tell(Nap(1.0))
            box.tell(Number(0))

        run = run_on_both(program)
        assert run.trace == [0, 1]
        assert undelivered(run) == [
            (2, "the actor has stopped", ns(1.0)),
            ("timer", "the actor has stopped", ns(5.0)),
        ]

    def test_are_counted_and_only_the_latest_kept(self, run_on_both):
        def program(system, trace):
            box = system.spawn(Box, trace)
            box.stop(block=False)
            for number in range(1500):
                box.tell(Number(number))

        run = run_on_both(program)
        assert run.system.undelivered_count == 1500
        assert [each.message.value for each in run.system.undelivered] == [*range(500, 1500)]

    def test_at_the_end_of_a_live_system_are_kept(self, on_mock_clock):
        async def main():
            async with LiveSystem() as system:
                box = system.spawn(Box, [])
                box.tell(Nap(10.0))
                box.tell(Number("waiting"))
                await trio.sleep(1.0)
            return system

        (left,) = on_mock_clock(main).undelivered
        assert (left.message, left.reason) == (Number("waiting"), "the actor has stopped")
        assert left.recipient.startswith("Box (urn:uuid:")


class TestFromOtherThreads:
    @pytest.mark.parametrize("actor_class", [Box, bounded(10_000, "refuse")])
    async def test_all_arrive_in_the_order_of_each_thread(self, actor_class):
        trace = []
        async with LiveSystem() as system:
            box = system.spawn(actor_class, trace)
            threads, each = 4, 1000 if actor_class is Box else 100

            def tell(name):
                for number in range(each):
                    box.tell(Number((name, number)))

            async with trio.open_nursery() as nursery:
                for name in range(threads):
                    nursery.start_soon(trio.to_thread.run_sync, tell, name)
            assert await box.ask(Number("last"), block=False) == "last"
        for name in range(threads):
            assert [number for number in trace if number[0] == name] == [(name, number) for number in range(each)]
        assert len(trace) == threads * each + 1

    @pytest.mark.parametrize("overflow", POLICIES)
    async def test_the_bound_holds_there_too(self, overflow):
        trace = []
        async with LiveSystem() as system:
            box = system.spawn(bounded(2, overflow), trace)
            box.tell(Nap(3600.0))
            await trio.testing.wait_all_tasks_blocked()

            def fill():
                refused = 0
                for number in range(5):
                    try:
                        box.tell(Number(number))
                    except MailboxFull:
                        refused += 1
                return refused

            refused = await trio.to_thread.run_sync(fill)
            assert refused == (3 if overflow == "refuse" else 0)
            assert [message.value for message in box.actor.actor_inbox.queue] == (
                [3, 4] if overflow == "drop_oldest" else [0, 1]
            )
            assert system.undelivered_count == 3 - refused

    @pytest.mark.parametrize("actor_class", [Box, bounded(10, "refuse")])
    def test_after_the_end_the_actor_is_dead(self, actor_class):
        async def main():
            async with LiveSystem() as system:
                box = system.spawn(actor_class, [])
            with pytest.raises(pykka.ActorDeadError):
                await trio.to_thread.run_sync(box.tell, Number(1))
            return box

        box, raised = trio.run(main), []

        def tell():
            try:
                box.tell(Number(1))
            except pykka.ActorDeadError as error:
                raised.append(error)

        thread = threading.Thread(target=tell)
        thread.start()
        thread.join()
        assert len(raised) == 1

    async def test_what_is_on_its_way_when_the_system_ends_is_kept_or_answered(self):
        async with LiveSystem() as system:
            box = system.spawn(Box, [])
        # As when the thread looked whether the actor is alive just before it ended.
        question = system.future_class()
        await trio.to_thread.run_sync(system._post, box.actor, Number(1))
        await trio.to_thread.run_sync(system._post, box.actor, Envelope(Number(2), reply_to=question))
        with pytest.raises(pykka.ActorDeadError):
            await question
        assert [each.message for each in system.undelivered] == [Number(1)]

    async def test_pykkas_own_inbox_can_be_used_there_too(self):
        async with LiveSystem() as system:
            box = system.spawn(Box, [])
            question = system.future_class()
            envelope = Envelope(Number(1), reply_to=question)
            await trio.to_thread.run_sync(box.actor_inbox.put, envelope)
            assert await question == 1

    async def test_the_system_can_be_stopped_there(self):
        async with LiveSystem() as system:
            box = system.spawn(Box, [])
            await trio.to_thread.run_sync(system.stop)
            await system.run()
            assert not box.is_alive()

    async def test_an_actor_can_be_started_and_stopped_there(self):
        async with LiveSystem() as system:
            trace = []

            def elsewhere():
                box = system.spawn(Box, trace)
                box.tell(Number(1))
                assert box.stop() is True

            await trio.to_thread.run_sync(elsewhere)
            assert trace == [1]


async def test_nothing_starts_in_a_system_that_has_ended():
    class Late(Box):
        def on_stop(self):
            self.spawn(Box, [])

    async with LiveSystem() as system:
        system.spawn(Late, [])
    with pytest.raises(ActorSystemError, match="its system has ended"):
        system.spawn(Box, [])
    assert pykka.ActorRegistry.get_by_class(Box) == []


def test_names_and_random_streams_are_those_of_the_seed(run_on_both):
    def program(system, trace):
        def draw(box):
            for name in ("jitter", "latency", "jitter"):
                trace.append((name, box.stream(name).random()))
            trace.append(box.actor_urn)
            box.trace.append(box.spawn(Box, trace).actor_urn)

        for _ in range(3):
            system.spawn(Box, trace).tell(Do(draw))

    traces = [run_on_both(program, seed=seed).trace for seed in (1, 1, 2)]
    assert traces[0] == traces[1]
    assert traces[0][0] == traces[0][2]  # the same name, the same draws
    assert not {draw for draw in traces[0] if draw in traces[2]}
    urns = [each for each in traces[0] if isinstance(each, str)]
    assert len(set(urns)) == 6
    assert all(urn.startswith("urn:uuid:") for urn in urns)


def test_a_simulation_leaves_nothing_behind_in_pykkas_registry():
    before = pykka.ActorRegistry.get_all()
    for _ in range(3):
        run_on("simulated", lambda system, trace: system.spawn(Box, trace))
        run_on("live", lambda system, trace: system.spawn(Box, trace))
    assert pykka.ActorRegistry.get_all() == before


async def test_a_live_actor_is_in_pykkas_registry_for_as_long_as_it_lives():
    async with LiveSystem() as system:
        box = system.spawn(Box, [])
        assert pykka.ActorRegistry.get_by_urn(box.actor_urn) is box
        assert box in pykka.ActorRegistry.get_by_class(Box)
    assert pykka.ActorRegistry.get_by_urn(box.actor_urn) is None
