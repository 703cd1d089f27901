"""Templates of pages: their common base, and the macros of the report for other pages too."""

from __future__ import annotations

import jinja2

from actors.formatting import counted
from simulation.reporting.html import words


def environment(*more: jinja2.BaseLoader) -> jinja2.Environment:
    """Return an environment that finds templates and their functions; `more` is searched before the report."""
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader([*more, jinja2.PackageLoader("simulation.reporting.html")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (words.cell, words.clock, words.count, words.duration, words.instant)
    found.filters |= {each.__name__: each for each in shown}
    found.globals |= {"counted": counted}
    return found
