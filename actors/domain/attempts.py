"""The messages between the stages of the pipeline: handler → rate limiter → circuit breaker → channel, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from actors.domain.caution import Caution
from actors.errors import TemplateError
from actors.messages import Message, SendNotification
from actors.outcomes import Ambiguous, Outcome

if TYPE_CHECKING:
    from actors.kernel.effects import Effect
    from actors.kernel.system import ActorSystem

TIMED_OUT = Ambiguous(reason="timed out")
CUT = Ambiguous(reason="deadline")
"""The outcome of the attempt that the channel's deadline cuts."""


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

    wanted_until_ns: int | None = None
    """When its notification expires, for providers that keep it for a while: not sooner because retries would end, or
    a fallback would take over. None: never."""

    edits: int = 0
    """How often the payload was edited since it was accepted."""

    caution: Caution | None = None
    """The part that its notification had in the death of an earlier process, as far as known. None: none."""

    node: int | None = None
    """The number of the node of a simulated fleet that makes it; None where there is one process alone."""
    traceparent: str | None = None
    """The trace that its notification belongs to, for transports that pass it on. None: none."""

    def _fill_in(self, command: SendNotification) -> None:
        """Take a command with its template filled in; another attempt would not be this one, as identity counts."""
        msgspec.structs.force_setattr(self, "command", command)

    @property
    def idempotency_key(self) -> str:
        """The provider's idempotency key: the same for every attempt with the same payload.

        An edited notification has another payload. A provider that has seen the key before would drop the attempt, or
        refuse the conflict; so each edit makes a new key.
        """
        notification_id = self.command.notification_id
        return f"{notification_id}/edit-{self.edits}" if self.edits else notification_id


class Admitted(Message, frozen=True, kw_only=True, gc=False):
    """An attempt that the circuit breaker lets through, with the number of its permit.

    Handed to `perform` as the request, so the answer is ``Performed(request=Admitted(…), result=outcome)``.
    """

    attempt: Attempt
    permit: int

    lane: int = 0
    """Which of the channel's providers it goes to."""

    provider: str | None = None
    """The name of that provider; None where the channel has only one."""

    in_flight: int = 0
    """How many attempts were at its provider when this one set out, itself included; 0 where that is not counted."""

    hedges: int = 0
    """The number of hedged copies of the attempt."""

    counted: bool = False
    """Whether the retry budget has counted each failed send of the attempt already, as it failed."""

    number: int = 0
    """As the how-many-th it was let through, where messages may be repeated, and so may be let through once more; 0
    elsewhere."""


class Begin(Message, frozen=True, gc=False):
    """An attempt may begin that was admitted and has waited until no other attempt is in its way."""

    admitted: Admitted


class Forgo(Message, frozen=True, gc=False):
    """An attempt that was admitted and has waited for its channel to be free of others is not made: it is too late by
    now, or not wanted."""

    admitted: Admitted


class Refused(Message, frozen=True, kw_only=True, gc=False):
    """An attempt that a stage turned away without asking the provider; it counts as if this were its outcome."""

    attempt: Attempt
    outcome: Outcome


class FlushQueue(Message, frozen=True, gc=False, tag="ForgetWaiting"):
    """Drop all waiting attempts, without an answer: the handler sends all attempts under way again."""


class Rejected(Message, frozen=True, kw_only=True, gc=False, tag="Abandoned"):
    """An attempt that a stage will never let through; its notification is dead-lettered, for this reason."""

    attempt: Attempt
    reason: str


class Requeued(Message, frozen=True, kw_only=True, gc=False, tag="Postponed"):
    """An attempt that is not made now that it is its turn: the handler decides again.

    Quiet hours have begun while it waited, or the user has switched the channel off; or the node's lease is over; or it
    has waited long enough for a connection of the transport.
    """

    attempt: Attempt
    charged: bool
    """Whether it was counted against the user's limit."""

    error: TemplateError | None = None
    """Why its template could not be filled in, where that was to be done when it began."""


class Unsent(msgspec.Struct, frozen=True):
    """The result of an effect that would have made an attempt, and has not: the node's lease was over when it began, or
    no connection became free. That is no attempt and no failure: the handler decides again."""

    error: TemplateError | None = None
    """Why its template could not be filled in, if that is what kept it from being made."""


UNSENT = Unsent()

EXPIRED = "expired"
RATE_LIMIT_EXCEEDED = "rate limit exceeded"


class Provider:
    """Delivers in the end: a real transport, or a simulated one."""

    outcomes_are_plain = False
    """Whether each outcome that the provider foresees is one of the six, with fields of the right types, so that the
    channel need not check it: for simulated providers, which are asked by the million."""

    @property
    def connections_max(self) -> int | None:
        """How many attempts it can make at once, since each needs a connection: the `max_in_flight` of a channel that
        is given none. None: no bound."""
        return None

    @property
    def recipients_choose_hosts(self) -> bool:
        """Whether each recipient names the host that is asked, as a webhook does: then by default a channel has a
        circuit breaker for each host."""
        return False

    def recipient_problem(self, command: SendNotification) -> str | None:
        """Return why the provider could not send to a command's recipient, in a few words and with the wanted form.

        None: the provider has no objection before it is asked. Called for each command before it is accepted; if all
        providers of a channel return a problem, the command is refused.
        """
        return None

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        """Return the effect that makes this attempt; its result is an outcome, or :data:`UNSENT`."""
        raise NotImplementedError

    def on_wired(self, system: ActorSystem) -> None:
        """Set the system that has the provider's clock; each pipeline with the provider calls it before the first
        attempt.

        For providers that act at their own instants, and answer with a :class:`~actors.kernel.effects.Promise`.
        """


class WrappedProvider(Provider):
    """Is to a pipeline what another provider is, but for its attempts."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @property
    def wrapped(self) -> Provider:
        return self._provider

    @property
    def connections_max(self) -> int | None:
        return self._provider.connections_max

    @property
    def recipients_choose_hosts(self) -> bool:
        return self._provider.recipients_choose_hosts

    def recipient_problem(self, command: SendNotification) -> str | None:
        return self._provider.recipient_problem(command)

    def on_wired(self, system: ActorSystem) -> None:
        self._provider.on_wired(system)


def is_too_late(attempt: Attempt, instant_ns: int | None) -> bool:
    """Tell whether an attempt that may go at this instant has expired by then; None: no one knows when it may go."""
    return instant_ns is not None and attempt.expires_at_ns is not None and instant_ns > attempt.expires_at_ns
