"""The report of a run: one page, to read in the ten minutes before an incident review."""

from simulation.reporting.html.page import report

__all__ = ["report"]
