"""The notes beside the panels: the numbers that a reader would otherwise read off them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from actors.formatting import counted, instant_text, plain_number
from simulation.reporting.fault_windows import Window
from simulation.reporting.plots.breakers import first_openings, label_of, open_times, opened_in
from simulation.reporting.plots.canvas import size_in
from simulation.reporting.plots.looks import NOTE_ROOM, NOTE_SIZE, NOTES_AT
from simulation.reporting.plots.source import PlottedRun, Taken
from simulation.reporting.plots.text import cut, drawable
from simulation.results.formatting import duration_text

REASONS_MAX = 3

LINE_IN = 0.16
"""How high a line of a note is."""

APART = "#0a4f7d"
"""The colour of the settings in which channels differ."""

Floats = npt.NDArray[np.float64]


def note(axes: Axes, lines: Sequence[str], first: Sequence[str] = ()) -> None:
    """Write `lines` beside a panel, from its top on; above them, at the height of the title, the first ones in bold."""
    text = "\n".join(cut(drawable(line), NOTE_ROOM, NOTE_SIZE) for line in lines)
    below_in = (len(first) - 1) * LINE_IN if first else 0.0
    top = 1.0 - below_in / size_in(axes)[1]
    axes.text(NOTES_AT, top, text, transform=axes.transAxes, size=NOTE_SIZE, va="top", linespacing=1.35)
    if first:
        axes.text(
            NOTES_AT, 1.0 + LINE_IN / size_in(axes)[1], "\n".join(first), transform=axes.transAxes, size=NOTE_SIZE,
            va="top", linespacing=1.35, color=APART,
        )  # fmt: skip


def in_flight_note(result: PlottedRun, highest: int, at_s: float) -> list[str]:
    end_s, left = result.summary["simulated_s"], result.summary["in_flight"]
    if highest == 0:
        return ["0 throughout"]
    return [f"highest at such an end {highest:,}, at {instant_text(min(at_s, end_s))}", f"{left:,} at the end"]


def dlq_note(result: PlottedRun) -> list[str]:
    dlq = result.summary["dlq"]
    if dlq["peak"] == 0:
        return ["empty all the time"]
    lines = [f"peak {dlq['peak']:,}, {dlq['final']:,} at the end"]
    if len(result.dlq) < dlq["peak"]:
        lines.append(f"of the first {len(result.dlq):,}:")
    counts = result.dlq["reason"].value_counts().to_dict()
    common = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    lines += [f"{count:,} × {reason}" for reason, count in common[:REASONS_MAX]]
    if len(common) > REASONS_MAX:
        lines.append(f"and {len(common) - REASONS_MAX:,} more reasons")
    return lines


def rates_note(part: Taken, steps: Sequence[str]) -> list[str]:
    """Return the ends of a channel's notifications in words, as far as the title does not have them."""
    assert part.run is not None
    figures = part.run.summary if part.channel is None else part.run.summary["channels"][part.channel]
    names = {"dead_lettered": "dead-lettered", "unwanted": "unwanted", "in_flight": "in flight at the end"}
    lines = [f"{figures[key]:,} {name}" for key, name in names.items() if figures[key]]
    amplification = figures["retry_amplification"]
    if amplification is not None and amplification > 1.005:
        lines.append(f"×{plain_number(amplification)} attempts by retries")
    return [*lines, f"{counted(figures['requests'], 'request')} to the provider", ", ".join(steps[:2]), *steps[2:]]


def delivery_note(accepted_s: Floats, times_s: Floats) -> list[str]:
    never = accepted_s[np.isinf(times_s)]
    if len(never):
        first, last = instant_text(never[0]), instant_text(never[-1])
        return [f"never: accepted {f'at {first}' if first == last else f'{first} to {last}'}"]
    longest = int(times_s.argmax())
    return [f"longest {duration_text(times_s[longest])}, accepted at {instant_text(accepted_s[longest])}"]


def breaker_notes(
    axes: Axes,
    run: PlottedRun,
    names: Sequence[str],
    hosts: Mapping[str, int],
    end_s: float,
    faults: Sequence[tuple[str, Window]],
) -> None:
    """Write beside each lane how often the breaker opened, how far into a fault first, and for how long it was open;
    where each host has its own, how many did, and for how long the worst."""
    opened = first_openings(run.breaker)
    for lane, name in enumerate(names):
        breaker = run.summary["breaker"][name]
        times = "once" if breaker["opened"] == 1 else f"{breaker['opened']:,} times"
        text = f"opened {times}, open for {duration_text(breaker['open_s'])}" if breaker["opened"] else "never opened"
        if name in hosts:
            longest = open_times(run.breaker, name, end_s)
            count = sum(open_s > 0 for open_s in longest.values())
            text = f"{count:,} of {counted(hosts[name], 'host')}, longest {duration_text(max(longest.values()))}"
        elif name in opened and (fault := opened_in(name, opened[name], faults)) is not None:
            text = f"{duration_text(fault[1])} into {fault[0]}, {times}, open {duration_text(breaker['open_s'])}"
        if label_of(name) != name:
            text = f"{cut(drawable(name), NOTE_ROOM, NOTE_SIZE)}:\n{text}"
        axes.text(NOTES_AT, lane, text, transform=axes.get_yaxis_transform(), size=NOTE_SIZE, va="center")
