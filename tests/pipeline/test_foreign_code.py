"""Code that is not ours, called within the pipeline: it hangs, or raises what is no Exception; it harms only itself."""

from typing import Any

import pytest
import trio
from worlds import OK, PLACED, Scripted, World, email, on_both_clocks, simulate

from actors import Notifier
from actors.errors import ForeignAwait
from actors.kernel.async_handlers import HandlerCancelled, failure
from actors.messages import ActorFailed, OrderPlaced
from actors.outcomes import Permanent, Sent
from actors.pipeline.preferences import Preferences
from actors.pipeline.templates import Templates


class Odd(BaseException):
    """Something that a library raises, and `except Exception` does not catch."""


RAISED = [
    SystemExit(3),
    Odd("odd"),
    BaseExceptionGroup("two", [ValueError("a"), Odd("b")]),
    BaseExceptionGroup("one", [SystemExit(1)]),
    ExceptionGroup("plain", [ValueError("a"), ValueError("b")]),
]


def raising(error: BaseException) -> Any:
    def function(*_: Any, **__: Any) -> Any:
        raise error

    return function


# ── deadlines of subscribers ────────────────────────────────────────────────────────────────────────────────────────


def test_an_async_subscriber_that_hangs_is_cancelled_and_holds_no_one(caplog):
    def scenario(world: World) -> None:
        bus = world.open().bus
        note = world.notes.append

        def now() -> float:
            return world.system.now_ns / 1e9

        @bus.subscribe(OrderPlaced)
        async def hangs(event: OrderPlaced) -> object:
            try:
                await world.pipeline.handler.actor.sleep(float("inf"))
            finally:
                note(("left", now()))

        @bus.subscribe(OrderPlaced)
        async def takes_its_time(event: OrderPlaced) -> object:
            await world.pipeline.handler.actor.sleep(59)
            return email("late")

        bus.publish(PLACED).when_done(lambda: note(("published", now())))
        world.at(30, lambda: bus.publish(PLACED).when_done(lambda: note(("again", now()))))
        world.at(100, lambda: note(len(world.system._lifecycle.actors)))
        world.at(200, lambda: note(len(world.system._lifecycle.actors)))

    world = on_both_clocks(scenario)
    assert sorted(world.notes[:4], key=str) == sorted(
        [("published", 60.0), ("left", 60.0), ("again", 90.0), ("left", 90.0)], key=str
    )
    assert world.notes[4] == world.notes[5]  # nothing is left of a call that was cancelled
    assert set(world.sent_ids()) == {"email-order-placed-7", "late"}
    assert world.events(ActorFailed) == []
    assert "was cancelled on OrderPlaced" in caplog.text
    assert "not done in 60 s" in caplog.text


async def test_a_subscriber_that_keeps_cancellations_out_holds_no_one_either(autojump_clock, caplog):
    released = trio.Event()
    settings = {"channels": {"email": {}}, "subscriber_timeout": 5.0, "drain": 1}
    async with Notifier.open(settings, providers=Scripted()) as notifier:

        @notifier.bus.subscribe(OrderPlaced)
        async def stubborn(event: OrderPlaced) -> object:
            with trio.CancelScope(shield=True):
                await released.wait()
            return email("never")

        @notifier.bus.subscribe(OrderPlaced)
        async def swallows(event: OrderPlaced) -> object:
            try:
                await trio.sleep_forever()
            except BaseException as error:
                raise ValueError("no") from error

        started = trio.current_time()
        await notifier.publish(PLACED)
        assert trio.current_time() - started == pytest.approx(5.0)
        assert caplog.text.count("not done in 5 s") == 2
        released.set()
        await notifier.wait_until_quiet()
        assert [event.notification_id for event in notifier.sent_notifications] == ["email-order-placed-7"]


# ── what only a real event loop can do, in a simulation ─────────────────────────────────────────────────────────────


async def sleeps(*_: Any) -> Any:
    await trio.sleep(1)


class Real(Scripted):
    """Its effect is real I/O."""

    def attempt(self, attempt: Any, now_ns: int) -> Any:
        return sleeps


@pytest.mark.parametrize("hedged", [False, True])
def test_an_async_effect_of_a_provider_ends_a_simulation_with_an_error_that_names_it(hedged):
    def scenario(world: World) -> None:
        world.open(Real(), email={"hedging": {"delay": 60.0, "max_attempts": 2}} if hedged else {})
        world.send(email("a"))

    with pytest.raises(ForeignAwait, match=r"wants real I/O \(<function sleeps at .* simulated provider"):
        simulate(scenario)


@pytest.mark.parametrize("subscribed", [False, True])
def test_an_async_alert_or_subscriber_that_needs_a_loop_ends_a_simulation(subscribed):
    def scenario(world: World) -> None:
        world.open(Scripted([OK if subscribed else Permanent(reason="no")]), notify=sleeps)
        if subscribed:
            world.pipeline.bus.subscribe(OrderPlaced)(sleeps)
        world.at(1, lambda: world.pipeline.bus.publish(PLACED) if subscribed else world.send(email("a"), at=1))

    with pytest.raises(ForeignAwait, match="only a real event loop could answer"):
        simulate(scenario)


# ── what is no Exception ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", RAISED, ids=repr)
@pytest.mark.parametrize("hedged", [False, True])
async def test_what_a_provider_raises_ends_its_attempt_only(autojump_clock, error, hedged):
    class Provider(Scripted):
        def attempt(self, attempt, now_ns):
            super().attempt(attempt, now_ns)
            if attempt.command.notification_id == "at once" and attempt.number == 1:
                raise error

            async def effect():
                await trio.sleep(0.1)
                if attempt.command.notification_id == "later" and attempt.number == 1:
                    raise error
                return Sent()

            return effect

    hedging = {"hedging": {"delay": 60.0, "max_attempts": 2}} if hedged else {}
    events: list[Any] = []
    settings = {"channels": {"email": {"retry": {"max_attempts": 3}, **hedging}}}
    async with Notifier.open(settings, providers=Provider(), on_event=events.append) as notifier:
        for name in ("at once", "later", "other"):
            await notifier.send(email(name))
        await notifier.wait_until_quiet()
        assert sorted(event.notification_id for event in notifier.sent_notifications) == ["at once", "later", "other"]
    kinds = [event.kind for event in events if type(event).__name__ == "NotificationFailed"]
    assert kinds == ["Ambiguous", "Ambiguous"]
    assert not [event for event in events if isinstance(event, ActorFailed)]


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_what_a_simulated_provider_raises_or_gives_is_an_ambiguous_outcome(error):
    def scenario(world: World) -> None:
        def outcomes(this):
            if this.number == 1 and this.notification_id == "a":
                raise error
            return error if this.number == 1 else OK

        world.open(Scripted(outcomes))
        world.send(email("a"), email("b"))

    world = on_both_clocks(scenario)
    assert sorted(world.sent_ids()) == ["a", "b"]
    assert world.events(ActorFailed) == []


@pytest.mark.parametrize("error", RAISED, ids=repr)
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_alerts_subscribers_and_observers_raise_ends_nothing(autojump_clock, caplog, error, is_async):
    async def later(*_: Any) -> Any:
        await trio.sleep(0.1)
        raise error

    class Fickle(Preferences):
        asked = 0

        def is_enabled(self, user, channel):
            self.asked += 1
            if self.asked == 1:
                raise error
            return True

    class Away(Templates):
        def fill_in(self, command):
            raise error

    async with Notifier.open(
        {"channels": {"email": {}}},
        providers=Scripted(lambda this: Permanent() if this.notification_id == "dead" else OK),
        notify=later if is_async else raising(error),
        on_event=raising(error),
        preferences=Fickle(),
        templates=Away(),
    ) as notifier:
        notifier.bus.subscribe(OrderPlaced)(later if is_async else raising(error))
        await notifier.publish(PLACED)
        await notifier.send(email("dead"))
        await notifier.send(email("templated", metadata={"template": "x"}))
        await notifier.send(email("sent"))
        await notifier.wait_until_quiet()
        assert {event.notification_id for event in notifier.sent_notifications} == {"email-order-placed-7", "sent"}
    for said in ("could not raise the alert", "raised on OrderPlaced", "on_event raised", "preferences raised"):
        assert said in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), HandlerCancelled()], ids=repr)
def test_an_interrupt_or_a_cancellation_is_no_failure(error):
    with pytest.raises(type(error)):
        failure(error)
    with pytest.raises(BaseExceptionGroup) as raised:
        failure(BaseExceptionGroup("g", [ValueError("a"), BaseExceptionGroup("h", [error, SystemExit()])]))
    assert raised.value.split(type(error))[1] is None


async def test_an_attempt_that_raises_as_it_times_out_ends_nothing(autojump_clock):
    class Provider(Scripted):
        def attempt(self, attempt, now_ns):
            async def effect():
                if attempt.number > 1:
                    return Sent()

                async def raises():
                    try:
                        await trio.sleep_forever()
                    finally:
                        raise SystemExit(1)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(raises)
                return OK

            return effect

    settings = {"channels": {"email": {"timeout": 1.0}}}
    async with Notifier.open(settings, providers=Provider()) as notifier:
        await notifier.send(email("a"))
        await notifier.wait_until_quiet()
        assert [event.notification_id for event in notifier.sent_notifications] == ["a"]
