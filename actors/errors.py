"""Every error of retrylab, as one family tree.

::

    RetrylabError
    ├── DeliveryError                 how an attempt can end; raised by transports
    │   ├── TransientError            worth another attempt
    │   └── PermanentError            no attempt will ever succeed
    ├── ServiceUnavailable            a circuit breaker let nothing through
    ├── RateLimited                   a rate limiter alone has no room now
    ├── BulkheadFull                  a bulkhead alone has no slot
    ├── IllegalTransition             a breaker's state has no such event (in actors.policies.breaker)
    ├── IdempotencyConflict           a known notification id came with another payload
    ├── UnknownChannel                a command for a channel that is not configured
    ├── InvalidRecipient              an address that the channel's providers cannot send to; a ValueError too
    ├── Overloaded                    as many notifications are pending as may be; not accepted
    ├── TemplateError                 a template is unknown, or a variable of it is missing
    │   └── TemplateRefused           a template says what none may; its notifications wait for another
    ├── ConfigurationError            settings or a scenario file that cannot be used
    │   └── RunTooLarge               a simulated run would have filled the memory of the machine
    ├── EditRefused                   a dead letter cannot be edited so before it is tried again
    ├── LetterServed                  its fallback was delivered or is under way; it is not redriven unless asked to
    ├── WrongType                     an argument of a kind that cannot work here; a TypeError too
    ├── NotifierClosed                something came after the notifier's block, or was unanswered at its end
    ├── StoreError                    a store that cannot be opened, or is closed
    │   ├── StoreInUse                another process has it, or another notifier
    │   ├── Overtaken                 another node that shares the store was first; nothing has happened
    │   ├── StoreBusy                 nothing can be written now, as under another process's lock; send it again
    │   ├── StoreFailed               a change could not be made durable; ends the whole system
    │   └── Unstorable                a command that would not come back from the store as it is
    ├── RunCancelled                  a simulated run was cancelled before its end
    ├── WorkerLost                    a process that shared many runs is gone in the middle of one
    ├── InvariantBreach               a run broke an invariant: a bug, with its time and history
    └── ActorSystemError              misuse of the actor system
        ├── WouldDeadlock             a blocking wait where nothing could ever answer
        ├── ForeignAwait              a handler awaited something the simulated clock knows nothing about
        └── MailboxFull               a bounded mailbox refused a message

Arguments stay positional: SimPy rebuilds exceptions as ``type(e)(*e.args)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.formatting import without_passwords

if TYPE_CHECKING:
    from actors.messages import SendNotification

REASON_LENGTH_MAX: Final = 1_000
"""Characters of a reason, or of a provider's answer, that are kept: it is stored, logged and grouped by."""


def shortened(text: str) -> str:
    """Return a text cut to at most REASON_LENGTH_MAX characters; a cut text ends in an ellipsis."""
    return text if len(text) <= REASON_LENGTH_MAX else text[: REASON_LENGTH_MAX - 1] + "…"


def unwrapped(error: BaseException) -> BaseException:
    """Return an error without the exception groups of one error that nurseries have put round it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def described(error: BaseException) -> str:
    """Return the class of an error and its text, if any, in at most REASON_LENGTH_MAX characters.

    An error whose own ``__str__`` raises is described by its class.
    """
    try:
        return shortened(f"{type(error).__name__}: {error}".rstrip(": "))
    except Exception:
        return f"{type(error).__name__}, which cannot be shown"


class RetrylabError(Exception):
    """The root of the family."""


class DeliveryError(RetrylabError):
    """The errors that a transport may raise instead of returning an outcome."""

    reason: str = ""  # here for a subclass whose __init__ does not call this one
    """The cause of the failure, in words for people."""
    retry_after: float | None = None
    """Seconds the provider asked to wait, or None."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason, retry_after)
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.reason)  # a caller may have passed a status, or an error


class TransientError(DeliveryError):
    """The attempt failed in a way that another attempt may not."""


class PermanentError(DeliveryError):
    """The notification can never be delivered as it is."""


class ServiceUnavailable(RetrylabError):
    """The circuit breaker is open."""

    def __init__(self, message: str = "Circuit breaker is open", retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.retry_after = retry_after
        """Seconds until it may let one through; None when it does not know."""

    def __str__(self) -> str:
        return str(self.args[0])


class RateLimited(RetrylabError):
    """A rate limiter alone has no room now, and is set not to wait: the call was not made."""

    def __init__(self, key: str, retry_after: float) -> None:
        super().__init__(key, retry_after)
        self.key = key
        """The key (such as a user) whose limit is used up."""
        self.retry_after = retry_after
        """Seconds until it fits, if nothing else comes first."""

    def __str__(self) -> str:
        return f"over the limit{f' of {self.key!r}' if self.key else ''}: it fits in {self.retry_after:g} s"


class BulkheadFull(RetrylabError):
    """A bulkhead alone had no slot, and none became free in the time to wait: the call was not made."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit
        """How many calls may be under way at once."""

    def __str__(self) -> str:
        return f"the bulkhead is full: {self.limit} are under way"


class IdempotencyConflict(RetrylabError):
    """A notification id that is known already came with a different payload."""

    def __init__(self, message: str, differs: tuple[str, ...] = ()) -> None:
        super().__init__(message, differs)
        self.differs = differs
        """The fields that are not as they were."""

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownChannel(RetrylabError):
    """A command names a channel that is not configured."""


class InvalidRecipient(RetrylabError, ValueError):
    """A command is not accepted, since its recipient can be no address of its channel; the text names what is
    wanted."""


class Overloaded(RetrylabError):
    """As many notifications are pending as may be. Nothing is accepted or remembered: send the same again later."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after
        """Seconds to wait before that."""

    def __str__(self) -> str:
        return f"overloaded: as many notifications are pending as may be; send this again in {self.retry_after:g} s"


class TemplateError(RetrylabError):
    """A template is unknown, or names a variable that the notification does not carry."""


class TemplateRefused(TemplateError):
    """A template cannot be used: it is no template, or says what none may. The text has all that is wrong, by line."""


class ConfigurationError(RetrylabError):
    """Settings that cannot be used. `problems` holds all of them, one line each; no password of an address is shown."""

    def __init__(self, problems: list[str]) -> None:
        problems = [without_passwords(problem) for problem in problems]
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class RunTooLarge(ConfigurationError):
    """A simulated run was ended before it would have filled the memory of the machine; it says what would take less."""


class EditRefused(RetrylabError):
    """A dead letter cannot be edited so. `problems` has one by field; nothing has happened."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(f"{field}: {problem}" for field, problem in self.problems.items())


class LetterServed(RetrylabError):
    """A dead letter is served: its fallback, or another notification of its request, was delivered or is under way.

    Nothing has happened. A redrive would reach the recipient twice, and has to be asked for: `served="include"`.
    """

    def __init__(self, notification_id: str) -> None:
        super().__init__(notification_id)
        self.notification_id = notification_id
        """Of which notification."""

    def __str__(self) -> str:
        return (
            f"notification {self.notification_id!r} is served: its fallback, or another notification of the same "
            "request, was delivered or is under way; it is redriven only where that is asked for, by served: include"
        )


class WrongType(RetrylabError, TypeError):
    """An argument of a kind that cannot work here: a bug in the program that passes it."""


class NotifierClosed(RetrylabError):
    """The notifier's block has ended, and with it every actor that would take or answer an event or a command."""

    def __init__(self, message: str = "the notifier is closed") -> None:
        super().__init__(message)


class StoreError(RetrylabError):
    """A store cannot be used: its file cannot be opened, is no store's or a later version's, or the store is closed."""


class StoreInUse(StoreError):
    """Another process has this store open, another store of this process has its file, or another notifier has it."""


class StoreFailed(StoreError):
    """A store could not make a change durable, as on a full disk, or when it is closed already.

    It ends the whole system, since later changes would be lost. Notifications that were answered as accepted are in the
    store, and resume when it can be opened again.
    """


class StoreBusy(StoreError):
    """Nothing has become durable for a second: another process has locked the store, or it cannot be reached.

    Commands from before that stay in line, and are carried out when the store can be written again; later commands are
    refused and not remembered. Either may be sent again: an id is accepted once, so the answer is then ``accepted``, or
    ``duplicate`` where the first one has become durable meanwhile.
    """

    def __init__(self, retry_after: float = 1.0) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after
        """Seconds to wait before that."""

    def __str__(self) -> str:
        return f"the store cannot be written now; send this again in {self.retry_after:g} s"


class Overtaken(StoreError):
    """A notification with this id was there first, perhaps at another node; or another node has taken this dead letter.

    Nothing has happened here.
    """

    def __init__(self, notification_id: str, known: SendNotification | None = None) -> None:
        super().__init__(notification_id, known)
        self.notification_id = notification_id
        """Of which notification."""
        self.known = known
        """The command that the id came with before, where it came here with a request; None: that is not known."""

    def __str__(self) -> str:
        return f"notification {self.notification_id!r} is known already, or another node was first"


class Unstorable(StoreError):
    """A command would not come back from a store as it is; it is not accepted."""


NOT_ACCEPTED: Final = (IdempotencyConflict, UnknownChannel, InvalidRecipient, Overloaded, StoreBusy, Unstorable)
"""The errors by which a command is refused; the command is not remembered, and the system goes on."""


class RunCancelled(RetrylabError):
    """A simulated run was cancelled before its end, by the `cancelled` that it was given."""

    so_far: Any = None
    """How the run stood then: a :class:`simulation.results.progress.RunSnapshot`. None: it had not begun."""


class WorkerLost(RetrylabError):
    """A process, or a node of a cluster, that shared many runs is gone in the middle of one."""


class InvariantBreach(RetrylabError):
    """An invariant was broken, which no settings excuse. As text the error is a report of several lines."""

    def __init__(
        self,
        message: str,
        invariant: str = "",
        at_ns: int | None = None,
        seed: int | None = None,
        history: tuple[str, ...] = (),
        replay: str = "",
    ) -> None:
        super().__init__(message, invariant, at_ns, seed, history, replay)
        self.message = message
        """The breach, in a sentence."""
        self.invariant = invariant
        """The name of the invariant that is broken; empty when it has none."""
        self.at_ns = at_ns
        """When, in nanoseconds since the start of the run; None when it is not known."""
        self.seed = seed
        """The seed of the run; None when it is not known."""
        self.history = history
        """The events until then of the notification concerned (or of the breaker, or of the run), a line each."""
        self.replay = replay
        """The command that runs it again; empty when there is none."""

    def of_run(self, seed: int, replay: str) -> InvariantBreach:
        """Return this breach with the seed of its run and the command that repeats the run."""
        breach = InvariantBreach(self.message, self.invariant, self.at_ns, seed, self.history, replay)
        return breach.with_traceback(self.__traceback__)

    def __str__(self) -> str:
        lines = [self.message]
        if self.invariant:
            at = "" if self.at_ns is None else f", at {self.at_ns / 1e9:.9g} s"
            seed = "" if self.seed is None else f" (seed {self.seed})"
            lines = [f"invariant {self.invariant} broken{at}{seed}:", f"  {self.message}"]
        if self.history:
            lines += ["what had happened until then:", *(f"  {line}" for line in self.history)]
        if self.replay:
            lines += ["to see it again:", f"  {self.replay}"]
        return "\n".join(lines)


class ActorSystemError(RetrylabError):
    """The actor system was used in a way that cannot work."""


class WouldDeadlock(ActorSystemError):
    """A blocking wait inside a handler: nothing else runs until the handler returns."""

    def __init__(
        self,
        text: str = "blocking wait for an answer inside a handler, or in the thread that runs all actors: nothing "
        "could answer; make the function async and write: await ref.ask(message, block=False)",
    ) -> None:
        super().__init__(text)


class ForeignAwait(ActorSystemError):
    """A handler awaited real I/O on a clock that is not real."""


class MailboxFull(ActorSystemError):
    """A bounded mailbox had no room, and its policy is to refuse."""
