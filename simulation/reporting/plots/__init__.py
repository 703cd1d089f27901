"""Pictures of runs, policies and sweeps, drawn with matplotlib's `Figure` alone: no pyplot, no global state.

Each function takes a result (or the frame that it needs) and, as `ax`, axes to draw on, and returns the axes. Without
`ax` it makes a figure of its own in retrylab's style, ``ax.figure``, which a notebook shows where it is the value of a
cell. With it the plot is drawn in the style of the axes' maker, so that it fits among the others of the figure; the
colours are for a light background::

    from simulation.reporting import plots

    plots.throughput(result).figure                       # in a notebook
    plots.in_flight(result).figure.savefig("in-flight.svg")
    figure, (left, right) = pyplot.subplots(1, 2)
    plots.delivery_times({"before": one, "after": other}, ax=left)

``with matplotlib.style.context(plots.STYLE):`` makes axes of your own in retrylab's style.
"""

from simulation.reporting.plots.backoff import backoff
from simulation.reporting.plots.canvas import STYLE
from simulation.reporting.plots.delivery import delivery_times
from simulation.reporting.plots.delivery_over_time import delivery_over_time, waiting
from simulation.reporting.plots.experiments import differences, trials
from simulation.reporting.plots.over_time import amplification, breaker_states, dlq_growth, in_flight, throughput
from simulation.reporting.plots.pareto import pareto
from simulation.reporting.plots.picture import overview
from simulation.reporting.plots.raster import raster
from simulation.reporting.plots.sweeps import sweep_heatmap, sweep_lines
from simulation.reporting.plots.timeline import timeline
from simulation.reporting.plots.tripping import breaker_causes
from simulation.reporting.plots.two_runs import compare

__all__ = [
    "STYLE",
    "amplification",
    "backoff",
    "breaker_causes",
    "breaker_states",
    "compare",
    "delivery_over_time",
    "delivery_times",
    "differences",
    "dlq_growth",
    "in_flight",
    "overview",
    "pareto",
    "raster",
    "sweep_heatmap",
    "sweep_lines",
    "throughput",
    "timeline",
    "trials",
    "waiting",
]


def __dir__() -> list[str]:
    """Return the plots, and not the modules they are in, for completion in a notebook."""
    return __all__
