"""Every kind of plot, drawn from small runs, with its structure: labels, series, counts and data.

When a plot is meant to look otherwise from now on, look at the picture, and write the stored structures anew::

    python tests/reporting/drawn_plots.py

What changed is then in the diff of ``structures.json``, a line for each axis and each artist, for the review.
"""

import json
import sys
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from described import described
from plot_samples import cells, result_of, scattered

from simulation.reporting import plots

STORED = Path(__file__).with_name("structures.json")


def most_tried(name):
    rows = result_of(name).notifications
    return rows.loc[rows["attempts"].idxmax(), "id"]


P99 = "delivery_time_s.p99"
DRAWN = {
    "throughput": lambda: plots.throughput(result_of("outage")),
    "in-flight": lambda: plots.in_flight(result_of("outage")),
    "dlq-growth": lambda: plots.dlq_growth(result_of("outage")),
    "breaker-states": lambda: plots.breaker_states(result_of("outage")),
    "breaker-states-of-providers": lambda: plots.breaker_states(result_of("providers")),
    "throughput-by-channel": lambda: plots.throughput(result_of("outage"), by="channel"),
    "delivery-over-time": lambda: plots.delivery_over_time(result_of("outage"), by="channel"),
    "waiting": lambda: plots.waiting(result_of("all kinds of waits")),
    "breaker-causes": lambda: plots.breaker_causes(result_of("outage")),
    "amplification": lambda: plots.amplification(result_of("outage")),
    "amplification-of-aggregates": lambda: plots.amplification(result_of("aggregates")),
    "delivery-times": lambda: plots.delivery_times(result_of("outage")),
    "delivery-times-of-two": lambda: plots.delivery_times(
        {"outage": result_of("outage"), "providers": result_of("providers")}
    ),
    "raster": lambda: plots.raster(result_of("outage"), limit=60),
    "raster-of-a-channel": lambda: plots.raster(result_of("all kinds of waits"), channel="sms"),
    "timeline": lambda: plots.timeline(result_of("outage"), most_tried("outage")),
    "timeline-of-all-kinds-of-waits": lambda: plots.timeline(
        result_of("all kinds of waits"), most_tried("all kinds of waits")
    ),
    "timeline-in-flight": lambda: plots.timeline(result_of("lost"), "sms-0-0"),
    "backoff": lambda: plots.backoff({"max_attempts": 8}),
    "backoff-of-several": lambda: plots.backoff(
        {jitter: {"jitter": jitter, "max_attempts": 6} for jitter in ("full", "equal", "decorrelated", "soft")}
    ),
    "sweep-lines": lambda: plots.sweep_lines(cells(), P99),
    "sweep-lines-by": lambda: plots.sweep_lines(cells(), P99, by="channels.email.retry.jitter"),
    "sweep-lines-scattered": lambda: plots.sweep_lines(scattered(), "sent_fraction"),
    "sweep-heatmap": lambda: plots.sweep_heatmap(cells(), P99, y="channels.email.retry.jitter"),
    "sweep-heatmap-scattered": lambda: plots.sweep_heatmap(scattered(), "sent_fraction"),
    "pareto": lambda: plots.pareto(cells()),
}


@cache
def drawn(name):
    """Return the axes of a plot; for tests that change nothing in it."""
    return DRAWN[name]()


def structure(name):
    """Return the structure of a plot; of the overview, that of each of its axes."""
    if name == "overview":
        return {axes.get_label(): described(axes) for axes in plots.overview(result_of("outage")).axes}
    return described(drawn(name))


def as_lines(value, indent=""):
    """Return JSON with a line for each axis, list of texts and artist."""
    flat = json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    if isinstance(value, dict) and '"artists": ' in flat:
        rows = [f"{inner}{json.dumps(key)}: {as_lines(each, inner)}" for key, each in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(inner + as_lines(each, inner) for each in value) + f"\n{indent}]"
    return flat


if __name__ == "__main__":
    STORED.write_text(as_lines({name: structure(name) for name in (*DRAWN, "overview")}) + "\n", encoding="utf-8")
