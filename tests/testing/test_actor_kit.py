"""The kit for testing actors: what it shows, on either clock, and that its two clocks agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pykka
import pytest
import trio
from hypothesis import given, strategies as st

from actors import Actor, Foreseen, InvariantBreach, Performed, Supervision, handles
from actors.errors import ActorSystemError
from actors.kernel.actor import ActorRef
from actors.messages import ActorFailed
from simulation.testing.testkit import CLOCKS, ActorKit, ClocksDiffer, Probe, SteppedLiveSystem, both_clocks, run_on


class Order(msgspec.Struct, frozen=True):
    item: str


class Pay(msgspec.Struct, frozen=True):
    item: str


class Remind(msgspec.Struct, frozen=True):
    item: str


class Count(msgspec.Struct, frozen=True):
    pass


class Till(Actor):
    """Reminds of what is not paid within a minute."""

    def __init__(self, clerk: ActorRef[Any]) -> None:
        super().__init__()
        self._clerk = clerk
        self._unpaid: dict[str, Any] = {}

    @handles(Order)
    def on_order(self, message: Order) -> None:
        self._unpaid[message.item] = self.after(60.0, Remind(message.item))

    @handles(Pay)
    def on_pay(self, message: Pay) -> None:
        self._unpaid.pop(message.item).cancel()

    @handles(Remind)
    def on_remind(self, message: Remind) -> None:
        self._clerk.tell(message)
        self.on_order(Order(message.item))

    @handles(Count)
    def on_count(self, _: Count) -> int:
        return len(self._unpaid)


class Charge(Actor):
    """Asks a bank, waits ten seconds for its answer, and tells the till."""

    def __init__(self, till: ActorRef[Any], effect: Any = None) -> None:
        super().__init__()
        self._till = till
        self._effect = effect
        self.under_way: Any = None

    @handles(Pay)
    def on_pay(self, message: Pay) -> None:
        self.under_way = self.perform(self._effect, message, timeout_ns=10_000_000_000, on_timeout="too late")

    @handles(Performed)
    def on_performed(self, done: Performed) -> None:
        self._till.tell((done.request, done.result, done.started_ns, done.ended_ns))

    @handles(Count)
    def on_count(self, _: Count) -> None:
        self.under_way.cancel()


class Slow(Actor):
    """Answers when it has slept, and counts what it has answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = 0

    @handles(Order)
    async def on_order(self, message: Order) -> str:
        await self.sleep(5.0)
        self.answered += 1
        return f"{message.item} {self.answered}"


@pytest.fixture(params=CLOCKS)
def kit_of(request: pytest.FixtureRequest) -> Any:
    """Make kits on one clock or, in another test, on the other."""
    kits: list[ActorKit[Any]] = []

    def make(*args: Any, **kwargs: Any) -> ActorKit[Any]:
        kits.append(ActorKit(*args, clock=request.param, **kwargs))
        return kits[-1]

    yield make
    for kit in kits:
        kit.close()


Make = Callable[..., ActorKit[Any]]


def test_nothing_passes_unless_told(kit_of: Make) -> None:
    clerk = Probe()
    kit = kit_of(Till, clerk)
    kit.tell(Order("tea"))
    assert [(timer.message, timer.due, timer.ref) for timer in kit.timers] == [(Remind("tea"), 60.0, kit.ref)]
    kit.advance(59.999_99)
    assert (clerk.messages, kit.now) == ([], 59.999_99)
    kit.advance(0.000_01)
    assert clerk.take() == [Remind("tea")]
    assert [timer.due for timer in kit.timers] == [120.0]
    kit.advance(180)
    assert clerk.messages == [Remind("tea")] * 3
    assert clerk.ref.actor is not kit.actor


def test_a_timer_cancelled_is_none(kit_of: Make) -> None:
    clerk = Probe()
    kit = kit_of(Till, clerk)
    kit.tell(Order("tea"))
    kit.advance(30)
    kit.tell(Order("milk"))
    kit.tell(Pay("tea"))
    assert [(timer.message.item, timer.due) for timer in kit.timers] == [("milk", 90.0)]
    assert kit.ask(Count()) == 1
    kit.advance(60)
    assert clerk.messages == [Remind("milk")]


def test_an_effect_is_captured_and_ends_when_the_test_says(kit_of: Make) -> None:
    till = Probe()
    called = []
    kit = kit_of(Charge, till, lambda: called.append(1))
    kit.tell(Pay("tea"))
    kit.tell(Pay("milk"))
    tea, milk = kit.effects
    assert (tea.request, tea.asked, tea.timeout, tea.ref) == (Pay("tea"), 0.0, 10.0, kit.ref)
    assert kit.timers == []
    kit.advance(4)
    kit.complete(milk, "paid")
    kit.complete(tea, ConnectionError("no line"))
    answers = till.take()
    assert answers[0] == (Pay("milk"), "paid", 0, 4_000_000_000)
    assert isinstance(answers[1][1], ConnectionError)
    assert (list(kit.effects), called) == ([], [])
    kit.advance(60)
    assert till.messages == []


def test_an_effect_times_out_by_itself_and_cannot_end_again(kit_of: Make) -> None:
    till = Probe()
    kit = kit_of(Charge, till)
    kit.tell(Pay("tea"))
    (effect,) = kit.effects
    kit.advance(10)
    assert till.messages == [(Pay("tea"), "too late", 0, 10_000_000_000)]
    assert list(kit.effects) == []
    with pytest.raises(ActorSystemError, match=r"^the effect for Pay\(item='tea'\) is timed out: its actor waits for"):
        kit.complete(effect, "paid")


def test_an_effect_that_its_actor_cancels_is_over(kit_of: Make) -> None:
    till = Probe()
    kit = kit_of(Charge, till)
    kit.tell(Pay("tea"))
    (effect,) = kit.effects
    kit.tell(Count())
    assert (effect.ending, list(kit.effects)) == ("cancelled", [])
    with pytest.raises(ActorSystemError, match="is cancelled"):
        kit.complete(effect, "paid")
    kit.advance(60)
    assert till.messages == []


def test_what_is_foreseen_brings_its_result_with_it_but_no_time_passes(kit_of: Make) -> None:
    till = Probe()
    kit = kit_of(Charge, till, Foreseen(3_000_000_000, "paid"))
    kit.tell(Pay("tea"))
    kit.advance(5)
    assert till.messages == []
    kit.complete(kit.effects[0])
    assert till.messages == [(Pay("tea"), "paid", 0, 5_000_000_000)]


def test_an_async_handler_sleeps_until_time_is_moved(kit_of: Make) -> None:
    kit = kit_of(Slow)
    first, second = kit.ask_for_later(Order("tea")), kit.ask_for_later(Order("milk"))
    assert (kit.sleeps_until, list(kit.timers)) == (5.0, [])
    kit.advance(5)
    assert first.get(timeout=0) == "tea 1"
    assert kit.sleeps_until == 10.0
    with pytest.raises(pykka.Timeout):
        second.get(timeout=0)
    kit.advance(5)
    assert (second.get(timeout=0), kit.sleeps_until) == ("milk 2", None)


def test_an_answer_that_is_not_there_at_this_instant_says_what_is_waited_for(kit_of: Make) -> None:
    kit = kit_of(Slow)
    kit.advance(2)
    with pytest.raises(pykka.Timeout) as raised:
        kit.ask(Order("tea"))
    assert str(raised.value) == (
        "no answer to Order(item='tea') at this instant; it is 2 s, 0 effects under way, asleep until 7 s"
    )


def test_a_crash_takes_the_state_and_not_the_mailbox(kit_of: Make) -> None:
    kit = kit_of(Slow)
    lost = kit.ask_for_later(Order("tea"))
    kept = kit.ask_for_later(Order("milk"))
    kit.crash(ConnectionError("line cut"))
    assert kit.is_alive
    assert [str(error) for error in kit.failures] == ["line cut"]
    (failed,) = kit.recorded.of(ActorFailed)
    assert (failed.actor, failed.error, failed.decision) == ("Slow", "ConnectionError: line cut", "restart")
    with pytest.raises(ConnectionError):
        lost.get(timeout=0)
    kit.advance(0.1)
    assert kit.sleeps_until == 5.1
    kit.advance(5)
    assert kept.get(timeout=0) == "milk 1"
    assert kit.recorded.times(ActorFailed) == [0.0]


class Fragile(Actor):
    """Stops at the first failure."""

    supervision = Supervision(max_restarts=0)

    @handles(Order)
    def on_order(self, message: Order) -> None:
        raise ValueError(message.item)

    @handles(Pay)
    def on_pay(self, message: Pay) -> str:
        raise LookupError(message.item)

    @handles(Count)
    def on_count(self, _: Count) -> None:
        raise InvariantBreach("more than there are")


def test_a_failure_is_seen_and_an_answer_may_be_an_exception(kit_of: Make) -> None:
    kit = kit_of(Fragile)
    with pytest.raises(LookupError, match="tea"):
        kit.ask(Pay("tea"))
    assert (kit.is_alive, list(kit.failures)) == (True, [])
    kit.tell(Order("milk"))
    assert not kit.is_alive
    assert [str(error) for error in kit.failures] == ["milk"]
    with pytest.raises(pykka.ActorDeadError):
        kit.tell(Order("more"))
    assert [lost.message for lost in kit.undelivered] == [Order("more")]


def test_what_ends_a_whole_system_is_raised_in_the_test(kit_of: Make) -> None:
    kit = kit_of(Fragile)
    with pytest.raises(InvariantBreach, match="more than there are"):
        kit.tell(Count())


class Waiter(Actor):
    """Asks the kitchen that it is given, and passes on what it says."""

    def __init__(self, guest: ActorRef[Any], *, kitchen: ActorRef[Any]) -> None:
        super().__init__()
        self._guest, self._kitchen = guest, kitchen

    @handles(Order)
    async def on_order(self, message: Order) -> None:
        try:
            self._guest.tell(await self._kitchen.ask(message, block=False))
        except LookupError as error:
            self._guest.tell(f"no {error.args[0]}")


def cook(message: Order) -> str:
    if message.item == "soup":
        raise LookupError(message.item)
    return f"hot {message.item}"


def test_a_circuit_of_actors_with_a_probe_that_answers(kit_of: Make) -> None:
    guest, kitchen = Probe(), Probe(cook)
    kit = kit_of(Waiter, guest, kitchen=kitchen)
    kit.tell(Order("tea"))
    kit.tell(Order("soup"))
    assert guest.messages == ["hot tea", "no soup"]
    assert kitchen.take() == [Order("tea"), Order("soup")]
    other = kit.spawn(Waiter, guest, kitchen=kit.probe("cold").ref)
    kit.tell(Order("tea"), to=other)
    assert guest.messages == ["hot tea", "no soup", "cold"]
    kit.crash(of=other)
    assert len(kit.failures) == 1
    assert kit.ask(Order("x"), to=kitchen.ref) == "hot x"


def test_random_streams_come_from_the_seed(kit_of: Make) -> None:
    class Dice(Actor):
        @handles(Count)
        def on_count(self, _: Count) -> float:
            return self.stream("dice").random()

    throws = [kit_of(Dice, seed=seed).ask(Count()) for seed in (1, 1, 2)]
    assert throws[0] == throws[1] != throws[2]


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_time_does_not_go_back_and_does_not_end(kit_of: Make, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"wanted a time of at least 0 seconds, got {seconds}"):
        kit_of(Slow).advance(seconds)


STEPS = st.lists(
    st.one_of(
        st.builds(Order, st.sampled_from("abc")),
        st.sampled_from([0.0, 0.1, 1 / 3, 1.0, 59.9, 60.0, 1e5]),
        st.just("crash"),
    ),
    max_size=12,
)


@given(steps=STEPS)
def test_the_kit_shows_the_same_on_both_clocks(steps: list[Any]) -> None:
    def play(kit: ActorKit[Any], clerk: Probe) -> list[Any]:
        seen: list[Any] = []
        for step in steps:
            if step == "crash":
                kit.crash()
            elif isinstance(step, Order):
                kit.tell(step)
            else:
                kit.advance(step)
            seen.append((kit.now, clerk.take(), [(timer.message, timer.due_ns) for timer in kit.timers]))
        return [seen, list(kit.recorded)]

    played = []
    for clock in CLOCKS:
        clerk = Probe()
        with ActorKit(Till, clerk, clock=clock) as kit:
            played.append(play(kit, clerk))
    assert played[0] == played[1]


# ── whole programs ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_both_clocks_returns_the_history_and_what_was_returned() -> None:
    def program(system: Any) -> list[Any]:
        seen: list[Any] = []
        probe = Probe(seen.append)
        from simulation.testing.testkit.kit import _Listener

        till = system.spawn(Till, system.spawn(_Listener, probe))
        till.tell(Order("tea"))
        system.crash(till, RuntimeError("off"))
        return seen

    run = both_clocks(program, until=200.0)
    assert run.returned == [Remind("tea")] * 3
    assert run.history.times(ActorFailed) == [0.0]


def test_both_clocks_says_where_the_clocks_part() -> None:
    def program(system: Any) -> list[Any]:
        return ["same", type(system).__mro__[0].__name__]

    with pytest.raises(ClocksDiffer) as raised:
        both_clocks(program)
    assert str(raised.value) == (
        "the clocks differ at returned item 2 (of 2 and 2)\n  before it: 'same'\n"
        "  simulated: 'SimulatedSystem'\n  live:      'LiveSystem'"
    )
    with pytest.raises(ClocksDiffer, match="nothing more"):
        both_clocks(lambda system: [1] * (type(system).__name__ == "LiveSystem"))
    with pytest.raises(AssertionError, match="in what was returned"):
        both_clocks(lambda system: type(system).__name__)


def test_run_on_takes_the_history_of_the_caller(run_on_clock: Any) -> None:
    run = run_on_clock(lambda system: system.crash(system.spawn(Slow), RuntimeError("x")))
    assert [type(event) for event in run.history] == [ActorFailed]
    assert run.system.has_ended


@pytest.fixture(params=CLOCKS)
def run_on_clock(request: pytest.FixtureRequest) -> Any:
    return partial(run_on, request.param)


# ── the live system that a plain function can drive ─────────────────────────────────────────────────────────────────


class Naps(Actor):
    """Waits in trio's way, as an actor with real I/O does."""

    @handles(Order)
    async def on_order(self, message: Order) -> float:
        await trio.sleep(30.0)
        return self.now_ns / 1e9

    @handles(Count)
    def on_count(self, _: Count) -> None:
        async def call() -> str:
            await trio.sleep(20.0)
            return "done"

        self.perform(call, "call")

    @handles(Performed)
    def on_performed(self, done: Performed) -> None:
        self.after(100.0, Remind(done.result))

    @handles(Remind)
    def on_remind(self, message: Remind) -> None:
        self.record(message)  # type: ignore[arg-type]  # any event does


def test_a_blocking_question_moves_the_time_of_a_stepped_live_system() -> None:
    live = SteppedLiveSystem()
    naps = live.spawn(Naps)
    assert naps.ask(Order("tea")) == 30.0
    assert live.now_ns == 30_000_000_000
    with pytest.raises(pykka.Timeout):
        naps.ask(Order("tea"), timeout=10)
    live.close()
    with pytest.raises(pykka.ActorDeadError):
        naps.tell(Order("tea"))


def test_a_stepped_live_system_runs_until_nothing_is_left() -> None:
    events: list[Any] = []
    live = SteppedLiveSystem(record=events.append)
    naps = live.spawn(Naps)
    naps.tell(Count())
    live.advance(19.0)
    assert (live.now_ns, len(live.system._timers)) == (19_000_000_000, 0)
    live.run()
    assert events == [Remind("done")]
    assert live.now_ns == 120_000_000_000
    live.close()
    with pytest.raises(ActorSystemError, match="the live system has ended"):
        live.advance(1.0)


def test_a_question_that_nothing_will_answer_ends() -> None:
    class Silent(Actor):
        @handles(Order)
        async def on_order(self, _: Order) -> None:
            await self.sleep(float("inf"))

    live = SteppedLiveSystem()
    with pytest.raises(pykka.Timeout):
        live.spawn(Silent).ask(Order("tea"))
    live.close()
