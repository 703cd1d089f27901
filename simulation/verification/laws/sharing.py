"""Circuit breakers that nodes share: none is opened by others that do not say so, none stays closed while they do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from actors.formatting import seconds_text
from actors.instants import ns
from actors.kernel.node import without_node
from actors.messages import ActorFailed, BreakerState, BreakerTransitioned
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.shared_breakers import NodesCounted
from actors.policies.breaker.states import KEYS_MAX, BreakerEvent
from simulation.verification.laws.base import BreakerKey, Context, Finding, Invariant, Objection, observes
from simulation.verification.laws.breakers import open_bounds_ns
from simulation.verification.laws.lifecycles import PROCESS
from simulation.verification.laws.observations import ActorStarted, AttemptMade, MessageSent
from simulation.verification.laws.takeovers import Leases

_BY_ITSELF = frozenset({BreakerEvent.TRIP, BreakerEvent.PROBES_OVERDUE})
_ORDERS = frozenset({BreakerEvent.FORCE_OPEN, BreakerEvent.DISABLE, BreakerEvent.METRICS_ONLY, BreakerEvent.CLOSE})
_ACTS = (BreakerState.CLOSED, BreakerState.FORCED_OPEN)


@dataclass(slots=True)
class _Vote:
    node: int
    said_ns: int
    known_ns: int
    stands_until_ns: int
    """Until when that counts, for certain."""
    lapses_ns: int
    """When it has lapsed, for certain."""
    is_orphaned: bool = False
    """Whether the process that said so has died: nobody takes it back."""


class SharedBreakers(Invariant):
    """A circuit breaker that nodes share is opened by what others say only while as many of them do as it takes: one
    (`any`), or more than half of the living nodes (`quorum`); and while they do, for longer than `share_latency`, it
    lets nothing through. A node says so from when its own calls have opened it until its open time is over, or an
    operator has decided.

    What a node that has died has said may be forgotten; and an operator's override has a node forget what it was told.
    A node that has not reached the store since another one said so may not have heard it, and one that did not reach it
    then may not have been heard: these let something through.
    """

    name = "shared-breakers"
    settings = ("circuit_breaker.shared", "circuit_breaker.share_latency")
    needs_order = True
    receivers = frozenset({CircuitBreakerActor})

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs = {name: config for name, config in context.breakers.items() if config.shared != "none"}
        self._votes: dict[BreakerKey, list[_Vote]] = defaultdict(list)
        self._openings: dict[tuple[int, BreakerKey], int] = {}
        """How often the calls of a node have opened its breaker since that was last closed."""
        self._ordered_ns: dict[tuple[int, BreakerKey], int] = {}
        self._leases = Leases(context)
        self._counted_ns = -1
        """When the nodes were counted last: at that instant it depends on who has heard of it."""
        self._stages_live = not any(fault.crash and fault.crash != PROCESS for fault in context.faults)

    @classmethod
    def applies(cls, context: Context) -> bool:
        is_shared = any(config.shared != "none" for config in context.breakers.values())
        return context.nodes > 1 and is_shared and super().applies(context)

    @observes(ActorStarted)
    def on_start(self, event: ActorStarted) -> None:
        self._leases.take_in(event)

    @observes(MessageSent)
    def on_message(self, sent: MessageSent) -> None:
        if type(sent.message) is NodesCounted:
            self._counted_ns = sent.at_ns

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        self._leases.take_in(event)
        if event.actor == PROCESS:
            for vote in (vote for votes in self._votes.values() for vote in votes if vote.node == event.node):
                vote.stands_until_ns = min(vote.stands_until_ns, event.at_ns)
                vote.is_orphaned = True

    @observes(BreakerTransitioned)
    def on_transition(self, event: BreakerTransitioned) -> Objection:
        key, node, now_ns = (without_node(event.breaker), event.host), event.node, event.at_ns
        config = self._configs.get(key[0])
        if config is None or node is None:
            return None
        latency_ns = ns(config.share_latency)
        if event.cause == BreakerEvent.OTHERS_OPEN:
            votes = {vote.node for vote in self._votes[key] if vote.known_ns <= now_ns <= vote.lapses_ns}
            return self._opened_by_others(event, len(votes - {node}))
        if event.to_state not in (BreakerState.OPEN, BreakerState.HALF_OPEN):
            self._openings.pop((node, key), None)
        if event.cause in _ORDERS:
            self._ordered_ns[node, key] = now_ns
            for vote in self._votes[key]:
                if vote.node == node and not vote.is_orphaned:
                    vote.stands_until_ns = min(vote.stands_until_ns, now_ns)
                    vote.lapses_ns = min(vote.lapses_ns, max(vote.known_ns, now_ns + latency_ns))
        if event.cause in _BY_ITSELF and event.to_state == BreakerState.OPEN:
            openings = self._openings[node, key] = self._openings.get((node, key), 0) + 1
            least_ns, longest_ns = open_bounds_ns(config, openings)
            if event.cause == BreakerEvent.PROBES_OVERDUE:
                least_ns = 0  # as its stage may have been down when that was due
            votes_before = [vote for vote in self._votes[key] if vote.lapses_ns >= now_ns]
            vote = _Vote(node, now_ns, now_ns + latency_ns, now_ns + least_ns, now_ns + longest_ns)
            self._votes[key] = [*votes_before, vote]
        return None

    def _opened_by_others(self, event: BreakerTransitioned, votes: int) -> Objection:
        is_quorum = self._configs[without_node(event.breaker)].shared == "quorum"
        needed = 1
        if is_quorum:  # a stage that is down does not hear how many there are
            needed = self._leases.least(event.at_ns) // 2 + 1 if self._stages_live else 2
        if votes >= needed:
            return None
        return f"breaker {event.breaker} opens as others say so, and {votes} do, of at least {needed}"

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        if made.is_copy or made.node is None or not self._stages_live or made.at_ns == self._counted_ns:
            return None
        key = self.context.breaker_before(made.channel, made.provider, made.attempt)
        config = self._configs.get(key[0])
        if config is None or config.begins not in _ACTS or len(self._votes) > KEYS_MAX or key not in self._votes:
            return None
        ordered_ns = self._ordered_ns.get((made.node, key), -1)
        votes = {
            vote.node
            for vote in self._votes[key]
            if ordered_ns < vote.known_ns < made.at_ns < vote.stands_until_ns and vote.node != made.node
            if not any(self.context.was_cut_off(each, vote.said_ns, made.at_ns) for each in (vote.node, made.node))
        }
        needed = self._leases.most(made.at_ns) // 2 + 1 if config.shared == "quorum" else 1
        if len(votes) < needed or any(at == made.node and of[0] == key[0] for at, of in self._ordered_ns):
            return None
        since = seconds_text(max(vote.known_ns for vote in self._votes[key] if vote.node in votes))
        text = f"{made.notification_id} is sent by node {made.node}, and {len(votes)} others say since {since} that "
        return Finding(f"{text}breaker {key[0]} is open, of {needed} that it takes", made.notification_id)
