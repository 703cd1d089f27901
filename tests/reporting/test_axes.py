"""Plots on axes of their own and on those of the caller: what a notebook shows, and that nothing lies on anything."""

import itertools
import subprocess
import sys

import matplotlib
import matplotlib.style
import pytest
from described import described
from effort import sliced
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from plot_samples import cells, result_of

from simulation.reporting import plots
from simulation.reporting.plots.canvas import figure_of, picture_bytes
from simulation.reporting.plots.kinds import OF_A_RUN, OF_A_SWEEP, Options

OVER_A_RUN = {
    "throughput": plots.throughput,
    "in_flight": plots.in_flight,
    "dlq_growth": plots.dlq_growth,
    "breaker_causes": plots.breaker_causes,
    "breaker_states": plots.breaker_states,
    "delivery_over_time": plots.delivery_over_time,
    "waiting": plots.waiting,
    "amplification": plots.amplification,
    "delivery_times": plots.delivery_times,
    "raster": plots.raster,
    "timeline": lambda run, ax=None: plots.timeline(run, run.notifications["id"].iloc[-1], ax=ax),
}
OTHERS = {
    "backoff": lambda ax=None: plots.backoff({"jitter": "full"}, ax=ax),
    "sweep_lines": lambda ax=None: plots.sweep_lines(cells(), "requests", ax=ax),
    "sweep_heatmap": lambda ax=None: plots.sweep_heatmap(cells(), "requests", ax=ax),
    "pareto": lambda ax=None: plots.pareto(cells(), ax=ax),
}
ALL = {
    name: (lambda ax=None, plot=plot: plot(result_of("outage"), ax=ax)) for name, plot in OVER_A_RUN.items()
} | OTHERS


def test_every_plot_is_tried_here():
    of_several = {"compare", "differences", "trials"}
    functions = {name for name in plots.__all__ if name not in ("STYLE", "overview", *of_several)}
    assert set(ALL) == functions
    assert {kind.replace("-", "_") for kind in OF_A_RUN} | {"sweep_lines", "sweep_heatmap", "pareto"} == (
        functions | {"overview"}
    )
    assert set(OF_A_SWEEP) == {"lines", "heatmap", "pareto"}


@pytest.mark.parametrize("name", sliced(ALL, 12))
def test_axes_that_are_given_are_drawn_on_and_returned_with_the_same_data_as_axes_of_its_own(name):
    figure = Figure(figsize=(12, 5))
    left, right = figure.subplots(1, 2)
    assert ALL[name](ax=left) is left
    figure.draw_without_rendering()
    assert not right.has_data()

    def data(ax):
        return [
            {key: one[key] for key in ("kind", "label", "points", "x", "y")}
            for one in described(ax)["artists"]
            if not one["label"].endswith(": span") and not one["label"].startswith("wait: ") and name != "timeline"
        ]

    assert data(left) == data(ALL[name]())


@pytest.mark.parametrize("name", sliced(ALL, 16, 1))
def test_the_style_of_the_caller_holds_on_their_axes_and_nothing_of_it_is_changed(name):
    with matplotlib.rc_context({"axes.titlesize": 17.0, "xtick.labelsize": 5.0}):
        before = dict(matplotlib.rcParams)
        given = ALL[name](ax=Figure(figsize=(9, 5)).subplots())
        own = ALL[name]()
        assert dict(matplotlib.rcParams) == before
    assert (given.title.get_size(), own.title.get_size()) == (17.0, 10.0)


def boxes(figure):
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    beyond = set(labels_beyond(figure))
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in beyond:
            box = text.get_window_extent(renderer)
            if box.width:
                yield text.get_text(), box


def labels_beyond(figure):
    """Yield the labels of ticks beyond the limits of their axis, which are not drawn."""
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


RUNS = ("outage", "all kinds of waits", "providers")
DRAWN = [
    pytest.param(name, kind, id=f"{kind} of {name}", marks=[pytest.mark.slow] if name == "providers" else [])
    for name in RUNS
    for kind in OF_A_RUN
    if kind != "overview"
]


@pytest.mark.parametrize(("name", "kind"), sliced(DRAWN, 16))
def test_no_text_is_clipped_or_lies_on_another(name, kind):
    figure = OF_A_RUN[kind].draw(result_of(name), Options())
    found = list(boxes(figure))
    width, height = figure.bbox.size
    for text, box in found:
        assert -1 <= box.x0 < box.x1 <= width + 1, text
        assert -1 <= box.y0 < box.y1 <= height + 1, text
    for (one, one_box), (other, other_box) in itertools.combinations(found, 2):
        # Boxes are as tall as the tallest letter would be: lines of one paragraph may touch.
        if min(one_box.y1, other_box.y1) - max(one_box.y0, other_box.y0) > 4:
            assert min(one_box.x1, other_box.x1) <= max(one_box.x0, other_box.x0) + 1, (one, other)


@pytest.mark.parametrize(
    "draw",
    sliced(
        [
            lambda: plots.overview(result_of("providers")),
            lambda: plots.backoff({"$a$": {}, "$b_2$": {"jitter": "full"}}).figure,
            lambda: plots.delivery_times({"$5 or $6": result_of("providers")}, ax=Figure().subplots()).figure,
            lambda: plots.sweep_lines(cells().replace("full", "$x^2$"), "requests").figure,
        ],
        4,
    ),
    ids=["overview", "backoff", "delivery times", "sweep"],
)
def test_no_text_is_taken_for_a_formula(draw):
    with_dollars = [text for text in draw().findobj(Text) if "$" in text.get_text()]
    assert with_dollars
    assert not any(text.get_parse_math() for text in with_dollars)


def test_equal_plots_are_equal_bytes():
    one, other = (figure_of(plots.in_flight(result_of("lost"))) for _ in range(2))
    for form in ("png", "svg"):
        assert picture_bytes(one, form) == picture_bytes(other, form)


IN_A_NOTEBOOK = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import select_figure_formats
from simulation.reporting import plots

shell = InteractiveShell.instance()
data, _ = shell.display_formatter.format(plots.backoff({}).figure)
assert data["image/png"].startswith(b"\\x89PNG"), data
assert "matplotlib.pyplot" not in sys.modules

select_figure_formats(shell, {"png"})  # as pyplot's inline backend does
data, _ = shell.display_formatter.format(plots.backoff({}).figure)
assert sorted(data) == ["image/png", "text/plain"], sorted(data)

import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
figure, axes = plt.subplots(1, 2, layout="constrained")
assert plots.backoff({"jitter": "equal"}, ax=axes[1]) is axes[1]
figure.canvas.draw()
plots.backoff({})
assert plt.get_fignums() == [1]  # none of ours
"""


@pytest.mark.thorough
@pytest.mark.integration
def test_a_notebook_shows_a_figure_without_pyplot_and_with_it_once():
    assert subprocess.run([sys.executable, "-c", IN_A_NOTEBOOK], check=False).returncode == 0


def test_the_style_sheet_can_be_used_for_axes_of_ones_own():
    with matplotlib.style.context(plots.STYLE):
        ax = Figure().subplots()
    assert not ax.spines["top"].get_visible()
