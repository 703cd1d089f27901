"""The timeline of one notification, for people: a step for each event and for each action of an operator."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

from actors.domain.delivery import left_out_before
from actors.event_words import OUTCOMES, what_happened
from actors.formatting import counted
from actors.messages import (
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
)
from actors.service.console.words import duration

SHOWN_OF_A_CHANGE = 200
"""How many characters of a changed field are shown; the whole field stands below the timeline."""

Tone: TypeAlias = Literal["", "fine", "care", "bad"]


@dataclass(frozen=True)
class Step:
    """One step of a notification's history."""

    at: datetime
    what: str
    kind: Tone = ""
    """Whether it is good, asks for care or is bad; a page shows it by a shape beside the words."""
    lines: tuple[str, ...] = ()
    """Further details."""
    answer: str | None = None
    """The provider's answer as it came, or its latest failure before a refusal."""
    answer_is: str = "The provider's answer"
    after_s: float | None = None
    """How long after the step before, in seconds; None for the first."""


def steps_of(events: Iterable[NotificationEvent]) -> list[Step]:
    steps: list[Step] = []
    used = 0
    due: datetime | None = None
    for event in events:
        step = _step(event)
        if isinstance(event, NotificationFailed) and (gone := left_out_before(event, used)):
            step = replace(step, lines=(f"{counted(gone, 'attempt')} before this one left out.", *step.lines))
        elif (
            isinstance(event, (NotificationFailed, NotificationSent))
            and due is not None
            and (late_s := (event.started - due).total_seconds()) >= 1
        ):
            why = "a circuit breaker, a limit or others held it back"
            step = replace(step, lines=(f"It began {duration(late_s)} after it was due: {why}.", *step.lines))
        if isinstance(event, NotificationFailed):
            used, due = event.attempt, event.next_retry_at
        elif isinstance(event, NotificationRedriven):
            used, due = 0, None
        after_s = (step.at - steps[-1].at).total_seconds() if steps else None
        steps.append(replace(step, after_s=after_s))
    return steps


def _step(event: NotificationEvent) -> Step:
    match event:
        case NotificationRequested():
            lines = () if event.instead_of is None else (f"In place of {event.instead_of}, as a fallback.",)
            return Step(event.at, what_happened(event), lines=lines)
        case NotificationFailed():
            return _failed(event)
        case NotificationSent():
            taken = (event.at - event.started).total_seconds()
            details = (f"The answer came after {duration(taken)}.", *_provider(event))
            return Step(event.at, what_happened(event), "fine", details)
        case NotificationDeferred():
            until = "" if event.resumes_at is None else f", until {event.resumes_at:%H:%M:%S} at least"
            return Step(event.at, f"{what_happened(event)}{until}", "care")
        case NotificationMovedToDeadLetter():
            tried = (f"After {counted(event.attempts, 'attempt')}.",)
            return Step(event.at, what_happened(event), "bad", tried)
        case NotificationSuppressed():
            return Step(event.at, what_happened(event), "care")
        case NotificationRedriven():
            changed = [f"Changed {name.replace('_', ' ')} to {_short(value)}" for name, value in event.edit.items()]
            served = ["Also if it was served."] if event.include_served else []
            details = (*_why(event.why), *served, *changed)
            return Step(event.at, what_happened(event), lines=details)
        case DeadLetterDiscarded():
            return Step(event.at, what_happened(event), "bad", _why(event.reason))
        case DuplicateIgnored():
            return Step(event.at, what_happened(event), "care" if event.conflict else "")
        case _:
            return Step(event.at, what_happened(event))


def _failed(event: NotificationFailed) -> Step:
    taken = (event.at - event.started).total_seconds()
    how = [OUTCOMES.get(event.kind, event.kind)]
    if event.throttled:
        how.append("the provider says that we send too fast")
    if event.refused:
        how.append("refused on our side, no provider was asked")
    else:
        how.append(f"started {event.started:%H:%M:%S}, took {duration(taken)}")
    lines = [f"{'; '.join(how).capitalize()}."]
    lines += _provider(event)
    if event.next_retry_at is not None:
        wait = (event.next_retry_at - event.at).total_seconds()
        lines.append(f"Next attempt due {duration(wait)} later, at {event.next_retry_at:%H:%M:%S}.")
    kind: Tone = "care" if event.given_up is None else "bad"
    answer_is = "The provider's latest failure" if event.refused else Step.answer_is
    return Step(event.at, what_happened(event), kind, tuple(lines), event.answer, answer_is)


def _provider(event: NotificationSent | NotificationFailed) -> tuple[str, ...]:
    said = []
    if event.provider is not None:
        said.append(f"Provider: {event.provider}.")
    if event.hedges:
        said.append(f"Sent beside it: {counted(event.hedges, 'copy', 'copies')}, as a hedge.")
    return tuple(said)


def _why(reason: str | None) -> tuple[str, ...]:
    return () if reason is None else (f"Why: {reason}",)


def _short(value: object) -> str:
    if value is None or value == "":
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_OF_A_CHANGE else f"{text[:SHOWN_OF_A_CHANGE]}…"
