"""The causes for which notifications wait: stated once, by the tables of a run, and counted by it in steps of time.

The plot of a single notification's course reads :func:`changes` too. Studio counts the same while a run goes on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.messages import DeferralCause
from simulation.results.formatting import fate_text

if TYPE_CHECKING:  # studio, which makes no tables, reads the names alone
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

TURN, BACKOFF = "turn", "backoff"
WAITS = (TURN, BACKOFF, *map(str, DeferralCause))
"""The causes for which a notification in flight waits; `turn` is a slot, a quota, or the way there."""

INTERRUPTED = "interrupted"
"""The outcome, in a table of attempts, of a request whose answer no one took; `result.interrupted` has them."""

INTERRUPTION, DEAD_LETTER_QUEUE = "interruption", "dead_letter_queue"
"""Further causes: the notification is behind such a request, or in the dead letter queue."""

_PROVIDER, _ENDED = "provider", "ended"

WHERE = {
    _PROVIDER: "at the provider",
    INTERRUPTION: "held by a crashed process",
    BACKOFF: "backing off",
    DeferralCause.CIRCUIT_BREAKER.value: "behind a breaker",
    DeferralCause.RATE_LIMIT.value: "limit",
    DeferralCause.QUIET_HOURS.value: "quiet hours",
    TURN: "its turn or a free slot",
}
"""Where a notification in flight can be, in words."""


class Changes(NamedTuple):
    """Some notifications that begin to wait for the same cause, or for the cause of each deferral."""

    order: int
    """Of two changes of a notification at one instant the one with the higher number counts."""

    ids: pd.Series[Any]
    at_s: pd.Series[Any]
    into: str | pd.Series[Any]
    """The cause for which they wait from then on."""


def changes(
    notifications: pd.DataFrame, attempts: pd.DataFrame, deferrals: pd.DataFrame, dlq: pd.DataFrame
) -> list[Changes]:
    """Return the changes of notifications' waits, while no attempt is in flight.

    An attempt may take no time, and end in the instant in which the wait before it did.
    """
    backing = attempts[attempts["next_retry_at_s"] > attempts["end_s"]]  # not so where it is null: none was to follow
    interrupted = attempts[attempts["outcome"] == INTERRUPTED]
    is_redriven = dlq["left"] == "redriven"
    redriven, dead = dlq[is_redriven], dlq[~is_redriven | (dlq["left_at_s"] > dlq["time_s"])]
    return [
        Changes(0, notifications["id"], notifications["requested_at_s"], TURN),
        Changes(0, backing["id"], backing["next_retry_at_s"], TURN),
        Changes(0, redriven["id"], redriven["left_at_s"], TURN),
        Changes(3, interrupted["id"], interrupted["end_s"], INTERRUPTION),
        Changes(3, backing["id"], backing["end_s"], BACKOFF),
        Changes(4, deferrals["id"], deferrals["time_s"], deferrals["cause"]),
        Changes(6, dead["id"], dead["time_s"], DEAD_LETTER_QUEUE),
    ]


def as_attempts(interrupted: pd.DataFrame) -> pd.DataFrame:
    return interrupted[["id", "start_s", "end_s", "provider"]].assign(
        attempt=0,
        outcome=INTERRUPTED,
        reason=interrupted["delivered"].map(fate_text),
        refused=False,
        hedges=0,
        next_retry_at_s=math.nan,
    )


def in_flight_most(notifications: pd.DataFrame, dlq: pd.DataFrame) -> tuple[int, float]:
    """Return how many notifications were in flight at once at most, and from what instant on, in seconds; a
    notification that begins and ends at one instant does not count."""
    import numpy as np

    begins, ends = in_flight_changes(notifications, dlq)
    instants, places = np.unique(np.concatenate([begins, ends]), return_inverse=True)
    steps = np.bincount(places, np.repeat([1.0, -1.0], [len(begins), len(ends)]), len(instants))
    levels = np.cumsum(steps)
    return (int(levels.max()), float(instants[levels.argmax()])) if len(levels) else (0, 0.0)


def in_flight_changes(
    notifications: pd.DataFrame, dlq: pd.DataFrame
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return when notifications come in flight, redriven ones too, and when they end."""
    import numpy as np

    ended = notifications.loc[notifications["outcome"].isin(("sent", "suppressed")), "finished_at_s"]
    redriven = dlq.loc[dlq["left"] == "redriven", "left_at_s"]
    both = ((notifications["requested_at_s"], redriven), (ended, dlq["time_s"]))
    begins, ends = (np.concatenate([each.to_numpy(float) for each in parts]) for parts in both)
    return begins, ends


def waiting_of(
    notifications: pd.DataFrame,
    attempts: pd.DataFrame,
    deferrals: pd.DataFrame,
    dlq: pd.DataFrame,
    edges_s: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return how many notifications are where, on average over each step of time: a row for each of `WHERE`.

    Averages of steps add up to the whole: a wait that is shorter than a step counts for as long as it lasts. An attempt
    that had not ended when the run did is in no table; its notification then waits for its turn. The last edge is the
    end of the run."""
    import numpy as np

    ids, at_s, states, order = _columns(
        [*changes(notifications, attempts, deferrals, dlq), *_other_changes(notifications, attempts)]
    )
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
        # The time spent up to each edge: of all spans that have begun, without the parts behind the edge.
        spent[state] = np.diff(_time_up_to(edges_s, at_s[own]) - _time_up_to(edges_s, until_s[own]))
    return spent / np.diff(edges_s)


def _other_changes(notifications: pd.DataFrame, attempts: pd.DataFrame) -> list[Changes]:
    asked = attempts[~attempts["refused"]]
    ended = notifications[notifications["outcome"].isin(("sent", "suppressed"))]
    return [
        Changes(1, asked["id"], asked["start_s"], _PROVIDER),
        Changes(2, attempts["id"], attempts["end_s"], TURN),
        Changes(5, ended["id"], ended["finished_at_s"], _ENDED),
    ]


def _columns(
    parts: list[Changes],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Return for each change a number of its notification, its instant, the number of its state, and its order."""
    import numpy as np
    import pandas as pd

    ids, _ = pd.factorize(pd.concat([part.ids for part in parts], ignore_index=True))
    times = np.concatenate([part.at_s.to_numpy(float) for part in parts])
    numbers = {state: number for number, state in enumerate(WHERE)}
    # All that is none of these is out, but for a deferral: it has a cause of an older file.
    states = [
        np.full(len(part.ids), numbers.get(part.into, len(WHERE)), np.int8)
        if isinstance(part.into, str)
        else part.into.map(numbers).fillna(numbers[TURN]).to_numpy(np.int8)
        for part in parts
    ]
    order = np.concatenate([np.full(len(part.ids), part.order, np.int8) for part in parts])
    return ids.astype(np.int32), times, np.concatenate(states), order


def _time_up_to(edges_s: npt.NDArray[np.float64], starts_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return for each edge the sum of the times since all that began before it."""
    import numpy as np

    starts_s = np.sort(starts_s)
    sums = np.concatenate([[0.0], np.cumsum(starts_s)])
    before = np.searchsorted(starts_s, edges_s)
    return np.asarray(before * edges_s - sums[before], np.float64)
