"""Pages about dead letters: the list, one letter, and the operator's actions on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from actors.domain.suppressions import Suppression
from actors.errors import EditRefused, LetterServed
from actors.instants import since_1970_ns, utc
from actors.messages import DeadLetterMessage, NotificationEvent, NotificationFailed, Priority, SendNotification
from actors.pipeline.orders import Served
from actors.service.console.asked import WINDOWS, read_asked
from actors.service.console.breaker_words import retried
from actors.service.console.gate import Visit
from actors.service.console.rendering import now_of, redirect, render
from actors.service.console.timeline import steps_of
from actors.service.console.words import sentence
from actors.service.http.bodies import problem_of_shape
from actors.service.operations.breakers import BreakerNow, deciding
from actors.service.operations.queries import LOOKED_BACK_MAX, By, grouped, worked_out
from actors.settings.quantities import parse_duration, write_duration

PAGE_SIZE = 50
GROUPS_SHOWN = 100


@dataclass(frozen=True)
class Done:
    """The result of a form, shown on the page that follows."""

    text: str
    kind: Literal["fine", "care"] = "fine"


_DONE = {
    "retried": Done("It is being tried again, with a fresh set of attempts."),
    "edited": Done("Your changes are recorded, and it is being tried again with them."),
    "discarded": Done("It is discarded."),
    "served": Done(
        "Nothing was done: its recipient has been reached otherwise since, or is about to be. Look at it again.", "care"
    ),
    "gone": Done("Nothing was done: it is no dead letter any more. Perhaps another operator was quicker.", "care"),
}
"""By its word in an address; any other word there is never shown."""


def done_of(visit: Visit, texts: Mapping[str, Done] = _DONE) -> Done | None:
    return texts.get(visit.query.get("done", ""))


_RETRIED = {
    "retried": "It was tried again with a fresh set of attempts, and is {} now.",
    "edited": "Your changes are recorded. It was tried again with them, and is {} now.",
}
"""The result of a retry that has ended already."""

_STATES = {
    "dead letter": "",
    "sent": "It is sent.",
    "suppressed": "It is suppressed: its user does not want it, or its address was suppressed then.",
    "cancelled": "It is cancelled: its sender has taken it back before it was sent.",
    "discarded": "It is discarded.",
    "ended": "It has ended. Its history is not kept; its id still is, so that it is not sent again.",
}


async def list_page(visit: Visit) -> Response:
    letters = visit.letters
    asked = read_asked(visit.query, now_of(visit.request))
    by = _by(visit.query.get("by", ""))
    after = visit.query.get("after") or None
    newest_first = visit.query.get("order") != "oldest"
    found = await letters.find(asked.filter)
    groups = [] if by is None else await worked_out(found, lambda: grouped(found, by))
    page = await letters.page(asked.filter, limit=PAGE_SIZE, after=after, newest_first=newest_first)
    return render(
        visit,
        "dead_letters.html",
        asked=asked,
        count=len(found),
        by=by,
        groups=groups,
        groups_shown=GROUPS_SHOWN,
        known=letters.in_flight_or_ended(asked.filter),
        looked_back=LOOKED_BACK_MAX,
        nodes=len(visit.service.notifier.pipeline.store.living_nodes),
        letters=page.letters,
        next=page.next,
        is_first=after is None,
        newest_first=newest_first,
        order="" if newest_first else "oldest",
        key_of={"reason": "reason_is"}.get(by or "", by),
        page_size=PAGE_SIZE,
        channels=visit.channels,
        chosen_window=visit.query.get("window"),
        windows=[(name, write_duration(window.total_seconds())) for name, window in WINDOWS],
        done=done_of(visit),
    )


async def notification_page(visit: Visit) -> Response:
    return await _notification(visit, visit.query.get("id", ""))


async def retry(visit: Visit) -> Response:
    return await _retry(visit, None)


async def discard(visit: Visit) -> Response:
    notification_id, why = _id(visit), visit.said("why")
    if not why:
        return await _notification(visit, notification_id, {"why": "Say why, for the audit trail."}, 422)
    done = await visit.letters.discard(notification_id, by=visit.who.name, why=why)
    return _redirect(notification_id, "discarded" if done else "gone")


async def edit_page(visit: Visit) -> Response:
    letter = visit.letters.letter(visit.query.get("id", ""))
    if letter is None:
        return _redirect(visit.query.get("id", ""), "gone")
    return _edit_form(visit, letter, texts_of(letter.command) | {"why": ""}, {})


async def edit(visit: Visit) -> Response:
    notification_id = _id(visit)
    letter = visit.letters.letter(notification_id)
    if letter is None:
        return _redirect(notification_id, "gone")
    texts = {name: visit.form.get(name, "") for name in (*LABELS,)}
    if visit.form.get("version") != version_of(letter):
        problem = "It has been tried since you opened this form. Look at it again, and send the form once more."
        differ = {name: now for name, now in texts_of(letter.command).items() if now != texts[name]}
        changed = {name: f"Now it is {now!r:.200}" if now else "Now it is empty" for name, now in differ.items()}
        return _edit_form(visit, letter, texts, {"": problem, **changed})
    changes, problems = changes_of(letter.command, texts)
    if not problems:
        try:
            return await _retry(visit, changes)
        except EditRefused as refused:
            problems = {name: sentence(problem) for name, problem in refused.problems.items()}
    return _edit_form(visit, letter, texts, problems)


async def _retry(visit: Visit, edit: Mapping[str, Any] | None) -> Response:
    notification_id, why, served = _id(visit), visit.said("why") or None, served_of(visit.form)
    try:
        done = await visit.letters.retry(notification_id, by=visit.who.name, edit=edit, why=why, served=served)
    except LetterServed:
        return _redirect(notification_id, "served")
    return _redirect(notification_id, ("edited" if edit else "retried") if done else "gone")


LABELS = {
    "recipient": "Recipient",
    "subject": "Subject",
    "message": "Message",
    "metadata": "Metadata",
    "expires_after": "Expires after",
    "priority": "Priority",
    "why": "Why (optional)",
}


def texts_of(command: SendNotification) -> dict[str, str]:
    """Return what the fields of the form hold for a command."""
    metadata = msgspec.json.format(msgspec.json.encode(dict(command.metadata), enc_hook=str)).decode()
    return {
        "recipient": _in_one_line(command.recipient),
        "subject": _in_one_line(command.subject or ""),
        "message": command.message.replace("\r\n", "\n").replace("\r", "\n"),  # as a browser sends it back
        "metadata": metadata if command.metadata else "",
        "expires_after": "" if command.expires_after is None else write_duration(command.expires_after),
        "priority": command.priority.value,
    }


def version_of(letter: DeadLetterMessage) -> str:
    return f"{letter.epoch_ns + letter.moved_at_ns}-{letter.edits}"


def changes_of(command: SendNotification, texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the changes that the fields make to a command, and the problems of the fields, both by field."""
    changes: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, before in texts_of(command).items():
        text = texts[name]
        if text == before:
            continue
        match name:
            case "subject":
                changes[name] = text or None
            case "metadata":
                try:
                    changes[name] = _metadata(text)
                except ValueError as error:
                    problems[name] = f"Wanted a JSON object: {error}."
            case "expires_after":
                changes[name] = seconds = _seconds(text)
                if seconds is None and text.strip():
                    problems[name] = f"Wanted a duration such as 90s, 10m, 2h or 1d, got {text!r:.40}."
            case _:
                changes[name] = text.strip() if name in ("recipient", "priority") else text
    return changes, problems


def _metadata(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg[:1].lower()}{error.msg[1:]} in line {error.lineno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if (problem := problem_of_shape(value)) is not None:
        raise ValueError(problem)
    if not isinstance(value, dict):
        raise ValueError(f"got {text.strip()!r:.40}")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _seconds(text: str) -> float | None:
    text = text.strip()
    try:
        return float(text)
    except ValueError:
        return parse_duration(text)


def _in_one_line(text: str) -> str:
    return text.replace("\r", "").replace("\n", "")  # as a browser does in a field of one line


def _edit_form(
    visit: Visit, letter: DeadLetterMessage, texts: Mapping[str, str], problems: Mapping[str, str]
) -> Response:
    return render(
        visit,
        "edit.html",
        status_code=422 if problems else 200,
        notification_id=letter.notification_id,
        letter=letter,
        version=version_of(letter),
        labels=LABELS,
        texts=texts,
        problems=dict.fromkeys(LABELS, "") | dict(problems),
        has_problems=bool(problems),
    )


async def _notification(
    visit: Visit, notification_id: str, problems: Mapping[str, str] | None = None, status_code: int = 200
) -> Response:
    timeline = await visit.letters.show(notification_id)
    if timeline is None:
        raise HTTPException(404, f"No notification {notification_id!r} is known, or it is no longer known.")
    letter, command = timeline.letter, timeline.command
    accepted = texts_of(timeline.accepted)
    edited = [(LABELS[name], accepted[name]) for name, text in texts_of(command).items() if text != accepted[name]]
    facts = [("Channel", command.channel), ("Recipient", command.recipient), ("User", command.user)]
    if command.critical:
        facts.append(("Critical", "yes: it passes by preferences and quiet hours"))
    if command.priority is not Priority.NORMAL:
        facts.append(("Priority", command.priority))
    if command.expires_after is not None:
        facts.append(("Expires after", write_duration(command.expires_after)))
    if command.zone is not None:
        facts.append(("Time zone", command.zone))
    done = done_of(visit)
    if done is not None and timeline.state != "in flight" and visit.query.get("done") in _RETRIED:
        said = _RETRIED[visit.query["done"]].format(timeline.state.replace("dead", "a dead"))
        done = Done(said, "fine" if timeline.state == "sent" else "care")
    pipeline = visit.service.notifier.pipeline
    state = _STATES.get(timeline.state, "")
    suppression = pipeline.store.suppressions.find(command.channel, command.recipient)
    if suppression is not None and timeline.state == "suppressed":
        state = f"It is suppressed: {_since_when(suppression)}"
    if not timeline.events and timeline.state != "ended":
        ended_ns = pipeline.store.remembered.ended_ns(notification_id, since_1970_ns(now_of(visit.request)))
        when = "Its history is not kept, nor when it ended."
        if ended_ns is not None:
            when = f"It ended {utc(ended_ns):%Y-%m-%d %H:%M:%S}; its history is not kept."
        state = f"{state} {when}"
    breakers = visit.service.breakers.now(pipeline)
    breaker = deciding(breakers, command.channel, command.recipient)
    if timeline.state not in ("in flight", "dead letter"):
        breaker = None
    return render(
        visit,
        "notification.html",
        status_code=status_code,
        notification_id=notification_id,
        letter=letter,
        command=command,
        metadata=texts_of(command)["metadata"],
        facts=facts,
        edited=edited,
        state=_in_flight(timeline.events, breaker) if timeline.state == "in flight" else state,
        suppressed="" if letter is None or suppression is None else _since_when(suppression, of_letter=True),
        kept_back=[] if letter is None or breaker is None else retried([breaker], (command.channel,)),
        steps=steps_of(timeline.events),
        problems={"why": "", **(problems or {})},
        done=done,
    )


def _since_when(suppression: Suppression, *, of_letter: bool = False) -> str:
    source, reason = suppression.source, suppression.reason
    whose = {"provider": "the provider's word", "file": "the file of suppressions"}.get(source, "an operator's word")
    text = f"nothing is sent to this address since {suppression.since:%Y-%m-%d %H:%M:%S}, by {whose}: {reason}."
    if not of_letter:
        return text
    return sentence(f"{text} {'A retry lifts this' if source == 'provider' else 'A retry is suppressed too'}")


def _in_flight(events: Sequence[NotificationEvent], breaker: BreakerNow | None) -> str:
    if breaker is None:
        return "It is in flight: it is being tried, or waits for its next attempt."
    is_retried = bool(events) and isinstance(events[-1], NotificationFailed)
    name = f"the circuit breaker of {breaker.name}"
    if breaker.when_open == "wait":
        what = "Its next attempt waits" if is_retried else "It waits, unless it is at its provider,"
        return f"It is in flight. {what} until {name}, which is {breaker.state}, lets it go."
    what = "Its next attempt" if is_retried else "An attempt that starts now"
    return f"It is in flight. {what} fails at once while {name} is {breaker.state}."


def _id(visit: Visit) -> str:
    return visit.form.get("id", "")


def _redirect(notification_id: str, done: str) -> Response:
    return redirect("/dead-letters/notification", id=notification_id, done=done)


def served_of(said: Mapping[str, str]) -> Served:
    return "include" if said.get("served") == "include" else "exclude"


def _by(text: str) -> By | None:
    return next((by for by in get_args(By) if by == text), None)
