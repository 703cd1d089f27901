"""What an observer of turns learns, and that a system without one has nothing in the way."""

from functools import partial

from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.turns import called_turn, interceptors_for, takes_turn
from simulation.engine.system import SimulatedSystem


class Wake(str):
    """A timer."""


class Order(str):
    """A message."""


class Hint(str):
    """A message of which it is enough to know when it is told."""


class Worker(Actor):
    supervision = Supervision(initial_delay=1.0)

    def __init__(self, name, log):
        super().__init__()
        self._log = log

    @classmethod
    def _place_of(cls, *args):
        return "worker", args[0]

    @handles(Wake)
    @takes_turn("wake", lambda worker, wake: None if wake == "unseen" else (worker._place, wake))
    def on_wake(self, wake):
        self._log.append(f"wakes {wake}")

    @handles(Order)
    @takes_turn("order", when_told=True)
    def on_order(self, order):
        self._log.append(f"does {order}")
        if order == "fail":
            raise ValueError(order)

    @handles(Hint)
    @takes_turn("hint", when_told=True)
    def on_hint(self, hint):
        self._log.append(f"heeds {hint}")


class Log:
    waiting_kinds = frozenset({"wake"})
    ignored_kinds = frozenset({"hint"})
    told_kinds = frozenset({"order", "hint"})

    def __init__(self):
        self.lines = []

    def turn(self, kind, key, node, now_ns):
        self.lines.append(f"{kind} {key} at {now_ns}")
        return partial(self.lines.append, f"{key} is done") if kind == "order" else None

    def falls_due(self, kind, key, node, now_ns):
        self.lines.append(f"{kind} {key} waits at {now_ns}")

    def told(self, kind, key, node):
        self.lines.append(f"told to {kind} {key}")


def observed(program):
    log = Log()
    first, last = interceptors_for(log)
    with SimulatedSystem(interceptors=[first, last]) as system:
        program(system, system.spawn(Worker, "a", log.lines))
        system.run()
    return log.lines


def test_a_turn_is_reported_before_its_handler_and_may_be_followed_to_its_end():
    def program(_system, worker):
        worker.tell(Order("dig"))
        worker.tell(Order("rest"))

    told = ["told to order dig", "told to order rest"]
    turns = [line for order in ("dig", "rest") for line in (f"order {order} at 0", f"does {order}", f"{order} is done")]
    assert observed(program) == [*told, *turns]


def test_a_turn_of_a_kind_that_is_ignored_is_reported_when_it_is_told_alone():
    assert observed(lambda system, worker: worker.tell(Hint("left"))) == ["told to hint left", "heeds left"]


def test_what_is_no_turn_is_handled_and_not_reported():
    lines = observed(lambda system, worker: system.set_timer(5, worker.actor, Wake("unseen")))
    assert lines == ["wakes unseen"]


def test_what_falls_due_for_an_actor_that_is_down_is_reported_then_and_as_it_comes():
    def program(system, worker):
        worker.tell(Order("fail"))
        system.set_timer(5, worker.actor, Wake("up"))

    told, *lines = observed(program)
    assert (told, lines[:3]) == ("told to order fail", ["order fail at 0", "does fail", "fail is done"])
    assert lines[3:] == [
        "wake (('worker', 'a'), 'up') waits at 5",
        "restart ('worker', 'a') at 1000000000",
        "wake (('worker', 'a'), 'up') at 1000000000",
        "wakes up",
    ]


def test_a_function_that_the_environment_calls_is_a_turn_of_its_own():
    class Service:
        name = "s"

        @takes_turn("stop", lambda service, *nodes: (service.name, nodes))
        def stop(self, *nodes):
            """End some."""

    assert called_turn(partial(partial(Service().stop, 1), 2)) == ("stop", ("s", (1, 2)))
    assert called_turn(lambda: None) == ("other", "")


def test_without_an_observer_nothing_stands_in_the_way():
    with SimulatedSystem() as system:
        worker = system.spawn(Worker, "a", []).actor
        system.run()
        assert {type(handler).__name__ for handler in worker._plain.values()} == {"method"}
