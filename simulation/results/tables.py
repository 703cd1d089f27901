"""The history of a run as tables: one row a notification, an attempt, a deferral, a dead letter."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

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
from actors.optional_dependencies import needs
from actors.settings.channel import PRIMARY
from simulation.results.backlogs import waits_since_ns
from simulation.results.interruptions import Request
from simulation.scenario.identity import Origins
from simulation.scenario.model import Scenario

with needs("lab"):
    import pandas as pd

IN_FLIGHT = "in_flight"
SENT = "sent"
"""The outcome of delivered notifications and of delivered attempts."""

ATTEMPT_OUTCOMES = {
    "Sent": SENT,
    "Transient": "transient",
    "Permanent": "permanent",
    "DeadDestination": "dead_destination",
    "ChannelFault": "channel_fault",
    "Ambiguous": "ambiguous",
}
"""The words of tables for the outcomes of attempts, by their names in the history; `fit` knows the same words."""

COLUMNS_BEFORE = {
    name: f"{name}_s"
    for name in (
        *("requested_at", "waited_since", "finished_at", "start", "end", "delay_before", "next_retry_at"),
        *("time", "resumes_at", "left_at"),
    )
}
"""Today's names of columns, by those of older files: all times are in seconds, and say so."""

ROWS_AT_ONCE = 20_000
"""The events that become columns at once: reading an event from the history takes ten times as long as its row."""

_OUTCOMES = (IN_FLIGHT, SENT, "dead_lettered", "suppressed")
_ENDS: dict[type, int] = {NotificationSent: 1, NotificationMovedToDeadLetter: 2, NotificationSuppressed: 3}
"""The events that end a notification, each with the place of its outcome among these."""

_LEFT: dict[type, str] = {NotificationRedriven: "redriven", DeadLetterDiscarded: "discarded"}
"""The events with which a dead letter leaves the queue."""

E = TypeVar("E")

_Columns: TypeAlias = dict[str, "pd.Series[Any]"]


def _table(events: Iterable[E], columns: Callable[[list[E]], _Columns]) -> pd.DataFrame:
    """Return a row for each event; `columns` makes the columns of some events that follow one another."""
    left, frames = iter(events), list[pd.DataFrame]()
    while (some := list(islice(left, ROWS_AT_ONCE))) or not frames:
        frames.append(pd.DataFrame(columns(some)))
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _of_types(history: Iterable[RecordedEvent], *types: type) -> Iterator[Any]:
    return (event for event in history if type(event) in types)


def _text(values: Iterable[str | None]) -> pd.Series[Any]:
    return pd.Series(list(values), dtype="str")


def _whole(values: Sequence[int]) -> pd.Series[Any]:
    return pd.Series(values, dtype="int64")


def _flags(values: Sequence[bool]) -> pd.Series[Any]:
    return pd.Series(values, dtype="bool")


def _seconds(instants_ns: Iterable[int | None]) -> pd.Series[Any]:
    return pd.Series([None if ns is None else ns / NS_PER_S for ns in instants_ns], dtype="float64")


def _whose(events: Sequence[NotificationEvent | Request], origins: Origins) -> _Columns:
    ids = [event.notification_id for event in events]
    entries, classes = origins.entries_and_classes(ids)
    return {
        "id": _text(ids),
        "channel": _text(map(str, [event.channel for event in events])),
        "entry": _text(entries),
        "priority": _text(classes),
    }


def _when_and_whose(events: Sequence[NotificationEvent], origins: Origins) -> _Columns:
    return {"time_s": _seconds([event.at_ns for event in events]), **_whose(events, origins)}


def notifications_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each accepted notification, in the order of acceptance.

    `outcome` is sent, dead_lettered, suppressed or in_flight; `finished_at_s` is null for one in flight. `attempts`
    counts all of them, those before a redrive too. `waited_since_s` is the start of the user's wait, from which
    delivery time runs: as a rule `requested_at_s`; for a fallback, when the first notification of its chain was
    accepted. `entry` and `priority` are of its entry in the workload, `host` is the host of the recipient's address,
    `tenant` the tenant that sends it; null where it has none. `request` is the id of the first notification of its
    chain of fallbacks, else its own."""
    origins = Origins(scenario)
    first: dict[str, str] = {}
    numbers: dict[str, int] = {}
    """The rows of notifications that have not ended for good."""
    outcomes, attempts, finished_at_s = bytearray(), array("q"), array("d")

    def accepted() -> Iterator[NotificationRequested]:
        event: Any
        for event in history:
            kind = type(event)
            if kind is NotificationRequested:
                numbers[event.notification_id] = len(outcomes)
                outcomes.append(0)
                attempts.append(0)
                finished_at_s.append(math.nan)
                yield event
            elif kind is NotificationFailed:
                attempts[numbers[event.notification_id]] += 1
            elif kind in _ENDS:
                is_for_good = kind is not NotificationMovedToDeadLetter
                number = numbers.pop(event.notification_id) if is_for_good else numbers[event.notification_id]
                attempts[number] += kind is NotificationSent
                outcomes[number] = _ENDS[kind]
                finished_at_s[number] = event.at_ns / NS_PER_S
            elif kind is NotificationRedriven:
                number = numbers[event.notification_id]
                outcomes[number], finished_at_s[number] = 0, math.nan

    def columns(events: list[NotificationRequested]) -> _Columns:
        for event in events:
            if event.instead_of is not None:
                first[event.notification_id] = first.get(event.instead_of, event.instead_of)
        whose, users = _whose(events, origins), [event.user_id for event in events]
        return {
            "id": whose["id"],
            "channel": whose["channel"],
            "user": _text(users),
            "request": _text([first.get(event.notification_id, event.notification_id) for event in events]),
            "entry": whose["entry"],
            "priority": whose["priority"],
            "host": _text([_host(event, origins) for event in events]),
            "tenant": _text([origins.tenant(event.notification_id, event.user_id) for event in events]),
            "requested_at_s": _seconds([event.at_ns for event in events]),
            "waited_since_s": _seconds([waits_since_ns(event) for event in events]),
        }

    return _table(accepted(), columns).assign(
        outcome=_text([_OUTCOMES[number] for number in outcomes]),
        attempts=pd.Series(attempts, dtype="int64"),
        finished_at_s=pd.Series(finished_at_s, dtype="float64"),
    )


def _host(requested: NotificationRequested, origins: Origins) -> str | None:
    """Return the host at which the recipient's address is; None: it has none, as on the channel of a fallback."""
    if requested.instead_of is not None:
        return None
    return origins.host(requested.notification_id, requested.user_id)


def requests_of(notifications: pd.DataFrame, attempts: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a row for each request among the notifications of a frame, without requests that turned out unwanted.

    A suppressed notification is unwanted, unless the attempts have found its address to be gone.

    `channel` is the one that has delivered it, or that has taken it over last; `time_s` is its delivery time, infinite
    where it was never delivered. `id` and `waited_since_s` are of the notification that did, where the frame has these
    columns.
    """
    frame = notifications
    if "request" not in frame.columns:  # as in older files, and in frames of one's own
        frame = frame.assign(request=frame["id"] if "id" in frame.columns else range(len(frame)))
    is_sent = frame["outcome"] == "sent"
    is_alone = ~frame["request"].duplicated(keep=False)
    frame = frame.assign(time_s=(frame["finished_at_s"] - frame["waited_since_s"]).where(is_sent, math.inf))
    frame = frame[~(is_alone & (frame["outcome"] == "suppressed") & ~_is_gone(frame, attempts))]
    columns = [name for name in ("id", "request", "channel", "waited_since_s", "time_s") if name in frame.columns]
    if is_alone.all():
        return frame[columns]
    # The quickest of those that were sent; of none, the last.
    first = frame.sort_values("time_s", kind="stable")
    ends = pd.concat([first[first["time_s"] < math.inf], frame[frame["time_s"] == math.inf].iloc[::-1]])
    return ends.drop_duplicates("request")[columns].sort_index()


def _is_gone(notifications: pd.DataFrame, attempts: pd.DataFrame | None) -> pd.Series[bool]:
    """Return which notifications are to an address that an attempt on their channel has found to be gone."""
    if attempts is None or not (is_found := attempts["outcome"] == "dead_destination").any():
        return pd.Series(False, notifications.index)
    who = notifications["channel"].astype(str) + " " + notifications["user"].astype(str)
    return who.isin(who[notifications["id"].isin(attempts.loc[is_found, "id"])])


def attempts_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each attempt, in the order in which they ended.

    `delay_before_s` is the wait that was set before it; null for a first one, and where it waited for another reason.
    `next_retry_at_s` is when the next one was to start; null where none was to follow. `hedges` counts the copies of it
    that were sent beside it. `provider` is the one that was asked, ``primary`` where the channel has only one; null
    where none was: then `refused` is true. `throttled` is the provider's word. `outcome` is sent, transient, permanent,
    dead_destination, channel_fault or ambiguous.
    """
    origins = Origins(scenario)
    waits_ns: dict[str, int] = {}

    def columns(events: list[NotificationSent | NotificationFailed]) -> _Columns:
        failures = [event if isinstance(event, NotificationFailed) else None for event in events]
        refused = [bool(each and each.refused) for each in failures]
        delays_ns = []
        for event, failed in zip(events, failures, strict=True):
            delays_ns.append(waits_ns.pop(event.notification_id, None))
            if failed and failed.next_retry_at_ns is not None:
                waits_ns[event.notification_id] = failed.next_retry_at_ns - event.at_ns
        return {
            **_whose(events, origins),
            "attempt": _whole([event.attempt for event in events]),
            "start_s": _seconds([event.started_ns for event in events]),
            "end_s": _seconds([event.at_ns for event in events]),
            "outcome": _text([ATTEMPT_OUTCOMES.get(each.kind, each.kind) if each else SENT for each in failures]),
            "reason": _text([each.reason if each else None for each in failures]),
            # Events name a provider where the channel has several. A null for the only one of a channel would be like
            # that of no provider, and drop the rows of the channel from a `groupby`.
            "provider": _text([None if no else e.provider or PRIMARY for e, no in zip(events, refused, strict=True)]),
            "throttled": _flags([bool(each and each.throttled) for each in failures]),
            "refused": _flags(refused),
            "hedges": _whole([event.hedges for event in events]),
            "delay_before_s": _seconds(delays_ns),
            "next_retry_at_s": _seconds([each.next_retry_at_ns if each else None for each in failures]),
        }

    return _table(_of_types(history, NotificationSent, NotificationFailed), columns)


def upstream_requests_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each request of a provider to its upstream, in order.

    `attempt` is the number of the attempt that it is made for, and `request` its own number for that attempt; all but
    the first are retries of the provider. Where there are several layers `layer` is the one that is asked.
    """
    origins = Origins(scenario)

    def columns(events: list[UpstreamRequested]) -> _Columns:
        return {
            **_when_and_whose(events, origins),
            "provider": _text([event.provider or PRIMARY for event in events]),
            "attempt": _whole([event.attempt for event in events]),
            "request": _whole([event.number for event in events]),
            **({"layer": _whole([event.layer for event in events])} if scenario.upstream_layers > 1 else {}),
        }

    return _table(_of_types(history, UpstreamRequested), columns)


def interrupted_table(requests: Iterable[Request], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each request to a provider whose answer no one took, in order.

    `start_s` is when it was made; `end_s` when it was answered, or its sender was gone, whichever came first; `time_s`
    when it was sure that no one would take the answer; `delivered` whether its provider delivered it, as far as that
    was known by the end of the run.
    """
    origins = Origins(scenario)

    def ends_ns(request: Request) -> int:
        assert request.lost_ns is not None
        return request.lost_ns if request.answered_ns is None else min(request.answered_ns, request.lost_ns)

    def columns(lost: list[Request]) -> _Columns:
        return {
            "time_s": _seconds([request.lost_ns for request in lost]),
            **_whose(lost, origins),
            "provider": _text([request.provider for request in lost]),
            "start_s": _seconds([request.started_ns for request in lost]),
            "end_s": _seconds(map(ends_ns, lost)),
            "delivered": _flags([request.reached_ns is not None for request in lost]),
        }

    return _table(requests, columns)


def deferrals_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each time that a notification began to wait without using up an attempt, in order.

    `cause` is rate_limit, circuit_breaker or quiet_hours. `resumes_at_s` is when the first notification in its line was
    to go on, as far as was known then: one behind others goes later. Null where it did not depend on time alone.
    """
    origins = Origins(scenario)

    def columns(events: list[NotificationDeferred]) -> _Columns:
        return {
            **_when_and_whose(events, origins),
            "cause": _text(map(str, [event.cause for event in events])),
            "resumes_at_s": _seconds([event.resumes_at_ns for event in events]),
        }

    return _table(_of_types(history, NotificationDeferred), columns)


def transitions_table(transitions: Sequence[BreakerTransitioned]) -> pd.DataFrame:
    """Return a row for each transition of a breaker; `host` is null where there is one breaker for all hosts."""
    return pd.DataFrame(
        {
            "time_s": _seconds([event.at_ns for event in transitions]),
            "channel": _text([str(event.breaker) for event in transitions]),
            "from": _text([str(event.from_state) for event in transitions]),
            "to": _text([str(event.to_state) for event in transitions]),
            "cause": _text([str(event.cause) for event in transitions]),
            "host": _text([event.host for event in transitions]),
        }
    )


def transitions_of(transitions: pd.DataFrame, breaker: str) -> pd.DataFrame:
    """Return the transitions of a breaker by its name in the summary; of all nodes, where each has one."""
    names = transitions["channel"]
    return transitions[(names == breaker) | (names.map(without_node) == breaker)]


def dead_letters_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each dead letter, in order.

    `left_at_s` is when it left the queue, and `left` how, redriven or discarded; both are null while it is there.
    `served` is whether its fallback was delivered or under way, or another notification of its request: when it left
    the queue, or at the end of the run. It is null where only dead letters are kept.
    """
    origins = Origins(scenario)
    left: list[tuple[int | None, str | None]] = []
    row_of: dict[str, int] = {}
    requests, under_way = Requests(), set[str]()
    served: list[bool | None] = []

    def letters() -> Iterator[NotificationMovedToDeadLetter]:
        has_all = False
        event: Any
        for event in history:
            kind = type(event)
            if kind is NotificationRequested:
                has_all = True
                under_way.add(event.notification_id)
                if event.instead_of is not None:
                    requests.join(event.notification_id, event.instead_of)
            elif kind in _LEFT:
                if event.notification_id in row_of:
                    row = row_of.pop(event.notification_id)
                    left[row] = event.at_ns, _LEFT[kind]
                    served[row] = requests.is_served(event.notification_id, under_way.__contains__)
                if kind is NotificationRedriven:
                    under_way.add(event.notification_id)
            elif kind in _ENDS:
                if kind is NotificationMovedToDeadLetter:
                    row_of[event.notification_id] = len(left)
                    left.append((None, None))
                    served.append(None)
                    yield event
                under_way.discard(event.notification_id)
                request = requests.by_member.get(event.notification_id)
                if request is not None and kind is NotificationSent:
                    request.delivered = True
        if has_all:
            for notification_id, row in row_of.items():
                served[row] = requests.is_served(notification_id, under_way.__contains__)

    def columns(events: list[NotificationMovedToDeadLetter]) -> _Columns:
        return {
            **_when_and_whose(events, origins),
            "reason": _text([event.reason for event in events]),
            "attempts": _whole([event.attempts for event in events]),
            "requested_at_s": _seconds([event.requested_at_ns for event in events]),
        }

    return _table(letters(), columns).assign(
        left_at_s=_seconds([at_ns for at_ns, _ in left]),
        left=_text([how for _, how in left]),
        served=pd.Series(served, dtype="boolean"),
    )
