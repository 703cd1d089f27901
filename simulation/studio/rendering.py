"""The parts of studio's pages that are made here and not in the browser."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

from simulation.reporting.html.rendering import environment


def rendered(template: str, **values: Any) -> str:
    """Return the HTML of a template of this package with some values, which are escaped."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> jinja2.Environment:
    return environment(jinja2.PackageLoader("simulation.studio", "static"))
