"""The order of everything: messages, timers, ties, and where a run ends."""

from dataclasses import dataclass
from typing import Any

import pytest
from two_clocks import Do, Subject

from actors.errors import WrongType
from actors.instants import NS_PER_S, ns
from actors.kernel.actor import Actor, handles
from simulation.engine.system import SimulatedSystem


@dataclass(frozen=True)
class Note:
    text: Any


class Scribe(Subject):
    """Writes down what it gets, and when."""

    def __init__(self, name, trace):
        super().__init__(trace)
        self.name = name

    @handles(Note)
    def on_note(self, note):
        self.trace.append((self.name, note.text, self.now_ns))


def test_messages_are_handled_in_the_order_told_whatever_actor_they_are_for(run_on_both):
    def program(system, trace):
        a, b, c = (system.spawn(Scribe, name, trace) for name in "abc")
        for number in range(3):
            for ref in (c, a, b):
                ref.tell(Note(number))
        a.tell(Do(lambda _: [ref.tell(Note("more")) for ref in (b, c, a, b)]))

    sent = [(name, number) for number in range(3) for name in "cab"]
    more = [(name, "more") for name in "bcab"]
    assert [(name, text) for name, text, _ in run_on_both(program).trace] == sent + more


def test_timers_due_together_fire_in_the_order_set_each_with_all_that_follows(run_on_both):
    def program(system, trace):
        a, b = system.spawn(Scribe, "a", trace), system.spawn(Scribe, "b", trace)

        def chain(text, depth):
            def step(actor):
                actor.trace.append((actor.name, text, depth))
                if depth:
                    (b if actor.name == "a" else a).tell(Do(chain(text, depth - 1)))

            return step

        def start(actor):
            # 0.1 + 0.2 and 0.3 are different floats but the same nanosecond, as are all the others.
            for text, delay in (("first", 0.3), ("second", 0.1 + 0.2), ("third", 0.3), ("soonest", 0.1)):
                actor.after(delay, Do(chain(text, 3)))

        a.tell(Do(start))

    trace = run_on_both(program).trace
    assert [text for _, text, _ in trace] == ["soonest"] * 4 + ["first"] * 4 + ["second"] * 4 + ["third"] * 4
    assert [depth for _, _, depth in trace] == [3, 2, 1, 0] * 4


def test_a_timer_set_while_others_are_due_fires_behind_them(run_on_both):
    def program(system, trace):
        a = system.spawn(Scribe, "a", trace)

        def start(actor):
            actor.after(1.0, Do(lambda actor: [actor.after(0.0, Note("late")), actor.at(0, Note("later"))]))
            actor.after(1.0, Note("early"))

        a.tell(Do(start))

    assert run_on_both(program).trace == [("a", text, NS_PER_S) for text in ("early", "late", "later")]


@pytest.mark.parametrize(("until", "seen"), [(2.0, ["before"]), (2.000000001, ["before", "then"])])
def test_what_is_due_at_the_end_of_a_run_does_not_run(run_on_both, until, seen):
    def program(system, trace):
        a = system.spawn(Scribe, "a", trace)
        a.tell(Do(lambda actor: [actor.after(1.999999999, Note("before")), actor.after(2.0, Note("then"))]))

    run = run_on_both(program, until=until)
    assert [text for _, text, _ in run.trace] == seen
    assert run.system.now_ns == ns(until)


def test_a_simulated_run_can_go_on_where_it_stopped():
    system, trace = SimulatedSystem(), []
    ref = system.spawn(Scribe, "a", trace)
    ref.tell(Do(lambda actor: actor.after(2.0, Note("then"))))
    system.run(until=2.0)
    assert trace == []
    ref.tell(Note("between"))
    system.run()
    assert trace == [("a", "between", ns(2.0)), ("a", "then", ns(2.0))]  # what is ready goes before what becomes due


def test_stop_ends_the_run_behind_what_is_ready(run_on_both):
    def program(system, trace):
        a = system.spawn(Scribe, "a", trace)

        def stop(actor):
            actor.system.stop()
            actor.actor_ref.tell(Note("ready"))
            actor.after(0.0, Note("never"))

        a.tell(Do(lambda actor: actor.after(3.0, Do(stop))))

    run = run_on_both(program)
    assert run.trace == [("a", "ready", ns(3.0))]
    assert run.system.now_ns == ns(3.0)


def test_no_one_of_many_actors_is_let_past_another(run_on_both):
    """Ten actors pass tokens on by rules that make ties the normal case."""

    def program(system, trace):
        refs = [system.spawn(Scribe, number, trace) for number in range(10)]

        def hop(token, left):
            def step(actor):
                actor.trace.append((actor.name, token, actor.now_ns))
                if left:
                    to = refs[(actor.name * 7 + token) % 10]
                    if (token + left) % 3:
                        to.tell(Do(hop(token, left - 1)))
                    else:
                        to.actor.after((token + left) % 2 * 0.5, Do(hop(token, left - 1)))

            return step

        for token in range(10):
            refs[token].tell(Do(hop(token, 50)))

    assert len(run_on_both(program).trace) == 510


# ── which handles what ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "types", [(), ("Note",), (Note | Do,), (Scribe.on_note,)], ids=["none", "name", "union", "bare"]
)
def test_a_handler_is_of_types_of_messages(types):
    with pytest.raises(WrongType, match=r"^wanted types of messages, as in @handles\(Order\), got "):
        handles(*types)


def test_a_type_of_messages_has_one_handler_in_a_class():
    with pytest.raises(WrongType, match=r"^Torn: wanted one handler of Note, got on_note and on_either$"):

        class Torn(Actor):
            @handles(Note)
            def on_note(self, note):
                pass

            @handles(Do, Note)
            def on_either(self, message):
                pass

    class Other(Scribe):
        @handles(Note)
        def on_any_note(self, note):
            pass

        also_called = on_any_note
