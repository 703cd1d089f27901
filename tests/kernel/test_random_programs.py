"""Random programs of actors: whatever they do, they do the same on both clocks."""

from dataclasses import dataclass
from typing import Any

import pykka
from effort import examples
from hypothesis import example, given, settings, strategies as st

from actors.errors import MailboxFull
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Foreseen, Performed
from actors.kernel.mailbox import Mailbox
from actors.kernel.system import Restarted, Terminated

DELAYS = st.sampled_from([0.0, 0.0, 0.1, 0.2, 0.1 + 0.2, 0.3, 1.0, 1.0])
"""Few, so that ties are the normal case."""
ACTORS = 4
TO = st.integers(0, ACTORS - 1)


@dataclass(frozen=True)
class Script:
    """Do these things, one after the other."""

    steps: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class SlowScript:
    """Do these things in an async handler."""

    steps: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Cancel:
    """Cancel a timer, if it is not too late."""

    timer: Any


plain_steps = st.deferred(
    lambda: st.one_of(
        st.just(("note",)),
        st.tuples(st.just("tell"), TO, scripts),
        st.tuples(st.just("after"), DELAYS, scripts),
        st.tuples(st.just("cancelled"), DELAYS, DELAYS, scripts),
        st.tuples(st.just("perform"), DELAYS, DELAYS),
        st.tuples(st.just("spawn"), scripts),
        st.tuples(st.just("watch"), TO),
        st.tuples(st.just("fail")),
        st.tuples(st.just("crash"), TO),
        st.tuples(st.just("stop"), TO),
    )
)
async_steps = st.deferred(
    lambda: st.one_of(
        plain_steps,
        st.tuples(st.just("sleep"), DELAYS),
        st.tuples(st.just("ask"), TO, scripts),
        st.tuples(st.just("deadline"), DELAYS, st.lists(async_steps, min_size=1, max_size=3).map(tuple)),
        st.tuples(st.just("finally"), st.lists(async_steps, max_size=2).map(tuple), async_steps),
    )
)
scripts = st.deferred(
    lambda: st.one_of(
        st.lists(plain_steps, max_size=3).map(tuple).map(Script),
        st.lists(async_steps, max_size=4).map(tuple).map(SlowScript),
    )
)


class Player(Actor):
    supervision = Supervision(max_restarts=2, initial_delay=0.1)

    def __init__(self, name, trace, cast):
        super().__init__()
        self.name, self.trace, self.cast, self.count = name, trace, cast, 0

    def note(self, *what):
        self.count += 1
        self.trace.append((self.name, self.count, self.now_ns, *what))

    def on_start(self):
        self.note("starts")

    def on_stop(self):
        self.note("stops")

    @handles(Script)
    def on_script(self, script):
        for step in script.steps:
            self.do(step)
        return self.count

    @handles(SlowScript)
    async def on_slow_script(self, script):
        self.note("begins")
        for step in script.steps:
            await self.do_slowly(step)
        self.note("ends")
        return self.count

    @handles(Performed)
    def on_performed(self, performed):
        self.note("performed", performed.result, performed.started_ns, performed.ended_ns)

    @handles(Terminated, Restarted)
    def on_news(self, news):
        self.note(type(news).__name__, type(news.error).__name__)

    def do(self, step):
        match step:
            case ("note",):
                self.note("notes")
            case ("tell", to, script):
                try:
                    self.cast[to].tell(script)
                except (pykka.ActorDeadError, MailboxFull) as error:
                    self.note("could not tell", type(error).__name__)
            case ("after", delay, script):
                self.after(delay, script)
            case ("cancelled", delay, sooner, script):
                timer = self.after(delay, script)
                self.after(sooner, Cancel(timer))
            case ("perform", delay, timeout):
                effect = Foreseen(round(delay * 1e9), "result")
                self.perform(effect, None, timeout_ns=round(timeout * 1e9), on_timeout="too late")
            case ("spawn", script):
                self.spawn(Player, f"{self.name}.{self.count}", self.trace, self.cast).tell(script)
            case ("watch", to):
                self.watch(self.cast[to])
            case ("fail",):
                raise ZeroDivisionError
            case ("crash", to):
                self.system.crash(self.cast[to], ValueError())
            case ("stop", to):
                self.cast[to].stop(block=False)

    async def do_slowly(self, step):
        match step:
            case ("sleep", delay):
                await self.sleep(delay)
                self.note("slept")
            case ("ask", to, script) if self.cast[to].actor is not self:
                try:
                    self.note("answer", await self.cast[to].ask(script, block=False))
                except Exception as error:
                    self.note("answer", type(error).__name__)
            case ("deadline", delay, steps):
                with self.move_on_after(delay) as scope:
                    for each in steps:
                        await self.do_slowly(each)
                self.note("deadline", scope.cancelled_caught)
            case ("finally", steps, last):
                try:
                    for each in steps:
                        await self.do_slowly(each)
                finally:
                    self.note("finally")
                    await self.do_slowly(last)
            case ("ask", *_):
                pass  # of itself, which would wait forever
            case _:
                self.do(step)

    @handles(Cancel)
    def on_cancel(self, cancel):
        cancel.timer.cancel()


class Narrow(Player):
    mailbox = Mailbox(3, "drop_oldest")


class Strict(Player):
    mailbox = Mailbox(2, "refuse")
    supervision = Supervision(max_restarts=0)


ASKING_EACH_OTHER = SlowScript((("finally", (("ask", 0, SlowScript((("ask", 1, Script(())),))),), ("sleep", 1.0)),))


@given(st.lists(st.tuples(TO, scripts), min_size=1, max_size=8))
@example([(1, ASKING_EACH_OTHER)])  # two that wait for each other when the run ends
@settings(max_examples=examples(300))
def test_have_one_history(run_on_both, opening):
    def program(system, trace):
        cast = []
        for name, kind in enumerate((Player, Player, Narrow, Strict)):
            cast.append(system.spawn(kind, name, trace, cast))
        for to, script in opening:
            try:
                cast[to].tell(script)
            except MailboxFull:
                trace.append("full")

    run = run_on_both(program)
    at = [entry[2] for entry in run.trace if isinstance(entry, tuple)]
    assert at == sorted(at)
