"""Pictures of a run, drawn with matplotlib's `Figure` alone: no pyplot, no backend, no global state is touched."""

from simulation.plots.picture import overview

__all__ = ["overview"]
