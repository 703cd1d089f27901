"""The history of a run as tables: one row a notification, an attempt, a deferral, a dead letter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from actors.domain.requests import Requests
from actors.instants import NS_PER_S
from actors.kernel.node import without_node
from actors.messages import (
    BreakerTransitioned,
    DeadLetterDiscarded,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    RecordedEvent,
    UpstreamRequested,
)
from actors.settings.channel import PRIMARY
from simulation.results.backlogs import waits_since_ns
from simulation.scenario.identity import Origins
from simulation.scenario.model import Scenario

IN_FLIGHT = "in_flight"
SENT = "sent"
"""What was delivered, of notifications and of attempts alike."""

ATTEMPT_OUTCOMES = {
    "Sent": SENT,
    "Transient": "transient",
    "Permanent": "permanent",
    "DeadDestination": "dead_destination",
    "ChannelFault": "channel_fault",
    "Ambiguous": "ambiguous",
}
"""What tables call the outcomes of attempts, by their names in the history; `fit` knows the same words."""

COLUMNS_BEFORE = {
    name: f"{name}_s"
    for name in (
        *("requested_at", "waited_since", "finished_at", "start", "end", "delay_before", "next_retry_at"),
        *("time", "resumes_at", "left_at"),
    )
}
"""What columns are called now, by their names in older files: all times are in seconds, and say so."""

_OUTCOMES = {
    NotificationSent: SENT,
    NotificationMovedToDeadLetter: "dead_lettered",
    NotificationSuppressed: "suppressed",
}


@dataclass(slots=True, eq=False)
class _Row:
    requested: NotificationRequested
    outcome: str = IN_FLIGHT
    attempts: int = 0
    finished_at_ns: int | None = None


def notifications_table(history: Sequence[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each accepted notification, in the order of acceptance.

    `outcome` is sent, dead_lettered, suppressed or in_flight; `finished_at_s` is null for one in flight. `attempts`
    counts all of them, those before a redrive too. `waited_since_s` is from when the user waits and delivery time runs:
    as a rule `requested_at_s`, and of a fallback when the first of those was accepted that it stands in for. `entry`
    and `priority` are of the entry in the workload that it is from, `host` is where the recipient's address is,
    `tenant` whose it is; null where it has none. `request` is the id of the first notification of its chain of
    fallbacks, else its own.

    Args:
        history: what was recorded.
        scenario: whose run it is.
    """
    origins = Origins(scenario)
    first: dict[str, str] = {}
    rows: dict[str, _Row] = {}
    open_rows: dict[str, _Row] = {}
    order: list[_Row] = []
    for event in history:
        kind = type(event)
        if kind is NotificationRequested:
            row = open_rows[event.notification_id] = _Row(event)  # type: ignore[attr-defined,arg-type]
            order.append(row)
            if (before := row.requested.instead_of) is not None:
                first[row.requested.notification_id] = first.get(before, before)
        elif kind is NotificationFailed:
            open_rows[event.notification_id].attempts += 1  # type: ignore[attr-defined]
        elif kind in _OUTCOMES:
            row = open_rows.pop(event.notification_id)  # type: ignore[attr-defined]
            row.attempts += kind is NotificationSent
            row.outcome = _OUTCOMES[kind]
            row.finished_at_ns = event.at_ns
            if kind is NotificationMovedToDeadLetter:
                rows[row.requested.notification_id] = row
        elif kind is NotificationRedriven:
            row = open_rows[event.notification_id] = rows.pop(event.notification_id)  # type: ignore[attr-defined]
            row.outcome, row.finished_at_ns = IN_FLIGHT, None
    return pd.DataFrame(
        {
            "id": pd.Series([row.requested.notification_id for row in order], dtype="str"),
            "channel": pd.Series([str(row.requested.channel) for row in order], dtype="str"),
            "user": pd.Series([row.requested.user_id for row in order], dtype="str"),
            "request": pd.Series(
                [first.get(row.requested.notification_id, row.requested.notification_id) for row in order], dtype="str"
            ),
            **_origins([row.requested.notification_id for row in order], origins),
            "host": pd.Series([_host(row.requested, origins) for row in order], dtype="str"),
            "tenant": pd.Series(
                [origins.tenant(row.requested.notification_id, row.requested.user_id) for row in order], dtype="str"
            ),
            "requested_at_s": pd.Series([row.requested.at_ns / NS_PER_S for row in order], dtype="float64"),
            "waited_since_s": pd.Series([waits_since_ns(row.requested) / NS_PER_S for row in order], dtype="float64"),
            "outcome": pd.Series([row.outcome for row in order], dtype="str"),
            "attempts": pd.Series([row.attempts for row in order], dtype="int64"),
            "finished_at_s": pd.Series([_seconds_or_none(row.finished_at_ns) for row in order], dtype="float64"),
        }
    )


def _host(requested: NotificationRequested, origins: Origins) -> str | None:
    """Return the host at which the recipient's address is; None: it has none, as on the channel of a fallback."""
    if requested.instead_of is not None:
        return None
    return origins.host(requested.notification_id, requested.user_id)


def requests_of(notifications: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each request among the notifications of a frame, without those that turned out not to be wanted.

    `channel` is the one that has delivered it, or that has taken it over last; `time_s` is its delivery time, infinite
    where it was never delivered. `id` and `waited_since_s` are those of the notification that did, where the frame has
    these columns.
    """
    frame = notifications
    if "request" not in frame.columns:  # as in older files, and in frames of one's own
        frame = frame.assign(request=frame["id"] if "id" in frame.columns else range(len(frame)))
    is_sent = frame["outcome"] == "sent"
    is_alone = ~frame["request"].duplicated(keep=False)
    frame = frame.assign(time_s=(frame["finished_at_s"] - frame["waited_since_s"]).where(is_sent, math.inf))
    frame = frame[~(is_alone & (frame["outcome"] == "suppressed"))]
    columns = [name for name in ("id", "request", "channel", "waited_since_s", "time_s") if name in frame.columns]
    if is_alone.all():
        return frame[columns]
    # The quickest of those that were sent; of none, the last.
    first = frame.sort_values("time_s", kind="stable")
    ends = pd.concat([first[first["time_s"] < math.inf], frame[frame["time_s"] == math.inf].iloc[::-1]])
    return ends.drop_duplicates("request")[columns].sort_index()


def _origins(ids: Sequence[str], origins: Origins) -> dict[str, pd.Series[str]]:
    """Return the columns that tell which entries of the workload notifications are from."""
    found = [origins.entry_and_class(each) for each in ids]
    return {
        "entry": pd.Series([entry for entry, _ in found], dtype="str"),
        "priority": pd.Series([priority for _, priority in found], dtype="str"),
    }


def attempts_table(history: Sequence[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each attempt, in the order in which they ended.

    `delay_before_s` is the wait that was set before it; null for a first one, and where it waited for something else.
    `next_retry_at_s` is when the next one was to start; null where none was to follow.
    `hedges` counts the copies of it that were sent beside it. `provider` is the one that was asked, ``primary`` where
    the channel has only one; null where none was: then `refused` is true. `throttled` is what a provider said.
    `outcome` is sent, transient, permanent, dead_destination, channel_fault or ambiguous.
    """
    attempts: list[NotificationSent | NotificationFailed] = []
    delays_ns: list[int | None] = []
    waits_ns: dict[str, int] = {}
    for event in history:
        if isinstance(event, (NotificationSent, NotificationFailed)):
            attempts.append(event)
            delays_ns.append(waits_ns.pop(event.notification_id, None))
            if isinstance(event, NotificationFailed) and event.next_retry_at_ns is not None:
                waits_ns[event.notification_id] = event.next_retry_at_ns - event.at_ns
    failed = NotificationFailed
    return pd.DataFrame(
        {
            "id": pd.Series([event.notification_id for event in attempts], dtype="str"),
            "channel": pd.Series([str(event.channel) for event in attempts], dtype="str"),
            **_origins([event.notification_id for event in attempts], Origins(scenario)),
            "attempt": pd.Series([event.attempt for event in attempts], dtype="int64"),
            "start_s": pd.Series([event.started_ns / NS_PER_S for event in attempts], dtype="float64"),
            "end_s": pd.Series([event.at_ns / NS_PER_S for event in attempts], dtype="float64"),
            "outcome": pd.Series(
                [
                    ATTEMPT_OUTCOMES.get(event.kind, event.kind) if isinstance(event, failed) else SENT
                    for event in attempts
                ],
                dtype="str",
            ),
            "reason": pd.Series(
                [event.reason if isinstance(event, failed) else None for event in attempts], dtype="str"
            ),
            "provider": pd.Series([_asked(event) for event in attempts], dtype="str"),
            "throttled": pd.Series([isinstance(event, failed) and event.throttled for event in attempts], dtype="bool"),
            "refused": pd.Series([isinstance(event, failed) and event.refused for event in attempts], dtype="bool"),
            "hedges": pd.Series([event.hedges for event in attempts], dtype="int64"),
            "delay_before_s": pd.Series([_seconds_or_none(delay_ns) for delay_ns in delays_ns], dtype="float64"),
            "next_retry_at_s": pd.Series(
                [_seconds_or_none(event.next_retry_at_ns) if isinstance(event, failed) else None for event in attempts],
                dtype="float64",
            ),
        }
    )


def _placed(events: Sequence[NotificationEvent], scenario: Scenario) -> dict[str, pd.Series[Any]]:
    """Return the columns that tell when events were, and of which notification."""
    ids = [event.notification_id for event in events]
    return {
        "time_s": pd.Series([event.at_ns / NS_PER_S for event in events], dtype="float64"),
        "id": pd.Series(ids, dtype="str"),
        "channel": pd.Series([str(event.channel) for event in events], dtype="str"),
        **_origins(ids, Origins(scenario)),
    }


def upstream_requests_table(history: Sequence[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each request of a provider to what is behind it, in order.

    `attempt` is the number of the attempt that it is made for, and `request` its own among those for that; all but the
    first of an attempt are retries of the provider.
    """
    requests = [event for event in history if type(event) is UpstreamRequested]
    return pd.DataFrame(
        {
            **_placed(requests, scenario),
            "provider": pd.Series([event.provider or PRIMARY for event in requests], dtype="str"),
            "attempt": pd.Series([event.attempt for event in requests], dtype="int64"),
            "request": pd.Series([event.number for event in requests], dtype="int64"),
        }
    )


def deferrals_table(history: Sequence[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each time that a notification began to wait without using up an attempt, in order.

    `cause` is rate_limit, circuit_breaker or quiet_hours. `resumes_at_s` is when the first of those that waited with it
    was to go on, as far as was known then: one behind others goes later. Null where time alone did not bring that.
    """
    deferred = [event for event in history if type(event) is NotificationDeferred]
    return pd.DataFrame(
        {
            **_placed(deferred, scenario),
            "cause": pd.Series([str(event.cause) for event in deferred], dtype="str"),
            "resumes_at_s": pd.Series([_seconds_or_none(event.resumes_at_ns) for event in deferred], dtype="float64"),
        }
    )


def transitions_table(transitions: Sequence[BreakerTransitioned]) -> pd.DataFrame:
    """Return a row for each transition of a breaker; `host` is null where there is one breaker for all hosts."""
    return pd.DataFrame(
        {
            "time_s": pd.Series([event.at_ns / NS_PER_S for event in transitions], dtype="float64"),
            "channel": pd.Series([str(event.breaker) for event in transitions], dtype="str"),
            "from": pd.Series([str(event.from_state) for event in transitions], dtype="str"),
            "to": pd.Series([str(event.to_state) for event in transitions], dtype="str"),
            "cause": pd.Series([str(event.cause) for event in transitions], dtype="str"),
            "host": pd.Series([event.host for event in transitions], dtype="str"),
        }
    )


def transitions_of(transitions: pd.DataFrame, breaker: str) -> pd.DataFrame:
    """Return the transitions of a breaker by its name in the summary; of one that each node has, those of all nodes."""
    names = transitions["channel"]
    return transitions[(names == breaker) | (names.map(without_node) == breaker)]


def dead_letters_table(history: Sequence[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each dead letter, in order.

    `left_at_s` is when it left the queue, and `left` how, redriven or discarded; both are null while it is there.
    `served` is whether its fallback was delivered or under way, or another notification of its request: when it left
    the queue, or at the end of the run. It is null where only dead letters are kept.
    """
    moved: list[NotificationMovedToDeadLetter] = []
    left: list[tuple[int | None, str | None]] = []
    row_of: dict[str, int] = {}
    requests, under_way = Requests(), set[str]()
    served: list[bool | None] = []
    for event in history:
        if isinstance(event, NotificationMovedToDeadLetter):
            row_of[event.notification_id] = len(moved)
            moved.append(event)
            left.append((None, None))
            served.append(None)
        elif isinstance(event, (NotificationRedriven, DeadLetterDiscarded)) and event.notification_id in row_of:
            how = "redriven" if isinstance(event, NotificationRedriven) else "discarded"
            row = row_of.pop(event.notification_id)
            left[row] = event.at_ns, how
            served[row] = requests.is_served(event.notification_id, under_way.__contains__)
        _follow(requests, under_way, event)
    if any(isinstance(event, NotificationRequested) for event in history):
        for notification_id, row in row_of.items():
            served[row] = requests.is_served(notification_id, under_way.__contains__)
    return pd.DataFrame(
        {
            **_placed(moved, scenario),
            "reason": pd.Series([event.reason for event in moved], dtype="str"),
            "attempts": pd.Series([event.attempts for event in moved], dtype="int64"),
            "requested_at_s": pd.Series([event.requested_at_ns / NS_PER_S for event in moved], dtype="float64"),
            "left_at_s": pd.Series([_seconds_or_none(at_ns) for at_ns, _ in left], dtype="float64"),
            "left": pd.Series([how for _, how in left], dtype="str"),
            "served": pd.Series(served, dtype="boolean"),
        }
    )


def _follow(requests: Requests, under_way: set[str], event: RecordedEvent) -> None:
    """Follow which notifications are under way, which are of one request, and what of that was delivered."""
    match event:
        case NotificationRequested():
            under_way.add(event.notification_id)
            if event.instead_of is not None:
                requests.join(event.notification_id, event.instead_of)
        case NotificationRedriven():
            under_way.add(event.notification_id)
        case NotificationSent() | NotificationSuppressed() | NotificationMovedToDeadLetter():
            under_way.discard(event.notification_id)
            request = requests.of(event.notification_id)
            if request is not None and isinstance(event, NotificationSent):
                request.delivered = True


def _asked(event: NotificationSent | NotificationFailed) -> str | None:
    # Events name a provider where the channel has several. In a table that would be a null like that of no provider,
    # with which the rows of all other channels fall out of a `groupby`.
    if isinstance(event, NotificationFailed) and event.refused:
        return None
    return PRIMARY if event.provider is None else event.provider


def _seconds_or_none(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / NS_PER_S
