"""Failures: restarts and their waits, supervisors, and death watch."""

import math

import pykka
import pytest
import trio
from two_clocks import Do, DoSlowly, Subject, note

from actors.errors import ActorSystemError
from actors.instants import ns
from actors.kernel.actor import STOP_ON_FAILURE, Actor, Supervision, handles
from actors.kernel.effects import Foreseen
from actors.messages import ActorFailed
from simulation.engine.system import SimulatedSystem


def fail(_):
    raise ZeroDivisionError("of course")


def under(rule, base=Subject):
    return type("Supervised", (base,), {"supervision": rule})


def failures(run):
    return [(event.at_ns / 1e9, event.decision) for event in run.history if type(event) is ActorFailed]


class TestARestart:
    def test_makes_the_state_anew_and_keeps_the_mailbox(self, run_on_both):
        def program(system, trace):
            subject = system.spawn(Subject, trace)
            for what in (note, fail, note, note):
                subject.tell(Do(what))

        run = run_on_both(program)
        assert run.trace == [(1, 0), (1, ns(0.1)), (2, ns(0.1))]
        (failed,) = run.history
        assert (failed.actor, failed.error, failed.decision) == ("Subject", "ZeroDivisionError: of course", "restart")

    def test_of_an_async_handler_does_the_same(self, run_on_both):
        def program(system, trace):
            async def fail_slowly(subject):
                await subject.sleep(1.0)
                fail(subject)

            subject = system.spawn(Subject, trace)
            for message in (DoSlowly(fail_slowly), Do(note), Do(note)):
                subject.tell(message)

        assert run_on_both(program).trace == [(1, ns(1.1)), (2, ns(1.1))]

    def test_keeps_the_reference_the_timers_the_effects_and_the_watchers(self, run_on_both):
        def program(system, trace):
            subject, watcher = system.spawn(Subject, trace), system.spawn(Subject, trace)
            watcher.tell(Do(lambda watcher: watcher.watch(subject)))

            def begin(actor):
                actor.after(0.05, Do(note))
                actor.after(1.0, Do(note))
                actor.perform(Foreseen(ns(2.0), "result"), "request")
                actor.after(3.0, Do(fail))

            subject.tell(Do(begin))
            subject.tell(Do(fail))

        assert run_on_both(program).trace == [
            ("Restarted", "ZeroDivisionError", 0),
            (1, ns(0.1)),  # was due while it was suspended
            (2, ns(1.0)),
            ("performed", "result", ns(2.0)),
            ("Restarted", "ZeroDivisionError", ns(3.0)),
        ]

    def test_waits_twice_as_long_each_time_up_to_the_maximum(self, run_on_both):
        rule = Supervision(max_restarts=6, window=math.inf, initial_delay=1.0, max_delay=5.0)

        def program(system, trace):
            subject = system.spawn(under(rule), trace)
            for _ in range(8):
                subject.tell(Do(fail))

        expected = [(at, "restart") for at in (0, 1, 3, 7, 12, 17)] + [(22, "stop")]
        run = run_on_both(program)
        assert failures(run) == expected
        assert run.system.undelivered_count == 1

    def test_that_was_long_ago_does_not_count(self, run_on_both):
        rule = Supervision(max_restarts=1, window=10.0, initial_delay=1.0)

        def program(system, trace):
            subject = system.spawn(under(rule), trace)
            subject.tell(Do(lambda subject: [subject.after(delay, Do(fail)) for delay in (0.0, 10.0, 19.999999999)]))

        assert failures(run_on_both(program)) == [(0, "restart"), (10, "restart"), (19.999999999, "stop")]

    def test_may_come_more_often_than_calls_may_be_nested(self, run):
        rule = Supervision(max_restarts=3000, window=math.inf, initial_delay=0.001, max_delay=0.001)

        def program(system, trace):
            subject = system.spawn(under(rule), trace)
            for _ in range(1100):
                subject.tell(Do(fail))
            subject.tell(Do(note))

        assert run(program).trace == [(1, ns(1.1))]

    def test_of_an_actor_that_raises_as_it_starts(self, run_on_both):
        class Late(Subject):
            def on_start(self):
                self.trace.append(("starts", self.now_ns))
                if len(self.trace) < 4:
                    raise ZeroDivisionError

        def program(system, trace):
            system.spawn(Late, trace).tell(Do(note))

        starts = [("starts", ns(at)) for at in (0.0, 0.1, 0.3, 0.7)]
        assert run_on_both(program).trace == [*starts, (1, ns(0.7))]

    def test_of_an_actor_whose_constructor_raises(self, run_on_both):
        class Unwilling(Subject):
            def __init__(self, trace, tries):
                tries.append(1)
                if len(tries) in (2, 3):
                    raise ValueError("not yet")
                super().__init__(trace)

        def program(system, trace):
            subject = system.spawn(Unwilling, trace, [])
            for what in (note, fail, note):
                subject.tell(Do(what))

        run = run_on_both(program)
        assert run.trace == [(1, 0), (1, ns(0.7))]
        assert [event.error for event in run.history][1:] == ["ValueError: not yet"] * 2

    def test_calls_on_failure_with_the_state_as_it_was(self, run_on_both, caplog):
        class Mourner(Subject):
            def on_failure(self, kind, error, traceback):
                self.trace.append((kind.__name__, self.count, self.now_ns))
                raise RuntimeError("in on_failure")

        def program(system, trace):
            subject = system.spawn(Mourner, trace)
            for what in (note, fail, note):
                subject.tell(Do(what))

        assert run_on_both(program).trace == [(1, 0), ("ZeroDivisionError", 2, 0), (1, ns(0.1))]
        assert "in on_failure" in caplog.text

    def test_stops_the_children_which_the_next_incarnation_spawns_again(self, run_on_both):
        def program(system, trace):
            class Parent(Subject):
                def on_start(self):
                    self.child = self.spawn(Subject, self.trace)
                    self.watch(self.child)
                    self.child.tell(Do(lambda child: child.after(5.0, Do(note))))

            parent = system.spawn(Parent, trace)
            parent.tell(Do(fail))

        run = run_on_both(program)
        assert run.trace == [("Terminated", "NoneType", ns(0.1)), (2, ns(5.1))]

    def test_is_not_done_twice_when_it_crashes_meanwhile(self, run_on_both):
        class Starting(Subject):
            def on_start(self):
                self.trace.append(("starts", self.now_ns))

        def program(system, trace):
            subject = system.spawn(Starting, trace)
            subject.tell(Do(fail))
            other = system.spawn(Subject, trace)
            crash = Do(lambda _: system.crash(subject, ValueError()))
            other.tell(Do(lambda other: other.after(0.05, crash)))

        assert run_on_both(program).trace == [("starts", 0), ("starts", ns(0.25))]


class TestPastTheLimit:
    def test_an_actor_stops_and_its_watchers_are_notified(self, run_on_both):
        def program(system, trace):
            subject, watcher = system.spawn(under(STOP_ON_FAILURE), trace), system.spawn(Subject, trace)
            watcher.tell(Do(lambda watcher: watcher.watch(subject)))
            for what in (note, fail, note):
                subject.tell(Do(what))
            watcher.tell(Do(lambda watcher: watcher.after(1.0, Do(lambda watcher: watcher.watch(subject)))))

        run = run_on_both(program)
        assert run.trace == [(1, 0), ("Terminated", "ZeroDivisionError", 0), ("Terminated", "NoneType", ns(1.0))]
        assert failures(run) == [(0, "stop")]
        assert run.system.undelivered_count == 1

    @pytest.mark.parametrize("then", ["stop", "restart"])
    def test_without_a_supervisor_the_rule_decides(self, run_on_both, then):
        def program(system, trace):
            subject = system.spawn(under(Supervision(max_restarts=1, then=then)), trace)
            for _ in range(4):
                subject.tell(Do(fail))

        decisions = [decision for _, decision in failures(run_on_both(program))]
        assert decisions == ["restart", "stop"] if then == "stop" else ["restart"] * 4

    def test_escalating_to_no_one_ends_the_run_with_the_error(self, run):
        def program(system, trace):
            system.spawn(under(Supervision(max_restarts=0, then="escalate")), trace).tell(Do(fail))

        with pytest.raises(ZeroDivisionError, match="of course"):
            run(program)

    @pytest.mark.parametrize("decision", ["stop", "restart", "escalate", "raise"])
    def test_the_supervisor_decides(self, run_on_both, decision):
        def program(system, trace):
            class Parent(Subject):
                def on_start(self):
                    trace.append(("parent starts", self.now_ns))
                    if len(trace) == 1:
                        self.child = self.spawn(under(STOP_ON_FAILURE), self.trace)
                        for what in (fail, note):
                            self.child.tell(Do(what))

                def on_child_failure(self, child, error):
                    assert child is self.child
                    trace.append((type(error).__name__, self.now_ns))
                    if decision == "raise":
                        raise ValueError("cannot decide")
                    return decision

            system.spawn(Parent, trace)

        run = run_on_both(program)
        asked = [("parent starts", 0), ("ZeroDivisionError", 0)]
        match decision:
            case "stop":
                assert run.trace == asked
                assert failures(run) == [(0, "stop")]
            case "restart":
                assert run.trace == [*asked, (1, ns(0.1))]
                assert failures(run) == [(0, "restart")]
            case _:
                assert run.trace == [*asked, ("parent starts", ns(0.1))]
                own = "ZeroDivisionError" if decision == "escalate" else "ValueError"
                assert [(type(event), event.actor) for event in run.history] == [
                    (ActorFailed, "Supervised"),
                    (ActorFailed, "Parent"),
                ]
                assert run.history[1].error.startswith(own)

    def test_a_supervisor_that_is_dead_decides_nothing(self, run_on_both):
        def program(system, trace):
            class Parent(Subject):
                def on_child_failure(self, child, error):
                    trace.append("asked a dead one")
                    return "restart"

            def leave(parent):
                child = parent.spawn(under(STOP_ON_FAILURE), trace)
                child.tell(Do(lambda child: child.actor_ref.tell(Do(fail))))
                parent.stop()

            system.spawn(Parent, trace).tell(Do(leave))

        run = run_on_both(program)
        assert run.trace == []
        assert failures(run) == [(0, "stop")]


class TestStopping:
    def test_a_parent_takes_its_children_with_it_behind_what_they_were_told(self, run_on_both):
        def program(system, trace):
            refs = {}

            def family(parent):
                refs["child"] = parent.spawn(Subject, trace)
                refs["child"].tell(Do(lambda child: refs.update(grandchild=child.spawn(Subject, trace))))
                refs["child"].tell(Do(note))
                parent.stop()

            system.spawn(Subject, trace).tell(Do(family))
            watcher = system.spawn(Subject, trace)
            look = Do(lambda _: trace.append([ref.is_alive() for ref in refs.values()]))
            watcher.tell(Do(lambda watcher: watcher.after(1.0, look)))

        assert run_on_both(program).trace == [(2, 0), [False, False]]

    def test_a_busy_actor_ends_what_it_is_doing_first(self, run_on_both):
        def program(system, trace):
            class Polite(Subject):
                def on_stop(self):
                    trace.append(("on_stop", self.now_ns))

            async def work(subject):
                await subject.sleep(1.0)
                note(subject)
                return "done"

            async def ask(_):
                answer = subject.ask(DoSlowly(work), block=False)
                stopped = subject.stop(block=False)
                trace.append((await answer, await stopped))

            subject = system.spawn(Polite, trace)
            system.spawn(Subject, trace).tell(DoSlowly(ask))

        assert run_on_both(program).trace == [(1, ns(1.0)), ("on_stop", ns(1.0)), ("done", True)]

    def test_an_on_stop_that_raises_is_logged_and_the_actor_is_dead_all_the_same(self, run_on_both, caplog):
        def program(system, trace):
            class Sore(Subject):
                def on_stop(self):
                    raise ValueError("will not")

            async def ask(asker):
                asker.watch(sore)
                trace.append(await sore.stop(block=False))
                trace.append(sore.is_alive())

            sore = system.spawn(Sore, trace)
            system.spawn(Subject, trace).tell(DoSlowly(ask))

        assert run_on_both(program).trace == [True, False, ("Terminated", "NoneType", 0)]
        assert "will not" in caplog.text

    def test_an_actor_that_waits_for_its_restart_is_stopped_after_it(self, run_on_both):
        def program(system, trace):
            async def ask(asker):
                subject.tell(Do(fail))
                subject.tell(Do(note))
                trace.append((await subject.stop(block=False), asker.now_ns))

            subject = system.spawn(Subject, trace)
            system.spawn(Subject, trace).tell(DoSlowly(ask))

        assert run_on_both(program).trace == [(1, ns(0.1)), (True, ns(0.1))]


class TestACrash:
    def test_cancels_a_handler_under_way_which_does_not_live_on_in_the_new_state(self, run_on_both):
        def program(system, trace):
            async def work(subject):
                try:
                    await subject.sleep(100.0)
                    trace.append("never")
                finally:
                    trace.append(("unwinds", subject.now_ns))
                    await subject.sleep(1.0)
                    trace.append("never")

            subject = system.spawn(Subject, trace)
            subject.tell(DoSlowly(work))
            subject.tell(Do(note))
            crash = Do(lambda _: system.crash(subject, ValueError()))
            system.spawn(Subject, trace).tell(Do(lambda other: other.after(5.0, crash)))

        assert run_on_both(program).trace == [("unwinds", ns(5.0)), (1, ns(5.1))]

    def test_cancels_real_io_too(self, run_live):
        async def program(system, trace):
            async def work(_):
                try:
                    await trio.sleep(100.0)
                finally:
                    trace.append(("unwinds", trio.current_time()))

            subject = system.spawn(Subject, trace)
            subject.tell(DoSlowly(work))
            subject.tell(Do(note))
            await trio.sleep(5.0)
            system.crash(subject, ValueError())
            await trio.sleep(50.0)

        trace = run_live(program)
        assert trace == [("unwinds", 5.0), (1, ns(5.1))]

    def test_by_a_process_of_the_users_own_happens_at_its_instant(self):
        system, trace, history = SimulatedSystem(), [], []
        system.record = history.append
        subject = system.spawn(Subject, trace)

        def process():
            yield system.env.timeout(ns(7.0))
            system.crash(subject, ValueError())
            subject.tell(Do(note))

        system.env.process(process())
        system.run()
        assert trace == [(1, ns(7.1))]
        assert [event.at_ns for event in history] == [ns(7.0)]

    def test_of_a_dead_actor_is_nothing(self, run_on_both):
        def program(system, trace):
            subject = system.spawn(Subject, trace)
            subject.stop(block=False)
            system.crash(subject, ValueError())
            other = system.spawn(Subject, trace)
            other.tell(Do(lambda other: other.after(1.0, Do(lambda _: system.crash(subject, ValueError())))))

        assert run_on_both(program).history == []

    @pytest.mark.parametrize("rule", [STOP_ON_FAILURE, Supervision(initial_delay=5.0)])
    def test_answers_who_asked(self, run_on_both, rule):
        def program(system, trace):
            async def work(subject):
                await subject.sleep(100.0)

            async def ask(asker):
                under_way = subject.ask(DoSlowly(work), block=False)
                behind = subject.ask(Do(lambda _: "answer"), block=False)
                for question in (under_way, behind):
                    try:
                        trace.append((await question, asker.now_ns))
                    except (ValueError, pykka.ActorDeadError) as error:
                        trace.append((type(error).__name__, asker.now_ns))

            subject = system.spawn(under(rule), trace)
            system.spawn(Subject, trace).tell(DoSlowly(ask))
            crash = Do(lambda _: system.crash(subject, ValueError()))
            system.spawn(Subject, trace).tell(Do(lambda other: other.after(1.0, crash)))

        behind = ("ActorDeadError", ns(1.0)) if rule is STOP_ON_FAILURE else ("answer", ns(6.0))
        assert run_on_both(program).trace == [("ValueError", ns(1.0)), behind]


def test_handlers_come_from_mixins_and_all_bases_and_can_be_overridden(run_on_both):
    class Notes:
        @handles(str)
        def on_text(self, text):
            self.trace.append(("mixin", text))

    class Numbers(Actor):
        @handles(int, float)
        def on_number(self, number):
            self.trace.append(("number", number))

    class Both(Notes, Subject, Numbers):
        def on_number(self, number):
            self.trace.append(("overridden", number))

        def on_receive(self, message):
            self.trace.append(("other", message))

    def program(system, trace):
        both = system.spawn(Both, trace)
        for message in ("a", 1, 2.5, True, Do(note)):
            both.tell(message)

    assert run_on_both(program).trace == [
        ("mixin", "a"),
        ("overridden", 1),
        ("overridden", 2.5),
        ("other", True),
        (1, 0),
    ]


def test_an_async_on_start_is_refused_clearly(run_on_both):
    class Modern(Subject):
        supervision = STOP_ON_FAILURE

        async def on_start(self):
            pass

    def program(system, trace):
        system.spawn(Modern, trace)

    (failed,) = run_on_both(program).history
    assert "on_start cannot be async" in failed.error


def test_an_actor_is_spawned_and_not_just_made():
    with pytest.raises(ActorSystemError, match=r"Subject has no system: start it with system\.spawn"):
        Subject([])
