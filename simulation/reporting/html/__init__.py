"""The report of a run: one page for somebody who has ten minutes before an incident review."""

from simulation.reporting.html.page import report

__all__ = ["report"]
