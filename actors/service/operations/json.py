"""What the operations are about, as JSON: instants in UTC as RFC 3339 writes them, durations in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

import msgspec

from actors.domain.audit import AuditEntry
from actors.messages import DeadLetterMessage, RecordedEvent, SendNotification
from actors.service.operations.breakers import BreakerNow
from actors.service.operations.bulk import Bulk, DryRun
from actors.service.operations.queries import Filter, Group
from actors.service.operations.timeline import Timeline

Document = dict[str, Any]

_OF_EVERY_EVENT = frozenset({"at_ns", "epoch_ns", "notification_id", "channel"})


def time_text(instant: datetime | None) -> str | None:
    """Return an instant in writing, to the microsecond."""
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def of_letter(letter: DeadLetterMessage) -> Document:
    """Return a dead letter, without what it says."""
    command = letter.command
    return {
        "id": letter.notification_id,
        "channel": letter.channel,
        "recipient": command.recipient,
        "user": command.user,
        "subject": command.subject,
        "reason": letter.failure_reason,
        "attempts": letter.attempts,
        "requested_at": time_text(letter.requested_at),
        "first_failure": time_text(letter.first_failure),
        "last_failure": time_text(letter.last_failure),
        "moved_at": time_text(letter.moved_at),
        "edits": letter.edits,
    }


def of_group(group: Group) -> Document:
    """Return a group of dead letters."""
    oldest, newest = time_text(group.oldest), time_text(group.newest)
    return {"key": group.key, "count": group.count, "oldest": oldest, "newest": newest}


def of_timeline(timeline: Timeline) -> Document:
    """Return all that is known of one notification."""
    return {
        "id": timeline.notification_id,
        "state": timeline.state,
        "dead_letter": None if timeline.letter is None else of_letter(timeline.letter),
        "command": of_command(timeline.command),
        "accepted": of_command(timeline.accepted),
        "events": [of_event(event) for event in timeline.events],
        "audit": [of_audit(entry) for entry in timeline.audit],
    }


def of_command(command: SendNotification) -> Document:
    """Return a command, with what it says."""
    return {
        "channel": command.channel,
        "recipient": command.recipient,
        "user": command.user,
        "subject": command.subject,
        "message": command.message,
        "metadata": _plain(command.metadata),
        "critical": command.critical,
        "expires_after": command.expires_after,
        "addresses": _plain(command.addresses),
    }


def of_event(event: RecordedEvent) -> Document:
    """Return something that happened: its type, when, and what else is known of it; what is None is left out."""
    document: Document = {"event": type(event).__name__, "at": time_text(event.at)}
    for field in msgspec.structs.fields(type(event)):
        name = field.name
        if name in _OF_EVERY_EVENT or (value := getattr(event, name)) is None:
            continue
        if name.endswith("_ns"):
            name = name.removesuffix("_ns")
            document[name] = time_text(getattr(event, name))
        else:
            document[name] = _plain(value)
    return document


def of_audit(entry: AuditEntry) -> Document:
    """Return what somebody did."""
    return {
        "at": time_text(entry.at),
        "by": entry.by,
        "action": entry.action,
        "id": entry.notification_id,
        "about": entry.about,
        "why": entry.why,
        "edit": _plain(entry.edit),
    }


def of_filter(filter: Filter) -> Document:
    """Return a filter as it can be given again."""
    given = {each.name: getattr(filter, each.name) for each in fields(filter)}
    given["id"] = given.pop("id_prefix")
    return {
        name: time_text(value) if isinstance(value, datetime) else value
        for name, value in given.items()
        if value is not None
    }


def of_dry_run(dry_run: DryRun, filter: Filter) -> Document:
    """Return what a bulk run over this filter would be about."""
    return {
        "dry_run": True,
        "filter": of_filter(filter),
        "count": dry_run.count,
        "groups": [of_group(group) for group in dry_run.groups],
        "sample": [of_letter(letter) for letter in dry_run.sample],
    }


def of_bulk(bulk: Bulk) -> Document:
    """Return a bulk run, and how far it is."""
    return {
        "bulk": bulk.id,
        "action": bulk.action,
        "filter": of_filter(bulk.filter),
        "by": bulk.by,
        "why": bulk.why,
        "rate_per_s": bulk.rate_per_s,
        "total": bulk.total,
        "done": bulk.done,
        "skipped": bulk.skipped,
        "failed": bulk.failed,
        "state": bulk.state,
        "cancelled_by": bulk.cancelled_by,
        "started_at": time_text(bulk.started_at),
        "ended_at": time_text(bulk.ended_at),
    }


def of_breaker(breaker: BreakerNow) -> Document:
    """Return a breaker as it is now."""
    document = asdict(breaker)
    return {name: time_text(value) if isinstance(value, datetime) else value for name, value in document.items()}


def _plain(value: Any) -> Any:
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value
