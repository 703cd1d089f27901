"""A part of a run over time, such as one channel, counted from the tables when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from actors.instants import NS_PER_S
from simulation.results.tables import SENT

Whole = npt.NDArray[np.int64]

WHERE = ("at the provider", "backing off", "open breaker", "limit", "quiet hours", "its turn or a free slot")
"""Where a notification in flight can be; what it waits for, if it is not at the provider."""

_PROVIDER, _BACKOFF, _BREAKER, _LIMIT, _QUIET, _TURN, _OUT = range(7)
_CAUSES = {"circuit_breaker": _BREAKER, "rate_limit": _LIMIT, "quiet_hours": _QUIET}


def nanoseconds(seconds: Any) -> Whole:
    """Return times of a table in whole nanoseconds, as they were recorded; exact up to 104 days."""
    return np.asarray(np.round(np.asarray(seconds, float) * NS_PER_S), np.int64)


def series_of(
    notifications: pd.DataFrame, attempts: pd.DataFrame, dlq: pd.DataFrame, times_s: pd.Series[float], width_s: float
) -> pd.DataFrame:
    """Return how a part of a run goes over time, with the columns of ``result.series`` but those of the breakers.

    Args:
        notifications: its rows; of the other tables as well.
        attempts: its rows.
        dlq: its rows.
        times_s: when the buckets begin.
        width_s: how wide they are.
    """
    width_ns = int(nanoseconds(width_s))

    def counted(at_s: Any) -> Whole:
        buckets = nanoseconds(at_s) // width_ns
        return np.bincount(np.minimum(buckets, len(times_s) - 1), minlength=len(times_s))

    left = dlq.loc[dlq["left"].notna(), ["left", "left_at_s"]]
    redriven = counted(left.loc[left["left"] == "redriven", "left_at_s"])
    found = {
        "arrivals": counted(notifications["requested_at_s"]),
        "sent": counted(_ended(notifications, "sent")),
        "failed": counted(attempts.loc[attempts["outcome"] != SENT, "end_s"]),
        "dead_lettered": counted(dlq["time_s"]),
        "suppressed": counted(_ended(notifications, "suppressed")),
    }
    ended = found["sent"] + found["dead_lettered"] + found["suppressed"]
    found["in_flight"] = np.cumsum(found["arrivals"] + redriven - ended)
    found["dlq_size"] = np.cumsum(found["dead_lettered"] - counted(left["left_at_s"]))
    return pd.DataFrame({"time_s": times_s.to_numpy(float), **found})


def _ended(notifications: pd.DataFrame, outcome: str) -> pd.Series[float]:
    return notifications.loc[notifications["outcome"] == outcome, "finished_at_s"]


def waiting_of(
    notifications: pd.DataFrame,
    attempts: pd.DataFrame,
    deferrals: pd.DataFrame,
    dlq: pd.DataFrame,
    edges_s: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return how many notifications are where, on average over each step of time: a row for each of `WHERE`.

    Averages of steps add up to the whole: a wait that is shorter than a step counts for as long as it lasts. An attempt
    that had not ended when the run did is in no table; its notification then waits for its turn.

    Args:
        notifications: the rows of a part of the run; of the other tables as well.
        attempts: its rows.
        deferrals: its rows.
        dlq: its rows.
        edges_s: of the steps, the last one the end of the run.
    """
    ids, at_s, states, order = _changes(notifications, attempts, deferrals, dlq)
    sequence = np.lexsort((order, at_s, ids))
    del order
    # One after the other, as there are six of them for each notification.
    ids = ids[sequence]
    at_s = at_s[sequence]
    states = states[sequence]
    del sequence
    until_s = np.append(at_s[1:], edges_s[-1])
    is_last = np.append(ids[1:] != ids[:-1], True) if len(ids) else np.zeros(0, bool)
    until_s = np.where(is_last, edges_s[-1], until_s)
    spent = np.zeros((len(WHERE), len(edges_s) - 1))
    for state in range(len(WHERE)):
        own = states == state
        # How long it has been spent up to each edge: all spans up to there, but for what of them lies behind it.
        spent[state] = np.diff(_time_up_to(edges_s, at_s[own]) - _time_up_to(edges_s, until_s[own]))
    return spent / np.diff(edges_s)


def _time_up_to(edges_s: npt.NDArray[np.float64], starts_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return for each edge the sum of the times since all that began before it."""
    starts_s = np.sort(starts_s)
    sums = np.concatenate([[0.0], np.cumsum(starts_s)])
    before = np.searchsorted(starts_s, edges_s)
    return np.asarray(before * edges_s - sums[before], np.float64)


def _changes(
    notifications: pd.DataFrame, attempts: pd.DataFrame, deferrals: pd.DataFrame, dlq: pd.DataFrame
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Return whose state changes when into which; of two at a time the one with the higher number in the order counts.

    An attempt may take no time, and end in the instant in which the wait before it did.
    """
    asked = attempts.loc[~attempts["refused"], ["id", "start_s"]]
    is_followed = attempts["next_retry_at_s"] > attempts["end_s"]
    backing = attempts.loc[is_followed, ["id", "end_s", "next_retry_at_s"]]
    left = dlq.loc[dlq["left"] == "redriven", ["id", "left_at_s"]]
    ended = notifications.loc[notifications["outcome"].isin((SENT, "suppressed")), ["id", "finished_at_s"]]
    parts: list[tuple[pd.Series[Any], pd.Series[float], Any, int]] = [
        (notifications["id"], notifications["requested_at_s"], _TURN, 0),
        (backing["id"], backing["next_retry_at_s"], _TURN, 0),
        (left["id"], left["left_at_s"], _TURN, 0),
        (asked["id"], asked["start_s"], _PROVIDER, 1),
        (attempts["id"], attempts["end_s"], _TURN, 2),
        (backing["id"], backing["end_s"], _BACKOFF, 3),
        (deferrals["id"], deferrals["time_s"], deferrals["cause"].map(_CAUSES).fillna(_TURN), 4),
        (ended["id"], ended["finished_at_s"], _OUT, 5),
        (dlq["id"], dlq["time_s"], _OUT, 6),
    ]
    ids, _ = pd.factorize(pd.concat([part[0] for part in parts], ignore_index=True))
    times = np.concatenate([part[1].to_numpy(float) for part in parts])
    states = np.concatenate([np.broadcast_to(np.asarray(part[2], np.int8), len(part[0])) for part in parts])
    order = np.concatenate([np.full(len(part[0]), part[3], np.int8) for part in parts])
    return ids.astype(np.int32), times, states, order
