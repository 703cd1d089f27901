"""The service under test: a process with a pipeline, or several over one store; and after a crash of one, another.

A crash takes with it all that is in memory: messages, timers, answers of providers still to come (they deliver all the
same, and the answers are lost), the counts and states of breakers and limiters, and the changes that the store had not
made durable before that very instant. Arrivals that were not durably accepted by then are lost, and until the process
is back no arrival is accepted: its sender sees an error, and it is counted as refused. The pipeline that starts then
finds in the store the notifications that have not ended. One that waited for a retry, or for the end of quiet hours,
goes on at its time; one that was at a provider is sent again, and reaches the provider a second time.

Of several nodes each is a process of its own. Arrivals go to the nodes that are up. A node that is back in time gets
its notifications again; else the other nodes take them over, each a share, as they do where they share a database.

A node that is cut off from the store goes on with its notifications until its lease is nearly over, and then waits. Its
changes become durable when it reaches the store again. When its lease is over, and another node reaches the store, it
ends, though live it would find out only when it is back: until then it does nothing visible.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from zlib import crc32

from actors.errors import NOT_ACCEPTED, InvariantBreach, NotifierClosed, Overloaded, RetrylabError
from actors.instants import ns, seconds
from actors.kernel.actor import ActorRef
from actors.kernel.futures import Future
from actors.kernel.node import Node
from actors.kernel.system import ActorSystem
from actors.kernel.turns import takes_turn
from actors.messages import ActorFailed, BreakerTransitioned, NodeTookOver, NotificationRequested, SendNotification
from actors.notifier import Pipeline
from actors.pipeline.orders import Acceptance, Submit
from actors.pipeline.own_actors import events_heard
from actors.policies.breaker.per_host import recipient_host
from actors.storage.lossy import LossyStore
from actors.storage.memory import MemoryStore
from actors.storage.postgres.lease import SHARE
from actors.storage.shared_memory import NodeStore, SharedMemory
from simulation.results.recorder import Recorder
from simulation.running.workload import ENDS, Clients, Forgotten, Refuse, RunEnds, Source
from simulation.scenario.model import ONE_PROCESS, NodesConfig

logger = logging.getLogger(__name__)

RESTART = "restart"
"""The cause of a breaker's transition whose state is lost with the process."""


class LostLease(RetrylabError):
    """Ends a node whose notifications other nodes have taken over."""


LOOK_AFTER = 4096
"""Arrivals between one look at the memory and the next."""

DOWN, OVERLOADED, UNHANDLED = "down", "overloaded", "unhandled"
"""Why an arrival is refused: the process is down, as many notifications are pending as may be, or an own actor has not
handled the event."""


class Process:
    """One process of the service: owns its pipeline of the moment."""

    def __init__(
        self,
        system: ActorSystem,
        store: MemoryStore,
        make: Callable[[MemoryStore, Node | None], Pipeline],
        node: Node | None = None,
        *,
        may_end_accepting: bool = False,
    ) -> None:
        """Make a process that has not been started yet: `make` starts a pipeline over the store, or over its node's
        side of it. `may_end_accepting`: it may end with arrivals that are not accepted yet."""
        self._system = system
        self._make = make
        self._may_end_accepting = may_end_accepting
        self._record = system.record if node is None else node.record
        self.store = store
        self.node = node
        self.pipeline: Pipeline
        """The latest; there is none before the first start."""
        self.is_down = True
        """Whether it is gone, or not there yet."""
        self.is_draining = False
        """Whether it is about to end, and gets nothing new."""
        self.is_surplus = False
        """Whether the fleet has fewer nodes than would include it."""
        self.starts = 0
        """How often the process has started."""
        self.partitions = 0
        """How many partitions keep the process from the store."""
        self.cut_off_ns = 0
        """Since when the partitions do, in nanoseconds."""
        self._unanswered: dict[Future[Any], Refuse] = {}
        """The answers to messages that are not durably accepted yet, and functions to call if they never are."""
        self.starts_when_reached = False
        """Whether it is to start when it reaches the store."""
        self._handed_over: set[str] = set()
        """The ids of notifications that it has taken over and that its handler does not know of yet."""

    @property
    def has_unanswered(self) -> bool:
        """Whether anything has come that it has not durably accepted, as far as that is known."""
        return bool(self._unanswered)

    @property
    def number(self) -> int:
        return 1 if self.node is None else self.node.number

    def start(self) -> None:
        pipeline = self.pipeline = self._make(self.store, self.node)
        self._tell = pipeline.handler.tell
        self._heard = events_heard(pipeline.own_actors.values())
        self._answers = self._may_end_accepting or pipeline.wiring.admission.max_pending is not None
        self.is_down = self.is_draining = False
        self._handed_over.clear()
        self.starts += 1

    def count_in_flight(self) -> int:
        if self.is_down:
            return len(self.store.open_ids())
        deliveries = self.pipeline.handler.actor.deliveries
        if self._handed_over:  # of which the news may lie in the mailbox of a handler that is down
            left = self._handed_over.intersection(self.store.open_ids())
            opening = self.pipeline.wiring.commits.opening  # an acceptance of the same id, which comes too late
            self._handed_over = {each for each in left if not deliveries.has(each) or opening(each) is not None}
        return deliveries.count() + len(self._handed_over)

    # ── arrivals ────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, command: SendNotification, refuse: Refuse) -> None:
        """Send a command to the handler; `refuse` is called if it is not accepted."""
        if self.is_down:
            refuse(DOWN)
            return
        if self._answers:
            self._tell(Submit(command, self._answer_or(refuse)))
        else:
            self._tell(command)

    def announce(self, event: Any, refuse: Refuse) -> None:
        """Publish a domain event on the bus; `refuse` is called if it is not accepted."""
        if self.is_down:
            refuse(DOWN)
        elif not self.pipeline.bus.has_room_for(event):
            refuse(OVERLOADED)
        else:
            is_heard = type(event) in self._heard
            refuse = partial(self._refuse_heard, refuse) if is_heard else refuse
            has_answer = is_heard or self._may_end_accepting
            self.pipeline.bus.announce(event, self._answer_or(refuse, is_heard) if has_answer else None)

    def _refuse_heard(self, refuse: Refuse, why: str) -> None:
        # Where all that is accepted is durable at once, the notifications of built-in subscribers are not lost.
        refuse(DOWN if self._may_end_accepting and (self.is_down or why == DOWN) else UNHANDLED)

    def _answer_or(self, refuse: Refuse, is_heard: bool = False) -> Future[Any]:
        """Return a future for the answer to the next message; `refuse` is called if the answer is a refusal, or never
        comes."""
        answer: Future[Any] = self._system.future_class()
        self._unanswered[answer] = refuse
        answer.when_done(partial(self._is_answered, answer, is_heard))
        return answer

    def _is_answered(self, answer: Future[Any], is_heard: bool) -> None:
        refuse = self._unanswered.pop(answer, _ignore)  # else it was given up just before
        try:
            answer.get(timeout=0)
        except Overloaded:
            refuse(OVERLOADED)
        except Exception as error:
            if isinstance(error, (*NOT_ACCEPTED, NotifierClosed)):  # else the history says what the actor raised
                logger.error("not accepted: %s", error)
            elif not is_heard:
                raise
            if is_heard:
                refuse(UNHANDLED)

    # ── partitions of the store ─────────────────────────────────────────────────────────────────────────────────

    def cut_off(self, ends_ns: int) -> None:
        """Have it not reach the store, once more; its lease is good until an instant."""
        self.partitions += 1
        if self.partitions == 1:
            self.cut_off_ns = self._system.now_ns
            if isinstance(self.store, NodeStore):
                self.store.cut_off(ends_ns)

    def reconnect(self) -> None:
        """Have one thing less keep it from the store."""
        self.partitions -= 1
        if not self.partitions and isinstance(self.store, NodeStore):
            self.store.reconnect()

    # ── the crash ───────────────────────────────────────────────────────────────────────────────────────────────

    def kill(self) -> None:
        self.is_down = True
        self.pipeline.kill()
        for stages in self.pipeline.wiring.stages.values():
            stages.waiting.reset()
        if isinstance(self.store, (LossyStore, NodeStore)):
            last_ns = self._system.now_ns - 1  # what becomes durable at this instant comes behind the crash
            wiring = self.pipeline.wiring
            for commit in wiring.commits.under_way.values():
                if self.store.has_made_durable(commit.event, last_ns):
                    self._record(commit.event)  # which a handler that was down has not done any more
                    if type(commit.event) is NotificationRequested:
                        for answer in commit.waiting:
                            answer.set(Acceptance.ACCEPTED)
            for discarded in wiring.discards.values():
                if self.store.has_made_durable(discarded, last_ns):
                    self._record(discarded)  # which a queue of dead letters that was down has not done any more
            # In the order of a schedule, the handler may have recorded a change of this instant before the crash.
            unrecorded = {id(commit.event) for commit in wiring.commits.under_way.values()}
            unrecorded |= set(map(id, wiring.discards.values()))
            self.store.crash(last_ns, lambda event: id(event) not in unrecorded)
        self.give_up()

    def give_up(self) -> None:
        """Call `refuse` for the messages that are not durably accepted, since they never will be."""
        unanswered, self._unanswered = self._unanswered, {}
        for refuse in unanswered.values():
            refuse(DOWN)

    def record_death(self, error: Exception) -> None:
        """Record that it has failed, and that every breaker is in the state again in which it began."""
        self._record(
            ActorFailed(
                at_ns=self._system.now_ns,
                epoch_ns=self._system.epoch_ns,
                actor="process",
                error=f"{type(error).__name__}: {error}",
                decision="restart",
            )
        )
        for stages in self.pipeline.wiring.stages.values():
            for lane in stages.lanes:
                config = lane.config.circuit_breaker
                for host, breaker in lane.breakers:
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
                        self._record(event)

    def record_takeover(self, of: Process, ids: tuple[str, ...]) -> None:
        assert of.node is not None
        self._handed_over.update(ids)
        self._record(
            NodeTookOver(
                at_ns=self._system.now_ns,
                epoch_ns=self._system.epoch_ns,
                from_node=of.node.number,
                notification_ids=ids,
            )
        )


class Service:
    """Owns the processes: routes arrivals to them, and has others take over from one that is gone."""

    def __init__(
        self,
        system: ActorSystem,
        store: MemoryStore | SharedMemory,
        recorder: Recorder,
        make: Callable[[MemoryStore, Node | None], Pipeline],
        nodes: NodesConfig = ONE_PROCESS,
        *,
        may_end_accepting: bool = False,
    ) -> None:
        """Start all processes: `make` starts a pipeline over a store, of a node where there are several.
        `may_end_accepting`: any may end with arrivals that are not accepted yet."""
        self._system = system
        self._store = store
        self._recorder = recorder
        self._routing = nodes.routing
        self._lease_ns = ns(nodes.takeover_after)
        self._used_ns = int(SHARE * self._lease_ns)
        """For how long of its lease a node that is cut off goes on."""
        self.routed: Callable[[str, str, int], None] | None = None
        """Gets the user, the recipient and the process of each arrival."""
        self._clients: list[ActorRef[Clients]] = []
        self._sources: list[ActorRef[Source]] = []
        """The sources that may offer refused arrivals again, or have some on the way as the run ends."""
        self._ready: list[Process] = []
        """The processes that arrivals go to."""
        self._arrived = self._routed_count = 0
        self._overdue: list[Process] = []
        """The processes whose lease ended when no other one could take over their notifications."""
        self._leases: set[Process] = set()
        """The processes that are up, and the ones that are gone and whose lease has not ended yet."""
        self._random = system.streams.stream("nodes.routing")
        if isinstance(store, SharedMemory):
            store.clock = system
            self.processes = [
                Process(system, of_node, make, Node(system, number), may_end_accepting=may_end_accepting)
                for number, of_node in store.nodes.items()
            ]
        else:
            self.processes = [Process(system, store, make, may_end_accepting=may_end_accepting)]
        self._show_counts()
        for process in self.processes[nodes.count :]:
            process.is_surplus = True
        self.start(self.processes[: nodes.count])

    @property
    def living(self) -> list[Process]:
        return [process for process in self.processes if not process.is_down]

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline of the first process that is up, else of the first of all."""
        return (self.living or self.processes)[0].pipeline

    @property
    def pipelines(self) -> list[Pipeline]:
        return [process.pipeline for process in self.living]

    def pipeline_of(self, number: int) -> Pipeline | None:
        """Return the latest pipeline of a node; None: it has not been started yet."""
        process = self.processes[number - 1]
        return process.pipeline if process.starts else None

    @property
    def is_accepting(self) -> bool:
        return any(process.pipeline.wiring.commits.under_way for process in self.living)

    @property
    def is_offered_more(self) -> bool:
        """Whether an own actor keeps anything, or an arrival is not accepted yet, or will come once more."""
        return any(process.has_unanswered or process.store.kept for process in self.processes) or any(
            source.actor.sends_again for source in self._sources
        )

    def count_in_flight(self) -> int:
        """Return how many notifications are accepted and have not ended, at all processes."""
        return sum(process.count_in_flight() for process in self.processes)

    def is_quiet(self) -> bool:
        """Tell whether none is in flight at any process; many are, mostly, so the first few are asked."""
        return not any(process.count_in_flight() for process in self.processes)

    def _show_counts(self) -> None:
        self._recorder.in_flight_now, self._recorder.is_quiet_now = self.count_in_flight, self.is_quiet

    def of_nodes(self, numbers: Sequence[int] | None) -> list[Process]:
        """Return the processes with these numbers; all of them where that is None."""
        if numbers is None:
            return self.processes
        return [self.processes[number - 1] for number in numbers]

    def start(self, processes: Sequence[Process]) -> None:
        """Start the processes that are down, as soon as they reach the store."""
        for process in processes:
            process.starts_when_reached = process.is_down and process.partitions > 0
        processes = [process for process in processes if not process.partitions]
        self._leases.update(processes)
        self._count_leases()
        for process in processes:
            if process.is_down:
                process.start()
                for clients in self._clients:
                    process.pipeline.bus.subscribe(*ENDS)(clients.tell)
        self._look_who_is_there()
        self._take_over_overdue()

    def _take_over_overdue(self) -> None:
        overdue, self._overdue = self._overdue, []
        for process in overdue:
            self._take_over(process, process.starts)

    def _count_leases(self) -> None:
        if isinstance(self._store, SharedMemory):
            self._store.count_living([process.number for process in self._leases])

    def answer(self, clients: ActorRef[Clients]) -> None:
        """Tell clients how their notifications end, and which of them are forgotten in a crash."""
        self._clients.append(clients)
        for process in self.living:
            process.pipeline.bus.subscribe(*ENDS)(clients.tell)

    def drain(self, process: Process) -> None:
        process.is_draining = True
        self._look_who_is_there()

    def _look_who_is_there(self) -> None:
        living = self.living
        self._ready = [each for each in living if not each.is_draining and self._has_lease(each)] or living
        self._recorder.wirings = [process.pipeline.wiring for process in living]
        self._recorder.living.append((self._system.now_ns, {process.number for process in living}))

    # ── arrivals ────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, command: SendNotification, refuse: Refuse) -> None:
        """Send a command to a process; `refuse` is called if it is not accepted."""
        key = command.user or command.notification_id  # a call may have no user
        self._route(key, command.recipient).send(command, refuse)

    def announce(self, event: Any, refuse: Refuse) -> None:
        """Publish a domain event on the bus of a process; `refuse` is called if it is not accepted."""
        address = event.email if hasattr(event, "email") else event.customer_email
        self._route(event.user_id, address).announce(event, refuse)

    def _route(self, user: str, recipient: str) -> Process:
        self._routed_count += 1
        if self._routed_count % LOOK_AFTER == 0:
            self._recorder.when_grown()  # an arrival that is not accepted may wait too, and is in no history
        process = self._process_for(user, recipient)
        if self.routed is not None:
            self.routed(user, recipient, process.number)
        return process

    def _process_for(self, user: str, recipient: str) -> Process:
        ready = self._ready
        if not ready:
            return self.processes[0]
        match self._routing:
            case "round_robin":
                self._arrived += 1
                return ready[(self._arrived - 1) % len(ready)]
            case "random":
                return ready[int(self._random.random() * len(ready))]
            case "by_user":
                return self._home_of(user, ready)
            case "by_host":
                return self._home_of(recipient_host(recipient), ready)

    def _home_of(self, key: str, ready: Sequence[Process]) -> Process:
        """Return the process, of the ready ones, that gets all arrivals with a key.

        It stays the same while it takes arrivals and the home of the key is not back, whichever other processes come
        and go: the one with the highest hash (Thaler and Ravishankar 1998, rendezvous hashing).
        """
        home = self.processes[crc32(key.encode()) % len(self.processes)]
        if home in ready:
            return home
        return max(ready, key=lambda process: crc32(f"{process.number} {key}".encode()))

    def serve(self, source: ActorRef[Source]) -> None:
        """Have a source know when the run is about to end."""
        self._sources.append(source)

    def give_up(self) -> None:
        """As the run is about to end, refuse the messages that are not durably accepted."""
        for source in self._sources:
            source.tell(RunEnds())
        for process in self.processes:
            process.give_up()

    # ── crashes ─────────────────────────────────────────────────────────────────────────────────────────────────

    def crash(self, error: Exception, processes: Sequence[Process], *, is_parked: bool = False) -> None:
        """Kill processes at once with an error; one that is down stays as it is. Where they are parked, as each has
        left the store in order, the others may take over their notifications at once."""
        hit = [process for process in processes if not process.is_down]
        if not hit:
            return
        recorder, now_ns = self._recorder, self._system.now_ns
        recorder.in_flight_now = lambda: recorder.in_flight
        recorder.is_quiet_now = lambda: recorder.in_flight == 0
        for process in hit:
            if is_parked and isinstance(process.store, NodeStore):
                process.store.close()
            process.kill()
        self._show_counts()
        self._look_who_is_there()
        if recorder.interruptions is not None:
            nodes = {process.node.number if process.node is not None else None for process in hit}
            recorder.interruptions.lose(now_ns, nodes)
        if self.count_in_flight() != recorder.in_flight:
            raise InvariantBreach(
                f"at {seconds(now_ns)} s the process crashed with {recorder.in_flight} notifications in flight "
                f"by the history, and {self.count_in_flight()} in the store"
            )
        for process in hit:
            process.record_death(error)
            if process.node is not None:
                if process.partitions:
                    ends_ns = max(now_ns, process.cut_off_ns + self._lease_ns)
                else:
                    ends_ns = now_ns if is_parked else now_ns + self._lease_ns
                self._system.call_at(ends_ns, partial(self._take_over, process, process.starts))
        known = frozenset(each for process in self.processes for each in process.store.open_ids())
        for clients in self._clients:
            clients.tell(Forgotten(known))

    @takes_turn("takeover", lambda _, gone, starts: (gone.node.number, starts))
    def _take_over(self, gone: Process, starts: int) -> None:
        """Have the processes that are up take over the notifications of one, unless it has come back."""
        if not gone.is_down or gone.starts != starts:
            return
        self._leases.discard(gone)
        self._count_leases()
        heirs = {
            process.node.number: process
            for process in self._ready
            if process.node is not None and not process.partitions
        }
        if not heirs:
            self._overdue.append(gone)
            return
        assert isinstance(self._store, SharedMemory)
        assert gone.node is not None
        shares = self._store.shares(gone.node.number, list(heirs))
        for number, ids in shares.items():
            self._store.hand_over(gone.node.number, number, ids)
            heirs[number].record_takeover(gone, ids)

    # ── partitions of the store ─────────────────────────────────────────────────────────────────────────────────

    def cut_off(self, processes: Sequence[Process]) -> None:
        """Have processes not reach the store until as many calls of :meth:`reconnect`."""
        now_ns = self._system.now_ns
        ends_ns = now_ns + self._used_ns
        for process in processes:
            process.cut_off(ends_ns)
        self._system.call_at(ends_ns, self._look_who_is_there)
        self._system.call_at(now_ns + self._lease_ns, self._end_leases)

    @takes_turn("reconnect")
    def reconnect(self, processes: Sequence[Process]) -> None:
        """Have processes reach the store again, unless another partition keeps them from it."""
        for process in processes:
            process.reconnect()
        self.start([each for each in processes if each.starts_when_reached and not each.is_surplus])
        # "A node that has only just come back ends no lease of another node, for a third of its own."
        self._system.call_at(self._system.now_ns + self._lease_ns // 3, self._end_leases)

    def _has_lease(self, process: Process) -> bool:
        return not process.partitions or self._system.now_ns < process.cut_off_ns + self._used_ns

    @takes_turn("leases", lambda service: service.processes)
    def _end_leases(self) -> None:
        over_ns, living = self._system.now_ns - self._lease_ns, self.living
        over = [process for process in living if process.partitions and process.cut_off_ns <= over_ns]
        if over and any(not process.partitions for process in living):
            self.crash(LostLease("another node has taken over what it had"), over)
            for process in over:
                process.starts_when_reached = True


def _ignore(_why: str) -> None:
    """Leave it at that."""
