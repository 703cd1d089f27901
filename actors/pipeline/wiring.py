"""The references between actors: for the stages of each channel, and for the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actors.domain.attempts import FlushQueue
from actors.messages import DeadLetterDiscarded, NotificationChannel, SendNotification
from actors.pipeline.commits import Commits
from actors.pipeline.held_slots import GiveBack, HeldSlots, WereOut
from actors.pipeline.orders import Redrives
from actors.policies.admission import Admission
from actors.policies.resuming import Arrivals
from actors.policies.waiting_room import WaitingCounts

if TYPE_CHECKING:
    from actors.domain.attempts import Attempt
    from actors.domain.delivery import Delivery
    from actors.errors import TemplateError
    from actors.kernel.actor import ActorRef
    from actors.pipeline.deliveries import Deliveries
    from actors.pipeline.lane import Lane
    from actors.pipeline.tenant_counts import TenantCounts
    from actors.policies.rate_limit.limiter import Limiter
    from actors.policies.retry.budgets import Budget


def _announce_nothing(_event: Any) -> None:
    """Announce nothing."""


@dataclass(slots=True)
class Stages:
    """The references along one channel's way. Filled in while the pipeline is wired, read when its actors start."""

    announce: Callable[[Any], None] = _announce_nothing
    """Publishes a recorded event on the bus."""

    handler: ActorRef[Any] | None = None
    rate_limiter: ActorRef[Any] | None = None
    circuit_breaker: ActorRef[Any] | None = None
    channels: tuple[ActorRef[Any], ...] = ()
    """By lane, the actors that ask the providers."""
    redriver: ActorRef[Any] | None = None
    """Gets a message when a breaker has closed; None: no automatic redrives."""

    # The state that an actor keeps when it is restarted: a crash of ours is no news about the provider, and does not
    # give a user another quota. Waiting attempts are not kept; the handler knows them.
    arrivals: Arrivals = field(default_factory=Arrivals)
    """Counts the channel's new notifications, all together and, with breakers per host, by host."""
    limiter: Limiter | None = None
    """Counts what each user gets; None: there is no limit."""
    tenant_counts: TenantCounts | None = None
    """The attempts that count towards the bounds of their tenants; None where these have none."""
    held_slots: HeldSlots | None = None
    """The slots that notifications hold between attempts; None without `holds_slot`."""
    budget: Budget | None = None
    """The retry budget; the handler's."""
    lanes: tuple[Lane, ...] = ()
    """The providers in the order in which they are tried."""

    recipient_problem: Callable[[SendNotification], str | None] | None = None
    """Tells why nothing could be sent to the recipient of a command; asked before it is accepted. None: it always
    could."""

    waiting: WaitingCounts = field(default_factory=WaitingCounts)
    """How many attempts of the channel wait, and for what."""

    isolation: ActorRef[Any] | None = None
    """Gives attempts their turns where one may have to be alone. None: there is never any need to."""

    deliveries: Deliveries | None = None
    """The handler's; None: it waits for each attempt."""

    is_wanted: Callable[[SendNotification], bool] | None = None
    """Tells whether a user wants this now; asked when the turn of one comes that has waited. None: always."""

    fill_in: Callable[[Attempt], TemplateError | None] | None = None
    """Fills in the template of an attempt that was marked before it began, or tells what keeps it from that. None: no
    attempt names a template."""

    lease_holds: Callable[[], bool] | None = None
    """Tells whether an attempt may start now; asked before each. None: always."""

    def connect(self, handler: ActorRef[Any], isolation: ActorRef[Any] | None) -> None:
        """Connect the way with its beginning and end."""
        self.handler, self.isolation = handler, isolation

    def add_stages(
        self,
        rate_limiter: ActorRef[Any] | None,
        circuit_breaker: ActorRef[Any],
        channels: Iterable[ActorRef[Any]],
    ) -> None:
        self.rate_limiter, self.circuit_breaker, self.channels = rate_limiter, circuit_breaker, tuple(channels)

    def attend(
        self,
        budget: Budget | None,
        deliveries: Deliveries,
        is_wanted: Callable[[SendNotification], bool],
        fill_in: Callable[[Attempt], TemplateError | None] | None,
        lease_holds: Callable[[], bool] | None,
    ) -> None:
        """Set the questions that the handler answers, each time that it starts; see the attributes."""
        self.budget, self.deliveries, self.is_wanted = budget, deliveries, is_wanted
        self.fill_in, self.lease_holds = fill_in, lease_holds

    def wants(self, command: SendNotification) -> bool:
        return self.is_wanted is None or self.is_wanted(command)

    @property
    def in_flight(self) -> int:
        """Attempts that the providers' lanes have let through and that have not ended."""
        return sum(lane.in_flight for lane in self.lanes)

    def is_awaited(self, attempt: Attempt) -> bool:
        """Tell whether the handler waits for the outcome of an attempt: it may have sent the notification again when
        another stage crashed."""
        return self.deliveries is None or self.deliveries.of(attempt) is not None

    def first_start_ns(self, attempt: Attempt) -> int | None:
        """Return when the first of its notification's attempts began; None: this one is the first, or is stale."""
        delivery = None if self.deliveries is None else self.deliveries.of(attempt)
        return None if delivery is None else delivery.first_start_ns

    def hold_again(self, deliveries: Iterable[Delivery]) -> None:
        """Give slots to the notifications that had made an attempt before a start, before any new one gets a slot."""
        were_out = tuple((each.command, each.first_provider) for each in deliveries if self.holds_again(each))
        if were_out and self.circuit_breaker is not None:
            self.circuit_breaker.tell(WereOut(were_out))

    def holds_again(self, delivery: Delivery) -> bool:
        """Tell whether a notification from the store holds a slot, as one does that had made an attempt."""
        return self.held_slots is not None and delivery.first_start_ns is not None

    def give_back(self, notification_id: str) -> None:
        """Take the slot of a notification back, if it holds one."""
        if self.held_slots is not None and self.circuit_breaker is not None:
            self.circuit_breaker.tell(GiveBack(notification_id))

    @property
    def entrance(self) -> ActorRef[Any]:
        entrance = self.rate_limiter or self.circuit_breaker
        assert entrance is not None
        return entrance

    def flush(self) -> None:
        """Have the stages drop all waiting attempts; the message goes from stage to stage and overtakes no attempt."""
        self.entrance.tell(FlushQueue())

    @property
    def actors(self) -> tuple[ActorRef[Any], ...]:
        stages = [self.rate_limiter, self.circuit_breaker, *self.channels]
        return tuple(stage for stage in stages if stage is not None)


@dataclass(slots=True)
class Wiring:
    """The references of the whole pipeline; filled in and read as :class:`Stages` are."""

    announce: Callable[[Any], None] = _announce_nothing
    """Publishes a recorded event on the bus."""

    subscribed: Container[type] = ()
    """The types of events that have had subscribers: events of other types need not be announced."""

    handler: ActorRef[Any] | None = None
    dead_letter_queue: ActorRef[Any] | None = None
    alert: ActorRef[Any] | None = None
    isolation: ActorRef[Any] | None = None
    stages: dict[NotificationChannel, Stages] = field(default_factory=dict)

    waiting: WaitingCounts = field(default_factory=WaitingCounts)
    """How many attempts wait on all channels, and for what."""

    admission: Admission = field(default_factory=lambda: Admission(None))
    """Tells how many notifications may be pending."""

    redrives: Redrives = field(default_factory=Redrives)
    """The redrives that wait at the handler until there is room."""

    commits: Commits = field(default_factory=Commits)
    """The handler's commits under way; a restarted handler waits for them too."""

    discards: dict[str, DeadLetterDiscarded] = field(default_factory=dict)
    """By notification, the discards of dead letters that the store has been given and that are not recorded yet."""

    def connect(
        self, dead_letter_queue: ActorRef[Any], handler: ActorRef[Any], isolation: ActorRef[Any] | None
    ) -> None:
        """Connect the actors that need the wiring to start with."""
        self.dead_letter_queue, self.handler, self.isolation = dead_letter_queue, handler, isolation
        for stages in self.stages.values():
            stages.connect(handler, isolation)
