"""The service under test: a pipeline, and after a crash of its process another one over the same store.

A crash takes with it all that is in memory: messages, timers, what providers still answer (they deliver all the same,
and the answers are lost), the counts and states of breakers and limiters, and the changes that the store had not made
durable before that very instant. Until the process is back no arrival is accepted: its sender sees an error, and it is
counted as refused, not as accepted. The pipeline that starts then finds in the store what has not ended. What waited
for its retry, or for the end of quiet hours, goes on at its time; what was under way is sent again, and reaches its
provider a second time if it had been there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from actors.errors import InvariantBreach, Overloaded
from actors.instants import seconds
from actors.kernel.actor import ActorRef
from actors.kernel.futures import Future
from actors.kernel.system import ActorSystem
from actors.messages import ActorFailed, BreakerTransitioned, SendNotification
from actors.notifier import Pipeline
from actors.pipeline.orders import Acceptance, Submit
from actors.storage.lossy import LossyStore
from actors.storage.memory import MemoryStore
from simulation.results.recorder import Recorder
from simulation.running.workload import ENDS, Clients, Forgotten, Refuse

RESTART = "restart"
"""What a breaker's transition is caused by when its state is lost with the process."""


DOWN, OVERLOADED = "down", "overloaded"
"""Why an arrival is refused: the process is down, or as many notifications are pending as may be."""


class Service:
    """Owns the pipeline of the moment."""

    def __init__(
        self, system: ActorSystem, store: MemoryStore, recorder: Recorder, make: Callable[[], Pipeline]
    ) -> None:
        """Start it.

        Args:
            system: what it runs on.
            store: what outlives its process.
            recorder: counts the notifications in flight.
            make: starts a pipeline over the store.
        """
        self._system = system
        self._store = store
        self._recorder = recorder
        self._make = make
        self._clients: list[ActorRef[Clients]] = []
        self.pipeline: Pipeline
        """The latest."""
        self.is_down = False
        """Whether it is gone, and no other one is there yet."""
        self.start()

    def start(self) -> None:
        """Start a pipeline over the store."""
        self.pipeline = self._make()
        self.is_down = False
        self._recorder.in_flight_now = self.pipeline.handler.actor.count_in_flight
        self._recorder.wiring = self.pipeline.wiring
        for clients in self._clients:
            self._tell_of_ends(clients)

    def answer(self, clients: ActorRef[Clients]) -> None:
        """Tell clients how their notifications end, and which of them are forgotten in a crash."""
        self._clients.append(clients)
        self._tell_of_ends(clients)

    def _tell_of_ends(self, clients: ActorRef[Clients]) -> None:
        self.pipeline.bus.subscribe(*ENDS)(clients.tell)

    # ── arrivals ────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, command: SendNotification, refuse: Refuse) -> None:
        """Send a command to the handler; `refuse` is told if it is not accepted."""
        if self.is_down:
            refuse(DOWN)
        elif self.pipeline.wiring.admission.max_pending is None:
            self.pipeline.handler.tell(command)
        else:
            answer: Future[Acceptance] = self._system.future_class()
            answer.when_done(partial(_tell_if_overloaded, answer, refuse))
            self.pipeline.handler.tell(Submit(command, answer))

    def announce(self, event: Any, refuse: Refuse) -> None:
        """Publish a domain event on the bus; `refuse` is told if it is not."""
        if self.is_down:
            refuse(DOWN)
        elif not self.pipeline.bus.has_room_for(event):
            refuse(OVERLOADED)
        else:
            self.pipeline.bus.announce(event)

    # ── the crash ───────────────────────────────────────────────────────────────────────────────────────────────

    def crash(self, error: Exception) -> None:
        """Kill the process at once. One that is down stays as it is."""
        if self.is_down:
            return
        self.is_down = True
        self._recorder.note_waiting()
        self.pipeline.kill()
        now_ns = self._system.now_ns
        if isinstance(self._store, LossyStore):
            last_ns = now_ns - 1  # what becomes durable at this instant comes behind the crash
            self._record_what_is_durable(self._store, last_ns)
            self._store.crash(last_ns)
        if self._recorder.interruptions is not None:
            self._recorder.interruptions.lose_all(now_ns)
        left = {delivery.command.notification_id for delivery in self._store.open_deliveries(self._system.epoch_ns)}
        if len(left) != self._recorder.in_flight:
            raise InvariantBreach(
                f"at {seconds(now_ns)} s the process crashed with {self._recorder.in_flight} notifications in flight "
                f"by the history, and {len(left)} in the store"
            )
        self._recorder.in_flight_now = left.__len__
        self._system.record(
            ActorFailed(
                at_ns=now_ns,
                epoch_ns=self._system.epoch_ns,
                actor="process",
                error=f"{type(error).__name__}: {error}",
                decision="restart",
            )
        )
        self._forget_states()
        for clients in self._clients:
            clients.tell(Forgotten(frozenset(left)))

    def _record_what_is_durable(self, store: LossyStore, last_ns: int) -> None:
        """Record the changes that the store keeps, and that a handler which was down has not recorded any more."""
        self._recorder.in_flight_now = lambda: self._recorder.in_flight
        for commit in self.pipeline.wiring.commits.under_way.values():
            if store.has_made_durable(commit.event, last_ns):
                self._system.record(commit.event)

    def _forget_states(self) -> None:
        """Record that every breaker is in the state again in which it began."""
        for stages in self.pipeline.wiring.stages.values():
            for lane in stages.lanes:
                config = lane.config.circuit_breaker
                for host, breaker in lane.breakers():
                    if breaker.state is not config.begins:
                        event = BreakerTransitioned(
                            at_ns=self._system.now_ns,
                            epoch_ns=self._system.epoch_ns,
                            breaker=lane.name,
                            host=host if config.per == "host" else None,
                            from_state=breaker.state,
                            to_state=config.begins,
                            cause=RESTART,
                        )
                        self._system.record(event)


def _tell_if_overloaded(answer: Future[Acceptance], refuse: Refuse) -> None:
    try:
        answer.get(timeout=0)
    except Overloaded:
        refuse(OVERLOADED)
