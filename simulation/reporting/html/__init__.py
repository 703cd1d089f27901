"""The report of a run: one page for somebody who has ten minutes before an incident review."""

from simulation.reporting.html.page import html

__all__ = ["html"]
