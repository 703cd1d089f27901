"""Every kind of plot has the structure that is stored for it in `structures.json`; `drawn_plots.py` writes it anew."""

import json

import pytest
from described import described
from drawn_plots import DRAWN, STORED, as_lines, drawn, structure
from effort import sliced
from plot_samples import result_of

from simulation.reporting import plots
from simulation.reporting.plots.canvas import figure_of

STRUCTURES = json.loads(STORED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sliced(["overview", *DRAWN], 4))
def test_a_plot_has_the_structure_that_is_stored(name):
    assert structure(name) == STRUCTURES[name]


def test_no_structure_is_stored_that_nothing_is_compared_with():
    assert list(STRUCTURES) == [*DRAWN, "overview"]


def test_they_are_stored_as_they_are_written():
    assert as_lines(STRUCTURES) + "\n" == STORED.read_text(encoding="utf-8")


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


@pytest.mark.parametrize("change", sliced(CHANGES, 4), ids=lambda change: change.__name__)
def test_the_structure_is_another_one_when_the_plot_is(change):
    ax = plots.backoff({"a": {"max_attempts": 6}, "b": {"max_attempts": 6, "jitter": "equal"}})
    before = described(ax)
    assert described(ax) == before
    change(ax)
    figure_of(ax).draw_without_rendering()
    assert described(ax) != before


@pytest.mark.parametrize("name", sliced(["throughput", "breaker-states", "raster"], 6))
def test_the_structure_is_another_one_when_the_run_is(name):
    other = result_of("providers")
    change = {"throughput": plots.throughput, "breaker-states": plots.breaker_states, "raster": plots.raster}
    assert described(change[name](other)) != described(drawn(name))
