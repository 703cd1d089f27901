"""The base class of invariants, and the facts of a run that they are given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

from actors.domain.attempts import Attempt
from actors.instants import NEVER_NS, ns
from actors.kernel.actor import Supervision
from actors.messages import NotificationChannel
from actors.notifier import Pipeline
from actors.pipeline.lane import breaker_name
from actors.pipeline.preferences import Preferences
from actors.policies.breaker.per_host import recipient_host
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.channel import KEEP_ALL_LETTERS, PRIMARY, ChannelConfig, DeadLettersConfig
from actors.settings.faults import FaultConfig
from simulation.verification.laws.lifecycles import Lifecycle, Lifecycles
from simulation.verification.laws.observations import MessageSent, OutOfTurn, Overtaken, Unanswered
from simulation.verification.model.world import World

ARRIVAL = re.compile(r"^(?!.*/[a-z])(?:.*[-/])?(\d+)-(\d+)$")
"""In the id of a notification, or of a domain event: the number of the entry of the workload, and its own there."""

F = TypeVar("F", bound=Callable[..., Any])


class Finding(NamedTuple):
    """A breach, where it is not of the notification whose event is being observed."""

    text: str
    notification_id: str | None = None
    settings: tuple[str, ...] = ()
    """The settings that are broken, by their paths: in those of the channel, or ``dead_letters.keep``. Empty: those
    that the invariant is about."""


Arrival: TypeAlias = tuple[int, int]
"""A request of an entry of the workload, by the number of the entry and its own; it may come more than once."""

BreakerKey: TypeAlias = tuple[str, str | None]
"""The name of a circuit breaker, and the host where it is that of one."""

_BETWEEN_ACTORS = frozenset({MessageSent, Overtaken, Unanswered})

Objection: TypeAlias = str | Finding | None
"""The result of an observer: None while all is well, else the breach, in a sentence."""


@dataclass(frozen=True)
class ClientsOf:
    """One closed entry of the workload."""

    prefix: str
    """With which the ids of its notifications begin; a number follows."""
    come_ns: int
    until_ns: int
    """From this instant on they send nothing any more."""
    thinks: tuple[Callable[[], float], ...]
    """Of each client, what draws in seconds how long it thinks, one time after the other."""


@dataclass(frozen=True)
class ArrivalsOf:
    """One entry of the workload, and what arrives of it.

    The ids of what is new end with the number of the entry and its own: ``email-0-7``, ``sms-order-placed-0-7``.
    """

    name: str
    priority: str
    channels: tuple[NotificationChannel, ...]
    """On each of them one notification comes of each arrival."""
    times: Callable[[], Iterator[tuple[int, int]]] | None
    """Returns the instants of its arrivals in nanoseconds, in order, each with its number, of what comes once more the
    one that it had. None: clients send when they have thought."""
    resent_at_most: int = 0
    """How often it is offered once more where it is refused."""
    has_repeats: bool = False
    """Whether some come once more with the same id."""
    parties: Mapping[str, Callable[[str], str | None]] = field(default_factory=dict)
    """Returns of which party a user is: ``hosts`` and ``tenants``, as far as it has any."""


@dataclass
class Context:
    """The parts of a run that invariants need."""

    channels: Mapping[NotificationChannel, ChannelConfig]
    faults: Sequence[FaultConfig] = ()
    preferences: Preferences | None = None
    epoch_ns: Callable[[], int] = lambda: 0
    """Returns where on the calendar the clock of the run starts: nanoseconds since 1970."""

    remember_ids_ns: int = 86_400 * 10**9
    """How long the id of a notification that has ended is not sent again."""

    max_pending: int | None = None
    """How many notifications may be accepted and not ended. None: no bound."""

    dead_letters: DeadLettersConfig = KEEP_ALL_LETTERS
    """How much the dead letter queue keeps."""

    commit_latency_ns: int = 0
    """How long the store takes to make a change durable; at the longest, where nodes do not reach it for a time."""

    has_rules: bool = False
    """Whether providers follow failure rules, whose effects and length are unknown."""

    entry_named: Callable[[str], int | None] | None = None
    """Returns the entry that an id names, where own actors send what they like; None: there are none."""

    in_flight_now: Callable[[], int] | None = None
    """Returns how many notifications the pipeline itself holds in flight. None: there is no pipeline to ask."""

    pipeline: Callable[[], Pipeline | None] = lambda: None
    """Returns the pipeline: the one of the moment, where its process crashes and starts again."""

    lifecycles: Lifecycles = field(default_factory=Lifecycles)
    """The lifecycle of each notification, up to and without the event that is being observed."""

    world: World | None = None
    """All that the reference model has to know of the run. None: it is not asked."""

    clients: Sequence[ClientsOf] = ()
    """The closed entries of the workload."""

    arrivals: Sequence[ArrivalsOf] = ()
    """All entries of the workload, in order."""

    windows: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """The parts of the run that have figures of their own, by name: from when until when, in nanoseconds."""

    within_s: Mapping[str, float] = field(default_factory=dict)
    """The times within which it is counted how many were delivered, by name."""

    nodes: int = 1
    """How many processes there are."""

    node: int | None = None
    """The number of the one that it is about; None where there is one process, or it is about all of them."""

    takeover_after_ns: int = 0
    """How long after the death of one of several the others take over what it had."""

    pipeline_of: Callable[[int], Pipeline | None] = lambda number: None
    """Returns the pipeline of a node, where there are several."""

    as_given: Mapping[NotificationChannel, ChannelConfig] | None = None
    """The settings of the channels as a file has them, without what follows from others. None: that is unknown."""

    def __post_init__(self) -> None:
        self.lifecycles.restarted_within_ns = self.restarted_within_ns

    def at_node(self, number: int) -> Context:
        """Return the context of one process of several: what it sees, and what happens to it."""
        return replace(
            self,
            faults=[fault for fault in self.faults if fault.node is None or number in fault.node],
            pipeline=lambda: self.pipeline_of(number),
            epoch_ns=lambda: self.epoch_ns(),
            lifecycles=Lifecycles(),
            world=None,
            nodes=1,
            node=number,
        )

    def entry_of(self, notification_id: str) -> int | None:
        """Return of which entry of the workload a notification is that goes out in place of none; None: of none."""
        if self.entry_named is not None:
            return self.entry_named(notification_id)
        arrival = self.arrival_of(notification_id)
        return None if arrival is None else arrival[0]

    @cached_property
    def arrival_of(self) -> Callable[[str], Arrival | None]:
        """Returns which arrival an id is of; None: of none, as what goes out in place of another."""

        def arrival(notification_id: str) -> Arrival | None:
            found = ARRIVAL.search(notification_id)
            return (int(found[1]), int(found[2])) if found is not None and int(found[1]) < len(self.arrivals) else None

        return cache(arrival)

    @cached_property
    def mixes_messages_up(self) -> bool:
        """Whether messages between actors come twice, or overtake each other."""
        return any(fault.duplicate_rate is not None or fault.reorder is not None for fault in self.faults)

    @property
    def is_in_usual_order(self) -> bool:
        """Whether it is known that no schedule has actors take turns in another order than messages come."""
        return self.world is not None and self.world.schedule is None

    @cached_property
    def steps_the_clock(self) -> bool:
        return any(fault.clock_step is not None for fault in self.faults)

    @property
    def restarted_within_ns(self) -> int:
        """How long after a crash an actor, or the process, is restarted at the latest."""
        back_ns = [ns(fault.restart_after or 0.0) for fault in self.faults]
        deployed_ns = [ns(fault.deploy.each_down) for fault in self.faults if fault.deploy is not None]
        return max([ns(Supervision().max_delay), self.takeover_after_ns, *back_ns, *deployed_ns])

    @property
    def has_partitions(self) -> bool:
        """Whether nodes do not reach the store for a time."""
        return any(fault.partition is not None for fault in self.faults)

    @property
    def learnt_after_ns(self) -> int:
        """How long it takes until what a node does is durable, and the others know of it, behind all of that instant; 0
        where there are none, or where that takes no time."""
        return self.commit_latency_ns + 1 if self.commit_latency_ns and self.nodes > 1 else 0

    def partition_at(self, node: int, at_ns: int) -> tuple[int, int] | None:
        """Return from when until when a node does not reach the store, around an instant; None: it reaches it then."""
        for began_ns, ends_ns in self._partitions.get(node, ()):
            if began_ns <= at_ns < ends_ns:
                return began_ns, ends_ns
        return None

    @cached_property
    def _partitions(self) -> dict[int, list[tuple[int, int]]]:
        """By node, from when until when it does not reach the store, in order; none of them overlap."""
        merged: dict[int, list[tuple[int, int]]] = {}
        faults = [fault for fault in self.faults if fault.partition is not None]
        for fault in sorted(faults, key=lambda fault: fault.at):
            began_ns = ns(fault.at)
            ends_ns = NEVER_NS if fault.for_ is None else ns(fault.at + fault.for_)
            for node in range(1, self.nodes + 1) if fault.node is None else fault.node:
                spans = merged.setdefault(node, [])
                if spans and began_ns <= spans[-1][1]:
                    spans[-1] = spans[-1][0], max(ends_ns, spans[-1][1])
                else:
                    spans.append((began_ns, ends_ns))
        return merged

    @cached_property
    def providers(self) -> dict[tuple[NotificationChannel, str], ChannelConfig]:
        """The settings that hold for each provider, by its channel and its name."""
        return {
            (channel, name): config
            for channel, settings in self.channels.items()
            for name, config in settings.by_provider().items()
        }

    @cached_property
    def breakers(self) -> dict[str, CircuitBreakerConfig]:
        """The settings of each circuit breaker, by its name in the history."""
        return {breaker_of(channel, name): config.circuit_breaker for (channel, name), config in self.providers.items()}

    def calendar_ns(self, at_ns: int) -> list[int]:
        """Return where the calendar stood at an instant, in nanoseconds since 1970, the latest first.

        There are several where the wall clock steps at that very instant: what was decided just before goes on after.
        """
        stood_ns = [self.epoch_ns() + at_ns]
        for fault in reversed(self.faults):
            if fault.clock_step is not None and ns(fault.at) == at_ns:
                stood_ns.append(stood_ns[-1] - ns(fault.clock_step))
        return stood_ns

    def is_by_the_calendar(self, lifecycle: Lifecycle) -> bool:
        """Tell whether times of a notification may have been read from the store after a crash, while the wall clock
        steps."""
        return self.steps_the_clock and self.lifecycles.crashes > lifecycle.crashes_before

    @cached_property
    def breaker_names(self) -> dict[tuple[NotificationChannel, str], str]:
        """The name of the circuit breaker before each provider, by channel and provider."""
        return {(channel, name): breaker_of(channel, name) for channel, name in self.providers}

    def breaker_before(self, channel: NotificationChannel, provider: str, attempt: Attempt) -> BreakerKey:
        """Return which circuit breaker lets an attempt through to a provider."""
        name = self.breaker_names[channel, provider]
        return name, recipient_host(attempt.command.recipient) if self.breakers[name].per == "host" else None


def breaker_of(channel: NotificationChannel, provider: str) -> str:
    """Return the name of the circuit breaker before a provider, as it is in the history."""
    return breaker_name(channel, 0 if provider == PRIMARY else 1, provider)


def observes(*kinds: type) -> Callable[[F], F]:
    """Have a method of an invariant, or a function of your own, called with each event of exactly these types.

    The types are those of recorded events (:mod:`actors.messages`) and of what else can be observed
    (:mod:`simulation.verification.laws.observations`).
    """

    def mark(function: F) -> F:
        function.__observes__ = kinds  # type: ignore[attr-defined]
        return function

    return mark


class Invariant:
    """A statement that holds in every run, as an observer of what happens in one.

    A subclass has methods that are marked by :func:`observes`, each of which returns None while all is well, and a
    sentence when it is broken: then the run stops. One is made for each run::

        class FewDeadLetters(Invariant):
            name = "few-dead-letters"

            def __init__(self, context):
                super().__init__(context)
                self.dead = 0

            @observes(NotificationMovedToDeadLetter)
            def on_dead_letter(self, event):
                self.dead += 1
                return f"{self.dead} dead letters" if self.dead > 10 else None

    What is as simple as that may also be a function of the event, see :func:`simulation.run`.
    """

    name: ClassVar[str] = ""
    """The name in a report: a few words with hyphens. The class's name when empty."""

    receivers: ClassVar[frozenset[type]] = frozenset()
    """Classes of actors: it can observe a `MessageSent` for each message that one of these is sent."""

    messages: ClassVar[frozenset[type]] = frozenset()
    """The types of messages that it observes. Empty: all that its receivers are sent."""

    watches_actors: ClassVar[bool] = False
    """Whether it needs what only a watched actor system can tell: so it does where it observes any of that."""

    watches_timers: ClassVar[bool] = False
    """Whether it needs to know of `OutOfTurn`, for which all timers are watched."""

    of_one_process: ClassVar[bool] = False
    """Whether it is about one process. In a fleet there is one for each node, which observes what happens at that."""

    needs_order: ClassVar[bool] = False
    """Whether it can tell nothing where messages between actors come twice, or overtake each other."""

    settings: ClassVar[tuple[str, ...]] = ()
    """The settings of a channel that it is about, such as ``circuit_breaker.timeout``: a report names those that are
    set, with their values, unless a `Finding` names others."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Settings of a channel, or of a provider, of which there is one at least where there is anything to look at."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        kinds = {kind for name in dir(cls) for kind in getattr(getattr(cls, name), "__observes__", ())}
        cls.watches_actors = cls.watches_actors or not kinds.isdisjoint(_BETWEEN_ACTORS)
        cls.watches_timers = cls.watches_timers or OutOfTurn in kinds

    def __init__(self, context: Context) -> None:
        self.context = context

    @classmethod
    def applies(cls, context: Context) -> bool:
        """Tell whether there is anything to break it in such a run."""
        if cls.needs_order and context.mixes_messages_up:
            return False
        settings = [getattr(config, name) for config in context.providers.values() for name in cls.needs]
        return not cls.needs or any(setting is not None for setting in settings)

    def at_end(self, now_ns: int) -> Objection:
        """Look once more when the run has finished."""
        return None

    def at_summary(self, summary: Mapping[str, Any]) -> Objection:
        """Look at the summary of the run, for the last time."""
        return None

    @classmethod
    def observes_message(cls, receiver: type, message: type) -> bool:
        """Tell whether it observes messages of a type to actors of a class."""
        return (not cls.receivers or receiver in cls.receivers) and (not cls.messages or message in cls.messages)

    def observers(self) -> dict[type, list[Callable[[Any], Objection]]]:
        """Return what is to be called with the events of each type."""
        found: dict[type, list[Callable[[Any], Objection]]] = {}
        for attribute in dir(type(self)):
            for kind in getattr(getattr(type(self), attribute), "__observes__", ()):
                found.setdefault(kind, []).append(getattr(self, attribute))
        return found
