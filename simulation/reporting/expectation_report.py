"""An expectation that failed, as text: by how much, and the course of its metric over the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, TypeVar

from actors.formatting import plain_number
from actors.instants import NS_PER_S
from actors.messages import BreakerState
from actors.optional_dependencies import needs
from simulation.reporting.expectations import wording
from simulation.reporting.fault_windows import channel_of_breaker, windows
from simulation.results.formatting import duration_text
from simulation.results.result import Result
from simulation.results.series import bucket_width_ns
from simulation.scenario import Expectation

if TYPE_CHECKING:
    import pandas as pd

    from simulation.reporting.plots.breakers import Spans
    from simulation.reporting.plots.source import By

# ── sparklines ────────────────────────────────────────────────────────────────────────────────────────────────────────


BLOCKS = "▁▂▃▄▅▆▇█"
"""Of an eighth to all of the height; nothing at all is a blank."""

T = TypeVar("T")
S = TypeVar("S")


def in_cells(values: Sequence[T], size: int, fold: Callable[[Sequence[T]], S]) -> list[S]:
    """Return `values`, each `size` of them folded into one."""
    return [fold(values[start : start + size]) for start in range(0, len(values), size)]


def sparkline(values: Iterable[float], top: float | None = None) -> str:
    """Return a block for each value of at least 0; the highest block is `top`, by default the largest of them."""
    values = list(values)
    top = max(values, default=0) if top is None else top
    return "".join(_block(value / top) if value > 0 and top > 0 else " " for value in values)


def _block(share: float) -> str:
    """Return the lowest block for whatever is more than nothing, so that a single failure is seen."""
    return BLOCKS[min(len(BLOCKS) - 1, max(0, round(share * len(BLOCKS)) - 1))]


def windows_line(spans: Iterable[tuple[float, float]], cell_s: float, cells: int) -> str:
    """Return a line that is drawn where a window is open: from and to in seconds, however short it is."""
    line = [" "] * cells
    for start_s, end_s in spans:
        first = min(cells - 1, int(start_s / cell_s))
        last = min(cells - 1, max(first, int(-(-end_s // cell_s)) - 1))
        line[first : last + 1] = "━" * (last + 1 - first)
    return "".join(line)


def axis(ticks: Iterable[tuple[float, str]], cell_s: float, cells: int) -> tuple[str, str]:
    """Return a line with ticks, given in seconds with their texts, and the line of the texts that have room."""
    line, texts, free_from = ["─"] * cells, [" "] * (cells + 8), 0
    for at_s, text in ticks:
        cell = int(at_s / cell_s)
        if cell >= cells:
            break
        line[cell] = "┬" if cell else "┌"
        if cell >= free_from:
            texts[cell : cell + len(text)] = text
            free_from = cell + len(text) + 1
    return "".join(line), "".join(texts).rstrip()


KEY = 13
LABEL = 26
CELLS_MAX = 62
"""The width between a label and the column of the largest values, in characters."""
BREAKERS_MAX = 4
WINDOWS_MAX = 5

SIZES = {"in_flight": "in flight", "dlq_size": "dead letters"}
"""Series of how many there are at the end of a bucket."""

FLOWS = {"arrivals": "arrivals", "sent": "sent", "failed": "failed", "dead_lettered": "dead-lettered"}
"""Series of how many there were in a bucket."""

SERIES_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sent", "delivered", "sent_fraction"), ("sent", "dead_lettered")),
    **dict.fromkeys(("delivered_within", "delivery_time_s", "sent_time_s", "faults"), ("in_flight", "sent")),
    **dict.fromkeys(("peaks", "attempts", "requests", "retries", "hedges", "retry_amplification"), ("sent", "failed")),
    **dict.fromkeys(("in_flight", "simulated_s"), ("in_flight",)),
    "throughput_per_s": ("sent",),
    "dead_lettered": ("failed", "dead_lettered"),
    "dlq": ("dlq_size",),
    "retry_delay_s": ("failed", "in_flight"),
    "breaker": ("failed",),
}
"""The series to show for each metric; for any other, the arrivals."""

BANDS = {
    BreakerState.DISABLED: "╌",
    BreakerState.METRICS_ONLY: "╌",
    BreakerState.HALF_OPEN: "▒",
    BreakerState.OPEN: "█",
    BreakerState.FORCED_OPEN: "█",
    "down": "x",
}
"""How the states of a breaker are drawn, a later one over an earlier one; closed is not drawn."""

LEGEND = {"╌": "lets everything through", "▒": "half-open", "█": "open", "x": "node down"}


def failure_text(result: Result, expectation: Expectation, value: float | None) -> list[str]:
    """Return the lines that show why `expectation` fails, of a hundred columns; the first says that it does."""
    words = wording(result, expectation, value)
    rows = [("is", words.value), ("wanted", words.wanted)]
    if words.off is not None:
        rows.append(("off", words.off))
    summary = result.summary
    times = f"{duration_text(summary['simulated_s'])} simulated"
    rows.append(("run", f"{summary['scenario']}, seed {summary['seed']}, {summary['runtime']}, {times}"))
    lines = [f"{expectation.text} does not hold", *(f"{name:{KEY}}{text}" for name, text in rows), ""]
    try:
        chart = list(_chart(result, expectation))
    except ModuleNotFoundError as error:
        chart = [f"{'its course':{KEY}}{error}"]
    return [line.rstrip() for line in [*lines, *chart]]


def defaults_in_scope(result: Result, expectation: Expectation) -> list[str]:
    """Return the effects of defaults that the file does not name, on the channel of an expectation, or on all."""
    channel, _ = _scope(_path(expectation))
    return [
        each["text"]
        for each in result.summary["defaults"]
        if channel is None or each["setting"].startswith((f"channels.{channel}.", "drain"))
    ]


def _number(value: float) -> str:
    return plain_number(value, 6)


# ── the chart ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _chart(result: Result, expectation: Expectation) -> Iterator[str]:
    with needs("lab"):
        from simulation.reporting.plots.breakers import spans_of
        from simulation.reporting.plots.panels import ticks_s, unit_of
        from simulation.running.downtimes import downtimes

    path = _path(expectation)
    channel, subject = _scope(path)
    series, of_what = _series(result, path)
    width_s = bucket_width_ns(result.scenario.arrivals_end_ns) / NS_PER_S
    size = ceil(len(series) / CELLS_MAX)
    cell_s, cells = size * width_s, ceil(len(series) / size)
    end_s = cell_s * cells
    yield _row("", of_what.ljust(cells), "most")
    for name in SERIES_OF.get(subject, ("arrivals",)):
        if name not in series:
            continue  # of a provider
        if name in SIZES:
            folded = in_cells(series[name].to_list(), size, max)
            label = f"{SIZES[name]} every {duration_text(width_s)}"
        else:
            folded = in_cells(series[name].to_list(), size, sum)
            is_refused = name == "arrivals" and any(result.summary["refused"].values())
            label = f"{'accepted' if is_refused else FLOWS[name]} per {duration_text(cell_s)}"
        yield _row(label, sparkline(folded), _number(max(folded)))
    drawn_blocks = ""
    simulated_s = result.summary["simulated_s"]
    breakers = _breakers(result, channel, path)
    downs = downtimes(result.scenario, simulated_s, result) if breakers else {}
    for breaker in breakers:
        spans = spans_of(result.breaker, breaker, result.scenario.breakers[breaker], simulated_s, downs)
        band = _band(spans, cell_s, cells)
        opened = sum(len(spans.get(state, ())) for state in (BreakerState.OPEN, BreakerState.FORCED_OPEN))
        drawn_blocks += band
        yield _row(f"breaker {breaker}", band, f"{opened}× open")
    if (part := expectation.window) is not None:
        span = part.from_s, simulated_s if part.to_s is None else part.to_s
        yield _row("what is looked at", windows_line([span], cell_s, cells), "")
    found = windows(result.scenario, simulated_s, channel)
    for window in found[:WINDOWS_MAX]:
        yield _row(window.text, windows_line(window.dips or window.spans, cell_s, cells), "")
    if len(found) > WINDOWS_MAX:
        yield _row(f"and {len(found) - WINDOWS_MAX} more", "", "")
    unit = unit_of(end_s)
    line, texts = axis([(at_s, f"{at_s / unit.seconds:g}") for at_s in ticks_s(end_s)], cell_s, cells)
    yield _row("", line, "")
    yield _row("", texts.ljust(cells), unit.name)
    legend = [f"{block} {text}" for block, text in LEGEND.items() if block in drawn_blocks]
    if legend:
        yield _row("", ", ".join([*legend, "else closed"]), "")


def _band(spans: Spans, cell_s: float, cells: int) -> str:
    band = [" "] * cells
    for state, block in BANDS.items():
        drawn = windows_line(spans.get(state, ()), cell_s, cells)
        band = [before if mark == " " else block for mark, before in zip(drawn, band, strict=True)]
    return "".join(band)


def _row(label: str, line: str, most: str) -> str:
    label = " ".join(label.split())
    if len(label) > LABEL - 2:
        label = label[: LABEL - 3] + "…"
    return f"{label:{LABEL}}{line}  {most}"


def _path(expectation: Expectation) -> Sequence[str]:
    return expectation.path if expectation.window is None else expectation.path[2:]


def _scope(path: Sequence[str]) -> tuple[str | None, str]:
    """Return the channel that a path is about, if it is one, and the metric of it."""
    if path[0] == "channels":
        return path[1], path[4 if path[2] == "providers" else 2]
    if path[0] in ("workload", "classes", "nodes"):
        return None, path[2]
    return (channel_of_breaker(path[1]) if path[0] == "breaker" else None), path[0]


_PARTS: dict[str, By] = {"channels": "channel", "workload": "entry", "classes": "priority"}
"""The division of the run for a part, by the first key of the part's path."""


def _series(result: Result, path: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """Return the series of the part of a run that a path is about; and its name where it is another part."""
    from simulation.reporting.plots.source import parts

    channel, by = _scope(path)[0], _PARTS.get(path[0], "channel" if path[0] == "breaker" else None)
    if by is None:
        return result.series, "all nodes" if path[0] == "nodes" else ""
    if result.scenario.record != "full":
        outline = result.scenario.outline
        one = {"channel": result.scenario.channels_used, "entry": outline.entries, "priority": outline.classes}[by]
        return result.series, "" if len(one) == 1 and "providers" not in path else "the whole run"
    if "providers" in path:
        return _of_provider(result, path[1], path[3]), ""
    found = {part.label: part.frame for part in parts(result, "series", "time_s", by=by)}
    return found[path[1] if channel is None else channel], ""


def _of_provider(result: Result, channel: str, provider: str) -> pd.DataFrame:
    import numpy as np

    series, attempts = result.series, result.attempts
    own = attempts[(attempts["channel"] == channel) & (attempts["provider"] == provider)]
    step = np.searchsorted(series["time_s"], own["end_s"], side="right") - 1
    counts = {
        sent: np.bincount(step[(own["outcome"] == "sent") == sent], minlength=len(series)) for sent in (True, False)
    }
    return series[["time_s"]].assign(sent=counts[True], failed=counts[False])


def _breakers(result: Result, channel: str | None, path: Sequence[str]) -> list[str]:
    """Return the breakers to show: the one in question, or the ones in scope that have changed their state."""
    asked = path[1] if path[0] == "breaker" or (path[0] == "channels" and path[2] == "breaker") else None
    if asked is not None:  # of several nodes the breaker of each
        return [name for name in result.scenario.breakers if asked in (name, name.partition("@")[0])][:BREAKERS_MAX]
    moved = set(result.breaker["channel"])
    in_scope = [name for name in result.scenario.breakers if channel in (None, channel_of_breaker(name))]
    return [name for name in in_scope if name in moved][:BREAKERS_MAX]
