"""Operations of an operator in a scenario: redrive or discard dead letters, cancel notifications, override breakers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import ValidationInfo, WrapValidator, model_validator

from actors.messages import Priority
from actors.settings.base import Settings, at_key, check_one_given
from actors.settings.faults import ChannelNames
from actors.settings.quantities import Duration, PositiveDuration, Text, wanted

_ALL = "all"

Class: TypeAlias = Literal["critical", "normal", "bulk"]
"""The classes of traffic."""


class DeadLettersOf(Settings):
    """Some of the dead letters."""

    wanted_text: ClassVar[str] = "all, or some of them such as {reason: expired}"

    reason: Text
    """Part of the reason for which they were dead-lettered."""


def _all_or_some(value: Any, _handler: Any, info: ValidationInfo) -> Any:
    return value if value == _ALL else DeadLettersOf.model_validate(value, context=info.context)


DeadLetters = Annotated[Literal["all"] | DeadLettersOf, WrapValidator(_all_or_some)]


class WaitingOf(Settings):
    """Some of the notifications that wait."""

    wanted_text: ClassVar[str] = "all, or some of them such as {priority: bulk}"

    priority: Priority
    """The class of traffic of the notifications."""


def _all_or_some_waiting(value: Any, _handler: Any, info: ValidationInfo) -> Any:
    return value if value == _ALL else WaitingOf.model_validate(value, context=info.context)


Waiting = Annotated[Literal["all"] | WaitingOf, WrapValidator(_all_or_some_waiting)]


class EditConfig(Settings):
    """Changes to each dead letter before it is redriven; a key left out stays as it is."""

    wanted_text: ClassVar[str] = "changes such as {recipient: user-7@host-3.example, expires_after: 30s}"

    recipient: Text | None = None
    """The address that it goes to; all of them to the same."""

    message: Text | None = None
    """The text."""

    expires_after: PositiveDuration | None = None
    """How old the notification may become, counted from the redrive; null: it never expires."""

    priority: Class | None = None
    """The class of traffic of the notification from the redrive on."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise wanted("something to change: recipient, message, expires_after or priority", "nothing")
        for key in ("recipient", "message", "priority"):
            if key in self.model_fields_set and getattr(self, key) is None:
                what = "critical, normal or bulk" if key == "priority" else "text that is not empty"
                raise at_key(key, wanted(what), None)
        return self

    def changes(self) -> dict[str, Any]:
        """Return the fields of a command that change, with their new values."""
        keys = ("recipient", "message", "expires_after", "priority")
        return {key: getattr(self, key) for key in keys if key in self.model_fields_set}


class Operation(Settings):
    """One operation of an operator; give exactly one of `redrive`, `discard`, `cancel` and `breaker`."""

    wanted_text: ClassVar[str] = "an order such as {at: 5m, redrive: all}"

    at: Duration
    """When, from the start of the run. An order while the process is down is lost."""

    channel: ChannelNames | None = None
    """On which channels: one, a list, or `all`. Needed by `breaker`. None: of all."""

    provider: Text | None = None
    """`breaker` only: the provider whose breaker is overridden, `primary` or another by its name. None: all
    providers."""

    redrive: DeadLetters | None = None
    """Which of the dead letters are tried again, each with a fresh set of attempts and, if it expires, with its whole
    `expires_after` anew."""

    served: Literal["exclude", "include"] = "exclude"
    """`redrive` only: whether it takes served letters too, whose fallback, or another notification of the same request,
    was delivered or is in flight. To redrive them reaches people twice."""

    edit: EditConfig | None = None
    """`redrive` only: the changes to each letter first. None: none."""

    discard: DeadLetters | None = None
    """Which of the dead letters are removed for good."""

    cancel: Waiting | None = None
    """Which of the notifications that wait then, and are at no provider, are cancelled: suppressed, for the reason
    `cancelled`."""

    breaker: Literal["force-open", "disable", "close", "metrics-only"] | None = None
    """The override of the breakers from now on. `force-open`: let nothing through. `disable`: let everything through
    and count nothing. `metrics-only`: let everything through, and count. `close`: work again, and begin closed."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_one_given(self, ("redrive", "discard", "cancel", "breaker"))
        if self.breaker is not None and self.channel is None:
            raise wanted("a channel beside breaker", "none")
        if self.redrive is None and self.served == "include":
            raise wanted("served only with redrive")
        if self.redrive is None and self.edit is not None:
            raise wanted("edit only with redrive")
        if self.breaker is None and self.provider is not None:
            raise wanted("provider only with breaker")
        return self
