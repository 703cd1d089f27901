"""The history of a run as tables: one row a notification, an attempt, a deferral, a dead letter."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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

ROWS_AT_ONCE = 20_000
"""So many rows become columns at once: rows take five times what columns do."""

_OUTCOMES = {
    NotificationSent: SENT,
    NotificationMovedToDeadLetter: "dead_lettered",
    NotificationSuppressed: "suppressed",
}
_OUTCOME_NAMES = (IN_FLIGHT, *_OUTCOMES.values())


class Rows:
    """The rows of a table in the making.

    Args:
        dtypes: of the columns, by their names, in order.
    """

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self._dtypes = dtypes
        self._rows: list[tuple[Any, ...]] = []
        self._frames: list[pd.DataFrame] = []

    def add(self, *row: Any) -> None:
        """Add a row, with a value for each column."""
        self._rows.append(row)
        if len(self._rows) == ROWS_AT_ONCE:
            self._make_columns()

    def frame(self) -> pd.DataFrame:
        """Return all rows."""
        if self._rows or not self._frames:
            self._make_columns()
        return self._frames[0] if len(self._frames) == 1 else pd.concat(self._frames, ignore_index=True)

    def _make_columns(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(self._dtypes)
        self._frames.append(
            pd.DataFrame(
                {
                    name: pd.Series(list(values), dtype=dtype)
                    for (name, dtype), values in zip(self._dtypes.items(), columns, strict=True)
                }
            )
        )
        self._rows = []


def notifications_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
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
    rows = Rows(
        {
            **dict.fromkeys(("id", "channel", "user", "request", "entry", "priority", "host", "tenant"), "str"),
            **dict.fromkeys(("requested_at_s", "waited_since_s"), "float64"),
        }
    )
    first: dict[str, str] = {}
    numbers: dict[str, int] = {}
    """The rows of those that have not ended for good."""
    outcomes, attempts, finished_at_s = bytearray(), array("q"), array("d")
    for event in history:
        kind = type(event)
        if isinstance(event, NotificationRequested):
            notification_id, user = event.notification_id, event.user_id
            if event.instead_of is not None:
                first[notification_id] = first.get(event.instead_of, event.instead_of)
            rows.add(
                notification_id,
                str(event.channel),
                user,
                first.get(notification_id, notification_id),
                *origins.entry_and_class(notification_id),
                _host(event, origins),
                origins.tenant(notification_id, user),
                event.at_ns / NS_PER_S,
                waits_since_ns(event) / NS_PER_S,
            )
            numbers[notification_id] = len(outcomes)
            outcomes.append(0)
            attempts.append(0)
            finished_at_s.append(math.nan)
        elif isinstance(event, NotificationFailed):
            attempts[numbers[event.notification_id]] += 1
        elif isinstance(event, (NotificationSent, NotificationMovedToDeadLetter, NotificationSuppressed)):
            is_for_good = not isinstance(event, NotificationMovedToDeadLetter)
            number = numbers.pop(event.notification_id) if is_for_good else numbers[event.notification_id]
            attempts[number] += kind is NotificationSent
            outcomes[number] = _OUTCOME_NAMES.index(_OUTCOMES[kind])
            finished_at_s[number] = event.at_ns / NS_PER_S
        elif isinstance(event, NotificationRedriven):
            number = numbers[event.notification_id]
            outcomes[number], finished_at_s[number] = 0, math.nan
    return rows.frame().assign(
        outcome=pd.Series([_OUTCOME_NAMES[number] for number in outcomes], dtype="str"),
        attempts=pd.Series(attempts, dtype="int64"),
        finished_at_s=pd.Series(finished_at_s, dtype="float64"),
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


def attempts_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each attempt, in the order in which they ended.

    `delay_before_s` is the wait that was set before it; null for a first one, and where it waited for something else.
    `next_retry_at_s` is when the next one was to start; null where none was to follow.
    `hedges` counts the copies of it that were sent beside it. `provider` is the one that was asked, ``primary`` where
    the channel has only one; null where none was: then `refused` is true. `throttled` is what a provider said.
    `outcome` is sent, transient, permanent, dead_destination, channel_fault or ambiguous.
    """
    origins = Origins(scenario)
    rows = Rows(
        {
            **dict.fromkeys(("id", "channel", "entry", "priority"), "str"),
            "attempt": "int64",
            **dict.fromkeys(("start_s", "end_s"), "float64"),
            **dict.fromkeys(("outcome", "reason", "provider"), "str"),
            **dict.fromkeys(("throttled", "refused"), "bool"),
            "hedges": "int64",
            **dict.fromkeys(("delay_before_s", "next_retry_at_s"), "float64"),
        }
    )
    waits_ns: dict[str, int] = {}
    for event in history:
        if not isinstance(event, (NotificationSent, NotificationFailed)):
            continue
        notification_id = event.notification_id
        wait_ns, outcome, reason, next_retry_at_ns = waits_ns.pop(notification_id, None), SENT, None, None
        throttled = refused = False
        if isinstance(event, NotificationFailed):
            outcome, reason = ATTEMPT_OUTCOMES.get(event.kind, event.kind), event.reason
            throttled, refused, next_retry_at_ns = event.throttled, event.refused, event.next_retry_at_ns
            if next_retry_at_ns is not None:
                waits_ns[notification_id] = next_retry_at_ns - event.at_ns
        rows.add(
            notification_id,
            str(event.channel),
            *origins.entry_and_class(notification_id),
            event.attempt,
            event.started_ns / NS_PER_S,
            event.at_ns / NS_PER_S,
            outcome,
            reason,
            _asked(event),
            throttled,
            refused,
            event.hedges,
            _seconds_or_none(wait_ns),
            _seconds_or_none(next_retry_at_ns),
        )
    return rows.frame()


_PLACED = {"time_s": "float64", **dict.fromkeys(("id", "channel", "entry", "priority"), "str")}
"""The columns that tell when an event was, and of which notification."""


def _placed(event: NotificationEvent, origins: Origins) -> tuple[float, str, str, str | None, str]:
    """Return what an event has in these columns."""
    return (
        event.at_ns / NS_PER_S,
        event.notification_id,
        str(event.channel),
        *origins.entry_and_class(event.notification_id),
    )


def upstream_requests_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each request of a provider to what is behind it, in order.

    `attempt` is the number of the attempt that it is made for, and `request` its own among those for that; all but the
    first of an attempt are retries of the provider.
    """
    origins = Origins(scenario)
    rows = Rows({**_PLACED, "provider": "str", "attempt": "int64", "request": "int64"})
    for event in history:
        if type(event) is UpstreamRequested:
            rows.add(*_placed(event, origins), event.provider or PRIMARY, event.attempt, event.number)
    return rows.frame()


def interrupted_table(requests: Iterable[Request], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each request to a provider whose answer no one took, in order.

    `start_s` is when it was made; `end_s` when it was answered, or its sender was gone, whichever came first; `time_s`
    when it was sure that no one would take the answer; `delivered` whether its provider delivered it, as far as that
    was known by the end of the run.
    """
    origins = Origins(scenario)
    rows = Rows({**_PLACED, "provider": "str", "start_s": "float64", "end_s": "float64", "delivered": "bool"})
    for request in requests:
        assert request.lost_ns is not None
        ends_ns = request.lost_ns if request.answered_ns is None else min(request.answered_ns, request.lost_ns)
        rows.add(
            request.lost_ns / NS_PER_S,
            request.notification_id,
            str(request.channel),
            *origins.entry_and_class(request.notification_id),
            request.provider,
            request.started_ns / NS_PER_S,
            ends_ns / NS_PER_S,
            request.reached_ns is not None,
        )
    return rows.frame()


def deferrals_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each time that a notification began to wait without using up an attempt, in order.

    `cause` is rate_limit, circuit_breaker or quiet_hours. `resumes_at_s` is when the first of those that waited with it
    was to go on, as far as was known then: one behind others goes later. Null where time alone did not bring that.
    """
    origins = Origins(scenario)
    rows = Rows({**_PLACED, "cause": "str", "resumes_at_s": "float64"})
    for event in history:
        if type(event) is NotificationDeferred:
            rows.add(*_placed(event, origins), str(event.cause), _seconds_or_none(event.resumes_at_ns))
    return rows.frame()


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


def dead_letters_table(history: Iterable[RecordedEvent], scenario: Scenario) -> pd.DataFrame:
    """Return a row for each dead letter, in order.

    `left_at_s` is when it left the queue, and `left` how, redriven or discarded; both are null while it is there.
    `served` is whether its fallback was delivered or under way, or another notification of its request: when it left
    the queue, or at the end of the run. It is null where only dead letters are kept.
    """
    origins = Origins(scenario)
    rows = Rows({**_PLACED, "reason": "str", "attempts": "int64", "requested_at_s": "float64"})
    left: list[tuple[int | None, str | None]] = []
    row_of: dict[str, int] = {}
    requests, under_way = Requests(), set[str]()
    served: list[bool | None] = []
    has_all = False
    for event in history:
        if isinstance(event, NotificationMovedToDeadLetter):
            row_of[event.notification_id] = len(left)
            rows.add(*_placed(event, origins), event.reason, event.attempts, event.requested_at_ns / NS_PER_S)
            left.append((None, None))
            served.append(None)
        elif isinstance(event, (NotificationRedriven, DeadLetterDiscarded)) and event.notification_id in row_of:
            how = "redriven" if isinstance(event, NotificationRedriven) else "discarded"
            row = row_of.pop(event.notification_id)
            left[row] = event.at_ns, how
            served[row] = requests.is_served(event.notification_id, under_way.__contains__)
        has_all |= isinstance(event, NotificationRequested)
        _follow(requests, under_way, event)
    if has_all:
        for notification_id, row in row_of.items():
            served[row] = requests.is_served(notification_id, under_way.__contains__)
    return rows.frame().assign(
        left_at_s=pd.Series([_seconds_or_none(at_ns) for at_ns, _ in left], dtype="float64"),
        left=pd.Series([how for _, how in left], dtype="str"),
        served=pd.Series(served, dtype="boolean"),
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
