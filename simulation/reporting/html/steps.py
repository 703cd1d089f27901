"""The steps of one notification in order: one for each event of its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from markupsafe import Markup

from actors.event_words import OUTCOMES, what_happened
from actors.formatting import counted
from actors.instants import NS_PER_S
from actors.messages import (
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from simulation.reporting.html.words import duration, instant
from simulation.results.formatting import fate_text

HEAD, TAIL = 8, 5
"""The steps at the beginning and at the end that are shown, where there are more than both together."""

Tone: TypeAlias = Literal["", "fine", "care", "bad"]
"""Whether something is good, a warning or bad; shown by a shape beside the words."""


class Step(NamedTuple):
    at_ns: int
    what: str
    kind: Tone = ""
    details: tuple[str, ...] = ()
    """Details, as markup or text."""

    answer: str | None = None
    """The provider's answer as it came, or its latest failure before a refusal."""

    answer_is: str = "The provider's answer"


class Interrupted(NamedTuple):
    """A request to a provider whose answer no one took; of it there is no event."""

    at_ns: int
    """When it was answered, or its sender was gone, whichever came first."""

    notification_id: str
    started_ns: int
    provider: str | None
    """At which provider, where the channel has several."""

    delivered: bool

    @property
    def fate(self) -> str:
        """Whether it was delivered all the same."""
        return fate_text(self.delivered)


class Cut(NamedTuple):
    """The steps to show: some at the beginning, and some at the end if there are too many."""

    head: list[Step]
    left_out: int
    tail: list[Step]


def cut(steps: Sequence[Step]) -> Cut:
    """Return which of many steps to show; one that is left out alone would take as much room."""
    if len(steps) <= HEAD + TAIL + 1:
        return Cut(list(steps), 0, [])
    return Cut(list(steps[:HEAD]), len(steps) - HEAD - TAIL, list(steps[-TAIL:]))


def steps_of(events: Sequence[Any], notification_id: str) -> list[Step]:
    return [_step(event, notification_id) for event in events]


def _step(event: Any, notification_id: str) -> Step:
    match event:
        case NotificationRequested() if event.notification_id != notification_id:
            return Step(event.at_ns, f"Goes out on {event.channel} instead", "care", (f"As {event.notification_id}.",))
        case NotificationRequested():
            return Step(event.at_ns, what_happened(event), details=_origin(event))
        case NotificationFailed():
            return _failed(event)
        case Interrupted():
            made = Markup("Made at {}. No one took its answer: {}.").format(instant(event.started_ns), event.fate)
            return Step(event.at_ns, "A request was interrupted", "care", (made,))
        case NotificationSent():
            took = Markup("The answer came after {}.").format(_lasting(event.at_ns - event.started_ns))
            return Step(event.at_ns, what_happened(event), "fine", (took, *_provider(event)))
        case NotificationDeferred():
            return Step(event.at_ns, what_happened(event), "care", _until(event))
        case NotificationMovedToDeadLetter():
            tried = (f"After {counted(event.attempts, 'attempt')}.",)
            return Step(event.at_ns, what_happened(event), "bad", tried)
        case NotificationSuppressed():
            return Step(event.at_ns, what_happened(event), "care")
        case NotificationRedriven():
            changed = [f"Changed: {', '.join(event.edit)}."] if event.edit else []
            return Step(event.at_ns, what_happened(event), details=(*_why(event.why), *changed))
        case DeadLetterDiscarded():
            return Step(event.at_ns, what_happened(event), "bad", _why(event.reason))
        case DuplicateIgnored():
            return Step(event.at_ns, what_happened(event), "care" if event.conflict else "")
        case _:
            return Step(event.at_ns, what_happened(event))


def _failed(event: NotificationFailed) -> Step:
    how = [OUTCOMES.get(event.kind, event.kind)]
    if event.throttled:
        how.append("the provider says we are too fast")
    if event.refused:
        how.append("refused on our side, no provider was asked")
    details: list[str] = [f"{'; '.join(how).capitalize()}."]
    if not event.refused:
        took = _lasting(event.at_ns - event.started_ns)
        details.append(Markup("Started at {}, took {}.").format(instant(event.started_ns), took))
    details += _provider(event)
    if event.next_retry_at_ns is not None:
        wait = _lasting(event.next_retry_at_ns - event.at_ns)
        details.append(Markup("Next attempt after {}, at {}.").format(wait, instant(event.next_retry_at_ns)))
    kind: Tone = "care" if event.given_up is None else "bad"
    answer_is = "The provider's latest failure" if event.refused else Step._field_defaults["answer_is"]
    return Step(event.at_ns, what_happened(event), kind, tuple(details), event.answer, answer_is)


def _origin(event: NotificationRequested) -> tuple[str, ...]:
    if event.instead_of is None:
        return ()
    waited = "" if event.waited_since_ns is None else Markup(", which waits since {}").format(_at(event))
    return (Markup("In place of {}{}.").format(event.instead_of, waited),)


def _at(event: NotificationRequested) -> Markup:
    return instant(event.waited_since_ns or 0)


def _until(event: NotificationDeferred) -> tuple[str, ...]:
    if event.resumes_at_ns is None:
        return ("Until an operator decides.",)
    wait = _lasting(max(event.resumes_at_ns - event.at_ns, 0))
    return (Markup("At least {}, until {}.").format(wait, instant(event.resumes_at_ns)),)


def _provider(event: NotificationSent | NotificationFailed) -> tuple[str, ...]:
    said = []
    if event.provider is not None:
        said.append(f"Provider: {event.provider}.")
    if event.hedges:
        said.append(f"Sent beside it, as a hedge: {counted(event.hedges, 'copy', 'copies')}.")
    return tuple(said)


def _why(reason: str | None) -> tuple[str, ...]:
    return () if reason is None else (f"Why: {reason}.",)


def _lasting(nanoseconds: int) -> Markup:
    return duration(nanoseconds / NS_PER_S)
