"""Interceptors: what stands between a system and its actors sees what passes, in the order of the list."""

from typing import Any

import pytest
import trio
import trio.testing

from actors.kernel.actor import Actor, handles
from actors.kernel.effects import Foreseen, Performed
from actors.kernel.interceptors import Interceptor
from actors.kernel.live import LiveSystem
from actors.kernel.mailbox import Mailbox
from simulation.engine.system import SimulatedSystem


class Echo(Actor):
    def __init__(self, seen: list[Any]) -> None:
        super().__init__()
        self.seen = seen

    @handles(str)
    def on_text(self, text: str) -> str:
        self.seen.append(text)
        return text

    @handles(int)
    def on_number(self, number: int) -> None:
        self.perform(Foreseen(delay_ns=number, result="done"), number)

    @handles(Performed)
    def on_performed(self, performed: Performed) -> None:
        self.seen.append((performed.result, self.now_ns))


class NarrowEcho(Echo):
    mailbox = Mailbox(10)


class Adds(Interceptor):
    """Adds a letter to each text that is sent."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def tell(self, go_on, actor, message):
        go_on(message + self.letter if isinstance(message, str) else message)


class Twice(Interceptor):
    """Has effects take twice as long, and notes what is asked and what fails."""

    delivers_once = False

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.failures: list[Exception] = []

    def perform(self, go_on, actor, effect, request, timeout_ns=None, on_timeout=None):
        return go_on(actor, Foreseen(2 * effect.delay_ns, effect.result), request, timeout_ns, on_timeout)

    def ask(self, go_on, ref, message):
        self.asked.append(message)
        return go_on(ref, message)

    def fail(self, go_on, actor, message, error, restart_after_ns=None):
        self.failures.append(error)
        go_on(actor, message, error, restart_after_ns)


def simulate(interceptors, program):
    with SimulatedSystem(interceptors=interceptors) as system:
        program(system)
        system.run(until=10.0)
        return system


def run_on_trio(interceptors, program):
    async def main():
        async with LiveSystem(interceptors=interceptors) as system:
            program(system)
            await system.run(until=10.0)
        return system

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


both_clocks = pytest.mark.parametrize("run", [simulate, run_on_trio])


@both_clocks
@pytest.mark.parametrize("kind", [Echo, NarrowEcho])
def test_the_first_of_the_list_is_the_outermost_for_what_is_told_and_routed(run, kind):
    seen = []

    def program(system):
        echo = system.spawn(kind, seen)
        echo.tell("told")
        system.route(echo)("routed")

    run([Adds("1"), Adds("2")], program)
    assert sorted(seen) == ["routed12", "told12"]


@both_clocks
def test_effects_questions_and_failures_pass_by(run):
    seen, twice = [], Twice()

    def program(system):
        echo = system.spawn(Echo, seen)
        echo.tell(1_000_000_000)
        echo.ask("asked", block=False)
        system.crash(echo, RuntimeError("injected"))

    system = run([twice], program)
    assert seen == ["asked", ("done", 2_000_000_000)]
    assert twice.asked == ["asked"]
    assert [str(error) for error in twice.failures] == ["injected"]
    assert not system.delivers_once


@both_clocks
def test_what_is_not_overridden_is_not_put_in(run):
    hooked = {"_teller", "route", "set_timer", "perform", "_ask", "_handle", "_not_delivered"}
    plain = run([Interceptor()], lambda _: None)
    assert plain.delivers_once
    assert not hooked & vars(plain).keys()
    assert hooked & vars(run([Adds("1")], lambda _: None)).keys() == {"_teller", "route"}
