"""What goes between the stages of the pipeline: handler → rate limiter → circuit breaker → channel, and back."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actors.messages import Message, NotificationChannel, NotificationEvent, SendNotification
from actors.outcomes import Ambiguous, Outcome

if TYPE_CHECKING:
    from actors.actor import ActorRef
    from actors.effects import Effect
    from actors.futures import Future
    from actors.pipeline.lane import Lane
    from actors.policies.budget import Budget
    from actors.policies.limiter import Limiter
    from actors.storage.store import Delivery
    from actors.system import ActorSystem

TIMED_OUT = Ambiguous(reason="timed out")


class Attempt(Message, frozen=True, kw_only=True, gc=False):
    """Try to deliver this, on the way to the channel. Known by identity: an answer to an earlier one is stale."""

    command: SendNotification
    """With its template filled in."""

    number: int
    """The first is 1."""

    charged: bool
    """Whether an earlier attempt was counted against the user's limit already."""

    expires_at_ns: int | None
    """After this instant it is no longer sent. None: never expires."""

    edits: int = 0
    """How often somebody has changed the payload since it was accepted."""

    @property
    def idempotency_key(self) -> str:
        """What the provider is to know it by: the same for every attempt with the same payload.

        An edited notification is another payload. A provider that has seen the key before would drop it, or refuse the
        conflict; so each edit gives it a new one.
        """
        notification_id = self.command.notification_id
        return f"{notification_id}/edit-{self.edits}" if self.edits else notification_id


class Admitted(Message, frozen=True, kw_only=True, gc=False):
    """An attempt that the circuit breaker lets through, with the number of its permit.

    Handed to `perform` as the request, so what comes back is ``Performed(request=Admitted(…), result=outcome)``.
    """

    attempt: Attempt
    permit: int

    lane: int = 0
    """Which of the channel's providers it goes to."""

    provider: str | None = None
    """The name of that provider; None where the channel has only one."""

    in_flight: int = 0
    """How many were at that provider when it set out, itself included; 0 where nobody wants to know."""

    hedges: int = 0
    """Copies of it that were sent beside it."""


class Refused(Message, frozen=True, kw_only=True, gc=False):
    """An attempt that a stage turned away without asking the provider; it counts as if this were its outcome."""

    attempt: Attempt
    outcome: Outcome


class ForgetWaiting(Message, frozen=True, gc=False):
    """Let go of all attempts that wait, and say nothing about them: the handler sends anew what is under way."""


class Abandoned(Message, frozen=True, kw_only=True, gc=False):
    """An attempt that a stage will never let through; its notification is to be dead-lettered, for this reason."""

    attempt: Attempt
    reason: str


class Postponed(Message, frozen=True, kw_only=True, gc=False):
    """An attempt that has waited in a stage, and is not wanted any more now that it is its turn.

    Quiet hours have begun, or the user has switched the channel off: the handler decides anew.
    """

    attempt: Attempt
    charged: bool
    """Whether it was counted against the user's limit."""


EXPIRED = "expired"
RATE_LIMIT_EXCEEDED = "rate limit exceeded"


def _announce_to_nobody(_event: Any) -> None:
    """Announce nothing."""


@dataclass(slots=True)
class Stages:
    """The references along one channel's way. Filled in while the pipeline is wired, read when its actors start."""

    announce: Callable[[Any], None] = _announce_to_nobody
    """Publishes a recorded event on the bus."""

    handler: ActorRef[Any] | None = None
    rate_limiter: ActorRef[Any] | None = None
    circuit_breaker: ActorRef[Any] | None = None

    # What an actor goes on with when it is restarted: a crash of ours is no news about the provider, and does not give
    # a user another quota. Those who wait are not kept; the handler knows them.
    limiter: Limiter | None = None
    budget: Budget | None = None
    """The retry budget; the handler's."""
    lanes: tuple[Lane, ...] = ()
    """The providers in the order in which they are tried."""

    is_current: Callable[[Attempt], bool] | None = None
    """Tells whether the handler still waits for the outcome of an attempt: it may have sent the notification anew, when
    another stage crashed. None: it always does."""

    is_wanted: Callable[[SendNotification], bool] | None = None
    """Tells whether a user wants this now; asked when the turn of one comes that has waited. None: always."""

    @property
    def in_flight(self) -> int:
        """Attempts at the providers."""
        return sum(lane.in_flight for lane in self.lanes)

    @property
    def entrance(self) -> ActorRef[Any]:
        """The first stage."""
        entrance = self.rate_limiter or self.circuit_breaker
        assert entrance is not None
        return entrance

    @property
    def actors(self) -> tuple[ActorRef[Any], ...]:
        """Every actor along the way."""
        stages = [self.rate_limiter, self.circuit_breaker, *(lane.channel for lane in self.lanes)]
        return tuple(stage for stage in stages if stage is not None)


@dataclass(slots=True, eq=False)
class Commit:
    """A change that the store has been handed and is not done with; at most one at a time for each notification."""

    event: NotificationEvent
    delivery: Delivery
    go_on: Callable[[Delivery], None] | None
    """What follows when it is done."""
    sender: Future[Any] | None = None
    """Who sent the command, or redrives it, and waits for that to be durable, to be told when that fails; `go_on` tells
    when it is done."""
    duplicates: list[Future[Any]] = field(default_factory=list)
    """Those who sent the same command while its acceptance was under way; they are told when it is durable."""
    taken_over: Delivery | None = None
    """What this node has taken over of the same notification meanwhile, to go on with when this comes to nothing."""


@dataclass(slots=True)
class Wiring:
    """The references of the whole pipeline; filled in and read as :class:`Stages` are."""

    announce: Callable[[Any], None] = _announce_to_nobody
    """Publishes a recorded event on the bus."""

    heard: Container[type] = ()
    """The types of events that anybody subscribed to: the others need not be announced."""

    handler: ActorRef[Any] | None = None
    dead_letter_queue: ActorRef[Any] | None = None
    alert: ActorRef[Any] | None = None
    stages: dict[NotificationChannel, Stages] = field(default_factory=dict)

    commits: dict[str, Commit] = field(default_factory=dict)
    """The handler's commits that are under way, by notification; a restarted one waits for them too."""


class Provider:
    """Whoever delivers in the end: a real transport, or a simulated one."""

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        """Return the effect that makes this attempt; its result is an outcome."""
        raise NotImplementedError

    def on_wired(self, system: ActorSystem) -> None:
        """Take note of whose clock it is on: called before the first attempt, by each pipeline that it is part of.

        For providers that do things in their own time, and answer with a :class:`~actors.effects.Promise`.
        """
