"""The states of the circuit breakers over time, as bands: one lane a breaker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from actors.formatting import instant_text
from actors.messages import BreakerState
from simulation.reporting.fault_windows import Window, channel_of_breaker
from simulation.reporting.plots import findings
from simulation.reporting.plots.canvas import size_in
from simulation.reporting.plots.looks import LEFT, NOTE_SIZE, SMALL_SIZE
from simulation.reporting.plots.text import cut, width_in
from simulation.results.counters import OPEN_STATES
from simulation.results.formatting import duration_text
from simulation.results.series import most_shut
from simulation.running.downtimes import Downtimes

Spans = dict[str, list[tuple[float, float]]]
"""For each state the spans of time, from and to in seconds, in which a breaker was in it, or its node was `DOWN`."""

DOWN = "down"

PIXELS = 2000
"""The instants across the picture that are distinguished; closer ones are drawn as one."""
LABELS_MAX = 40
LANE = 0.72
LABEL_ROOM = LEFT - 0.15
"""How wide the name beside a lane may be, in inches."""
HEADROOM = 0.5
"""Room above the first lane for the letters of windows, in lanes."""
NARROW_INCHES = 0.03
"""A probe that takes less than this is drawn as a tick, half as high as the lane: else it would not be seen."""


class Look(NamedTuple):
    """The look of a state: distinct without colour too, by lightness and hatching."""

    face: str
    edge: str
    ink: str
    hatch: str = ""


LOOKS: dict[str, Look] = {
    BreakerState.CLOSED: Look("#d9ebe2", "#d9ebe2", "#35574a"),
    BreakerState.HALF_OPEN: Look("#f0b400", "#6b4e00", "#222222", "////"),
    BreakerState.OPEN: Look("#a3320f", "#a3320f", "#ffffff"),
    BreakerState.FORCED_OPEN: Look("#222222", "#ffffff", "#ffffff", "xxxx"),
    BreakerState.DISABLED: Look("#ffffff", "#888888", "#222222", "...."),
    BreakerState.METRICS_ONLY: Look("#ffffff", "#35574a", "#222222", "||||"),
    DOWN: Look("#ffffff", "#bbbbbb", "#555555", r"\\\\"),
}
"""The look of each state."""


def spans_of(
    transitions: pd.DataFrame, breaker: str, begins: BreakerState, end_s: float, downs: Downtimes | None = None
) -> Spans:
    """Return when the breaker of this name was in which state, from its `transitions` (``result.breaker``), or its node
    was down.

    Where each host has a breaker, the state of each instant is the one that lets the least through.
    """
    spans: Spans = {}
    own = transitions[transitions["channel"] == breaker]
    state, since_s = begins, 0.0
    by_host: dict[str, BreakerState] = {}
    for at_s, host, after in zip(own["time_s"], own["host"], own["to"], strict=True):
        by_host[str(host)] = BreakerState(after)
        shown = most_shut(by_host.values())
        if shown is not state:
            spans.setdefault(state, []).append((since_s, at_s))
            state, since_s = shown, at_s
    spans.setdefault(state, []).append((since_s, end_s))
    if gaps := _gaps(breaker, downs):
        left = {state: [part for span in own for part in _without(span, gaps)] for state, own in spans.items()}
        return {**{state: own for state, own in left.items() if own}, DOWN: gaps}
    return spans


def _gaps(breaker: str, downs: Downtimes | None) -> list[tuple[float, float]]:
    return (downs or {}).get(int(breaker.partition("@")[2] or 1), [])


def _without(span: tuple[float, float], gaps: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    start_s, end_s = span
    for from_s, to_s in gaps:
        if start_s < min(from_s, end_s):
            yield start_s, min(from_s, end_s)
        start_s = max(start_s, to_s)
    if start_s < end_s:
        yield start_s, end_s


def merged(spans: Sequence[tuple[float, float]], gap_s: float) -> list[tuple[float, float]]:
    """Return `spans`, joined where they lie no farther apart than `gap_s`."""
    joined: list[tuple[float, float]] = []
    for start_s, end_s in spans:
        if joined and start_s - joined[-1][1] <= gap_s:
            joined[-1] = joined[-1][0], end_s
        else:
            joined.append((start_s, end_s))
    return joined


def breakers_in(transitions: pd.DataFrame) -> dict[str, BreakerState]:
    """Return the breakers that changed at all, by name, with the state in which each began."""
    firsts = transitions.drop_duplicates("channel")
    return {str(name): BreakerState(state) for name, state in zip(firsts["channel"], firsts["from"], strict=True)}


def has_hosts(transitions: pd.DataFrame, breaker: str) -> bool:
    return bool(transitions.loc[transitions["channel"] == breaker, "host"].notna().any())


def _of_hosts(transitions: pd.DataFrame, breaker: str, hosts: Mapping[str, int] | None) -> int:
    """Return how many hosts have a breaker of this name of their own; 0 where hosts share it."""
    if not has_hosts(transitions, breaker):
        return 0
    known = transitions.loc[transitions["channel"] == breaker, "host"].nunique()
    return count if (count := max((hosts or {}).get(breaker, 0), known)) > 1 else 0


def host_counts(transitions: pd.DataFrame, notifications: pd.DataFrame | None) -> dict[str, int]:
    """Return for each breaker that each host has of its own how many hosts there are, as far as the tables tell."""
    found = {}
    for name in transitions.loc[transitions["host"].notna(), "channel"].unique():
        hosts = set(transitions.loc[transitions["channel"] == name, "host"].dropna())
        if notifications is not None and not notifications.empty:
            of_channel = notifications["channel"] == channel_of_breaker(str(name))
            hosts.update(notifications.loc[of_channel, "host"].dropna())
        found[str(name)] = len(hosts)
    return found


def host_spans(transitions: pd.DataFrame, breaker: str, end_s: float) -> dict[str, Spans]:
    own = transitions[transitions["channel"] == breaker]
    return {
        str(host): spans_of(rows, breaker, BreakerState(rows["from"].iloc[0]), end_s)
        for host, rows in own.groupby("host", sort=False)
    }


def open_times(transitions: pd.DataFrame, breaker: str, end_s: float) -> dict[str, float]:
    """Return how long the breaker of each host was open, in seconds, the longest first."""
    found = {
        host: sum(stop_s - start_s for state in OPEN_STATES for start_s, stop_s in spans.get(state, ()))
        for host, spans in host_spans(transitions, breaker, end_s).items()
    }
    return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))


def openings(transitions: pd.DataFrame) -> pd.DataFrame:
    return transitions[transitions["to"].isin([str(state) for state in OPEN_STATES])]


def first_openings(transitions: pd.DataFrame) -> dict[str, float]:
    """Return when each breaker that opened did so first, in seconds, in that order."""
    firsts = openings(transitions).drop_duplicates("channel")
    return {str(name): float(at_s) for name, at_s in zip(firsts["channel"], firsts["time_s"], strict=True)}


def found_of_breakers(
    transitions: pd.DataFrame, breakers: Mapping[str, BreakerState], faults: Sequence[tuple[str, Window]] = ()
) -> str:
    """Return which breakers opened, and when first; how far into the fault in which it did."""
    firsts = first_openings(transitions)
    moved = [name for name in firsts if name in breakers]
    if not moved:
        return "none opened"
    first, at_s = moved[0], firsts[moved[0]]
    if (fault := opened_in(first, at_s, faults)) is not None:
        opens = "opens" if len(breakers) == 1 else "opens first,"
        never = [name for name in breakers if name not in moved]
        rest = f"; {findings.listed(never, 3)} never" if never else ""
        return f"{first} {opens} {duration_text(fault[1])} into {fault[0]}{rest}"
    of_all = f"{len(moved):,} of {len(breakers):,} opened, " if len(breakers) > 1 else ""
    how = "first opened " if len(breakers) == 1 else "first " if len(moved) > 1 else ""
    return f"{of_all}{first} {how}at {instant_text(at_s)}"


def opened_in(breaker: str, at_s: float, faults: Sequence[tuple[str, Window]]) -> tuple[str, float] | None:
    """Return the name of the fault in which a breaker opened then, and how far into it; None: it did in none.

    Of several that held there, it is the one that began last: with the others the breaker had not opened.
    """
    spans = [(called, span) for called, window in faults if window.hits(breaker) for span in window.spans]
    found = [(called, at_s - from_s) for called, (from_s, to_s) in spans if from_s <= at_s < to_s]
    return min(found, key=lambda each: each[1], default=None)


def draw_breakers(
    axes: Axes,
    transitions: pd.DataFrame,
    breakers: Mapping[str, BreakerState],
    end_s: float,
    hosts: Mapping[str, int] | None = None,
    downs: Downtimes | None = None,
) -> list[Patch]:
    """Draw a lane for each breaker, the first on top, with the state written into each span that is wide enough.

    Where each host has a breaker, a lane shows the share of the hosts in each state.

    Returns the entries of a legend.
    """
    seen: set[str] = set()
    inches_per_s = size_in(axes)[0] / end_s
    for lane, (breaker, begins) in enumerate(breakers.items()):
        if count := _of_hosts(transitions, breaker, hosts):
            seen.update(_draw_hosts(axes, transitions, lane, breaker, end_s, count))
            spans = {DOWN: gaps} if (gaps := _gaps(breaker, downs)) else {}
        else:
            spans = spans_of(transitions, breaker, begins, end_s, downs)
        seen.update(spans)
        _draw_lane(axes, spans, lane, breaker, end_s, inches_per_s)
    axes.set_ylim(len(breakers) - 0.5, -0.5 - HEADROOM)
    axes.set_yticks(range(len(breakers)), [label_of(breaker) for breaker in breakers])
    axes.tick_params(axis="y", length=0)
    return [
        Patch(facecolor=look.face, edgecolor=look.edge, hatch=look.hatch, label=str(state))
        for state, look in LOOKS.items()
        if state in seen
    ]


def _draw_hosts(
    axes: Axes, transitions: pd.DataFrame, lane: int, breaker: str, end_s: float, hosts: int
) -> set[BreakerState]:
    """Draw the share of the hosts in each state, from the bottom of the lane up; any of them is seen."""
    own = transitions[transitions["channel"] == breaker]
    times = [0.0, *own["time_s"], end_s]
    states: dict[str, BreakerState] = {}
    shares: dict[BreakerState, list[float]] = {state: [0.0] for state in _STACKED}
    for host, after in zip(own["host"], own["to"], strict=True):
        states[str(host)] = BreakerState(after)
        for state, counted in shares.items():
            share = sum(each is state for each in states.values()) / hosts
            counted.append(max(share, SHARE_SEEN) if share else 0.0)
    closed = LOOKS[BreakerState.CLOSED]
    axes.broken_barh([(0.0, end_s)], (lane - LANE / 2, LANE), facecolor=closed.face, label=f"{breaker}: closed")
    seen = {BreakerState.CLOSED}
    below = np.zeros(len(times) - 1)
    for state, counted in shares.items():
        if not any(counted):
            continue
        above = np.minimum(below + counted, 1.0)
        look = LOOKS[state]
        axes.fill_between(
            times,
            lane + LANE / 2 - np.append(below, below[-1]) * LANE,
            lane + LANE / 2 - np.append(above, above[-1]) * LANE,
            step="post",
            facecolor=look.face,
            edgecolor=look.edge,
            hatch=look.hatch or None,
            linewidth=0.0,
            label=f"{breaker}: share of {hosts:,} hosts {state}",
            zorder=2,
        )
        below = above
        seen.add(state)
    return seen


_STACKED = (BreakerState.FORCED_OPEN, BreakerState.OPEN, BreakerState.HALF_OPEN)
SHARE_SEEN = 0.08
"""Of the height of a lane: the least that a host takes in it whose breaker is not closed."""


def label_of(breaker: str) -> str:
    """Return the name of a breaker as far as there is room for it; of a further provider then without the channel,
    which stands above."""
    if width_in(breaker, NOTE_SIZE) <= LABEL_ROOM:
        return breaker
    channel, slash, provider = breaker.partition("/")
    return cut(f"…/{provider}" if slash else channel, LABEL_ROOM, NOTE_SIZE)


def _draw_lane(axes: Axes, spans: Spans, lane: int, breaker: str, end_s: float, inches_per_s: float) -> None:
    for state, look in LOOKS.items():
        if state not in spans:
            continue
        drawn = spans[state]
        dense = len(drawn) > PIXELS // 2
        if dense:
            drawn = merged(drawn, end_s / PIXELS)
        probing = state is BreakerState.HALF_OPEN
        half = (lane, LANE / 2)  # where so many lie side by side that the states between them would be hidden
        axes.broken_barh(
            [(start_s, stop_s - start_s) for start_s, stop_s in drawn],
            half if probing and dense else (lane - LANE / 2, LANE),
            facecolor=look.face,
            edgecolor=look.edge,
            hatch=look.hatch,
            linewidth=0.0 if probing or state is BreakerState.CLOSED else 0.7,
            label=f"{breaker}: {state}",
            zorder=2.5 if probing else 2,
        )
        if probing:
            narrow_s = NARROW_INCHES / inches_per_s
            ticks = [(start_s + stop_s) / 2 for start_s, stop_s in drawn if stop_s - start_s < narrow_s]
            axes.vlines(ticks, lane, lane + LANE / 2, color=look.face, linewidth=1.2, zorder=2.6)
        if not dense:
            _write(axes, state, drawn, lane, inches_per_s)


def _write(axes: Axes, state: str, spans: Sequence[tuple[float, float]], lane: int, inches_per_s: float) -> None:
    room_s = (width_in(state, SMALL_SIZE) + 0.1) / inches_per_s
    wide = [(start_s, stop_s) for start_s, stop_s in spans if stop_s - start_s > room_s]
    if state is BreakerState.CLOSED or len(wide) > LABELS_MAX:
        return
    look = LOOKS[state]
    for start_s, stop_s in wide:
        axes.text(
            (start_s + stop_s) / 2,
            lane,
            str(state),
            size=SMALL_SIZE,
            color=look.ink,
            ha="center",
            va="center",
            bbox={"boxstyle": "square,pad=0.15", "facecolor": look.face, "edgecolor": "none"} if look.hatch else None,
            zorder=3,
        )
