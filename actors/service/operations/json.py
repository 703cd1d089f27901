"""Dead letters, bulk runs, breakers and the trail as JSON: instants in UTC by RFC 3339, durations in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

import msgspec

from actors.domain.audit import AuditEntry
from actors.domain.endpoints import Endpoint
from actors.messages import DeadLetterMessage, RecordedEvent, SendNotification
from actors.service.operations.breakers import BreakerNow
from actors.service.operations.bulk import Bulk, DryRun
from actors.service.operations.queries import Filter, Group, Known, underlying_reason
from actors.service.operations.timeline import Timeline

Document = dict[str, Any]

_OF_EVERY_EVENT = frozenset({"at_ns", "epoch_ns", "notification_id", "channel"})


def time_text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def of_letter(letter: DeadLetterMessage) -> Document:
    return {
        "id": letter.notification_id,
        "channel": letter.channel,
        **parts_of(letter.command, "recipient", "user", "subject"),
        "reason": letter.failure_reason,
        "underlying_reason": underlying_reason(letter),
        **parts_of(letter, "attempts", "requested_at", "first_failure", "last_failure", "moved_at", "edits", "served"),
    }


def of_known(known: Known) -> Document:
    of_command = parts_of(known.command, "channel", "recipient", "subject")
    return {"id": known.command.notification_id, "state": known.state, **of_command, **parts_of(known, "ended_at")}


def of_group(group: Group) -> Document:
    return parts_of(group, "key", "count", "oldest", "newest")


def of_timeline(timeline: Timeline) -> Document:
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
    names = ("channel", "recipient", "user", "subject", "message", "metadata", "critical", "priority")
    zone = () if command.zone is None else ("zone",)
    return parts_of(command, *names, "expires_after", "addresses", "not_before", *zone)


def of_event(event: RecordedEvent) -> Document:
    """Return an event: its type, its instant, and its other fields but those that are None."""
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
    reported = {} if entry.message_id is None else {"message_id": entry.message_id}
    said = parts_of(entry, "about", "why", "edit")
    return parts_of(entry, "at", "by", "action") | {"id": entry.notification_id} | said | reported


def of_filter(filter: Filter) -> Document:
    given = {each.name: getattr(filter, each.name) for each in fields(filter)}
    given["id"] = given.pop("id_prefix")
    return {name: _written(value) for name, value in given.items() if value is not None}


def of_dry_run(dry_run: DryRun, filter: Filter) -> Document:
    return {
        "dry_run": True,
        "filter": of_filter(filter),
        "count": dry_run.count,
        "left_out": dry_run.left_out,
        "groups": [of_group(group) for group in dry_run.groups],
        "sample": [of_letter(letter) for letter in dry_run.sample],
    }


def of_bulk(bulk: Bulk) -> Document:
    named = {"bulk": bulk.id, "action": bulk.action, "filter": of_filter(bulk.filter)}
    counts = parts_of(bulk, "by", "why", "rate_per_s", "served", "total", "done", "skipped", "left_out", "failed")
    if bulk.action == "retry":
        counts |= parts_of(bulk, "delivered", "under_way", "dead_again", "not_wanted")
    return named | counts | parts_of(bulk, "state", "cancelled_by", "started_at", "ended_at")


def of_breaker(breaker: BreakerNow) -> Document:
    return {name: _written(value) for name, value in asdict(breaker).items()}


def of_endpoints(endpoints: Iterable[Endpoint], limit: int, state: str | None, channel: str | None = None) -> Document:
    """Return up to `limit` failing endpoints of a state and a channel, or of all; and the number of those that fit."""
    found = [each for each in endpoints if state in (None, each.state) and channel in (None, each.channel)]
    parts = ("channel", "address", "state", "since", "disabled_at", "reason")
    return {"total": len(found), "endpoints": [parts_of(each, *parts) for each in found[:limit]]}


def parts_of(object: Any, *names: str) -> Document:
    return {name: _written(getattr(object, name)) for name in names}


def _written(value: Any) -> Any:
    return time_text(value) if isinstance(value, datetime) else _plain(value)


def _plain(value: Any) -> Any:
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value
