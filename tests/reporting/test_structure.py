"""Every kind of plot has the structure that is stored for it in `structures/`: labels, series, counts and data.

When a plot is meant to look otherwise from now on, look at the picture, and write the stored structures anew::

    RETRYLAB_REWRITE_STRUCTURES=1 python -m pytest tests/reporting/test_structure.py

What changed is then in the diff of those files, for the review.
"""

import json
import os
from functools import cache
from pathlib import Path

import pytest
from described import described
from plot_samples import cells, result_of, scattered

from simulation.reporting import plots
from simulation.reporting.plots.canvas import figure_of

STORED = Path(__file__).with_name("structures")
REWRITE = "RETRYLAB_REWRITE_STRUCTURES"


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


def of_overview():
    return {axes.get_label(): described(axes) for axes in plots.overview(result_of("outage")).axes}


@pytest.mark.parametrize("name", [*DRAWN, "overview"])
def test_a_plot_has_the_structure_that_is_stored(name):
    found = of_overview() if name == "overview" else described(drawn(name))
    path = STORED / f"{name}.json"
    if REWRITE in os.environ:
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(path.read_text(encoding="utf-8"))


def test_no_structure_is_stored_that_nothing_is_compared_with():
    assert {path.stem for path in STORED.glob("*.json")} == {*DRAWN, "overview"}


def without_a_series(ax):
    ax.lines[0].remove()


def with_another_label(ax):
    ax.set_xlabel("time since the start (h)")


def with_another_legend(ax):
    ax.get_legend().get_texts()[0].set_text("arrived")


def with_other_data(ax):
    line = ax.lines[0]
    line.set_ydata([1.001 * value for value in line.get_ydata()])


def with_data_in_another_order(ax):
    line = ax.lines[0]
    line.set_ydata(line.get_ydata()[::-1])


def with_a_point_less(ax):
    line = ax.lines[0]
    line.set_data(line.get_xdata()[:-1], line.get_ydata()[:-1])


def with_another_scale(ax):
    ax.set_yscale("linear")


def without_what_tells_it_apart_in_grey(ax):
    ax.lines[1].set_linestyle("-")


CHANGES = (
    without_a_series,
    with_another_label,
    with_another_legend,
    with_other_data,
    with_data_in_another_order,
    with_a_point_less,
    with_another_scale,
    without_what_tells_it_apart_in_grey,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_structure_is_another_one_when_the_plot_is(change):
    ax = plots.backoff({"a": {"max_attempts": 6}, "b": {"max_attempts": 6, "jitter": "equal"}})
    before = described(ax)
    assert described(ax) == before
    change(ax)
    figure_of(ax).draw_without_rendering()
    assert described(ax) != before


@pytest.mark.parametrize("name", ["throughput", "breaker-states", "raster"])
def test_the_structure_is_another_one_when_the_run_is(name):
    other = result_of("providers")
    change = {"throughput": plots.throughput, "breaker-states": plots.breaker_states, "raster": plots.raster}
    assert described(change[name](other)) != described(drawn(name))
