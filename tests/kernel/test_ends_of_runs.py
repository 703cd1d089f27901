"""What ends a run: an error that no restart mends, of an actor, the dispatcher or the body; and a cancellation."""

import pykka
import pytest
import trio
from two_clocks import Do, DoSlowly, Subject, note

from actors.errors import ActorSystemError, InvariantBreach
from actors.kernel.live import LiveSystem


class TestWhatEndsARun:
    @pytest.mark.parametrize("how", ["plain", "async", "on_start"])
    @pytest.mark.parametrize("error", [InvariantBreach("one too many"), KeyboardInterrupt(), SystemExit(3)])
    def test_ends_it_with_exactly_that_error(self, run, how, error):
        def raise_it(_):
            raise error

        async def raise_slowly(subject):
            await subject.sleep(1.0)
            raise error

        def program(system, trace):
            match how:
                case "plain":
                    system.spawn(Subject, trace).tell(Do(raise_it))
                case "async":
                    system.spawn(Subject, trace).tell(DoSlowly(raise_slowly))
                case "on_start":
                    system.spawn(type("Early", (Subject,), {"on_start": raise_it}), trace)

        with pytest.raises(type(error)) as caught:
            run(program)
        assert caught.value is error

    @pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, pytest.fail.Exception])
    @pytest.mark.parametrize("asked", [True, False])
    def test_what_is_no_exception_ends_it_whatever_asked(self, run, error, asked):
        questions = []

        def raise_it(_):
            raise error

        def program(system, trace):
            subject = system.spawn(Subject, trace)
            if asked:
                questions.append(subject.ask(Do(raise_it), block=False))
            else:
                subject.tell(Do(raise_it))

        with pytest.raises(error):
            run(program)
        for question in questions:
            with pytest.raises(pykka.ActorDeadError):
                question.get()

    def test_one_in_on_receive_stops_all_actors_as_in_pykka(self, run_on_both):
        class Strange(BaseException):
            pass

        class Old(Subject):
            def on_receive(self, message):
                raise Strange

        def program(system, trace):
            async def work(subject):
                await subject.sleep(100.0)

            old, busy = system.spawn(Old, trace), system.spawn(Subject, trace)
            never = system.spawn(Subject, trace)
            never.tell(Do(lambda never: never.after(1.0, Do(note))))
            for question in (busy.ask(DoSlowly(work), block=False), old.ask("strange", block=False)):
                question.when_done(lambda question=question: trace.append(type(question._outcome[1]).__name__))

        assert run_on_both(program).trace == ["ActorDeadError", "ActorDeadError"]

    def test_an_error_of_the_body_comes_out_as_it_is(self, on_mock_clock):
        for error in (ZeroDivisionError("mine"), KeyboardInterrupt(), ExceptionGroup("mine", [ValueError()])):

            async def main(error=error):
                async with LiveSystem() as system:
                    system.spawn(Subject, [])
                    await trio.sleep(1.0)
                    raise error

            with pytest.raises(type(error)) as caught:
                on_mock_clock(main)
            assert caught.value is error

    def test_an_error_of_the_dispatcher_cancels_the_body_and_is_raised_from_the_block(self, on_mock_clock):
        async def main():
            async with LiveSystem() as system:
                system.spawn(Subject, []).tell(Do(breach))
                await trio.sleep_forever()

        def breach(_):
            raise InvariantBreach("broken")

        with pytest.raises(InvariantBreach, match="broken"):
            on_mock_clock(main)

    def test_an_error_of_both_shows_both(self, on_mock_clock):
        async def main():
            async with LiveSystem() as system:
                system.spawn(Subject, []).tell(Do(breach))
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("clearing up")

        def breach(_):
            raise InvariantBreach("broken")

        with pytest.raises(InvariantBreach, match="broken") as caught:
            on_mock_clock(main)
        assert isinstance(caught.value.__cause__, ValueError)

    def test_a_block_can_be_cancelled_from_outside(self, on_mock_clock):
        trace = []

        async def main():
            with trio.move_on_after(5.0) as scope:
                async with LiveSystem() as system:
                    subject = system.spawn(Subject, trace)
                    subject.tell(Do(lambda subject: subject.after(10.0, Do(note))))
                    await system.run()
            assert scope.cancelled_caught
            assert trio.current_time() == 5.0
            assert not subject.is_alive()

        on_mock_clock(main)
        assert trace == []

    async def test_a_system_is_entered_once_and_spawns_only_inside(self):
        system = LiveSystem()
        before = pykka.ActorRegistry.get_all()
        with pytest.raises(ActorSystemError, match="inside"):
            system.spawn(Subject, [])
        assert pykka.ActorRegistry.get_all() == before
        async with system:
            system.spawn(Subject, [])
        with pytest.raises(ActorSystemError, match="once"):
            async with system:
                pass
