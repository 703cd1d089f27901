"""The states of the circuit breakers over time, as bands: one lane a breaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from actors.messages import BreakerState
from simulation.reporting.plots.canvas import size_in
from simulation.reporting.plots.layout import LEFT, NOTE_SIZE, SMALL_SIZE
from simulation.reporting.plots.text import cut, width_in
from simulation.results.series import most_shut

Spans = dict[BreakerState, list[tuple[float, float]]]
"""For each state the spans of time, from and to in seconds, in which a breaker was in it."""

PIXELS = 2000
"""So many times across the picture are distinguished; what lies closer together is drawn as one."""
LABELS_MAX = 40
LANE = 0.72
LABEL_ROOM = LEFT - 0.15
"""How wide the name beside a lane may be, in inches."""
HEADROOM = 0.5
"""Room above the first lane for the letters of windows, in lanes."""
NARROW_INCHES = 0.03
"""A probe that takes less than this is drawn as a tick, half as high as the lane: else it would not be seen."""


class Look(NamedTuple):
    """How a state is drawn: apart from the others also without colour, by lightness and hatching."""

    face: str
    edge: str
    ink: str
    hatch: str = ""


LOOKS = {
    BreakerState.CLOSED: Look("#d9ebe2", "#d9ebe2", "#35574a"),
    BreakerState.HALF_OPEN: Look("#f0b400", "#6b4e00", "#222222", "////"),
    BreakerState.OPEN: Look("#a3320f", "#a3320f", "#ffffff"),
    BreakerState.FORCED_OPEN: Look("#222222", "#ffffff", "#ffffff", "xxxx"),
    BreakerState.DISABLED: Look("#ffffff", "#888888", "#222222", "...."),
    BreakerState.METRICS_ONLY: Look("#ffffff", "#35574a", "#222222", "||||"),
}
"""How each state looks."""


def spans_of(transitions: pd.DataFrame, breaker: str, begins: BreakerState, end_s: float) -> Spans:
    """Return when the breaker of this name was in which state, from its `transitions` (``result.breaker``).

    Where each host has its own, what is shown is that which lets the least through.
    """
    spans: Spans = {}
    own = transitions[transitions["channel"] == breaker]
    state, since_s = begins, 0.0
    by_host: dict[str, BreakerState] = {}
    for at_s, host, after in zip(own["time"], own["host"], own["to"], strict=True):
        by_host[str(host)] = BreakerState(after)
        shown = most_shut(by_host.values())
        if shown is not state:
            spans.setdefault(state, []).append((since_s, at_s))
            state, since_s = shown, at_s
    spans.setdefault(state, []).append((since_s, end_s))
    return spans


def merged(spans: Sequence[tuple[float, float]], gap_s: float) -> list[tuple[float, float]]:
    """Return `spans` with those joined that lie no farther apart than this."""
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


def draw_breakers(
    axes: Axes, transitions: pd.DataFrame, breakers: Mapping[str, BreakerState], end_s: float
) -> list[Patch]:
    """Draw a lane for each breaker, the first on top, with the states written into what is wide enough.

    `breakers` are by name, with the state in which each begins. Returns the entries of a legend.
    """
    seen: set[BreakerState] = set()
    inches_per_s = size_in(axes)[0] / end_s
    for lane, (breaker, begins) in enumerate(breakers.items()):
        spans = spans_of(transitions, breaker, begins, end_s)
        seen.update(spans)
        _draw_lane(axes, spans, lane, breaker, end_s, inches_per_s)
    axes.set_ylim(len(breakers) - 0.5, -0.5 - HEADROOM)
    axes.set_yticks(range(len(breakers)), [_label(breaker) for breaker in breakers])
    axes.tick_params(axis="y", length=0)
    return [
        Patch(facecolor=look.face, edgecolor=look.edge, hatch=look.hatch, label=str(state))
        for state, look in LOOKS.items()
        if state in seen
    ]


def _label(breaker: str) -> str:
    """Return the name of a breaker, where there is no room for it without the channel, which stands above."""
    if width_in(breaker, NOTE_SIZE) <= LABEL_ROOM:
        return breaker
    return cut(f"…/{breaker.partition('/')[2]}", LABEL_ROOM, NOTE_SIZE)


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


def _write(
    axes: Axes, state: BreakerState, spans: Sequence[tuple[float, float]], lane: int, inches_per_s: float
) -> None:
    """Write the state into each span that is wide enough for it; closed is not written."""
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
